package mbox

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/fs"
)

// Pauses between looks at a locked mailbox.
const (
	firstPause = 2 * time.Millisecond
	mostPause  = 250 * time.Millisecond
)

// lock takes NAME.lock and then the file's own lock; it never waits for one while it holds the
// other, since other programs take them in another order. Where a lock cannot be had for another
// reason than a holder, it does without, as qmail-local does.
func (b *box) lock(ctx context.Context) error {
	if !b.plain {
		return nil
	}
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		if b.takeDot() {
			if err := b.file.TryLock(); !errors.Is(err, fs.ErrLocked) {
				return nil
			}
			b.unlockDot()
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// takeDot makes NAME.lock; false when somebody else has it.
func (b *box) takeDot() bool {
	name := b.name + ".lock"
	f, err := b.s.FS.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case err == nil:
		// Those who find it may ask whether its maker lives. The lock is its name: what
		// cannot be written or closed changes nothing.
		f.Write([]byte(strings.TrimSpace(strconv.Itoa(os.Getpid())+" "+b.s.Run) + "\n"))
		f.Close()
		b.dot = true
		return true
	case errors.Is(err, fs.ErrExist):
		return b.stale(name)
	}
	return true // the folder is not the user's to write: flock alone
}

// stale removes a NAME.lock that was left behind, and returns false: the next look takes it.
func (b *box) stale(name string) bool {
	info, err := b.s.FS.Lstat(name)
	if err != nil {
		return false
	}
	age, most := b.s.now().Sub(info.ModTime()), b.s.StaleLock
	if most <= 0 {
		most = 5 * time.Minute
	}
	if info.Mode().IsRegular() && (age > most || b.abandoned(name)) {
		// Where it cannot be removed it stays locked, and the wait ends.
		if err := b.s.FS.Remove(name); errors.Is(err, syscall.EACCES) {
			return true
		}
	}
	return false
}

// abandoned reports whether a NAME.lock is that of a process of this program that has ended, as after a
// kill -9: nobody waits minutes for it. Of other locks, and those of other hosts, it knows nothing.
func (b *box) abandoned(name string) bool {
	if b.s.Run == "" {
		return false
	}
	f, err := b.s.FS.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer f.Close() // read only: nothing can be lost here
	text := make([]byte, 200)
	n, err := io.ReadFull(f, text)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		return false
	}
	maker, run, _ := strings.Cut(strings.TrimSuffix(string(text[:n]), "\n"), " ")
	pid, err := strconv.Atoi(maker)
	return err == nil && pid > 0 && run == b.s.Run && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

// ThisRun is Store.Run of this system: its boot and the namespace of its pids (pid_namespaces(7)). It is empty where
// they are not told.
func ThisRun() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	pids, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(boot)) + " " + pids
}

func (s *Store) now() time.Time {
	if s.Clock == nil {
		return clock.System{}.Now()
	}
	return s.Clock.Now()
}

func (b *box) unlockDot() {
	if b.dot {
		b.dot = false
		b.s.FS.Remove(b.name + ".lock") // best effort: it goes stale
	}
}
