package pebblex

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// spares are files that segments of the log begin in. They were written before, with zeros or as segments: a sync of such
// blocks costs a fraction of a sync of new ones, whose place and length must become durable too. To the
// reader of a segment zeros are its end, and so is what an earlier use left.
type spares struct {
	fs    vfs.FS
	dir   string
	bytes int64 // of a file, at least
	ahead int   // files that are written at the start when there are fewer
	most  int   // files that are kept

	quit  chan struct{} // closed with mu held
	ended sync.WaitGroup

	mu   sync.Mutex
	list []string
	last int // number in a name
}

const (
	sparePrefix = "spare."
	unfinished  = ".new"                // ends the name of a file being written
	spareChunk  = 1 << 20               // written and synced at once, in bytes: the log's own syncs need not wait for more
	spareRoom   = 10                    // a file is written where the disk has room for so many
	spareSoon   = 4                     // files
	spareRest   = 20 * time.Millisecond // after a chunk of a later file
)

// find finds what an earlier run left among the folder's names. Files in use under another name are none.
func (p *spares) find(names []string, used func(path string) (bool, error)) error {
	for _, name := range names {
		number, ours := strings.CutPrefix(name, sparePrefix)
		if !ours {
			continue
		}
		path := p.fs.PathJoin(p.dir, name)
		n, wrong := strconv.Atoi(number)
		p.last = max(p.last, n)
		inUse, err := used(path)
		switch {
		case err != nil:
			return err
		case wrong == nil && !inUse && p.fits(path):
			p.list = append(p.list, path)
		default:
			if err := p.fs.Remove(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// start begins to write what is missing: a few files at once, the others slowly, because the disk has other work.
// After stop it does nothing: a disk may fail while its database is being opened.
func (p *spares) start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped() {
		return
	}
	p.ended.Go(func() {
		for p.wanted() && p.provide(!p.fewerThan(spareSoon)) == nil {
		}
	})
}

// stop ends the writing of files and waits for it. It may be called again.
func (p *spares) stop() {
	p.mu.Lock()
	if !p.stopped() {
		close(p.quit)
	}
	p.mu.Unlock()
	p.ended.Wait()
}

func (p *spares) stopped() bool {
	select {
	case <-p.quit:
		return true
	default:
		return false
	}
}

// wanted reports whether there is reason and room to write another file.
func (p *spares) wanted() bool {
	if p.stopped() {
		return false
	}
	use, err := p.fs.GetDiskUsage(p.dir)
	return err == nil && use.AvailBytes/spareRoom >= uint64(p.bytes) && p.fewerThan(p.ahead)
}

// provide writes a file. A disk that fails is left alone: segments then begin in new files.
func (p *spares) provide(slowly bool) error {
	name := p.name()
	f, err := p.fs.Create(name+unfinished, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	zeros := make([]byte, min(spareChunk, p.bytes))
	for left := p.bytes; left > 0 && err == nil; left -= int64(len(zeros)) {
		if _, err = f.Write(zeros[:min(left, int64(len(zeros)))]); err == nil {
			err = f.Sync()
		}
		if slowly && err == nil {
			err = p.rest()
		}
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = p.fs.Rename(name+unfinished, name)
	}
	if err != nil {
		p.fs.Remove(name + unfinished)
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, name)
	return nil
}

// rest waits a little. The error is errOver when there is no time for that.
func (p *spares) rest() error {
	select {
	case <-time.After(spareRest):
		return nil
	case <-p.quit:
		return errOver
	}
}

// fits reports whether a file is long enough to be a spare one.
func (p *spares) fits(path string) bool {
	info, err := p.fs.Stat(path)
	return err == nil && info.Size() >= p.bytes
}

func (p *spares) fewerThan(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.list) < n
}

func (p *spares) any() bool { return !p.fewerThan(1) }

// name returns a path for a spare file that no other has had while the process runs.
func (p *spares) name() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	return p.fs.PathJoin(p.dir, sparePrefix+strconv.Itoa(p.last))
}

// take returns a spare file, or "" when there is none.
func (p *spares) take() (path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.list); n > 0 {
		path, p.list = p.list[n-1], p.list[:n-1]
	}
	return path
}

// giveBack makes a file that is not needed any more a spare one, or removes it. It does so through fs.
func (p *spares) giveBack(fs vfs.FS, path string) error {
	if !p.fewerThan(p.most) || !p.fits(path) {
		return fs.Remove(path)
	}
	spare := p.name()
	if err := fs.Rename(path, spare); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, spare)
	return nil
}
