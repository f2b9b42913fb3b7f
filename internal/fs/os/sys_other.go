//go:build darwin || freebsd

package osfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/postilion/postilion/internal/fs"
)

// There is no syncfs here: sync(2) does not wait for the disk.
func syncable(int) error { return errors.ErrUnsupported }

func rename(from, to string) error { return os.Rename(from, to) }

func syncfs(int) error { return errors.ErrUnsupported }

// SyncData implements fs.File.
func (f *osFile) SyncData() error { return f.Sync() }

// Reserve implements fs.File.
func (f *osFile) Reserve(int64, int64) error { return nil }

func space(path string) (fs.Space, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return fs.Space{}, err
	}
	unit := uint64(st.Bsize)
	return fs.Space{
		TotalBytes: st.Blocks * unit, FreeBytes: uint64(st.Bavail) * unit,
		TotalInodes: st.Files, FreeInodes: uint64(st.Ffree),
	}, nil
}
