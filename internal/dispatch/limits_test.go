package dispatch

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/trace"
)

// gauge is a target that counts what runs at once, in all and per domain.
type gauge struct {
	mu           sync.Mutex
	now, most    int
	per, mostPer map[string]int
	done         map[string]int
	take         func(r deliver.Recipient) (time.Duration, deliver.Verdict)
}

func newGauge(take func(r deliver.Recipient) (time.Duration, deliver.Verdict)) *gauge {
	return &gauge{per: map[string]int{}, mostPer: map[string]int{}, done: map[string]int{}, take: take}
}

func (g *gauge) Deliver(_ context.Context, job *deliver.Job) []deliver.Verdict {
	domain := job.Recipients[0].Final.Domain
	g.mu.Lock()
	g.now++
	g.per[domain]++
	g.most, g.mostPer[domain] = max(g.most, g.now), max(g.mostPer[domain], g.per[domain])
	g.mu.Unlock()
	out := make([]deliver.Verdict, len(job.Recipients))
	for i, r := range job.Recipients {
		var wait time.Duration
		wait, out[i] = g.take(r)
		time.Sleep(wait)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now--
	g.per[domain]--
	g.done[domain] += len(out)
	return out
}

// served returns how many recipients of a domain were settled.
func (g *gauge) served(domain string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.done[domain]
}

func (g *gauge) domains() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.done)
}

// peak returns the most that ran at once for a domain, or in all.
func (g *gauge) peak(domain string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if domain == "" {
		return g.most
	}
	return g.mostPer[domain]
}

func TestASlowDestinationNeverDelaysAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGauge(func(r deliver.Recipient) (time.Duration, deliver.Verdict) {
			if r.To.Domain == "slow.test" {
				return time.Hour, deliver.Verdict{}
			}
			return time.Second, deliver.Verdict{}
		})
		h := build(t, plan{remote: g, options: Options{RemoteParallel: 100, StopWait: 30 * time.Hour}})
		stop := h.start()
		for i := range 1000 {
			h.send(t, letter("joe@a.test", fmt.Sprintf("u%d@slow.test", i)))
		}
		begin := time.Now()
		for i := range 50 {
			h.send(t, letter("joe@a.test", fmt.Sprintf("u@fast%d.test", i)))
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := g.domains(); n != 50 {
			t.Errorf("%d of 50 fast destinations served after %v", n, time.Since(begin))
		}
		if g.peak("slow.test") > 20 {
			t.Errorf("%d at once to one destination", g.peak("slow.test"))
		}
		stop()
	})
}

// A file system that does not answer holds those alone who are at it.
func TestDeliveriesIntoMailboxesThatTakeLongLeaveTheirPlacesToOthers(t *testing.T) {
	t.Parallel()
	for _, hanging := range []int{10, 1000} {
		synctest.Test(t, func(t *testing.T) {
			var others atomic.Int32
			g := newGauge(func(r deliver.Recipient) (time.Duration, deliver.Verdict) {
				if r.To.Local == "hangs" {
					return 9 * time.Minute, deliver.Verdict{}
				}
				others.Add(1)
				return 0, deliver.Verdict{}
			})
			h := build(t, plan{mailbox: g, options: Options{LocalParallel: 10, StopWait: time.Hour}})
			stop := h.start()
			for range hanging {
				h.send(t, letter("joe@a.test", "hangs@here.test"))
			}
			synctest.Wait()
			for range 100 {
				h.send(t, letter("joe@a.test", "joe@here.test"))
			}
			synctest.Wait()
			if n := g.peak(""); n != 10 {
				t.Errorf("%d at once at first, want 10", n)
			}
			time.Sleep(8 * time.Minute)
			synctest.Wait()
			// The places, and four times as many that left theirs.
			if want := min(hanging, 50); g.peak("") < want || g.peak("") > 50 {
				t.Errorf("%d at once while %d hang, want %d", g.peak(""), hanging, want)
			}
			if n := others.Load(); hanging == 10 && n != 100 {
				t.Errorf("%d of 100 others were delivered while 10 hang", n)
			}
			time.Sleep(5 * time.Hour)
			synctest.Wait()
			if n := h.store.left(); n != 0 || h.long != 0 || others.Load() != 100 {
				t.Errorf("%d are left, %d count as long, %d others were delivered", n, h.long, others.Load())
			}
			stop()
		})
	}
}

func TestLimitsAreNeverExceededAndWindowsGrowToTheirs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGauge(func(deliver.Recipient) (time.Duration, deliver.Verdict) { return time.Second, deliver.Verdict{} })
		h := build(t, plan{remote: g, mailbox: newGauge(g.take),
			options: Options{RemoteParallel: 30, DestParallel: 12, DestStart: 3, Schedules: []string{"d3.test parallel 2"}}})
		stop := h.start()
		for i := range 400 {
			h.send(t, letter("joe@a.test", fmt.Sprintf("u%d@d%d.test", i, i%4)))
		}
		synctest.Wait()
		if g.peak("") != 11 { // three destinations at three each, one at two
			t.Errorf("%d at once at first", g.peak(""))
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if g.peak("") != 30 || g.peak("d0.test") > 12 || g.peak("d3.test") != 2 || h.store.left() != 0 {
			t.Errorf("%d at once, %d and %d to single destinations, %d left", g.peak(""), g.peak("d0.test"), g.peak("d3.test"), h.store.left())
		}
		stop()
	})
}

func TestADeadDestinationIsLeftAloneAndOthersAreNot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		g := newGauge(func(r deliver.Recipient) (time.Duration, deliver.Verdict) {
			if r.To.Domain == "dead.test" && !up.Load() {
				return time.Minute, deliver.Verdict{Err: noConnect}
			}
			return 0, deliver.Verdict{}
		})
		h := build(t, plan{remote: g})
		stop := h.start()
		for i := range 500 {
			h.send(t, letter("joe@a.test", fmt.Sprintf("u%d@dead.test", i)))
		}
		h.send(t, letter("joe@a.test", "u@live.test"))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if g.served("live.test") != 1 {
			t.Error("the living destination was not served")
		}
		if n := g.served("dead.test"); n > 40 {
			t.Errorf("%d connections to the dead destination in ten minutes", n)
		}
		s := h.Stats(1)
		if len(s.Top) != 1 || s.Top[0].Name != "dead.test" || s.Top[0].Error == "" {
			t.Errorf("top destinations %+v", s.Top)
		}
		time.Sleep(6 * time.Hour)
		synctest.Wait()
		if n := g.served("dead.test"); n > 60 {
			t.Errorf("%d connections to the dead destination in six hours", n)
		}
		if f := h.Failing(10); len(f) != 1 || f[0].Name != "dead.test" || f[0].Until.IsZero() || f[0].Failures < 2 || f[0].Error == "" {
			t.Errorf("failing %+v", f)
		}
		up.Store(true)
		h.Flush()
		time.Sleep(time.Minute)
		synctest.Wait()
		if h.store.left() != 0 {
			t.Errorf("%d left after the flush", h.store.left())
		}
		if f := h.Failing(10); len(f) != 0 {
			t.Errorf("failing after the flush %+v", f)
		}
		if n := h.forgot.Load(); n != 1 {
			t.Errorf("hosts were forgotten %d times, want once, by the flush", n)
		}
		stop()
	})
}

// TestNoDestinationStarves: with one slot and a hog, each destination's letters wait no longer
// than a turn of all destinations.
func TestNoDestinationStarves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		h := build(t, plan{remote: target(func(_ *deliver.Job, r deliver.Recipient) deliver.Verdict {
			time.Sleep(time.Second)
			mu.Lock()
			defer mu.Unlock()
			order = append(order, r.To.Domain)
			return deliver.Verdict{}
		}), options: Options{RemoteParallel: 1}})
		stop := h.start()
		for i := range 500 {
			h.send(t, letter("joe@a.test", fmt.Sprintf("u%d@hog.test", i)))
		}
		for i := range 20 {
			for j := range 5 {
				h.send(t, letter("joe@a.test", fmt.Sprintf("u%d@d%d.test", j, i)))
			}
		}
		time.Sleep(110 * time.Second)
		synctest.Wait()
		mu.Lock()
		small := 0
		for _, domain := range order {
			if domain != "hog.test" {
				small++
			}
		}
		n := len(order)
		mu.Unlock()
		if small != 100 {
			t.Errorf("%d of 100 small letters among the first %d deliveries", small, n)
		}
		time.Sleep(time.Hour)
		stop()
	})
}

func TestHighPriorityGoesFirstAndLowIsNotStarved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var order []int8
		var mu sync.Mutex
		h := build(t, plan{remote: target(func(j *deliver.Job, _ deliver.Recipient) deliver.Verdict {
			time.Sleep(time.Second)
			mu.Lock()
			defer mu.Unlock()
			order = append(order, j.Envelope.Priority)
			return deliver.Verdict{}
		}), options: Options{RemoteParallel: 1}})
		stop := h.start()
		defer stop()
		for i := range 100 {
			env := letter("joe@a.test", fmt.Sprintf("u@d%d.test", i))
			env.Priority = int8(i%2)*2 - 1
			h.send(t, env)
		}
		time.Sleep(50 * time.Second)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		high := 0
		for _, p := range order {
			if p > 0 {
				high++
			}
		}
		if high < 40 || high > len(order)-3 {
			t.Errorf("%d of the first %d were urgent", high, len(order))
		}
	})
}

func TestGroupsHaveTheirOwnLimitAndPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGauge(func(deliver.Recipient) (time.Duration, deliver.Verdict) { return time.Second, deliver.Verdict{} })
		h := build(t, plan{remote: g, options: Options{Groups: []string{"bulk 2"}}})
		stop := h.start()
		h.Pause(Scope{Group: "bulk"})
		for i := range 10 {
			env := letter("joe@a.test", fmt.Sprintf("u@d%d.test", i))
			env.Group = "bulk"
			h.send(t, env)
		}
		h.send(t, letter("joe@a.test", "u@other.test"))
		time.Sleep(time.Minute)
		synctest.Wait()
		if h.store.left() != 10 || g.served("other.test") != 1 {
			t.Errorf("%d left while the group is paused", h.store.left())
		}
		h.Continue(Scope{Group: "bulk"})
		time.Sleep(3500 * time.Millisecond)
		synctest.Wait()
		if h.store.left() != 4 || g.peak("") != 2 {
			t.Errorf("%d left, %d at once", h.store.left(), g.peak(""))
		}
		stop()
	})
}

// Vector 53 of the qmail reference, as far as it is the queue's.
func TestQueueOnlyKeepsMailWithoutDelivering(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var loaded atomic.Bool
		loaded.Store(true)
		h := build(t, plan{queueOnly: loaded.Load})
		stop := h.start()
		h.send(t, letter("joe@a.test", "x@here.test"))
		time.Sleep(time.Minute)
		synctest.Wait()
		if h.store.left() != 1 || !h.Stats(0).HeldBack {
			t.Error("mail was delivered under load")
		}
		if list, _, err := h.List(t.Context(), Filter{}, 0, ""); err != nil || len(list) != 1 || !list[0].QueueOnly {
			t.Errorf("the list does not tell what holds it: %+v, %v", list, err)
		}
		loaded.Store(false)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if h.store.left() != 0 {
			t.Error("mail was not delivered after the load")
		}
		stop()
	})
}

// jumping is a clock that a test moves against the monotonic one.
type jumping struct{ by atomic.Int64 }

func (j *jumping) Now() time.Time { return time.Now().Add(time.Duration(j.by.Load())) }

func TestClockJumpsMoveNothing(t *testing.T) {
	t.Parallel()
	for _, jump := range []time.Duration{-1000 * time.Hour, 1000 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			var ages []time.Duration
			begin := time.Now()
			h := build(t, plan{remote: target(func(*deliver.Job, deliver.Recipient) deliver.Verdict {
				ages = append(ages, time.Since(begin))
				return deliver.Verdict{Err: greylist}
			}), options: Options{DestParallel: 1}})
			clock := &jumping{}
			h.deps.Clock = clock
			stop := h.start()
			h.send(t, letter("joe@a.test", "x@far.test"))
			time.Sleep(500 * time.Second)
			clock.by.Store(int64(jump))
			time.Sleep(2000 * time.Second)
			synctest.Wait()
			stop()
			if len(ages) != 3 || ages[2] != 1600*time.Second || h.store.left() != 1 {
				t.Errorf("jump %v: attempts at %v, %d left", jump, ages, h.store.left())
			}
		})
	}
}

func TestAStopWaitsForDeliveriesAndARestartRepeatsNone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGauge(func(deliver.Recipient) (time.Duration, deliver.Verdict) { return 10 * time.Second, deliver.Verdict{} })
		h := build(t, plan{remote: g, options: Options{DestStart: 1, DestParallel: 1}})
		stop := h.start()
		h.send(t, letter("joe@a.test", "x@far.test"))
		h.send(t, letter("joe@a.test", "y@far.test"))
		time.Sleep(time.Second)
		stop()
		if h.store.left() != 1 || g.served("far.test") != 1 {
			t.Errorf("%d left, %d delivered at the stop", h.store.left(), g.served("far.test"))
		}
		again := build(t, plan{remote: g, store: h.store})
		stop = again.start()
		time.Sleep(time.Minute)
		synctest.Wait()
		stop()
		if h.store.left() != 0 || g.served("far.test") != 2 {
			t.Errorf("%d left, %d delivered after the restart", h.store.left(), g.served("far.test"))
		}
	})
}

func TestFailuresRecordedBeforeACrashAreBouncedAfterIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		env := letter("joe@here.test", "x@far.test")
		d, _ := s.Begin(t.Context(), env)
		d.Commit(t.Context())
		s.messages[env.ID].states[0] = queue.RecipientState{State: queue.Failed, Attempts: 3, Err: noMailbox}
		h := build(t, plan{store: s})
		stop := h.start()
		synctest.Wait()
		stop()
		if len(h.mailed) != 1 || s.left() != 0 || len(h.events.Of(trace.Bounced)) != 1 {
			t.Errorf("%d bounces, %d left", len(h.mailed), s.left())
		}
	})
}

// liveHeap returns the bytes of live memory.
func liveHeap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// The memory tests measure 200,000 and 100,000 recipients; those of a million cost the same each.

func TestAWaitingRecipientCostsUnder150Bytes(t *testing.T) {
	const n = 200_000
	h := build(t, plan{})
	before := liveHeap()
	now := time.Now()
	for i := range n {
		env := &mail.Envelope{ID: id.Source{}.New(), Accepted: now.Add(-time.Hour), Recipients: []mail.Recipient{{To: mail.Address{Local: "u", Domain: "far.test"}}}}
		h.take(queue.Claimed{Message: &queue.Message{
			Envelope: env, States: []queue.RecipientState{{Next: now.Add(time.Duration(i) * time.Millisecond * 10).Add(time.Minute)}},
		}, Lease: queue.Lease{Message: env.ID}})
	}
	per := (liveHeap() - before) / n
	t.Logf("%d bytes a recipient", per)
	if per > 150 {
		t.Errorf("%d bytes a recipient", per)
	}
	runtime.KeepAlive(h)
}

// countdown is a Recorder that tells when it has seen so many events of a kind.
type countdown struct {
	mu   sync.Mutex
	kind trace.Kind
	left int
	done chan struct{}
}

func (c *countdown) Record(e trace.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.Kind != c.kind {
		return
	}
	if c.left--; c.left == 0 {
		close(c.done)
	}
}

func TestADeferredRecipientOfItsOwnDestinationCostsUnder400Bytes(t *testing.T) {
	const n = 100_000
	h := build(t, plan{remote: target(func(*deliver.Job, deliver.Recipient) deliver.Verdict {
		return deliver.Verdict{Err: greylist}
	})})
	store := h.store
	all := &countdown{kind: trace.Deferred, left: n, done: make(chan struct{})}
	h.deps.Recorder = all
	stop := h.start()
	for i := range n {
		h.send(t, letter("joe@a.test", fmt.Sprintf("u@d%d.test", i)))
	}
	<-all.done
	stop()
	h.mu.Lock()
	h.tidy(h.now())
	h.mu.Unlock()
	with := liveHeap()
	runtime.KeepAlive(h)
	h = nil
	per := (with - liveHeap()) / n
	runtime.KeepAlive(store)
	t.Logf("%d bytes a recipient", per)
	if per > 400 {
		t.Errorf("%d bytes a recipient", per)
	}
}

// BenchmarkDispatch delivers messages of one mailbox recipient each, with a store and a
// target that cost nothing to speak of.
func BenchmarkDispatch(b *testing.B) {
	for _, deferred := range []int{0, 1_000_000} {
		b.Run(fmt.Sprintf("deferred=%d", deferred), func(b *testing.B) {
			s := newStore()
			s.history = nil
			h := build(b, plan{store: s, mailbox: target(delivered)})
			h.deps.Recorder = trace.Discard
			now := time.Now()
			for i := range deferred {
				env := &mail.Envelope{ID: id.Source{}.New(), Accepted: now, Recipients: []mail.Recipient{{To: mail.Address{Local: "u", Domain: fmt.Sprintf("d%d.test", i%1000)}}}}
				h.take(queue.Claimed{Message: &queue.Message{Envelope: env, States: []queue.RecipientState{{Next: now.Add(time.Hour)}}}, Lease: queue.Lease{Message: env.ID}})
			}
			stop := h.start()
			b.ResetTimer()
			for range b.N {
				h.send(b, letter("joe@a.test", "x@here.test"))
			}
			for s.left() > 0 {
				runtime.Gosched()
			}
			b.StopTimer()
			stop()
		})
	}
}

func TestAChannelWithoutDeliveriesHoldsItsMailAndNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGauge(func(deliver.Recipient) (time.Duration, deliver.Verdict) { return time.Second, deliver.Verdict{} })
		h := build(t, plan{remote: g, options: Options{RemoteParallel: -1}})
		stop := h.start()
		h.send(t, letter("joe@a.test", "far@else.test"))
		h.send(t, letter("joe@a.test", "joe@here.test"))
		time.Sleep(30 * 24 * time.Hour)
		synctest.Wait()
		if g.peak("") != 0 || h.store.left() != 1 {
			t.Errorf("%d deliveries to other hosts, %d messages left: want none and one", g.peak(""), h.store.left())
		}
		stop()
	})
}
