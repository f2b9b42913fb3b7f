// Package osfs is the operating system's file system as an fs.FS.
//
// It adds nothing to what the system promises: a Sync is an fsync(2), SyncDir an
// fsync(2) of the folder, SyncAll a syncfs(2) where that waits for the disk and
// reports what went wrong, and an error where it does not. Names stay below the
// root by their spelling; symbolic links are followed wherever the owner of the
// tree made them point, so the root must not be writable for strangers.
package osfs

import (
	"fmt"
	"io"
	stdfs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/postilion/postilion/internal/fs"
)

// FS is the tree below one folder. Make it with New.
type FS struct {
	root    string
	devices *devices
}

var _ fs.FS = (*FS)(nil)

// New returns the tree below the folder root, which must exist. A relative root
// is taken from the working directory of this moment.
func New(root string) (fs.FS, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, &stdfs.PathError{Op: "open", Path: root, Err: err}
	}
	f := &FS{root: abs, devices: newDevices()}
	if err := f.holdRoot(); err != nil {
		return nil, err
	}
	return built(f), nil
}

// holdRoot takes note of the root's device and refuses a root that is no folder.
func (f *FS) holdRoot() error {
	info, err := os.Stat(f.root)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return &stdfs.PathError{Op: "open", Path: f.root, Err: syscall.ENOTDIR}
	}
	return f.devices.noteFolder(f.root)
}

// Sub returns the tree below the folder name.
func (f *FS) Sub(name string) (fs.FS, error) {
	path, err := f.path("open", name)
	if err != nil {
		return nil, err
	}
	sub := &FS{root: path, devices: f.devices.sub()}
	if err := sub.holdRoot(); err != nil {
		return nil, err
	}
	return sub, nil
}

// path returns where name lies, without "." and the like. A name with a zero byte is refused by package os.
func (f *FS) path(op, name string) (string, error) {
	if filepath.Separator == '/' && name != "." && stdfs.ValidPath(name) { // most names have nothing to clean
		return strings.TrimSuffix(f.root, "/") + "/" + name, nil
	}
	if !filepath.IsLocal(name) {
		return "", &stdfs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	return filepath.Join(f.root, name), nil
}

// entry is path for an operation on a name in a folder, which the root has not. It
// takes note of the folder's device, so that SyncAll covers the operation.
func (f *FS) entry(op, name string) (string, error) {
	path, err := f.path(op, name)
	if err != nil {
		return "", err
	}
	if path == f.root {
		return "", &stdfs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	// A missing folder is the operation's own error to tell.
	_ = f.devices.noteFolder(path[:max(1, strings.LastIndexByte(path, filepath.Separator))])
	return path, nil
}

// OpenFile implements fs.FS.
func (f *FS) OpenFile(name string, flag int, perm fs.FileMode) (fs.File, error) {
	path, err := f.path("open", name)
	if err != nil {
		return nil, err
	}
	file, err := openFile(path, flag|syscall.O_CLOEXEC, perm)
	if err != nil {
		return nil, err
	}
	if flag&(os.O_WRONLY|os.O_RDWR|os.O_CREATE|os.O_TRUNC) != 0 {
		if err := f.devices.noteFile(file); err != nil {
			return nil, closeAfter(file, err)
		}
	}
	return &osFile{File: file, name: name}, nil
}

// Mkdir implements fs.FS.
func (f *FS) Mkdir(name string, perm fs.FileMode) error {
	path, err := f.entry("mkdir", name)
	if err != nil {
		return err
	}
	return os.Mkdir(path, perm)
}

// MkdirAll implements fs.FS.
func (f *FS) MkdirAll(name string, perm fs.FileMode) error {
	path, err := f.path("mkdir", name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(path, perm); err != nil {
		return err
	}
	return f.devices.noteFolder(path)
}

// Remove implements fs.FS.
func (f *FS) Remove(name string) error {
	path, err := f.entry("remove", name)
	if err != nil {
		return err
	}
	return os.Remove(path)
}

// RemoveAll implements fs.FS.
func (f *FS) RemoveAll(name string) error {
	path, err := f.entry("remove", name)
	if err != nil {
		return err
	}
	return os.RemoveAll(path)
}

// Rename implements fs.FS.
func (f *FS) Rename(oldname, newname string) error {
	return f.two("rename", oldname, newname, rename)
}

// Link implements fs.FS.
func (f *FS) Link(oldname, newname string) error {
	return f.two("link", oldname, newname, os.Link)
}

// two does an operation of two names. The system refuses one that leads to another
// device, so that noting the device of the second covers both.
func (f *FS) two(op, oldname, newname string, do func(from, to string) error) error {
	from, err := f.path(op, oldname)
	if err == nil && from == f.root {
		err = &stdfs.PathError{Op: op, Path: oldname, Err: fs.ErrInvalid}
	}
	if err != nil {
		return err
	}
	to, err := f.entry(op, newname)
	if err != nil {
		return err
	}
	return do(from, to)
}

// Stat implements fs.FS.
func (f *FS) Stat(name string) (fs.FileInfo, error) {
	path, err := f.path("stat", name)
	if err != nil {
		return nil, err
	}
	return os.Stat(path)
}

// Lstat implements fs.FS.
func (f *FS) Lstat(name string) (fs.FileInfo, error) {
	path, err := f.path("lstat", name)
	if err != nil {
		return nil, err
	}
	return os.Lstat(path)
}

// ReadDir implements fs.FS.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	path, err := f.path("open", name)
	if err != nil {
		return nil, err
	}
	return os.ReadDir(path)
}

// Chtimes implements fs.FS.
func (f *FS) Chtimes(name string, atime, mtime time.Time) error {
	path, err := f.entry("chtimes", name)
	if err != nil {
		return err
	}
	return os.Chtimes(path, atime, mtime)
}

// SyncDir implements fs.FS.
func (f *FS) SyncDir(name string) error {
	path, err := f.path("sync", name)
	if err != nil {
		return err
	}
	dir, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer dir.Close() // read only: nothing can be lost here
	// fsync(2) EINVAL: a file system (SMB among them) that cannot sync a folder, and
	// on which a name is as durable as the server makes it.
	if err := dir.Sync(); err != nil && !isErrno(err, syscall.EINVAL) {
		return err
	}
	return nil
}

// SyncAll implements fs.FS. After a device has once reported that data was lost it
// is unsupported there for the life of the process, see device.
func (f *FS) SyncAll() error {
	if err := f.devices.sync(); err != nil {
		return &stdfs.PathError{Op: "syncfs", Path: f.root, Err: err}
	}
	return nil
}

// Space implements fs.FS.
func (f *FS) Space(name string) (fs.Space, error) {
	path, err := f.path("statfs", name)
	if err != nil {
		return fs.Space{}, err
	}
	space, err := space(path)
	if err != nil {
		return fs.Space{}, &stdfs.PathError{Op: "statfs", Path: path, Err: err}
	}
	return space, nil
}

// openFile is os.OpenFile for files on a disk, which no poller can wait for: package os
// asks it nevertheless, with five system calls for each file.
func openFile(path string, flag int, perm fs.FileMode) (*os.File, error) {
	for {
		fd, err := syscall.Open(path, flag, uint32(perm.Perm()))
		if err == nil {
			return os.NewFile(uintptr(fd), path), nil
		}
		if err != syscall.EINTR {
			return nil, &stdfs.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

// osFile is an open file that goes by the name it was opened with.
type osFile struct {
	*os.File
	name   string
	locked bool
}

func (f *osFile) Name() string { return f.name }

// closeAfter closes what cannot be used because of err, and returns err.
func closeAfter(c io.Closer, err error) error {
	if closeErr := c.Close(); closeErr != nil {
		return fmt.Errorf("%w (and closing: %w)", err, closeErr)
	}
	return err
}
