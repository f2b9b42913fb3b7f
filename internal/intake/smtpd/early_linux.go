package smtpd

import "golang.org/x/sys/unix"

// unacknowledged is how many bytes that were written to a socket the other side has not received; 0
// for what is none of TCP.
func unacknowledged(fd int) int {
	if protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil || protocol != unix.IPPROTO_TCP {
		return 0
	}
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil {
		return 0
	}
	return n
}
