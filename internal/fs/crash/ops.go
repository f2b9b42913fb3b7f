package crashfs

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	stdfs "io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/postilion/postilion/internal/fs"
)

// Mkdir implements fs.FS.
func (f *FS) Mkdir(name string, perm fs.FileMode) error {
	return f.one("mkdir", OpMkdir, name, func(o *op, full string) error {
		dir, last, err := f.parent(full)
		if err != nil {
			return err
		}
		if _, err := dir.lookup(last); err == nil {
			return syscall.EEXIST
		}
		f.create(o, dir, last, true, perm)
		return nil
	})
}

// MkdirAll implements fs.FS: one operation for each folder it makes.
func (f *FS) MkdirAll(name string, perm fs.FileMode) error {
	info, err := f.Stat(name)
	if err == nil {
		if !info.IsDir() {
			return &os.PathError{Op: "mkdir", Path: name, Err: syscall.ENOTDIR}
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := f.MkdirAll(path.Dir(path.Clean(name)), perm); err != nil {
		return err
	}
	err = f.Mkdir(name, perm)
	if errors.Is(err, fs.ErrExist) { // somebody else was faster
		if info, statErr := f.Stat(name); statErr == nil && info.IsDir() {
			return nil
		}
	}
	return err
}

// Remove implements fs.FS.
func (f *FS) Remove(name string) error {
	return f.one("remove", OpRemove, name, func(o *op, full string) error {
		dir, last, err := f.parent(full)
		if err != nil {
			return err
		}
		id, err := dir.lookup(last)
		if err != nil {
			return err
		}
		n := f.node(id)
		if len(n.names) > 0 {
			return syscall.ENOTEMPTY
		}
		f.setName(o, dir, last, 0)
		f.drop(n, 1, 0)
		return nil
	})
}

// RemoveAll implements fs.FS: one operation for each name it removes.
func (f *FS) RemoveAll(name string) error {
	if full, err := f.full(name); err != nil || full == f.prefix {
		return &os.PathError{Op: "remove", Path: name, Err: fs.ErrInvalid}
	}
	err := f.Remove(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if !errors.Is(err, syscall.ENOTEMPTY) {
		return err
	}
	entries, err := f.ReadDir(name)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := f.RemoveAll(path.Join(name, e.Name())); err != nil {
			return err
		}
	}
	if err := f.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Rename implements fs.FS, with the errors of os.Rename on Linux.
func (f *FS) Rename(oldname, newname string) error {
	return f.two("rename", OpRename, oldname, newname, func(o *op, from, to string) error {
		fromDir, fromLast, err := f.parent(from)
		if err != nil {
			return err
		}
		toDir, toLast, err := f.parent(to)
		if err != nil {
			return err
		}
		id, err := fromDir.lookup(fromLast)
		if err != nil {
			return err
		}
		if err := f.replaceable(f.node(id), from, to, toDir.names[toLast]); err != nil {
			return err
		}
		old := toDir.names[toLast]
		if old == id { // rename(2): two names of one file, nothing happens
			return nil
		}
		fromDir.setName(fromLast, 0)
		toDir.setName(toLast, id)
		fromDir.mtime, toDir.mtime = o.at, o.at
		o.add(change{
			kind: moveName, node: fromDir.id, name: fromLast,
			dir: toDir.id, newer: toLast, to: id, isDir: f.node(id).dir,
		})
		if old != 0 {
			f.drop(f.node(old), 1, 0)
		}
		return nil
	})
}

// replaceable tells whether n may be renamed over the node old, 0 for none.
func (d *disk) replaceable(n *node, from, to string, old ino) error {
	if n.dir && strings.HasPrefix(to, from+"/") {
		return syscall.EINVAL
	}
	if old == 0 || old == n.id && !n.dir {
		return nil
	}
	if d.node(old).dir {
		return syscall.EEXIST
	}
	if n.dir {
		return syscall.ENOTDIR
	}
	return nil
}

// Link implements fs.FS.
func (f *FS) Link(oldname, newname string) error {
	return f.two("link", OpLink, oldname, newname, func(o *op, from, to string) error {
		n, err := f.find(from)
		if err != nil {
			return err
		}
		dir, last, err := f.parent(to)
		if err != nil {
			return err
		}
		if _, err := dir.lookup(last); err == nil {
			return syscall.EEXIST
		}
		if n.dir {
			return syscall.EPERM
		}
		f.setName(o, dir, last, n.id)
		n.links++
		return nil
	})
}

// Stat implements fs.FS.
func (f *FS) Stat(name string) (fs.FileInfo, error) { return f.stat("stat", name) }

// Lstat implements fs.FS. There are no symbolic links here.
func (f *FS) Lstat(name string) (fs.FileInfo, error) { return f.stat("lstat", name) }

func (f *FS) stat(verb, name string) (info fs.FileInfo, err error) {
	err = f.one(verb, OpStat, name, func(_ *op, full string) error {
		n, err := f.find(full)
		if err != nil {
			return err
		}
		info = n.info(path.Base(full))
		return nil
	})
	return info, err
}

// ReadDir implements fs.FS.
func (f *FS) ReadDir(name string) (entries []fs.DirEntry, err error) {
	err = f.one("open", OpReadDir, name, func(_ *op, full string) error {
		n, err := f.find(full)
		if err != nil {
			return err
		}
		if !n.dir {
			return syscall.ENOTDIR
		}
		entries = make([]fs.DirEntry, 0, len(n.names))
		for name, id := range n.names {
			entries = append(entries, stdfs.FileInfoToDirEntry(f.node(id).info(name)))
		}
		return nil
	})
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return entries, err
}

// Chtimes implements fs.FS; only the time of modification is kept.
func (f *FS) Chtimes(name string, _, mtime time.Time) error {
	return f.one("chtimes", OpChtimes, name, func(o *op, full string) error {
		n, err := f.find(full)
		if err != nil {
			return err
		}
		if !mtime.IsZero() { // os.Chtimes: a zero time changes nothing
			n.mtime = mtime
			o.at = mtime
			o.add(change{kind: setTime, node: n.id})
		}
		return nil
	})
}

// SyncDir implements fs.FS.
func (f *FS) SyncDir(name string) error {
	return f.one("sync", OpSyncDir, name, func(o *op, full string) error {
		n, err := f.find(full)
		if err != nil {
			return err
		}
		if !n.dir {
			return syscall.ENOTDIR
		}
		o.add(change{kind: syncNames, node: n.id})
		return nil
	})
}

// SyncAll implements fs.FS. It speaks for the whole disk, in a Sub too. After one that failed it is unsupported, as in
// fs/os: syncfs(2) tells of a failure only once.
func (f *FS) SyncAll() error {
	return f.one("syncfs", OpSyncAll, ".", func(o *op, _ string) error {
		if f.noAll {
			return errors.ErrUnsupported
		}
		f.synced = o.N
		o.add(change{kind: syncAll})
		return nil
	})
}

// Lock implements fs.FS. A lock is gone after a cut; its file may be there.
func (f *FS) Lock(name string) (io.Closer, error) {
	file, err := f.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	n := file.(*handle).node
	err = f.one("lock", OpLock, name, func(*op, string) error {
		if f.locked[n.id] {
			return fmt.Errorf("%w (pid %d)", fs.ErrLocked, os.Getpid())
		}
		f.locked[n.id] = true
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &lock{file.(*handle)}, nil
}

type lock struct{ file *handle }

// Close releases the lock.
func (l *lock) Close() error {
	if err := l.file.Close(); err != nil { // the second time
		return err
	}
	l.file.disk.mu.Lock()
	defer l.file.disk.mu.Unlock()
	delete(l.file.disk.locked, l.file.node.id)
	return nil
}

// Space implements fs.FS. Without SetCapacity there is a terabyte.
func (f *FS) Space(name string) (s fs.Space, err error) {
	err = f.one("statfs", OpStat, name, func(_ *op, full string) error {
		if _, err := f.find(full); err != nil {
			return err
		}
		total := f.capacity
		if total == 0 {
			total = 1 << 40
		}
		s = fs.Space{TotalBytes: uint64(total), FreeBytes: uint64(max(0, total-f.total()))}
		return nil
	})
	return s, err
}

// Sub implements fs.FS.
func (f *FS) Sub(name string) (fs.FS, error) {
	info, err := f.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, &os.PathError{Op: "open", Path: name, Err: syscall.ENOTDIR}
	}
	return &FS{disk: f.disk, prefix: path.Join(f.prefix, name)}, nil
}
