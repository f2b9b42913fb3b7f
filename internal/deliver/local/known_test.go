package local_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/deliver/local"
	"github.com/postilion/postilion/internal/deliver/runas"
	ourfs "github.com/postilion/postilion/internal/fs"
	osfs "github.com/postilion/postilion/internal/fs/os"
)

// counted tells which searches made their file.
type counted struct {
	runas.Service
	asked, made int
}

func (c *counted) Search(ctx context.Context, u runas.User, q runas.Search) (runas.Found, error) {
	found, err := c.Service.Search(ctx, u, q)
	if q.Make != "" {
		c.asked++
	}
	if found.File != nil {
		c.made++
	}
	return found, err
}

// What was found before saves a call, and decides nothing: a file that was edited a moment ago counts.
func TestInstructionsCountAsTheyAreNowWhateverWasFoundBefore(t *testing.T) {
	t.Parallel()
	h, _ := realHome(t, local.Options{}, runas.Options{}, false, map[string]string{
		".qmail": "./one/\n", ".qmail-default": "./one/\n",
	})
	for _, box := range []string{"one", "two"} {
		for _, sub := range []string{"", "/tmp", "/new", "/cur"} {
			dir := filepath.Join(h.dir, box+sub)
			if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, int(h.uid), int(h.uid))); err != nil {
				t.Fatal(err)
			}
		}
	}
	real, err := runas.NewHere(runas.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer real.Close()
	service := &counted{Service: real}
	boxes, err := osfs.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	h.Target = local.New(local.Options{}, local.Deps{FS: boxes, Barrier: &ourfs.Barrier{FS: boxes}, Directory: accounts{}, Clock: clock.NewFake(noon), Runas: service})
	edit := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(h.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		os.Chown(filepath.Join(h.dir, name), int(h.uid), int(h.uid))
	}
	step := func(what, ext, want string, one, two, asked, made int) {
		t.Helper()
		if got := said(h.deliver(ext)); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
		have := fmt.Sprint(visible(t, h, "one/new"), visible(t, h, "two/new"), service.asked, service.made)
		if have != fmt.Sprint(one, two, asked, made) {
			t.Errorf("%s: have %v, want %v", what, have, fmt.Sprint(one, two, asked, made))
		}
		if n := visible(t, h, "one/tmp") + visible(t, h, "two/tmp"); n != 0 {
			t.Errorf("%s: %d files are left in tmp", what, n)
		}
	}
	step("first", "", "Kdid 1+0+0\n", 1, 0, 0, 0)
	step("again", "", "Kdid 1+0+0\n", 2, 0, 1, 1)
	edit(".qmail", "./two/\n")
	step("edited", "", "Kdid 1+0+0\n", 2, 1, 2, 1)
	step("as edited", "", "Kdid 1+0+0\n", 2, 2, 3, 2)
	edit(".qmail", "./two/\n./two/\n./one/\n")
	step("more lines", "", "Kdid 3+0+0\n", 3, 4, 4, 2)
	step("more lines again", "", "Kdid 3+0+0\n", 4, 6, 5, 3)
	edit(".qmail", "&a@b.test\n")
	step("a forward", "", "Kdid 0+1+0\n", 4, 6, 6, 3)
	step("a forward again", "", "Kdid 0+1+0\n", 4, 6, 6, 3)
	step("by default", "x", "Kdid 1+0+0\n", 5, 6, 6, 3)
	step("by default again", "x", "Kdid 1+0+0\n", 6, 6, 7, 4)
	edit(".qmail-x", "./two/\n")
	step("a file goes before", "x", "Kdid 1+0+0\n", 6, 7, 8, 4)
	edit(".qmail-x", "./one/\n")
	os.Chmod(filepath.Join(h.dir, ".qmail-x"), 0o602)
	step("that others write", "x", "ZUh-oh: .qmail file is writable. (#4.7.0)\n", 6, 7, 9, 4)
	os.Remove(filepath.Join(h.dir, ".qmail-x"))
	step("gone", "x", "Kdid 1+0+0\n", 7, 7, 9, 4)
	os.RemoveAll(filepath.Join(h.dir, "one"))
	step("no Maildir any more", "x", "ZUnable to chdir to maildir. (#4.2.1)\n", 0, 7, 10, 4)

	j := h.to("", "Delivered-To: "+h.name+"@mx.test\n"+letter)
	edit(".qmail", "./two/\n")
	step("back", "", "Kdid 1+0+0\n", 0, 8, 10, 4)
	if got := said(h.Deliver(t.Context(), j)[0]); !strings.HasPrefix(got, "DThis message is looping") || service.asked != 10 || visible(t, h, "two/tmp") != 0 {
		t.Errorf("a loop: %q, %d searches with a file", got, service.asked)
	}
	for _, name := range []string{"two/new"} {
		list, _ := os.ReadDir(filepath.Join(h.dir, name))
		for _, e := range list {
			if info, err := e.Info(); err != nil || info.Sys().(*syscall.Stat_t).Uid != h.uid {
				t.Errorf("%s is not the user's", e.Name())
			}
		}
	}
}

// visible counts the files of a folder whose names have no dot in front.
func visible(t *testing.T, h *home, dir string) (n int) {
	t.Helper()
	list, err := os.ReadDir(filepath.Join(h.dir, dir))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range list {
		if e.Name()[0] != '.' {
			n++
		}
	}
	return n
}
