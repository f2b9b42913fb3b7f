package pebblestore_test

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/queue/queuetest"
)

// benchDir is a folder on the disk that is to be measured: BENCH_DIR, else a temporary one.
func benchDir(b *testing.B) string {
	if base := os.Getenv("BENCH_DIR"); base != "" {
		dir, err := os.MkdirTemp(base, "queue")
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { os.RemoveAll(dir) })
		return dir
	}
	return b.TempDir()
}

func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkPass sends messages through: commit, body, finish, as an immediate delivery
// does. "commit" leaves out the rest and removes nothing.
func BenchmarkPass(b *testing.B) {
	for _, way := range []string{"commit", "pass"} {
		for _, size := range []int{10 << 10, 1 << 20} {
			for _, writers := range []int{1, 20, 100} {
				b.Run(fmt.Sprintf("%s/%dKiB/%dwriters", way, size>>10, writers), func(b *testing.B) {
					pass(b, writers, size, way == "pass")
				})
			}
		}
	}
}

func pass(b *testing.B, writers, size int, finish bool) {
	s := open(b, benchDir(b))
	defer s.Close()
	body := queuetest.Body(1, size)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	leases := make(chan queue.Lease, 1<<16)
	if finish {
		go s.Claim(ctx, func(c queue.Claimed) {
			if c.Message != nil {
				leases <- c.Lease
			}
		})
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	start := cpu()
	done := make(chan struct{})
	for range writers {
		go func() {
			defer func() { done <- struct{}{} }()
			for left.Add(-1) >= 0 {
				if err := queuetest.TryEnqueue(s, queuetest.Envelope("to@b.example"), body); err != nil {
					b.Error(err)
					return
				}
				if !finish {
					continue
				}
				l := <-leases
				r, err := s.Body(ctx, l.Message)
				if err != nil {
					b.Error(err)
					return
				}
				r.Close()
				if err := s.Finish(ctx, l, []queue.RecipientState{{State: queue.Done}}); err != nil {
					b.Error(err)
					return
				}
			}
		}()
	}
	for range writers {
		<-done
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	b.ReportMetric(float64((cpu()-start).Microseconds())/float64(b.N), "cpu-µs/msg")
}
