package osfs

import (
	"errors"
	"fmt"
	"io"
	stdfs "io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/postilion/postilion/internal/fs"
)

// Lock implements fs.FS with flock(2). The lock belongs to the open file, so it
// excludes other openers in this process too, and goes with the process. The file
// holds the pid of the last holder in decimal and a newline; it is never removed,
// because a waiter could then hold the lock of a file that has no name.
func (f *FS) Lock(name string) (io.Closer, error) {
	path, err := f.entry("lock", name)
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, err
	}
	return lockFile(file)
}

// lockFile locks an open file, and closes it when that fails.
func lockFile(file *os.File) (io.Closer, error) {
	if err := flock(file); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = heldBy(file)
		}
		return nil, closeAfter(file, &stdfs.PathError{Op: "lock", Path: file.Name(), Err: err})
	}
	writePid(file)
	return &lock{file}, nil
}

// lock is a held lock.
type lock struct{ file *os.File }

// Close forgets the pid and releases the lock. Closing the file alone would not do: a child
// of this process that is being started has a copy of the descriptor until it runs
// its program, and the lock would last as long.
func (l *lock) Close() error {
	return errors.Join(l.file.Truncate(0), control(l.file, unlock), l.file.Close())
}

// TryLock implements fs.File.
func (f *osFile) TryLock() error {
	if err := flock(f.File); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = fs.ErrLocked
		}
		return &stdfs.PathError{Op: "flock", Path: f.File.Name(), Err: err}
	}
	f.locked = true
	return nil
}

// Close releases the lock by itself first, as lock.Close does.
func (f *osFile) Close() error {
	if !f.locked {
		return f.File.Close()
	}
	f.locked = false
	return errors.Join(control(f.File, unlock), f.File.Close())
}

func unlock(fd int) error { return unix.Flock(fd, unix.LOCK_UN) }

func flock(file *os.File) error {
	return control(file, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
}

// writePid leaves word of who holds the lock. The lock holds without it: on a full disk, where nothing can be
// written, mail is read and deleted all the same.
func writePid(file *os.File) {
	if file.Truncate(0) == nil {
		file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
}

// heldBy tells who holds the lock. Between taking it and writing its pid a holder
// is unknown for a moment.
func heldBy(file *os.File) error {
	var buf [20]byte // more than the digits of any pid
	n, err := file.ReadAt(buf[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fs.ErrLocked
	}
	pid, err := strconv.ParseUint(strings.TrimSpace(string(buf[:n])), 10, 32)
	if err != nil {
		return fs.ErrLocked
	}
	return fmt.Errorf("%w (pid %d)", fs.ErrLocked, pid)
}

// control calls do with the file's descriptor, again while a signal interrupts it.
func control(file *os.File, do func(fd int) error) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = conn.Control(func(fd uintptr) {
		for {
			if result = do(int(fd)); result != unix.EINTR {
				return
			}
		}
	})
	if err != nil { // Control fails for one reason only
		return os.ErrClosed
	}
	return result
}

func isErrno(err error, want syscall.Errno) bool { return errors.Is(err, want) }
