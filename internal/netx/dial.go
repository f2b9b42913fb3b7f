package netx

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// staggerDelay is how long one connection attempt has before the next one starts
// beside it (RFC 8305 5).
const staggerDelay = 250 * time.Millisecond

// Dialer opens TCP connections. The zero value works. It is safe for concurrent use.
type Dialer struct {
	// Bind4 and Bind6 are the local addresses to connect from, by family; invalid ones
	// leave it to the system.
	Bind4, Bind6 netip.Addr
	// Timeout bounds one attempt; 0 leaves it to the context.
	Timeout time.Duration
}

// Dial connects to one address.
func (d *Dialer) Dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	nd := net.Dialer{Timeout: d.Timeout, KeepAlive: -1}
	bind := d.Bind4
	if to.Addr().Is6() && !to.Addr().Is4In6() {
		bind = d.Bind6
	}
	if bind.IsValid() {
		nd.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(bind, 0))
	}
	return nd.DialContext(ctx, "tcp", to.String())
}

// Failure is one attempt of HappyEyeballs that failed by itself.
type Failure struct {
	To  netip.AddrPort
	Err error
}

// HappyEyeballs connects to the first of several addresses of one host that answers
// (RFC 8305): they are tried with the families taking turns, each next one as soon as the one
// before has failed, or 250 ms after it began. Attempts that are overtaken are
// cancelled and count as no failure. With no connection the error is ctx's or nil, and
// failures tells the rest.
func HappyEyeballs(ctx context.Context, addrs []netip.AddrPort,
	dial func(context.Context, netip.AddrPort) (net.Conn, error)) (conn net.Conn, to netip.AddrPort, failures []Failure, err error) {
	addrs = Interleave(addrs)
	if len(addrs) == 1 {
		if conn, err = dial(ctx, addrs[0]); err != nil {
			return nil, to, []Failure{{addrs[0], err}}, ctx.Err()
		}
		return conn, addrs[0], nil, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		conn net.Conn
		to   netip.AddrPort
		err  error
	}
	results := make(chan result)
	running, next := 0, 0
	start := func() {
		to := addrs[next]
		next++
		running++
		go func() {
			c, err := dial(ctx, to)
			results <- result{c, to, err}
		}()
	}
	timer := time.NewTimer(staggerDelay)
	defer timer.Stop()
	if len(addrs) > 0 {
		start()
	}
	for running > 0 {
		select {
		case <-timer.C:
			if conn == nil && next < len(addrs) && ctx.Err() == nil {
				start()
				timer.Reset(staggerDelay)
			}
		case r := <-results:
			running--
			switch {
			case r.err == nil && conn == nil:
				conn, to = r.conn, r.to
				cancel()
			case r.err == nil:
				r.conn.Close()
			case conn == nil && ctx.Err() == nil:
				failures = append(failures, Failure{r.to, r.err})
				if next < len(addrs) {
					start()
					timer.Reset(staggerDelay)
				}
			}
		}
	}
	if conn == nil {
		err = ctx.Err()
	}
	return conn, to, failures, err
}

// Interleave orders addresses so that the families take turns, beginning with the family
// of the first; within a family the order stays.
func Interleave(addrs []netip.AddrPort) []netip.AddrPort {
	if len(addrs) < 2 {
		return addrs
	}
	first := addrs[0].Addr().Is4()
	var lead, other []netip.AddrPort
	for _, a := range addrs {
		if a.Addr().Is4() == first {
			lead = append(lead, a)
		} else {
			other = append(other, a)
		}
	}
	out := make([]netip.AddrPort, 0, len(addrs))
	for i := range max(len(lead), len(other)) {
		if i < len(lead) {
			out = append(out, lead[i])
		}
		if i < len(other) {
			out = append(out, other[i])
		}
	}
	return out
}
