package rpc

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// look returns when something has come on c or goOn says no. Other processes get the processor before it.
func look(c net.Conn, goOn func() bool) {
	conn, ok := c.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { // a closed connection: the read will tell
		for goOn() {
			come := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			if n, err := unix.Poll(come, 0); n != 0 || err != nil && err != unix.EINTR {
				return
			}
			_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
		}
	})
}
