package pebblex

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// logs lets Pebble's log go on in files that were written before. A sync of such blocks costs a
// fraction of a sync of new ones, whose place and length must become durable too. Pebble itself
// reuses the logs of flushed memtables, but it begins with short ones, comes to enough of them after some
// hundred megabytes, and forgets them when it is closed.
//
// So spare files full of zeros are written beforehand, and a log that Pebble removes becomes one.
// A new log takes a spare file, and so does one that would reuse a shorter log. To the reader of
// a log zeros are its end, and so is what an earlier log left: each piece of a log bears its number.
type logs struct {
	vfs.FS
	dir  string
	size int64 // of a spare file in bytes, at least

	once  sync.Once
	quit  chan struct{}
	ended sync.WaitGroup

	mu    sync.Mutex
	spare []string
	most  int // of them
	last  int // number in a name
}

const (
	sparePrefix = "spare."
	unfinished  = ".new"  // ends the name of a file being written
	spareChunk  = 1 << 20 // written and synced at once, in bytes: the log's own syncs need not wait for more
	spareRoom   = 10      // a file is written where the disk has room for so many
)

// find finds what an earlier run left. It comes before the database is opened.
func (l *logs) find() error {
	if l == nil {
		return nil
	}
	names, err := l.List(l.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, name := range names {
		number, ours := strings.CutPrefix(name, sparePrefix)
		if !ours {
			continue
		}
		path := l.PathJoin(l.dir, name)
		n, err := strconv.Atoi(number)
		l.last = max(l.last, n)
		if err == nil && l.fits(path) {
			l.spare = append(l.spare, path)
		} else if err := l.FS.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// start begins to write what is missing.
func (l *logs) start() {
	if l == nil {
		return
	}
	l.ended.Go(func() {
		for l.wanted() && l.provide() == nil {
		}
	})
}

// stop ends the writing of files and waits for it. It may be called again.
func (l *logs) stop() {
	if l == nil {
		return
	}
	l.once.Do(func() { close(l.quit) })
	l.ended.Wait()
}

// wanted reports whether there is reason and room to write another file.
func (l *logs) wanted() bool {
	select {
	case <-l.quit:
		return false
	default:
	}
	use, err := l.GetDiskUsage(l.dir)
	return err == nil && use.AvailBytes/spareRoom >= uint64(l.size) && l.room()
}

// provide writes a file. A disk that fails is left alone: logs then begin in new files.
func (l *logs) provide() error {
	name := l.name()
	f, err := l.FS.Create(name+unfinished, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	zeros := make([]byte, spareChunk)
	for left := l.size; left > 0 && err == nil; left -= spareChunk {
		if _, err = f.Write(zeros[:min(left, spareChunk)]); err == nil {
			err = f.Sync()
		}
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = l.FS.Rename(name+unfinished, name)
	}
	if err != nil {
		l.FS.Remove(name + unfinished)
		return err
	}
	if !l.put(name) { // a log has become one meanwhile
		return l.FS.Remove(name)
	}
	return nil
}

// fits reports whether a file is long enough to be a spare one.
func (l *logs) fits(path string) bool {
	info, err := l.Stat(path)
	return err == nil && info.Size() >= l.size
}

// room reports whether another spare file may be kept.
func (l *logs) room() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.spare) < l.most
}

// put adds a spare file unless there are enough.
func (l *logs) put(path string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.spare) >= l.most {
		return false
	}
	l.spare = append(l.spare, path)
	return true
}

// name returns a path for a spare file that no other has had while the process runs.
func (l *logs) name() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	return l.PathJoin(l.dir, sparePrefix+strconv.Itoa(l.last))
}

// take returns a spare file, or "" when there is none.
func (l *logs) take() (path string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.spare); n > 0 {
		path, l.spare = l.spare[n-1], l.spare[:n-1]
	}
	return path
}

func (l *logs) isLog(path string) bool {
	return strings.HasSuffix(path, ".log") && l.PathDir(path) == l.dir
}

// Create implements vfs.FS.
func (l *logs) Create(path string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if l.isLog(path) {
		if spare := l.take(); spare != "" {
			return l.FS.ReuseForWrite(spare, path, c)
		}
	}
	return l.FS.Create(path, c)
}

// ReuseForWrite implements vfs.FS, which leaves it open whether the old content stays.
func (l *logs) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if l.isLog(oldname) && !l.fits(oldname) {
		if spare := l.take(); spare != "" {
			if err := l.FS.Remove(oldname); err != nil {
				return nil, err
			}
			oldname = spare
		}
	}
	return l.FS.ReuseForWrite(oldname, newname, c)
}

// Remove implements vfs.FS: a log that is long enough becomes a spare file.
func (l *logs) Remove(path string) error {
	if !l.isLog(path) || !l.room() || !l.fits(path) {
		return l.FS.Remove(path)
	}
	spare := l.name()
	if err := l.Rename(path, spare); err != nil {
		return err
	}
	if !l.put(spare) {
		return l.FS.Remove(spare)
	}
	return nil
}
