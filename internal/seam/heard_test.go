package seam

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/rpc"
)

// heldRole is a role whose socket the supervisor holds: while no process serves it, calls wait there.
type heldRole struct {
	held *net.UnixListener
	*role
}

func holdRole(t *testing.T, handlers map[string]rpc.Handler) (*heldRole, Directory) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	h := &heldRole{held: l.(*net.UnixListener), role: &role{path: path, handlers: handlers}}
	cl := &Client{Client: rpc.NewClient(path), Answer: time.Hour, Silent: time.Hour}
	t.Cleanup(func() { cl.Close(); l.Close() })
	return h, Directory{cl}
}

func (h *heldRole) start(t *testing.T) {
	t.Helper()
	f, err := h.held.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- (&rpc.Server{Handlers: h.handlers}).Serve(ctx, l) }()
	h.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func (d Directory) joe(t *testing.T) error {
	_, err := d.Find(t.Context(), "a.example", []string{"joe"})
	return err
}

func TestACallWaitsForARestartOfARoleButNotForOneThatStaysAway(t *testing.T) {
	t.Parallel()
	changes := new(directory.Generations)
	changes.Set(5)
	r, d := holdRole(t, Handlers(ReaderHandlers(reader{}), ChangesHandlers(changes)))
	ctx, cancel := context.WithCancel(t.Context())
	var here directory.Generations
	followed := make(chan error, 1)
	go func() { followed <- d.Follow(ctx, &here) }()
	defer func() { cancel(); <-followed }()
	r.start(t)
	if _, err := here.Changed(t.Context(), 0); err != nil {
		t.Fatal(err)
	}

	r.stop()
	silent := func(want bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); d.Client.heard.silent.Load() != want; <-time.After(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("it is not known that silent is %v", want)
			}
		}
	}
	silent(true) // though nobody asked
	d.Client.Silent = time.Millisecond
	if err := d.joe(t); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while the role is away: %v", err)
	}

	d.Client.Silent = time.Hour
	answered := make(chan error, 1)
	go func() { answered <- d.joe(t) }()
	r.start(t)
	defer func() { r.stop() }()
	if err := <-answered; err != nil {
		t.Errorf("over a restart: %v", err)
	}
	silent(false)
}

func TestARoleThatHangsIsWaitedForOnceAndThenForAMoment(t *testing.T) {
	t.Parallel()
	var hangs atomic.Bool
	hangs.Store(true)
	find := ReaderHandlers(reader{})["directory.find"]
	r, d := holdRole(t, map[string]rpc.Handler{"directory.find": func(ctx context.Context, c *rpc.Conn, p []byte) ([]byte, error) {
		if hangs.Load() {
			<-ctx.Done()
		}
		return find(ctx, c, p)
	}})
	r.start(t)
	defer func() { r.stop() }()
	for _, bounds := range [][2]time.Duration{{time.Millisecond, time.Hour}, {time.Hour, time.Millisecond}} {
		d.Client.Answer, d.Client.Silent = bounds[0], bounds[1]
		if err := d.joe(t); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("have %v", err)
		}
	}
	d.Client.Silent = time.Hour
	hangs.Store(false)
	if err := d.joe(t); err != nil {
		t.Error(err)
	}
	if d.Client.heard.silent.Load() {
		t.Error("a role that answered is held for one that does not")
	}
}
