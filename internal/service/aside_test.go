package service

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/rpc"
)

// listenUnix binds a socket of a data folder, on which nobody accepts yet.
func listenUnix(t *testing.T, data, name string) net.Listener {
	t.Helper()
	path := control.SocketPath(data, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// serveAlive has a role answer that it is alive.
func serveAlive(t *testing.T, l net.Listener) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	server := &rpc.Server{Handlers: map[string]rpc.Handler{methodAlive: rpc.Handle(func(context.Context, none) (none, error) { return none{}, nil })}}
	go func() { done <- server.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

// Mail that cannot be set aside would be the next account's of that name.
func TestAnAccountIsRemovedWhenEveryRoleThatKeepsSomethingOfItAnswers(t *testing.T) {
	t.Parallel()
	for _, hangs := range append([]Role{""}, removers...) {
		data := t.TempDir()
		for _, r := range removers {
			l := listenUnix(t, data, adminSocket(r))
			if r != hangs {
				serveAlive(t, l)
			}
		}
		ctx, cancel := t.Context(), context.CancelFunc(func() {})
		if hangs != "" {
			ctx, cancel = context.WithTimeout(ctx, 200*time.Millisecond) // less than the patience, of which another test tells
		}
		err := (&Stores{Data: data, Running: true}).CanRemove(ctx)
		cancel()
		if (err != nil) != (hangs != "") {
			t.Errorf("role %q hangs: %v", hangs, err)
		}
	}
}

// A stopped role's socket stays open: what was asked there meanwhile is read when the role is back, though whoever asked
// was told that it failed.
func TestWhatNobodyWaitsForAnyMoreIsNotDone(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	l := listenUnix(t, data, "queue-admin")
	gaveUp, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	cl := control.Client(data, "queue-admin")
	if _, err := rpc.Do[none, none](gaveUp, cl, "act", none{}); err == nil {
		t.Fatal("a role that is stopped answers")
	}
	cl.Close()

	var done atomic.Int32
	handlers := map[string]rpc.Handler{"act": rpc.Handle(func(context.Context, none) (none, error) {
		done.Add(1)
		return none{}, nil
	})}
	whileAsked(handlers)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- (&rpc.Server{Handlers: handlers}).Serve(ctx, l) }()
	again := control.Client(data, "queue-admin")
	for range 2 { // the second on the same connection
		if _, err := rpc.Do[none, none](t.Context(), again, "act", none{}); err != nil {
			t.Error(err)
		}
	}
	again.Close()
	cancel()
	<-ended // with every handler
	if n := done.Load(); n != 2 {
		t.Errorf("done %d times, asked twice by who waited", n)
	}
}
