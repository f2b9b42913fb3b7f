package osfs

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/postilion/postilion/internal/fs"
)

func newFS(t *testing.T, root string) fs.FS {
	t.Helper()
	f, err := New(root)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestRootMustBeAFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := New(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing root gave %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(file); err == nil {
		t.Error("a file was taken for a root")
	}
}

func TestLockNamesTheHolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	held, err := newFS(t, dir).Lock("lock")
	if err != nil {
		t.Fatal(err)
	}
	_, err = newFS(t, dir).Lock("lock")
	if !errors.Is(err, fs.ErrLocked) || !strings.Contains(err.Error(), "pid "+strconv.Itoa(os.Getpid())) {
		t.Errorf("the second lock gave %v", err)
	}
	// Whatever somebody wrote there is no pid and is not repeated.
	if err := os.WriteFile(filepath.Join(dir, "lock"), []byte("\x1b[31m9"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = newFS(t, dir).Lock("lock"); !errors.Is(err, fs.ErrLocked) || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("with a strange lock file: %v", err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := newFS(t, dir).Lock("lock")
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

// After one failed syncfs nobody can tell any more whose data it was.
func TestNoSyncAllAfterOneFailed(t *testing.T) {
	t.Parallel()
	f := newFS(t, t.TempDir()).(*FS)
	sub, err := f.Sub(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, device := range f.devices.all() {
		device.failed = true
	}
	for _, tree := range []fs.FS{f, sub} {
		if err := tree.SyncAll(); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("SyncAll after a failure: %v", err)
		}
	}
}

func TestSubsShareADescriptor(t *testing.T) {
	t.Parallel()
	f := newFS(t, t.TempDir()).(*FS)
	for _, name := range []string{"a", "b", "c"} {
		if err := f.Mkdir(name, 0o700); err != nil {
			t.Fatal(err)
		}
		sub, err := f.Sub(name)
		if err != nil {
			t.Fatal(err)
		}
		if sub.(*FS).devices.all()[0] != f.devices.all()[0] {
			t.Errorf("the sub tree %s opened the device again", name)
		}
	}
}

func TestSyncAllCoversWhatLiesOnOtherDevices(t *testing.T) {
	t.Parallel()
	other, err := os.MkdirTemp("/dev/shm", "osfs")
	if err != nil {
		t.Skip("no second file system at /dev/shm: ", err)
	}
	t.Cleanup(func() { os.RemoveAll(other) })
	if sameDevice(t, other, t.TempDir()) {
		t.Skip("the temporary folder lies on /dev/shm too")
	}
	for name, write := range map[string]func(f fs.FS) error{
		"file": func(f fs.FS) error {
			file, err := f.OpenFile("other/a", os.O_WRONLY|os.O_CREATE, 0o600)
			if err != nil {
				return err
			}
			return file.Close()
		},
		"folder": func(f fs.FS) error { return f.Mkdir("other/folder", 0o700) },
		"sub":    func(f fs.FS) error { _, err := f.Sub("other"); return err },
		"below a sub": func(f fs.FS) error {
			if err := f.Mkdir("below", 0o700); err != nil {
				return err
			}
			sub, err := f.Sub("below")
			if err != nil {
				return err
			}
			if err := os.Symlink(other, filepath.Join(sub.(*FS).root, "other")); err != nil {
				return err
			}
			return sub.Mkdir("other/folder below a sub", 0o700)
		},
	} {
		dir := t.TempDir()
		if err := os.Symlink(other, filepath.Join(dir, "other")); err != nil {
			t.Fatal(err)
		}
		f := newFS(t, dir).(*FS)
		before := len(f.devices.all())
		if err := write(f); err != nil {
			t.Fatal(err)
		}
		if after := len(f.devices.all()); after != before+1 {
			t.Errorf("%s: %d devices are synced after writing to another than %d", name, after, before)
		}
		if err := f.SyncAll(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: SyncAll: %v", name, err)
		}
	}
}

func sameDevice(t *testing.T, a, b string) bool {
	t.Helper()
	var sa, sb syscall.Stat_t
	if err := errors.Join(syscall.Stat(a, &sa), syscall.Stat(b, &sb)); err != nil {
		t.Fatal(err)
	}
	return sa.Dev == sb.Dev
}

func TestErrorsNameTheFile(t *testing.T) {
	t.Parallel()
	f := newFS(t, t.TempDir())
	_, err := f.OpenFile("a/b", os.O_RDONLY, 0)
	var pathErr *os.PathError
	if !errors.As(err, &pathErr) || !strings.HasSuffix(pathErr.Path, "a/b") {
		t.Errorf("the error does not name the file: %v", err)
	}
}
