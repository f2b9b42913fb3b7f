package owners

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A process of a role that is still at work puts links in the places of what root gives to the role. Whatever it
// hits upon, nothing outside is given away.
func TestWhatARoleMovesMeanwhileLeadsNobodyOutOfItsFolder(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	data, outside := t.TempDir(), t.TempDir()
	ids := New(70_000)
	for _, name := range []string{"queue", "auth"} {
		inside := filepath.Join(data, name, "folder")
		if err := errors.Join(os.MkdirAll(inside, 0o700), os.Symlink(outside, filepath.Join(data, name, "link"))); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"a", "b", "c", "shadow"} {
			if err := errors.Join(os.WriteFile(filepath.Join(inside, file), nil, 0o600), os.WriteFile(filepath.Join(outside, file), nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop := make(chan struct{})
	var swapping sync.WaitGroup
	defer swapping.Wait()
	defer close(stop)
	for _, name := range []string{"queue", "auth"} {
		dir := filepath.Join(data, name)
		swapping.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					unix.Renameat2(unix.AT_FDCWD, dir+"/folder", unix.AT_FDCWD, dir+"/link", unix.RENAME_EXCHANGE)
				}
			}
		})
	}
	for i := range 300 {
		for _, f := range folders {
			if f.name == "queue" || f.name == "auth" {
				if err := give(filepath.Join(data, f.name), f, ids); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, name := range []string{".", "shadow", "a"} {
			info, err := os.Lstat(filepath.Join(outside, name))
			if err != nil {
				t.Fatal(err)
			}
			if st := info.Sys().(*syscall.Stat_t); st.Uid != 0 || st.Gid != 0 || name != "." && info.Mode() != 0o600 {
				t.Fatalf("%s outside is %v and of %d:%d now", name, info.Mode(), st.Uid, st.Gid)
			}
		}
		ids = New(70_000 + 100*(i%2)) // all over again
	}
}

// Where the kernel lets users link to the files of others, what has a name outside stays whose it is.
func TestAFileWithANameElsewhereIsNotGiven(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	err := errors.Join(os.Mkdir(path("queue"), 0o700), os.WriteFile(path("shadow"), nil, 0o600), os.Link(path("shadow"), path("queue/x")),
		os.WriteFile(path("queue/a"), nil, 0o600), os.Link(path("queue/a"), path("queue/b")))
	if err != nil {
		t.Fatal(err)
	}
	if err := (&heir{uid: 70_001, gid: 70_002}).tree(path("queue")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]uint32{"queue": 70_001, "queue/a": 70_001, "shadow": 0} {
		info, err := os.Stat(path(name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Sys().(*syscall.Stat_t).Uid; got != want {
			t.Errorf("%s is of uid %d, want %d", name, got, want)
		}
	}
}
