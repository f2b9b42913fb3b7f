// Package mbox appends messages to mailboxes that are one file (mbox(5), qmail reference 10.3).
//
// A delivery is made when the file is synced; before that, or when it fails, the file has its
// old length again. Other programs are kept away by flock(2) and by a file NAME.lock, whichever
// they look at. There is no name to know a delivery again by: one that a crash cuts off from its
// record is made twice.
package mbox

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"sync"
	"syscall"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/fs"
)

// fileMode is a new mailbox's: its owner's alone (qmail reference 10.3).
const fileMode = 0o600

// Store appends to mailboxes in the files of one FS. The zero value of the other fields works. It
// is safe for concurrent use, also by several processes.
type Store struct {
	FS fs.FS
	// Barrier makes the deliveries of many callers durable with one sync; nil syncs each.
	Barrier *fs.Barrier
	Clock   clock.Clock // tells the age of NAME.lock; nil is the system's
	// LockWait is how long a locked mailbox is waited for; 0 is 30 s (qmail reference 10.3).
	LockWait time.Duration
	// Patient is how many deliveries may wait so long; others give up after three seconds of another program's lock, with
	// ErrBusy. 0 is 10.
	Patient int
	// StaleLock is the age at which NAME.lock is taken for left behind; 0 is 5 minutes.
	StaleLock time.Duration
	// Self is who makes locks, see ThisProcess: a NAME.lock of a process of this program that has ended is left
	// behind at once. The zero value knows of none.
	Self Process

	mu    sync.Mutex
	mark  string              // of this Store's locks
	held  map[fileID]int      // locks
	seen  map[string]sighting // locks of others, by name
	named map[string]fileID   // mailboxes whose names are durable
	turns map[string]*turn    // of mailboxes that somebody is at

	patient int // who may wait for LockWait
}

// Error is why a message was not appended. Op is "open", "lock", "read" (of the message) or "write".
type Error struct {
	Op  string
	Err error
}

func (e *Error) Error() string { return "mbox: " + e.Op + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Append adds one message to the mailbox at name: head, which begins with the From_ line, then the
// body with LF line ends. With a nil error it is durable there. Other errors than the context's
// are *Error.
func (s *Store) Append(ctx context.Context, name string, head []byte, body io.Reader) error {
	wait, got, err := s.enter(ctx, name)
	if err != nil {
		return waited(ctx, err)
	}
	defer s.leave(name)
	b, err := s.open(wait, name)
	got(!isLock(err))
	if err == nil && ctx.Err() != nil { // the caller is gone: who comes after it would append the message again
		err = errors.Join(ctx.Err(), b.close())
	}
	if err != nil {
		return waited(ctx, err)
	}
	err = b.append(head, body)
	if e := b.close(); err == nil && e != nil {
		err = &Error{"write", e} // NFS may tell of a failed write only here
	}
	return err
}

// box is a mailbox open for one delivery.
type box struct {
	s     *Store
	name  string
	file  fs.File
	size  int64  // before the delivery
	plain bool   // a regular file: it is locked, and cut back after a failure
	ends  string // what the message before lacks
	id    fileID
	wrote int64 // bytes

	dot      bool // NAME.lock is ours
	dotID    fileID
	dotSince time.Time
	without  bool // there can be no NAME.lock
}

// isLock reports whether an error is that of a lock that was not got.
func isLock(err error) bool { return errors.Is(err, fs.ErrLocked) || errors.Is(err, ErrBusy) }

// waited words the error of a wait for locks: an *Error, but for the end of the caller's context.
func waited(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{"lock", err}
}

// open opens and locks the mailbox. A mailbox that a program puts another file in place of
// meanwhile is opened again.
func (s *Store) open(ctx context.Context, name string) (*box, error) {
	b := &box{s: s, name: name}
	for {
		if err := b.openFile(); err != nil {
			return nil, &Error{"open", err}
		}
		err := b.lock(ctx)
		if err == nil && b.current() {
			return b, b.measure()
		}
		b.close()
		if err != nil && !errors.Is(err, errAgain) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(firstPause):
		}
	}
}

// openFile opens for reading too where that is allowed, to see how the file ends. A device takes
// messages, /dev/null the most; pipes and sockets, on which a writer may wait without end, do not.
func (b *box) openFile() error {
	const flags = os.O_APPEND | os.O_CREATE | syscall.O_NONBLOCK
	f, err := b.s.FS.OpenFile(b.name, os.O_RDWR|flags, fileMode)
	if errors.Is(err, syscall.EACCES) {
		f, err = b.s.FS.OpenFile(b.name, os.O_WRONLY|flags, fileMode)
	}
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if info.Mode()&(os.ModeNamedPipe|os.ModeSocket) != 0 {
		return errors.Join(&os.PathError{Op: "open", Path: b.name, Err: syscall.ENXIO}, f.Close())
	}
	b.file, b.plain, b.without = f, info.Mode().IsRegular(), false
	return nil
}

// current reports whether name still leads to the file that was locked, as far as the system
// tells.
func (b *box) current() bool {
	if !b.plain {
		return true
	}
	there, err := b.s.FS.Stat(b.name)
	if err != nil {
		return false
	}
	mine, err := b.file.Stat()
	if err != nil {
		return true
	}
	x, ok1 := there.Sys().(*syscall.Stat_t)
	y, ok2 := mine.Sys().(*syscall.Stat_t)
	return !ok1 || !ok2 || x.Ino == y.Ino && x.Dev == y.Dev
}

// measure finds where the delivery begins, and what a half one before it left: a message must
// start after an empty line to be seen as one.
func (b *box) measure() error {
	info, err := b.file.Stat()
	if err != nil {
		b.close()
		return &Error{"open", err}
	}
	b.id = idOf(info)
	if b.size = info.Size(); !b.plain || b.size == 0 {
		return nil
	}
	var end [2]byte
	n, err := b.file.ReadAt(end[:], max(b.size-2, 0))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil // not readable: taken as it is, as qmail-local does
	}
	if n > 0 && end[n-1] == 0 {
		return b.measureZeros()
	}
	switch tail := string(end[:n]); {
	case tail == "\n\n":
	case tail[n-1] == '\n':
		b.ends = "\n"
	default:
		b.ends = "\n\n"
	}
	return nil
}

// mostZeros bounds the zeros at a mailbox's end that are looked through, in bytes.
const mostZeros = 1 << 20

// measureZeros is measure of a mailbox that ends with zeros: of a message that was being appended when the power went, the
// file system kept the length and not the content. Where nothing but zeros follows the empty line of the message
// before, they are cut off; else they stay with their piece.
func (b *box) measureZeros() error {
	b.ends = "\n\n"
	block := make([]byte, 4096)
	for at := b.size; at > 0 && b.size-at < mostZeros; {
		n := min(at, int64(len(block)))
		if _, err := b.file.ReadAt(block[:n], at-n); err != nil {
			return nil // taken as it is
		}
		at -= n
		if kept := len(bytes.TrimRight(block[:n], "\x00")); kept > 0 {
			if kept > 1 && string(block[kept-2:kept]) == "\n\n" && b.file.Truncate(at+int64(kept)) == nil {
				b.size, b.ends = at+int64(kept), ""
			}
			return nil
		}
	}
	return nil
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// append writes the message and makes it durable.
func (b *box) append(head []byte, body io.Reader) (err error) {
	defer func() {
		if err != nil {
			b.undo()
		}
	}()
	if b.plain {
		if err := b.file.Reserve(b.size, int64(len(b.ends)+len(head))+sizeOf(body)); err != nil {
			return &Error{"write", err}
		}
	}
	q := &quoter{w: b, buf: append(append(make([]byte, 0, 64<<10), b.ends...), head...)}
	pooled := buffers.Get().(*[]byte)
	defer buffers.Put(pooled)
	for {
		n, rerr := body.Read(*pooled)
		if werr := q.write((*pooled)[:n]); werr != nil {
			return &Error{"write", werr}
		}
		if errors.Is(rerr, io.EOF) {
			break
		}
		if rerr != nil {
			return &Error{"read", rerr}
		}
	}
	if err := q.end(); err != nil {
		return &Error{"write", err}
	}
	if !b.plain {
		return nil
	}
	if err := b.sync(); err != nil {
		return &Error{"write", err}
	}
	return nil
}

// sizeOf is how long a body says it is, in bytes; most are a few bytes longer here, by what is quoted.
func sizeOf(body io.Reader) int64 {
	const quotes = 256
	if s, ok := body.(interface{ Size() int64 }); ok {
		return s.Size() + quotes
	}
	return quotes
}

// Write implements io.Writer.
func (b *box) Write(p []byte) (int, error) {
	n, err := b.file.Write(p)
	b.wrote += int64(n)
	return n, err
}

// undo cuts off what a failure left, as well as that goes: a half message that stays is followed by an empty line. What
// is longer than what was written holds another program's mail, which asks for no lock, and stays.
func (b *box) undo() {
	if !b.plain || b.wrote == 0 {
		return
	}
	if info, err := b.file.Stat(); err == nil && info.Size() == b.size+b.wrote {
		b.file.Truncate(b.size)
	}
}

// sync makes the content durable, and the name where this process does not know that it is: whoever made the mailbox
// may have been killed before it was.
func (b *box) sync() error {
	dir, named := path.Dir(b.name), b.size > 0 && b.s.isNamed(b.name, b.id)
	var err error
	switch {
	case b.s.Barrier != nil && !named:
		err = errors.Join(b.s.Barrier.Files(b.file), b.s.Barrier.Dirs(dir))
	case b.s.Barrier != nil:
		err = b.s.Barrier.Files(b.file)
	case !named:
		err = errors.Join(b.file.Sync(), b.s.FS.SyncDir(dir))
	default:
		err = b.file.Sync()
	}
	if err == nil && !named {
		b.s.setNamed(b.name, b.id)
	}
	return err
}

func (s *Store) isNamed(name string, id fileID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return id != fileID{} && s.named[name] == id
}

func (s *Store) setNamed(name string, id fileID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.named == nil || len(s.named) >= maxSeen {
		s.named = map[string]fileID{}
	}
	s.named[name] = id
}

// close gives the mailbox back.
func (b *box) close() error {
	err := b.file.Close()
	b.unlockDot()
	return err
}
