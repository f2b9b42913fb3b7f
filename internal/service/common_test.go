package service

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/control/rolecall"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/rpc"
)

// A role whose store is deadlocked still reads its sockets.
func TestARoleIsAliveWhenWhatItKeepsAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := make(chan struct{})
		queue := &part{role: role.Queue, seam: map[string]rpc.Handler{}, admin: map[string]rpc.Handler{}, alive: func(context.Context) { <-store }}
		new(process).addCommon(queue)
		for what, handlers := range map[string]map[string]rpc.Handler{"admin": queue.admin, "office": officeHandlers(queue)} {
			answered := make(chan error, 1)
			go func() {
				_, err := handlers[rolecall.MethodAlive](t.Context(), nil, []byte("{}"))
				answered <- err
			}()
			synctest.Wait()
			select {
			case <-answered:
				t.Errorf("%s: alive, and its store hangs", what)
			default:
			}
			store <- struct{}{}
			if err := <-answered; err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

// A stopped role's socket stays open: what was asked there meanwhile is read when the role is back, though whoever asked
// was told that it failed.
func TestWhatNobodyWaitsForAnyMoreIsNotDone(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	path := control.SocketPath(data, "queue-admin")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", path) // on which nobody accepts yet
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
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
