package remote

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/netx/names"
	"github.com/postilion/postilion/internal/reason"
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
func (v *sinkSession) Reset()                                 {}
func (v *sinkSession) Logout() error                          { return nil }
func (v *sinkSession) Mail(string, *gosmtp.MailOptions) error { return nil }
func (v *sinkSession) AuthMechanisms() []string               { return []string{sasl.Plain} }
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

func TestAServerThatNeverAnswersHoldsNothingElse(t *testing.T) {
	t.Parallel()
	others := make(chan struct{})
	silent := byHand(t, func(int, net.Conn, *bufio.Reader) { <-others })
	good := byHand(t, sinkByHand)
	target := newTarget(t, Options{}, Deps{})
	done := make(chan []deliver.Verdict)
	go func() { done <- target.Deliver(context.Background(), letterTo(silent, "x\n", "a@dest.test")) }()
	for range 20 {
		if v := target.Deliver(t.Context(), letterTo(good, "x\n", "a@dest.test")); v[0].Err != nil {
			t.Error(v[0].Err)
		}
	}
	close(others)
	if v := <-done; v[0].Err == nil || v[0].Err.Reason != reason.ConnectionLost.Reason || v[0].Err.Class != reason.Temporary {
		t.Errorf("%+v", v[0])
	}
}

func TestEveryStepHasATimeOut(t *testing.T) {
	t.Parallel()
	const short = 50 * time.Millisecond
	steps := []Options{{GreetingTimeout: short}, {EhloTimeout: short}, {MailTimeout: short}, {RcptTimeout: short}, {DataTimeout: short}, {DotTimeout: short}}
	replies := []string{"220 x\r\n", "250-x\r\n250 SIZE\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"}
	for n, o := range steps {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			addr := byHand(t, func(_ int, c net.Conn, in *bufio.Reader) {
				for i, r := range replies[:n] {
					if i > 0 {
						if _, err := in.ReadSlice('\n'); err != nil {
							return
						}
					}
					fmt.Fprint(c, r)
				}
				_, _ = io.Copy(io.Discard, in)
			})
			want := reason.ConnectionLost.Reason
			if n == len(replies) {
				want = reason.PossibleDuplicate.Reason
			}
			v := newTarget(t, o, Deps{}).Deliver(t.Context(), letterTo(addr, "x\n", "a@dest.test"))
			if v[0].Err == nil || v[0].Err.Reason != want || v[0].Err.Class != reason.Temporary {
				t.Errorf("%+v", v[0])
			}
		})
	}
	t.Run("content", func(t *testing.T) {
		t.Parallel()
		addr := byHand(t, func(_ int, c net.Conn, in *bufio.Reader) {
			for _, r := range replies {
				fmt.Fprint(c, r)
			}
			<-t.Context().Done() // reads nothing more
		})
		v := newTarget(t, Options{BlockTimeout: short}, Deps{}).Deliver(t.Context(), letterTo(addr, strings.Repeat("0123456789\n", 4_000_000), "a@dest.test"))
		if v[0].Err == nil || v[0].Err.Reason != reason.ConnectionLost.Reason {
			t.Errorf("%+v", v[0])
		}
	})
}

func TestAnInterruptedAttemptEndsSoon(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		replies []string
		want    reason.ID
		ok      bool
	}{
		"before the greeting":             {nil, reason.AttemptInterrupted.Reason, false},
		"after MAIL":                      {[]string{"220 x\r\n", "250-x\r\n250 PIPELINING\r\n", "250 ok\r\n"}, reason.AttemptInterrupted.Reason, false},
		"after the dot, answered in time": {[]string{"220 x\r\n", "250-x\r\n250 PIPELINING\r\n", "250 ok\r\n250 ok\r\n354 go\r\n"}, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			addr := byHand(t, func(_ int, conn net.Conn, in *bufio.Reader) {
				for i, r := range c.replies {
					if i > 0 {
						_, _ = in.ReadSlice('\n')
					}
					fmt.Fprint(conn, r)
				}
				if c.ok {
					for {
						if line, err := in.ReadString('\n'); err != nil || line == ".\r\n" {
							break
						}
					}
				}
				cancel()
				if c.ok {
					fmt.Fprint(conn, "250 queued\r\n")
				}
				_, _ = io.Copy(io.Discard, in)
			})
			v := newTarget(t, Options{}, Deps{}).Deliver(ctx, letterTo(addr, "x\n", "a@dest.test"))
			switch {
			case c.ok && v[0].Err != nil, !c.ok && (v[0].Err == nil || v[0].Err.Reason != c.want):
				t.Errorf("%+v", v[0])
			}
		})
	}
}

// brokenBody fails in the middle.
type brokenBody struct{ io.Reader }

func (brokenBody) Close() error { return nil }

func TestAMessageThatCannotBeReadIsNeverHalfSent(t *testing.T) {
	t.Parallel()
	broken := errors.New("disk on fire")
	for _, o := range []Options{{}, {NoChunking: true}} {
		s, addr := startSink(t, nil)
		target := newTarget(t, o, Deps{})
		job := letterTo(addr, "", "a@dest.test")
		job.Body = func() (io.ReadCloser, error) {
			return brokenBody{io.MultiReader(strings.NewReader(strings.Repeat("half\n", 200_000)), errReader{broken})}, nil
		}
		if v := target.Deliver(t.Context(), job); !errors.Is(v[0].Err, broken) || v[0].Err.Class != reason.Temporary {
			t.Errorf("%+v", v[0])
		}
		job.Body = func() (io.ReadCloser, error) { return nil, broken }
		if v := target.Deliver(t.Context(), job); !errors.Is(v[0].Err, broken) {
			t.Errorf("%+v", v[0])
		}
		target.Close()
		s.mu.Lock()
		for _, m := range s.messages {
			t.Errorf("a message of %d bytes arrived", len(m))
		}
		s.mu.Unlock()
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestAServerThatStopsReadingIsHeard(t *testing.T) {
	t.Parallel()
	addr := byHand(t, func(_ int, c net.Conn, in *bufio.Reader) {
		fmt.Fprint(c, "220 x\r\n")
		_, _ = in.ReadSlice('\n')
		fmt.Fprint(c, "250-x\r\n250 PIPELINING\r\n")
		for range 3 {
			_, _ = in.ReadSlice('\n')
		}
		fmt.Fprint(c, "250 ok\r\n250 ok\r\n354 go\r\n552 5.3.4 too much\r\n")
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.CopyN(io.Discard, in, 1<<20)
	})
	v := newTarget(t, Options{}, Deps{}).Deliver(t.Context(), letterTo(addr, strings.Repeat("0123456789\n", 2_000_000), "a@dest.test"))
	if v[0].Err == nil || v[0].Err.Enhanced != "5.3.4" {
		// The kernel may throw the reply away together with the reset; then it is a lost connection.
		if v[0].Err == nil || v[0].Err.Reason != reason.ConnectionLost.Reason {
			t.Errorf("%+v", v[0])
		}
	}
}

// Vector 21 of the qmail reference: connections that are refused make no address dead.
func TestVector21OnlyTimeOutsMakeAnAddressDead(t *testing.T) {
	t.Parallel()
	dials := 0
	target := newTarget(t, Options{}, Deps{Dial: func(context.Context, netip.AddrPort) (net.Conn, error) {
		dials++
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}})
	now := time.Unix(1_000_000, 0)
	target.dead.now = func() time.Time { return now }
	job := letterTo(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25}, "x\n", "a@dest.test")
	for n := range 5 {
		if v := target.Deliver(t.Context(), job)[0]; v.Err == nil || v.Err.Reason != reason.ConnectFailed.Reason || dials != n+1 {
			t.Errorf("attempt %d: %v after %d dials", n+1, v.Err, dials)
		}
		now = now.Add(3 * time.Minute)
	}
	if d := target.Dead(); len(d) != 0 {
		t.Errorf("%+v", d)
	}
}

// Vector 21: an address is dead from the second time-out on.
func TestDeadAddressesAreLeftAlone(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	dials := 0
	target := newTarget(t, Options{}, Deps{Dial: func(context.Context, netip.AddrPort) (net.Conn, error) {
		dials++
		return nil, timeoutError{}
	}})
	target.dead.now = func() time.Time { return now }
	job := letterTo(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25}, "x\n", "a@dest.test")
	try := func(want reason.ID, wantDials int) deliver.Verdict {
		t.Helper()
		v := target.Deliver(t.Context(), job)[0]
		if v.Err == nil || v.Err.Reason != want || dials != wantDials || v.Err.Class != reason.Temporary {
			t.Errorf("%+v after %d dials, want %s after %d", v.Err, dials, want, wantDials)
		}
		return v
	}
	try(reason.ConnectFailed.Reason, 1)
	try(reason.ConnectFailed.Reason, 2) // within the grace: counts once
	now = now.Add(3 * time.Minute)
	try(reason.ConnectFailed.Reason, 3)
	if v := try(reason.HostResting.Reason, 3); v.RetryAfter < 64*time.Minute || v.RetryAfter > 96*time.Minute {
		t.Errorf("RetryAfter %v", v.RetryAfter)
	}
	if d := target.Dead(); len(d) != 1 || d[0].Count != 2 || d[0].Addr.String() != "192.0.2.1" || d[0].Until.IsZero() {
		t.Errorf("%+v", d)
	}
	now = now.Add(97 * time.Minute)
	try(reason.ConnectFailed.Reason, 4)
	try(reason.HostResting.Reason, 4)
	target.Forget()
	try(reason.ConnectFailed.Reason, 5)
	now = now.Add(3 * time.Minute)
	try(reason.ConnectFailed.Reason, 6)
	try(reason.HostResting.Reason, 6)
	job.Force = true // an operator's word goes before the memory
	try(reason.ConnectFailed.Reason, 7)
}

// However many addresses there are, the memory of dead ones has a bound, and an answer clears one.
func TestTheMemoryOfDeadAddressesHasABound(t *testing.T) {
	t.Parallel()
	d := deadHosts{after: 2, hold: time.Hour, now: time.Now, entries: map[netip.Addr]deadEntry{}}
	for i := range 3 * maxDead {
		d.note(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), timeoutError{})
	}
	if len(d.entries) > maxDead {
		t.Errorf("%d addresses", len(d.entries))
	}
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(0, 0)
		d := deadHosts{after: 2, hold: time.Hour, now: func() time.Time { return now }, entries: map[netip.Addr]deadEntry{}}
		a := netip.IPv6Loopback()
		for range rapid.IntRange(0, 20).Draw(t, "n") {
			now = now.Add(time.Duration(rapid.IntRange(0, 7200).Draw(t, "s")) * time.Second)
			if rapid.Bool().Draw(t, "timeout") {
				d.note(a, timeoutError{})
				continue
			}
			d.note(a, nil)
			if d.resting(a) != 0 {
				t.Fatal("an address that answered is left alone")
			}
		}
		if r := d.resting(a); r < 0 || r > 90*time.Minute {
			t.Fatalf("left alone for %v", r)
		}
	})
}

func TestIdleConnectionsEndByThemselves(t *testing.T) {
	t.Parallel()
	ended := make(chan string, 1)
	addr := byHand(t, func(_ int, c net.Conn, in *bufio.Reader) {
		for i, r := range []string{"220 x\r\n", "250-x\r\n250 PIPELINING\r\n", "250 ok\r\n250 ok\r\n354 go\r\n"} {
			if i > 0 {
				_, _ = in.ReadSlice('\n')
			}
			fmt.Fprint(c, r)
		}
		for {
			if line, err := in.ReadString('\n'); err != nil || line == ".\r\n" {
				break
			}
		}
		fmt.Fprint(c, "250 queued\r\n")
		rest, _ := io.ReadAll(in)
		ended <- string(rest)
	})
	target := newTarget(t, Options{IdleTime: 20 * time.Millisecond}, Deps{})
	if v := target.Deliver(t.Context(), letterTo(addr, "x\n", "a@dest.test")); v[0].Err != nil {
		t.Fatal(v[0].Err)
	}
	if rest := <-ended; rest != "QUIT\r\n" {
		t.Errorf("%q", rest)
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

func (*deafConn) Write(p []byte) (int, error)      { return len(p), nil }
func (*deafConn) Close() error                     { return nil }
func (*deafConn) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
func (*deafConn) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
func (*deafConn) SetDeadline(time.Time) error      { return nil }
func (*deafConn) SetReadDeadline(time.Time) error  { return nil }
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

// zone is DNS from a map: a name's exchangers, and their addresses.
type zone struct {
	unpublished
	mx map[string][]netx.MX
}

func (z zone) MX(_ context.Context, name string) (netx.Result[netx.MX], error) {
	if len(z.mx[name]) == 0 {
		return netx.Result[netx.MX]{}, netx.ErrNoData
	}
	return netx.Result[netx.MX]{Records: z.mx[name]}, nil
}

func (z zone) Addrs(_ context.Context, name string) (netx.Result[netip.Addr], error) {
	a := netip.AddrFrom4([4]byte{192, 0, 2, name[0]})
	return netx.Result[netip.Addr]{Records: []netip.Addr{a}}, nil
}

func (z zone) DialAddrs(ctx context.Context, name string) (netx.Result[netip.Addr], error) {
	return z.Addrs(ctx, name)
}

func TestEqualExchangersShareTheLoad(t *testing.T) {
	t.Parallel()
	z := zone{mx: map[string][]netx.MX{"dest.test": {{Pref: 20, Host: "c"}, {Pref: 10, Host: "a"}, {Pref: 10, Host: "b"}}}}
	for i := range 100 {
		z.mx["many.test"] = append(z.mx["many.test"], netx.MX{Pref: uint16(i), Host: string(rune('a'+i%26)) + "x"})
	}
	target := newTarget(t, Options{}, Deps{Resolver: z})
	first := map[string]int{}
	for range 200 {
		hosts, err := target.lookup(t.Context(), &route.NextHop{Domain: "dest.test"}, false)
		if err != nil || len(hosts) != 3 || hosts[2].name != "c" {
			t.Fatal(hosts, err)
		}
		first[hosts[0].name]++
	}
	if first["a"] < 50 || first["b"] < 50 {
		t.Errorf("the first was %v", first)
	}
	if hosts, err := target.lookup(t.Context(), &route.NextHop{Domain: "many.test"}, false); err != nil || len(hosts) != maxExchangers || hosts[0].name != "ax" {
		t.Errorf("%d hosts, %v", len(hosts), err)
	}
}

func TestEqualExchangersShareTheLoadOfKeptConnections(t *testing.T) {
	t.Parallel()
	a, addrA := startSink(t, nil)
	b, addrB := startSink(t, nil)
	one, addrOne := startSink(t, nil)
	target := newTarget(t, Options{IdleTime: time.Minute}, Deps{
		Resolver: zone{mx: map[string][]netx.MX{"dest.test": {{Pref: 10, Host: "a"}, {Pref: 10, Host: "b"}, {Pref: 20, Host: "c"}}, "one.test": {{Pref: 10, Host: "o"}, {Pref: 20, Host: "c"}}}},
		Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			at := map[byte]net.Addr{'a': addrA, 'b': addrB, 'o': addrOne}[to.Addr().As4()[3]]
			return new(net.Dialer).DialContext(ctx, "tcp", at.String())
		},
	})
	for range 60 {
		for _, domain := range []string{"dest.test", "one.test"} {
			job := letterTo(addrA, "x\n", "ann@"+domain)
			job.Next = &route.NextHop{Domain: domain, TLS: route.TLSNone}
			if v := target.Deliver(t.Context(), job); v[0].Err != nil {
				t.Fatal(v[0].Err)
			}
		}
	}
	if len(a.messages) < 10 || len(b.messages) < 10 || a.sessions != 1 || b.sessions != 1 {
		t.Errorf("%d messages over %d connections, %d over %d", len(a.messages), a.sessions, len(b.messages), b.sessions)
	}
	if len(one.messages) != 60 || one.sessions != 1 {
		t.Errorf("to one exchanger %d messages over %d connections", len(one.messages), one.sessions)
	}
}
