package osfs

import (
	"testing"

	"golang.org/x/sys/unix"
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
