package client

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/serve"
)

const (
	identPort = 113
	maxIdent  = 1000 // bytes of an answer, RFC 1413 4
	maxUser   = 128  // bytes of a user's name that are kept; RFC 1413 6 has 512
)

func dialFrom(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	return d.DialContext(ctx, "tcp", to.String())
}

// ident asks the client's host who made the connection (RFC 1413); "" when it does not tell.
func (k *Checker) ident(ctx context.Context, c *serve.Conn) string {
	user, err := k.askIdent(ctx, c)
	if err != nil {
		return ""
	}
	return user
}

func (k *Checker) askIdent(ctx context.Context, c *serve.Conn) (string, error) {
	if c.Conn == nil || c.Conn.RemoteAddr() == nil || c.Conn.RemoteAddr().String() != c.Client.String() && !sameAddr(c) {
		return "", errProxied
	}
	conn, err := k.d.Dial(ctx, c.Server.Addr().Unmap(), netip.AddrPortFrom(c.Client.Addr().Unmap(), identPort))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := fmt.Fprintf(conn, "%d , %d\r\n", c.Client.Port(), c.Server.Port()); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(io.LimitReader(conn, maxIdent)).ReadString('\n')
	if err != nil {
		return "", err
	}
	return parseIdent(line, c.Client.Port(), c.Server.Port())
}

func sameAddr(c *serve.Conn) bool {
	a, ok := c.Conn.RemoteAddr().(*net.TCPAddr)
	return ok && a.AddrPort().Addr().Unmap() == c.Client.Addr().Unmap()
}

// parseIdent reads "PORT , PORT : USERID : OPSYS : USER". The user comes without what a log or a header
// field could not hold.
func parseIdent(line string, client, server uint16) (string, error) {
	wrong := fmt.Errorf("want PORTS : USERID : OPSYS : USER")
	line = strings.TrimRight(line, "\r\n")
	f := strings.SplitN(line, ":", 4)
	if len(f) != 4 || strings.TrimSpace(f[1]) != "USERID" {
		return "", wrong
	}
	a, b, ok := strings.Cut(f[0], ",")
	x, err1 := strconv.ParseUint(strings.TrimSpace(a), 10, 16)
	y, err2 := strconv.ParseUint(strings.TrimSpace(b), 10, 16)
	if !ok || err1 != nil || err2 != nil || uint16(x) != client || uint16(y) != server {
		return "", wrong
	}
	user := strings.TrimLeft(f[3], " \t")
	user = user[:min(len(user), maxUser)]
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '?'
		}
		return r
	}, user), nil
}
