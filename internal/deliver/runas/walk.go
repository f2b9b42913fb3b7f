package runas

// How users' names are followed. The threads that open files for users belong to a process that has
// others' messages open, and for a process of its own the kernel lets everybody through the links
// below /proc/self, whatever folders lie before the file ("magic links", symlink(7)). A user may
// put a link to them anywhere. So those links are not followed, and nothing of /proc is opened.

import (
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// openat2Works is whether the kernel can leave magic links alone itself (openat2(2), Linux 5.6).
var openat2Works = sync.OnceValue(func() bool {
	fd, err := unix.Openat2(unix.AT_FDCWD, "/", &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
})

// follow opens a path: an absolute one, or one from the folder at on.
func follow(at int, path string, flag int, perm uint32) (fd int, err syscall.Errno) {
	if !openat2Works() {
		return walk(at, path, flag, perm)
	}
	how := unix.OpenHow{Flags: uint64(flag | syscall.O_CLOEXEC), Resolve: unix.RESOLVE_NO_MAGICLINKS}
	if flag&syscall.O_CREAT != 0 {
		how.Mode = uint64(perm)
	}
	fd = -1
	err = again(func() (err error) { fd, err = unix.Openat2(at, path, &how); return err })
	return fd, err
}

// maxLinks is how many links lead to a file at most (path_resolution(7)).
const maxLinks = 40

// walk is follow for older kernels: part by part, and by no link of /proc.
func walk(at int, path string, flag int, perm uint32) (int, syscall.Errno) {
	const folder = unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC
	start := "."
	if path[0] == '/' {
		start = "/"
	}
	dir, err := unix.Openat(at, start, folder, 0)
	if err != nil {
		return -1, errno(err)
	}
	defer func() { unix.Close(dir) }()
	enter := func(name string) syscall.Errno {
		next := -1
		err := again(func() (err error) { next, err = unix.Openat(dir, name, folder, 0); return err })
		if err == 0 {
			unix.Close(dir)
			dir = next
		}
		return err
	}
	links, target := 0, make([]byte, unix.PathMax)
	for parts := strings.Split(path, "/"); ; {
		part, last := parts[0], len(parts) == 1
		parts = parts[1:]
		if part == "" {
			part = "."
		}
		if !last || flag&syscall.O_NOFOLLOW == 0 {
			if n, err := unix.Readlinkat(dir, part, target); err == nil {
				if links++; links > maxLinks || ofProc(dir) {
					return -1, syscall.ELOOP
				}
				parts = append(strings.Split(string(target[:n]), "/"), parts...)
				if parts[0] == "" {
					if err := enter("/"); err != 0 {
						return -1, err
					}
				}
				continue
			}
		}
		if !last {
			if err := enter(part); err != 0 {
				return -1, err
			}
			continue
		}
		// Who puts a link there only now gets ELOOP.
		fd := -1
		err := again(func() (err error) {
			fd, err = unix.Openat(dir, part, flag|unix.O_NOFOLLOW|unix.O_CLOEXEC, perm)
			return err
		})
		return fd, err
	}
}

// ofProc reports whether a file is one of /proc, which tells of this process, not of the user.
func ofProc(fd int) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(fd, &st) == nil && st.Type == unix.PROC_SUPER_MAGIC
}

// status is stat(2), or lstat(2) with O_NOFOLLOW.
func status(path string, flag int, st *syscall.Stat_t) syscall.Errno {
	return through(path, flag, func(fd int) syscall.Errno { return errno(syscall.Fstat(fd, st)) })
}

// exists looks whether a name leads to a file.
func exists(at int, name string) syscall.Errno {
	fd, err := follow(at, name, unix.O_PATH, 0)
	closeFile(fd)
	return err
}
