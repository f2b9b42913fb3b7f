package serve

import (
	"context"
	"io"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// How long a client that still sends is listened to after the last word, and how much of it is
// thrown away.
const (
	lingerTime  = time.Second
	lingerBytes = 8 << 20
)

// Unread reports whether something came that nobody has read. It does not wait: what is on its way
// is not seen. Connections that are no sockets have nothing.
func Unread(c net.Conn) bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	unread := false
	raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		unread = err == nil && n > 0
	})
	return unread
}

// linger lets the last answer arrive. A socket that is closed over unread bytes sends a reset,
// on which clients forget what they have not read yet: so a client that was still sending is told the
// end first, and then read for a moment.
func linger(ctx context.Context, c net.Conn) {
	t, ok := c.(*net.TCPConn)
	if !ok || !Unread(t) || t.CloseWrite() != nil {
		return
	}
	t.SetReadDeadline(time.Now().Add(lingerTime))
	defer context.AfterFunc(ctx, func() { t.SetReadDeadline(time.Unix(1, 0)) })()
	io.CopyN(io.Discard, onlyReader{t}, lingerBytes)
}

// onlyReader hides that a TCPConn could splice.
type onlyReader struct{ io.Reader }
