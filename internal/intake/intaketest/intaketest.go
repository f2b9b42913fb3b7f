// Package intaketest is a queue in memory and a router of a few addresses, for tests of protocols.
package intaketest

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/policy"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/serve"
	"github.com/postilion/postilion/internal/submit"
)

// Epoch is what the clocks show.
var Epoch = time.Date(2026, 11, 21, 19, 31, 43, 0, time.UTC)

// Message is one that was committed.
type Message struct {
	mail.Envelope
	Body string
}

// To writes the recipients in a line; a refused one has its code behind it.
func (m Message) To() string {
	var list []string
	for _, r := range m.Envelope.Recipients {
		s := r.To.String()
		if r.Refused != nil {
			s += "!" + string(r.Refused.Reason)
		}
		list = append(list, s)
	}
	return strings.Join(list, " ")
}

// Content is the body without the Received field.
func (m Message) Content() string {
	_, rest, _ := strings.Cut(m.Body, "0000\n")
	return rest
}

// Queue keeps what was committed. Fail, when set, is Commit's error. It also fails for senders by
// their local parts: queue-down when a message begins, write-fails, commit-fails.
type Queue struct {
	mu       sync.Mutex
	messages []Message
	Open     int // drafts neither committed nor aborted
	Fail     error
}

// Begin implements queue.Enqueuer.
func (q *Queue) Begin(_ context.Context, env *mail.Envelope) (queue.Draft, error) {
	if env.From.Local == "queue-down" {
		return nil, reason.QueueUnavailable
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.Open++
	return &draft{q: q, env: env}, nil
}

// Take returns the messages and forgets them.
func (q *Queue) Take() []Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	m := q.messages
	q.messages = nil
	return m
}

type draft struct {
	q    *Queue
	env  *mail.Envelope
	body bytes.Buffer
	over bool
}

func (d *draft) Write(p []byte) (int, error) {
	if d.env.From.Local == "write-fails" {
		return 0, reason.DiskFull
	}
	return d.body.Write(p)
}

func (d *draft) Commit(context.Context) error {
	d.Abort()
	if d.q.Fail != nil {
		return d.q.Fail
	}
	if d.env.From.Local == "commit-fails" {
		return reason.QueueUnavailable
	}
	d.q.mu.Lock()
	defer d.q.mu.Unlock()
	env := *d.env
	env.Recipients = append([]mail.Recipient(nil), env.Recipients...)
	env.Eight = mail.HasEight(d.body.Bytes())
	d.q.messages = append(d.q.messages, Message{env, d.body.String()})
	return nil
}

func (d *draft) Abort() {
	d.q.mu.Lock()
	defer d.q.mu.Unlock()
	if !d.over {
		d.over = true
		d.q.Open--
	}
}

// Router has joe and ann at example.test; broken.test is temporary trouble, the rest is elsewhere.
type Router struct{}

// Route implements route.Router.
func (Router) Route(_ context.Context, to mail.Address) (route.Route, error) {
	switch strings.ToLower(to.Domain) {
	case "broken.test":
		return route.Route{}, reason.DirectoryUnavailable
	case "example.test", "":
	default:
		return route.Route{Kind: route.Remote, Final: to, Next: route.NextHop{Domain: to.Domain}}, nil
	}
	r := route.Route{Local: true, Final: to, Domain: &directory.Domain{Name: "example.test"}}
	if to.Local == "joe" || to.Local == "ann" {
		r.Kind, r.Account = route.Mailbox, &directory.Account{ID: 1, Address: to}
	} else {
		r.Err = reason.MailboxUnknown.With(to.String())
	}
	return r, nil
}

// Submitter makes one on q.
func Submitter(t testing.TB, q *Queue, o policy.Options) *submit.Submitter {
	t.Helper()
	p, err := policy.New(o)
	if err != nil {
		t.Fatal(err)
	}
	c := clock.NewFake(Epoch)
	return submit.New(submit.Options{Host: "mx.example.test"}, submit.Deps{Queue: q, Router: Router{}, Policy: p, Clock: c, IDs: id.Source{Clock: c}})
}

// Loopback returns both ends of a TCP connection.
func Loopback(t testing.TB) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// Session starts a session of h over loopback, as from client, and returns the client's end and a
// function that waits for the session's end. Both end with the test.
func Session(ctx context.Context, t testing.TB, h serve.Handler, client string) (conn net.Conn, wait func()) {
	t.Helper()
	conn, server := Loopback(t)
	conn.SetDeadline(time.Now().Add(time.Minute))
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer server.Close()
		h.Serve(ctx, &serve.Conn{Conn: server, ID: id.Source{}.New(), Started: Epoch,
			Client: netip.AddrPortFrom(netip.MustParseAddr(client), 4711), Server: netip.MustParseAddrPort("127.0.0.1:25")})
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return conn, func() { <-done }
}
