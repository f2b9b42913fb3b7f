package rpc

import (
	"context"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"
)

// soon makes a call that waits as an acceptance does.
func soon(t *testing.T, cl *Client, n int) {
	t.Helper()
	s, err := cl.Open(t.Context(), "double", []byte(strconv.Itoa(n)))
	if err != nil {
		t.Error(err)
		return
	}
	if p, err := s.ReplySoon(); err != nil || string(p) != strconv.Itoa(2*n) {
		t.Errorf("%d: %q, %v", n, p, err)
	}
}

func TestWhoStaysAwakeGetsTheSameReplies(t *testing.T) {
	t.Parallel()
	cl := serve(t, &Server{Handlers: map[string]Handler{
		"double": Handle(func(_ context.Context, n int) (int, error) { return 2 * n, nil }),
	}})
	var wg sync.WaitGroup
	for i := range 4 {
		for n := range 100 {
			soon(t, cl, n)
		}
		wg.Go(func() {
			for n := range 100 {
				soon(t, cl, i*n)
			}
		})
	}
	wg.Wait()
	if n := cl.vigil.waiting.Load(); n != 0 {
		t.Errorf("%d calls still wait", n)
	}
}

// Where replies take longer than a moment nobody looks for each of them.
func TestWhoLookedInVainSleepsForAWhile(t *testing.T) {
	t.Parallel()
	if runtime.GOMAXPROCS(0) == 1 {
		t.Skip("with one processor nobody looks")
	}
	release := make(chan struct{})
	cl := serve(t, &Server{Handlers: map[string]Handler{
		"double": Handle(func(_ context.Context, n int) (int, error) {
			<-release
			return 2 * n, nil
		}),
	}})
	for range 2 {
		done := make(chan struct{})
		go func() {
			defer close(done)
			soon(t, cl, 1)
		}()
		for end := time.Now().Add(time.Minute); cl.vigil.asleep.Load() != asleepFor; <-time.After(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("it looks for ever")
			}
		}
		release <- struct{}{}
		<-done
		for left := asleepFor - 1; left >= 0; left-- {
			go func() { release <- struct{}{} }()
			soon(t, cl, 2)
			if n := cl.vigil.asleep.Load(); n != int32(left) {
				t.Fatalf("%d calls are to sleep, want %d", n, left)
			}
		}
	}
}
