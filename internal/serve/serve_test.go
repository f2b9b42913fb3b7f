package serve

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is a protocol: it greets with the client's address and echoes lines.
type echo struct{ panics bool }

func (e echo) Serve(ctx context.Context, c *Conn) {
	defer context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) })()
	fmt.Fprintf(c, "hello %s\n", c.Client.Addr())
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			fmt.Fprint(c, "bye\n")
			return
		}
		if e.panics {
			panic("a protocol's bug")
		}
		c.SetState(strings.TrimSpace(line))
		io.WriteString(c, line)
	}
}

func (echo) Refuse(c *Conn, why string) { fmt.Fprintf(c, "no: %s\n", why) }

// start runs s on loopback until the test ends.
func start(t *testing.T, s *Server) (addr string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	}
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

type client struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func dial(t *testing.T, addr string) *client {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return &client{t, c, bufio.NewReader(c)}
}

func (c *client) want(line string) {
	c.t.Helper()
	got, err := c.r.ReadString('\n')
	if got != line+"\n" {
		c.t.Fatalf("want %q, have %q, %v", line, got, err)
	}
}

func (c *client) wantEOF() {
	c.t.Helper()
	if b, err := c.r.ReadByte(); err == nil {
		c.t.Fatalf("want the connection closed, have byte %q", b)
	}
}

func TestLimitsAnswerAndLetOthersIn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		options Options
		why     string
	}{
		{"in all", Options{MaxConnections: 2}, OverAll},
		{"per client", Options{MaxPerClient: 2}, OverClient},
		{"rate", Options{ConnectionRate: 2}, OverRate},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var refused atomic.Int32
			s := &Server{Name: "echo", Handler: echo{}, Options: tt.options, Refused: func(*Conn, string) { refused.Add(1) },
				Clock: fixed(time.Unix(1e9, 0))}
			addr, _ := start(t, s)
			a, b := dial(t, addr), dial(t, addr)
			a.want("hello 127.0.0.1")
			b.want("hello 127.0.0.1")
			c := dial(t, addr)
			c.want("no: " + tt.why)
			c.wantEOF()
			if refused.Load() != 1 {
				t.Errorf("%d refusals told, want 1", refused.Load())
			}
			if tt.why == OverRate {
				return
			}
			a.Close()
			waitFor(t, func() bool { return s.Table.Len() == 1 })
			dial(t, addr).want("hello 127.0.0.1")
		})
	}
}

type fixed time.Time

func (f fixed) Now() time.Time { return time.Time(f) }

// waitFor waits for a condition that follows from the other side's next steps.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(end) {
			t.Fatal("it did not come to pass within a minute")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestListenersThatShareATableCountForThemselves(t *testing.T) {
	t.Parallel()
	table := new(Table)
	a, _ := start(t, &Server{Name: "a", Table: table, Handler: echo{}, Options: Options{MaxPerClient: 1}})
	b, _ := start(t, &Server{Name: "b", Table: table, Handler: echo{}, Options: Options{MaxPerClient: 1}})
	dial(t, a).want("hello 127.0.0.1")
	dial(t, b).want("hello 127.0.0.1")
	dial(t, a).want("no: " + OverClient)
}

func TestExemptClientsAreNotCounted(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, &Server{Handler: echo{}, Options: Options{MaxPerClient: 1, Exempt: []string{"127.0.0.0/8"}}})
	for range 3 {
		dial(t, addr).want("hello 127.0.0.1")
	}
}

func TestAdmitRefusesBeforeTheGreeting(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, &Server{Handler: echo{}, Admit: func(a netip.Addr) string { return "blocked: " + a.String() }})
	c := dial(t, addr)
	c.want("no: blocked: 127.0.0.1")
	c.wantEOF()
}

func TestAPanicEndsItsSessionOnly(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, &Server{Handler: echo{panics: true}})
	a, b := dial(t, addr), dial(t, addr)
	a.want("hello 127.0.0.1")
	b.want("hello 127.0.0.1")
	io.WriteString(a, "x\n")
	a.wantEOF()
	dial(t, addr).want("hello 127.0.0.1")
}

func TestStopLetsSessionsSayGoodbyeAndClosesTheRest(t *testing.T) {
	t.Parallel()
	s := &Server{Name: "echo", Handler: echo{}}
	addr, stop := start(t, s)
	a := dial(t, addr)
	a.want("hello 127.0.0.1")
	stop()
	a.want("bye")
	a.wantEOF()

	deaf := &Server{Name: "deaf", Handler: deaf{}, Options: Options{StopTimeout: 10 * time.Millisecond}}
	addr, stop = start(t, deaf)
	b := dial(t, addr)
	b.want("hello")
	stop()
	b.wantEOF()
}

// TestWhatASessionWaitsForEndsWithItsConnection: a call to a part that hangs holds no stop up.
func TestWhatASessionWaitsForEndsWithItsConnection(t *testing.T) {
	t.Parallel()
	s := &Server{Name: "waits", Handler: waits{}, Options: Options{StopTimeout: 50 * time.Millisecond}}
	addr, stop := start(t, s)
	a := dial(t, addr)
	a.want("hello")
	began := time.Now()
	stop()
	a.wantEOF()
	if took := time.Since(began); took < 50*time.Millisecond {
		t.Errorf("the session was ended after %s already", took)
	}
	if (&Conn{}).Context().Err() != nil {
		t.Error("a connection without a server is ended")
	}
}

// waits waits for something other than its client.
type waits struct{}

func (waits) Serve(_ context.Context, c *Conn) {
	io.WriteString(c, "hello\n")
	<-c.Context().Done()
}
func (waits) Refuse(*Conn, string) {}

// deaf does not hear ctx.
type deaf struct{}

func (deaf) Serve(_ context.Context, c *Conn) {
	io.WriteString(c, "hello\n")
	io.Copy(io.Discard, c)
}
func (deaf) Refuse(*Conn, string) {}

func TestTheTableListsAndCloses(t *testing.T) {
	t.Parallel()
	s := &Server{Name: "echo", Handler: echo{}}
	addr, _ := start(t, s)
	a := dial(t, addr)
	a.want("hello 127.0.0.1")
	io.WriteString(a, "busy\n")
	a.want("busy")
	list := s.Table.List()
	if len(list) != 1 || list[0].State != "busy" || list[0].Listener != "echo" || list[0].Client.String() != a.LocalAddr().String() {
		t.Fatalf("the table shows %+v", list)
	}
	if n := s.Table.Close(func(c Connection) bool { return c.State == "busy" }); n != 1 {
		t.Errorf("%d connections closed, want 1", n)
	}
	a.wantEOF()
}

func TestProxyHeaders(t *testing.T) {
	t.Parallel()
	v2 := func(verCmd, family byte, rest string) string {
		return proxySignature + string([]byte{verCmd, family, byte(len(rest) >> 8), byte(len(rest))}) + rest
	}
	four := "\xc0\x00\x02\x07\xc0\x00\x02\x08\x30\x39\x00\x19"
	six := strings.Repeat("\x20\x01\x0d\xb8"+strings.Repeat("\x00", 11)+"\x05", 2) + "\x30\x39\x00\x19"
	for _, tt := range []struct{ name, header, want string }{
		{"version 1", "PROXY TCP4 192.0.2.7 192.0.2.8 12345 25\r\n", "hello 192.0.2.7"},
		{"version 1 IPv6", "PROXY TCP6 2001:db8::5 2001:db8::6 12345 25\r\n", "hello 2001:db8::5"},
		{"version 1 unknown", "PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "hello 127.0.0.1"},
		{"version 2", v2(0x21, 0x11, four), "hello 192.0.2.7"},
		{"version 2 with TLV", v2(0x21, 0x11, four+"\x04\x00\x01x"), "hello 192.0.2.7"},
		{"version 2 IPv6", v2(0x21, 0x21, six), "hello 2001:db8::5"},
		{"version 2 local", v2(0x20, 0x00, ""), "hello 127.0.0.1"},
		{"missing", "EHLO client.test\r\nNOOP\r\n", ""},
		{"families mixed", "PROXY TCP4 2001:db8::5 2001:db8::6 12345 25\r\n", ""},
		{"bad port", "PROXY TCP4 192.0.2.7 192.0.2.8 12345 99999\r\n", ""},
		{"too long", "PROXY TCP4 " + strings.Repeat("1", 100), ""},
		{"version 2 short", v2(0x21, 0x11, four[:8]), ""},
		{"version 3", v2(0x31, 0x11, four), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			addr, _ := start(t, &Server{Handler: echo{}, Options: Options{ProxyFrom: []string{"127.0.0.1"}}})
			c := dial(t, addr)
			io.WriteString(c, tt.header)
			if tt.want == "" {
				c.wantEOF()
				return
			}
			c.want(tt.want)
			io.WriteString(c, "line\n") // nothing behind the header was swallowed
			c.want("line")
		})
	}
}

func TestAPeerThatIsNoProxyIsNotBelieved(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, &Server{Handler: echo{}, Options: Options{ProxyFrom: []string{"192.0.2.1"}}})
	c := dial(t, addr)
	io.WriteString(c, "PROXY TCP4 192.0.2.7 192.0.2.8 12345 25\r\n")
	c.want("hello 127.0.0.1")
}

// failing is a listener out of descriptors for its first calls.
type failing struct {
	net.Listener
	fails int
	calls []time.Time
}

func (f *failing) Accept() (net.Conn, error) {
	f.calls = append(f.calls, time.Now())
	if f.fails--; f.fails >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return nil, net.ErrClosed
}
func (f *failing) Close() error { return nil }

func TestAcceptBacksOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &failing{fails: 12}
		if err := (&Server{Handler: echo{}}).Serve(context.Background(), f); !errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
		if d := f.calls[1].Sub(f.calls[0]); d != 5*time.Millisecond {
			t.Errorf("first wait %v, want 5 ms", d)
		}
		if d := f.calls[12].Sub(f.calls[11]); d != time.Second {
			t.Errorf("longest wait %v, want 1 s", d)
		}
	})
}

func TestPrefixesNameWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "x", "192.0.2.1/33", "192.0.2", "fe80::1%eth0", "192.0.2.1/"} {
		if _, err := ParsePrefixes([]string{"192.0.2.0/24", s}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", s)) {
			t.Errorf("%q: error %v does not name it", s, err)
		}
	}
}

func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.7 192.0.2.8 12345 25\r\n"))
	f.Add([]byte(proxySignature + "\x21\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x08\x30\x39\x00\x19"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := &Conn{Conn: readOnly{strings.NewReader(string(data))}}
		if err := c.readProxyHeader(); err == nil && c.Client.IsValid() && !c.Client.Addr().IsValid() {
			t.Errorf("%q: client %v", data, c.Client)
		}
	})
}

type readOnly struct{ io.Reader }

func (readOnly) Write([]byte) (int, error)        { return 0, io.ErrClosedPipe }
func (readOnly) Close() error                     { return nil }
func (readOnly) LocalAddr() net.Addr              { return nil }
func (readOnly) RemoteAddr() net.Addr             { return nil }
func (readOnly) SetDeadline(time.Time) error      { return nil }
func (readOnly) SetReadDeadline(time.Time) error  { return nil }
func (readOnly) SetWriteDeadline(time.Time) error { return nil }
