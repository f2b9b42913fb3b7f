package qmqpd

import (
	"bufio"
	"context"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/intake/intaketest"
	"github.com/postilion/postilion/internal/policy"
	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/serve"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type world struct {
	*Server
	queue  *intaketest.Queue
	client string
}

func newWorld(t testing.TB, o Options) *world {
	t.Helper()
	w := &world{queue: new(intaketest.Queue), client: "192.0.2.7"}
	if o.Networks == nil {
		o.Networks = []string{"192.0.2.0/28"}
	}
	s, err := New(o, Deps{Submit: intaketest.Submitter(t, w.queue, policy.Options{BadSenders: []string{"@bad.example"}}), Clock: clock.NewFake(intaketest.Epoch)})
	if err != nil {
		t.Fatal(err)
	}
	w.Server = s
	return w
}

func ns(s string) string { return string(qmail.AppendNetstring(nil, s)) }

func message(body, from string, to ...string) string {
	all := ns(body) + ns(from)
	for _, r := range to {
		all += ns(r)
	}
	return ns(all)
}

var qp = regexp.MustCompile(`qp [0-9a-z]+`)

func (w *world) talk(t testing.TB, send string) string {
	t.Helper()
	conn, wait := intaketest.Session(context.Background(), t, w, w.client)
	_, _ = io.WriteString(conn, send)
	conn.(*net.TCPConn).CloseWrite()
	got, _ := io.ReadAll(conn)
	wait()
	if len(got) == 0 {
		return ""
	}
	r := bufio.NewReader(strings.NewReader(string(got)))
	p, err := qmail.ReadNetstring(r, 10_000)
	if _, more := r.ReadByte(); err != nil || more == nil {
		t.Fatalf("%q is not one answer: %v", got, err)
	}
	return qp.ReplaceAllString(string(p), "qp N")
}

const (
	ok  = "Kok 1795289503 qp N"
	bad = "Dsorry, I can't accept addresses like that (#5.1.3)"
)

// The answers of the qmail reference 15.2.
func TestOneAnswerForAMessage(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1000) + "@example.test"
	for _, c := range []struct{ name, send, want, queued string }{
		{"to anywhere", message("Subject: x\n\nhi\n", "a@far.test", "joe@example.test", "b@far.test"), ok, "a@far.test|joe@example.test b@far.test|Subject: x\n\nhi\n"},
		{"CR is content", message("a\r\n", "", "b@far.test"), ok, "|b@far.test|a\r\n"},
		{"an address too long", message("x\n", "", "b@far.test", long), bad, ""},
		{"a sender with NUL", message("x\n", "a\x00@b.test", "b@far.test"), bad, ""},
		{"an empty recipient", message("x\n", "", ""), bad, ""},
		{"one unknown is bounced, the others get it", message("x\n", "a@far.test", "nobody@example.test", "joe@example.test"), ok, "a@far.test|nobody@example.test!mailbox-unknown joe@example.test|x\n"},
		{"all unknown", message("x\n", "a@far.test", "nobody@example.test"), "Dno mailbox here by that name: nobody@example.test (#5.1.1)", ""},
		{"trouble keeps the whole at the client", message("x\n", "", "joe@example.test", "joe@broken.test"), "Zthe directory of accounts cannot be read, please try again later (#4.3.0)", ""},
		{"bad sender", message("x\n", "x@bad.example", "joe@example.test"), "Dmail from this sender is refused: x@bad.example (#5.7.1)", ""},
		{"no recipients: nothing is queued", message("x\n", ""), "Kno recipients, nothing to deliver", ""},
		{"no recipients, a bad sender", message("x\n", "x@bad.example"), "Dmail from this sender is refused: x@bad.example (#5.7.1)", ""},
		{"what follows is not read", message("x\n", "", "b@far.test") + "more", ok, "|b@far.test|x\n"},
	} {
		w := newWorld(t, Options{})
		if got := w.talk(t, c.send); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		queued := ""
		for _, m := range w.queue.Take() {
			queued += m.From.String() + "|" + m.To() + "|" + m.Content()
		}
		if queued != c.queued || w.queue.Open != 0 {
			t.Errorf("%s: queued %q, want %q; %d drafts left", c.name, queued, c.queued, w.queue.Open)
		}
	}
}

func TestStrangersGetNoWord(t *testing.T) {
	t.Parallel()
	for _, client := range []string{"192.0.2.16", "203.0.113.1", "127.0.0.1"} {
		w := newWorld(t, Options{})
		w.client = client
		if got := w.talk(t, message("x\n", "", "joe@example.test")); got != "" || len(w.queue.Take()) != 0 {
			t.Errorf("%s: answered %q", client, got)
		}
	}
	w := newWorld(t, Options{Networks: []string{}})
	if got := w.talk(t, message("x\n", "", "joe@example.test")); got != "" {
		t.Errorf("without networks: %q", got)
	}
	for _, n := range []string{"0.0.0.0/0", "::/0", "x"} {
		if err := (&Options{Networks: []string{n}}).Validate(); err == nil {
			t.Errorf("%s: want an error", n)
		}
	}
}

func TestWrongFramingEndsTheConnection(t *testing.T) {
	t.Parallel()
	for _, send := range []string{
		"x", "0:,", "3:0:,,", "5:1:x,,", "4:9:x,", "8:1:x,0:,x", "12:1:x,0:,0:x,,", "99999999999999999999:", "9:1:x,0:,9:,", ns(ns("x") + "99:a,"),
		strings.TrimSuffix(message("x\n", "", "b@far.test"), ","), ns("5:x,0:,"),
	} {
		w := newWorld(t, Options{})
		if got := w.talk(t, send); got != "" || len(w.queue.Take()) != 0 || w.queue.Open != 0 {
			t.Errorf("%.40q: answered %q, %d drafts left", send, got, w.queue.Open)
		}
	}
}

func TestOverALimitTheClientTriesAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	client, server := net.Pipe()
	defer client.Close()
	go func() { w.Refuse(&serve.Conn{Conn: server}, serve.OverAll); server.Close() }()
	if p, _ := io.ReadAll(client); string(p) != "30:Ztoo many connections (#4.7.0)," {
		t.Errorf("%q", p)
	}
	w.queue.Fail = reason.QueueUnavailable
	if got := w.talk(t, message("x\n", "", "joe@example.test")); got != "Zqueue is not available, please try again later (#4.3.0)" {
		t.Error(got)
	}
}

func FuzzQMQP(f *testing.F) {
	f.Add([]byte(message("Subject: x\n\nhi\n", "a@far.test", "joe@example.test", "b@far.test")))
	f.Add([]byte("3:0:,,"))
	f.Add([]byte(message("x\n", "a@far.test")))
	f.Fuzz(func(t *testing.T, p []byte) {
		w := newWorld(t, Options{IdleTimeout: time.Second})
		got := w.talk(t, string(p))
		if n := len(w.queue.Take()); n > 1 || (n == 1) != strings.HasPrefix(got, "Kok ") || w.queue.Open != 0 {
			t.Errorf("%q: answered %q with %d messages", p, got, n)
		}
	})
}
