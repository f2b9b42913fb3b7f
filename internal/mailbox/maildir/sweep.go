package maildir

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/postilion/postilion/internal/fs"
)

// maxDepth is how deep below the root a Sweep looks for mailboxes and their folders.
const maxDepth = 8

// Sweep runs Clean on every mailbox and folder of one that lies in the Store, with a pause after
// each, until all are done or ctx ends. It returns how many it cleaned, and of the
// troubles with single ones the first. Symbolic links are not followed.
func (s *Store) Sweep(ctx context.Context, pause time.Duration) (cleaned int, err error) {
	w := sweep{s: s, ctx: ctx, pause: pause}
	w.folder(".", 0)
	return w.cleaned, cmp.Or(ctx.Err(), w.err)
}

type sweep struct {
	s       *Store
	ctx     context.Context
	pause   time.Duration
	cleaned int
	err     error
}

func (w *sweep) failed(err error) {
	if w.err == nil {
		w.err = err
	}
}

// folder cleans name when it is a mailbox, and what is below it.
func (w *sweep) folder(name string, depth int) {
	if depth > maxDepth || w.ctx.Err() != nil {
		return
	}
	list, err := w.s.fs.ReadDir(name)
	if err != nil {
		w.failed(err)
		return
	}
	if slices.ContainsFunc(list, isDir("tmp")) && slices.ContainsFunc(list, isDir("new")) {
		w.clean(name)
	}
	for _, e := range list {
		switch e.Name() {
		case "cur", "new", "tmp":
		default:
			if e.IsDir() {
				w.folder(below(name, e.Name()), depth+1)
			}
		}
	}
}

func isDir(name string) func(fs.DirEntry) bool {
	return func(e fs.DirEntry) bool { return e.Name() == name && e.IsDir() }
}

func below(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}

func (w *sweep) clean(mailbox string) {
	if err := w.s.Clean(mailbox); err != nil {
		w.failed(err)
	}
	w.cleaned++
	select {
	case <-time.After(w.pause):
	case <-w.ctx.Done():
	}
}
