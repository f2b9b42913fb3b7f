package fs

import (
	"cmp"
	"errors"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Barrier makes files and names durable for many callers at once. Callers that
// arrive while a sync runs share the next one, so that a hundred writers pay for
// one sync, not for a hundred. The zero value of the other fields works.
//
// A file system that does not answer, such as a server's that is gone, holds up those alone who wrote to it: who shares a sync
// with them gets ErrHangs after a while, and as long as it hangs, nobody shares another.
type Barrier struct {
	// FS holds the files: they were opened in it, or in a Sub of it.
	FS FS
	// EachUpTo is the number of files and folders up to which each is synced by
	// itself; above it SyncAll serves all. 0 means 4, below 0 none.
	EachUpTo int
	// HangAfter is how long a shared sync may take until it counts as hanging; 0 means 30 s.
	HangAfter time.Duration

	mu      sync.Mutex
	running bool
	waiting *group
	hanging int // shared syncs
}

// ErrHangs is the error of a shared sync that took too long. What it was to make durable may be so, or not.
var ErrHangs = errors.New("the file system does not answer")

const hangAfter = 30 * time.Second

// group is the callers that share one sync.
type group struct {
	files []File
	dirs  map[string]struct{}
	done  chan struct{}
	err   error         // after done
	late  chan struct{} // closed when the sync hangs
	alone chan struct{} // closed when another does, and this one is not begun: each caller syncs by himself
}

// Files returns when the contents of the open files are durable. An error means
// that at least one file of the shared sync may not be.
func (b *Barrier) Files(files ...File) error { return b.sync(files, nil) }

// Dirs returns when the names in the folders are durable, with Files' errors.
func (b *Barrier) Dirs(dirs ...string) error { return b.sync(nil, dirs) }

// sync joins the group that waits.
func (b *Barrier) sync(files []File, dirs []string) error {
	if len(files)+len(dirs) == 0 {
		return nil
	}
	if g := b.join(files, dirs); g != nil {
		select {
		case <-g.done:
			return g.err
		case <-g.late:
			// A sync of the files once more could succeed where theirs, whose error nobody will see, did not.
			return ErrHangs
		case <-g.alone:
		}
	}
	return b.each(slices.Values(files), slices.Values(dirs))
}

// join adds the files and folders to the waiting group, and sees that it is synced. While a sync hangs there is none.
func (b *Barrier) join(files []File, dirs []string) *group {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hanging > 0 {
		return nil
	}
	if b.waiting == nil {
		b.waiting = &group{
			dirs:  map[string]struct{}{},
			done:  make(chan struct{}),
			late:  make(chan struct{}),
			alone: make(chan struct{}),
		}
	}
	g := b.waiting
	g.files = append(g.files, files...)
	for _, d := range dirs {
		g.dirs[d] = struct{}{}
	}
	if !b.running {
		b.running = true
		go b.serve()
	}
	return g
}

// serve syncs one group after the other, until none waits or a sync hangs.
func (b *Barrier) serve() {
	for g := b.next(); g != nil; g = b.next() {
		timer := time.AfterFunc(cmp.Or(b.HangAfter, hangAfter), func() { b.hangs(g) })
		g.err = b.run(g)
		timer.Stop()
		close(g.done)
		if b.wasLate(g) {
			return
		}
	}
}

// next returns the group that waits: who comes now may have written after its sync began.
func (b *Barrier) next() *group {
	b.mu.Lock()
	defer b.mu.Unlock()
	g := b.waiting
	b.waiting = nil
	b.running = g != nil
	return g
}

// hangs has nobody wait for the sync of g any longer.
func (b *Barrier) hangs(g *group) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-g.done: // just now
		return
	default:
	}
	close(g.late)
	b.hanging++
	b.running = false
	if b.waiting != nil {
		close(b.waiting.alone)
		b.waiting = nil
	}
}

// wasLate reports whether nobody waited for g any longer, which is over now.
func (b *Barrier) wasLate(g *group) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-g.late:
		b.hanging--
		return true
	default:
		return false
	}
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
	return b.each(slices.Values(g.files), maps.Keys(g.dirs))
}

// each syncs every file and folder by itself.
func (b *Barrier) each(files iter.Seq[File], dirs iter.Seq[string]) error {
	var all errgroup.Group
	all.SetLimit(eachAtOnce)
	for f := range files {
		all.Go(f.Sync)
	}
	for d := range dirs {
		all.Go(func() error { return b.FS.SyncDir(d) })
	}
	return all.Wait()
}
