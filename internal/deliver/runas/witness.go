package runas

// What a Search found stays true while the home and the file are as they were. A witness tells how they
// were, and a Held asks the system whether they still are, by two calls and with no right over the files: whoever has one need not
// search again. Two files that look alike may yet differ, since the system notes changes by a clock with steps:
// so there is no witness of what was changed a moment ago (Search.Settle).

import (
	"context"
	"encoding/binary"
	"errors"
	stdfs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	osfs "github.com/postilion/postilion/internal/fs/os"
)

// witnessSize is two marks, in bytes.
const witnessSize = 2 * 10 * 8

// mark is what tells of a change to a folder (names that come, go or change; its mode) or to a file (its
// bytes, its mode): st_ctim is set by each and can be set by nobody (inode(7)).
type mark [10]uint64

func markOf(st *syscall.Stat_t) mark {
	return mark{
		uint64(st.Dev), st.Ino, uint64(st.Mode), uint64(st.Uid), uint64(st.Gid), uint64(st.Size),
		uint64(st.Mtim.Sec), uint64(st.Mtim.Nsec), uint64(st.Ctim.Sec), uint64(st.Ctim.Nsec),
	}
}

// markAt is markOf for a path. It waits for no file system: what a user put there that is slow to answer is not what
// was there before.
func markAt(path string) (mark, error) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_DONT_SYNC|unix.AT_NO_AUTOMOUNT, unix.STATX_BASIC_STATS, &st)
	return mark{
		unix.Mkdev(st.Dev_major, st.Dev_minor), st.Ino, uint64(st.Mode), uint64(st.Uid), uint64(st.Gid), st.Size,
		uint64(st.Mtime.Sec), uint64(st.Mtime.Nsec), uint64(st.Ctime.Sec), uint64(st.Ctime.Nsec),
	}, err
}

func witness(home, file mark) (w [witnessSize]byte) {
	b := w[:0]
	for _, m := range [...]mark{home, file} {
		for _, v := range m {
			b = binary.NativeEndian.AppendUint64(b, v)
		}
	}
	return w
}

// settled reports whether nothing was changed after a time. The clock may have been set back since: what
// was changed later than now is not settled either.
func settled(before time.Time, files ...*syscall.Stat_t) bool {
	for _, st := range files {
		if !time.Unix(st.Mtim.Unix()).Before(before) || !time.Unix(st.Ctim.Unix()).Before(before) {
			return false
		}
	}
	return true
}

// holdable reports whether a name is one that Hold is for: a role that may ask for nothing else learns of
// no other files.
func holdable(name string) bool {
	return strings.HasPrefix(name, ".qmail") && !strings.Contains(name, "/") && local(name)
}

// hold opens the file of instructions for nothing but fstat(2), and tells how it and the home are. It refuses
// what may change without either of them: links, and files of another device.
func hold(r *request, p *reply) {
	names := slices.Concat(r.search.Exist, r.search.Names)
	if len(r.search.Names) == 0 || slices.ContainsFunc(names, func(s string) bool { return !holdable(s) }) {
		p.err = syscall.EINVAL
		return
	}
	home, err := follow(unix.AT_FDCWD, r.user.Home+"/.", unix.O_PATH, 0)
	if p.err = err; err != 0 {
		return
	}
	defer syscall.Close(home)
	var of, st syscall.Stat_t
	if p.err = errno(syscall.Fstat(home, &of)); p.err != 0 {
		return
	}
	for _, name := range names {
		var st unix.Stat_t
		err := errno(unix.Fstatat(home, name, &st, unix.AT_SYMLINK_NOFOLLOW))
		if err == 0 && st.Mode&unix.S_IFMT == unix.S_IFLNK {
			err = syscall.ELOOP
		}
		if err != 0 && err != syscall.ENOENT {
			p.err = err
			return
		}
	}
	fd, err := follow(home, names[len(names)-1], unix.O_PATH|unix.O_NOFOLLOW, 0)
	if p.err = err; err != 0 {
		return
	}
	p.err = errno(syscall.Fstat(fd, &st))
	if p.err == 0 && (st.Mode&syscall.S_IFMT != syscall.S_IFREG || st.Dev != of.Dev) {
		p.err = syscall.EXDEV
	}
	if p.err != 0 {
		syscall.Close(fd)
		return
	}
	w := witness(markOf(&of), markOf(&st))
	p.file, p.found.Witness = fd, string(w[:])
}

// Held watches the file of instructions that a Search found. It is safe for concurrent use.
type Held struct {
	// Witness is how the home and the file were when they were taken hold of: what was found holds where
	// it has the same.
	Witness string

	home string
	file *os.File
}

// Same reports whether a Search would find now what it found. After Close it is false.
func (h *Held) Same() bool {
	// Another folder may have the home's name now, so it is looked up by that.
	home, err := markAt(h.home)
	if err != nil {
		return false
	}
	sys, err := h.file.SyscallConn()
	if err != nil {
		return false
	}
	var file syscall.Stat_t
	ferr := error(syscall.EBADF)
	err = sys.Control(func(fd uintptr) { ferr = syscall.Fstat(int(fd), &file) })
	w := witness(home, markOf(&file))
	return err == nil && ferr == nil && string(w[:]) == h.Witness
}

// Close gives the file up.
func (h *Held) Close() error { return h.file.Close() }

// hold is Service.Hold.
func (s userFiles) hold(u User, q Search) (*Held, error) {
	p, err := s.doer.do(&request{op: opHold, user: u, search: Search{Names: q.Names, Exist: q.Exist}})
	if err != nil {
		return nil, err
	}
	if p.err != 0 {
		return nil, &stdfs.PathError{Op: "hold", Path: u.Home, Err: p.err}
	}
	name := filepath.Join(u.Home, q.Names[len(q.Names)-1])
	h := &Held{Witness: p.found.Witness, home: u.Home, file: os.NewFile(uintptr(p.file), name)}
	// A server of files need not tell at once what others changed there.
	if !osfs.OnLocalDisk(osfs.Adopt(h.file, name)) || !h.Same() {
		return nil, errors.Join(&stdfs.PathError{Op: "hold", Path: name, Err: errors.ErrUnsupported}, h.Close())
	}
	return h, nil
}

// Hold implements Service.
func (h *Here) Hold(_ context.Context, u User, q Search) (*Held, error) {
	if err := h.rule.check(u); err != nil {
		return nil, err
	}
	return h.hold(u, q)
}

// Hold implements Service.
func (c *Client) Hold(_ context.Context, u User, q Search) (*Held, error) {
	if err := c.rule.check(u); err != nil {
		return nil, err
	}
	return c.hold(u, q)
}
