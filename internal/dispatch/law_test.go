package dispatch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/postilion/postilion/internal/bounce"
	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
)

// scenario is a random queue with random trouble.
type scenario struct {
	letters   [][]string // recipients of each
	fates     map[string][]int
	storeFail []int // which calls of the store fail
	lateFail  []int // which Finishes fail after they took effect
	steps     []step
	options   Options
}

// step is what an operator does after some seconds.
type step struct {
	after int
	what  string
}

// do makes a step; "restart" is the caller's.
func (x step) do(h *house) {
	ctx := context.Background()
	switch verb := Verb(x.what); verb {
	case Retry, Hold, Release:
		h.Act(ctx, Filter{}, Action{Verb: verb})
	case Priority:
		h.Act(ctx, Filter{Domain: "a.test"}, Action{Verb: verb, Priority: int8(x.after % 3)})
	case Group:
		h.Act(ctx, Filter{To: "*@b.test"}, Action{Verb: verb, Group: "other"})
	case "pause":
		h.Pause(Scope{Domain: "a.test"})
	case "continue":
		h.Continue(Scope{Domain: "a.test"})
	case "flush":
		h.Flush()
	case "edit":
		if list, _, _ := h.List(ctx, Filter{}, 1, ""); len(list) > 0 {
			r := list[0].Recipients[len(list[0].Recipients)-1]
			h.Edit(ctx, list[0].ID, r.N, mail.ParseAddress(r.To))
		}
	}
}

var steps = []string{"restart", "retry", "hold", "release", "priority", "group", "pause", "continue", "flush", "edit"}

// The fates of an attempt.
const (
	fateOK = iota
	fateLater
	fateDown
	fateNo
	fates
)

func drawScenario(t *rapid.T) scenario {
	small := rapid.IntRange(0, 60)
	s := scenario{
		fates:     map[string][]int{},
		storeFail: rapid.SliceOfN(small, 0, 8).Draw(t, "storeFail"),
		lateFail:  rapid.SliceOfN(small, 0, 4).Draw(t, "lateFail"),
		options: Options{
			RemoteParallel: rapid.IntRange(1, 5).Draw(t, "remote"), LocalParallel: rapid.IntRange(1, 3).Draw(t, "local"),
			DestParallel: rapid.IntRange(1, 3).Draw(t, "dest"), RouteParallel: rapid.IntRange(1, 3).Draw(t, "route"),
			EnvelopesInMem: rapid.IntRange(1, 4).Draw(t, "envelopes"), ResultsInMem: rapid.IntRange(1, 4).Draw(t, "results"),
		},
	}
	for range rapid.IntRange(0, 8).Draw(t, "steps") {
		s.steps = append(s.steps, step{rapid.SampledFrom([]int{0, 1, 30, 500, 3600, 20000}).Draw(t, "after"), rapid.SampledFrom(steps).Draw(t, "step")})
	}
	for i := range rapid.IntRange(1, 6).Draw(t, "letters") {
		var to []string
		for j := range rapid.IntRange(1, 5).Draw(t, "recipients") {
			domain := rapid.SampledFrom([]string{"here.test", "a.test", "b.test"}).Draw(t, "domain")
			r := fmt.Sprintf("u%d-%d@%s", i, j, domain)
			to = append(to, r)
			s.fates[r] = rapid.SliceOfN(rapid.IntRange(0, fates-1), 0, 4).Draw(t, "fate")
		}
		s.letters = append(s.letters, to)
	}
	return s
}

// ends counts how recipients ended.
type ends struct {
	mu        sync.Mutex
	delivered map[string]int
	bounced   map[string]int
	now, most map[string]int
	trouble   []string
}

// fate delivers by the scenario; when its fates are used up all goes well.
func (e *ends) fate(s *scenario) target {
	return func(job *deliver.Job, r deliver.Recipient) deliver.Verdict {
		to := r.To.String()
		if r.To.Local == "sender" {
			return deliver.Verdict{Err: e.readBounce(job)}
		}
		e.mu.Lock()
		e.now[r.To.Domain]++
		e.most[r.To.Domain] = max(e.most[r.To.Domain], e.now[r.To.Domain])
		e.mu.Unlock()
		time.Sleep(time.Second)
		e.mu.Lock()
		defer e.mu.Unlock()
		e.now[r.To.Domain]--
		f := fateOK
		if left := s.fates[to]; len(left) > 0 {
			f, s.fates[to] = left[0], left[1:]
		}
		switch f {
		case fateLater:
			return deliver.Verdict{Err: greylist}
		case fateDown:
			return deliver.Verdict{Err: noConnect}
		case fateNo:
			return deliver.Verdict{Err: noMailbox}
		}
		e.delivered[to]++
		return deliver.Verdict{}
	}
}

func (e *ends) readBounce(job *deliver.Job) *reason.Error {
	body, err := job.Body()
	if err != nil {
		return reason.LocalError.Because(err)
	}
	defer body.Close()
	rep, err := bounce.Parse(body)
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		e.trouble = append(e.trouble, err.Error())
	}
	for _, r := range rep.Recipients {
		e.bounced[r.Final]++
	}
	return nil
}

func (s *scenario) fail(list []int) func(string) error {
	var mu sync.Mutex
	calls := 0
	return func(what string) error {
		mu.Lock()
		defer mu.Unlock()
		calls++
		for _, n := range list {
			if n == calls && what != "commit" {
				return errors.New("trouble with " + what)
			}
		}
		return nil
	}
}

// TestEveryRecipientEndsExactlyOnce is the law of dispatch: under failing stores,
// restarts, operators and every mix of verdicts each recipient is either delivered once or
// bounced once.
func TestEveryRecipientEndsExactlyOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := drawScenario(rt)
		e := &ends{delivered: map[string]int{}, bounced: map[string]int{}, now: map[string]int{}, most: map[string]int{}}
		left := 0
		synctest.Test(t, func(t *testing.T) {
			store := newStore()
			p := plan{store: store, options: s.options, mailbox: e.fate(&s), remote: e.fate(&s)}
			h := build(t, p)
			stop := h.start()
			for _, to := range s.letters {
				h.send(t, letter("sender@here.test", to...))
			}
			store.mu.Lock()
			store.fail, store.after = s.fail(s.storeFail), s.fail(s.lateFail)
			store.mu.Unlock()
			for _, x := range s.steps {
				time.Sleep(time.Duration(x.after)*time.Second + time.Second/2)
				if x.what == "restart" {
					stop()
					h = build(t, p)
					stop = h.start()
				}
				x.do(h)
			}
			synctest.Wait() // what a restart found is claimed
			h.Continue(Scope{Domain: "a.test"})
			for range 10 { // the store may still fail now and then
				h.Act(context.Background(), Filter{}, Action{Verb: Release})
			}
			time.Sleep(48 * time.Hour)
			synctest.Wait()
			stop()
			left = store.left()
		})
		if left != 0 {
			rt.Errorf("%d messages left", left)
		}
		for _, to := range s.letters {
			for _, r := range to {
				if e.delivered[r]+e.bounced[r] != 1 {
					rt.Errorf("%s: delivered %d times, bounced %d times", r, e.delivered[r], e.bounced[r])
				}
			}
		}
		for domain, n := range e.most {
			if limit := s.options.DestParallel; domain != "here.test" && n > limit || domain == "here.test" && n > s.options.LocalParallel {
				rt.Errorf("%d deliveries at once to %s", n, domain)
			}
		}
		if len(e.trouble) > 0 {
			rt.Errorf("trouble: %s", strings.Join(e.trouble, "; "))
		}
	})
}
