package qmtpd

import (
	"bufio"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/intake/client"
	"github.com/postilion/postilion/internal/intake/intaketest"
	"github.com/postilion/postilion/internal/intake/netstrings"
	"github.com/postilion/postilion/internal/policy"
	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/trace/tracetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type world struct {
	*Server
	queue  *intaketest.Queue
	events *tracetest.Events
}

func newWorld(t testing.TB, p policy.Options, o Options, change func(*Deps)) *world {
	t.Helper()
	w := &world{queue: new(intaketest.Queue), events: new(tracetest.Events)}
	d := Deps{Submit: intaketest.Submitter(t, w.queue, p), Events: w.events, Clock: clock.NewFake(intaketest.Epoch)}
	if change != nil {
		change(&d)
	}
	s, err := New(o, d)
	if err != nil {
		t.Fatal(err)
	}
	w.Server = s
	return w
}

func ns(s string) string { return string(qmail.AppendNetstring(nil, s)) }

func message(body, from string, to ...string) string {
	list := ""
	for _, r := range to {
		list += ns(r)
	}
	return ns(body) + ns(from) + ns(list)
}

var qp = regexp.MustCompile(`qp [0-9a-z]+`)

// talk sends what is given, says no more, and returns the answers.
func (w *world) talk(t testing.TB, send string) string {
	t.Helper()
	conn, wait := intaketest.Session(context.Background(), t, w, "192.0.2.7")
	if _, err := io.WriteString(conn, send); err != nil {
		t.Fatal(err)
	}
	conn.(*net.TCPConn).CloseWrite()
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	wait()
	var answers []string
	for r := bufio.NewReader(strings.NewReader(string(got))); ; {
		p, err := qmail.ReadNetstring(r, 10_000)
		if err == io.EOF {
			return strings.Join(answers, "\n")
		}
		if err != nil {
			t.Fatalf("%q is no answer: %v", got, err)
		}
		answers = append(answers, qp.ReplaceAllString(string(p), "qp N"))
	}
}

const (
	ok  = "Kok 1795289503 qp N"
	far = "Dsorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)"
	bad = "Dsorry, I can't handle that recipient (#5.1.3)"
)

// The answers of the qmail reference 15.1, byte for byte.
func TestEachRecipientIsAnswered(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1000) + "@example.test"
	for _, c := range []struct {
		name, send, want, queued string // queued: sender, recipients, content
	}{
		{"accepted, not in rcpthosts, too long", message("\nSubject: x\n\nhi\n", "a@far.test", "joe@example.test", "b@far.test", long), ok + "\n" + far + "\n" + bad, "a@far.test|joe@example.test|Subject: x\n\nhi\n"},
		{"CR mode", message("\rSubject: x\r\n\r\na\rb\r\r\n", "", "joe@example.test"), ok, "|joe@example.test|Subject: x\n\na\rb\r\n"},
		{"CR mode, a CR last", message("\ra\r", "", "joe@example.test"), ok, "|joe@example.test|a\r\n"},
		{"LF mode keeps CR", message("\na\r\n", "", "joe@example.test"), ok, "|joe@example.test|a\r\n"},
		{"qmail's own reverse-paths", message("\nx\n", "#@[]", "joe@example.test"), ok, "#@[]|joe@example.test|x\n"},
		{"a sender of 1000 bytes", message("\nx\n", long, "joe@example.test", "ann@example.test"), "Dunacceptable sender (#5.1.7)\nDunacceptable sender (#5.1.7)", ""},
		{"a sender with NUL", message("\nx\n", "a\x00@b.test", "joe@example.test"), "Dunacceptable sender (#5.1.7)", ""},
		{"a sender that would reach into a command", message("\nx\n", "a@b.test> SIZE=1", "joe@example.test"), "Dunacceptable sender (#5.1.7)", ""},
		{"a recipient with a line end", message("\nx\n", "", "joe@example.test\r\nX: y"), bad, ""},
		{"an empty recipient", message("\nx\n", "", ""), bad, ""},
		{"unknown here", message("\nx\n", "", "nobody@example.test", "joe@example.test"), "Dno mailbox here by that name: nobody@example.test (#5.1.1)\n" + ok, "|joe@example.test|x\n"},
		{"trouble", message("\nx\n", "", "joe@broken.test"), "Zthe directory of accounts cannot be read, please try again later (#4.3.0)", ""},
		{"no recipients: nothing is queued, nothing answered", message("\nx\n", ""), "", ""},
		{"bad sender", message("\nx\n", "x@bad.example", "joe@example.test"), "Dmail from this sender is refused: x@bad.example (#5.7.1)", ""},
	} {
		w := newWorld(t, policy.Options{BadSenders: []string{"@bad.example"}}, Options{}, nil)
		if got := w.talk(t, c.send); got != c.want {
			t.Errorf("%s: answers\n%s\nwant\n%s", c.name, got, c.want)
		}
		queued := ""
		for _, m := range w.queue.Take() {
			queued += m.From.String() + "|" + m.To() + "|" + m.Content()
			if !strings.Contains(m.Body, " with QMTP id ") {
				t.Errorf("%s: no QMTP in %q", c.name, m.Body)
			}
		}
		if queued != c.queued || w.queue.Open != 0 {
			t.Errorf("%s: queued %q, want %q; %d drafts left", c.name, queued, c.queued, w.queue.Open)
		}
	}
}

func TestManyMessagesGoOverOneConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t, policy.Options{}, Options{}, nil)
	one := message("\nx\n", "", "joe@example.test")
	if got := w.talk(t, strings.Repeat(one, 50)); got != strings.TrimSuffix(strings.Repeat(ok+"\n", 50), "\n") {
		t.Errorf("pipelined: %q", got)
	}
	if n := len(w.queue.Take()); n != 50 {
		t.Errorf("%d messages", n)
	}
	if ev := w.events.Take(); len(ev) != 1 || ev[0].Count != 50 || ev[0].Role != "qmtp" || ev[0].Text != "EOF: 50 messages, 50 recipients, 0 refusals" {
		t.Errorf("events %+v", ev)
	}
}

func TestAConnectionBringsNoMoreThanIsSet(t *testing.T) {
	t.Parallel()
	w := newWorld(t, policy.Options{}, Options{MaxMessages: 3}, nil)
	if got := w.talk(t, strings.Repeat(message("\nx\n", "", "joe@example.test"), 3)); got != ok+"\n"+ok+"\n"+ok {
		t.Errorf("%q", got)
	}
	if ev := w.events.Take(); len(ev) != 1 || !strings.HasPrefix(ev[0].Text, "max_messages reached: 3 messages") {
		t.Errorf("events %+v", ev)
	}
}

// Recipients take memory until the message is over, whatever is thought of them.
func TestAMessageHasABoundOfRecipients(t *testing.T) {
	t.Parallel()
	for n, taken := range map[int]bool{netstrings.MaxRecipients: true, netstrings.MaxRecipients + 1: false} {
		w := newWorld(t, policy.Options{}, Options{}, nil)
		got := w.talk(t, ns("\nx\n")+ns("")+ns(strings.Repeat("0:,", n)))
		if answers := strings.Count(got, bad); taken && answers != n || !taken && got != "" {
			t.Errorf("%d recipients: %d answers", n, answers)
		}
		if w.queue.Open != 0 || len(w.queue.Take()) != 0 {
			t.Errorf("%d recipients: the message was taken, or a draft is left", n)
		}
	}
}

// What is no QMTP ends the connection without an answer, and takes nothing.
func TestWrongFramingEndsTheConnection(t *testing.T) {
	t.Parallel()
	good := message("\nx\n", "", "joe@example.test")
	for _, send := range []string{
		"EHLO x\r\n", "0:,", "1:x,0:,0:,", "3:\nx\n;", ":,", "-1:x", "99999999999999999999:", "4:\nx\n,", "1099511627777:\n",
		"3:\nx\n,0:,5:1:a,,", "3:\nx\n,0:,3:9:a,", "3:\nx\n,0:,16777217:", "3:\nx\n,16777217:", "3:\nx\n,0:,19:16:joe@example.test,x", "3:\nx\n,0:,2:0:,",
		strings.TrimSuffix(good, ","), "3:\nx\n,0:,", "\x00", "GET / HTTP/1.1\r\n\r\n",
	} {
		w := newWorld(t, policy.Options{}, Options{}, nil)
		if got := w.talk(t, send); got != "" {
			t.Errorf("%.40q: answered %q", send, got)
		}
		if m := w.queue.Take(); len(m) != 0 || w.queue.Open != 0 {
			t.Errorf("%.40q: %d messages, %d drafts left", send, len(m), w.queue.Open)
		}
	}
}

func TestAMessageThatIsTooLargeIsReadAndRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, policy.Options{MaxSize: 1000}, Options{}, nil)
	send := message("\n"+strings.Repeat("x\n", 1<<20), "", "joe@example.test", "b@far.test") + message("\nx\n", "", "joe@example.test")
	if got, want := w.talk(t, send), "Dsorry, that message size exceeds my databytes limit (#5.3.4)\n"+far+"\n"+ok; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestTheQueuesTroubleIsTemporary(t *testing.T) {
	t.Parallel()
	w := newWorld(t, policy.Options{}, Options{}, nil)
	w.queue.Fail = reason.QueueUnavailable
	if got := w.talk(t, message("\nx\n", "", "joe@example.test", "b@far.test")); got != "Zqueue is not available, please try again later (#4.3.0)\n"+far {
		t.Error(got)
	}
}

// Rules open and close QMTP as they do SMTP (vectors 4 and 7 by QMTP).
func TestAccessRulesHold(t *testing.T) {
	t.Parallel()
	rules := filepath.Join(t.TempDir(), "tcp.qmtp")
	for text, want := range map[string]string{
		"192.0.2.:allow,RELAYCLIENT=\"@fix.me\",DATABYTES=\"2\"\n": ok, "192.0.2.7:deny\n": "", ":allow\n": far,
		"192.0.2.7:allow,RBLSMTPD=\"-no\"\n": "Dno (#5.7.1)",
	} {
		if err := os.WriteFile(rules, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		k, err := client.New("qmtp", client.Options{Rules: []string{rules}}, client.Deps{})
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld(t, policy.Options{}, Options{}, func(d *Deps) { d.Clients = k })
		if got := w.talk(t, message("\nx\n", "", "b@far.test")); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
		for _, m := range w.queue.Take() {
			if m.To() != "b@far.test@fix.me" {
				t.Errorf("queued for %s", m.To())
			}
		}
	}
}

func TestASlowClientIsCutOffAndAStopEndsIdleSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, policy.Options{}, Options{IdleTimeout: 50 * time.Millisecond}, nil)
	conn, wait := intaketest.Session(context.Background(), t, w, "192.0.2.7")
	_, _ = io.WriteString(conn, "3:\nx")
	wait()
	ctx, stop := context.WithCancel(context.Background())
	w = newWorld(t, policy.Options{}, Options{}, nil)
	conn, wait = intaketest.Session(ctx, t, w, "192.0.2.7")
	_, _ = io.WriteString(conn, message("\nx\n", "", "joe@example.test"))
	if p, err := qmail.ReadNetstring(bufio.NewReader(conn), 1000); err != nil || p[0] != 'K' {
		t.Fatalf("%q, %v", p, err)
	}
	stop()
	wait()
	if ev := w.events.Take(); !strings.HasPrefix(ev[0].Text, "the server is stopping: 1 messages") {
		t.Errorf("%+v", ev)
	}
}

func FuzzQMTP(f *testing.F) {
	f.Add([]byte(message("\nSubject: x\n\nhi\n", "a@far.test", "joe@example.test", "b@far.test")))
	f.Add([]byte(message("\ra\r\nb\r", "", "joe@example.test") + "3:\nx\n,0:,"))
	f.Add([]byte("3:\nx\n,0:,19:16:joe@example.test,,"))
	f.Fuzz(func(t *testing.T, p []byte) {
		w := newWorld(t, policy.Options{}, Options{IdleTimeout: time.Second}, nil)
		got := w.talk(t, string(p))
		if n := strings.Count(got, "Kok "); len(w.queue.Take()) > n || w.queue.Open != 0 {
			t.Errorf("%q: answers %q, drafts left %d", p, got, w.queue.Open)
		}
	})
}
