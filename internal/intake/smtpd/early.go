package smtpd

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// spokeEarly reports whether the client has sent something already. It does not wait: what is on
// its way is not seen. Connections that are no sockets have sent nothing.
func spokeEarly(c net.Conn) bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	early := false
	raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		early = err == nil && n > 0
	})
	return early
}

// errSlow ends a message that takes longer than Options.TotalTimeout.
var errSlow = errors.New("message took too long")
