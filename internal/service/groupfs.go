package service

import (
	iofs "io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/postilion/postilion/internal/fs"
)

// groupFS gives the group what the owner may do: local writes the Maildirs and access
// reads and empties them, under uids of their own that share the group postilion-mail.
type groupFS struct{ fs.FS }

// widen copies the owner's rights to the group.
func widen(perm fs.FileMode) fs.FileMode { return perm | perm&0o700>>3 }

// OpenFile implements fs.FS.
func (g groupFS) OpenFile(name string, flag int, perm fs.FileMode) (fs.File, error) {
	return g.FS.OpenFile(name, flag, widen(perm))
}

// Mkdir implements fs.FS.
func (g groupFS) Mkdir(name string, perm fs.FileMode) error { return g.FS.Mkdir(name, widen(perm)) }

// MkdirAll implements fs.FS.
func (g groupFS) MkdirAll(name string, perm fs.FileMode) error {
	return g.FS.MkdirAll(name, widen(perm))
}

// Sub implements fs.FS.
func (g groupFS) Sub(name string) (fs.FS, error) {
	sub, err := g.FS.Sub(name)
	return groupFS{sub}, err
}

// mailFolder returns the Maildirs' tree. Where local and access are processes of their
// own it is shared with the group.
func (p *process) mailFolder() (fs.FS, error) {
	mail, err := p.folder("mail")
	if err != nil || p.has(Local) && p.has(Access) {
		return mail, err
	}
	syscall.Umask(0o007)
	return groupFS{mail}, nil
}

// shareMail gives Maildirs that were written under another uid, such as by a single process, or that were copied in from
// elsewhere, to role local and the group. The folders alone are looked at, down to each Maildir's: at every start. What lies in
// one that is right is taken for right.
func shareMail(path string, uid, gid int) error {
	path, err := filepath.EvalSymlinks(path) // the data folder is root's, and mail may lie on another disk
	if err != nil {
		return err
	}
	return shareFolders(path, uid, gid, mailLevels)
}

// mailLevels is how many levels of folders lie below mail/: DOMAIN, LOCAL, Maildir, the folders in it, and theirs.
const mailLevels = 5

func shareFolders(path string, uid, gid, levels int) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) != uid || int(st.Gid) != gid || info.Mode().Perm()&0o770 != 0o770 || info.Mode()&os.ModeSetgid == 0 {
		return shareTree(path, uid, gid)
	}
	switch name := filepath.Base(path); {
	case levels == 0, levels < 3 && (name == "new" || name == "cur" || name == "tmp"): // of messages, as many as there are
		return nil
	}
	list, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range list {
		if e.IsDir() {
			if err := shareFolders(filepath.Join(path, e.Name()), uid, gid, levels-1); err != nil {
				return err
			}
		}
	}
	return nil
}

// shareTree gives everything from path down. Links are given, not followed.
func shareTree(path string, uid, gid int) error {
	return filepath.WalkDir(path, func(name string, d iofs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := os.Lchown(name, uid, gid); err != nil {
			return err
		}
		info, err := d.Info()
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return os.Chmod(name, widen(info.Mode().Perm()|0o700)|os.ModeSetgid)
		case info.Mode().IsRegular():
			return os.Chmod(name, widen(info.Mode().Perm()))
		}
		return nil
	})
}
