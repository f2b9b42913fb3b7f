package local

import (
	"context"
	"errors"
	"io"
	"net/url"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/postilion/postilion/internal/deliver/runas"
	"github.com/postilion/postilion/internal/fs"
)

// homes is the files of all system users as one tree, so that their deliveries share one store
// and one barrier. The first part of a name says who reaches the rest, and from which folder; see
// place. Each operation is that user's, by the runas service.
type homes struct{ service runas.Service }

var _ fs.FS = homes{}

// place returns the name in homes of a file that a user's instructions name: relative ones are in
// the home, others anywhere on the host.
func place(u runas.User, file string) string {
	rest := path.Clean(file)
	if rest[0] != '/' {
		if rest == ".." || strings.HasPrefix(rest, "../") {
			rest = path.Join(u.Home, rest)
		}
	}
	if rest[0] == '/' {
		u.Home = "/"
		rest = "." + rest
	}
	return path.Join(key(u), rest)
}

// key is a user as the first part of a name.
func key(u runas.User) string {
	b := make([]byte, 0, 64)
	b = append(strconv.AppendUint(b, uint64(u.UID), 10), ':')
	b = append(strconv.AppendUint(b, uint64(u.GID), 10), ':')
	b = append(append(b, escapeKey(u.Name)...), ':')
	return string(append(b, escapeKey(u.Home)...))
}

func escapeKey(s string) string { return strings.ReplaceAll(url.PathEscape(s), ":", "%3A") }

// user undoes key.
func user(s string) (u runas.User, err error) {
	f := strings.Split(s, ":")
	if len(f) != 4 {
		return u, fs.ErrInvalid
	}
	uid, err1 := strconv.ParseUint(f[0], 10, 32)
	gid, err2 := strconv.ParseUint(f[1], 10, 32)
	name, err3 := url.PathUnescape(f[2])
	home, err4 := url.PathUnescape(f[3])
	return runas.User{UID: uint32(uid), GID: uint32(gid), Name: name, Home: home}, errors.Join(err1, err2, err3, err4)
}

// find returns the tree that holds name, and its name there.
func (h homes) find(name string) (fs.FS, string, error) {
	first, rest, _ := strings.Cut(name, "/")
	u, err := user(first)
	if err != nil {
		return nil, "", err
	}
	if rest == "" {
		rest = "."
	}
	files, err := h.service.Files(context.Background(), u)
	return files, rest, err
}

// do is an operation without a result but its error.
func (h homes) do(name string, f func(files fs.FS, name string) error) error {
	files, rest, err := h.find(name)
	if err != nil {
		return err
	}
	return f(files, rest)
}

// get is an operation with a result.
func get[T any](h homes, name string, f func(files fs.FS, name string) (T, error)) (T, error) {
	files, rest, err := h.find(name)
	if err != nil {
		var zero T
		return zero, err
	}
	return f(files, rest)
}

// OpenFile implements fs.FS.
func (h homes) OpenFile(name string, flag int, perm fs.FileMode) (fs.File, error) {
	return get(h, name, func(f fs.FS, n string) (fs.File, error) { return f.OpenFile(n, flag, perm) })
}

// Mkdir implements fs.FS.
func (h homes) Mkdir(name string, perm fs.FileMode) error {
	return h.do(name, func(f fs.FS, n string) error { return f.Mkdir(n, perm) })
}

// MkdirAll implements fs.FS.
func (h homes) MkdirAll(name string, perm fs.FileMode) error {
	return h.do(name, func(f fs.FS, n string) error { return f.MkdirAll(n, perm) })
}

// Remove implements fs.FS.
func (h homes) Remove(name string) error { return h.do(name, fs.FS.Remove) }

// RemoveAll implements fs.FS.
func (h homes) RemoveAll(name string) error { return h.do(name, fs.FS.RemoveAll) }

// Rename implements fs.FS, within one user's files.
func (h homes) Rename(oldname, newname string) error { return h.two(oldname, newname, fs.FS.Rename) }

// Link implements fs.FS, within one user's files.
func (h homes) Link(oldname, newname string) error { return h.two(oldname, newname, fs.FS.Link) }

func (h homes) two(from, to string, f func(files fs.FS, from, to string) error) error {
	first, _, _ := strings.Cut(from, "/")
	second, rest, _ := strings.Cut(to, "/")
	if first != second {
		return fs.ErrInvalid
	}
	return h.do(from, func(files fs.FS, name string) error { return f(files, name, rest) })
}

// Stat implements fs.FS.
func (h homes) Stat(name string) (fs.FileInfo, error) { return get(h, name, fs.FS.Stat) }

// Lstat implements fs.FS.
func (h homes) Lstat(name string) (fs.FileInfo, error) { return get(h, name, fs.FS.Lstat) }

// ReadDir implements fs.FS.
func (h homes) ReadDir(name string) ([]fs.DirEntry, error) { return get(h, name, fs.FS.ReadDir) }

// Chtimes implements fs.FS.
func (h homes) Chtimes(name string, atime, mtime time.Time) error {
	return h.do(name, func(f fs.FS, n string) error { return f.Chtimes(n, atime, mtime) })
}

// SyncDir implements fs.FS. A folder on the way to a home need not be the user's to read; then a
// sync of everything serves, where there is one, and else nothing was made there by the user.
func (h homes) SyncDir(name string) error {
	if name == "." {
		return nil // nothing is made there
	}
	err := h.do(name, fs.FS.SyncDir)
	if errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM) {
		if err = h.service.SyncAll(); errors.Is(err, errors.ErrUnsupported) {
			return nil
		}
	}
	return err
}

// SyncAll implements fs.FS for all users at once.
func (h homes) SyncAll() error { return h.service.SyncAll() }

// Lock implements fs.FS.
func (h homes) Lock(name string) (io.Closer, error) { return get(h, name, fs.FS.Lock) }

// Space implements fs.FS.
func (h homes) Space(name string) (fs.Space, error) { return get(h, name, fs.FS.Space) }

// Sub implements fs.FS.
func (h homes) Sub(name string) (fs.FS, error) { return get(h, name, fs.FS.Sub) }
