package fstest

import (
	"errors"

	"github.com/postilion/postilion/internal/fs"
)

// LateFailure is a file system whose files tell of a failed write only when they are closed, as NFS may.
type LateFailure struct {
	fs.FS
	Err error
}

// OpenFile implements fs.FS.
func (l LateFailure) OpenFile(name string, flag int, perm fs.FileMode) (fs.File, error) {
	f, err := l.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return lateFile{f, l.Err}, nil
}

type lateFile struct {
	fs.File
	err error
}

func (f lateFile) Close() error { return errors.Join(f.File.Close(), f.err) }
