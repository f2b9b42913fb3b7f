package runas

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/postilion/postilion/internal/fs/fstest"
)

// The process that opens users' files has others' messages open, and the kernel lets it through all of
// /proc/self: a user's link there must not.
func TestNoLinkOfAUserReadsWhatTheServerHasOpen(t *testing.T) {
	each(t, Options{}, func(t *testing.T, s Service) {
		u := newUser(t)
		others := newUser(t)
		dir, err := os.Open(others.Home) // a folder that only its owner may enter
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		message, err := unix.MemfdCreate("message", unix.MFD_CLOEXEC) // its mode is 0777
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(message)
		err = errors.Join(
			os.WriteFile(filepath.Join(others.Home, "public"), []byte("x"), 0o644),
			os.Symlink("/proc/self/fd/"+strconv.Itoa(message), filepath.Join(u.Home, "message")),
			os.Symlink("/proc/thread-self/fd/"+strconv.Itoa(message), filepath.Join(u.Home, ".qmail")),
			os.Symlink("/dev/fd/"+strconv.Itoa(message), filepath.Join(u.Home, "dev")),
			os.Symlink("/proc/self/fd/"+strconv.Itoa(int(dir.Fd())), filepath.Join(u.Home, "folder")),
			os.Symlink("/proc/self/cwd", filepath.Join(u.Home, "cwd")),
			os.Symlink("/proc/self/maps", filepath.Join(u.Home, "maps")))
		if err != nil {
			t.Fatal(err)
		}
		f := tree(t, s, u)
		for name, want := range map[string]error{
			"message": syscall.ELOOP, ".qmail": syscall.ELOOP, "dev": syscall.ELOOP, "folder": syscall.ELOOP, "folder/public": syscall.ELOOP,
			"cwd": syscall.ELOOP, "cwd/walk.go": syscall.ELOOP, "maps": syscall.EACCES,
		} {
			for _, flag := range []int{os.O_RDONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND | os.O_CREATE} {
				file, err := f.OpenFile(name, flag, 0o600)
				if err == nil {
					file.Close()
				}
				if !errors.Is(err, want) && !errors.Is(err, syscall.EACCES) && !errors.Is(err, syscall.EISDIR) {
					t.Errorf("%s, %#x: have %v", name, flag, err)
				}
			}
			if _, err := f.Stat(name); want == syscall.ELOOP && !errors.Is(err, want) {
				t.Errorf("stat %s: have %v", name, err)
			}
		}
		found, err := s.Search(t.Context(), u, Search{Names: []string{".qmail"}, Exist: []string{"message"}, Limit: 100})
		if err != nil || found.Name != "" || found.Exist[0] {
			t.Errorf("a search: have %+v, %v", found, err)
		}
	})
}

// Kernels without openat2(2) get the same answers.
func TestWalkingFollowsAsTheKernelDoes(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	for name, target := range map[string]string{
		"absolute": top + "/d/f", "relative": "d/f", "up": "d/../d//./f", "twice": "relative", "folder": "d", "slash": "d/", "round": "round",
		"nowhere": "d/none", "through": "d/f/x", "new": "d/made", "root": "/", "proc": "/proc/self/fd/0", "self": "/proc/self/status",
	} {
		if err := os.Symlink(target, filepath.Join(top, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Mkdir(top+"/d", 0o700), os.WriteFile(top+"/d/f", []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"d", "d/.", "d/f", "absolute", "relative", "up", "twice", "folder", "folder/f", "folder/.", "slash", "slash/f", "round", "nowhere", "nowhere/x",
		"through", "d/f/.", "root", "root/proc/self/status", "root/tmp", "none", "none/x", "proc",
	} {
		for _, flag := range []int{os.O_RDONLY, unix.O_PATH, os.O_RDONLY | unix.O_NOFOLLOW, os.O_RDONLY | unix.O_DIRECTORY} {
			var want, have syscall.Stat_t
			wantErr := statBy(&want, func() (int, syscall.Errno) { return follow(unix.AT_FDCWD, top+"/"+name, flag, 0) })
			haveErr := statBy(&have, func() (int, syscall.Errno) { return walk(unix.AT_FDCWD, top+"/"+name, flag, 0) })
			if wantErr != haveErr || want.Ino != have.Ino || want.Dev != have.Dev {
				if name == "root/proc/self/status" && haveErr == syscall.ELOOP {
					continue // the walk follows no link of /proc at all
				}
				t.Errorf("%s, %#x: have %v, inode %d; want %v, inode %d", name, flag, haveErr, have.Ino, wantErr, want.Ino)
			}
		}
	}
	fd, err := walk(unix.AT_FDCWD, top+"/new", os.O_WRONLY|os.O_CREATE, 0o640)
	if err != 0 {
		t.Fatal(err)
	}
	unix.Close(fd)
	if _, err := os.Stat(top + "/d/made"); err != nil {
		t.Error(err)
	}
}

func statBy(st *syscall.Stat_t, open func() (int, syscall.Errno)) syscall.Errno {
	fd, err := open()
	if err != 0 {
		return err
	}
	defer unix.Close(fd)
	return errno(syscall.Fstat(fd, st))
}

// Nor may a link there change anything: names are made, moved and removed only where the user's own way leads.
func TestNoLinkOfAUserChangesWhatTheServerHasOpen(t *testing.T) {
	each(t, Options{}, func(t *testing.T, s Service) {
		u, others := newUser(t), newUser(t)
		open := filepath.Join(others.Home, "open") // everybody may write it who comes there, and nobody does
		err := errors.Join(os.Mkdir(open, 0o777), os.Chmod(open, 0o777), os.WriteFile(filepath.Join(open, "public"), []byte("x"), 0o666),
			os.Chown(filepath.Join(open, "public"), int(u.UID), int(u.GID)), os.Mkdir(filepath.Join(open, "empty"), 0o777))
		if err != nil {
			t.Fatal(err)
		}
		dir, err := os.Open(open)
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		f := tree(t, s, u)
		fstest.Write(t, f, "mine", "x")
		gate := "/proc/self/fd/" + strconv.Itoa(int(dir.Fd()))
		if err := errors.Join(os.Symlink(gate, filepath.Join(u.Home, "gate")), os.Symlink(gate+"/public", filepath.Join(u.Home, "file"))); err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		space := func() error { _, err := f.Space("gate"); return err }
		stat := func() error { _, err := f.Lstat("gate/public"); return err }
		for what, err := range map[string]error{
			"mkdir": f.Mkdir("gate/x", 0o700), "mkdir -p": f.MkdirAll("gate/x/y", 0o700), "remove": f.Remove("gate/public"), "remove a folder": f.Remove("gate/empty"),
			"remove all": f.RemoveAll("gate/empty"), "rename into it": f.Rename("mine", "gate/mine"), "rename out of it": f.Rename("gate/public", "public"),
			"link into it": f.Link("mine", "gate/mine"), "link out of it": f.Link("gate/public", "public"), "chtimes below": f.Chtimes("gate/public", now, now),
			"chtimes": f.Chtimes("file", now, now), "sync": f.SyncDir("gate"), "space": space(), "lstat": stat(),
		} {
			if !errors.Is(err, syscall.ELOOP) {
				t.Errorf("%s: have %v", what, err)
			}
		}
		list, err := os.ReadDir(open)
		if err != nil || len(list) != 2 {
			t.Errorf("the folder holds %v, %v", list, err)
		}
	})
}

// A name's folder may be swapped for such a link at any time between two operations, or within one.
func TestAFolderThatIsSwappedInALoopLeadsNowhereElse(t *testing.T) {
	each(t, Options{}, func(t *testing.T, s Service) {
		u, others := newUser(t), newUser(t)
		open := filepath.Join(others.Home, "open")
		if err := errors.Join(os.Mkdir(open, 0o777), os.Chmod(open, 0o777)); err != nil {
			t.Fatal(err)
		}
		dir, err := os.Open(open)
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		f := tree(t, s, u)
		if err := errors.Join(f.MkdirAll("box/tmp", 0o700), f.MkdirAll("box/new", 0o700), os.Symlink("/proc/self/fd/"+strconv.Itoa(int(dir.Fd())), u.Home+"/box/link")); err != nil {
			t.Fatal(err)
		}
		ended, stop := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			for {
				select {
				case <-stop:
					return
				default:
					_ = unix.Renameat2(unix.AT_FDCWD, u.Home+"/box/new", unix.AT_FDCWD, u.Home+"/box/link", unix.RENAME_EXCHANGE)
				}
			}
		}()
		made := 0
		for i := range 500 {
			tmp, name := "box/tmp/"+strconv.Itoa(i), "box/new/"+strconv.Itoa(i)
			fstest.Write(t, f, tmp, "x")
			if f.Rename(tmp, name) == nil {
				made++
			}
			_ = f.SyncDir("box/new")
			_ = f.Mkdir(name+"d", 0o700)
		}
		close(stop)
		<-ended
		if list, err := os.ReadDir(open); err != nil || len(list) != 0 {
			t.Errorf("it holds %d files, %v", len(list), err)
		}
		t.Logf("%d of 500 renames came through", made)
	})
}
