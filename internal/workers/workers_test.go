package workers

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func TestEverythingRunsOnceAndNobodyWaitsForAnother(t *testing.T) {
	t.Parallel()
	p := Pool{Idle: 3}
	var ran atomic.Int64
	for range 20 {
		var together sync.WaitGroup
		together.Add(50)
		for range 50 {
			p.Go(func() {
				ran.Add(1)
				together.Done()
				together.Wait() // all fifty at the same time
			})
		}
		together.Wait()
	}
	p.Close()
	p.Go(func() { ran.Add(1) })
	p.Wait()
	if n := ran.Load(); n != 1001 {
		t.Errorf("%d of 1001 functions ran", n)
	}
}

func TestAFewGoroutinesAreKeptUntilClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		count := func() int { synctest.Wait(); return runtime.NumGoroutine() }
		before := count()
		p := Pool{Idle: 2}
		for range 10 {
			p.Go(func() { runtime.Gosched() })
		}
		if n := count() - before; n > 2 || n < 1 {
			t.Errorf("%d goroutines are kept, want 2 at most", n)
		}
		for range 10 {
			p.Go(func() {})
			synctest.Wait()
		}
		if n := count() - before; n > 2 {
			t.Errorf("%d goroutines after ten more", n)
		}
		p.Close()
		p.Wait()
		if n := count() - before; n != 0 {
			t.Errorf("%d goroutines are left after Close", n)
		}
	})
}
