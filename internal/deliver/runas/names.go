package runas

// Operations on names: the folder that holds one is opened first, as follow does, and the system is
// told of the name in that folder. So no link of a user leads a rename or a removal into /proc either.

import (
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/postilion/postilion/internal/fs"
)

// folder is the folder of a name, open.
type folder struct {
	fd       int
	name     string
	dev, ino uint64
}

// parent opens the folder that holds the last part of an absolute path.
func parent(path string) (folder, syscall.Errno) {
	i := strings.LastIndexByte(path, '/')
	fd, err := follow(unix.AT_FDCWD, path[:i+1]+".", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != 0 {
		return folder{fd: -1}, err
	}
	f := folder{fd: fd, name: path[i+1:]}
	var st syscall.Stat_t
	if err := errno(syscall.Fstat(fd, &st)); err != 0 {
		f.close()
		return folder{fd: -1}, err
	}
	f.dev, f.ino = uint64(st.Dev), st.Ino
	return f, 0
}

func (f *folder) close() { closeFile(f.fd) }

// inFolder does an operation on one name.
func inFolder(path string, p *reply, do func(f *folder) syscall.Errno) {
	f, err := parent(path)
	if p.err = err; err != 0 {
		return
	}
	defer f.close()
	p.dev, p.ino = f.dev, f.ino
	p.err = do(&f)
}

// inFolders does an operation on two names; the reply tells of the second's folder.
func inFolders(r *request, p *reply, do func(from, to *folder) syscall.Errno) {
	from, err := parent(r.path)
	if p.err = err; err != 0 {
		return
	}
	defer from.close()
	inFolder(r.path2, p, func(to *folder) syscall.Errno { return do(&from, to) })
}

func (f *folder) mkdir(perm uint32) syscall.Errno {
	return again(func() error { return unix.Mkdirat(f.fd, f.name, perm) })
}

// remove is os.Remove.
func (f *folder) remove() syscall.Errno {
	file := again(func() error { return unix.Unlinkat(f.fd, f.name, 0) })
	if file == 0 {
		return 0
	}
	dir := again(func() error { return unix.Unlinkat(f.fd, f.name, unix.AT_REMOVEDIR) })
	if dir == syscall.ENOTDIR {
		return file
	}
	return dir
}

// removeAll is os.RemoveAll, which follows no link below the path that it is given.
func (f *folder) removeAll() syscall.Errno {
	return errno(os.RemoveAll(throughProc(f.fd) + "/" + f.name))
}

// throughProc names an open file by a link of ours.
func throughProc(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// rename is os.Rename, with its refusal to put a file in the place of a folder.
func rename(from, to *folder) syscall.Errno {
	err := again(func() error { return unix.Renameat2(from.fd, from.name, to.fd, to.name, unix.RENAME_NOREPLACE) })
	if err != syscall.EEXIST && err != syscall.EINVAL && err != syscall.ENOSYS { // the latter two: not on every file system
		return err
	}
	var old, now unix.Stat_t
	if unix.Fstatat(to.fd, to.name, &now, unix.AT_SYMLINK_NOFOLLOW) == nil && now.Mode&unix.S_IFMT == unix.S_IFDIR {
		if err := unix.Fstatat(from.fd, from.name, &old, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return errno(err)
		}
		if old.Dev != now.Dev || old.Ino != now.Ino || from.name == to.name {
			return syscall.EEXIST
		}
	}
	return again(func() error { return unix.Renameat(from.fd, from.name, to.fd, to.name) })
}

func link(from, to *folder) syscall.Errno {
	return again(func() error { return unix.Linkat(from.fd, from.name, to.fd, to.name, 0) })
}

// mkdirAll is os.MkdirAll.
func mkdirAll(r *request, p *reply) {
	var st syscall.Stat_t
	if p.err = makeAll(r.path, r.perm); p.err == 0 {
		p.err = status(r.path, 0, &st)
		p.dev = uint64(st.Dev)
	}
}

func makeAll(path string, perm uint32) syscall.Errno {
	isFolder := func() syscall.Errno {
		var st syscall.Stat_t
		err := status(path, 0, &st)
		if err == 0 && st.Mode&syscall.S_IFMT != syscall.S_IFDIR {
			err = syscall.ENOTDIR
		}
		return err
	}
	err := isFolder()
	if err == 0 || err == syscall.ENOTDIR {
		return err
	}
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		if err := makeAll(path[:i], perm); err != 0 {
			return err
		}
	}
	var p reply
	inFolder(path, &p, func(f *folder) syscall.Errno { return f.mkdir(perm) })
	if p.err == syscall.EEXIST {
		return isFolder()
	}
	return p.err
}

// through opens a path's end, whatever it is, and does an operation on that.
func through(path string, flag int, do func(fd int) syscall.Errno) syscall.Errno {
	fd, err := follow(unix.AT_FDCWD, path, unix.O_PATH|flag, 0)
	if err != 0 {
		return err
	}
	defer syscall.Close(fd)
	return do(fd)
}

// space is statvfs(3).
func space(fd int, s *fs.Space) syscall.Errno {
	var st unix.Statfs_t
	if err := again(func() error { return unix.Fstatfs(fd, &st) }); err != 0 {
		return err
	}
	unit := uint64(st.Frsize) // blocks are counted in fragments
	if unit == 0 {
		unit = uint64(st.Bsize)
	}
	*s = fs.Space{TotalBytes: st.Blocks * unit, FreeBytes: st.Bavail * unit, TotalInodes: st.Files, FreeInodes: st.Ffree}
	return 0
}
