package runas

import (
	"context"
	"sync"
	"testing"
	"time"
)

// A copy of this process that has become the user may be stopped by the user before it is the
// program; whatever starts after it would wait.
func TestAUserThatStopsItsProgramsHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	h, err := NewHere(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	bad, good := newUser(t), newUser(t)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer killAll(bad.UID)
	defer cancel()
	all.Go(func() {
		for ctx.Err() == nil {
			h.Run(ctx, bad, Command{Args: []string{"/bin/sh", "-c", "while :; do kill -STOP -1; done"}})
		}
	})
	for range 4 {
		all.Go(func() {
			for ctx.Err() == nil {
				h.Run(ctx, bad, Command{Args: []string{"/bin/true"}, Time: time.Second})
			}
		})
	}
	for i := range 200 {
		ctx, done := context.WithTimeout(t.Context(), 20*time.Second)
		result, err := h.Run(ctx, good, Command{Args: []string{"/bin/true"}, Time: time.Minute})
		done()
		if err != nil || result.Exit != 0 || result.TimedOut {
			t.Fatalf("start %d: have %+v, %v", i, result, err)
		}
	}
}
