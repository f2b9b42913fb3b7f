package unixaddr

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Roles with uids of their own pass through the folder of the sockets, which only root may read.
func TestALongPathNeedsNoFolderThatCanBeRead(t *testing.T) {
	t.Parallel()
	base, err := os.MkdirTemp("", "long") // t.TempDir's parent lets nobody pass
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	dir := filepath.Join(base, strings.Repeat("d", 100), "with blank")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "queue.sock")
	var l net.Listener
	if err := Fit(path, func(short string) (err error) {
		l, err = net.Listen("unix", short)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.(*net.UnixListener).SetUnlinkOnClose(false) // by a name that is gone
	if err := os.Chmod(dir, 0o311); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(dir, 0o755) })
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // which ends with this goroutine
		if os.Geteuid() == 0 {
			unix.SetfsuidRetUid(70_000)
		}
		done <- Fit(path, func(short string) error {
			_, err := os.Stat(short)
			return err
		})
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
