// Package pebblex is a store of rows and bodies: commits are durable in a log of its own (log), and Pebble
// is brought to where the log is. An Engine keeps both working over failures of the disk. It knows no domain types.
package pebblex

import (
	"errors"
	"io"
	"os"
	"path"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/postilion/postilion/internal/fs"
)

// VFS lets Pebble run on fsys. Names are fsys's: relative to its root, so a store
// in its root folder is opened as ".". Each sync of Pebble's is one of fsys's, in the
// same order; nothing is kept back, and markers are synced more, see settleMarker.
func VFS(fsys fs.FS) vfs.FS { return &pebbleFS{fsys} }

type pebbleFS struct{ fs fs.FS }

// Create implements vfs.FS. As vfs asks, an old file of this name is removed and
// not truncated: it may have other names, in a checkpoint for instance.
func (p *pebbleFS) Create(name string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	if err := p.settleMarker(name); err != nil {
		return nil, err
	}
	for {
		f, err := p.fs.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if !errors.Is(err, fs.ErrExist) {
			return p.file(f, err)
		}
		if err := p.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
}

// Open implements vfs.FS.
func (p *pebbleFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	return p.open(name, os.O_RDONLY, opts)
}

// OpenReadWrite implements vfs.FS.
func (p *pebbleFS) OpenReadWrite(
	name string, _ vfs.DiskWriteCategory, opts ...vfs.OpenOption,
) (vfs.File, error) {
	return p.open(name, os.O_RDWR|os.O_CREATE, opts)
}

func (p *pebbleFS) open(name string, flag int, opts []vfs.OpenOption) (vfs.File, error) {
	f, err := p.file(p.fs.OpenFile(name, flag, 0o666))
	if err != nil {
		return nil, err
	}
	for _, o := range opts {
		o.Apply(f)
	}
	return f, nil
}

// OpenDir implements vfs.FS. The folder is opened by its name again at each sync.
func (p *pebbleFS) OpenDir(name string) (vfs.File, error) {
	f, err := p.fs.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	return &pebbleDir{pebbleFile{File: f}, p.fs, name}, nil
}

// ReuseForWrite implements vfs.FS: the new name holds the old content, which the
// caller overwrites without making it shorter.
func (p *pebbleFS) ReuseForWrite(
	oldname, newname string, _ vfs.DiskWriteCategory,
) (vfs.File, error) {
	if err := p.fs.Rename(oldname, newname); err != nil {
		return nil, err
	}
	return p.open(newname, os.O_RDWR|os.O_CREATE, nil)
}

func (p *pebbleFS) Link(oldname, newname string) error   { return p.fs.Link(oldname, newname) }
func (p *pebbleFS) RemoveAll(name string) error          { return p.fs.RemoveAll(name) }
func (p *pebbleFS) Rename(oldname, newname string) error { return p.fs.Rename(oldname, newname) }
func (p *pebbleFS) Lock(name string) (io.Closer, error)  { return p.fs.Lock(name) }

// Remove implements vfs.FS.
func (p *pebbleFS) Remove(name string) error {
	if err := p.settleMarker(name); err != nil {
		return err
	}
	return p.fs.Remove(name)
}

// settleMarker syncs the folder before a marker file is made or removed. Pebble makes
// a manifest, then the marker that names it, then removes the old marker, and syncs
// the folder only then (atomicfs.Marker.Move). POSIX lets any of the three reach the
// disk alone: a marker without its manifest is a store that does not open, and no
// marker is taken for a new store, which begins empty. Markers move once in many
// megabytes, so the syncs cost nothing that counts.
func (p *pebbleFS) settleMarker(name string) error {
	if !strings.HasPrefix(path.Base(name), "marker.") {
		return nil
	}
	return p.fs.SyncDir(path.Dir(name))
}

// MkdirAll implements vfs.FS.
func (p *pebbleFS) MkdirAll(dir string, perm os.FileMode) error { return p.fs.MkdirAll(dir, perm) }

// List implements vfs.FS.
func (p *pebbleFS) List(dir string) ([]string, error) {
	entries, err := p.fs.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

// Stat implements vfs.FS.
func (p *pebbleFS) Stat(name string) (vfs.FileInfo, error) {
	return info(p.fs.Stat(name))
}

func (p *pebbleFS) PathBase(name string) string    { return path.Base(name) }
func (p *pebbleFS) PathJoin(elem ...string) string { return path.Join(elem...) }
func (p *pebbleFS) PathDir(name string) string     { return path.Dir(name) }
func (p *pebbleFS) Unwrap() vfs.FS                 { return nil }
func (p *pebbleFS) file(f fs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &pebbleFile{f}, nil
}

// GetDiskUsage implements vfs.FS.
func (p *pebbleFS) GetDiskUsage(name string) (vfs.DiskUsage, error) {
	s, err := p.fs.Space(name)
	if err != nil {
		return vfs.DiskUsage{}, err
	}
	return vfs.DiskUsage{
		AvailBytes: s.FreeBytes,
		TotalBytes: s.TotalBytes,
		UsedBytes:  s.TotalBytes - s.FreeBytes,
	}, nil
}

// pebbleFile is an open file without a descriptor of the system's.
type pebbleFile struct{ fs.File }

// Stat implements vfs.File.
func (f *pebbleFile) Stat() (vfs.FileInfo, error) { return info(f.File.Stat()) }

// SyncTo implements vfs.File with a full sync, which the interface allows.
func (f *pebbleFile) SyncTo(int64) (fullSync bool, err error) {
	if err := f.File.SyncData(); err != nil {
		return false, err
	}
	return true, nil
}

// Preallocate implements vfs.File, where doing nothing is allowed.
func (f *pebbleFile) Preallocate(offset, length int64) error { return nil }

// Prefetch implements vfs.File, where doing nothing is allowed.
func (f *pebbleFile) Prefetch(offset int64, length int64) error { return nil }

// Fd implements vfs.File.
func (f *pebbleFile) Fd() uintptr { return vfs.InvalidFd }

// pebbleDir is a folder opened to make its names durable.
type pebbleDir struct {
	pebbleFile
	fs   fs.FS
	name string
}

func (d *pebbleDir) Sync() error     { return d.fs.SyncDir(d.name) }
func (d *pebbleDir) SyncData() error { return d.fs.SyncDir(d.name) }

// SyncTo implements vfs.File: it does nothing for a folder.
func (d *pebbleDir) SyncTo(int64) (fullSync bool, err error) { return false, nil }

// fileInfo has no device: Pebble uses it for disk statistics only.
type fileInfo struct{ fs.FileInfo }

func (fileInfo) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }

func info(i fs.FileInfo, err error) (vfs.FileInfo, error) {
	if err != nil {
		return nil, err
	}
	return fileInfo{i}, nil
}
