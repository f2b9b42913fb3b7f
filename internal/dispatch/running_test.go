package dispatch

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postilion/postilion/internal/deliver"
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
