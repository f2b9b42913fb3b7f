package pebblestore

import (
	"fmt"
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

// stays tells whether full would go on to say so: it changes nothing, and waits for nobody.
func (r *reserve) stays() bool {
	if !r.gone.Load() {
		return false
	}
	if !r.mu.TryLock() {
		return true
	}
	defer r.mu.Unlock()
	_, room := r.missing()
	return !room || time.Since(r.last) <= r.every
}

// cause says what the queue waits for.
func (r *reserve) cause() error {
	return fmt.Errorf("the disk was full; the queue takes messages again once %d bytes are free", r.want())
}

// want is the room, in bytes, with which messages are taken again: twice the reserve, or the next message would use it
// up again.
func (r *reserve) want() uint64 {
	if r.size <= 0 {
		return 1 << 20
	}
	return 2 * uint64(r.size)
}

// missing lists the parts that are given up, and tells whether there is room to lay them up.
func (r *reserve) missing() (parts []string, room bool) {
	for i := range reserveParts {
		name := reservePart(i)
		if info, err := r.fs.Stat(name); r.size > 0 && (err != nil || info.Size() != r.size/reserveParts) {
			parts = append(parts, name)
		}
	}
	space, err := r.fs.Space(".")
	return parts, err != nil || r.size > 0 && len(parts) == 0 || space.FreeBytes >= r.want()
}

// restore lays the room up if it is not there. The space is written, not only
// reserved: sparse room is none.
func (r *reserve) restore() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = time.Now()
	missing, room := r.missing()
	if !room {
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
