package serve

import (
	"io"
	"net"
	"syscall"
)

// socket is a TCP connection that reads and writes without telling Go's scheduler of the system's calls. They never wait: the socket is
// of the poller's. So they end sooner than the scheduler would have made use of knowing, which for each call wakes its watch where
// the program had been at rest.
type socket struct {
	*net.TCPConn
	raw     syscall.RawConn
	in, out transfer // each used by one goroutine at a time
}

// transfer is the call under way in one direction.
type transfer struct {
	p    []byte
	n    int
	err  error
	call func(fd uintptr) (done bool)
}

// newSocket returns c as a socket where it is one of TCP, else c.
func newSocket(c net.Conn) net.Conn {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return c
	}
	s := &socket{TCPConn: t, raw: raw}
	s.in.call = func(fd uintptr) bool { return s.in.try(readNow, fd) }
	s.out.call = func(fd uintptr) bool { return s.out.try(writeNow, fd) }
	return s
}

// try makes the call. It reports false when the poller is to wait first.
func (t *transfer) try(call func(fd uintptr, p []byte) (int, syscall.Errno), fd uintptr) bool {
	n, errno := call(fd, t.p)
	for errno == syscall.EINTR {
		n, errno = call(fd, t.p)
	}
	switch errno {
	case 0:
		t.n = n
	case syscall.EAGAIN:
		return false
	default:
		t.err = errno
	}
	return true
}

// over runs the call over p, waiting where it must.
func (t *transfer) over(p []byte, wait func(func(fd uintptr) bool) error) (int, error) {
	t.p, t.n, t.err = p, 0, nil
	err := wait(t.call)
	t.p = nil
	if err != nil {
		return 0, err
	}
	return t.n, t.err
}

// Read implements net.Conn.
func (s *socket) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := s.in.over(p, s.raw.Read)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// Write implements net.Conn.
func (s *socket) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var wrote int
		wrote, err = s.out.over(p[n:], s.raw.Write)
		n += wrote
	}
	return n, err
}
