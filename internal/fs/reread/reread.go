// Package reread keeps what a file says in memory and reads it again when it has changed, as
// those expect who edit control files, aliases or passwd by hand.
//
// The file is looked at (one stat) at most once a second, by one of those who ask; nobody
// else waits for it, so that a question costs nanoseconds. A file that is wrong is an
// error until it has been put right: its last good version is never used in silence.
package reread

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// File is one file and what it means. Path and Parse are needed; the other fields' zero
// values work. It must not be copied after the first Get.
type File[T any] struct {
	Path string
	// Parse makes the value of the content. It may keep data. Its errors name the file
	// and the line themselves.
	Parse func(data []byte) (T, error)
	// Optional makes a missing file the zero T and no error.
	Optional bool
	// Max bounds the file's size in bytes; 0 means 256 MiB.
	Max int64
	// Every is how often the file is looked at; 0 means once a second.
	Every time.Duration
	// Now is the time; nil is the system's.
	Now func() time.Time

	state atomic.Pointer[state[T]]
	mu    sync.Mutex // held by the one who looks
}

// state is a version of the file. checked is when it was last found to be the newest.
type state[T any] struct {
	value   T
	err     error
	version version
	checked time.Time
}

// version tells one state of a file from the next.
type version struct {
	missing  bool
	size     int64
	modified time.Time
	dev, ino uint64
}

// settled is how old a change must be before the file's times tell the next one: within
// a tick of the file system's clock two changes look the same.
const settled = 2 * time.Second

// Get returns what the file says now, or what is wrong with it.
func (f *File[T]) Get() (T, error) {
	s := f.state.Load()
	now := f.now()
	if s != nil && (f.fresh(s, now) || !f.mu.TryLock()) {
		return s.value, s.err
	}
	if s == nil {
		f.mu.Lock() // the first ones wait: there is nothing to answer with
	}
	defer f.mu.Unlock()
	if s = f.state.Load(); s == nil || !f.fresh(s, now) {
		s = f.look(s, now)
		f.state.Store(s)
	}
	return s.value, s.err
}

func (f *File[T]) now() time.Time {
	if f.Now != nil {
		return f.Now()
	}
	return time.Now()
}

func (f *File[T]) fresh(s *state[T], now time.Time) bool {
	every := cmp.Or(f.Every, time.Second)
	since := now.Sub(s.checked)
	return since >= 0 && since < every
}

// look returns the newest state, the old one's value when nothing has changed.
func (f *File[T]) look(old *state[T], now time.Time) *state[T] {
	v, err := f.stat()
	if old != nil && err == nil && v == old.version && old.checked.Sub(v.modified) >= settled {
		return &state[T]{old.value, old.err, v, now}
	}
	s := &state[T]{version: v, checked: now}
	if err == nil && !v.missing {
		s.value, s.err = f.read()
		return s
	}
	if s.err = err; err == nil && !f.Optional {
		s.err = fmt.Errorf("%s: there is no such file", f.Path)
	}
	return s
}

func (f *File[T]) stat() (version, error) {
	info, err := os.Stat(f.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return version{missing: true}, nil
	case err != nil:
		return version{}, plain(f.Path, err)
	}
	return versionOf(info), nil
}

func versionOf(info fs.FileInfo) version {
	v := version{size: info.Size(), modified: info.ModTime()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		v.dev, v.ino = uint64(sys.Dev), sys.Ino
	}
	return v
}

func (f *File[T]) read() (none T, err error) {
	most := cmp.Or(f.Max, 256<<20)
	// Without waiting, should somebody have put a pipe there.
	file, err := os.OpenFile(f.Path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return none, plain(f.Path, err)
	}
	defer file.Close()
	switch info, err := file.Stat(); {
	case err != nil:
		return none, plain(f.Path, err)
	case !info.Mode().IsRegular():
		return none, fmt.Errorf("%s: want a regular file", f.Path)
	}
	data, err := io.ReadAll(io.LimitReader(file, most+1))
	switch {
	case err != nil:
		return none, plain(f.Path, err)
	case int64(len(data)) > most:
		return none, fmt.Errorf("%s: want at most %d bytes", f.Path, most)
	}
	return f.Parse(data)
}

// plain writes an error of package os with the file first, as the family's texts are.
func plain(path string, err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	return fmt.Errorf("%s: %w", path, err)
}
