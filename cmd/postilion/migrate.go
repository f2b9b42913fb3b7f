package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/migrate"
	"github.com/postilion/postilion/internal/migrate/postfix"
	"github.com/postilion/postilion/internal/migrate/qmailhost"
	"github.com/postilion/postilion/internal/migrate/sendmail"
)

func (a *app) migrateCommand() *cobra.Command {
	group := &cobra.Command{Use: "migrate", Short: "Take over from another mail system",
		Long: "Read another mail system's settings and write the equal postilion.toml, with a line for everything that was\n" +
			"read: taken, different here, or not carried. Nothing of the other system is changed."}
	group.AddCommand(
		a.migrateVerb("qmail [DIR]", "Read the control files, users and start scripts of a qmail", "/var/qmail",
			func(dir, root string) (*migrate.Report, error) {
				return qmailhost.Read(qmailhost.Options{Dir: dir, Root: root})
			}),
		a.migrateVerb("sendmail [DIR]", "Read sendmail.cf or sendmail.mc and the tables beside it", "/etc/mail",
			func(dir, root string) (*migrate.Report, error) {
				return sendmail.Read(sendmail.Options{Dir: dir, Root: root, Tools: toolsBeside()})
			}),
		a.migrateVerb("postfix [DIR]", "Read main.cf and its tables", "/etc/postfix",
			func(dir, root string) (*migrate.Report, error) {
				return postfix.Read(postfix.Options{Dir: dir, Root: root, Tools: toolsBeside()})
			}),
		a.migrateQueue(),
	)
	return group
}

// migrateVerb makes the verb of one kind of source. Its flags: where the file goes, and where the
// host's other files are.
func (a *app) migrateVerb(use, short, usual string, read func(dir, root string) (*migrate.Report, error)) *cobra.Command {
	var to, root string
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.MaximumNArgs(1),
		Long: short + " (DIR is " + usual + " if not given).\n\n" +
			"The configuration goes to the standard output, what became of each line to the standard error; with -o FILE\n" +
			"the configuration goes there instead, where no file may be yet.",
		RunE: func(_ *cobra.Command, args []string) error {
			var err error
			if root != "" {
				if root, err = filepath.Abs(root); err != nil {
					return err
				}
			}
			dir := filepath.Join("/", root, usual)
			if len(args) > 0 {
				if dir, err = filepath.Abs(args[0]); err != nil {
					return err
				}
				if below, err := filepath.Rel(filepath.Join("/", root), dir); filepath.IsAbs(args[0]) && (err != nil || !filepath.IsLocal(below)) {
					dir = filepath.Join(root, dir) // as the host itself names it
				}
			}
			r, err := read(dir, root)
			if err != nil {
				return err
			}
			return a.migrated(r, dir, to)
		},
	}
	c.Flags().StringVarP(&to, "output", "o", "", "write the configuration to this `file`, which must not exist")
	c.Flags().StringVar(&root, "root", "", "the root folder of the other system's host (default /)")
	return c
}

// migrated prints or writes what a source comes to.
func (a *app) migrated(r *migrate.Report, dir, to string) error {
	var text bytes.Buffer
	head := fmt.Sprintf("Made of %s by `postilion migrate`. Each value tells the file and line it comes from.", escape(dir))
	if err := config.WriteReport(&text, r, head); err != nil {
		return err
	}
	// What is told is also what works: the file is read back.
	_, wrong := config.Parse(filepath.Join(a.data, config.FileName), text.Bytes(), nil)
	if to != "" {
		if err := writeNew(to, text.Bytes()); err != nil {
			return err
		}
	}
	if a.json {
		m := map[string]any{"settings": orEmpty(r.Settings), "notes": orEmpty(r.Notes), "config": text.String(), "written": to}
		if wrong != nil {
			m["problems"] = wrong.Error()
		}
		return a.printJSON(m)
	}
	if to == "" {
		if _, err := a.out.Write(text.Bytes()); err != nil {
			return err
		}
	}
	w := bufio.NewWriter(a.err)
	r.WriteNotes(w, escape)
	if wrong != nil {
		fmt.Fprintf(w, "to be put right before it can be used:\n%s\n", escapeLines(wrong.Error()))
	}
	if err := w.Flush(); err != nil || to == "" {
		return err
	}
	return a.done("%s is written", to)
}

// writeNew writes a file that must not exist, readable by its owner: it may hold passwords.
func writeNew(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, bytes.NewReader(content))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
