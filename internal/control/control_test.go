package control

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTheHolderOfALockIsDescribed(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{"": false, "x": false, "-1": false, "99999999999": false, strconv.Itoa(os.Getpid()) + "\n": true} {
		data := t.TempDir()
		if err := os.WriteFile(filepath.Join(data, LockFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p, known := LockHolder(data)
		if known != want || known && (p.PID != os.Getpid() || p.Name == "" || p.Stopped) {
			t.Errorf("%q: %+v %v", text, p, known)
		}
	}
	if _, known := LockHolder(t.TempDir()); known {
		t.Error("somebody holds what is not there")
	}
	for line, want := range map[string]Process{
		"12 (postilion) T 1 12": {Name: "postilion", Stopped: true},
		"12 (a) b) T) S 1":      {Name: "a) b) T"},
		"12 (x":                 {},
		") (":                   {},
		"12 (x)":                {Name: "x"},
	} {
		if name, stopped := parseStat(line); name != want.Name || stopped != want.Stopped {
			t.Errorf("%q: %q %v", line, name, stopped)
		}
	}
}

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
	if err := WithShortPath(path, func(short string) (err error) {
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
		done <- WithShortPath(path, func(short string) error {
			_, err := os.Stat(short)
			return err
		})
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
