package fs

import (
	"cmp"
	"errors"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Barrier makes files and names durable for many callers at once. Callers that
// arrive while a sync runs share the next one, so that a hundred writers pay for
// one sync, not for a hundred. The zero value of the other fields works.
type Barrier struct {
	// FS holds the files: they were opened in it, or in a Sub of it.
	FS FS
	// EachUpTo is the number of files and folders up to which each is synced by
	// itself; above it SyncAll serves all. 0 means 4, below 0 none.
	EachUpTo int

	mu      sync.Mutex
	running bool
	waiting *group
}

// group is the callers that share one sync.
type group struct {
	files []File
	dirs  map[string]struct{}
	lead  chan struct{} // gives one of the callers the task to run it
	done  chan struct{}
	err   error // after done
}

// Files returns when the contents of the open files are durable. An error means
// that at least one file of the shared sync may not be.
func (b *Barrier) Files(files ...File) error { return b.sync(files, nil) }

// Dirs returns when the names in the folders are durable, with Files' errors.
func (b *Barrier) Dirs(dirs ...string) error { return b.sync(nil, dirs) }

// sync joins the group that waits. One caller of each group runs it; the one that
// has run the group before hands over, so that nobody works for others for long.
func (b *Barrier) sync(files []File, dirs []string) error {
	if len(files)+len(dirs) == 0 {
		return nil
	}
	g, first := b.join(files, dirs)
	if !first {
		select {
		case <-g.done:
			return g.err
		case <-g.lead:
		}
	}
	b.mu.Lock()
	b.waiting = nil // who comes now may have written after this sync began
	b.mu.Unlock()
	g.err = b.run(g)
	close(g.done)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.running = b.waiting != nil
	if b.running {
		b.waiting.lead <- struct{}{}
	}
	return g.err
}

// join adds the files and folders to the waiting group, and tells whether the
// caller must run it because no sync is under way.
func (b *Barrier) join(files []File, dirs []string) (g *group, first bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting == nil {
		b.waiting = &group{
			dirs: map[string]struct{}{},
			lead: make(chan struct{}, 1),
			done: make(chan struct{}),
		}
	}
	g = b.waiting
	g.files = append(g.files, files...)
	for _, d := range dirs {
		g.dirs[d] = struct{}{}
	}
	first = !b.running
	b.running = true
	return g, first
}

// eachAtOnce bounds the syncs under way when each file has its own. Journaling file
// systems and NFS servers put those that come together into one write.
const eachAtOnce = 16

func (b *Barrier) run(g *group) error {
	limit := cmp.Or(b.EachUpTo, 4)
	if len(g.files)+len(g.dirs) > limit {
		if err := b.FS.SyncAll(); !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	var each errgroup.Group
	each.SetLimit(eachAtOnce)
	for _, f := range g.files {
		each.Go(f.Sync)
	}
	for d := range g.dirs {
		each.Go(func() error { return b.FS.SyncDir(d) })
	}
	return each.Wait()
}
