// Package lastgood keeps the last good version of a watched file in force.
//
// It is for files that say who may do what: one that turns bad, or goes away, changes nothing, so that
// a slip of the pen neither opens a relay nor closes a server. The mistake is told once.
package lastgood

import (
	"cmp"
	"sync"
	"time"

	"github.com/postilion/postilion/internal/fs/reread"
)

// File is a watched file. It is safe for concurrent use.
type File[T any] struct {
	file *reread.File[T]
	warn func(error)

	mu   sync.Mutex
	last T
	err  error
}

// Options are what a File is made of. Path and Parse are needed.
type Options[T any] struct {
	Path  string
	Parse func(content []byte) (T, error) // its errors name the file and the line
	Warn  func(error)                     // told of a file that has become bad; nil forgets
	Max   int64                           // bytes; 0 means 64 MiB
	// Optional makes a missing file the zero T.
	Optional bool
	Now      func() time.Time // nil is the system's
}

// Open reads the file. At the start there is no version to fall back on: a bad one is an error.
func Open[T any](o Options[T]) (*File[T], error) {
	o.Max = cmp.Or(o.Max, 64<<20)
	f := &File[T]{warn: o.Warn, file: &reread.File[T]{Path: o.Path, Parse: o.Parse, Max: o.Max, Optional: o.Optional, Now: o.Now}}
	var err error
	f.last, err = f.file.Get()
	return f, err
}

// Get returns the newest good version.
func (f *File[T]) Get() T {
	v, err := f.file.Get()
	f.mu.Lock()
	told := f.err != nil && err != nil && f.err.Error() == err.Error()
	f.err = err
	if err == nil {
		f.last = v
	}
	v = f.last
	f.mu.Unlock()
	if err != nil && !told && f.warn != nil {
		f.warn(err)
	}
	return v
}

// Err tells what is wrong with the file as it was when last asked for; nil when nothing is.
func (f *File[T]) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// Errors looks at the files and tells which are bad now, though their earlier content is in force.
func Errors[T any](files []*File[T]) (list []string) {
	for _, f := range files {
		f.Get()
		if err := f.Err(); err != nil {
			list = append(list, err.Error())
		}
	}
	return list
}
