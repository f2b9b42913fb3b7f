package pebblestore_test

import (
	"context"
	"flag"
	"io/fs"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/queue/pebblestore"
	"github.com/postilion/postilion/internal/queue/queuetest"
)

var million = flag.Int("million", 0, "messages of TestMillion, 1000000 for the real thing")

func folderSize(t testing.TB, dir string) (size int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // files go while the queue runs
		}
		if info, err := d.Info(); err == nil {
			size += info.Size()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return size
}

// churn passes n messages through the store.
func churn(t testing.TB, s *pebblestore.Store, n, size int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	leases := make(chan queue.Lease, 1<<16)
	go s.Claim(ctx, func(c queue.Claimed) {
		if c.Message != nil {
			leases <- c.Lease
		}
	})
	var left atomic.Int64
	left.Store(int64(n))
	body := queuetest.Body(1, size)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := queuetest.TryEnqueue(s, queuetest.Envelope("to@b.example"), body); err != nil {
					t.Error(err)
					return
				}
				if err := s.Finish(ctx, <-leases, []queue.RecipientState{{State: queue.Done}}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// What has passed through leaves nothing to step over, and the folder does not grow.
func TestChurnLeavesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	churn(t, s, 10_000/slower, 2000)
	before := folderSize(t, dir)
	churn(t, s, 20_000/slower, 2000)
	churn(t, s, 50, limit+1)
	after := folderSize(t, dir)
	if after > before+16<<20 {
		t.Errorf("the folder grew from %d to %d KiB", before>>10, after>>10)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	s = open(t, dir)
	defer s.Close()
	if n := len(queuetest.Pending(t, s)); n != 0 {
		t.Errorf("%d messages pending", n)
	}
	t.Logf("folder %d KiB, then %d; opened and scanned in %v", before>>10, after>>10, time.Since(start))
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("opening an empty queue took %v", took)
	}
}

// With many messages pending the store accepts at once after its start and hands over all soon.
func TestMillion(t *testing.T) {
	if *million == 0 {
		t.Skip("run with -million 1000000")
	}
	dir := t.TempDir()
	s := open(t, dir)
	body := queuetest.Body(1, 2000)
	var left atomic.Int64
	left.Store(int64(*million))
	var wg sync.WaitGroup
	start := time.Now()
	for range 64 {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := queuetest.TryEnqueue(s, queuetest.Envelope("to@b.example"), body); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d messages enqueued in %v", *million, time.Since(start))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	start = time.Now()
	s = open(t, dir)
	defer s.Close()
	opened := time.Since(start)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	seen := 0
	scanned := make(chan time.Duration, 1)
	go s.Claim(ctx, func(c queue.Claimed) {
		if c.Message != nil {
			seen++
		} else {
			scanned <- time.Since(start)
		}
	})
	queuetest.Enqueue(t, s, queuetest.Envelope("to@b.example"), body)
	accepted := time.Since(start)
	took := <-scanned
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("opened in %v, accepted after %v, %d handed over after %v, heap %d MiB, folder %d MiB",
		opened, accepted, seen, took, m.HeapAlloc>>20, folderSize(t, dir)>>20)
	if accepted > 2*time.Second || took > 15*time.Second*time.Duration(*million)/1_000_000+time.Second {
		t.Errorf("accepted after %v, all handed over after %v", accepted, took)
	}
}
