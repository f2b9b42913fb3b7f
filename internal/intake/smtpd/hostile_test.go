package smtpd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/intake/intaketest"
	"github.com/postilion/postilion/internal/serve"
	"github.com/postilion/postilion/internal/smtp"
	"github.com/postilion/postilion/internal/trace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// dialogue is a client that sends a command and reads its answer.
type dialogue struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

func (w *world) dialogue(t testing.TB, s *Server) *dialogue {
	c := w.session(context.Background(), t, s)
	c.SetDeadline(time.Now().Add(time.Minute))
	d := &dialogue{t, c, bufio.NewReaderSize(c, smtp.MaxReplyLine)}
	d.expect(220)
	return d
}

func (d *dialogue) reply() smtp.Reply {
	d.t.Helper()
	r, err := smtp.ReadReply(d.in)
	if err != nil {
		d.t.Fatal(err)
	}
	return r
}

func (d *dialogue) expect(code int) {
	d.t.Helper()
	if r := d.reply(); r.Code != code {
		d.t.Fatalf("the answer is %s, want %d", r, code)
	}
}

func (d *dialogue) send(text string) {
	d.t.Helper()
	if _, err := io.WriteString(d.conn, text); err != nil {
		d.t.Fatal(err)
	}
}

func (d *dialogue) do(command string) smtp.Reply {
	d.t.Helper()
	d.send(command + "\r\n")
	return d.reply()
}

// The list of the scanner that found the smuggling holes of 2023: what stands in the middle ends
// nothing, and the message is refused for it.
func TestNoMessageIsSmuggled(t *testing.T) {
	t.Parallel()
	for _, end := range []string{
		"\n.\n", "\n.\r", "\r.\n", "\r.\r", "\n.\r\n", "\r.\r\n", "\r\n\x00.\r\n", "\r\n.\r\r\n", "\r\r\n.\r\r\n", "\r\n.\n", "\r\n.\r", ".\n", "\n\n.\r\n",
	} {
		for _, mode := range []string{"reject", "normalise"} {
			t.Run(fmt.Sprintf("%s %q", mode, end), func(t *testing.T) {
				t.Parallel()
				w := newWorld()
				w.options.BareNewline = mode
				d := w.dialogue(t, w.server(t))
				d.do("EHLO client.test")
				d.do("MAIL FROM:<ann@client.test>")
				d.do("RCPT TO:<joe@example.test>")
				d.do("DATA")
				r := d.do("Subject: x\r\n\r\nbody" + end + "MAIL FROM:<smuggled@x.test>\r\nRCPT TO:<joe@example.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.")
				if want := end != "\r\n\x00.\r\n" && mode == "reject"; want != (r.Code == 550 && r.Enhanced == "5.6.11") {
					t.Errorf("the answer is %s", r)
				}
				if r := d.do("NOOP"); r.Code != 250 {
					t.Errorf("the session is out of step: %s", r)
				}
				m := w.queue.Take()
				if len(m) > 1 || len(m) == 1 && (m[0].Envelope.From.Local != "ann" || strings.Contains(m[0].Body, "\r")) {
					t.Errorf("in the queue: %+v", m)
				}
			})
		}
	}
}

// The open-relay set: none of these leaves this host for a client that did not log in.
func TestNobodyRelays(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := w.server(t)
	for _, sender := range []string{"<>", "<ann@client.test>", "<joe@example.test>", "<joe@[192.0.2.7]>", "<joe@mx.example.test>", "<postmaster>", "<joe@localhost>"} {
		for _, to := range []string{
			"<victim@other.test>", "<victim%other.test@example.test>", `<"victim@other.test">`, `<"victim%other.test">`, `<"victim@other.test"@example.test>`,
			"<victim@other.test@example.test>", "<@example.test:victim@other.test>", "<@example.test,@b.test:victim@other.test>", "<other.test!victim>",
			"<other.test!victim@example.test>", "<other.test!victim@[127.0.0.1]>", "<victim%other.test@[127.0.0.1]>", `<"other.test!victim"@example.test>`,
			"<victim%other.test@localhost>", "<victim@[192.0.2.99]>", "<victim@[IPv6:2001:db8::1]>", "<victim@other.test.>", "<victim>", "<victim@sub.example.test>",
			"<victim@xn--ther-0ra.test>", "<victim@example.test.other.test>", "<victim%other.test%example.test>", "<victim@OTHER.test>", `<"victim"@other.test>`,
			"victim@other.test", "<victim @other.test>", "<victim@other.test> ORCPT=rfc822;joe@example.test", "<joe@example.test@other.test>", "<joe%example.test@other.test>", "<joe+victim=other.test@example.test.evil.test>",
		} {
			d := w.dialogue(t, s)
			d.do("EHLO client.test")
			if r := d.do("MAIL FROM:" + sender); r.Code != 250 {
				t.Fatalf("%s: %s", sender, r)
			}
			if r := d.do("RCPT TO:" + to); r.Code/100 != 5 {
				t.Errorf("%s to %s: %s", sender, to, r)
			}
			d.conn.Close()
		}
	}
	if m := w.queue.Take(); len(m) > 0 {
		t.Errorf("%d messages", len(m))
	}
}

func TestOneWhoSpeaksBeforeTheGreetingIsDropped(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := w.server(t)
	client, server := intaketest.Loopback(t)
	defer client.Close()
	defer server.Close()
	io.WriteString(client, "EHLO client.test\r\n")
	// Loopback delivers at once; wait until it has, without taking anything.
	for !serve.Unread(server) {
		runtime.Gosched()
	}
	go func() {
		s.Serve(context.Background(), &serve.Conn{Conn: server, Client: netip.AddrPortFrom(w.client, 1)})
		server.Close()
	}()
	b, _ := io.ReadAll(client)
	if string(b) != "554 5.5.0 you spoke before the greeting\r\n" {
		t.Errorf("%q", b)
	}
	if e := w.events.Take(); len(e) != 2 || e[0].Reason != "early-talker" || e[1].Kind != trace.SessionEnd {
		t.Errorf("events %+v", e)
	}
}

func TestOneWhoSpeaksWhileTheGreetingWaitsIsDropped(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.options.GreetingPause = time.Hour
	c := w.session(context.Background(), t, w.server(t))
	io.WriteString(c, "GET / HTTP/1.1\r\n")
	if b, _ := io.ReadAll(c); string(b) != "554 5.5.0 you spoke before the greeting\r\n" {
		t.Errorf("%q", b)
	}
}

func TestAStopDoesNotWaitForTheGreetingsPause(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.options.GreetingPause = time.Hour
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := w.session(ctx, t, w.server(t))
	cancel()
	if b, err := io.ReadAll(c); err != nil || !strings.Contains(string(b), "421 4.3.2 ") {
		t.Errorf("%q, %v", b, err)
	}
}

func TestManyConnectionsAreGreetedWithoutAPause(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := w.server(t)
	greet := func() (took time.Duration) {
		client, server := intaketest.Loopback(t)
		defer client.Close()
		defer server.Close()
		began := time.Now()
		if newSession(s, &serve.Conn{Conn: server, Client: netip.AddrPortFrom(w.client, 1)}).speaksFirst() {
			t.Error("who said nothing spoke first")
		}
		return time.Since(began)
	}
	if took := greet(); took < quietPause {
		t.Errorf("a first connection is greeted after %s", took)
	}
	var a arrivals
	now := time.Unix(1e9, 0)
	for i := range 3 * quietConnections {
		if got, want := a.quiet(now), i < quietConnections; got != want {
			t.Errorf("connection %d at once: quiet %v", i, got)
		}
	}
	if !a.quiet(now.Add(quietTime + 1)) {
		t.Error("a connection long after the others meets no quiet")
	}
}

func TestASessionEndsWhenTheServerStops(t *testing.T) {
	t.Parallel()
	w := newWorld()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := w.session(ctx, t, w.server(t))
	in := bufio.NewReader(c)
	in.ReadString('\n')
	cancel()
	if line, _ := in.ReadString('\n'); line != "421 4.3.2 mx.example.test server is stopping, please try again shortly\r\n" {
		t.Errorf("%q", line)
	}
	if _, err := in.ReadByte(); err != io.EOF {
		t.Errorf("after it: %v", err)
	}
}

func TestAMessageUnderWayIsTakenWhenTheServerStops(t *testing.T) {
	t.Parallel()
	w := newWorld()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := w.session(ctx, t, w.server(t))
	d := &dialogue{t, c, bufio.NewReader(c)}
	d.expect(220)
	d.do("EHLO client.test")
	d.do("MAIL FROM:<ann@client.test>")
	d.do("RCPT TO:<joe@example.test>")
	d.do("DATA")
	d.send("half a message\r\n")
	cancel()
	if r := d.do("the other half\r\n."); r.Code != 250 {
		t.Errorf("%s", r)
	}
	d.expect(421)
	if m := w.queue.Take(); len(m) != 1 || !strings.HasSuffix(m[0].Body, "half a message\nthe other half\n") {
		t.Errorf("%+v", m)
	}
}

func TestAClientThatIsTooSlowIsDropped(t *testing.T) {
	t.Parallel()
	for name, send := range map[string]string{
		"silent":            "",
		"half a command":    "EHLO cli",
		"silent in DATA":    "EHLO x\r\n|MAIL FROM:<>\r\nRCPT TO:<joe@example.test>\r\nDATA\r\n|abc",
		"silent in BDAT":    "EHLO x\r\n|MAIL FROM:<>\r\nRCPT TO:<joe@example.test>\r\nBDAT 10\r\nabc",
		"silent after STLS": "EHLO x\r\n|NOOP\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.options.IdleTimeout, w.options.DataTimeout = 6*time.Minute, 5*time.Minute
				c := w.pipe(t)
				in := bufio.NewReader(c)
				in.ReadString('\n')
				for part := range strings.SplitSeq(send, "|") {
					io.WriteString(c, part)
					if strings.HasPrefix(part, "EHLO x") {
						smtp.ReadReply(in)
					}
					if strings.HasSuffix(part, "DATA\r\n") {
						for range 3 {
							smtp.ReadReply(in)
						}
					}
				}
				began := time.Now()
				rest, err := io.ReadAll(in)
				if err != nil || !strings.HasSuffix(string(rest), "421 4.4.2 mx.example.test nothing came for too long, closing connection\r\n") {
					t.Errorf("%q, %v", rest, err)
				}
				if took := time.Since(began); took < 5*time.Minute || took > 6*time.Minute {
					t.Errorf("it was dropped after %v", took)
				}
				if w.queue.Open != 0 || len(w.queue.Take()) != 0 {
					t.Error("the message was not dropped")
				}
			})
		})
	}
}

// pipe starts a session over a pipe, for tests that own time, and returns the client's end.
func (w *world) pipe(t *testing.T) net.Conn {
	s := w.server(t)
	conn, server := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer server.Close()
		s.Serve(context.Background(), &serve.Conn{Conn: server, Client: netip.AddrPortFrom(w.client, 4711), Server: netip.MustParseAddrPort("127.0.0.1:25")})
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return conn
}

func TestAByteAtATimeDoesNotHoldASessionForever(t *testing.T) {
	t.Parallel()
	for _, begin := range []string{"", "EHLO x\r\n|MAIL FROM:<>\r\nRCPT TO:<joe@example.test>\r\nDATA\r\n"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.options.IdleTimeout, w.options.DataTimeout, w.options.TotalTimeout = 5*time.Minute, 5*time.Minute, 5*time.Minute
			c := w.pipe(t)
			in := bufio.NewReader(c)
			in.ReadString('\n')
			for part := range strings.SplitSeq(begin, "|") {
				io.WriteString(c, part)
				if strings.HasPrefix(part, "EHLO") {
					smtp.ReadReply(in)
				}
			}
			var typing sync.WaitGroup
			defer typing.Wait() // the server hangs up
			typing.Go(func() {
				for err := error(nil); err == nil; time.Sleep(30 * time.Second) {
					_, err = io.WriteString(c, "x")
				}
			})
			c.SetReadDeadline(time.Now().Add(24 * time.Hour))
			rest, _ := io.ReadAll(in)
			if !strings.Contains(string(rest), "421 4.4.2") {
				t.Errorf("%q: %q", begin, rest)
			}
		})
	}
}

// Every wrong address has an answer of its own class and the session goes on.
func TestHostileAddressesAreAnswered(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.options.MaxErrors = 1000
	d := w.dialogue(t, w.server(t))
	d.do("EHLO client.test")
	for _, path := range []string{
		`<"">`, `<""@x.test>`, "<@a,@b:c@d>x", "<\"a\x00\"@d.test>", "<a@[300.1.1.1]>", "<" + strings.Repeat("a", 251) + "@d.test>",
		"<a@" + strings.Repeat("d.", 128) + "test>", "<a@d.test.>", "<a..b@d.test>", "<ü@d.test>", "<a@xn--\xff>", "<;id;@x.test>", "<${run{/bin/sh -c id}}@x.test>",
		"<a@d.test", "a@d.test>", "<a@d@e>", "", "<a@d.test> <b@d.test>", "<a\t@d.test>", `<"a@d.test>`,
	} {
		if r := d.do("MAIL FROM:" + path); r.Code/100 != 5 || r.Enhanced == "" {
			t.Errorf("MAIL %q: %s", path, r)
		}
	}
	d.do("MAIL FROM:<ann@client.test>")
	for path, code := range map[string]int{
		"<postmaster>": 250, "<PostMaster>": 250, "<joe>": 501, "<@relay.test,@b.test:joe@example.test>": 250, `<"joe"@example.test>`: 250,
		"<joe@[127.0.0.1]>": 250, "<joe@[IPv6:::1]>": 550, `<"">`: 501, `<""@example.test>`: 501, "<a%b@example.test>": 550, "<a!b@example.test>": 550, "<joe@example.test.>": 501,
		"<" + strings.Repeat("a", 65) + "@example.test>": 501,
	} {
		if r := d.do("RCPT TO:" + path); r.Code != code {
			t.Errorf("RCPT %q: %s, want %d", path, r, code)
		}
	}
}

// A session at rest holds its goroutine, its own struct and the kernel's part.
func TestSessionsAtRestAreSmall(t *testing.T) {
	w := newWorld()
	s := w.server(t)
	const n = 200
	var conns []net.Conn
	var sessions sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	before := memory()
	for range n {
		client, server := intaketest.Loopback(t)
		conns = append(conns, client, server)
		sessions.Go(func() {
			s.Serve(ctx, &serve.Conn{Conn: server, ID: id.Source{}.New(), Client: netip.AddrPortFrom(w.client, 1)})
		})
		in := make([]byte, 100)
		client.Read(in)
	}
	each := (memory() - before) / n
	t.Logf("%d bytes a session with both ends of its connection", each)
	if each > 14<<10 {
		t.Errorf("%d bytes a session", each)
	}
	cancel()
	for _, c := range conns {
		c.Close()
	}
	sessions.Wait()
}

// memory returns the bytes of heap and stacks in use.
func memory() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapInuse + m.StackInuse)
}
