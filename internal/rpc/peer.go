package rpc

import (
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// PeerUID returns the uid of the process at the other end of a Unix socket
// (SO_PEERCRED, unix(7)). The error is of a connection that is no Unix socket, or of the system.
func PeerUID(c net.Conn) (uint32, error) {
	cred, err := peerCred(c)
	if err != nil {
		return 0, err
	}
	return cred.Uid, nil
}

// Peer returns the uid and the process of the other end of a Unix socket. Errors are those of PeerUID.
func Peer(c net.Conn) (uid uint32, pid int, err error) {
	cred, err := peerCred(c)
	if err != nil {
		return 0, 0, err
	}
	return cred.Uid, int(cred.Pid), nil
}

func peerCred(c net.Conn) (*unix.Ucred, error) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("rpc: %T is not a Unix socket", c)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var cerr error
	if err := raw.Control(func(fd uintptr) {
		cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return nil, err
	}
	return cred, cerr
}

// Gone reports whether who made the call that is being served has closed the connection: what asked gave up waiting, such as
// for a role that was stopped with the call in its socket, and has told so.
func (c *Conn) Gone() bool {
	state, ok := look(c.c)
	return ok && c.r.Buffered() == 0 && state == ended
}

// stale reports whether the other side has closed an idle connection. There is nothing to read on such a one: end of file and data
// are both wrong.
func stale(c net.Conn) bool {
	state, ok := look(c)
	return ok && state != quiet
}

// arrival is what waits to be read on a socket.
type arrival int

const (
	quiet arrival = iota // nothing
	data
	ended // the end, or the connection is broken
)

// look tells what waits on c, without reading it. ok is false where c is no socket.
func look(c net.Conn) (state arrival, ok bool) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return quiet, false
	}
	raw, err := sc.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			var b [1]byte
			n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
			switch {
			case err == unix.EAGAIN:
				state = quiet
			case err == nil && n > 0:
				state = data
			default:
				state = ended
			}
		})
	}
	if err != nil {
		return ended, true
	}
	return state, true
}
