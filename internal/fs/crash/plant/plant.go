// Package plant puts bugs of durability into a file system, one kind at a time, so
// that a crash test can prove that it finds them: a test that still passes on a
// planted file system proves nothing.
package plant

import (
	"os"
	"path"
	"sync"
	"sync/atomic"

	"github.com/postilion/postilion/internal/fs"
)

// Bug is a kind of bug; kinds combine with |.
type Bug uint

// The bugs. What is left out is reported as done.
const (
	// NoFileSync leaves out Sync and SyncData of files.
	NoFileSync Bug = 1 << iota
	// NoDirSync leaves out SyncDir, and Sync of an open folder.
	NoDirSync
	// NoSyncAll leaves out SyncAll.
	NoSyncAll
	// SyncAfterRename puts off a file's Sync until the next Rename or Link has
	// happened, as a program does that has the two in the wrong order.
	SyncAfterRename
	// SyncAtClose puts off a file's Sync until the file is closed.
	SyncAtClose
	// NotExclusive opens the file that is there when O_EXCL asks for a new one, and
	// empties it.
	NotExclusive
	// LinkReplaces lets Link replace a file that is there.
	LinkReplaces

	// NoSync leaves out every sync.
	NoSync = NoFileSync | NoDirSync | NoSyncAll
)

// FS is a file system with bugs. Make it with Wrap.
type FS struct {
	fs.FS
	prefix string
	shared *state
}

// state is what an FS shares with its Subs.
type state struct {
	bugs    Bug
	where   func(name string) bool
	planted atomic.Int64

	mu      sync.Mutex
	delayed []fs.File // of SyncAfterRename
}

// Wrap returns fsys with bugs in it.
func Wrap(fsys fs.FS, bugs Bug) *FS {
	return WrapWhere(fsys, bugs, func(string) bool { return true })
}

// WrapWhere is Wrap for the files and folders only whose names, from the root of
// fsys, where answers true. A SyncAll goes by the name ".".
func WrapWhere(fsys fs.FS, bugs Bug, where func(name string) bool) *FS {
	return &FS{FS: fsys, prefix: ".", shared: &state{bugs: bugs, where: where}}
}

// Planted tells how often a bug made a difference: 0 proves nothing either.
func (f *FS) Planted() int { return int(f.shared.planted.Load()) }

// has tells whether a bug is to act on a name, and counts it.
func (f *FS) has(b Bug, name string) bool {
	if f.shared.bugs&b == 0 || !f.shared.where(path.Join(f.prefix, name)) {
		return false
	}
	f.shared.planted.Add(1)
	return true
}

// OpenFile implements fs.FS.
func (f *FS) OpenFile(name string, flag int, perm fs.FileMode) (fs.File, error) {
	const exclusive = os.O_CREATE | os.O_EXCL
	if flag&exclusive == exclusive && f.has(NotExclusive, name) {
		flag = flag&^os.O_EXCL | os.O_TRUNC
	}
	opened, err := f.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &file{File: opened, fs: f, name: name}, nil
}

// SyncDir implements fs.FS.
func (f *FS) SyncDir(name string) error {
	if info, err := f.FS.Stat(name); err == nil && info.IsDir() && f.has(NoDirSync, name) {
		return nil
	}
	return f.FS.SyncDir(name)
}

// SyncAll implements fs.FS.
func (f *FS) SyncAll() error {
	if f.has(NoSyncAll, ".") {
		return nil
	}
	return f.FS.SyncAll()
}

// Rename implements fs.FS.
func (f *FS) Rename(oldname, newname string) error {
	if err := f.FS.Rename(oldname, newname); err != nil {
		return err
	}
	return f.shared.syncDelayed()
}

// Link implements fs.FS.
func (f *FS) Link(oldname, newname string) error {
	if _, err := f.FS.Lstat(newname); err == nil && f.has(LinkReplaces, newname) {
		if err := f.FS.Remove(newname); err != nil {
			return err
		}
	}
	if err := f.FS.Link(oldname, newname); err != nil {
		return err
	}
	return f.shared.syncDelayed()
}

// Sub implements fs.FS.
func (f *FS) Sub(name string) (fs.FS, error) {
	sub, err := f.FS.Sub(name)
	if err != nil {
		return nil, err
	}
	return &FS{FS: sub, prefix: path.Join(f.prefix, name), shared: f.shared}, nil
}

func (s *state) syncDelayed() error {
	s.mu.Lock()
	delayed := s.delayed
	s.delayed = nil
	s.mu.Unlock()
	for _, f := range delayed {
		if err := f.Sync(); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// file is an open file of an FS with bugs.
type file struct {
	fs.File
	fs   *FS
	name string

	atClose atomic.Bool
}

// Sync implements fs.File.
func (f *file) Sync() error { return f.sync(f.File.Sync) }

// SyncData implements fs.File.
func (f *file) SyncData() error { return f.sync(f.File.SyncData) }

func (f *file) sync(do func() error) error {
	if info, err := f.File.Stat(); err != nil {
		return err
	} else if info.IsDir() {
		if f.fs.has(NoDirSync, f.name) {
			return nil
		}
		return do()
	}
	switch {
	case f.fs.has(NoFileSync, f.name):
		return nil
	case f.fs.has(SyncAtClose, f.name):
		f.atClose.Store(true)
		return nil
	case f.fs.has(SyncAfterRename, f.name):
		return f.delay()
	}
	return do()
}

// delay keeps a descriptor of its own: the file may be closed before the rename.
func (f *file) delay() error {
	again, err := f.fs.FS.OpenFile(f.name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	f.fs.shared.mu.Lock()
	defer f.fs.shared.mu.Unlock()
	f.fs.shared.delayed = append(f.fs.shared.delayed, again)
	return nil
}

// Close implements fs.File.
func (f *file) Close() error {
	if f.atClose.Load() {
		if err := f.File.Sync(); err != nil {
			return err
		}
	}
	return f.File.Close()
}
