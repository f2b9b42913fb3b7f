package osfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Sync makes durable what a file holds, or the names that a folder has.
func Sync(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Replace writes a file under another name, its own with ".new" behind it, and renames it; after a power cut the old or
// the new one is there, whole. Its rights are mode, whatever the umask; it is of the group that the file before
// it was of, so that all who read that still can. The folder may be another user's
// and the caller root: a link that waits under the other name is not written through.
func Replace(name string, p []byte, mode os.FileMode) error {
	temp := name + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(p)
	if old, statErr := os.Lstat(name); statErr == nil && err == nil {
		err = f.Chown(-1, int(old.Sys().(*syscall.Stat_t).Gid))
	}
	err = errors.Join(err, f.Chmod(mode))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp, name); err != nil {
		return err
	}
	return Sync(filepath.Dir(name))
}
