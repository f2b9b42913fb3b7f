package dispatch

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/reason"
)

// What operators do to messages whose delivery is under way: it goes on to its end, whatever they say.

func TestWhatRunsAndWhatWaitsAreToldApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := build(t, plan{remote: target(func(_ *deliver.Job, r deliver.Recipient) deliver.Verdict {
			if r.To.Domain == "slow.test" {
				time.Sleep(time.Hour)
			}
			return deliver.Verdict{Err: greylist}
		})})
		stop := h.start()
		h.send(t, letter("joe@here.test", "a@slow.test", "b@far.test", "c@far.test"))
		h.send(t, letter("joe@here.test", "a@far.test"))
		time.Sleep(time.Second)
		synctest.Wait()
		for state, want := range map[string][2]int{"": {2, 4}, "running": {1, 1}, "waiting": {2, 3}, "failed": {0, 0}, "held": {0, 0}} {
			if m, r, err := h.Count(t.Context(), Filter{State: state}); m != want[0] || r != want[1] || err != nil {
				t.Errorf("%q: %d messages, %d recipients, %v; want %v", state, m, r, err, want)
			}
		}
		if n, err := h.Act(t.Context(), Filter{State: "running"}, Action{Verb: Hold}); n != 1 || err != nil {
			t.Errorf("held %d, %v", n, err)
		}
		if n, err := h.Act(t.Context(), Filter{State: "waiting", Group: "default"}, Action{Verb: Group, Group: "bulk"}); n != 2 || err != nil {
			t.Errorf("regrouped %d, %v", n, err)
		}
		time.Sleep(2 * time.Hour)
		if n, err := h.Act(t.Context(), Filter{State: "held"}, Action{Verb: Release}); n != 1 || err != nil {
			t.Errorf("released %d, %v", n, err)
		}
		stop()
	})
}

// Recipients of one transaction share its run, not the operator's verdict on one of them.
func TestGivingUpARecipientOfARunningDeliveryLeavesTheOthers(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	synctest.Test(t, func(t *testing.T) {
		h := build(t, plan{remote: target(func(*deliver.Job, deliver.Recipient) deliver.Verdict {
			time.Sleep(10 * time.Second)
			return deliver.Verdict{Err: greylist}
		})})
		defer h.start()()
		h.send(t, letter("joe@here.test", "a@far.test", "b@far.test", "c@far.test"))
		time.Sleep(time.Second)
		for _, to := range []string{"a@far.test", "c@far.test"} {
			if n, err := h.Act(ctx, Filter{To: to}, Action{Verb: Bounce}); n != 1 || err != nil {
				t.Fatalf("gave %s up: %d, %v", to, n, err)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, n, err := h.Count(ctx, Filter{To: "b@far.test", State: "waiting"}); n != 1 || err != nil {
			t.Errorf("%d wait, %v: the one nobody gave up is gone", n, err)
		}
		if _, n, _ := h.Count(ctx, Filter{}); n != 1 || len(h.mailed) != 1 || len(h.givenUp) != 0 {
			t.Errorf("%d recipients are left, %d bounces, %d notes of what was given up", n, len(h.mailed), len(h.givenUp))
		}
	})
}

// Who stops a message learns that a delivery of it goes on: it may succeed all the same.
func TestActionsTellOfDeliveriesThatGoOn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		verb   Verb
		want   Acted
		mailed int // bounces in the end
		left   int // messages in the end
	}{
		{Bounce, Acted{Changed: 3, Running: 2, Matched: 3}, 2, 0}, // the delivery that succeeds bounces nothing
		{Delete, Acted{Changed: 3, Running: 2, Matched: 3}, 0, 0},
		{Hold, Acted{Changed: 3, Running: 2, Matched: 3}, 0, 2},
		{Group, Acted{Changed: 3, Matched: 3}, 0, 2}, // which stops nothing
		{Retry, Acted{Changed: 1, Matched: 3}, 0, 2},
	} {
		t.Run(string(c.verb), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := build(t, plan{remote: target(func(_ *deliver.Job, r deliver.Recipient) deliver.Verdict {
					if r.To.Domain != "quick.test" {
						time.Sleep(time.Minute)
					}
					if r.To.Domain == "good.test" {
						return deliver.Verdict{}
					}
					return deliver.Verdict{Err: greylist}
				})})
				defer h.start()()
				h.send(t, letter("joe@here.test", "a@good.test"))
				h.send(t, letter("joe@here.test", "a@slow.test"))
				h.send(t, letter("joe@here.test", "a@quick.test"))
				time.Sleep(time.Second)
				synctest.Wait()
				if done, err := h.ActOn(t.Context(), Filter{}, Action{Verb: c.verb, Group: "bulk"}, 0, ""); done != c.want || err != nil {
					t.Errorf("%+v, %v; want %+v", done, err, c.want)
				}
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				if len(h.mailed) != c.mailed || h.store.left() != c.left {
					t.Errorf("%d bounces, %d left; want %d, %d", len(h.mailed), h.store.left(), c.mailed, c.left)
				}
			})
		})
	}
}

// The delivery has been deferred already, and the store is told so at this moment.
func TestGivingUpWhatIsBeingRecordedWaitsForNoFurtherAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, _, stop := stuck(t)
		defer stop()
		given := false
		h.store.after = func(string) error {
			if !given {
				given = true
				if done, err := h.ActOn(t.Context(), Filter{}, Action{Verb: Bounce}, 0, ""); done.Running != 1 || err != nil {
					t.Errorf("%+v, %v", done, err)
				}
			}
			return nil
		}
		h.send(t, letter("joe@here.test", "b@far.test", "a@far.test"))
		synctest.Wait() // and no time passes
		if len(h.mailed) != 1 || h.store.left() != 0 || len(h.givenUp) != 0 {
			t.Errorf("%d bounces, %d left, %d notes of what was given up", len(h.mailed), h.store.left(), len(h.givenUp))
		}
	})
}

// What was given up while nothing is delivered stays given up over a restart, and its sender hears of it then.
func TestWhatIsGivenUpGoesOutAfterNoRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		var tried atomic.Int32
		count := target(func(*deliver.Job, deliver.Recipient) deliver.Verdict { tried.Add(1); return deliver.Verdict{} })
		h := build(t, plan{store: store, remote: count, queueOnly: func() bool { return true }})
		stop := h.start()
		up := h.send(t, letter("joe@here.test", "a@far.test", "b@far.test"))
		h.send(t, letter("joe@here.test", "c@far.test"))
		synctest.Wait()
		if done, err := h.ActOn(t.Context(), Filter{To: "a@far.test"}, Action{Verb: Bounce}, 0, ""); done.Changed != 1 || done.Running != 0 || err != nil {
			t.Errorf("%+v, %v", done, err)
		}
		synctest.Wait()
		if s := store.state(up, 0); s.State != queue.Failed || s.Err == nil || s.Err.Reason != reason.GivenUp.Reason {
			t.Errorf("the store has %+v", s)
		}
		if m, r, err := h.Count(t.Context(), Filter{State: "failed"}); m != 1 || r != 1 || err != nil {
			t.Errorf("%d messages with %d recipients have failed, %v", m, r, err)
		}
		stop()
		again := build(t, plan{store: store, remote: count})
		defer again.start()()
		synctest.Wait()
		if len(again.mailed) != 1 || store.left() != 0 || tried.Load() != 2 {
			t.Errorf("%d bounces, %d left, %d deliveries; want 1, 0, 2", len(again.mailed), store.left(), tried.Load())
		}
	})
}

// A delivery of the same message that ends at the same time bounces what it finds failed: nobody does it again.
func TestWhatIsGivenUpIsBouncedOnce(t *testing.T) {
	t.Parallel()
	for after := range 4 { // seconds: the running delivery ends before, at the same moment, or later
		synctest.Test(t, func(t *testing.T) {
			h := build(t, plan{remote: target(func(_ *deliver.Job, r deliver.Recipient) deliver.Verdict {
				switch r.To.Domain {
				case "slow.test":
					time.Sleep(time.Duration(after) * time.Second)
					return deliver.Verdict{Err: noMailbox}
				}
				return deliver.Verdict{Err: greylist}
			})})
			defer h.start()()
			h.send(t, letter("joe@here.test", "a@far.test", "b@slow.test", "c@near.test"))
			time.Sleep(time.Second)
			if after == 2 {
				synctest.Wait()
			}
			if n, err := h.Act(t.Context(), Filter{From: "joe@here.test"}, Action{Verb: Bounce}); n != 1 || err != nil {
				t.Fatalf("ending after %d s: %d changed, %v", after, n, err)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			told := 0
			for _, m := range h.mailed {
				for _, to := range []string{"a@far.test", "b@slow.test", "c@near.test"} {
					told += strings.Count(string(m.body), "<"+to+">:")
				}
			}
			if told != 3 || h.store.left() != 0 || h.Stats(0).Recipients != 0 {
				t.Errorf("ending after %d s: %d are told of in %d bounces, %d left, %d recipients", after, told, len(h.mailed), h.store.left(), h.Stats(0).Recipients)
			}
		})
	}
}

func TestABounceThatTheStoreRefusesChangesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, open, stop := stuck(t)
		defer stop()
		h.send(t, letter("joe@here.test", "a@far.test"))
		time.Sleep(time.Second)
		broken := errors.New("the disk is broken")
		h.store.mu.Lock()
		h.store.fail = func(what string) error {
			if what == "revise" {
				return broken
			}
			return nil
		}
		h.store.mu.Unlock()
		open.Store(true)
		if done, err := h.ActOn(t.Context(), Filter{}, Action{Verb: Bounce}, 0, ""); !errors.Is(err, broken) || done.Changed != 0 {
			t.Errorf("%+v, %v", done, err)
		}
		synctest.Wait()
		if len(h.mailed) != 0 || h.store.left() != 0 {
			t.Errorf("%d bounces, %d left: it should have been delivered", len(h.mailed), h.store.left())
		}
	})
}
