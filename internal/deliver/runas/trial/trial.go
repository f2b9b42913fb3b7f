// Package trial stands in for runas while a server is tried out beside another: users' files are
// read as ever, but what deliveries write goes to a folder of the trial's, one below it for each
// user, and programs are told of, not run. Nothing of the users' is changed.
package trial

import (
	"context"
	"errors"
	"io"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/deliver/runas"
	"github.com/postilion/postilion/internal/fs"
)

// Service is a runas.Service for a trial.
type Service struct {
	Real   runas.Service // reads users' instructions and which folders they have
	Folder fs.FS         // takes what is delivered
	// Told is called for each program that would have been run; nil forgets.
	Told func(u runas.User, args []string)
}

var _ runas.Service = (*Service)(nil)

// Files returns what looks like the user's home to a delivery: folders that are there in the
// home are there, and what is written stays in the trial's folder.
func (s *Service) Files(ctx context.Context, u runas.User) (fs.FS, error) {
	home, err := s.Real.Files(ctx, u)
	if err != nil {
		return nil, err
	}
	name := folder(u)
	if err := s.Folder.MkdirAll(name, 0o700); err != nil {
		return nil, err
	}
	own, err := s.Folder.Sub(name)
	if err != nil {
		return nil, err
	}
	return &overlay{own, home}, nil
}

// folder is where a user's deliveries go: USER below the trial's, and for files that
// instructions name from the root on USER/root.
func folder(u runas.User) string {
	name := url.PathEscape(u.Name)
	if strings.Trim(name, ".") == "" {
		name = strconv.FormatUint(uint64(u.UID), 10)
	}
	if u.Home == "/" {
		return path.Join(name, "root")
	}
	return path.Join(name, "home")
}

// Run tells what would have been run, and that all was well.
func (s *Service) Run(_ context.Context, u runas.User, c runas.Command) (runas.Result, error) {
	if s.Told != nil {
		s.Told(u, c.Args)
	}
	return runas.Result{Output: []byte("trial: not run: " + strings.Join(c.Args, " ") + "\n")}, nil
}

// Search looks in the user's home.
func (s *Service) Search(ctx context.Context, u runas.User, q runas.Search) (runas.Found, error) {
	q.Known, q.Make = nil, "" // nothing is made there
	return s.Real.Search(ctx, u, q)
}

// Hold watches what Search found.
func (s *Service) Hold(ctx context.Context, u runas.User, q runas.Search) (*runas.Held, error) {
	return s.Real.Hold(ctx, u, q)
}

// SyncAll makes what was delivered durable.
func (s *Service) SyncAll() error { return s.Folder.SyncAll() }

// overlay is the trial's folder of a user. Before an operation the folder of a name is made there,
// if the home has it.
type overlay struct {
	own, home fs.FS
}

var _ fs.FS = (*overlay)(nil)

// mirror makes a folder that the home has. What fails here fails in the operation that follows.
func (o *overlay) mirror(folder string) {
	if folder == "." {
		return
	}
	if _, err := o.own.Stat(folder); !errors.Is(err, fs.ErrNotExist) {
		return
	}
	if info, err := o.home.Stat(folder); err == nil && info.IsDir() {
		_ = o.own.MkdirAll(folder, 0o700)
	}
}

// near mirrors the folder that name is in, and name itself where that is one.
func (o *overlay) near(name string) {
	o.mirror(path.Dir(name))
	o.mirror(name)
}

func (o *overlay) OpenFile(name string, flag int, perm fs.FileMode) (fs.File, error) {
	o.mirror(path.Dir(name))
	return o.own.OpenFile(name, flag, perm)
}

func (o *overlay) Mkdir(name string, perm fs.FileMode) error {
	o.mirror(path.Dir(name))
	return o.own.Mkdir(name, perm)
}

func (o *overlay) MkdirAll(name string, perm fs.FileMode) error { return o.own.MkdirAll(name, perm) }

func (o *overlay) Remove(name string) error    { return o.own.Remove(name) }
func (o *overlay) RemoveAll(name string) error { return o.own.RemoveAll(name) }

func (o *overlay) Rename(oldname, newname string) error {
	o.mirror(path.Dir(newname))
	return o.own.Rename(oldname, newname)
}

func (o *overlay) Link(oldname, newname string) error {
	o.mirror(path.Dir(newname))
	return o.own.Link(oldname, newname)
}

func (o *overlay) Stat(name string) (fs.FileInfo, error) {
	o.near(name)
	return o.own.Stat(name)
}

func (o *overlay) Lstat(name string) (fs.FileInfo, error) {
	o.near(name)
	return o.own.Lstat(name)
}

func (o *overlay) ReadDir(name string) ([]fs.DirEntry, error) {
	o.mirror(name)
	return o.own.ReadDir(name)
}

func (o *overlay) Chtimes(name string, atime, mtime time.Time) error {
	return o.own.Chtimes(name, atime, mtime)
}

func (o *overlay) SyncDir(name string) error {
	o.mirror(name)
	return o.own.SyncDir(name)
}

func (o *overlay) SyncAll() error { return o.own.SyncAll() }

func (o *overlay) Lock(name string) (io.Closer, error) {
	o.mirror(path.Dir(name))
	return o.own.Lock(name)
}

func (o *overlay) Space(name string) (fs.Space, error) { return o.own.Space(name) }

func (o *overlay) Sub(name string) (fs.FS, error) {
	o.mirror(name)
	own, err := o.own.Sub(name)
	if err != nil {
		return nil, err
	}
	home, err := o.home.Sub(name)
	if err != nil {
		return own, nil // made by the delivery itself
	}
	return &overlay{own, home}, nil
}
