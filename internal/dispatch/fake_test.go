package dispatch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/bounce"
	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/trace/tracetest"
)

// fakeStore is a queue in memory that can be told to fail.
type fakeStore struct {
	mu       sync.Mutex
	messages map[id.ID]*fakeMessage
	order    []id.ID
	take     func(queue.Claimed)
	fail     func(what string) error // asked before each operation; nil never fails
	after    func(what string) error // asked after a Finish took effect
	loads    int
	fence    uint64        // of the present Claim
	over     chan struct{} // ends it
	finished []id.ID
	history  map[id.ID]*fakeMessage // finished ones
}

type fakeMessage struct {
	env    *mail.Envelope
	states []queue.RecipientState
	held   bool
	body   []byte
}

func newStore() *fakeStore {
	return &fakeStore{messages: make(map[id.ID]*fakeMessage), history: make(map[id.ID]*fakeMessage)}
}

func (s *fakeStore) failing(what string) error {
	s.mu.Lock()
	f := s.fail
	s.mu.Unlock()
	if f == nil {
		return nil
	}
	return f(what)
}

type fakeDraft struct {
	s    *fakeStore
	env  *mail.Envelope
	body bytes.Buffer
}

func (s *fakeStore) Begin(_ context.Context, env *mail.Envelope) (queue.Draft, error) {
	if err := s.failing("begin"); err != nil {
		return nil, err
	}
	return &fakeDraft{s: s, env: env}, nil
}

// Restore is not called by a dispatcher.
func (s *fakeStore) Restore(context.Context, *queue.Message) (queue.Draft, error) {
	return nil, errors.New("not asked by a dispatcher")
}

func (f *fakeDraft) Write(p []byte) (int, error) { return f.body.Write(p) }
func (f *fakeDraft) Abort()                      {}
func (f *fakeDraft) Commit(context.Context) error {
	if err := f.s.failing("commit"); err != nil {
		return err
	}
	f.s.mu.Lock()
	m := f.s.add(f)
	take := f.s.take
	f.s.mu.Unlock()
	if take != nil {
		take(m)
	}
	return nil
}

func (s *fakeStore) add(f *fakeDraft) queue.Claimed {
	env := *f.env
	m := &fakeMessage{env: &env, body: bytes.Clone(f.body.Bytes())}
	env.Size = int64(len(m.body))
	env.CRLFSize = env.Size + int64(bytes.Count(m.body, []byte("\n")))
	for n := range env.Recipients {
		m.states = append(m.states, queue.RecipientState{N: n})
	}
	s.messages[env.ID] = m
	s.order = append(s.order, env.ID)
	return s.claimed(m)
}

func (s *fakeStore) claimed(m *fakeMessage) queue.Claimed {
	return queue.Claimed{
		Message: &queue.Message{Envelope: m.env, States: slices.Clone(m.states), Held: m.held},
		Lease:   queue.Lease{Message: m.env.ID, Fence: s.fence},
	}
}

func (s *fakeStore) Claim(ctx context.Context, take func(queue.Claimed)) error {
	s.mu.Lock()
	s.take = take
	s.fence++
	s.over = make(chan struct{})
	over := s.over
	var all []queue.Claimed
	for _, v := range s.order {
		if m := s.messages[v]; m != nil {
			all = append(all, s.claimed(m))
		}
	}
	s.mu.Unlock()
	for _, c := range all {
		take(c)
	}
	take(queue.Claimed{})
	select {
	case <-ctx.Done():
	case <-over:
	}
	s.mu.Lock()
	s.take = nil
	s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	return queue.ErrLeaseLost
}

func (s *fakeStore) Heartbeat(context.Context, []queue.Lease) ([]queue.Lease, error) { return nil, nil }

func (s *fakeStore) Load(_ context.Context, message id.ID) (*queue.Message, error) {
	if err := s.failing("load"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loads++
	m := s.messages[message]
	if m == nil {
		return nil, queue.ErrNotFound
	}
	return s.claimed(m).Message, nil
}

type fakeBody struct{ *bytes.Reader }

func (fakeBody) Close() error { return nil }

func (s *fakeStore) Body(_ context.Context, message id.ID) (queue.Body, error) {
	if err := s.failing("body"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.messages[message]
	if m == nil {
		return nil, queue.ErrNotFound
	}
	return fakeBody{bytes.NewReader(m.body)}, nil
}

func (s *fakeStore) Finish(_ context.Context, lease queue.Lease, states []queue.RecipientState, drafts ...queue.Draft) error {
	if err := s.failing("finish"); err != nil {
		return err
	}
	s.mu.Lock()
	m := s.messages[lease.Message]
	if m == nil || lease.Fence != s.fence {
		s.mu.Unlock()
		if m != nil {
			return queue.ErrLeaseLost
		}
		return queue.ErrNotFound
	}
	for _, x := range states {
		m.states[x.N] = x
	}
	done := true
	for _, x := range m.states {
		done = done && (x.State == queue.Delivered || x.State == queue.Done)
	}
	if done {
		delete(s.messages, lease.Message)
		s.finished = append(s.finished, lease.Message)
		if s.history != nil {
			s.history[lease.Message] = m
		}
	}
	var made []queue.Claimed
	for _, x := range drafts {
		made = append(made, s.add(x.(*fakeDraft)))
	}
	take, after := s.take, s.after
	s.mu.Unlock()
	if take != nil {
		for _, c := range made {
			take(c)
		}
	}
	if after != nil {
		return after("finish")
	}
	return nil
}

func (s *fakeStore) LoadEach(_ context.Context, messages []id.ID, visit func(*queue.Message) bool) error {
	if err := s.failing("load"); err != nil {
		return err
	}
	messages = slices.Clone(messages)
	slices.SortFunc(messages, compareIDs)
	for _, v := range messages {
		s.mu.Lock()
		m := s.messages[v]
		var c *queue.Message
		if m != nil {
			s.loads++
			c = s.claimed(m).Message
		}
		s.mu.Unlock()
		if c != nil && !visit(c) {
			break
		}
	}
	return nil
}

func (s *fakeStore) Revise(_ context.Context, messages []id.ID, change func(*queue.Message) queue.Revision) error {
	if err := s.failing("revise"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range messages {
		m := s.messages[v]
		if m == nil {
			continue
		}
		env := *m.env
		env.Recipients = slices.Clone(env.Recipients)
		x := &queue.Message{Envelope: &env, States: slices.Clone(m.states), Held: m.held}
		switch change(x) {
		case queue.Change:
			m.env, m.states, m.held = x.Envelope, x.States, x.Held
		case queue.Drop:
			delete(s.messages, v)
		}
	}
	return nil
}

func (s *fakeStore) Backup(context.Context, string) error { return errors.ErrUnsupported }
func (s *fakeStore) Close() error                         { return nil }

// state returns a recipient's recorded state, also of a finished message.
func (s *fakeStore) state(message id.ID, n int) queue.RecipientState {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.messages[message]
	if m == nil {
		m = s.history[message]
	}
	return m.states[n]
}

func (s *fakeStore) left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.messages)
}

// routes sends here.test to mailboxes and the rest away; fwd-* are aliases of others,
// loop-* of themselves.
type routes struct{ err func(mail.Address) error }

func (r routes) Route(_ context.Context, to mail.Address) (route.Route, error) {
	if r.err != nil {
		if err := r.err(to); err != nil {
			return route.Route{}, err
		}
	}
	switch {
	case to.Domain != "here.test":
		return route.Route{Kind: route.Remote, Final: to, Next: route.NextHop{Domain: to.Domain}}, nil
	case to.Local == "nobody":
		return route.Route{Kind: route.Refused, Err: noMailbox}, nil
	case to.Local == "loop":
		return route.Route{Kind: route.Forward, Final: to, Targets: []mail.Address{to}}, nil
	case strings.HasPrefix(to.Local, "sys"):
		name, ext, _ := strings.Cut(to.Local, "-")
		return route.Route{Kind: route.SystemUser, Local: true, Final: to, User: &route.User{Name: name, UID: 1000, GID: 1000, Home: "/home", Dash: "-", Ext: ext, Local: to.Local, Host: to.Domain}}, nil
	case to.Local == "drop":
		return route.Route{Kind: route.Discard, Local: true, Final: to}, nil
	case to.Local == "owned":
		return route.Route{Kind: route.Forward, Local: true, Final: to, Targets: []mail.Address{{Local: "a", Domain: "here.test"}}, Owner: mail.Address{Local: "owner", Domain: "here.test"}}, nil
	case to.Local == "two":
		return route.Route{Kind: route.Forward, Final: to, Targets: []mail.Address{{Local: "a", Domain: "here.test"}, {Local: "b", Domain: "far.test"}}}, nil
	}
	return route.Route{Kind: route.Mailbox, Local: true, Final: to, Account: &directory.Account{ID: 7, Address: to}}, nil
}

var (
	noMailbox = &reason.Error{Class: reason.Permanent, Code: 550, Enhanced: "5.1.1", Reason: "mailbox-unknown"}
	noConnect = &reason.Error{Class: reason.Temporary, Code: 451, Enhanced: "4.4.1", Reason: "connect-failed"}
	greylist  = &reason.Error{Class: reason.Temporary, Code: 450, Enhanced: "4.7.1", Reason: "greylisted", Remote: "450 4.7.1 come back"}
)

// target is a deliver.Target that asks a function for each recipient.
type target func(job *deliver.Job, r deliver.Recipient) deliver.Verdict

func (f target) Deliver(ctx context.Context, job *deliver.Job) []deliver.Verdict {
	out := make([]deliver.Verdict, len(job.Recipients))
	for i, r := range job.Recipients {
		out[i] = f(job, r)
	}
	return out
}

func delivered(*deliver.Job, deliver.Recipient) deliver.Verdict { return deliver.Verdict{} }

// house is a dispatcher with fakes around it.
type house struct {
	*Dispatcher
	store  *fakeStore
	events *tracetest.Events
	mailed []*fakeMessage // what the mailbox got
	forgot atomic.Int64   // calls of ForgetHosts
	mu     sync.Mutex
}

type plan struct {
	options   Options
	mailbox   deliver.Target
	remote    deliver.Target
	router    route.Router
	store     *fakeStore
	queueOnly func() bool
	folder    fs.FS
}

func build(t testing.TB, p plan) *house {
	t.Helper()
	h := &house{store: p.store, events: new(tracetest.Events)}
	if h.store == nil {
		h.store = newStore()
	}
	if p.router == nil {
		p.router = routes{}
	}
	if p.mailbox == nil {
		p.mailbox = target(h.keepMail)
	}
	if p.remote == nil {
		p.remote = target(delivered)
	}
	d, err := New(p.options, Deps{
		Store: h.store, Router: p.router, Mailbox: p.mailbox, Remote: p.remote,
		Bouncer: &bounce.Builder{Name: "mx.here.test"}, Recorder: h.events, QueueOnly: p.queueOnly, Folder: p.folder,
		ForgetHosts: func(context.Context) error { h.forgot.Add(1); return errors.New("is told, and does not keep a flush") },
	})
	if err != nil {
		t.Fatal(err)
	}
	h.Dispatcher = d
	return h
}

func (h *house) keepMail(job *deliver.Job, r deliver.Recipient) deliver.Verdict {
	b, err := job.Body()
	if err != nil {
		return deliver.Verdict{Err: reason.LocalError.Because(err)}
	}
	defer b.Close()
	body, _ := io.ReadAll(b)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mailed = append(h.mailed, &fakeMessage{env: job.Envelope, body: body})
	return deliver.Verdict{Text: "mailbox " + r.Dest}
}

// start runs the dispatcher; the returned function stops it and waits.
func (h *house) start() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
		h.check()
	}
}

// check sees after every test that the schedule is in order: what is counted is what is there, and nothing
// is left of what went.
func (h *house) check() {
	h.Dispatcher.mu.Lock()
	defer h.Dispatcher.mu.Unlock()
	var want sums
	tasks, cells := 0, 0
	for m := range h.messages.all() {
		want.add(m)
		busy := int32(0)
		for t := range h.tasksOf(m) {
			tasks++
			h.checkTask(m, t)
			if t.busy {
				busy++
			}
			for range h.recipients.of(t.recipients) {
				cells++
			}
		}
		if m.gone || m.busy != busy || h.byID.find(m.id) != m.self {
			panic(fmt.Sprintf("message %+v has %d busy tasks", m, busy))
		}
	}
	if h.sums != want {
		panic(fmt.Sprintf("the sums are %+v, want %+v", h.sums, want))
	}
	if h.byID.n != h.messages.n || tasks != h.tasks.n || cells != h.recipients.cells.n {
		panic(fmt.Sprintf("%d messages, %d tasks, %d recipients; kept are %d, %d, %d", h.byID.n, tasks, cells, h.messages.n, h.tasks.n, h.recipients.cells.n))
	}
	for n := range h.contents {
		if h.find(h.messages.at(n).id) == nil {
			panic("content of no message")
		}
	}
	for n := range h.preps {
		if !h.tasks.at(n).busy {
			panic("a task is prepared and not busy")
		}
	}
	inLanes := 0
	for _, l := range h.lanes.all {
		if l != nil {
			inLanes += len(l.wait) + len(l.ready)
		}
	}
	for t := range h.tasks.all() {
		if t.where == nowhere || t.where == running {
			inLanes++
		}
	}
	if inLanes != tasks {
		panic(fmt.Sprintf("%d of %d tasks are in a place", inLanes, tasks))
	}
}

// checkTask sees that a task is where it says.
func (h *house) checkTask(m *message, t *task) {
	l := h.laneOf(t)
	ok := t.msg == m.self
	switch t.where {
	case waiting, parked:
		ok = ok && l.wait[t.pos] == t.self
	case ready:
		ok = ok && l.ready[t.pos] == t.self
	case nowhere:
		ok = ok && l == nil
	}
	if !ok {
		panic(fmt.Sprintf("task %+v of message %+v", t, m))
	}
}

const sample = "Received: from a.test by here.test\nSubject: hello\nFrom: <joe@a.test>\n\nbody\n"

// letter returns an envelope to recipients.
func letter(from string, to ...string) *mail.Envelope {
	env := &mail.Envelope{ID: id.Source{}.New(), Accepted: time.Now(), From: mail.ParseAddress(from), Size: int64(len(sample))}
	for _, r := range to {
		env.Recipients = append(env.Recipients, mail.Recipient{To: mail.ParseAddress(r)})
	}
	return env
}

func (h *house) send(t testing.TB, env *mail.Envelope) id.ID {
	t.Helper()
	d, err := h.store.Begin(context.Background(), env)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(d, sample)
	if err := d.Commit(context.Background()); err != nil {
		t.Fatal(err)
	}
	return env.ID
}
