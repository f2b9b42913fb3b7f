package scale

import (
	"crypto/tls"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postilion/postilion/e2e/e2etest"
)

func TestIdleConnectionsAreCheap(t *testing.T) {
	n := full(10_000, 300)
	for _, c := range []struct {
		name     string
		listener string
		most     int64 // bytes for 10,000
		open     func(addr string) (net.Conn, error)
	}{
		{"plain", "smtp", 200 * mib, openPlain},
		{"STARTTLS", "smtp", 450 * mib, openStartTLS},
		{"TLS from the first byte", "submissions", 450 * mib, openTLS},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachLayout(t, func(t *testing.T, single bool) {
				s := newServer(t, single, "smtp.max_per_client=20000", "submissions.max_per_client=20000", c.listener+".max_connections=20000", c.listener+".idle_timeout=30m").start().ready()
				pid := s.pid("smtpd")
				before := memory(pid, "VmRSS")
				list := openMany(t, n, func() (net.Conn, error) { return c.open(s.Addr[c.listener]) })
				after := memory(pid, "VmRSS")
				// The fixed cost of the first connections weighs more in a small run.
				bound(t, "memory of the idle connections", after-before, c.most*int64(n)/10_000+full[int64](0, 16*mib))
				// Others are served as ever.
				began := time.Now()
				sent, slowest := load(t, s.Addr["smtp"], 4, 40, 4096, nil, func(int) string { return s.Account })
				t.Logf("%d connections idle: %d messages taken beside them in %v", n, sent, time.Since(began).Round(time.Millisecond))
				soon(t, "the slowest of them", slowest, time.Second)
				// Each of the idle is still served.
				for _, nc := range []net.Conn{list[0], list[n/2], list[n-1]} {
					nc.SetDeadline(time.Now().Add(patience))
					if _, err := nc.Write([]byte("NOOP\r\n")); err != nil {
						t.Error(err)
					}
					p := make([]byte, 64)
					if n, err := nc.Read(p); err != nil || !strings.HasPrefix(string(p[:n]), "250 ") {
						t.Errorf("an idle connection answers %q, %v", p[:n], err)
					}
				}
			})
		})
	}
}

// openMany opens n connections, some at a time, which end with the test.
func openMany(t testing.TB, n int, open func() (net.Conn, error)) []net.Conn {
	t.Helper()
	list := make([]net.Conn, n)
	var wg sync.WaitGroup
	var failed error
	var mu sync.Mutex
	const atOnce = 16
	for k := range atOnce {
		wg.Go(func() {
			for i := k; i < n; i += atOnce {
				c, err := open()
				mu.Lock()
				list[i] = c
				if err != nil {
					failed = err
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	t.Cleanup(func() {
		for _, c := range list {
			if c != nil {
				c.Close()
			}
		}
	})
	check(t, failed)
	return list
}

func openPlain(addr string) (net.Conn, error) {
	c, err := dialSMTP(addr)
	if err != nil {
		return nil, err
	}
	return c.Conn, nil
}

// The certificate is the server's own: quickstart signed it itself.
var clientTLS = &tls.Config{InsecureSkipVerify: true, ServerName: domain}

func openStartTLS(addr string) (net.Conn, error) {
	c, err := dialSMTP(addr)
	if err != nil {
		return nil, err
	}
	if err := c.Cmd(220, "STARTTLS"); err != nil {
		return nil, err
	}
	nc := tls.Client(c.Conn, clientTLS)
	_, err = nc.Write([]byte("EHLO client.example\r\n"))
	return nc, readReply(nc, err)
}

func openTLS(addr string) (net.Conn, error) {
	nc, err := tls.Dial("tcp", addr, clientTLS)
	if err != nil {
		return nil, err
	}
	c, err := e2etest.NewWire(nc).Hello()
	if err != nil {
		return nil, err
	}
	return c.Conn, nil
}

// readReply reads a reply of several lines, of which the last begins with its code and a space.
func readReply(nc net.Conn, err error) error {
	p, n := make([]byte, 4096), 0
	for err == nil {
		var k int
		k, err = nc.Read(p[n:])
		n += k
		lines := strings.Split(strings.TrimSuffix(string(p[:n]), "\r\n"), "\r\n")
		if last := lines[len(lines)-1]; len(last) > 3 && last[3] == ' ' {
			return nil
		}
	}
	return err
}
