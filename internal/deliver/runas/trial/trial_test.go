package trial

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/deliver/runas"
	"github.com/postilion/postilion/internal/fs"
	osfs "github.com/postilion/postilion/internal/fs/os"
)

// real is a runas.Service whose users have their home in a folder and whose Run must not be called.
type real struct {
	t    *testing.T
	home string
}

func (r real) Files(context.Context, runas.User) (fs.FS, error) { return osfs.New(r.home) }
func (r real) Run(context.Context, runas.User, runas.Command) (runas.Result, error) {
	r.t.Error("a program was run")
	return runas.Result{}, nil
}
func (r real) Search(context.Context, runas.User, runas.Search) (runas.Found, error) {
	return runas.Found{Name: ".qmail"}, nil
}
func (r real) Hold(context.Context, runas.User, runas.Search) (*runas.Held, error) {
	return &runas.Held{Witness: "real"}, nil
}
func (r real) SyncAll() error { return nil }

// service returns a trial with a home that has a Maildir, and both folders.
func service(t *testing.T) (s *Service, home, folder string) {
	t.Helper()
	home, folder = t.TempDir(), t.TempDir()
	for _, sub := range []string{"tmp", "new", "cur"} {
		if err := os.MkdirAll(filepath.Join(home, "Maildir", sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := osfs.New(folder)
	if err != nil {
		t.Fatal(err)
	}
	return &Service{Real: real{t, home}, Folder: tree}, home, folder
}

var joe = runas.User{Name: "joe", UID: 1001, GID: 1001, Home: "/home/joe"}

func TestDeliveriesGoToTheTrialsFolder(t *testing.T) {
	t.Parallel()
	s, home, folder := service(t)
	files, err := s.Files(t.Context(), joe)
	if err != nil {
		t.Fatal(err)
	}
	f, err := files.OpenFile("Maildir/tmp/1", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	f.Write([]byte("mail"))
	if err := errors.Join(f.Close(), files.Rename("Maildir/tmp/1", "Maildir/new/1"), files.SyncDir("Maildir/new"), s.SyncAll()); err != nil {
		t.Fatal(err)
	}
	if p, err := os.ReadFile(filepath.Join(folder, "joe/home/Maildir/new/1")); err != nil || string(p) != "mail" {
		t.Errorf("%q, %v", p, err)
	}
	if list, _ := os.ReadDir(filepath.Join(home, "Maildir/new")); len(list) != 0 {
		t.Error("the user's Maildir was written")
	}
}

// What defers in the user's home must defer in the trial.
func TestAFolderThatTheUserDoesNotHaveIsMissingInTheTrial(t *testing.T) {
	t.Parallel()
	s, _, _ := service(t)
	files, err := s.Files(t.Context(), joe)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := files.OpenFile("Other/tmp/1", os.O_CREATE|os.O_WRONLY, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if _, err := files.Stat("Maildir/new"); err != nil {
		t.Errorf("the Maildir that is there: %v", err)
	}
}

func TestProgramsAreToldAndNotRun(t *testing.T) {
	t.Parallel()
	s, _, _ := service(t)
	var told []string
	s.Told = func(u runas.User, args []string) { told = append(told, u.Name+": "+strings.Join(args, " ")) }
	r, err := s.Run(t.Context(), joe, runas.Command{Args: []string{"/bin/sh", "-c", "rm -rf x"}})
	if err != nil || r.Exit != 0 || string(r.Output) != "trial: not run: /bin/sh -c rm -rf x\n" {
		t.Errorf("%+v, %v", r, err)
	}
	if len(told) != 1 || told[0] != "joe: /bin/sh -c rm -rf x" {
		t.Errorf("told %q", told)
	}
}

func TestUsersFoldersAreTheirOwnAndSafe(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		u    runas.User
		want string
	}{
		{joe, "joe/home"}, {runas.User{Name: "joe", Home: "/"}, "joe/root"}, {runas.User{Name: "../x", Home: "/h"}, "..%2Fx/home"},
		{runas.User{Name: "..", UID: 7, Home: "/h"}, "7/home"}, {runas.User{UID: 8, Home: "/h"}, "8/home"},
	} {
		if have := folder(c.u); have != c.want {
			t.Errorf("%+v: %q, want %q", c.u, have, c.want)
		}
	}
}
