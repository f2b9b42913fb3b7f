package dispatch

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/trace"
)

// sendsOn is a mailbox target whose system users forward to a@far.test.
func (h *house) sendsOn(job *deliver.Job, r deliver.Recipient) deliver.Verdict {
	if r.User == nil {
		return h.keepMail(job, r)
	}
	return deliver.Verdict{Text: "did 0+1+0\n", Forward: &deliver.Forward{From: r.From, To: []mail.Address{mail.ParseAddress("a@far.test")}}}
}

func TestWhatAUserSendsOnIsCommittedOnceWithTheSuccess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		var finishes atomic.Int32
		store.fail = func(what string) error { // the disk fails at first
			if what == "finish" && finishes.Add(1) <= 2 {
				return errors.New("the disk")
			}
			return nil
		}
		var got []string
		h := build(t, plan{store: store, remote: target(func(j *deliver.Job, r deliver.Recipient) deliver.Verdict {
			got = append(got, string(bodyOf(t, j)))
			if j.Envelope.From.String() != "joe@a.test" {
				t.Errorf("sent on for %q", j.Envelope.From)
			}
			return deliver.Verdict{Relayed: true} // and so tells of the success
		})})
		h.deps.Mailbox = target(h.sendsOn)
		stop := h.start()
		env := letter("joe@a.test", "sys-Ext@here.test")
		env.Recipients[0].Notify = mail.NotifySuccess
		h.send(t, env)
		time.Sleep(time.Hour)
		synctest.Wait()
		stop()
		if len(got) != 1 || got[0] != "Delivered-To: sys-Ext@here.test\n"+sample {
			t.Errorf("sent on %q", got)
		}
		for _, e := range h.events.All() {
			if e.Kind == trace.Delivered && e.Message == env.ID && !strings.HasPrefix(e.Text, "did 0+1+0\nqp ") {
				t.Errorf("told %q", e.Text)
			}
		}
		if s := store.left(); s != 0 {
			t.Errorf("%d messages left", s)
		}
	})
}

func bodyOf(t *testing.T, j *deliver.Job) []byte {
	t.Helper()
	b, err := j.Body()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	p := make([]byte, 10_000)
	n, _ := b.Read(p)
	return p[:n]
}

func TestAnotherSenderIsNotAskedForTheFirstOnesNotices(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var far *mail.Envelope
		h := build(t, plan{
			mailbox: target(func(_ *deliver.Job, r deliver.Recipient) deliver.Verdict {
				return deliver.Verdict{Forward: &deliver.Forward{From: mail.ParseAddress("sys-owner-@here.test-@[]"), To: []mail.Address{mail.ParseAddress("a@far.test"), mail.ParseAddress("b@far.test")}}}
			}),
			remote: target(func(j *deliver.Job, r deliver.Recipient) deliver.Verdict {
				far = j.Envelope
				if want := "sys-owner-" + r.To.Local + "=far.test@here.test"; r.From.String() != want {
					t.Errorf("sender %q, want %q", r.From, want)
				}
				return deliver.Verdict{}
			}),
		})
		stop := h.start()
		env := letter("joe@a.test", "sys@here.test")
		env.Recipients[0].Notify, env.EnvID = mail.NotifyNever, "x"
		h.send(t, env)
		synctest.Wait()
		stop()
		if far == nil || far.EnvID != "" || far.Recipients[0].Notify != 0 || far.Recipients[0].ORcpt != "" {
			t.Errorf("sent on as %+v", far)
		}
	})
}

func TestEveryFormOfAVERPSenderIsExpandedAsQmailSendDoes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ from, to, want string }{
		{"owner-@h.test-@[]", "a@far.test", "owner-a=far.test@h.test"},
		{"list-@h.test-@[]", "a+b=c@far.test", "list-a+b=c=far.test@h.test"},
		{"x@y-@h.test-@[]", "a@b@far.test", "x@y-a@b=far.test@h.test"},
		{"@h.test-@[]", "a@far.test", "a=far.test@h.test"},
		{"owner-@[]", "a@far.test", "owner-@[]"},
		{"owner-@h.test-@[]", "a", "owner-@h.test-@[]"},
		{"-@[]", "a@far.test", "-@[]"},
		{"#@[]", "a@far.test", "#@[]"},
		{"owner@h.test", "a@far.test", "owner@h.test"},
		{"", "a@far.test", ""},
	} {
		if got := expandVERP(mail.ParseAddress(c.from), mail.ParseAddress(c.to)).String(); got != c.want {
			t.Errorf("%s for %s: %s, want %s", c.from, c.to, got, c.want)
		}
	}
}

func TestSlowProgramsHoldUpNobodyElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var slow, most atomic.Int32
		h := build(t, plan{options: Options{LocalParallel: 4, UserParallel: 2}, mailbox: target(func(j *deliver.Job, r deliver.Recipient) deliver.Verdict {
			if len(j.Recipients) != 1 && r.User != nil {
				t.Errorf("%d users in a job", len(j.Recipients))
			}
			if r.User != nil && r.User.Name == "sysslow" {
				most.Store(max(most.Load(), slow.Add(1)))
				time.Sleep(time.Hour)
				slow.Add(-1)
			}
			return deliver.Verdict{}
		})})
		stop := h.start()
		for range 20 {
			h.send(t, letter("joe@a.test", "sysslow-a@here.test", "sysslow-b@here.test"))
		}
		begin := time.Now()
		other := letter("joe@a.test", "sysfast@here.test", "box@here.test")
		h.send(t, other)
		synctest.Wait()
		if n := time.Since(begin); n != 0 || h.store.state(other.ID, 0).State != queue.Delivered || h.store.state(other.ID, 1).State != queue.Delivered {
			t.Errorf("others waited %v: %+v", n, h.store.state(other.ID, 0))
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		stop()
		if most.Load() != 2 {
			t.Errorf("%d at once for one user, want 2", most.Load())
		}
	})
}

// What ends at once shares its syncs with more of its kind; a slow one shows that the user's deliveries
// may hold others up.
func TestAUsersQuickDeliveriesRunManyAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int32
		var takes atomic.Int64
		takes.Store(int64(10 * time.Millisecond))
		h := build(t, plan{options: Options{LocalParallel: 100, UserParallel: 4}, mailbox: target(func(_ *deliver.Job, r deliver.Recipient) deliver.Verdict {
			if r.User != nil && r.User.Name == "sysjoe" {
				n := running.Add(1)
				for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
				}
				time.Sleep(time.Duration(takes.Load()))
				running.Add(-1)
			}
			return deliver.Verdict{}
		})})
		defer h.start()()
		burst := func(n int, each time.Duration) int32 {
			takes.Store(int64(each))
			most.Store(0)
			for range n {
				h.send(t, letter("joe@a.test", "sysjoe@here.test"))
			}
			time.Sleep(time.Duration(n+1) * each)
			synctest.Wait()
			return most.Load()
		}
		if n := burst(3, 10*time.Millisecond); n != 3 {
			t.Errorf("%d at once of three", n)
		}
		if n := burst(200, 10*time.Millisecond); n != 10 {
			t.Errorf("%d at once, want ten", n)
		}
		if n := burst(100, 2*time.Second); n != 10 {
			t.Errorf("%d at once before one was seen to be slow", n)
		}
		if n := burst(100, 2*time.Second); n != 4 {
			t.Errorf("%d at once after one was slow, want 4", n)
		}
	})
}

func TestNoUsersQuickDeliveriesTakeMoreThanHalfOfThePlaces(t *testing.T) {
	t.Parallel()
	d := &Dispatcher{opt: Options{LocalParallel: 30, UserParallel: 10}, limits: [kinds]int{user: 30}}
	to := &dest{kind: user, window: 10}
	for range 1000 {
		d.pace(to, 0)
	}
	for running, want := range map[int]int{0: 15, 14: 15, 15: 10, 30: 10} {
		if d.running[user] = running; d.room(to) != want {
			t.Errorf("with %d under way there is room for %d, want %d", running, d.room(to), want)
		}
	}
	d.running[user] = 0
	if d.pace(to, slow/2); d.room(to) != 15 {
		t.Errorf("after one that took half a second: %d", d.room(to))
	}
	if d.pace(to, slow); d.room(to) != 10 {
		t.Errorf("after a slow one: %d", d.room(to))
	}
	d.opt.LocalParallel = 4 // fewer than one user's
	if d.pace(to, 0); d.room(to) != 10 {
		t.Errorf("with few places: %d", d.room(to))
	}
}
