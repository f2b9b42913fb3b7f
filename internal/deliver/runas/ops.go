package runas

// What is done to files, and how it is asked for. perform runs on a thread that has the
// user's rights; it neither waits nor keeps anything.

import (
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/postilion/postilion/internal/fs"
)

type opcode byte

const (
	opOpen opcode = iota + 1
	opMkdir
	opMkdirAll
	opRemove
	opRemoveAll
	opRename
	opLink
	opStat
	opLstat
	opChtimes
	opSpace
	opSearch
	opHold
)

// request is one operation. Paths are absolute; Root of a Search is the home.
type request struct {
	op           opcode
	user         User // Home is the root of a Search
	path, path2  string
	flag         int
	perm         uint32
	atime, mtime time.Time
	search       Search
}

// reply is what became of it.
type reply struct {
	err   syscall.Errno // 0 for none
	where string        // of opSearch: the Path of the error
	busy  bool          // it was not tried: RunasBusy
	file  int           // a descriptor of opOpen, opSearch or opHold; -1 for none
	sent  bool          // it has a descriptor, which follows the frame
	stat  syscall.Stat_t
	dev   uint64 // of the folder in which a name was made, or of the file that was opened
	ino   uint64 // of that folder
	space fs.Space
	found Found
	same  bool // it is Search.Known
}

// openFlags are those that callers may ask for.
const openFlags = syscall.O_ACCMODE | syscall.O_APPEND | syscall.O_CREAT | syscall.O_EXCL | syscall.O_TRUNC | syscall.O_SYNC |
	syscall.O_DIRECTORY | syscall.O_NOFOLLOW

// perform does what r asks for with the rights of the calling thread.
func perform(r *request) (p reply) {
	p.file = -1
	if p.err = r.check(); p.err != 0 {
		return p
	}
	switch r.op {
	case opOpen:
		p.file, p.dev, p.err = open(unix.AT_FDCWD, r.path, r.flag&openFlags, r.perm)
	case opMkdir:
		inFolder(r.path, &p, func(f *folder) syscall.Errno { return f.mkdir(r.perm) })
	case opMkdirAll:
		mkdirAll(r, &p)
	case opRemove:
		inFolder(r.path, &p, (*folder).remove)
	case opRemoveAll:
		if inFolder(r.path, &p, (*folder).removeAll); p.err == syscall.ENOENT {
			p.err = 0 // it is gone
		}
	case opRename:
		inFolders(r, &p, rename)
	case opLink:
		inFolders(r, &p, link)
	case opStat:
		p.err = status(r.path, 0, &p.stat)
	case opLstat:
		p.err = status(r.path, unix.O_NOFOLLOW, &p.stat)
	case opChtimes:
		p.err = through(r.path, 0, func(fd int) syscall.Errno { return errno(os.Chtimes(throughProc(fd), r.atime, r.mtime)) })
	case opSpace:
		p.err = through(r.path, 0, func(fd int) syscall.Errno { return space(fd, &p.space) })
	case opSearch:
		search(r, &p)
	case opHold:
		hold(r, &p)
	default:
		p.err = syscall.ENOSYS
	}
	return p
}

// check refuses paths that no client of ours asks for: there is no folder here to begin at but the root.
func (r *request) check() syscall.Errno {
	two := r.op == opRename || r.op == opLink
	switch {
	case r.op == opSearch, r.op == opHold:
	case len(r.path) >= unix.PathMax || len(r.path2) >= unix.PathMax:
		return syscall.ENAMETOOLONG
	case !strings.HasPrefix(r.path, "/") || two && !strings.HasPrefix(r.path2, "/"):
		return syscall.EINVAL
	}
	return 0
}

// open opens what cannot block: a file, a folder, or the null device, which qmail lets
// instructions name. A FIFO, a socket or a terminal is refused.
func open(at int, path string, flag int, perm uint32) (fd int, dev uint64, err syscall.Errno) {
	const fresh = syscall.O_CREAT | syscall.O_EXCL // a regular file, which never waits
	wait := syscall.O_NONBLOCK
	if flag&fresh == fresh {
		wait = 0
	}
	if fd, err = follow(at, path, flag|wait|syscall.O_NOCTTY, perm); err != 0 {
		return -1, 0, err
	}
	var st syscall.Stat_t
	if e := syscall.Fstat(fd, &st); e != nil {
		syscall.Close(fd)
		return -1, 0, errno(e)
	}
	null := st.Mode&syscall.S_IFMT == syscall.S_IFCHR && st.Rdev == unix.Mkdev(1, 3)
	switch st.Mode & syscall.S_IFMT {
	case syscall.S_IFREG, syscall.S_IFDIR:
	default:
		if !null {
			syscall.Close(fd)
			return -1, 0, syscall.ENXIO
		}
	}
	if unix.Major(st.Dev) == 0 && ofProc(fd) { // it is on no disk
		syscall.Close(fd)
		return -1, 0, syscall.EACCES
	}
	if !null && wait != 0 {
		// Whoever gets it expects reads and writes to wait for the disk. On a descriptor that was
		// just opened this cannot fail.
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFL, flag&(syscall.O_APPEND|syscall.O_SYNC))
	}
	return fd, uint64(st.Dev), 0
}

// maxInstructions bounds what a Search reads whatever it asks for, in bytes.
const maxInstructions = 16 << 20

// search is Service.Search (qmail reference 9.1, 9.3).
func search(r *request, p *reply) {
	now := time.Now()
	// The dot asks for the right to enter, as chdir(2) does.
	home, err := follow(unix.AT_FDCWD, r.user.Home+"/.", unix.O_PATH, 0)
	if err != 0 {
		p.err, p.where = err, r.user.Home
		return
	}
	defer syscall.Close(home)
	var st, file syscall.Stat_t
	if p.err = errno(syscall.Fstat(home, &st)); p.err != 0 {
		p.where = r.user.Home
		return
	}
	p.found.Home = modeOf(st.Mode)
	if st.Mode&0o002 != 0 {
		return
	}
	for _, name := range r.search.Names {
		if !local(name) {
			continue
		}
		found, err := instructions(home, name, min(max(r.search.Limit, 0), maxInstructions), &p.found, &file)
		if err != 0 {
			p.err, p.where = err, name
			return
		}
		if found {
			break
		}
	}
	p.found.Exist = make([]bool, len(r.search.Exist))
	for i, name := range r.search.Exist {
		if !local(name) {
			continue
		}
		err := exists(home, name)
		if err != 0 && !absent(err) {
			p.err, p.where = err, name
			return
		}
		p.found.Exist[i] = err == 0
	}
	if p.found.Name != "" && r.search.Settle > 0 && settled(now.Add(-r.search.Settle), &st, &file) {
		w := witness(markOf(&st), markOf(&file))
		p.found.Witness = string(w[:])
	}
	known, name := r.search.Known, r.search.Make
	if p.same = known != nil && p.found.same(known); p.same && local(name) {
		// Why it could not be made is told when it is tried again.
		p.file, p.dev, _ = open(home, name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	}
}

// instructions reads a file into f when it is a regular one; st is how it was before.
func instructions(home int, name string, limit int64, f *Found, st *syscall.Stat_t) (bool, syscall.Errno) {
	fd, err := follow(home, name, syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	switch {
	case absent(err), err == syscall.ENXIO, err == syscall.ENODEV: // sockets and devices cannot be opened
		return false, 0
	case err != 0:
		return false, err
	}
	defer syscall.Close(fd)
	if e := syscall.Fstat(fd, st); e != nil {
		return false, errno(e)
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return false, 0
	}
	f.Name, f.Mode, f.Size = name, modeOf(st.Mode), st.Size
	content := make([]byte, min(st.Size, limit))
	n := 0
	for n < len(content) {
		var more int
		if err := again(func() (err error) { more, err = syscall.Read(fd, content[n:]); return err }); err != 0 {
			return false, err
		}
		if more == 0 {
			break
		}
		n += more
	}
	f.Content = content[:n]
	return true, 0
}

// absent reports whether an error says that a name leads nowhere.
func absent(err syscall.Errno) bool {
	switch err {
	case syscall.ENOENT, syscall.ENOTDIR, syscall.ENAMETOOLONG, syscall.ELOOP:
		return true
	}
	return false
}

// again does what a signal interrupted once more.
func again(do func() error) syscall.Errno {
	for {
		err := do()
		if err == nil {
			return 0
		}
		if e := errno(err); e != syscall.EINTR {
			return e
		}
	}
}

// errno returns the system's number of an error; EIO stands for one that has none.
func errno(err error) syscall.Errno {
	for err != nil {
		switch e := err.(type) {
		case syscall.Errno:
			return e
		case interface{ Unwrap() error }:
			err = e.Unwrap()
		default:
			if err == os.ErrExist {
				return syscall.EEXIST
			}
			return syscall.EIO
		}
	}
	return 0
}
