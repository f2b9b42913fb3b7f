package migrate

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// maxFile bounds a file in bytes; the largest in use are lists of some 100,000 domains.
const maxFile = 64 << 20

// ReadFile reads a regular file of at most 64 MiB: no pipe holds it up, and no size fills memory, whatever is put in its
// place meanwhile.
func ReadFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if errors.Is(err, syscall.ENXIO) { // a socket
		return nil, irregular(path)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, irregular(path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("it is larger than %d bytes", maxFile)}
	}
	if err != nil {
		return nil, err
	}
	return data, nil
}

func irregular(path string) error {
	return &fs.PathError{Op: "read", Path: path, Err: errors.New("it is no regular file")}
}

// File reads a file as ReadFile does. One that is there and cannot be read is noted.
func (r *Report) File(path string) ([]byte, error) {
	data, err := ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.Note(At(path, 0, filepath.Base(path)), NotCarried, "", "cannot be read: %s", Plain(err))
	}
	return data, err
}

// Plain leaves the operation and the path out of an error of package os.
func Plain(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
