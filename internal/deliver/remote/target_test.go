package remote

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
)

func TestAForeignServerGetsTheSameBytes(t *testing.T) {
	t.Parallel()
	s, addr := startSink(t, func(srv *gosmtp.Server) { srv.EnableSMTPUTF8, srv.EnableDSN = true, true })
	plain, plainAddr := startSink(t, nil)
	for _, c := range []struct {
		name string
		sink *sink
		addr net.Addr
		o    Options
		next route.NextHop
		tls  string
	}{
		{"chunks under TLS", s, addr, Options{}, route.NextHop{}, "TLS1.3 TLS_AES_128_GCM_SHA256 unverified"},
		{"dots under TLS, logged in", plain, plainAddr, Options{NoChunking: true}, route.NextHop{User: "me", Password: "secret"}, "TLS1.3 TLS_AES_128_GCM_SHA256 unverified"},
		{"dots in plain text, one by one", plain, plainAddr, Options{NoChunking: true, NoPipelining: true}, route.NextHop{TLS: route.TLSNone}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.sink.messages = nil
			target := newTarget(t, c.o, Deps{})
			var want []string
			for _, body := range []string{
				"Subject: x\n\nhello\n.\n..\n", "", "no end", strings.Repeat("0123456789abcdef\n", 100_000), // 1.7 MB: many chunks and blocks
			} {
				job := letterTo(c.addr, body, "ann@dest.test", "nobody@dest.test", "bob@dest.test")
				job.Next.TLS, job.Next.User, job.Next.Password = c.next.TLS, c.next.User, c.next.Password
				v := target.Deliver(t.Context(), job)
				if v[0].Err != nil || v[2].Err != nil || v[1].Err == nil || v[1].Err.Enhanced != "5.1.1" {
					t.Fatalf("%+v", v)
				}
				if v[0].TLS != c.tls || v[0].Addr != "127.0.0.1" {
					t.Errorf("TLS %q at %s", v[0].TLS, v[0].Addr)
				}
				if body != "" && !strings.HasSuffix(body, "\n") {
					body += "\n"
				}
				want = append(want, strings.ReplaceAll(body, "\n", "\r\n"))
			}
			for i := range want {
				if i >= len(c.sink.messages) || c.sink.messages[i] != want[i] {
					t.Errorf("message %d differs", i)
				}
			}
		})
	}
	if s.sessions > 2 || plain.sessions > 6 { // go-smtp makes a new one after STARTTLS
		t.Errorf("%d and %d sessions", s.sessions, plain.sessions)
	}
}

func TestAWrongPasswordIsNotForgivenByAnIdleConnection(t *testing.T) {
	t.Parallel()
	_, addr := startSink(t, nil)
	target := newTarget(t, Options{}, Deps{})
	job := letterTo(addr, "x\n", "ann@dest.test")
	job.Next.User, job.Next.Password = "me", "secret"
	if v := target.Deliver(t.Context(), job); v[0].Err != nil {
		t.Fatal(v[0].Err)
	}
	job.Next.Password = "guess"
	if v := target.Deliver(t.Context(), job); v[0].Err == nil || v[0].Err.Reason != reason.RemoteAuth || v[0].Err.Class != reason.Temporary {
		t.Errorf("%+v", v[0])
	}
}

func TestAMessageTakesTwoWrites(t *testing.T) {
	t.Parallel()
	addr := byHand(t, sinkByHand)
	var writes atomic.Int32
	target := newTarget(t, Options{}, counting(&writes))
	job := letterTo(addr, strings.Repeat("0123456789\n", 900), "a@dest.test", "b@dest.test", "c@dest.test")
	for range 10 {
		if v := target.Deliver(t.Context(), job); v[0].Err != nil {
			t.Fatal(v[0].Err)
		}
	}
	if n := writes.Load(); n != 1+10*2 { // EHLO, then envelope and content of each
		t.Errorf("%d writes for 10 messages", n)
	}
}

func TestWrongOptionsAreAllNamed(t *testing.T) {
	t.Parallel()
	_, err := New(Options{Port: 99999, MaxRecipients: -1, DotTimeout: -1}, Deps{})
	for _, want := range []string{"port 99999", "max_recipients -1", "timeout_dot"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
	for _, o := range []Options{{Bind4: "::1"}, {Bind6: "x"}, {CAFile: "/nonexistent"}} {
		if _, err := New(o, Deps{}); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

func TestAddressesThatNoCommandCanCarry(t *testing.T) {
	t.Parallel()
	target := newTarget(t, Options{}, Deps{Dial: func(context.Context, netip.AddrPort) (net.Conn, error) {
		return nil, errors.New("a connection was made")
	}})
	job := letterTo(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25}, "x\n", "a@dest.test")
	job.Recipients[0].Final.Local = "a\r\nDATA\r\n"
	if v := target.Deliver(t.Context(), job); v[0].Err == nil || v[0].Err.Reason != reason.BadAddress.Reason {
		t.Errorf("%+v", v[0])
	}
}

// Whatever a server says, an attempt ends with a verdict for each recipient, and its texts
// have bounds.
func FuzzServer(f *testing.F) {
	f.Add([]byte("220 x\r\n250-x\r\n250 PIPELINING\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n"))
	f.Add([]byte("220 x\n250-x\n250-SIZE 1\n250-CHUNKING\n250 STARTTLS\n220 go\n"))
	f.Add([]byte("220 x\n250-x\n250 AUTH PLAIN LOGIN\n235 ok\n421 bye\n"))
	f.Add([]byte("554-\x00\xff\n554 \n"))
	f.Fuzz(func(t *testing.T, says []byte) {
		target := newTarget(t, Options{Host: "here.test"}, Deps{Dial: func(context.Context, netip.AddrPort) (net.Conn, error) {
			return &deafConn{Reader: bytes.NewReader(says)}, nil
		}})
		job := letterTo(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 25}, "Subject: x\n\nh\xc3\xa9\n", "a@dest.test", "b@dest.test")
		if len(says)%2 == 0 {
			job.Next.User, job.Next.Password = "u", "p"
		}
		for i, v := range target.Deliver(context.Background(), job) {
			if v.Err != nil && (v.Text == "" || v.Err.Code < 400 || v.Err.Code > 599 || len(v.Err.Remote) > maxRemote || len(v.Transcript) > maxRemote) {
				t.Fatalf("recipient %d: %+v", i, v)
			}
		}
	})
}

// deafConn says what it has to say, whatever it is told.
type deafConn struct{ *bytes.Reader }

func (*deafConn) Write(p []byte) (int, error) { return len(p), nil }

func (*deafConn) Close() error { return nil }

func (*deafConn) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (*deafConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (*deafConn) SetDeadline(time.Time) error { return nil }

func (*deafConn) SetReadDeadline(time.Time) error { return nil }

func (*deafConn) SetWriteDeadline(time.Time) error { return nil }

func BenchmarkRelay(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				sinkByHand(0, c, bufio.NewReaderSize(c, 32<<10))
			}()
		}
	}()
	target := newTarget(b, Options{MaxMessages: 1000}, Deps{})
	body := "Subject: x\n\n" + strings.Repeat("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n", 64)
	b.SetParallelism(10)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		job := letterTo(l.Addr(), body, "ann@dest.test")
		for pb.Next() {
			if v := target.Deliver(context.Background(), job); v[0].Err != nil {
				b.Error(v[0].Err)
				return
			}
		}
	})
}
