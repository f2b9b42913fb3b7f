package runas

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
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
