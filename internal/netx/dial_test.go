package netx_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postilion/postilion/internal/netx"
)

func TestHappyEyeballs(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused")
	good := netip.MustParseAddrPort("10.0.0.1:25")
	for name, c := range map[string]struct {
		addrs    []string
		delay    map[string]time.Duration // until it answers; absent: refused at once
		want     string
		took     time.Duration
		failures int
	}{
		"the first answers":             {[]string{"[::1]:25", "10.0.0.1:25"}, map[string]time.Duration{"[::1]:25": time.Millisecond}, "[::1]:25", time.Millisecond, 0},
		"the first is refused":          {[]string{"[::1]:25", "10.0.0.1:25"}, map[string]time.Duration{"10.0.0.1:25": 2 * time.Millisecond}, "10.0.0.1:25", 2 * time.Millisecond, 1},
		"the first hangs":               {[]string{"[::1]:25", "10.0.0.1:25"}, map[string]time.Duration{"[::1]:25": time.Hour, "10.0.0.1:25": time.Millisecond}, "10.0.0.1:25", 251 * time.Millisecond, 0},
		"the first is slow but quicker": {[]string{"[::1]:25", "10.0.0.1:25"}, map[string]time.Duration{"[::1]:25": 300 * time.Millisecond, "10.0.0.1:25": time.Hour}, "[::1]:25", 300 * time.Millisecond, 0},
		"none answers":                  {[]string{"[::1]:25", "10.0.0.1:25", "10.0.0.2:25"}, nil, "", 0, 3},
		"there is one only":             {[]string{"10.0.0.1:25"}, nil, "", 0, 1},
		"there is none":                 {nil, nil, "", 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var addrs []netip.AddrPort
				for _, a := range c.addrs {
					addrs = append(addrs, netip.MustParseAddrPort(a))
				}
				begun := time.Now()
				conn, to, failures, err := netx.HappyEyeballs(t.Context(), addrs, func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
					d, ok := c.delay[to.String()]
					if !ok {
						return nil, refused
					}
					select {
					case <-time.After(d):
						client, server := net.Pipe()
						server.Close()
						return client, nil
					case <-ctx.Done():
						return nil, ctx.Err()
					}
				})
				if err != nil || len(failures) != c.failures || (conn != nil) != (c.want != "") || conn != nil && to.String() != c.want {
					t.Errorf("%v to %v, failures %v, %v", conn, to, failures, err)
				}
				if took := time.Since(begun); took != c.took {
					t.Errorf("took %v, want %v", took, c.took)
				}
			})
		})
	}
	t.Run("the caller gives up", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, _, failures, err := netx.HappyEyeballs(ctx, []netip.AddrPort{good, good}, func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
			return nil, ctx.Err()
		})
		if err == nil || len(failures) != 0 {
			t.Errorf("%v, %v", failures, err)
		}
	})
}

func TestDialerBinds(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := netx.Dialer{Bind4: netip.MustParseAddr("127.0.0.9"), Timeout: time.Second}
	c, err := d.Dial(t.Context(), netip.MustParseAddrPort(l.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if from := c.LocalAddr().(*net.TCPAddr).IP.String(); from != "127.0.0.9" {
		t.Errorf("connected from %s", from)
	}
}
