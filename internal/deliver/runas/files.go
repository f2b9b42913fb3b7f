package runas

import (
	"encoding/binary"
	"errors"
	"io"
	stdfs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/postilion/postilion/internal/fs"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/reason"
)

// doer does operations with users' rights, in this process or by asking the one that has root.
type doer interface {
	// do returns when r is done or given up. The error is a *reason.Error: it was not
	// done, or nobody knows whether it was.
	do(r *request) (reply, error)
}

// files is a tree as one user sees it.
type files struct {
	doer    doer
	devices *osfs.Devices
	user    User
	root    string
}

var _ fs.FS = (*files)(nil)

// at makes the request for a name. names are those after the first.
func (f *files) at(op opcode, verb, name string) (*request, error) {
	if !local(name) {
		return nil, &stdfs.PathError{Op: verb, Path: name, Err: invalid(name)}
	}
	return &request{op: op, user: f.user, path: filepath.Join(f.root, name)}, nil
}

// invalid tells a name with a zero byte, which the system refuses, from one that leads out.
func invalid(name string) error {
	if strings.IndexByte(name, 0) >= 0 && filepath.IsLocal(name) {
		return syscall.EINVAL
	}
	return fs.ErrInvalid
}

// named is at for an operation on a name in a folder, which the root has not.
func (f *files) named(op opcode, verb, name string) (*request, error) {
	r, err := f.at(op, verb, name)
	if err == nil && r.path == f.root {
		return nil, &stdfs.PathError{Op: verb, Path: name, Err: fs.ErrInvalid}
	}
	return r, err
}

// do asks for one operation and makes its error a *PathError.
func (f *files) do(r *request, verb string) (reply, error) {
	p, err := f.doer.do(r)
	if err == nil && p.err != 0 {
		err = p.err
	}
	if err != nil {
		return p, &stdfs.PathError{Op: verb, Path: r.path, Err: err}
	}
	return p, nil
}

// OpenFile implements fs.FS.
func (f *files) OpenFile(name string, flag int, perm fs.FileMode) (fs.File, error) {
	file, err := f.open(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return osfs.Adopt(file, name), nil
}

func (f *files) open(name string, flag int, perm fs.FileMode) (*os.File, error) {
	r, err := f.at(opOpen, "open", name)
	if err != nil {
		return nil, err
	}
	r.flag, r.perm = flag, uint32(perm.Perm())
	p, err := f.do(r, "open")
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(p.file), r.path)
	if flag&(os.O_WRONLY|os.O_RDWR|os.O_CREATE|os.O_TRUNC) != 0 {
		if err := f.written(file, p.dev); err != nil {
			return nil, err
		}
	}
	return file, nil
}

// adopt makes a file of what a Search made.
func (f *files) adopt(p *reply, name string) (fs.File, error) {
	file := os.NewFile(uintptr(p.file), filepath.Join(f.root, name))
	if err := f.written(file, p.dev); err != nil {
		return nil, err
	}
	return osfs.Adopt(file, name), nil
}

// written takes note of a file's device before anything is written. After an error it is closed.
func (f *files) written(file *os.File, dev uint64) error {
	if err := f.noteFile(dev, file); err != nil {
		return errors.Join(&stdfs.PathError{Op: "open", Path: file.Name(), Err: err}, file.Close())
	}
	return nil
}

// noteFile makes SyncAll cover the device of an open file. Where its folder does not do, because a link led to another
// device or the user may not list it, the file itself stays open for that.
func (f *files) noteFile(number uint64, file *os.File) error {
	if f.note(number, filepath.Dir(file.Name())) == nil {
		return nil
	}
	return f.devices.Hold(number, func() (*os.File, error) {
		fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), file.Name()), nil
	})
}

// note makes SyncAll cover a device on which folder lies.
func (f *files) note(number uint64, folder string) error {
	if number == 0 || f.devices.Has(number) {
		return nil
	}
	return f.devices.Hold(number, func() (*os.File, error) {
		p, err := f.do(&request{op: opOpen, user: f.user, path: folder, flag: syscall.O_RDONLY | syscall.O_DIRECTORY}, "open")
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(p.file), folder), nil
	})
}

// Mkdir implements fs.FS.
func (f *files) Mkdir(name string, perm fs.FileMode) error {
	r, err := f.named(opMkdir, "mkdir", name)
	if err != nil {
		return err
	}
	r.perm = uint32(perm.Perm())
	p, err := f.do(r, "mkdir")
	if err != nil {
		return err
	}
	return f.note(p.dev, filepath.Dir(r.path))
}

// MkdirAll implements fs.FS.
func (f *files) MkdirAll(name string, perm fs.FileMode) error {
	r, err := f.at(opMkdirAll, "mkdir", name)
	if err != nil {
		return err
	}
	r.perm = uint32(perm.Perm())
	p, err := f.do(r, "mkdir")
	if err != nil {
		return err
	}
	return f.note(p.dev, r.path)
}

// plain does an operation that has a name and no answer.
func (f *files) plain(op opcode, verb, name string) error {
	r, err := f.named(op, verb, name)
	if err != nil {
		return err
	}
	_, err = f.do(r, verb)
	return err
}

// Remove implements fs.FS.
func (f *files) Remove(name string) error { return f.plain(opRemove, "remove", name) }

// RemoveAll implements fs.FS.
func (f *files) RemoveAll(name string) error { return f.plain(opRemoveAll, "remove", name) }

// Rename implements fs.FS.
func (f *files) Rename(oldname, newname string) error {
	return f.two(opRename, "rename", oldname, newname)
}

// Link implements fs.FS.
func (f *files) Link(oldname, newname string) error { return f.two(opLink, "link", oldname, newname) }

func (f *files) two(op opcode, verb, oldname, newname string) error {
	r, err := f.named(op, verb, oldname)
	if err != nil {
		return err
	}
	to, err := f.named(op, verb, newname)
	if err != nil {
		return err
	}
	r.path2 = to.path
	p, err := f.doer.do(r)
	if err == nil && p.err != 0 {
		err = p.err
	}
	if err != nil {
		return &os.LinkError{Op: verb, Old: r.path, New: r.path2, Err: err}
	}
	return f.note(p.dev, filepath.Dir(r.path2))
}

// Stat implements fs.FS.
func (f *files) Stat(name string) (fs.FileInfo, error) { return f.stat(opStat, "stat", name) }

// Lstat implements fs.FS.
func (f *files) Lstat(name string) (fs.FileInfo, error) { return f.stat(opLstat, "lstat", name) }

func (f *files) stat(op opcode, verb, name string) (fs.FileInfo, error) {
	r, err := f.at(op, verb, name)
	if err != nil {
		return nil, err
	}
	p, err := f.do(r, verb)
	if err != nil {
		return nil, err
	}
	return &info{filepath.Base(r.path), p.stat}, nil
}

// maxEntries bounds the names that ReadDir takes in: the folder is somebody else's.
const maxEntries = 2 << 20

// ReadDir implements fs.FS. The folder is opened with the user's rights, and read here.
func (f *files) ReadDir(name string) ([]fs.DirEntry, error) {
	dir, err := f.open(name, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var list []fs.DirEntry
	buf := make([]byte, 16<<10)
	for {
		n := 0
		err := again(func() (err error) { n, err = unix.Getdents(int(dir.Fd()), buf); return err })
		if err == 0 && len(list) > maxEntries {
			err = syscall.EFBIG
		}
		if err != 0 {
			return nil, &stdfs.PathError{Op: "readdir", Path: dir.Name(), Err: err}
		}
		if n <= 0 {
			break
		}
		list = f.entries(list, buf[:n], name)
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, nil
}

// entries reads what getdents64(2) gave: inode, offset, length of the record, type, name.
func (f *files) entries(list []fs.DirEntry, p []byte, dir string) []fs.DirEntry {
	const head = 19
	for len(p) > head {
		n := int(binary.NativeEndian.Uint16(p[16:]))
		if n < head || n > len(p) {
			break
		}
		name := p[head:n]
		if i := slices.Index(name, 0); i >= 0 {
			name = name[:i]
		}
		if s := string(name); s != "." && s != ".." {
			list = append(list, &entry{name: s, kind: p[18], dir: dir, of: f})
		}
		p = p[n:]
	}
	return list
}

// Chtimes implements fs.FS.
func (f *files) Chtimes(name string, atime, mtime time.Time) error {
	r, err := f.named(opChtimes, "chtimes", name)
	if err != nil {
		return err
	}
	r.atime, r.mtime = atime, mtime
	_, err = f.do(r, "chtimes")
	return err
}

// SyncDir implements fs.FS.
func (f *files) SyncDir(name string) error {
	dir, err := f.open(name, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer dir.Close() // read only: nothing can be lost here
	// fsync(2) EINVAL: a file system that cannot sync a folder, see fs/os.
	if err := dir.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}

// SyncAll implements fs.FS, for the files of all users.
func (f *files) SyncAll() error {
	if err := f.devices.SyncAll(); err != nil {
		return &stdfs.PathError{Op: "syncfs", Path: f.root, Err: err}
	}
	return nil
}

// Lock implements fs.FS.
func (f *files) Lock(name string) (io.Closer, error) {
	if _, err := f.named(opOpen, "lock", name); err != nil {
		return nil, err
	}
	file, err := f.open(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return osfs.LockFile(file)
}

// Space implements fs.FS.
func (f *files) Space(name string) (fs.Space, error) {
	r, err := f.at(opSpace, "statfs", name)
	if err != nil {
		return fs.Space{}, err
	}
	p, err := f.do(r, "statfs")
	return p.space, err
}

// Sub implements fs.FS.
func (f *files) Sub(name string) (fs.FS, error) {
	st, err := f.Stat(name)
	if err != nil {
		return nil, err
	}
	sub := *f
	sub.root = filepath.Join(f.root, name)
	if !st.IsDir() {
		return nil, &stdfs.PathError{Op: "open", Path: sub.root, Err: syscall.ENOTDIR}
	}
	return &sub, nil
}

// user is what the services of this package share: the seam's calls made of a doer's.
type userFiles struct {
	doer    doer
	devices *osfs.Devices
}

func (s userFiles) files(u User) fs.FS {
	return &files{doer: s.doer, devices: s.devices, user: u, root: filepath.Clean(u.Home)}
}

// SyncAll implements Service.
func (s userFiles) SyncAll() error { return s.devices.SyncAll() }

func (s userFiles) search(u User, q Search) (Found, error) {
	p, err := s.doer.do(&request{op: opSearch, user: u, search: q})
	switch {
	case err != nil:
		return Found{}, reason.As(err)
	case p.err != 0:
		op := "open"
		if p.where == u.Home {
			op = "chdir"
		}
		return p.found, &stdfs.PathError{Op: op, Path: p.where, Err: p.err}
	}
	found := p.found
	if p.same {
		found = *q.Known
	}
	if p.file >= 0 {
		f := files{doer: s.doer, devices: s.devices, user: u, root: filepath.Clean(u.Home)}
		if found.File, err = f.adopt(&p, q.Make); err != nil { // as if it could not be made
			found.File = nil
			_ = f.Remove(q.Make)
		}
	}
	return found, nil
}
