package serve

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
)

// The PROXY protocol, versions 1 and 2, as HAProxy's proxy-protocol.txt says. The header is
// read without a byte more, since what follows belongs to the protocol or to TLS.

const proxySignature = "\r\n\r\n\x00\r\nQUIT\n"

// maxProxyV2 bounds the addresses and TLVs of a version 2 header.
const maxProxyV2 = 4096

// readProxyHeader takes c.Client and c.Server from the header. LOCAL and UNKNOWN
// leave them: the proxy itself is the client.
func (c *Conn) readProxyHeader() error {
	// Both versions are at least 12 bytes long: version 1's shortest is "PROXY UNKNOWN\r\n".
	var head [107]byte
	if _, err := io.ReadFull(c.Conn, head[:12]); err != nil {
		return err
	}
	if string(head[:12]) == proxySignature {
		return c.readProxyV2()
	}
	if string(head[:6]) != "PROXY " {
		return errors.New("the connection does not begin with a PROXY header")
	}
	n := 12
	for head[n-1] != '\n' {
		if n == len(head) {
			return errors.New("PROXY line longer than 107 bytes")
		}
		if _, err := io.ReadFull(c.Conn, head[n:n+1]); err != nil {
			return err
		}
		n++
	}
	return c.parseProxyV1(string(head[:n]))
}

func (c *Conn) parseProxyV1(line string) error {
	line, ok := strings.CutSuffix(line, "\r\n")
	if !ok {
		return fmt.Errorf("PROXY line %q: want CRLF at its end", line)
	}
	f := strings.Split(line, " ")
	if len(f) >= 2 && f[1] == "UNKNOWN" {
		return nil
	}
	if len(f) != 6 || f[1] != "TCP4" && f[1] != "TCP6" {
		return fmt.Errorf("PROXY line %q: want PROXY TCP4|TCP6 source destination port port", line)
	}
	src, err1 := netip.ParseAddrPort(joinHostPort(f[2], f[4]))
	dst, err2 := netip.ParseAddrPort(joinHostPort(f[3], f[5]))
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("PROXY line %q: %w", line, err)
	}
	if (f[1] == "TCP4") != src.Addr().Is4() || src.Addr().Is4() != dst.Addr().Is4() {
		return fmt.Errorf("PROXY line %q: the addresses are not of family %s", line, f[1])
	}
	c.setProxied(src, dst)
	return nil
}

func joinHostPort(host, port string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]:" + port
	}
	return host + ":" + port
}

func (c *Conn) readProxyV2() error {
	var h [4]byte // version and command, family and protocol, length
	if _, err := io.ReadFull(c.Conn, h[:]); err != nil {
		return err
	}
	n := int(binary.BigEndian.Uint16(h[2:]))
	if h[0]>>4 != 2 || h[0]&15 > 1 || n > maxProxyV2 {
		return fmt.Errorf("PROXY version 2 header: version and command %#02x, %d bytes of addresses", h[0], n)
	}
	rest := make([]byte, n)
	if _, err := io.ReadFull(c.Conn, rest); err != nil {
		return err
	}
	if h[0]&15 == 0 { // LOCAL: the proxy's own connection, such as a health check
		return nil
	}
	size := 0
	switch h[1] {
	case 0x11: // TCP over IPv4
		size = 4
	case 0x21: // TCP over IPv6
		size = 16
	default:
		return nil // UNSPEC and others: the proxy is the client
	}
	if n < 2*size+4 {
		return fmt.Errorf("PROXY version 2 header: %d bytes of addresses for family %#02x", n, h[1])
	}
	src, _ := netip.AddrFromSlice(rest[:size])
	dst, _ := netip.AddrFromSlice(rest[size : 2*size])
	c.setProxied(
		netip.AddrPortFrom(src, binary.BigEndian.Uint16(rest[2*size:])),
		netip.AddrPortFrom(dst, binary.BigEndian.Uint16(rest[2*size+2:])))
	return nil
}

func (c *Conn) setProxied(src, dst netip.AddrPort) {
	c.Client = netip.AddrPortFrom(src.Addr().Unmap(), src.Port())
	c.Server = netip.AddrPortFrom(dst.Addr().Unmap(), dst.Port())
}
