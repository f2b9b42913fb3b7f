package inject

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/dispatch"
	"github.com/postilion/postilion/internal/id"
	wire "github.com/postilion/postilion/internal/inject"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/policy"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/submit"
)

// fakeQueue keeps what was committed.
type fakeQueue struct {
	mu        sync.Mutex
	committed []kept
	aborted   int
	fail      error
	gate      chan struct{} // a commit waits for it to be closed; nil for none
}

type kept struct {
	env  mail.Envelope
	body string
}

func (q *fakeQueue) Begin(_ context.Context, env *mail.Envelope) (queue.Draft, error) {
	return &fakeDraft{q: q, env: env}, nil
}

type fakeDraft struct {
	q   *fakeQueue
	env *mail.Envelope
	b   bytes.Buffer
}

func (d *fakeDraft) Write(p []byte) (int, error) { return d.b.Write(p) }
func (d *fakeDraft) Abort()                      { d.q.mu.Lock(); d.q.aborted++; d.q.mu.Unlock() }
func (d *fakeDraft) Commit(context.Context) error {
	if d.q.gate != nil {
		<-d.q.gate
	}
	d.q.mu.Lock()
	defer d.q.mu.Unlock()
	if d.q.fail != nil {
		return d.q.fail
	}
	d.q.committed = append(d.q.committed, kept{*d.env, d.b.String()})
	return nil
}

func (q *fakeQueue) all() []kept {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.committed
}

// fakeRouter has joe; nobody and broken are in trouble, the rest is elsewhere.
type fakeRouter struct{}

func (fakeRouter) Route(_ context.Context, to mail.Address) (route.Route, error) {
	switch to.Local {
	case "joe":
		return route.Route{Kind: route.Mailbox, Local: true, Account: &directory.Account{ID: 1, Address: to}, Domain: &directory.Domain{Name: to.Domain}}, nil
	case "nobody":
		return route.Route{Kind: route.Refused, Local: true, Err: reason.MailboxUnknown.With(to.String())}, nil
	case "broken":
		return route.Route{}, reason.DirectoryUnavailable
	}
	return route.Route{Kind: route.Remote, Next: route.NextHop{Domain: to.Domain}}, nil
}

// fakeUsers has alias as this process's user where it says so, and one group.
type fakeUsers struct{ alias, wheel bool }

func (u fakeUsers) UID(name string) (uint32, bool) {
	return uint32(os.Getuid()), name == "alias" && u.alias || name == "me"
}
func (u fakeUsers) InGroup(_ uint32, group string) bool { return group == "wheel" && u.wheel }

type fakeView struct {
	flushed int
	retried []string
}

func (v *fakeView) List(_ context.Context, limit int, cursor string) ([]dispatch.Info, string, error) {
	if cursor == "" {
		return []dispatch.Info{{From: "a@b.example", Size: 5}}, "next", nil
	}
	return []dispatch.Info{{From: "c@d.example"}}, "", nil
}
func (v *fakeView) Flush(context.Context) (int, error) { v.flushed++; return 3, nil }
func (v *fakeView) Retry(_ context.Context, messages []id.ID, by string) (int, error) {
	for _, m := range messages {
		v.retried = append(v.retried, m.String()+" by "+by)
	}
	return len(messages), nil
}

// world is a server on a socket with its queue.
type world struct {
	t      *testing.T
	queue  *fakeQueue
	view   *fakeView
	server *Server
	client *wire.Client
	socket string
	stop   func()
}

func newWorld(t *testing.T, o Options, change func(*Deps, *policy.Options)) *world {
	t.Helper()
	w := &world{t: t, queue: new(fakeQueue), view: new(fakeView)}
	po := policy.Options{}
	d := Deps{Queue: w.view, Users: fakeUsers{}, Owner: func(uint32) bool { return false },
		Explain: func(_ context.Context, a string, test bool) string { return fmt.Sprintf("%s... %v\n", a, test) }}
	if change != nil {
		change(&d, &po)
	}
	p, err := policy.New(po)
	if err != nil {
		t.Fatal(err)
	}
	d.Submit = submit.New(submit.Options{Host: "mx.example.test"}, submit.Deps{Queue: w.queue, Router: fakeRouter{}, Policy: p, IDs: id.Source{}})
	o.Host = "mx.example.test"
	if w.server, err = New(o, d); err != nil {
		t.Fatal(err)
	}
	w.socket = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", w.socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.server.Serve(ctx, l) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(w.stop)
	w.client = &wire.Client{Socket: w.socket, Timeout: time.Minute}
	return w
}

func (w *world) send(e *wire.Envelope, content string) wire.Answer {
	w.t.Helper()
	a, err := w.client.Send(context.Background(), e, strings.NewReader(content), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func to(list ...string) (out []wire.Recipient) {
	for _, a := range list {
		out = append(out, wire.Recipient{To: a})
	}
	return out
}
