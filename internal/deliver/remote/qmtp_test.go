package remote

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/route"
)

// qmtpSink is a QMTP server that answers by the recipient's local part and keeps what it was sent.
type qmtpSink struct {
	mu       sync.Mutex
	messages []string
	conns    int
}

func (q *qmtpSink) serve(conn net.Conn) {
	defer conn.Close()
	q.mu.Lock()
	q.conns++
	q.mu.Unlock()
	r := bufio.NewReader(conn)
	for n := 0; ; n++ {
		body, err := qmail.ReadNetstring(r, 1<<20)
		if err != nil {
			return
		}
		from, err1 := qmail.ReadNetstring(r, 2000)
		list, err2 := qmail.ReadNetstring(r, 1<<20)
		if err1 != nil || err2 != nil {
			return
		}
		var to []string
		var answers []byte
		for l := bufio.NewReader(strings.NewReader(string(list))); ; {
			p, err := qmail.ReadNetstring(l, 2000)
			if err != nil {
				break
			}
			to = append(to, string(p))
			switch local, _, _ := strings.Cut(string(p), "@"); local {
			case "nobody":
				answers = qmail.AppendNetstring(answers, "Dsorry, no mailbox here by that name (#5.1.1)")
			case "later":
				answers = qmail.AppendNetstring(answers, "Zqq temporary problem (#4.3.0)")
			case "strange":
				answers = append(answers, "hello"...)
			case "hangup":
				return
			default:
				answers = qmail.AppendNetstring(answers, "Kok 1795291386 qp 19814")
			}
		}
		q.mu.Lock()
		q.messages = append(q.messages, string(from)+"|"+strings.Join(to, " ")+"|"+string(body))
		q.mu.Unlock()
		_, _ = conn.Write(answers)
	}
}

func startQMTP(t *testing.T) (*qmtpSink, net.Addr) {
	t.Helper()
	q := new(qmtpSink)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { q.serve(c) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return q, l.Addr()
}

func summary(v []deliver.Verdict) string {
	var list []string
	for _, x := range v {
		if x.Err == nil {
			list = append(list, "ok: "+x.Text)
		} else {
			list = append(list, fmt.Sprintf("%s %s %s", x.Err.Class, x.Err.Enhanced, x.Err.Reason))
		}
	}
	return strings.Join(list, "\n")
}

func TestQMTPSendsAndHearsOfEachRecipient(t *testing.T) {
	t.Parallel()
	q, at := startQMTP(t)
	target := newTarget(t, Options{}, Deps{})
	job := letterTo(at, "Subject: x\n\n.\nhällo\r\n", "ann@dest.test", "nobody@dest.test", "later@dest.test", strings.Repeat("x", 1000)+"@dest.test")
	job.Next.QMTP = true
	want := "ok: 127.0.0.1 accepted message. Remote host said: ok 1795291386 qp 19814\npermanent 5.1.1 qmtp-refused\ntemporary 4.3.0 qmtp-deferred\npermanent 5.1.3 bad-address"
	for range 3 {
		if got := summary(target.Deliver(context.Background(), job)); got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.messages) != 3 || q.conns != 1 || q.messages[0] != "joe@here.test|ann@dest.test nobody@dest.test later@dest.test|\nSubject: x\n\n.\nhällo\r\n" {
		t.Errorf("%d connections, %q", q.conns, q.messages)
	}
}

func TestQMTPTroubleIsNeverASuccess(t *testing.T) {
	t.Parallel()
	_, at := startQMTP(t)
	target := newTarget(t, Options{}, Deps{})
	for to, want := range map[string]string{"strange@d.test": "temporary 4.4.2 connection-lost-possible-duplicate", "hangup@d.test": "temporary 4.4.2 connection-lost-possible-duplicate"} {
		job := letterTo(at, "x\n", "ann@d.test", to)
		job.Next.QMTP = true
		got := summary(target.Deliver(context.Background(), job))
		if !strings.HasSuffix(got, want) {
			t.Errorf("%s: %s", to, got)
		}
	}
	job := letterTo(at, "x\n", "ann@d.test")
	job.Next.QMTP = true
	job.Body = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("")), nil }
	if got := summary(target.Deliver(context.Background(), job)); got != "temporary 4.3.0 local-error" {
		t.Errorf("a message that is cut short: %s", got)
	}
	job = letterTo(at, "x\n", "ann@d.test")
	job.Next.QMTP, job.Envelope.TLSOnly = true, true
	if got := summary(target.Deliver(context.Background(), job)); got != "permanent 5.7.30 requiretls-impossible" {
		t.Errorf("REQUIRETLS: %s", got)
	}
}

// mxpsDNS has one exchanger of a preference.
type mxpsDNS struct {
	unpublished
	pref uint16
}

func (d mxpsDNS) MX(context.Context, string) (r netx.Result[netx.MX], err error) {
	r.Records = []netx.MX{{Pref: d.pref, Host: "mx.dest.test"}}
	return r, nil
}
func (mxpsDNS) Addrs(context.Context, string) (r netx.Result[netip.Addr], err error) {
	r.Records = []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	return r, nil
}

func (d mxpsDNS) DialAddrs(ctx context.Context, name string) (netx.Result[netip.Addr], error) {
	return d.Addrs(ctx, name)
}

func TestMXPSTriesQMTPFirstAndSMTPWhereItCannotConnect(t *testing.T) {
	t.Parallel()
	_, at := startQMTP(t)
	for _, c := range []struct {
		pref  uint16
		tls   route.TLSPolicy
		off   bool
		down  bool
		ports string
	}{
		{pref: 12801, ports: "209"}, {pref: 13041, ports: "209"}, {pref: 12800, ports: "25"}, {pref: 10, ports: "25"}, {pref: 12802, ports: "25"},
		{pref: 13057, ports: "25"}, {pref: 12801, down: true, ports: "209 25"}, {pref: 12801, tls: route.TLSVerify, ports: "25"}, {pref: 12801, off: true, ports: "25"},
	} {
		var mu sync.Mutex
		var ports []string
		dial := func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			mu.Lock()
			ports = append(ports, fmt.Sprint(to.Port()))
			mu.Unlock()
			if to.Port() != 209 || c.down {
				return nil, errors.New("connection refused")
			}
			return new(net.Dialer).DialContext(ctx, "tcp", at.String())
		}
		target := newTarget(t, Options{MXPS: !c.off}, Deps{Resolver: mxpsDNS{pref: c.pref}, Dial: dial})
		job := letterTo(at, "x\n", "ann@dest.test")
		job.Next = &route.NextHop{Domain: "dest.test", TLS: c.tls}
		v := target.Deliver(context.Background(), job)
		if got := strings.Join(ports, " "); got != c.ports {
			t.Errorf("preference %d: ports %s, want %s", c.pref, got, c.ports)
		}
		if (v[0].Err == nil) != (c.ports == "209") {
			t.Errorf("preference %d: %s", c.pref, summary(v))
		}
	}
}

func TestAnIdleQMTPConnectionThatDiedCostsNoMessage(t *testing.T) {
	t.Parallel()
	q, at := startQMTP(t)
	var last net.Conn
	target := newTarget(t, Options{}, Deps{Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", at.String())
		last = c
		return c, err
	}})
	for range 2 {
		job := letterTo(at, "x\n", "ann@d.test")
		job.Next.QMTP = true
		if v := target.Deliver(context.Background(), job); v[0].Err != nil {
			t.Error(summary(v))
		}
		last.(*net.TCPConn).CloseWrite() // the server sees the end and closes
		_, _ = io.Copy(io.Discard, last)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.messages) != 2 || q.conns != 2 {
		t.Errorf("%d connections, %q", q.conns, q.messages)
	}
}

func FuzzQMTPAnswer(f *testing.F) {
	f.Add([]byte("23:Kok 1795291386 qp 19814,66:Dsorry, that domain isn't in my list of allowed rcpthosts (#5.7.1),"))
	f.Add([]byte("5:Zx\n\x00y,"))
	f.Fuzz(func(t *testing.T, p []byte) {
		client, server := net.Pipe()
		defer client.Close()
		go func() { defer server.Close(); _, _ = server.Write(p) }()
		target := &Target{}
		_ = target.o.settle()
		s := target.newSession(poolKey{}, client, &host{name: "h"}, netip.MustParseAddrPort("192.0.2.1:209"))
		v, err := s.answerQMTP()
		if err == nil && v.Err == nil && !strings.Contains(string(p), ":K") {
			t.Errorf("%q: success", p)
		}
	})
}

func TestANullClientHandsEverythingToTheFirstQMQPServerThatListens(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]string{
		"Kok 1 qp 2": "ok: 192.0.2.2 accepted message. Remote host said: ok 1 qp 2", "Dno (#5.7.1)": "permanent 5.7.1 qmtp-refused",
		"Zlater": "temporary 4.0.0 qmtp-deferred", "": "temporary 4.4.2 connection-lost-possible-duplicate",
	} {
		got := make(chan string, 2)
		var dialled []string
		dial := func(_ context.Context, to netip.AddrPort) (net.Conn, error) {
			dialled = append(dialled, to.String())
			if to.Addr().String() == "192.0.2.1" {
				return nil, errors.New("connection refused")
			}
			client, server := net.Pipe()
			go func() {
				defer server.Close()
				p, _ := qmail.ReadNetstring(bufio.NewReader(server), 1<<20)
				got <- string(p)
				if answer != "" {
					_, _ = server.Write(qmail.AppendNetstring(nil, answer))
				}
			}()
			return client, nil
		}
		target := newTarget(t, Options{QMQPServers: []string{"192.0.2.1", "192.0.2.2:2628", "192.0.2.3"}}, Deps{Dial: dial})
		job := letterTo(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 25}, "x\n", "ann@d.test", "bob@e.test")
		if v := summary(target.Deliver(context.Background(), job)); v != want+"\n"+want {
			t.Errorf("%s: %s", answer, v)
		}
		if p := <-got; p != "2:x\n,13:joe@here.test,10:ann@d.test,10:bob@e.test," {
			t.Errorf("sent %q", p)
		}
		if fmt.Sprint(dialled) != "[192.0.2.1:628 192.0.2.2:2628]" {
			t.Errorf("dialled %v", dialled)
		}
	}
	if _, err := New(Options{QMQPServers: []string{"hub.example"}}, Deps{}); err == nil || !strings.Contains(err.Error(), `qmqp_servers: "hub.example": want an IP address`) {
		t.Error(err)
	}
}
