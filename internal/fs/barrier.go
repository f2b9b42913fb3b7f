package fs

import (
	"errors"
	"sync"
)

// Barrier makes files and names durable for many callers at once. Callers that
// arrive while a sync runs share the next one, so that a hundred writers pay for
// one sync, not for a hundred. The zero value of the other fields works.
type Barrier struct {
	FS FS
	// EachUpTo is the number of files and folders up to which each is synced by
	// itself; above it SyncAll serves all. 0 means 4.
	EachUpTo int

	mu      sync.Mutex
	running bool
	waiting *group
}

// group is the callers that share one sync.
type group struct {
	files []File
	dirs  map[string]struct{}
	done  chan struct{}
	err   error
}

// Files returns when the contents of the open files are durable. An error means
// that at least one file of the shared sync may not be.
func (b *Barrier) Files(files ...File) error { return b.sync(files, nil) }

// Dirs returns when the names in the folders are durable, with Files' errors.
func (b *Barrier) Dirs(dirs ...string) error { return b.sync(nil, dirs) }

func (b *Barrier) sync(files []File, dirs []string) error {
	b.mu.Lock()
	if b.waiting == nil {
		b.waiting = &group{dirs: map[string]struct{}{}, done: make(chan struct{})}
	}
	g := b.waiting
	g.files = append(g.files, files...)
	for _, d := range dirs {
		g.dirs[d] = struct{}{}
	}
	if b.running {
		b.mu.Unlock()
		<-g.done
		return g.err
	}
	// This caller leads until nobody waits: its own group is the first.
	b.running = true
	for b.waiting != nil {
		next := b.waiting
		b.waiting = nil
		b.mu.Unlock()
		next.err = b.run(next)
		close(next.done)
		b.mu.Lock()
	}
	b.running = false
	b.mu.Unlock()
	return g.err
}

func (b *Barrier) run(g *group) error {
	limit := b.EachUpTo
	if limit == 0 {
		limit = 4
	}
	if len(g.files)+len(g.dirs) > limit {
		if err := b.FS.SyncAll(); !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	for _, f := range g.files {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	for d := range g.dirs {
		if err := b.FS.SyncDir(d); err != nil {
			return err
		}
	}
	return nil
}
