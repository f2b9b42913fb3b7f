package mbox

// The locks of a mailbox: NAME.lock, which every program knows, and flock(2) on the file itself. Ours never get in each
// other's way by a mistake about NAME.lock, since each holds the file's own lock too, and takes a lock that was
// left behind away only while it holds that one.
//
// What is left behind: a lock of ours whose maker has ended, at once; see maker. Any other one after StaleLock, by its age
// or by how long this process has seen it unchanged, so that a clock that was set back holds up no mail.

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/fs"
	osfs "github.com/postilion/postilion/internal/fs/os"
)

// Pauses between looks at a locked mailbox.
const (
	firstPause = 2 * time.Millisecond
	mostPause  = 250 * time.Millisecond
)

const (
	// lockMode tells a lock of ours, whatever its maker got to write into it: no other program makes locks
	// that look like programs.
	lockMode = 0o500
	// emptyFor is how long a lock of ours may stay without its maker's word, which follows at once.
	emptyFor = 2 * time.Second
	// maxSeen bounds what is remembered of locks and names.
	maxSeen = 4096
)

// errAgain is of a mailbox that must be opened again.
var errAgain = errors.New("look again")

// lock takes NAME.lock and then the file's own lock; it never waits for one while it holds the
// other, since other programs take them in another order. Where a lock cannot be had for another
// reason than a holder, it does without, as qmail-local does.
func (b *box) lock(ctx context.Context) error {
	if !b.plain {
		return nil
	}
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		taken, err := b.takeDot()
		switch {
		case err != nil:
			return &Error{"write", err}
		case taken:
			if !b.locked() {
				return nil
			}
			b.unlockDot()
		case b.stale():
			if err := b.inherit(); err != nil || b.dot || b.without {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// locked takes the file's own lock, or reports that somebody has it.
func (b *box) locked() bool { return errors.Is(b.file.TryLock(), fs.ErrLocked) }

// takeDot makes NAME.lock; false when somebody else has it. The error is of a system that could not look.
func (b *box) takeDot() (bool, error) {
	f, err := b.s.FS.OpenFile(b.name+".lock", os.O_WRONLY|os.O_CREATE|os.O_EXCL, lockMode)
	switch {
	case err == nil:
		b.dot, b.dotSince = true, time.Now()
		if info, err := f.Stat(); err == nil {
			b.dotID = idOf(info)
		}
		b.s.hold(b.dotID)
		// The lock is its name: what cannot be written or closed changes nothing.
		io.WriteString(f, b.s.Self.text(b.s.serial()))
		f.Close()
		return true, nil
	case errors.Is(err, fs.ErrExist):
		return false, nil
	case forbidden(err), errors.Is(err, syscall.ENAMETOOLONG):
		b.without = true
		return true, nil // flock alone
	}
	return false, err
}

// forbidden reports whether a folder is not the user's to write.
func forbidden(err error) bool {
	return errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EROFS)
}

// inherit takes away a lock that was left behind, and takes it. Of our processes only the one that has the file's own
// lock does that, and it looks again then.
func (b *box) inherit() error {
	if b.locked() || !b.stale() {
		return errAgain // which gives the file's lock back
	}
	err := b.s.FS.Remove(b.name + ".lock")
	switch {
	case forbidden(err):
		b.without = true // it is another's, and in the way of all
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return &Error{"write", err}
	}
	taken, err := b.takeDot()
	if err != nil {
		return &Error{"write", err}
	}
	if !taken {
		return errAgain
	}
	return nil
}

// stale reports whether the NAME.lock that is there was left behind.
func (b *box) stale() bool {
	name := b.name + ".lock"
	info, err := b.s.FS.Lstat(name)
	if err != nil || !info.Mode().IsRegular() {
		return false // it is gone; or nobody knows what it is
	}
	most := b.s.StaleLock
	if most <= 0 {
		most = 5 * time.Minute
	}
	seen := b.s.sighted(name, info)
	maker, local := b.s.makerOf(name)
	switch {
	case maker == gone:
		return true
	case maker == alive: // whatever the clocks say
		return seen > most
	case maker == silent && info.Mode().Perm()&0o700 == lockMode:
		// Most are from before this process: the power went, and only the name was on the disk.
		if seen > emptyFor || local && info.ModTime().Before(b.s.Self.Since) {
			return true
		}
	}
	return seen > most || b.s.now().Sub(info.ModTime()) > most
}

// What is known of a lock's maker.
const (
	stranger = iota // another program, another host, or nobody can tell
	silent          // it has not said who it is
	gone
	alive
)

// makerOf reads a NAME.lock, and tells whether it lies on a disk of this host alone.
func (s *Store) makerOf(name string) (what int, local bool) {
	f, err := s.FS.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return stranger, false
	}
	defer f.Close() // read only: nothing can be lost here
	local = osfs.OnLocalDisk(f)
	text := make([]byte, 300)
	n, err := io.ReadFull(f, text)
	if err == nil || !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return stranger, local // too long, or unreadable
	}
	m, ok := parseMaker(string(text[:n]))
	if !ok {
		if blank(text[:n]) {
			return silent, local
		}
		return stranger, local
	}
	info, err := f.Stat()
	switch {
	case err != nil || !s.Self.same(m):
		return s.Self.fate(m, local), local
	case m.serial != s.serial():
		return stranger, local // only that other Store knows
	case s.holds(idOf(info)):
		return alive, local
	}
	return gone, local // it could not be removed when it was given back
}

// blank reports whether a file has no content, or what a power cut leaves of one.
func blank(p []byte) bool {
	for _, c := range p {
		if c != 0 {
			return false
		}
	}
	return true
}

// fileID tells files apart; its zero value is of a system that does not.
type fileID struct{ dev, ino uint64 }

func idOf(info fs.FileInfo) fileID {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return fileID{uint64(st.Dev), st.Ino}
	}
	return fileID{}
}

// sighting is a lock as it was first seen.
type sighting struct {
	id    fileID
	made  time.Time
	since time.Time
}

// sighted returns for how long this lock has been seen, by the clock that nobody sets.
func (s *Store) sighted(name string, info fs.FileInfo) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	old, ok := s.seen[name]
	if ok && old.id == idOf(info) && old.made.Equal(info.ModTime()) {
		return now.Sub(old.since)
	}
	if s.seen == nil || len(s.seen) >= maxSeen {
		s.seen = map[string]sighting{}
	}
	s.seen[name] = sighting{idOf(info), info.ModTime(), now}
	return 0
}

func (s *Store) hold(id fileID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		s.held = map[fileID]int{}
	}
	s.held[id]++
}

func (s *Store) release(id fileID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[id]--; s.held[id] <= 0 {
		delete(s.held, id)
	}
}

func (s *Store) holds(id fileID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[id] > 0
}

func (s *Store) now() time.Time {
	if s.Clock == nil {
		return clock.System{}.Now()
	}
	return s.Clock.Now()
}

// unlockDot gives NAME.lock back. After a long time it may be another's.
func (b *box) unlockDot() {
	if !b.dot {
		return
	}
	b.dot = false
	name := b.name + ".lock"
	mine := true
	if time.Since(b.dotSince) > emptyFor/2 {
		info, err := b.s.FS.Lstat(name)
		mine = err == nil && idOf(info) == b.dotID
	}
	if mine {
		b.s.FS.Remove(name) // best effort: the next delivery sees that nobody holds it
	}
	b.s.release(b.dotID)
}
