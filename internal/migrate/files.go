package migrate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// maxFile bounds a file in bytes; the largest in use are lists of some 100,000 domains.
const maxFile = 64 << 20

// ReadFile reads a regular file of at most 64 MiB: no pipe holds it up, and no size fills memory.
func ReadFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("it is no regular file")}
	case info.Size() > maxFile:
		return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("it is larger than %d bytes", maxFile)}
	}
	return os.ReadFile(path)
}

// AsidePrefix begins the hidden name of what was set aside in its folder.
const AsidePrefix = ".before-postilion."

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
