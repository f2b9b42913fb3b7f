package auth

import (
	"encoding/binary"
	"net/netip"
)

// Administration is the protocol of logins that manage accounts. An app password is for it only where it
// names it: a password for all protocols is one for reading and sending.
const Administration = "admin"

// localUsers begins the addresses of users of this host, 100:UID::1. They are within 0100::/8, which is
// reserved (RFC 4291 2.4, RFC 6666): no client has one.
const localUsers = 0x0100

// LocalClient returns the address that failed logins of a user of this host are counted by, who comes over a
// Unix socket. Each user is a network of its own, as far as any client's address and network are looked at.
func LocalClient(uid uint32) netip.Addr {
	var a [16]byte
	binary.BigEndian.PutUint16(a[:], localUsers)
	binary.BigEndian.PutUint32(a[2:], uid)
	a[15] = 1
	return netip.AddrFrom16(a)
}

// LocalUser returns whose network a prefix is, where it is LocalClient's, written as counts and blocks write it.
func LocalUser(network string) (uid uint32, ok bool) {
	p, err := netip.ParsePrefix(network)
	if err != nil || p.Bits() < 48 || !p.Addr().Is6() {
		return 0, false
	}
	a := p.Addr().As16()
	return binary.BigEndian.Uint32(a[2:]), binary.BigEndian.Uint16(a[:]) == localUsers
}
