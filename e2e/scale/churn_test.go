package scale

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/postilion/postilion/e2e/e2etest"
)

// sample is what must not grow while mail passes.
type sample struct {
	resident, queue int64
	files, threads  int
}

func (s *server) sample() (x sample) {
	s.T.Helper()
	for _, pid := range s.pids() {
		x.resident += memory(pid, "VmRSS")
		x.files += e2etest.Descriptors(pid)
		tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		x.threads += len(tasks)
	}
	x.queue = size(filepath.Join(s.Data, "queue"))
	return x
}

func (x sample) String() string {
	return fmt.Sprintf("%.1f MiB resident, %.1f MiB of queue folder, %d descriptors, %d threads", float64(x.resident)/mib, float64(x.queue)/mib, x.files, x.threads)
}

// Mail passes for long, beside much that waits: nothing grows, and what waits goes on waiting.
func TestChurnLeavesNothingBehind(t *testing.T) {
	lasting, deferred := full(time.Hour, 2*time.Second), full(1_000_000, 1000)
	if *churnFor > 0 {
		lasting = *churnFor
	}
	if *waiting >= 0 {
		deferred = *waiting
	}
	eachLayout(t, func(t *testing.T, single bool) {
		k := newSink(t, true)
		go func() { // nobody else looks at what arrives
			for {
				select {
				case <-k.messages:
				case <-t.Context().Done():
					return
				}
			}
		}()
		s := newServer(t, single, "policy.relay_networks=127.0.0.0/8", "route.next_hop="+k.addr)
		if deferred > 0 {
			s.start().ready().Stop()
			s.deferred(deferred)
		}
		s.start().ready()
		within(t, 5*patience, "all that waits is scheduled", s.loaded)
		settle := func() sample {
			within(t, patience, "everything is delivered", s.atRest)
			time.Sleep(full(time.Second, 100*time.Millisecond))
			return s.sample()
		}
		total, began := 0, time.Now()
		round := func(d time.Duration) {
			stop := make(chan struct{})
			time.AfterFunc(d, func() { close(stop) })
			sent, _ := load(t, s.Addr["smtp"], 10, 0, 8192, stop, func(i int) string {
				if i%2 == 0 {
					return "user@far.example"
				}
				return s.Account
			})
			total += sent
			s.emptyMailbox()
		}
		part := lasting / 10
		round(2 * part) // what is made once: pools, caches, log files for reuse
		first := settle()
		t.Logf("after %v and %d messages: %v", time.Since(began).Round(time.Second), total, first)
		last := first
		for range full(8, 3) {
			round(part)
			now := settle()
			t.Logf("after %v and %d messages: %v", time.Since(began).Round(time.Second), total, now)
			last = now
			if t.Failed() {
				return
			}
		}
		// What stays is bounded by reuse: some MiB of log files, pools that fill by chance.
		bound(t, "growth of the memory of all processes", last.resident-first.resident, full[int64](40*mib, 80*mib))
		bound(t, "growth of the queue's folder", last.queue-first.queue, 40*mib)
		// Connections between roles are pooled, as many as were once needed at the same time.
		if last.files > first.files+100 || last.threads > first.threads+50 {
			t.Errorf("descriptors and threads grew from %d and %d to %d and %d", first.files, first.threads, last.files, last.threads)
		}
		within(t, patience, fmt.Sprint("nothing waits but the ", deferred, " that did"), func() bool {
			return s.roles()["queue"].Facts["messages"] == float64(deferred)
		})
	})
}

// emptyMailbox removes the messages that were delivered here, so that the disk does not fill.
func (s *server) emptyMailbox() {
	for _, name := range s.inboxes() {
		os.Remove(name)
	}
}
