package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/queue"
)

// stuck is a house whose remote deliveries are deferred until open is set.
func stuck(t *testing.T) (h *house, open *atomic.Bool, stop func()) {
	open = new(atomic.Bool)
	h = build(t, plan{remote: target(func(_ *deliver.Job, r deliver.Recipient) deliver.Verdict {
		if open.Load() {
			return deliver.Verdict{}
		}
		return deliver.Verdict{Err: greylist}
	})})
	return h, open, h.start()
}

func TestFiltersCountWhatActionsThenChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, _, stop := stuck(t)
		defer stop()
		ctx := context.Background()
		one := letter("joe@here.test", "a@far.test", "b@far.test", "c@near.test")
		one.Account = "joe@here.test"
		h.send(t, one)
		time.Sleep(time.Hour)
		two := letter("", "a@far.test")
		two.Group = "bulk"
		h.send(t, two)
		synctest.Wait()
		for _, c := range []struct {
			f                    Filter
			messages, recipients int
		}{
			{Filter{}, 2, 4},
			{Filter{IDs: []id.ID{one.ID}}, 1, 3},
			{Filter{From: "<>"}, 1, 1},
			{Filter{From: "*@HERE.test"}, 1, 3},
			{Filter{To: "a@far.test"}, 2, 2},
			{Filter{To: "*@far.test"}, 2, 3},
			{Filter{Domain: "near.test"}, 1, 1},
			{Filter{Reason: "greylisted"}, 2, 4},
			{Filter{Reason: "other"}, 0, 0},
			{Filter{Older: 30 * time.Minute}, 1, 3},
			{Filter{Group: "bulk"}, 1, 1},
			{Filter{Group: "default"}, 1, 3},
			{Filter{Account: "joe@here.test", State: "waiting"}, 1, 3},
			{Filter{Account: "Joe@HERE.test", State: "waiting"}, 1, 3},
			{Filter{State: "held"}, 0, 0},
		} {
			m, r, err := h.Count(ctx, c.f)
			if err != nil || m != c.messages || r != c.recipients {
				t.Errorf("%+v: %d messages, %d recipients, %v; want %d, %d", c.f, m, r, err, c.messages, c.recipients)
			}
		}
		if _, _, err := h.Count(ctx, Filter{State: "odd"}); err == nil {
			t.Error("an unknown state is taken")
		}
		if _, err := h.Act(ctx, Filter{}, Action{Verb: "explode"}); err == nil {
			t.Error("an unknown verb is taken")
		}
		list, next, err := h.List(ctx, Filter{}, 1, "")
		if err != nil || len(list) != 1 || list[0].ID != one.ID || next == "" {
			t.Fatalf("first page %v, next %q, %v", list, next, err)
		}
		if _, err := json.Marshal(list); err != nil {
			t.Error(err)
		}
		if list, next, _ = h.List(ctx, Filter{}, 1, next); len(list) != 1 || list[0].ID != two.ID || next != "" {
			t.Errorf("second page %v, next %q", list, next)
		}
		r := list[0].Recipients[0]
		if r.State != "waiting" || r.Attempts != 1 || r.Status != "4.7.1" || r.Destination != "far.test" || time.Until(r.Next) != 400*time.Second {
			t.Errorf("shown %+v", r)
		}
	})
}

func TestActionsChangeWhatTheyName(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, c := range []struct {
		verb Verb
		then func(t *testing.T, h *house, open *atomic.Bool, env *mail.Envelope)
	}{
		{Retry, func(t *testing.T, h *house, open *atomic.Bool, env *mail.Envelope) {
			if h.store.left() != 0 {
				t.Error("not tried again")
			}
		}},
		{Hold, func(t *testing.T, h *house, open *atomic.Bool, env *mail.Envelope) {
			time.Sleep(time.Hour)
			if n, _ := h.Act(ctx, Filter{}, Action{Verb: Retry}); n != 0 || h.store.left() != 1 {
				t.Error("a held message was tried")
			}
			if n, err := h.Act(ctx, Filter{State: "held"}, Action{Verb: Release}); n != 1 || err != nil {
				t.Errorf("released %d, %v", n, err)
			}
			synctest.Wait()
			if h.store.left() != 0 {
				t.Error("not delivered after the release")
			}
		}},
		{Bounce, func(t *testing.T, h *house, open *atomic.Bool, env *mail.Envelope) {
			if len(h.mailed) != 1 || h.store.left() != 0 {
				t.Errorf("%d bounces, %d left", len(h.mailed), h.store.left())
			}
		}},
		{Delete, func(t *testing.T, h *house, open *atomic.Bool, env *mail.Envelope) {
			if len(h.mailed) != 0 || h.store.left() != 0 || h.Stats(0).Messages != 0 {
				t.Errorf("%d bounces, %d left", len(h.mailed), h.store.left())
			}
		}},
		{Group, func(t *testing.T, h *house, open *atomic.Bool, env *mail.Envelope) {
			if x, err := h.Show(ctx, env.ID); err != nil || x.Group != "bulk" {
				t.Errorf("shown %+v, %v", x, err)
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			if h.store.left() != 0 {
				t.Error("not delivered in its new group")
			}
		}},
	} {
		t.Run(string(c.verb), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h, open, stop := stuck(t)
				defer stop()
				env := letter("joe@here.test", "a@far.test", "b@near.test")
				h.send(t, env)
				time.Sleep(10 * time.Second)
				open.Store(true)
				if n, err := h.Act(ctx, Filter{From: "joe@here.test"}, Action{Verb: c.verb, Group: "bulk"}); n != 1 || err != nil {
					t.Fatalf("changed %d, %v", n, err)
				}
				synctest.Wait()
				c.then(t, h, open, env)
			})
		})
	}
}

func TestAnEditedRecipientGoesToItsNewAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, _, stop := stuck(t)
		defer stop()
		ctx := context.Background()
		v := h.send(t, letter("joe@a.test", "a@far.test", "typo@far.test"))
		synctest.Wait()
		if err := h.Edit(ctx, v, 1, mail.ParseAddress("right@here.test")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(h.mailed) != 1 || h.store.state(v, 1).State != queue.Delivered || h.store.state(v, 0).State != queue.Waiting {
			t.Errorf("mailbox got %d, states %+v %+v", len(h.mailed), h.store.state(v, 0), h.store.state(v, 1))
		}
		for n, want := range map[int]error{1: ErrNoChange, 2: ErrNoNumber, -1: ErrNoNumber} {
			if err := h.Edit(ctx, v, n, mail.ParseAddress("again@here.test")); !errors.Is(err, want) {
				t.Errorf("recipient %d: %v, want %v", n, err, want)
			}
		}
		if err := h.Edit(ctx, id.ID{1}, 0, mail.Address{}); !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("error %v", err)
		}
	})
}

func TestAPausedDomainWaitsAndOthersDoNot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := build(t, plan{})
		stop := h.start()
		defer stop()
		h.Pause(Scope{Domain: "Far.test"})
		for i := range 5 {
			h.send(t, letter("joe@a.test", fmt.Sprintf("u%d@far.test", i), "ok@near.test"))
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if n, r, _ := h.Count(context.Background(), Filter{}); n != 5 || r != 5 {
			t.Errorf("%d messages, %d recipients wait", n, r)
		}
		if n, err := h.Act(context.Background(), Filter{To: "u0@far.test"}, Action{Verb: Bounce}); n != 1 || err != nil {
			t.Errorf("gave up %d, %v", n, err)
		}
		h.Continue(Scope{Domain: "far.test"})
		synctest.Wait()
		if h.store.left() != 0 {
			t.Errorf("%d left", h.store.left())
		}
	})
}

func TestARetryIsTriedAlsoAtHostsThatDoNotAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var forced []bool
		h := build(t, plan{remote: target(func(job *deliver.Job, _ deliver.Recipient) deliver.Verdict {
			forced = append(forced, job.Force)
			return deliver.Verdict{Err: greylist}
		})})
		defer h.start()()
		h.send(t, letter("joe@here.test", "a@far.test"))
		synctest.Wait()
		if n, err := h.Act(context.Background(), Filter{}, Action{Verb: Retry}); n != 1 || err != nil {
			t.Fatalf("retried %d, %v", n, err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(forced) < 3 || forced[0] || !forced[1] || slices.Contains(forced[2:], true) {
			t.Errorf("forced %v, want the second attempt alone", forced)
		}
	})
}

func TestAListOfPagesVisitsEachMessageOnceWhileTheQueueChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, open, stop := stuck(t)
		defer stop()
		want := map[id.ID]bool{}
		for range 10 {
			want[h.send(t, letter("sender@here.test", "u@stuck.test"))] = true
		}
		synctest.Wait()
		have, _, err := h.List(t.Context(), Filter{}, 1000, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range have {
			want[m.ID] = true
		}
		seen := map[id.ID]int{}
		for cursor, page := "", 0; page == 0 || cursor != ""; page++ {
			var list []Info
			if list, cursor, err = h.List(t.Context(), Filter{}, 3, cursor); err != nil {
				t.Fatal(err)
			}
			for _, m := range list {
				seen[m.ID]++
			}
			if page == 1 {
				h.send(t, letter("sender@here.test", "late@stuck.test"))
			}
		}
		for v := range want {
			if seen[v] != 1 {
				t.Errorf("message %v was listed %d times", v, seen[v])
			}
		}
		if h.listing != nil {
			t.Error("the listing is kept after its end")
		}
		open.Store(true)
	})
}

func TestAFlushMissesNothingThatIsBeingRecorded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, open, stop := stuck(t)
		defer stop()
		flushed := false
		h.store.after = func(what string) error {
			if what == "finish" && !flushed {
				flushed = true
				open.Store(true)
				h.Flush()
			}
			return nil
		}
		h.send(t, letter("joe@here.test", "a@far.test"))
		synctest.Wait()
		if !flushed || h.store.left() != 0 {
			t.Errorf("flushed %v, %d left", flushed, h.store.left())
		}
	})
}

// What happens to a message between the look at it and its change counts: it may be finished, be held already, or
// go to another address.
func TestAMessageThatChangesUnderAnActionIsJudgedAsItIs(t *testing.T) {
	t.Parallel()
	for _, verb := range []Verb{Hold, Delete, Priority} {
		synctest.Test(t, func(t *testing.T) {
			h, open, stop := stuck(t)
			defer stop()
			var ids []id.ID
			for range 4 {
				ids = append(ids, h.send(t, letter("joe@here.test", "a@far.test")))
			}
			synctest.Wait()
			h.store.mu.Lock()
			h.store.fail = func(what string) error {
				if what != "revise" {
					return nil
				}
				h.store.mu.Lock()
				defer h.store.mu.Unlock()
				h.store.fail = nil
				delete(h.store.messages, ids[0])
				h.store.messages[ids[1]].held = true
				env := *h.store.messages[ids[2]].env
				env.Recipients = []mail.Recipient{{To: mail.ParseAddress("a@near.test")}}
				h.store.messages[ids[2]].env = &env
				return nil
			}
			h.store.mu.Unlock()
			want := map[Verb][]id.ID{Hold: ids[3:], Delete: {ids[1], ids[3]}, Priority: {ids[1], ids[3]}}[verb]
			n, err := h.Act(t.Context(), Filter{Domain: "far.test"}, Action{Verb: verb, Priority: 3})
			if n != len(want) || err != nil {
				t.Errorf("%s: changed %d, %v; want %d", verb, n, err, len(want))
			}
			for _, v := range ids[1:] {
				m := h.store.messages[v]
				made := m == nil || m.env.Priority == 3 || v != ids[1] && m.held
				if made != slices.Contains(want, v) {
					t.Errorf("%s of message %s: made %v", verb, v, made)
				}
			}
			open.Store(true)
		})
	}
}

func TestAnActionGoesThroughAQueueOfManyBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, open, stop := stuck(t)
		defer stop()
		const n = 3*batchMessages + 7
		for i := range n {
			h.send(t, letter("joe@here.test", fmt.Sprintf("a@far%d.test", i%3)))
		}
		wide := make([]string, 2*batchRecipients+1) // alone it is more than a batch
		for i := range wide {
			wide[i] = fmt.Sprintf("u%d@wide.test", i)
		}
		h.send(t, letter("joe@here.test", wide...))
		synctest.Wait()
		if m, r, err := h.Count(t.Context(), Filter{}); m != n+1 || r != n+len(wide) || err != nil {
			t.Errorf("counted %d messages, %d recipients, %v", m, r, err)
		}
		h.store.loads = 0
		if m, _, err := h.Count(t.Context(), Filter{Domain: "nowhere.test"}); m != 0 || err != nil || h.store.loads > n/100 {
			t.Errorf("counted %d of nowhere, %v, with %d envelopes read", m, err, h.store.loads)
		}
		for _, x := range []struct {
			f    Filter
			verb Verb
			want int
		}{
			{Filter{}, Hold, n + 1},
			{Filter{}, Hold, 0},
			{Filter{Domain: "far1.test"}, Release, (n + 1) / 3},
			{Filter{State: "held"}, Release, n + 1 - (n+1)/3},
			{Filter{}, Retry, n + 1},
		} {
			if got, err := h.Act(t.Context(), x.f, Action{Verb: x.verb}); got != x.want || err != nil {
				t.Errorf("%s %+v: changed %d, %v; want %d", x.verb, x.f, got, err, x.want)
			}
			if x.verb == Hold {
				if s := h.Stats(0); s.Held != n+1 {
					t.Errorf("%d are held", s.Held)
				}
			}
		}
		pages, sum, cursor := 0, Acted{}, ""
		for { // page by page it is the same, and each page tells how far it is
			done, err := h.ActOn(t.Context(), Filter{Domain: "far1.test"}, Action{Verb: Priority, Priority: 3}, 100, cursor)
			if err != nil || done.Changed != done.Matched || done.Next != "" && done.Matched < 100 {
				t.Fatalf("%+v, %v", done, err)
			}
			sum.Changed, sum.Matched = sum.Changed+done.Changed, sum.Matched+done.Matched
			pages++
			if cursor = done.Next; cursor == "" {
				break
			}
		}
		if sum.Changed != (n+1)/3 || pages < 2 {
			t.Errorf("%+v in %d pages", sum, pages)
		}
		if _, err := h.ActOn(t.Context(), Filter{}, Action{Verb: Retry}, 1, "nonsense"); err == nil {
			t.Error("a cursor that is none is taken")
		}
		synctest.Wait() // or what is being tried is deferred after the flush
		open.Store(true)
		h.Flush()
		synctest.Wait()
		if left := h.store.left(); left != 0 {
			t.Errorf("%d left", left)
		}
	})
}

func TestADeliveryHasABoundedNumberOfRecipients(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		most, all := 0, map[string]int{}
		h := build(t, plan{remote: target(func(job *deliver.Job, r deliver.Recipient) deliver.Verdict {
			mu.Lock()
			defer mu.Unlock()
			most = max(most, len(job.Recipients))
			all[r.To.String()]++
			if r.ORcpt != "rfc822;"+r.To.String() || r.Notify != mail.NotifyFailure {
				t.Errorf("the wishes of %s are %q, %v", r.To, r.ORcpt, r.Notify)
			}
			return deliver.Verdict{Err: noMailbox}
		})})
		stop := h.start()
		to := make([]string, 2*jobRecipients+5)
		for i := range to {
			to[i] = fmt.Sprintf("u%d@far.test", i)
		}
		env := letter("joe@here.test", to...)
		for i := range env.Recipients {
			env.Recipients[i].ORcpt, env.Recipients[i].Notify = "rfc822;"+to[i], mail.NotifyFailure
		}
		h.send(t, env)
		synctest.Wait()
		stop()
		if most != jobRecipients || len(all) != len(to) || h.store.left() != 0 || len(h.mailed) != 1 {
			t.Errorf("%d recipients at once, %d in all, %d left, %d bounces; want %d, %d, none, one", most, len(all), h.store.left(), len(h.mailed), jobRecipients, len(to))
		}
	})
}

// A message that was put off without an attempt, since its destination does not answer, keeps its time over a restart.
func TestDueTimesThatOnlyMemoryKnowsAreStoredAtTheStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := build(t, plan{options: Options{DeadAfter: 1, DeadWait: 24 * time.Hour, DeadWaitMost: 24 * time.Hour}, remote: target(func(*deliver.Job, deliver.Recipient) deliver.Verdict {
			return deliver.Verdict{Err: noConnect}
		})})
		stop := h.start()
		var ids []id.ID
		for range batchMessages + 3 {
			ids = append(ids, h.send(t, letter("joe@here.test", "a@dead.test")))
		}
		time.Sleep(6 * time.Hour)
		synctest.Wait()
		before := time.Now()
		for _, v := range ids {
			if h.store.state(v, 0).Next.After(before) {
				t.Fatal("the store knows already")
			}
		}
		stop()
		for _, v := range ids {
			if !h.store.state(v, 0).Next.After(before) {
				t.Fatalf("message %s is due at %v, which is past", v, h.store.state(v, 0).Next)
			}
		}
	})
}
