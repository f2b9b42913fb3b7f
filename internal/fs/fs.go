// Package fs is the file system as the rest of the program sees it: what POSIX
// promises about names, contents and syncs, and nothing more.
//
// There are two: fs/os on the operating system's, and fs/crash, a model that can
// lose power at any operation. Names are slash-separated and relative to the FS's
// root; a name that would leave the root is refused with ErrInvalid.
//
// Durability is as POSIX and no kinder: a file's content survives a power cut only
// after its Sync, and a name (created, renamed, linked or removed) only after
// SyncDir of its folder. SyncAll does both for everything written before the call.
package fs

import (
	"io"
	"io/fs"
	"time"
)

// Names of package io/fs, so that users need to import only one fs.
type (
	FileInfo = fs.FileInfo
	FileMode = fs.FileMode
	DirEntry = fs.DirEntry
)

// Errors, tested for with errors.Is.
var (
	ErrExist    = fs.ErrExist
	ErrNotExist = fs.ErrNotExist
	ErrInvalid  = fs.ErrInvalid
)

// FS is a tree of files. Implementations are safe for concurrent use. Errors are
// *PathError or *LinkError naming the file, wrapping a syscall.Errno where the
// system gave one (ENOSPC, EIO, EDQUOT, …).
type FS interface {
	// OpenFile opens name with the flags of package os (O_RDONLY, O_CREATE|O_EXCL, …).
	OpenFile(name string, flag int, perm FileMode) (File, error)
	Mkdir(name string, perm FileMode) error
	MkdirAll(name string, perm FileMode) error
	// Remove removes a file or an empty folder.
	Remove(name string) error
	// RemoveAll removes name and what is below it; a missing name is no error.
	RemoveAll(name string) error
	// Rename moves a file or folder, replacing a file of the new name.
	Rename(oldname, newname string) error
	// Link makes a hard link; ErrExist when newname exists.
	Link(oldname, newname string) error
	Stat(name string) (FileInfo, error)
	Lstat(name string) (FileInfo, error)
	// ReadDir lists a folder, sorted by name.
	ReadDir(name string) ([]DirEntry, error)
	Chtimes(name string, atime, mtime time.Time) error

	// SyncDir makes the names in one folder durable.
	SyncDir(name string) error
	// SyncAll makes everything written in the FS before the call durable, with one
	// sync for all (syncfs(2)). Where the file system cannot promise this (NFS) the
	// error is errors.ErrUnsupported.
	SyncAll() error

	// Lock takes the exclusive lock on a file, made if missing, without waiting. The
	// error of a lock held by another process wraps ErrLocked and tells its pid where
	// known. Closing releases it.
	Lock(name string) (io.Closer, error)
	// Space tells how much room is left on the file system that holds name.
	Space(name string) (Space, error)
	// Sub returns the tree below the folder name as an FS of its own.
	Sub(name string) (FS, error)
}

// File is an open file.
type File interface {
	io.Reader
	io.ReaderAt
	io.Writer
	io.WriterAt
	io.Seeker
	io.Closer
	Name() string // as given to OpenFile
	Stat() (FileInfo, error)
	Truncate(size int64) error
	// Reserve takes room for what will be written from offset at on, where the file system may else have none left
	// for a Truncate back after a write that failed: btrfs with a quota. Elsewhere it does nothing.
	Reserve(at, size int64) error
	// Sync makes the content and the size durable (fsync(2)).
	Sync() error
	// SyncData is Sync without the times (fdatasync(2)).
	SyncData() error
	// TryLock takes the file's exclusive lock (flock(2)) without waiting; other programs that
	// ask for it keep away until Close. The error of a lock held elsewhere, in this process too,
	// wraps ErrLocked. Unlike FS.Lock it leaves the content alone.
	TryLock() error
}

// Space is the room left on a file system.
type Space struct {
	TotalBytes, FreeBytes   uint64 // free to unprivileged users
	TotalInodes, FreeInodes uint64 // 0 and 0 where the file system does not count
}

// ErrLocked is wrapped by the error of Lock when somebody else holds the lock.
var ErrLocked = lockedError{}

type lockedError struct{}

func (lockedError) Error() string { return "locked by another process" }
