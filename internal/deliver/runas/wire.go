package runas

// How operations travel over the Unix socket of the process that has root: a frame each way for some of one
// user, the length first, with the open files' descriptors beside it (SCM_RIGHTS, unix(7)), so that no
// byte of a file is copied. Both ends are of one program version.

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/postilion/postilion/internal/fs"
)

// The first byte on a connection says what it is for.
const (
	forFiles     = 'f'
	forPrograms  = 'p'
	forPasswords = 'a'
)

// maxFrame bounds a frame in bytes: a program's arguments and environment (ARG_MAX is 2 MiB), or
// a file of instructions.
const maxFrame = maxInstructions + 1<<20

var errFrame = errors.New("a frame that is none")

// writer builds a frame.
type writer struct{ b []byte }

func (w *writer) num(v int64) { w.b = binary.AppendVarint(w.b, v) }
func (w *writer) bytes(p []byte) {
	w.num(int64(len(p)))
	w.b = append(w.b, p...)
}

func (w *writer) text(s string) {
	w.num(int64(len(s)))
	w.b = append(w.b, s...)
}

func (w *writer) texts(list []string) {
	w.num(int64(len(list)))
	for _, s := range list {
		w.text(s)
	}
}

// reader takes a frame apart. After bad is set everything is zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) num() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes() []byte {
	n := r.num()
	if n < 0 || n > int64(len(r.b)) {
		r.b, r.bad = nil, true
		return nil
	}
	p := r.b[:n:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) text() string { return string(r.bytes()) }

func (r *reader) texts() []string {
	n := r.num()
	if n < 0 || n > int64(len(r.b)) { // each has a length at least
		r.b, r.bad = nil, true
		return nil
	}
	list := make([]string, n)
	for i := range list {
		list[i] = r.text()
	}
	return list
}

func (w *writer) user(u User) {
	w.text(u.Name)
	w.num(int64(u.UID))
	w.num(int64(u.GID))
	w.text(u.Home)
}

func (r *reader) user() User {
	return User{Name: r.text(), UID: uint32(r.num()), GID: uint32(r.num()), Home: r.text()}
}

func (w *writer) request(r *request) {
	w.b = append(w.b, byte(r.op))
	w.user(r.user)
	w.text(r.path)
	switch r.op {
	case opOpen, opMkdir, opMkdirAll:
		w.num(int64(r.flag))
		w.num(int64(r.perm))
	case opRename, opLink:
		w.text(r.path2)
	case opChtimes:
		w.num(r.atime.UnixNano())
		w.num(r.mtime.UnixNano())
	case opHold:
		w.texts(r.search.Names)
		w.texts(r.search.Exist)
	case opSearch:
		w.texts(r.search.Names)
		w.texts(r.search.Exist)
		w.num(r.search.Limit)
		w.num(int64(r.search.Settle))
		w.flag(r.search.Known != nil)
		if r.search.Known != nil {
			w.found(r.search.Known)
			w.text(r.search.Make)
		}
	}
}

func (w *writer) flag(set bool) {
	v := int64(0)
	if set {
		v = 1
	}
	w.num(v)
}

func (w *writer) found(f *Found) {
	w.num(int64(f.Home))
	w.text(f.Name)
	w.num(int64(f.Mode))
	w.num(f.Size)
	w.bytes(f.Content)
	w.num(int64(len(f.Exist)))
	for _, e := range f.Exist {
		w.flag(e)
	}
	w.text(f.Witness)
}

func (r *reader) found() (f Found) {
	f.Home, f.Name, f.Mode, f.Size = fs.FileMode(r.num()), r.text(), fs.FileMode(r.num()), r.num()
	f.Content = append([]byte(nil), r.bytes()...)
	if n := r.num(); n > 0 && n <= int64(len(r.b)) {
		f.Exist = make([]bool, n)
		for i := range f.Exist {
			f.Exist[i] = r.num() != 0
		}
	}
	f.Witness = r.text()
	return f
}

// requests reads those of one user, as many as a frame may hold.
func (r *reader) requests(list []request) ([]request, error) {
	n := r.num()
	if n < 1 || n > maxTogether {
		return nil, errFrame
	}
	for range n {
		q, err := r.request()
		if err != nil || len(list) > 0 && (q.user.UID != list[0].user.UID || q.user.GID != list[0].user.GID) {
			return nil, errFrame
		}
		list = append(list, q)
	}
	return list, nil
}

func (r *reader) request() (q request, err error) {
	if len(r.b) == 0 {
		return q, errFrame
	}
	q.op = opcode(r.b[0])
	r.b = r.b[1:]
	q.user, q.path = r.user(), r.text()
	switch q.op {
	case opOpen, opMkdir, opMkdirAll:
		q.flag, q.perm = int(r.num()), uint32(r.num())
	case opRename, opLink:
		q.path2 = r.text()
	case opChtimes:
		q.atime, q.mtime = time.Unix(0, r.num()), time.Unix(0, r.num())
	case opHold:
		q.search.Names, q.search.Exist = r.texts(), r.texts()
	case opSearch:
		q.search.Names, q.search.Exist, q.search.Limit, q.search.Settle = r.texts(), r.texts(), r.num(), time.Duration(r.num())
		if r.num() != 0 {
			known := r.found()
			q.search.Known, q.search.Make = &known, r.text()
		}
	}
	if r.bad {
		err = errFrame
	}
	return q, err
}

func (w *writer) reply(op opcode, p *reply) {
	w.num(int64(p.err))
	w.flag(p.busy)
	w.flag(p.file >= 0)
	w.num(int64(p.dev))
	w.num(int64(p.ino))
	switch op {
	case opStat, opLstat:
		w.bytes(unsafe.Slice((*byte)(unsafe.Pointer(&p.stat)), unsafe.Sizeof(p.stat)))
	case opSpace:
		for _, v := range []uint64{p.space.TotalBytes, p.space.FreeBytes, p.space.TotalInodes, p.space.FreeInodes} {
			w.num(int64(v))
		}
	case opHold:
		w.text(p.found.Witness)
	case opSearch:
		w.text(p.where)
		w.flag(p.same)
		if !p.same {
			w.found(&p.found)
		}
	}
}

func (r *reader) reply(op opcode) (p reply, err error) {
	p.file = -1
	p.err, p.busy, p.sent, p.dev, p.ino = syscall.Errno(r.num()), r.num() != 0, r.num() != 0, uint64(r.num()), uint64(r.num())
	switch op {
	case opStat, opLstat:
		if b := r.bytes(); len(b) == int(unsafe.Sizeof(p.stat)) {
			copy(unsafe.Slice((*byte)(unsafe.Pointer(&p.stat)), unsafe.Sizeof(p.stat)), b)
		} else {
			r.bad = true
		}
	case opSpace:
		p.space.TotalBytes, p.space.FreeBytes = uint64(r.num()), uint64(r.num())
		p.space.TotalInodes, p.space.FreeInodes = uint64(r.num()), uint64(r.num())
	case opHold:
		p.found.Witness = r.text()
	case opSearch:
		p.where = r.text()
		if p.same = r.num() != 0; !p.same {
			p.found = r.found()
		}
	}
	if r.bad {
		err = errFrame
	}
	return p, err
}

// raw is a connection for frames with descriptors.
type raw struct {
	conn *net.UnixConn
	sys  syscall.RawConn
	in   []byte
	oob  []byte
	out  writer
}

func newRaw(u *net.UnixConn) (*raw, error) {
	sys, err := u.SyscallConn()
	return &raw{conn: u, sys: sys}, err
}

// send sends the frame that out holds behind its first four bytes, with descriptors.
func (c *raw) send(files []int) error {
	size := len(c.out.b) - 4
	if size > maxFrame-4 {
		return fmt.Errorf("%w: %d bytes", errFrame, size)
	}
	binary.BigEndian.PutUint32(c.out.b, uint32(size))
	var oob []byte
	if len(files) > 0 {
		oob = unix.UnixRights(files...)
	}
	rest := c.out.b
	var failed error
	err := c.sys.Write(func(fd uintptr) bool {
		for len(rest) > 0 {
			n, err := unix.SendmsgN(int(fd), rest, oob, nil, unix.MSG_NOSIGNAL)
			switch err {
			case nil:
				rest, oob = rest[n:], nil
			case unix.EINTR:
			case unix.EAGAIN:
				return false
			default:
				failed = err
				return true
			}
		}
		return true
	})
	return errors.Join(failed, err)
}

// recvmsg is recvmsg(2), which waits.
func (c *raw) recvmsg(p []byte) (n, oobn int, err error) {
	waited := c.sys.Read(func(fd uintptr) bool {
		for {
			n, oobn, _, _, err = unix.Recvmsg(int(fd), p, c.oob, unix.MSG_CMSG_CLOEXEC)
			if err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
	if waited != nil { // it was closed, or the time is up
		return 0, 0, waited
	}
	return n, oobn, err
}

// begin empties out but for the room of the length.
func (c *raw) begin() *writer {
	c.out.b = append(c.out.b[:0], 0, 0, 0, 0)
	return &c.out
}

// receive returns the next frame, valid until the next call, and its descriptors.
func (c *raw) receive() (frame []byte, files []int, err error) {
	have, want := 0, 4
	if len(c.in) < 4096 {
		c.in = make([]byte, 4096)
	}
	if c.oob == nil {
		c.oob = make([]byte, unix.CmsgSpace(4*maxTogether))
	}
	for have < want {
		n, oobn, err := c.recvmsg(c.in[have:])
		if err == nil && n == 0 {
			err = io.EOF
		}
		if oobn > 0 {
			files = descriptors(files, c.oob[:oobn])
		}
		if err != nil {
			closeFiles(files)
			return nil, nil, err
		}
		have += n
		if have >= 4 && want == 4 {
			want = 4 + int(binary.BigEndian.Uint32(c.in))
			if want > maxFrame {
				closeFiles(files)
				return nil, nil, fmt.Errorf("%w: %d bytes", errFrame, want)
			}
			if want > len(c.in) {
				c.in = append(make([]byte, 0, want), c.in[:have]...)[:want]
			}
		}
	}
	if have > want || len(files) > maxTogether {
		closeFiles(files)
		return nil, nil, errFrame // one frame at a time
	}
	return c.in[4:want], files, nil
}

// descriptors adds those of a control message.
func descriptors(files []int, oob []byte) []int {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return files
	}
	for i := range messages {
		if list, err := unix.ParseUnixRights(&messages[i]); err == nil {
			files = append(files, list...)
		}
	}
	return files
}

// descriptor takes the one descriptor out of a control message. What is more is closed.
func descriptor(oob []byte) int {
	files := descriptors(nil, oob)
	if len(files) == 0 {
		return -1
	}
	closeFiles(files[1:])
	return files[0]
}

func closeFile(fd int) {
	if fd >= 0 {
		syscall.Close(fd)
	}
}

func closeFiles(files []int) {
	for _, fd := range files {
		closeFile(fd)
	}
}
