package crashfs

import (
	"errors"
	"io"
	"os"
	"path"
	"syscall"
	"time"

	"github.com/postilion/postilion/internal/fs"
)

// handle is an open file.
type handle struct {
	disk   *disk
	node   *node
	name   string // as given to OpenFile
	full   string
	flag   int
	offset int64
	told   int  // the failed SyncAll that a Sync has told of
	locked bool // it holds the node's lock
	closed bool
}

const accessMode = os.O_RDONLY | os.O_WRONLY | os.O_RDWR

// OpenFile implements fs.FS. Making a file and emptying one are operations of the
// journal, opening one is not.
func (f *FS) OpenFile(name string, flag int, perm fs.FileMode) (fs.File, error) {
	full, err := f.full(name)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	for {
		n, err := f.open(full, flag, perm)
		if err == errRetry {
			continue
		}
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: name, Err: err}
		}
		h := &handle{disk: f.disk, node: n, name: name, full: full, flag: flag}
		f.mu.Lock()
		defer f.mu.Unlock()
		if n.told {
			h.told = n.lost
		}
		return h, nil
	}
}

// errRetry tells that another goroutine made or removed the file in between.
const errRetry = syscall.EAGAIN

func (f *FS) open(full string, flag int, perm fs.FileMode) (opened *node, err error) {
	f.mu.Lock()
	_, err = f.find(full)
	f.mu.Unlock()
	c := Call{Kind: OpOpen, Name: full}
	switch {
	case err != nil && flag&os.O_CREATE != 0:
		c.Kind = OpCreate
	case err == nil && flag&os.O_TRUNC != 0 && flag&os.O_EXCL == 0:
		c.Kind = OpTruncate
	}
	err = f.do(c, func(o *op) error {
		n, err := f.find(full)
		if err == syscall.ENOENT && flag&os.O_CREATE != 0 {
			if c.Kind != OpCreate {
				return errRetry
			}
			opened, err = f.createFile(o, full, perm)
			return err
		}
		if err != nil {
			return err
		}
		if c.Kind == OpCreate && flag&os.O_EXCL == 0 {
			return errRetry
		}
		opened = n
		return f.openNode(o, n, flag)
	})
	return opened, err
}

func (f *FS) createFile(o *op, full string, perm fs.FileMode) (*node, error) {
	dir, last, err := f.parent(full)
	if err != nil {
		return nil, err
	}
	n := f.create(o, dir, last, false, perm)
	n.handles++
	return n, nil
}

func (f *FS) openNode(o *op, n *node, flag int) error {
	if flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL {
		return syscall.EEXIST
	}
	if n.dir && (flag&accessMode != os.O_RDONLY || flag&(os.O_CREATE|os.O_TRUNC) != 0) {
		return syscall.EISDIR
	}
	if flag&os.O_TRUNC != 0 {
		if err := f.truncate(o, n, 0); err != nil {
			return err
		}
	}
	n.handles++
	return nil
}

// do does an operation on the open file, and names the file in its error; io.EOF
// stays as it is.
func (h *handle) do(verb string, c Call, f func(o *op) error) error {
	c.Name, c.node = h.full, h.node.id
	err := h.disk.do(c, func(o *op) error {
		if h.closed {
			return os.ErrClosed
		}
		return f(o)
	})
	if err != nil && err != io.EOF {
		return &os.PathError{Op: verb, Path: h.name, Err: err}
	}
	return err
}

func (h *handle) mayRead() error {
	if h.flag&accessMode == os.O_WRONLY {
		return syscall.EBADF
	}
	if h.node.dir {
		return syscall.EISDIR
	}
	return nil
}

func (h *handle) mayWrite() error {
	if h.flag&accessMode == os.O_RDONLY {
		return syscall.EBADF
	}
	return nil
}

// Name implements fs.File.
func (h *handle) Name() string { return h.name }

// Read implements fs.File.
func (h *handle) Read(p []byte) (n int, err error) {
	err = h.do("read", Call{Kind: OpRead, Offset: -1, Len: int64(len(p))}, func(*op) error {
		if err := h.mayRead(); err != nil {
			return err
		}
		n, err = h.node.readAt(p, h.offset)
		h.offset += int64(n)
		if n > 0 {
			return nil
		}
		return err
	})
	return n, err
}

// ReadAt implements fs.File.
func (h *handle) ReadAt(p []byte, off int64) (n int, err error) {
	err = h.do("read", Call{Kind: OpRead, Offset: off, Len: int64(len(p))}, func(*op) error {
		if err := h.mayRead(); err != nil {
			return err
		}
		n, err = h.node.readAt(p, off)
		return err
	})
	return n, err
}

// Write implements fs.File.
func (h *handle) Write(p []byte) (n int, err error) {
	err = h.do("write", Call{Kind: OpWrite, Len: int64(len(p))}, func(o *op) error {
		if err := h.mayWrite(); err != nil {
			return err
		}
		if h.flag&os.O_APPEND != 0 {
			h.offset = h.node.size
		}
		o.Offset = h.offset
		n, err = h.disk.write(o, h.node, p, h.offset)
		h.offset += int64(n)
		return err
	})
	return n, err
}

// WriteAt implements fs.File.
func (h *handle) WriteAt(p []byte, off int64) (n int, err error) {
	err = h.do("write", Call{Kind: OpWrite, Offset: off, Len: int64(len(p))}, func(o *op) error {
		if h.flag&os.O_APPEND != 0 { // as package os
			return errors.New("WriteAt on a file opened with O_APPEND")
		}
		if err := h.mayWrite(); err != nil {
			return err
		}
		n, err = h.disk.write(o, h.node, p, off)
		return err
	})
	return n, err
}

// Seek implements fs.File.
func (h *handle) Seek(offset int64, whence int) (pos int64, err error) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += h.offset
	case io.SeekEnd:
		offset += h.node.size
	}
	switch {
	case h.closed:
		err = os.ErrClosed
	case offset < 0 || whence < io.SeekStart || whence > io.SeekEnd:
		err = syscall.EINVAL
	default:
		h.offset = offset
		return offset, nil
	}
	return 0, &os.PathError{Op: "seek", Path: h.name, Err: err}
}

// Truncate implements fs.File.
func (h *handle) Truncate(size int64) error {
	return h.do("truncate", Call{Kind: OpTruncate, Len: size}, func(o *op) error {
		if h.mayWrite() != nil {
			return syscall.EINVAL // ftruncate(2)
		}
		return h.disk.truncate(o, h.node, size)
	})
}

// Sync implements fs.File. On a folder it is SyncDir, as fsync(2) is.
func (h *handle) Sync() error { return h.sync("sync", syncTime) }

// SyncData implements fs.File.
func (h *handle) SyncData() error { return h.sync("fdatasync") }

func (h *handle) sync(verb string, also ...changeKind) error {
	c := Call{Kind: OpSync}
	if h.node.dir {
		c.Kind = OpSyncDir
	}
	return h.do(verb, c, func(o *op) error {
		if h.node.dir {
			o.add(change{kind: syncNames, node: h.node.id})
			return nil
		}
		o.add(change{kind: syncContent, node: h.node.id})
		for _, kind := range also {
			o.add(change{kind: kind, node: h.node.id})
		}
		h.node.synced = o.N
		if h.node.lost > h.told { // fsync(2): each open file learns of it, since Linux 4.13
			h.told, h.node.told = h.node.lost, true
			return syscall.EIO
		}
		return nil
	})
}

// TryLock implements fs.File. The lock is gone after a cut.
func (h *handle) TryLock() error {
	return h.do("flock", Call{Kind: OpLock}, func(*op) error {
		if h.disk.locked[h.node.id] && !h.locked {
			return fs.ErrLocked
		}
		h.disk.locked[h.node.id], h.locked = true, true
		return nil
	})
}

// Reserve implements fs.File.
func (h *handle) Reserve(int64, int64) error { return nil }

// Stat implements fs.File.
func (h *handle) Stat() (info fs.FileInfo, err error) {
	err = h.do("stat", Call{Kind: OpStat}, func(*op) error {
		info = h.node.info(path.Base(h.full))
		return nil
	})
	return info, err
}

// Close implements fs.File. It makes nothing durable.
func (h *handle) Close() error {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if h.closed {
		return &os.PathError{Op: "close", Path: h.name, Err: os.ErrClosed}
	}
	h.closed = true
	if h.locked {
		delete(h.disk.locked, h.node.id)
	}
	h.disk.drop(h.node, 0, 1)
	return nil
}

// info is what Stat tells.
type info struct {
	name  string
	size  int64
	mode  fs.FileMode
	mtime time.Time
}

// info is called with the disk's lock held.
func (n *node) info(name string) fs.FileInfo {
	mode := n.mode
	if n.dir {
		mode |= os.ModeDir
	}
	return info{name: name, size: n.size, mode: mode, mtime: n.mtime}
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return i.mtime }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }
