package directory_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/postilion/postilion/internal/directory"
)

func TestAChangeWakesAllWhoWaitForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g directory.Generations
		g.Set(7)
		if n, err := g.Changed(t.Context(), 0); n != 7 || err != nil {
			t.Fatalf("a generation that is there: %d, %v", n, err)
		}
		came := make(chan uint64, 3)
		for range 3 {
			go func() {
				n, _ := g.Changed(context.Background(), 7)
				came <- n
			}()
		}
		synctest.Wait()
		g.Set(7) // none
		synctest.Wait()
		if len(came) != 0 {
			t.Fatal("woken without a change")
		}
		g.Set(8)
		for range 3 {
			if n := <-came; n != 8 {
				t.Errorf("woken at %d", n)
			}
		}
	})
}

func TestTheWaitForAChangeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	var g directory.Generations
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if n, err := g.Changed(ctx, 0); n != 0 || err != context.Canceled {
		t.Errorf("%d, %v", n, err)
	}
}
