package pebblestore

import (
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postilion/postilion/internal/fs"
)

// reserve is room kept back on the disk. When the disk is full it is given up, so that
// the queue can record deliveries and shrink; until it can be laid up again no new
// message is taken.
type reserve struct {
	fs   fs.FS
	size int64 // negative keeps none

	gone atomic.Bool // new messages are refused
	mu   sync.Mutex
	last time.Time // of the last attempt to lay it up again
}

const (
	reserveFile = "reserve"
	// reserveEvery is how often laying up is tried again.
	reserveEvery = 5 * time.Second
)

// giveUp lets the room go.
func (r *reserve) giveUp() {
	r.gone.Store(true)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = time.Now()
	r.fs.Remove(reserveFile) // fails only when it is gone or the disk is broken
}

// full reports whether there is no room for new messages.
func (r *reserve) full() bool {
	if !r.gone.Load() {
		return false
	}
	if !r.mu.TryLock() {
		return true
	}
	again := time.Since(r.last) > reserveEvery
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
	if info, err := r.fs.Stat(reserveFile); err == nil && info.Size() == r.size {
		r.gone.Store(false)
		return
	}
	// Twice the room must be free, or the next message would use it up again.
	if space, err := r.fs.Space("."); err == nil && space.FreeBytes < 2*uint64(r.size) {
		r.gone.Store(true)
		r.fs.Remove(reserveFile)
		return
	}
	if err := writeSynced(r.fs, reserveFile, r.size); err != nil {
		r.gone.Store(true)
		r.fs.Remove(reserveFile)
		return
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
