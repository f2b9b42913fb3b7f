package seam

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/rpc"
)

// role is the other side, which can be restarted on its socket.
type role struct {
	path     string
	handlers map[string]rpc.Handler
	prompts  map[string]rpc.Prompt
	stop     func()
}

func (r *role) start(t *testing.T) {
	t.Helper()
	l, err := net.Listen("unix", r.path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- (&rpc.Server{Handlers: r.handlers, Prompts: r.prompts}).Serve(ctx, l) }()
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// dial serves handlers and returns a client of them.
func dial(t *testing.T, handlers map[string]rpc.Handler) (*Client, *role) {
	t.Helper()
	return dialRole(t, &role{handlers: handlers})
}

// dialQueue serves q as its role does.
func dialQueue(t *testing.T, q queue.Enqueuer) Enqueuer {
	cl, _ := dialRole(t, &role{handlers: EnqueueHandlers(q), prompts: EnqueuePrompts(q)})
	return Enqueuer{cl}
}

func dialRole(t *testing.T, r *role) (*Client, *role) {
	t.Helper()
	r.path = filepath.Join(t.TempDir(), "s")
	r.start(t)
	cl := &Client{Client: rpc.NewClient(r.path)}
	t.Cleanup(func() { cl.Close(); r.stop() })
	return cl, r
}

type reader struct{ directory.Reader }

func (reader) Find(_ context.Context, domain string, locals []string) (directory.Found, error) {
	if domain != "a.example" {
		return directory.Found{}, fmt.Errorf("domain %s: %w", domain, directory.ErrNotFound)
	}
	return directory.Found{Domain: directory.Domain{Name: domain}, Local: locals[0],
		Account: &directory.Account{ID: 7, Address: mail.Address{Local: "joe\xff", Domain: domain}}}, nil
}

func TestDirectoryAnswersAndErrorsSurvive(t *testing.T) {
	t.Parallel()
	cl, r := dial(t, ReaderHandlers(reader{}))
	d := Directory{cl}
	ctx := context.Background()
	got, err := d.Find(ctx, "a.example", []string{"joe"})
	if err != nil || got.Account.ID != 7 || got.Local != "joe" {
		t.Errorf("have %+v, %v", got, err)
	}
	if _, err := d.Find(ctx, "b.example", []string{"joe"}); !errors.Is(err, directory.ErrNotFound) {
		t.Errorf("have %v, want ErrNotFound", err)
	}
	// A role that is restarted meanwhile is asked again.
	r.stop()
	answered := make(chan error, 1)
	go func() {
		_, err := d.Find(ctx, "a.example", []string{"joe"})
		answered <- err
	}()
	r.start(t)
	if err := <-answered; err != nil {
		t.Errorf("after a restart: %v", err)
	}
}

type service struct{ auth.Service }

func (service) Password(_ context.Context, a auth.Attempt, user, password string) (auth.Identity, error) {
	switch {
	case user == "blocked":
		return auth.Identity{}, auth.Blocked.With("30")
	case password != "right" || a.Client != netip.MustParseAddr("192.0.2.1"):
		return auth.Identity{}, auth.Failed
	}
	return auth.Identity{Account: 7, Address: user, Device: "phone"}, nil
}

func (service) SCRAM(_ context.Context, _ auth.Attempt, b []auth.ChannelBinding) (auth.Conversation, error) {
	if len(b) != 1 || string(b[0].Data) != "binding" {
		return nil, errors.New("no binding")
	}
	return new(echo), nil
}

// echo answers twice, and then is done; "wrong" fails.
type echo struct{ steps int }

func (e *echo) Step(_ context.Context, p []byte) ([]byte, bool, error) {
	if string(p) == "wrong" {
		return nil, false, auth.Failed
	}
	e.steps++
	return append([]byte("re:"), p...), e.steps == 2, nil
}
func (e *echo) Identity() auth.Identity { return auth.Identity{Account: 9} }
func (e *echo) Close() error            { return nil }

func TestAuthCarriesVerdictsAndConversations(t *testing.T) {
	t.Parallel()
	cl, _ := dial(t, AuthHandlers(service{}, auth.NewRevoked()))
	a, ctx := Auth{cl}, context.Background()
	attempt := auth.Attempt{Client: netip.MustParseAddr("192.0.2.1")}
	if who, err := a.Password(ctx, attempt, "joe", "right"); err != nil || who != (auth.Identity{Account: 7, Address: "joe", Device: "phone"}) {
		t.Errorf("have %+v, %v", who, err)
	}
	if _, err := a.Password(ctx, attempt, "joe", "wrong"); reason.As(err).Reason != auth.Failed.Reason || reason.As(err).Code != 535 {
		t.Errorf("have %v", err)
	}
	if _, err := a.Password(ctx, attempt, "blocked", ""); reason.As(err).Reason != auth.Blocked.Reason || reason.As(err).Args[0] != "30" {
		t.Errorf("have %v", err)
	}
	bindings := []auth.ChannelBinding{{Type: "tls-exporter", Data: []byte("binding")}}
	for range 3 {
		c, err := a.SCRAM(ctx, attempt, bindings)
		if err != nil {
			t.Fatal(err)
		}
		first, done, err := c.Step(ctx, []byte("one"))
		if string(first) != "re:one" || done || err != nil {
			t.Fatalf("have %q, %v, %v", first, done, err)
		}
		second, done, err := c.Step(ctx, nil)
		if string(second) != "re:" || !done || err != nil || c.Identity().Account != 9 {
			t.Fatalf("have %q, %v, %v, %+v", second, done, err, c.Identity())
		}
		c.Close()
		c, _ = a.SCRAM(ctx, attempt, bindings)
		if _, _, err := c.Step(ctx, []byte("wrong")); reason.As(err).Reason != auth.Failed.Reason {
			t.Fatalf("have %v", err)
		}
		c.Close()
		c, _ = a.SCRAM(ctx, attempt, bindings)
		c.Close()
	}
}

func TestChangedPasswordsAreHeardOfOverARestart(t *testing.T) {
	t.Parallel()
	revoked := auth.NewRevoked()
	cl, r := dial(t, AuthHandlers(service{}, revoked))
	a := Auth{cl}
	began, err := a.Revoked(t.Context(), auth.Mark{})
	if err != nil || began.Accounts != nil {
		t.Fatalf("%+v, %v", began, err)
	}
	heard := make(chan auth.Revocation)
	hear := func(m auth.Mark) {
		rev, err := a.Revoked(t.Context(), m)
		if err != nil {
			t.Error(err)
		}
		heard <- rev
	}
	go hear(began.Now)
	revoked.Add(7)
	got := <-heard
	if !cmp.Equal(got.Accounts, []uint64{7}) {
		t.Errorf("%+v", got)
	}
	go hear(got.Now)
	r.stop()
	anew := auth.NewRevoked()
	anew.Add(8)
	r.handlers = AuthHandlers(service{}, anew)
	r.start(t)
	if got = <-heard; !cmp.Equal(got.Accounts, []uint64{8}) {
		t.Errorf("after a restart: %+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Revoked(ctx, got.Now); err == nil {
		t.Error("no end")
	}
}

// secrets keeps what was set, and compares with it.
type secrets struct {
	auth.Service
	auth.Admin
	kept map[string]string
}

func (s *secrets) SetPassword(_ context.Context, _ uint64, password string) error {
	s.kept["password"] = password
	return nil
}
func (s *secrets) Password(_ context.Context, _ auth.Attempt, user, password string) (auth.Identity, error) {
	if password != s.kept["password"] {
		return auth.Identity{}, auth.Failed
	}
	return auth.Identity{Account: 7}, nil
}
func (s *secrets) APOP(_ context.Context, _ auth.Attempt, user, timestamp, digest string) (auth.Identity, error) {
	s.kept["apop"] = user + timestamp + digest
	return auth.Identity{Account: 7}, nil
}

func TestPasswordsOfAnyBytesSurvive(t *testing.T) {
	t.Parallel()
	s := &secrets{kept: map[string]string{}}
	cl, _ := dial(t, Handlers(AuthHandlers(s, nil), AuthAdminHandlers(s)))
	ctx := context.Background()
	for _, password := range []string{"", "plain", "\xe9t\xe9", "\xff\xfe", "가", "<&>\u2028\x7f", strings.Repeat("\x80", 4096)} {
		if err := (AuthAdmin{cl}).SetPassword(ctx, 7, password); err != nil || s.kept["password"] != password {
			t.Errorf("%q set as %q, %v", password, s.kept["password"], err)
		}
		if _, err := (Auth{cl}).Password(ctx, auth.Attempt{}, "joe", password); err != nil {
			t.Errorf("%q: %v", password, err)
		}
	}
	if _, err := (Auth{cl}).Password(ctx, auth.Attempt{}, "joe", strings.Repeat("\ufffd", 4096)); reason.As(err).Reason != auth.Failed.Reason {
		t.Errorf("another password: %v", err)
	}
	if _, err := (Auth{cl}).APOP(ctx, auth.Attempt{}, "jo\xff", "<1@\xfe>", "\x80d"); err != nil || s.kept["apop"] != "jo\xff<1@\xfe>\x80d" {
		t.Errorf("APOP came as %q, %v", s.kept["apop"], err)
	}
}

// store keeps what was committed.
type store struct {
	mu        sync.Mutex
	committed map[id.ID]*memoryDraft
	fail      error
	aborted   chan struct{}
}

type memoryDraft struct {
	store *store
	env   *mail.Envelope
	body  bytes.Buffer
	done  bool
}

func (s *store) Begin(_ context.Context, env *mail.Envelope) (queue.Draft, error) {
	return &memoryDraft{store: s, env: env}, nil
}
func (d *memoryDraft) Write(p []byte) (int, error) { return d.body.Write(p) }
func (d *memoryDraft) Commit(context.Context) error {
	d.done = true
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	if d.store.fail != nil {
		return d.store.fail
	}
	d.store.committed[d.env.ID] = d
	return nil
}
func (d *memoryDraft) Abort() {
	if !d.done && d.store.aborted != nil {
		close(d.store.aborted)
	}
}

func envelope(size int) *mail.Envelope {
	return &mail.Envelope{
		ID: id.Source{}.New(), Session: id.Source{}.New(), Accepted: time.Now().UTC().Round(0),
		From: mail.Address{Local: "sender", Domain: "a.example"},
		Recipients: []mail.Recipient{{To: mail.Address{Local: "joe", Domain: "b.example"}, ORcpt: "rfc822;x", Notify: mail.NotifyDelay},
			{To: mail.Address{Local: "no", Domain: "b.example"}, Refused: reason.DiskFull}},
		Client: netip.MustParseAddr("192.0.2.1"), HELO: "h\x01", Protocol: "ESMTP", Size: int64(size), Eight: true,
	}
}

func TestAMessageIsHandedInWhole(t *testing.T) {
	t.Parallel()
	s := &store{committed: map[id.ID]*memoryDraft{}}
	q, ctx := dialQueue(t, s), context.Background()
	var wg sync.WaitGroup
	for _, size := range []int{0, 1, 10 << 10, pieceSize, pieceSize + 1, 3 << 20} {
		wg.Go(func() {
			env, body := envelope(size), bytes.Repeat([]byte("x"), size)
			d, err := q.Begin(ctx, env)
			if err != nil {
				t.Error(err)
				return
			}
			defer d.Abort()
			for p := body; len(p) > 0; {
				n := min(len(p), 4097)
				d.Write(p[:n])
				p = p[n:]
			}
			env.CRLFSize = 5 // known last
			if err := d.Commit(ctx); err != nil {
				t.Errorf("%d bytes: %v", size, err)
				return
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			got := s.committed[env.ID]
			if !bytes.Equal(got.body.Bytes(), body) {
				t.Errorf("%d bytes came as %d", size, got.body.Len())
			}
			if diff := cmp.Diff(env, got.env, cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
	wg.Wait()
}

func TestTheCommitsErrorComesBack(t *testing.T) {
	t.Parallel()
	s := &store{fail: reason.DiskFull.Because(queue.ErrInDoubt)}
	d, err := dialQueue(t, s).Begin(context.Background(), envelope(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(context.Background()); reason.As(err).Reason != reason.DiskFull.Reason || !errors.Is(err, queue.ErrInDoubt) {
		t.Errorf("have %v", err)
	}
}

func TestAnAbortedMessageIsDropped(t *testing.T) {
	t.Parallel()
	s := &store{aborted: make(chan struct{})}
	d, err := dialQueue(t, s).Begin(context.Background(), envelope(1))
	if err != nil {
		t.Fatal(err)
	}
	d.Write(bytes.Repeat([]byte("x"), 1<<20))
	d.Abort()
	<-s.aborted
}

func TestAQueueThatIsAwayIsTemporary(t *testing.T) {
	t.Parallel()
	q := Enqueuer{NewClient(func(context.Context) (net.Conn, error) { return nil, errors.New("refused") })}
	if _, err := q.Begin(context.Background(), envelope(1)); reason.As(err).Reason != reason.QueueUnavailable.Reason {
		t.Errorf("have %v", err)
	}
}

// target reads each body as often as reads says.
type target struct{ reads int }

func (g target) Deliver(_ context.Context, job *deliver.Job) []deliver.Verdict {
	var sums []string
	for range g.reads {
		r, err := job.Body()
		if err != nil {
			sums = append(sums, err.Error())
			break
		}
		n, err := io.Copy(io.Discard, r)
		r.Close()
		sums = append(sums, fmt.Sprint(n, err))
	}
	verdicts := make([]deliver.Verdict, len(job.Recipients))
	for i, rcpt := range job.Recipients {
		verdicts[i] = deliver.Verdict{Text: rcpt.To.String() + " " + strings.Join(sums, ","), Host: job.Next.Host, RetryAfter: time.Minute}
		if i == 1 {
			verdicts[i].Err = reason.DiskFull.Because(errors.New("a cause"))
		}
	}
	return verdicts
}

func job(size int, body func() (io.ReadCloser, error)) *deliver.Job {
	if body == nil {
		body = func() (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(strings.Repeat("x", size))), nil
		}
	}
	env := envelope(size)
	return &deliver.Job{Envelope: env, Attempt: id.Source{}.New(), Body: body, Next: &route.NextHop{Host: "mx.example"},
		Recipients: []deliver.Recipient{{N: 0, To: env.Recipients[0].To}, {N: 1, To: env.Recipients[1].To}}}
}

func TestADeliveryReadsTheBodyAsOftenAsItLikes(t *testing.T) {
	t.Parallel()
	for _, reads := range []int{0, 1, 3} {
		cl, _ := dial(t, TargetHandlers("deliver.remote", target{reads}))
		for _, size := range []int{0, 5, eagerBody, eagerBody + 1, 1 << 20} {
			got := Target{cl, "deliver.remote"}.Deliver(context.Background(), job(size, nil))
			want := strings.TrimSuffix(strings.Repeat(fmt.Sprint(size, " <nil>,"), reads), ",")
			if len(got) != 2 || got[0].Text != "joe@b.example "+want || got[0].Err != nil || got[0].Host != "mx.example" {
				t.Fatalf("%d bytes, %d reads: %+v", size, reads, got)
			}
			if e := got[1].Err; e == nil || e.Reason != reason.DiskFull.Reason || e.Cause.Error() != "a cause" {
				t.Errorf("have %+v", e)
			}
		}
	}
}

// captured is a target that keeps the job it got.
type captured struct{ job *deliver.Job }

func (c *captured) Deliver(_ context.Context, job *deliver.Job) []deliver.Verdict {
	c.job = job
	return make([]deliver.Verdict, len(job.Recipients))
}

// TestAJobCarriesItsOwnRecipientsAlone: hundreds of deliveries of one message to a hundred thousand may run at once.
func TestAJobCarriesItsOwnRecipientsAlone(t *testing.T) {
	t.Parallel()
	got := &captured{}
	cl, _ := dial(t, TargetHandlers("deliver.remote", got))
	j := job(5, nil)
	j.Envelope.Recipients = make([]mail.Recipient, 100_000)
	j.Recipients[1].N, j.Recipients[1].ORcpt, j.Recipients[1].Notify = 99_999, "rfc822;x", mail.NotifyDelay
	if v := (Target{cl, "deliver.remote"}).Deliver(t.Context(), j); v[0].Err != nil || v[1].Err != nil {
		t.Fatalf("%+v", v)
	}
	if diff := cmp.Diff(j.Recipients, got.job.Recipients); diff != "" {
		t.Error(diff)
	}
	if got.job.Envelope.ID != j.Envelope.ID || len(got.job.Envelope.Recipients) != 0 || len(j.Envelope.Recipients) != 100_000 {
		t.Errorf("the envelope came with %d recipients", len(got.job.Envelope.Recipients))
	}
}

func TestABodyThatCannotBeReadDefersAll(t *testing.T) {
	t.Parallel()
	cl, _ := dial(t, TargetHandlers("deliver.remote", target{1}))
	for _, size := range []int{5, 1 << 20} {
		got := Target{cl, "deliver.remote"}.Deliver(context.Background(),
			job(size, func() (io.ReadCloser, error) { return nil, errors.New("no such spool file") }))
		for _, v := range got {
			if v.Err == nil || v.Err.Class != reason.Temporary || !strings.Contains(v.Err.Error(), "no such spool file") {
				t.Errorf("have %+v", v)
			}
		}
	}
	if got := (Target{cl, "deliver.remote"}).Deliver(context.Background(), job(5, nil)); got[0].Err != nil {
		t.Errorf("afterwards: %+v", got)
	}
}

func TestARoleThatIsAwayDefersAll(t *testing.T) {
	t.Parallel()
	cl := NewClient(func(context.Context) (net.Conn, error) { return nil, errors.New("refused") })
	for _, v := range (Target{cl, "deliver.remote"}).Deliver(context.Background(), job(5, nil)) {
		if v.Err == nil || v.Err.Class != reason.Temporary {
			t.Errorf("have %+v", v)
		}
	}
}

func BenchmarkEnqueue10KiB(b *testing.B) {
	s := &store{committed: map[id.ID]*memoryDraft{}}
	path := filepath.Join(b.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go (&rpc.Server{Handlers: EnqueueHandlers(s), Prompts: EnqueuePrompts(s)}).Serve(ctx, l)
	q, body := Enqueuer{&Client{Client: rpc.NewClient(path)}}, bytes.Repeat([]byte("x"), 10<<10)
	for b.Loop() {
		env := envelope(len(body))
		d, err := q.Begin(ctx, env)
		if err != nil {
			b.Fatal(err)
		}
		d.Write(body)
		if err := d.Commit(ctx); err != nil {
			b.Fatal(err)
		}
		delete(s.committed, env.ID)
	}
}
