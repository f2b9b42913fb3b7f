package owners

import (
	"context"
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/postilion/postilion/internal/role"
)

// Maildirs belong to role local and the group that it shares with access. Those that were written under another uid, such as by a
// single process, or that an operator copied in, are given to them. At the start mail/ and the domains' folders in it are looked at,
// of which there are few; the Maildirs' own folders while the server runs, because a large host has a million and a start must not wait
// for its disk. What lies in a folder that is right is taken for right.
//
// Roles may change what is looked at: names are looked up within mail/ alone (os.Root), whatever links lie there.

// mailLevels is how many levels of folders lie below a domain's: LOCAL, Maildir, the folders in it, and theirs.
const mailLevels = 4

// shareMail gives mail/, or domains' folders in it, to role local where they are not.
func shareMail(path string, uid, gid int) error {
	return shareFolders(context.Background(), path, &mailShare{uid: uid, gid: gid}, 0)
}

// GiveMaildirs gives folders of Maildirs that are not role local's to it, until ctx ends. It returns how many those were.
func GiveMaildirs(ctx context.Context, data string, ids *IDs) (folders int, err error) {
	s := &mailShare{uid: ids.Of(role.Local).UID, gid: ids.mail}
	err = shareFolders(ctx, filepath.Join(data, "mail"), s, mailLevels)
	return s.given, err
}

// shareFolders looks at mail/ and levels of folders below the domains' in it. mail/ may be a link: the data folder is root's.
func shareFolders(ctx context.Context, path string, s *mailShare, levels int) error {
	root, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	defer root.Close()
	info, err := root.Lstat(".")
	if err != nil {
		return err
	}
	if !s.right(info) {
		return s.all(ctx, root, ".")
	}
	return s.below(ctx, root, levels)
}

// mailShare is whom mail is given to.
type mailShare struct {
	uid, gid int
	given    int // folders
}

func (s *mailShare) right(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == s.uid && int(st.Gid) == s.gid && info.Mode().Perm()&0o770 == 0o770 && info.Mode()&os.ModeSetgid != 0
}

// below looks at the folders in dir, and at levels of folders below them.
func (s *mailShare) below(ctx context.Context, dir *os.Root, levels int) error {
	return within(ctx, dir, func(e os.DirEntry) error {
		if !e.IsDir() {
			return nil
		}
		info, err := dir.Lstat(e.Name())
		if err != nil {
			return err
		}
		if !s.right(info) {
			return s.all(ctx, dir, e.Name())
		}
		if name := e.Name(); levels == 0 || levels < mailLevels-1 && (name == "new" || name == "cur" || name == "tmp") {
			return nil // those of messages, as many as there are
		}
		return s.enter(dir, e.Name(), func(sub *os.Root) error { return s.below(ctx, sub, levels-1) })
	})
}

// all gives the folder name in dir and everything in it. Links are given, not followed.
func (s *mailShare) all(ctx context.Context, dir *os.Root, name string) error {
	s.given++
	return s.enter(dir, name, func(sub *os.Root) error {
		err := within(ctx, sub, func(e os.DirEntry) error {
			if e.IsDir() {
				return s.all(ctx, sub, e.Name())
			}
			return s.give(sub, e.Name())
		})
		return errors.Join(err, s.give(sub, "."))
	})
}

// give changes owner and rights of one file or folder.
func (s *mailShare) give(dir *os.Root, name string) error {
	info, err := dir.Lstat(name)
	if err != nil {
		return err
	}
	if err := dir.Lchown(name, s.uid, s.gid); err != nil {
		return err
	}
	switch {
	case info.IsDir():
		return dir.Chmod(name, widen(info.Mode().Perm()|0o700)|os.ModeSetgid)
	case info.Mode().IsRegular():
		return dir.Chmod(name, widen(info.Mode().Perm()))
	}
	return nil
}

func (s *mailShare) enter(dir *os.Root, name string, do func(*os.Root) error) error {
	sub, err := dir.OpenRoot(name)
	if err != nil {
		return err
	}
	defer sub.Close()
	return do(sub)
}

// within calls do for all that lies in dir until ctx ends. What is gone meanwhile is no error; other errors do not keep the rest.
func within(ctx context.Context, dir *os.Root, do func(os.DirEntry) error) error {
	list, err := iofs.ReadDir(dir.FS(), ".")
	errs := []error{err}
	for _, e := range list {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := do(e); err != nil && !errors.Is(err, iofs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
