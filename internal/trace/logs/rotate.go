package logs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// rotating is a log file that is renamed to file.1, file.2, … when it is full; the
// highest number is the oldest. One that others remove or rename is begun anew. A rotation that fails leaves the file growing: lines
// are worth more than the limit.
type rotating struct {
	name string
	most int64 // bytes
	keep int   // files besides the current one

	mu   sync.Mutex
	f    *os.File
	size int64
}

// openRotating opens a file that is set aside when it holds most bytes; keep such files are kept.
func openRotating(name string, most int64, keep int) (*rotating, error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		return nil, err
	}
	r := &rotating{name: name, most: most, keep: keep}
	return r, r.open()
}

// open opens the file, or makes it. Other roles write their logs into the same folder: what one of them has put in this one's place is
// not written to, a link least of all, which could lead to any file of this role.
func (r *rotating) open() error {
	const flag = os.O_WRONLY | os.O_APPEND | os.O_CREATE | syscall.O_NONBLOCK
	f, err := os.OpenFile(r.name, flag|syscall.O_NOFOLLOW, 0o640)
	if errors.Is(err, syscall.ELOOP) {
		info, lerr := os.Lstat(r.name)
		switch {
		case lerr != nil:
			return lerr
		case !trusted(info):
			return &fs.PathError{Op: "open", Path: r.name, Err: errors.New("it is a link that another user has made")}
		}
		f, err = os.OpenFile(r.name, flag, 0o640) // in a sticky folder nobody else can replace it
	}
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() && !trusted(info) {
		err = &fs.PathError{Op: "open", Path: r.name, Err: errors.New("another user has put something there that is no file")}
	}
	if err != nil {
		f.Close()
		return err
	}
	r.f, r.size = f, info.Size()
	return nil
}

// trusted reports whether something is root's, or this process's user's.
func trusted(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && (st.Uid == 0 || int(st.Uid) == os.Geteuid())
}

// Write appends one line.
func (r *rotating) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.f == nil {
		return 0, fs.ErrClosed
	}
	r.follow()
	if r.size > 0 && r.size+int64(len(p)) > r.most {
		if err := r.rotate(); err != nil {
			r.size = 0 // try again after as many bytes
			fmt.Fprintf(r.f, "log rotation failed: %q\n", err)
		}
	}
	n, err := r.f.Write(p)
	r.size += int64(n)
	return n, err
}

// follow goes on in a new file when somebody else has removed or renamed this one, as logrotate does: nobody would find the
// lines, and the disk would not get its room back. It costs a stat(2) a batch of lines.
func (r *rotating) follow() {
	mine, err := r.f.Stat()
	if err != nil {
		return
	}
	there, err := os.Stat(r.name)
	if err == nil && os.SameFile(mine, there) || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return
	}
	old := r.f
	if r.open() == nil { // else the lines go on where they went
		old.Close()
	}
}

func (r *rotating) rotate() error {
	for i := r.keep - 1; i >= 1; i-- {
		if err := os.Rename(r.numbered(i), r.numbered(i+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Rename(r.name, r.numbered(1)); err != nil {
		return err
	}
	old := r.f
	if err := r.open(); err != nil {
		return err // the renamed file is still open: lines go on there
	}
	return old.Close()
}

func (r *rotating) numbered(i int) string { return r.name + "." + strconv.Itoa(i) }

// Close closes the file.
func (r *rotating) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.f
	r.f = nil
	if f == nil {
		return nil
	}
	return f.Close()
}
