package pebblestore

import (
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postilion/postilion/internal/fs"
)

// reserve is room kept back on the disk, in parts. Each time the disk is found full a part is
// given up, so that the queue can record deliveries and shrink; until all can be laid up
// again no new message is taken.
type reserve struct {
	fs    fs.FS
	size  int64         // of all parts; negative keeps none
	every time.Duration // how often laying it up again is tried

	gone atomic.Bool // new messages are refused
	mu   sync.Mutex
	last time.Time // of the last attempt to lay it up again
}

const (
	reserveParts = 4
	reserveFile  = "reserve"
)

func reservePart(i int) string { return reserveFile + "." + strconv.Itoa(i) }

// giveUp lets a part of the room go.
func (r *reserve) giveUp() {
	r.gone.Store(true)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = time.Now()
	for i := range reserveParts {
		if r.fs.Remove(reservePart(i)) == nil { // fails when it is gone or the disk is broken
			return
		}
	}
}

// full reports whether there is no room for new messages.
func (r *reserve) full() bool {
	if !r.gone.Load() {
		return false
	}
	if !r.mu.TryLock() {
		return true
	}
	again := time.Since(r.last) > r.every
	r.mu.Unlock()
	if again {
		r.restore()
	}
	return r.gone.Load()
}

// restore lays the room up if it is not there. The space is written, not only
// reserved: sparse room is none.
func (r *reserve) restore() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = time.Now()
	if r.size <= 0 {
		space, err := r.fs.Space(".")
		r.gone.Store(err == nil && space.FreeBytes < 1<<20)
		return
	}
	var missing []string
	for i := range reserveParts {
		name := reservePart(i)
		if info, err := r.fs.Stat(name); err != nil || info.Size() != r.size/reserveParts {
			missing = append(missing, name)
		}
	}
	// Twice the room must be free, or the next message would use it up again.
	space, err := r.fs.Space(".")
	if err == nil && len(missing) > 0 && space.FreeBytes < 2*uint64(r.size) {
		r.gone.Store(true)
		return
	}
	for _, name := range missing {
		if writeSynced(r.fs, name, r.size/reserveParts) != nil {
			r.gone.Store(true)
			r.fs.Remove(name)
			return
		}
	}
	r.gone.Store(false)
}

// writeSynced makes the file of size zero bytes and syncs it.
func writeSynced(fsys fs.FS, name string, size int64) error {
	f, err := fsys.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	zeros := make([]byte, min(size, 256<<10))
	for left := size; left > 0 && err == nil; left -= int64(len(zeros)) {
		_, err = f.Write(zeros[:min(left, int64(len(zeros)))])
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}
