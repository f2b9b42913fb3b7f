package smtpd

import (
	"errors"
	"net"
	"syscall"
)

// unheard reports whether the other side has not taken in yet all that was sent to it. What it
// sent by then it sent without having heard: its answer would have come with the receipt, since every
// segment of TCP tells how far its sender has received (RFC 9293 3.1, 3.4). False where it cannot be known.
func unheard(c net.Conn) bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	var n int
	raw.Control(func(fd uintptr) { n = unacknowledged(int(fd)) })
	return n > 0
}

// errSlow ends a message that takes longer than Options.TotalTimeout.
var errSlow = errors.New("message took too long")
