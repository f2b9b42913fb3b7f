package remote

// What the tests of this package share: a DNS that answers nothing, foreign servers, and servers written by hand.

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"
	"go.uber.org/goleak"

	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/netx/names"
	"github.com/postilion/postilion/internal/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noDNS answers nothing; its users give fixed next hops.
type noDNS struct{ unpublished }

// unpublished is the DNS of domains that publish nothing of their TLS.
type unpublished struct{}

func (unpublished) TXT(context.Context, string) (r netx.Result[string], err error) {
	return r, netx.ErrNoData
}

func (unpublished) TLSA(context.Context, string, uint16) (r netx.Result[netx.TLSA], err error) {
	return r, netx.ErrNoData
}

func (noDNS) MX(context.Context, string) (r netx.Result[netx.MX], err error) {
	return r, netx.ErrNoName
}

func (noDNS) Addrs(context.Context, string) (r netx.Result[netip.Addr], err error) {
	return r, netx.ErrNoName
}

func (d noDNS) DialAddrs(ctx context.Context, name string) (netx.Result[netip.Addr], error) {
	return d.Addrs(ctx, name)
}

// letterTo makes a job for a relay on this machine.
func letterTo(l net.Addr, body string, to ...string) *deliver.Job {
	at := netip.MustParseAddrPort(l.String())
	env := &mail.Envelope{From: mail.ParseAddress("joe@here.test"), CRLFSize: int64(len(body) + strings.Count(body, "\n")), Size: int64(len(body))}
	job := &deliver.Job{Envelope: env, Next: &route.NextHop{Domain: "dest.test", Host: names.FormatLiteral(at.Addr()), Port: int(at.Port())}}
	for i, a := range to {
		r := mail.ParseAddress(a)
		env.Recipients = append(env.Recipients, mail.Recipient{To: r})
		job.Recipients = append(job.Recipients, deliver.Recipient{N: i, To: r, Final: r, From: env.From})
	}
	env.Eight = strings.ContainsFunc(body, func(r rune) bool { return r > 127 })
	job.Body = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(body)), nil }
	return job
}

func newTarget(t testing.TB, o Options, deps Deps) *Target {
	t.Helper()
	if o.Host == "" {
		o.Host = "here.test"
	}
	if deps.Resolver == nil {
		deps.Resolver = noDNS{}
	}
	target, err := New(o, deps)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { target.Close() })
	return target
}

// sink is a server of another make.
type sink struct {
	mu       sync.Mutex
	messages []string
	sessions int
}

type sinkSession struct {
	s    *sink
	auth bool
}

func (s *sink) NewSession(*gosmtp.Conn) (gosmtp.Session, error) {
	s.mu.Lock()
	s.sessions++
	s.mu.Unlock()
	return &sinkSession{s: s}, nil
}

func (v *sinkSession) Reset() {}

func (v *sinkSession) Logout() error { return nil }

func (v *sinkSession) Mail(string, *gosmtp.MailOptions) error { return nil }

func (v *sinkSession) AuthMechanisms() []string { return []string{sasl.Plain} }

func (v *sinkSession) Auth(mechanism string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "me" || password != "secret" {
			return gosmtp.ErrAuthFailed
		}
		v.auth = true
		return nil
	}), nil
}

func (v *sinkSession) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	if strings.HasPrefix(to, "nobody@") {
		return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "nobody there"}
	}
	return nil
}

func (v *sinkSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err // the client left before the end: that is no message
	}
	v.s.mu.Lock()
	v.s.messages = append(v.s.messages, string(b))
	v.s.mu.Unlock()
	return nil
}

func startSink(t *testing.T, change func(*gosmtp.Server)) (*sink, net.Addr) {
	t.Helper()
	s := new(sink)
	srv := gosmtp.NewServer(s)
	srv.Domain = "sink.test"
	srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate()}}
	if change != nil {
		change(srv)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l)
	}()
	t.Cleanup(func() {
		srv.Close()
		<-done
	})
	return s, l.Addr()
}

// byHand is a server that a test plays itself.
func byHand(t *testing.T, play func(n int, c net.Conn, in *bufio.Reader)) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(time.Minute))
			wg.Go(func() {
				defer c.Close()
				play(n, c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr()
}

// countedConn counts writes.
type countedConn struct {
	net.Conn
	writes *atomic.Int32
}

func (c countedConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

func counting(writes *atomic.Int32) Deps {
	return Deps{Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		c, err := new(netx.Dialer).Dial(ctx, to)
		return countedConn{c, writes}, err
	}}
}

// sinkByHand takes everything, as fast as it comes.
func sinkByHand(_ int, c net.Conn, in *bufio.Reader) {
	out := bufio.NewWriter(c)
	say := func(s string) { out.WriteString(s + "\r\n") }
	say("220 sink")
	data := false
	for {
		if in.Buffered() == 0 {
			out.Flush()
		}
		line, err := in.ReadSlice('\n')
		switch {
		case err != nil:
			return
		case data:
			if string(line) == ".\r\n" {
				data = false
				say("250 2.0.0 queued")
			}
		case bytes.HasPrefix(line, []byte("EHLO")):
			say("250-sink\r\n250-8BITMIME\r\n250 PIPELINING")
		case bytes.HasPrefix(line, []byte("DATA")):
			data = true
			say("354 go")
		case bytes.HasPrefix(line, []byte("QUIT")):
			return
		default:
			say("250 ok")
		}
	}
}
