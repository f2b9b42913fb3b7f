package runas

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/fs/fstest"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/reason"
)

func TestAUsersFilesKeepTheContract(t *testing.T) {
	each(t, Options{}, func(t *testing.T, s Service) {
		fstest.Contract(t, func(t *testing.T) fs.FS { return tree(t, s, newUser(t)) })
	})
}

func TestTheProcessesOwnFilesKeepTheContract(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		t.Skip("root is never served: the test is for an ordinary user")
	}
	h, err := NewHere(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	fstest.Contract(t, func(t *testing.T) fs.FS {
		return tree(t, h, User{UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), Home: t.TempDir()})
	})
}

func TestFilesAreTheUsersAndNobodyElses(t *testing.T) {
	each(t, Options{}, func(t *testing.T, s Service) {
		joe, ann := newUser(t), newUser(t)
		fstest.Write(t, tree(t, s, ann), "secret", "ann's")
		if err := os.Chmod(ann.Home, 0o755); err != nil {
			t.Fatal(err)
		}
		f := tree(t, s, joe)
		fstest.Write(t, f, "mine", "joe's")
		st, err := f.Stat("mine")
		if err != nil {
			t.Fatal(err)
		}
		if sys := st.Sys().(*syscall.Stat_t); sys.Uid != joe.UID || sys.Gid != joe.GID {
			t.Errorf("the file belongs to %d:%d", sys.Uid, sys.Gid)
		}
		for name, target := range map[string]string{"link": ann.Home + "/secret", "shadow": "/etc/shadow"} {
			if err := os.Symlink(target, joe.Home+"/"+name); err != nil {
				t.Fatal(err)
			}
			if _, err := f.OpenFile(name, os.O_RDONLY, 0); !errors.Is(err, syscall.EACCES) {
				t.Errorf("%s could be read: %v", target, err)
			}
		}
		whole := joe
		whole.Home = "/"
		f = tree(t, s, whole)
		if _, err := f.OpenFile(strings.TrimPrefix(ann.Home, "/")+"/new", os.O_WRONLY|os.O_CREATE, 0o600); !errors.Is(err, syscall.EACCES) {
			t.Errorf("a file in another's home was made: %v", err)
		}
		fstest.Write(t, f, strings.TrimPrefix(joe.Home, "/")+"/absolute", "x")
		// The same threads served ann before and after.
		if have := fstest.Read(t, tree(t, s, ann), "secret"); have != "ann's" {
			t.Errorf("have %q", have)
		}
	})
}

func TestOpeningNeverWaits(t *testing.T) {
	each(t, Options{}, func(t *testing.T, s Service) {
		u := newUser(t)
		if err := errors.Join(unix.Mkfifo(u.Home+"/fifo", 0o666), os.Chown(u.Home+"/fifo", int(u.UID), int(u.GID))); err != nil {
			t.Fatal(err)
		}
		for name, flag := range map[string]int{"reading": os.O_RDONLY, "writing": os.O_WRONLY | os.O_APPEND | os.O_CREATE, "both": os.O_RDWR} {
			if _, err := tree(t, s, u).OpenFile("fifo", flag, 0o600); !errors.Is(err, syscall.ENXIO) {
				t.Errorf("%s: have %v", name, err)
			}
		}
		u.Home = "/"
		null, err := tree(t, s, u).OpenFile("dev/null", os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := null.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		null.Close()
	})
}

func TestRootAndReservedUsersAreNotServed(t *testing.T) {
	t.Parallel()
	needRoot(t)
	reserved := uint32(64101)
	h, err := newHere(Options{}, Reserved{UIDs: []uint32{reserved}, GIDs: []uint32{64120}})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	ctx := context.Background()
	for _, c := range []struct {
		u    User
		want *reason.Error
		text string
	}{
		{User{Name: "root", Home: "/root"}, reason.DeliverAsRoot, "Not allowed to perform deliveries as root."},
		{User{Name: "toor", UID: 0, GID: 7, Home: "/"}, reason.DeliverAsRoot, "Not allowed to perform deliveries as root."},
		{User{Name: "x", UID: ^uint32(0), GID: 1, Home: "/"}, reason.DeliverAsRoot, "Not allowed to perform deliveries as root."},
		{User{Name: "x", UID: 5, GID: ^uint32(0), Home: "/"}, reason.DeliverAsRoot, "Not allowed to perform deliveries as root."},
		{User{Name: "x", UID: 5, GID: 5, Home: "home/x"}, reason.HomeNotAbsolute, "The home directory is not an absolute path."},
		{User{Name: "x", UID: 5, GID: 5}, reason.HomeNotAbsolute, "The home directory is not an absolute path."},
		{User{Name: "own", UID: reserved, GID: 5, Home: "/"}, reason.RunasReserved, "User own is one of the server's own and gets no deliveries."},
		{User{Name: "x", UID: 5, GID: 64120, Home: "/"}, reason.RunasReserved, "User x is one of the server's own and gets no deliveries."},
	} {
		_, err1 := h.Files(ctx, c.u)
		_, err2 := h.Search(ctx, c.u, Search{})
		_, err3 := h.Run(ctx, c.u, Command{Args: []string{"/bin/true"}})
		for _, err := range []error{err1, err2, err3} {
			if e := reason.As(err); e == nil || e.Reason != c.want.Reason || e.Text(reason.English) != c.text {
				t.Errorf("%+v: have %v", c.u, err)
			}
		}
	}
}

func TestASearchFindsTheFirstRegularFile(t *testing.T) {
	each(t, Options{}, func(t *testing.T, s Service) {
		ctx := context.Background()
		u := newUser(t)
		f := tree(t, s, u)
		fstest.Write(t, f, ".qmail-default", "./Maildir/\n")
		fstest.Write(t, f, ".qmail-a-owner", "")
		if err := errors.Join(unix.Mkfifo(u.Home+"/.qmail-a", 0o666), f.Mkdir(".qmail-a-default", 0o700),
			os.Symlink(".qmail-loop", u.Home+"/.qmail-loop")); err != nil {
			t.Fatal(err)
		}
		q := Search{Names: []string{".qmail-a", ".qmail-loop", ".qmail-" + strings.Repeat("x", 300), ".qmail-a/b", "../x", ".qmail-\x00", ".qmail-a-default", ".qmail-default"},
			Exist: []string{".qmail-a-owner", ".qmail-a-owner-default"}, Limit: 6}
		found, err := s.Search(ctx, u, q)
		if err != nil {
			t.Fatal(err)
		}
		if found.Name != ".qmail-default" || string(found.Content) != "./Mail" || found.Size != 11 || found.Mode.Perm() != 0o600 ||
			!found.Exist[0] || found.Exist[1] || found.Home.Perm() != 0o700 {
			t.Errorf("have %+v", found)
		}
		none, err := s.Search(ctx, u, Search{Names: []string{".qmail-none"}})
		if err != nil || none.Name != "" {
			t.Errorf("have %+v, %v", none, err)
		}

		want := func(path string, errno syscall.Errno) {
			t.Helper()
			_, err := s.Search(ctx, u, q)
			var p *os.PathError
			if !errors.As(err, &p) || p.Path != path || !errors.Is(err, errno) {
				t.Errorf("have %v, want %v of %s", err, errno, path)
			}
		}
		// Another's secret through a link: the rights are the user's.
		if err := os.Symlink("/etc/shadow", u.Home+"/.qmail-shadow"); err != nil {
			t.Fatal(err)
		}
		q.Names = []string{".qmail-shadow"}
		want(".qmail-shadow", syscall.EACCES)
		if err := os.Chmod(u.Home, 0o702|os.ModeSticky); err != nil {
			t.Fatal(err)
		}
		if found, err := s.Search(ctx, u, q); err != nil || found.Home.Perm() != 0o702 || found.Home&os.ModeSticky == 0 || found.Name != "" {
			t.Errorf("have %+v, %v", found, err)
		}
		os.Chmod(u.Home, 0o600)
		want(u.Home, syscall.EACCES)
		os.RemoveAll(u.Home)
		want(u.Home, syscall.ENOENT)
		os.WriteFile(u.Home, nil, 0o600)
		want(u.Home, syscall.ENOTDIR)
	})
}

func TestALockExcludesOtherProcesses(t *testing.T) {
	each(t, Options{}, func(t *testing.T, s Service) {
		u := newUser(t)
		f := tree(t, s, u)
		lock, err := f.Lock("box.lock")
		if err != nil {
			t.Fatal(err)
		}
		other, err := os.OpenFile(filepath.Join(u.Home, "box.lock"), os.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		if err := unix.Flock(int(other.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != unix.EWOULDBLOCK {
			t.Errorf("have %v", err)
		}
		if err := lock.Close(); err != nil {
			t.Error(err)
		}
		if err := unix.Flock(int(other.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			t.Error(err)
		}
	})
}

func TestSyncAllSpeaksForTheFilesOfAll(t *testing.T) {
	each(t, Options{}, func(t *testing.T, s Service) {
		for range 2 {
			fstest.Write(t, tree(t, s, newUser(t)), "f", "x")
		}
		if err := s.SyncAll(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			t.Error(err)
		}
	})
}

// A mailbox may be a link to a file of another disk: what makes that durable is a sync of its own disk.
func TestASyncOfAllCoversTheDiskThatALinkLeadsTo(t *testing.T) {
	each(t, Options{}, func(t *testing.T, s Service) {
		u := newUser(t)
		far, err := os.MkdirTemp("/dev/shm", "runas")
		if err != nil {
			t.Skipf("skipped: there is no second file system: %v", err)
		}
		t.Cleanup(func() { os.RemoveAll(far) })
		var here, there syscall.Stat_t
		for _, err := range []error{
			os.Chown(far, int(u.UID), int(u.GID)), os.Symlink(far+"/box", u.Home+"/box"),
			syscall.Stat(u.Home, &here), syscall.Stat(far, &there),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if here.Dev == there.Dev {
			t.Skip("skipped: there is no second file system")
		}
		f := tree(t, s, u).(*files)
		f.devices = osfs.NewDevices() // of this test alone
		fstest.Write(t, f, "box", "x")
		if !f.devices.Has(there.Dev) { // which refuses to be held by way of something else, see fs/os
			t.Error("a sync of all does not cover it")
		}
	})
}

func TestASearchMakesAFileOnlyWhereAllIsAsItWas(t *testing.T) {
	each(t, Options{}, func(t *testing.T, s Service) {
		u := newUser(t)
		f := tree(t, s, u)
		fstest.Write(t, f, ".qmail", "./Maildir/\n")
		if err := f.MkdirAll("Maildir/tmp", 0o700); err != nil {
			t.Fatal(err)
		}
		q := Search{Names: []string{".qmail-x", ".qmail"}, Exist: []string{".qmail-owner"}, Limit: 100}
		search := func(q Search) Found {
			t.Helper()
			found, err := s.Search(context.Background(), u, q)
			if err != nil {
				t.Fatal(err)
			}
			return found
		}
		known := search(q)
		n := 0
		try := func(what string, want bool) {
			t.Helper()
			n++
			q := q
			q.Known, q.Make = &known, fmt.Sprintf("Maildir/tmp/%d", n)
			found := search(q)
			if have := found.File != nil; have != want {
				t.Errorf("%s: made: %v", what, have)
			}
			_, err := f.Stat(q.Make)
			if want && err != nil || !want && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: its name: %v", what, err)
			}
			if found.File == nil {
				return
			}
			st, err := found.File.Stat()
			if err != nil || st.Mode() != 0o600 || st.Sys().(*syscall.Stat_t).Uid != u.UID || string(found.Content) != "./Maildir/\n" {
				t.Errorf("%s: made %v, %v, found %q", what, st, err, found.Content)
			}
			found.File.Close()
		}
		try("as it was", true)
		fstest.Write(t, f, ".qmail", "./Mailbox/\n") // as long, and perhaps within the same second
		try("edited", false)
		fstest.Write(t, f, ".qmail", "./Maildir/\n")
		try("edited back", true)
		fstest.Write(t, f, ".qmail-x", "./Maildir/\n")
		try("another file goes before", false)
		fstest.Write(t, f, ".qmail-owner", "")
		f.Remove(".qmail-x")
		try("an owner", false)
		f.Remove(".qmail-owner")
		os.Chmod(u.Home, os.ModeSticky|0o700)
		try("a sticky home", false)
		os.Chmod(u.Home, 0o700)
		os.Chmod(u.Home+"/.qmail", 0o602)
		try("instructions that others write", false)
		os.Chmod(u.Home+"/.qmail", 0o600)

		// Where it is made is the user's affair, but neither above the home by its name nor by a link of /proc.
		others := newUser(t)
		open := filepath.Join(others.Home, "open")
		if err := errors.Join(os.Mkdir(open, 0o777), os.Chmod(open, 0o777)); err != nil {
			t.Fatal(err)
		}
		dir, err := os.Open(open)
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		if err := os.Symlink(fmt.Sprintf("/proc/self/fd/%d", dir.Fd()), u.Home+"/gate"); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"gate/x", "../x", "/tmp/x", "Maildir/tmp/1", "none/x", "", "Maildir/tmp/\x00"} {
			q := q
			q.Known, q.Make = &known, name
			if found := search(q); found.File != nil {
				t.Errorf("made %q", name)
				found.File.Close()
			}
		}
		if list, err := os.ReadDir(open); err != nil || len(list) != 0 {
			t.Errorf("it holds %v, %v", list, err)
		}
	})
}
