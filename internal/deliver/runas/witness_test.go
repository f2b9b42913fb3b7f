package runas

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// put makes a user's file.
func put(t *testing.T, u User, name, content string) {
	t.Helper()
	path := filepath.Join(u.Home, name)
	if err := errors.Join(os.WriteFile(path, []byte(content), 0o600), os.Lchown(path, int(u.UID), int(u.GID))); err != nil {
		t.Fatal(err)
	}
}

// step waits until the file system's clock has left the time of what was changed last: some note changes by steps of
// it alone.
func step(t *testing.T, u User) {
	t.Helper()
	var last, now syscall.Stat_t
	probe := filepath.Join(t.TempDir(), "probe")
	changed := time.Time{}
	for _, name := range []string{u.Home, filepath.Join(u.Home, ".qmail-default")} {
		if err := syscall.Stat(name, &last); err != nil {
			t.Fatal(err)
		}
		if at := time.Unix(last.Ctim.Unix()); at.After(changed) {
			changed = at
		}
	}
	for !time.Unix(now.Ctim.Unix()).After(changed) {
		if err := errors.Join(os.WriteFile(probe, nil, 0o600), syscall.Stat(probe, &now)); err != nil {
			t.Fatal(err)
		}
	}
}

// forX is the search of user-x.
func forX(settle time.Duration) Search {
	return Search{Names: []string{".qmail-x", ".qmail-default"}, Exist: []string{".qmail-x-owner", ".qmail-x-owner-default"}, Limit: 1 << 10, Settle: settle}
}

func TestWhoHoldsAFileSeesEachChangeOfWhatASearchWouldFind(t *testing.T) {
	changes := map[string]func(t *testing.T, u User) error{
		"nothing": nil,
		"edited, of the same size": func(t *testing.T, u User) error {
			f, err := os.OpenFile(filepath.Join(u.Home, ".qmail-default"), os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString("&b@b.test\n")
			return errors.Join(err, f.Close())
		},
		"edited, and its time put back": func(t *testing.T, u User) error {
			path := filepath.Join(u.Home, ".qmail-default")
			old, err := os.Stat(path)
			if err != nil {
				return err
			}
			put(t, u, ".qmail-default", "&b@b.test\n")
			return os.Chtimes(path, old.ModTime(), old.ModTime())
		},
		"another one in its place": func(t *testing.T, u User) error {
			put(t, u, ".new", "&b@b.test\n")
			return os.Rename(filepath.Join(u.Home, ".new"), filepath.Join(u.Home, ".qmail-default"))
		},
		"removed":                  func(t *testing.T, u User) error { return os.Remove(filepath.Join(u.Home, ".qmail-default")) },
		"others may write it":      func(t *testing.T, u User) error { return os.Chmod(filepath.Join(u.Home, ".qmail-default"), 0o602) },
		"its user may not read it": func(t *testing.T, u User) error { return os.Chmod(filepath.Join(u.Home, ".qmail-default"), 0) },
		"another's file":           func(t *testing.T, u User) error { return os.Chown(filepath.Join(u.Home, ".qmail-default"), 1, 1) },
		"a file that goes before":  func(t *testing.T, u User) error { put(t, u, ".qmail-x", ""); return nil },
		"an owner":                 func(t *testing.T, u User) error { put(t, u, ".qmail-x-owner", ""); return nil },
		"a sticky home":            func(t *testing.T, u User) error { return os.Chmod(u.Home, 0o700|os.ModeSticky) },
		"others may write there":   func(t *testing.T, u User) error { return os.Chmod(u.Home, 0o702) },
		"another home": func(t *testing.T, u User) error {
			return errors.Join(os.Rename(u.Home, u.Home+".old"), os.Mkdir(u.Home, 0o700), os.Chown(u.Home, int(u.UID), int(u.GID)))
		},
		"another folder on the way": func(t *testing.T, u User) error {
			above := filepath.Dir(u.Home)
			t.Cleanup(func() { os.RemoveAll(above + ".old") })
			return errors.Join(os.Rename(above, above+".old"), os.MkdirAll(u.Home, 0o755))
		},
	}
	each(t, Options{}, func(t *testing.T, s Service) {
		for name, change := range changes {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				u := newUser(t)
				put(t, u, ".qmail-default", "&a@b.test\n")
				step(t, u)
				found, err := s.Search(t.Context(), u, forX(1))
				if err != nil || found.Name != ".qmail-default" || found.Witness == "" {
					t.Fatalf("%+v, %v", found, err)
				}
				held, err := s.Hold(t.Context(), u, forX(0))
				if err != nil {
					t.Fatal(err)
				}
				defer held.Close()
				if held.Witness != found.Witness || !held.Same() {
					t.Fatal("what nobody has changed is not as it was")
				}
				if change != nil {
					if err := change(t, u); err != nil {
						t.Fatal(err)
					}
				}
				if held.Same() != (change == nil) {
					t.Errorf("is it the same? %v", held.Same())
				}
				if held.Close(); held.Same() {
					t.Error("a closed one says that all is as it was")
				}
			})
		}
	})
}

// A file system's clock has steps: two changes in one look like one.
func TestThereIsNoWitnessOfWhatWasChangedAMomentAgo(t *testing.T) {
	each(t, Options{}, func(t *testing.T, s Service) {
		u := newUser(t)
		put(t, u, ".qmail-default", "&a@b.test\n")
		for settle, want := range map[time.Duration]bool{0: false, 2 * time.Second: false, time.Hour: false} {
			if found, err := s.Search(t.Context(), u, forX(settle)); err != nil || found.Name == "" || (found.Witness != "") != want {
				t.Errorf("%v: %+v, %v", settle, found, err)
			}
		}
		// An old time that somebody gave the file changes nothing.
		if err := os.Chtimes(filepath.Join(u.Home, ".qmail-default"), time.Unix(1e9, 0), time.Unix(1e9, 0)); err != nil {
			t.Fatal(err)
		}
		if found, err := s.Search(t.Context(), u, forX(2*time.Second)); err != nil || found.Witness != "" {
			t.Errorf("%+v, %v", found, err)
		}
	})
}

func TestAMomentIsOverWhenEveryTimeIsBeforeIt(t *testing.T) {
	t.Parallel()
	at := func(mtime, ctime int64) *syscall.Stat_t {
		return &syscall.Stat_t{Mtim: syscall.Timespec{Sec: mtime}, Ctim: syscall.Timespec{Sec: ctime}}
	}
	for _, c := range []struct {
		home, file *syscall.Stat_t
		want       bool
	}{
		{at(1, 1), at(1, 1), true},
		{at(1, 99), at(99, 1), true},
		{at(100, 1), at(1, 1), false},
		{at(1, 100), at(1, 1), false},
		{at(1, 1), at(100, 1), false},
		{at(1, 1), at(1, 5000), false}, // the clock was set back
	} {
		if have := settled(time.Unix(100, 0), c.home, c.file); have != c.want {
			t.Errorf("%v %v: %v", c.home.Ctim, c.file.Ctim, have)
		}
	}
}

// What a link leads to may change while neither the home nor the link does.
func TestNoFileIsHeldThatMayChangeUnseen(t *testing.T) {
	each(t, Options{}, func(t *testing.T, s Service) {
		u := newUser(t)
		put(t, u, ".qmail-default", "&a@b.test\n")
		put(t, u, "elsewhere", "&a@b.test\n")
		for _, name := range []string{".qmail-link", ".qmail-owner-link"} {
			if err := os.Symlink("elsewhere", filepath.Join(u.Home, name)); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(os.Symlink("nowhere", filepath.Join(u.Home, ".qmail-dangling")), os.Mkdir(filepath.Join(u.Home, ".qmail-dir"), 0o755), syscall.Mkfifo(filepath.Join(u.Home, ".qmail-fifo"), 0o644)); err != nil {
			t.Fatal(err)
		}
		names := func(list ...string) Search { return Search{Names: list} }
		for what, c := range map[string]struct {
			q    Search
			want error // nil: it is held
		}{
			"plain":                     {names(".qmail-default"), nil},
			"names that are not there":  {Search{Names: []string{".qmail-y", ".qmail-default"}, Exist: []string{".qmail-y-owner"}}, nil},
			"a folder goes before":      {names(".qmail-dir", ".qmail-default"), nil},
			"a link":                    {names(".qmail-link"), syscall.ELOOP},
			"a link goes before":        {names(".qmail-dangling", ".qmail-default"), syscall.ELOOP},
			"an owner is a link":        {Search{Names: []string{".qmail-default"}, Exist: []string{".qmail-owner-link"}}, syscall.ELOOP},
			"a folder":                  {names(".qmail-dir"), syscall.EXDEV},
			"a FIFO":                    {names(".qmail-fifo"), syscall.EXDEV},
			"nothing":                   {names(".qmail-y"), fs.ErrNotExist},
			"no name":                   {names(), syscall.EINVAL},
			"another kind of file":      {names("elsewhere"), syscall.EINVAL},
			"a file of a folder":        {names(".qmail-dir/x"), syscall.EINVAL},
			"a file above":              {names("../.qmail-default"), syscall.EINVAL},
			"another kind goes before":  {names("elsewhere", ".qmail-default"), syscall.EINVAL},
			"another kind as the owner": {Search{Names: []string{".qmail-default"}, Exist: []string{"/etc/passwd"}}, syscall.EINVAL},
		} {
			held, err := s.Hold(t.Context(), u, c.q)
			if !errors.Is(err, c.want) || (held != nil) != (c.want == nil) {
				t.Errorf("%s: %v, want %v", what, err, c.want)
			}
			if held != nil {
				held.Close()
			}
		}
		if _, err := s.Hold(t.Context(), User{Name: "root", Home: "/root"}, names(".qmail")); err == nil {
			t.Error("a file of root was held")
		}
	})
}

func TestWhoMayHoldMayDoNothingElse(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	put(t, u, ".qmail", "&a@b.test\n")
	s, err := NewServer(Options{}, Reserved{})
	if err != nil {
		t.Fatal(err)
	}
	s.Peers = map[uint32]Rights{uint32(os.Geteuid()): {Holds: true}}
	c, stop := serve(t, s, Options{})
	t.Cleanup(stop)
	held, err := c.Hold(t.Context(), u, Search{Names: []string{".qmail"}})
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if _, err := held.file.Read(make([]byte, 1)); !errors.Is(err, syscall.EBADF) {
		t.Errorf("reading what is held: %v", err)
	}
	if found, err := c.Search(t.Context(), u, Search{Names: []string{".qmail"}, Limit: 100}); err == nil {
		t.Errorf("a search: %+v", found)
	}
	files := tree(t, c, u)
	if f, err := files.OpenFile(".qmail", os.O_RDONLY, 0); err == nil {
		f.Close()
		t.Error("it was opened")
	}
	if err := files.Remove(".qmail"); err == nil {
		t.Error("it was removed")
	}
	if _, err := c.Run(t.Context(), u, Command{Args: []string{"/bin/true"}}); err == nil {
		t.Error("a program ran")
	}
}
