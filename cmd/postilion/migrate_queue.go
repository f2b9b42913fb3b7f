package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/postilion/postilion/internal/migrate"
	"github.com/postilion/postilion/internal/qmail/control"
	"github.com/postilion/postilion/internal/verbs"
)

// queueTakeover is the flags of `migrate queue`.
type queueTakeover struct {
	dir, virtual string
	dry, held    bool
}

func (a *app) migrateQueue() *cobra.Command {
	var o queueTakeover
	c := &cobra.Command{
		Use: "queue [DIR]", Short: "Take the messages over that wait in a qmail's queue", Args: cobra.MaximumNArgs(1),
		Long: "Take the messages over that wait in a qmail's queue (DIR is /var/qmail/queue if not given), with their age:\n" +
			"recipients that are not done yet are tried, senders are told of those that failed there. The queue may be a\n" +
			"copy whose file names fit no inode. It is only read, so qmail-send must not serve it any more, neither now\n" +
			"nor later: messages would go out twice. A second run adds only what is not in the queue here.\n\n" +
			"Every message is told: taken, different here, or not carried. The exit code is 1 when any was not carried that\n" +
			"qmail would have delivered.",
		RunE: func(c *cobra.Command, args []string) error {
			o.dir = "/var/qmail/queue"
			if len(args) > 0 {
				o.dir = args[0]
			}
			return a.takeQueue(c.Context(), o)
		},
	}
	c.Flags().BoolVarP(&o.dry, "dry-run", "n", false, "only tell what would be taken")
	c.Flags().BoolVar(&o.held, "held", false, "hold the messages here until they are let go by queue release")
	c.Flags().StringVar(&o.virtual, "virtualdomains", "", "the `file` that made local recipients (default control/virtualdomains beside DIR)")
	return c
}

func (a *app) takeQueue(ctx context.Context, o queueTakeover) error {
	if err := notServed(o.dir); err != nil && !o.dry {
		return err
	}
	file := cmp.Or(o.virtual, filepath.Join(filepath.Dir(filepath.Clean(o.dir)), "control", "virtualdomains"))
	virtual, err := os.ReadFile(file)
	if err != nil && (o.virtual != "" || !errors.Is(err, fs.ErrNotExist)) {
		return err
	}
	notes := []migrate.QueueNote{}
	source := migrate.QueueSource{
		Root: os.DirFS(o.dir), Held: o.held, Virtual: control.Virtualdomains{Table: control.NewMap(file, virtual)},
		Each: func(n migrate.QueueNote) { notes = append(notes, n) },
	}
	finish := a.busy("reading " + o.dir)
	n, imported := 0, 0
	if o.dry {
		n, err = source.Archive(ctx, nil)
	} else {
		n, imported, err = a.importQueue(ctx, source)
	}
	finish()
	if err != nil {
		return fmt.Errorf("%s: %w", o.dir, err)
	}
	return a.tellQueue(notes, n, imported, o.dry)
}

// importQueue takes the messages over by a file: reading the other queue needs root's rights, and
// writing ours gives them up.
func (a *app) importQueue(ctx context.Context, source migrate.QueueSource) (n, imported int, err error) {
	f, err := os.CreateTemp(a.data, "migrate-*.tar")
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return 0, 0, err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	if n, err = source.Archive(ctx, w); err == nil {
		err = w.Flush()
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return n, 0, err
	}
	err = a.withQueue(ctx, func(q *verbs.Queue) (err error) {
		imported, err = q.Import(ctx, f)
		return err
	})
	return n, imported, err
}

// tellQueue prints what became of each message.
func (a *app) tellQueue(notes []migrate.QueueNote, n, imported int, dry bool) error {
	lost := 0
	for _, m := range notes {
		if m.Lost {
			lost++
		}
	}
	err := a.show(map[string]any{"messages": notes, "taken": n, "imported": imported, "dry_run": dry, "lost": lost}, func(w io.Writer) {
		for _, m := range notes {
			printNote(w, m)
		}
		switch {
		case dry:
			fmt.Fprintf(w, "%d messages would be taken\n", n)
		default:
			fmt.Fprintf(w, "%d messages were taken, %d of them new here\n", n, imported)
		}
	})
	if err == nil && lost > 0 {
		err = errSilent
	}
	return err
}

func printNote(w io.Writer, m migrate.QueueNote) {
	if m.Fate == migrate.NotCarried {
		fmt.Fprintf(w, "%s: %s: %s\n", escape(m.Message), m.Fate, escape(m.Text))
		return
	}
	fmt.Fprintf(w, "%s: %s as %s, from <%s>, %s, %d bytes, %s old\n", m.Message, m.Fate, m.ID, escape(m.From),
		m.Accepted.Format("2 Jan 2006 15:04:05"), m.Size, ago(time.Since(m.Accepted)))
	for _, to := range m.Recipients {
		fmt.Fprintf(w, "\tto %s\n", escape(to))
	}
	for _, to := range m.Failures {
		fmt.Fprintf(w, "\tfailed: %s, which the sender is told\n", escape(to))
	}
	if m.Text != "" {
		fmt.Fprintf(w, "\t%s\n", escape(m.Text))
	}
}

// notServed tells when qmail-send holds the queue's lock (qmail reference 6.1).
func notServed(dir string) error {
	f, err := os.Open(filepath.Join(dir, "lock", "sendmutex"))
	if err != nil {
		return nil // a copy has none; what cannot be read is told by the reading
	}
	defer f.Close()
	if errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK) {
		return fmt.Errorf("qmail-send serves %s: stop it first, or its messages go out twice; --dry-run only tells", dir)
	}
	return nil
}
