package osfs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/postilion/postilion/internal/fs"
)

func TestALockEndsThoughAStartingChildHasItsDescriptor(t *testing.T) {
	t.Parallel()
	f, err := New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	held, err := f.Lock("lock")
	if err != nil {
		t.Fatal(err)
	}
	copied, err := unix.Dup(int(held.(*lock).file.Fd())) // as fork(2) copies it
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(copied)
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := f.Lock("lock")
	if err != nil {
		t.Fatalf("the lock outlives its holder: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// A file that was opened for reading takes nothing, as one on a full disk.
func TestALockIsTakenWhereNothingCanBeWritten(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "lock")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	open := func() *os.File {
		file, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	held, err := LockFile(open())
	if err != nil {
		t.Fatalf("a lock needs room: %v", err)
	}
	if _, err := LockFile(open()); !errors.Is(err, fs.ErrLocked) {
		t.Errorf("it holds nobody off: %v", err)
	}
	held.Close() // tells that it could not empty the file
	if held, err = LockFile(open()); err != nil {
		t.Fatalf("it was not released: %v", err)
	}
	held.Close()
}
