package dispatch

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/postilion/postilion/internal/bounce"
	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/trace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// attempts runs a message whose deliveries are always deferred and returns the ages
// at which it was tried.
func attempts(t *testing.T, to string, o Options) (ages []int, h *house) {
	var mu sync.Mutex
	begin := time.Now()
	f := target(func(*deliver.Job, deliver.Recipient) deliver.Verdict {
		mu.Lock()
		defer mu.Unlock()
		ages = append(ages, int(time.Since(begin)/time.Second))
		return deliver.Verdict{Err: greylist}
	})
	p := plan{options: o, mailbox: f, remote: f}
	h = build(t, p)
	stop := h.start()
	h.send(t, letter("", to)) // the bounce of a bounce goes to postmaster, who defers too
	time.Sleep(7*24*time.Hour + 2*time.Hour)
	synctest.Wait()
	stop()
	return ages, h
}

// Vector 18 of the qmail reference, and its table A.1.
func TestRetriesComeAtTheTimesOfTheReference(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		to         string
		skip, want int
	}{{"joe@far.test", 20, 40}, {"joe@here.test", 10, 79}} {
		t.Run(c.to, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ages, h := attempts(t, c.to, Options{DestParallel: 1})
				var want []int
				for k := range c.want {
					want = append(want, k*c.skip*k*c.skip)
				}
				if want[c.want-1] != 608400 {
					t.Fatalf("the table ends at %d", want[c.want-1])
				}
				if len(ages) < c.want || !slices.Equal(ages[:c.want], want) {
					t.Errorf("attempts at %v, want %v", ages, want)
				}
				if got := len(h.events.Of(trace.Failed)); got != 1 {
					t.Errorf("%d failures, want 1", got)
				}
				var last *reason.Error
				for _, m := range h.store.history {
					last = m.states[0].Err
				}
				if last == nil || last.Class != reason.Permanent || !strings.Contains(last.Text(reason.English), "I'm not going to try again; this message has been in the queue too long.") {
					t.Errorf("the last attempt ended with %v", last)
				} else if strings.Contains(last.Text(reason.English), "..") {
					t.Errorf("two sentences end with two dots: %q", last.Text(reason.English))
				}
			})
		})
	}
}

func TestNewMailIsDeliveredAtOnceWithoutReadingTheDisk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := build(t, plan{mailbox: target(delivered)})
		stop := h.start()
		begin := time.Now()
		h.send(t, letter("joe@a.test", "x@here.test", "y@here.test", "z@far.test"))
		synctest.Wait()
		if n := h.store.left(); n != 0 || time.Since(begin) != 0 {
			t.Errorf("%d messages left after %v", n, time.Since(begin))
		}
		if h.store.loads != 0 {
			t.Errorf("%d reads", h.store.loads)
		}
		for k, want := range map[trace.Kind]int{trace.Accepted: 1, trace.Routed: 3, trace.Attempt: 3, trace.Delivered: 3, trace.Finished: 1} {
			if got := len(h.events.Of(k)); got != want {
				t.Errorf("%d events %s, want %d", got, k, want)
			}
		}
		stop()
	})
}

func TestFailuresOfAMessageMakeOneBounce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := build(t, plan{remote: target(func(_ *deliver.Job, r deliver.Recipient) deliver.Verdict {
			if r.To.Domain == "slow.test" {
				time.Sleep(time.Minute)
			}
			return deliver.Verdict{Err: noMailbox, Transcript: ">>> RCPT TO:<" + r.To.String() + ">\n<<< 550 no"}
		})})
		stop := h.start()
		defer stop()
		h.send(t, letter("joe@here.test", "a@far.test", "b@slow.test", "nobody@here.test", "ok@here.test"))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if len(h.mailed) != 2 {
			t.Fatalf("%d messages in mailboxes, want the message and its bounce", len(h.mailed))
		}
		r, err := bounce.Parse(strings.NewReader(string(h.mailed[1].body)))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, x := range r.Recipients {
			got = append(got, x.Final)
		}
		slices.Sort(got)
		if want := []string{"a@far.test", "b@slow.test", "nobody@here.test"}; !slices.Equal(got, want) {
			t.Errorf("bounced %q, want %q", got, want)
		}
		if !strings.Contains(string(h.mailed[1].body), "<<< 550 no") {
			t.Error("the transcript is missing")
		}
		if h.store.left() != 0 {
			t.Errorf("%d messages left", h.store.left())
		}
	})
}

// Vector 35 of the qmail reference.
func TestDoubleBouncesGoToPostmasterAndTripleOnesAreDropped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var seen []string
		h := build(t, plan{remote: target(func(j *deliver.Job, r deliver.Recipient) deliver.Verdict {
			seen = append(seen, j.Envelope.From.String()+" "+r.To.String())
			return deliver.Verdict{Err: noMailbox}
		})})
		h.deps.Bouncer.DoubleHost = "far.test"
		stop := h.start()
		h.send(t, letter("joe@a.test", "x@far.test"))
		synctest.Wait()
		stop()
		want := []string{"joe@a.test x@far.test", " joe@a.test", "#@[] postmaster@far.test"}
		if !slices.Equal(seen, want) {
			t.Errorf("deliveries %q, want %q", seen, want)
		}
		if h.count.Bounces != 1 || h.count.Double != 1 || h.count.Triple != 1 || h.store.left() != 0 {
			t.Errorf("counted %+v, %d left", h.count, h.store.left())
		}
	})
}

func TestAForwardIsOneMessageToAllTargetsAndLoopsAreFound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := build(t, plan{})
		stop := h.start()
		first := h.send(t, letter("joe@a.test", "two@here.test"))
		synctest.Wait()
		if len(h.mailed) != 1 || h.mailed[0].env.Parent != first || len(h.mailed[0].env.Recipients) != 2 {
			t.Fatalf("mailbox got %+v", h.mailed)
		}
		if got, want := string(h.mailed[0].body), "Delivered-To: two@here.test\n"+sample; got != want {
			t.Errorf("body %q, want %q", got, want)
		}
		if e := h.mailed[0].env; e.Size != int64(len(h.mailed[0].body)) || e.CRLFSize != e.Size+int64(strings.Count(string(h.mailed[0].body), "\n")) {
			t.Errorf("sizes %d and %d", e.Size, e.CRLFSize)
		}
		h.send(t, letter("joe@here.test", "loop@here.test"))
		synctest.Wait()
		stop()
		if len(h.mailed) != 2 || !strings.Contains(string(h.mailed[1].body), "5.4.6") {
			t.Errorf("no bounce of the loop: %d", len(h.mailed))
		}
		if h.store.left() != 0 {
			t.Errorf("%d messages left", h.store.left())
		}
	})
}

func TestAForwardCarriesTheWishesForNotices(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var far *mail.Envelope
		h := build(t, plan{remote: target(func(j *deliver.Job, _ deliver.Recipient) deliver.Verdict {
			far = j.Envelope
			return deliver.Verdict{}
		})})
		stop := h.start()
		env := letter("joe@here.test", "two@here.test")
		env.Recipients[0].Notify = mail.NotifySuccess | mail.NotifyFailure
		h.send(t, env)
		synctest.Wait()
		stop()
		want := mail.Recipient{To: mail.ParseAddress("b@far.test"), ORcpt: "rfc822;two@here.test", Notify: mail.NotifyFailure}
		if far == nil || far.Recipients[1] != want {
			t.Errorf("forwarded as %+v", far)
		}
		told := 0
		for _, m := range h.mailed {
			if strings.Contains(string(m.body), "\nAction: expanded\n") {
				told++
			}
		}
		if told != 1 {
			t.Errorf("%d notices of the expansion", told)
		}
	})
}

func TestVERPSendersAreExpandedAndSplit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got []string
		h := build(t, plan{remote: target(func(j *deliver.Job, r deliver.Recipient) deliver.Verdict {
			if len(j.Recipients) != 1 {
				t.Errorf("%d recipients in a job", len(j.Recipients))
			}
			got = append(got, r.From.String())
			return deliver.Verdict{}
		}), options: Options{RemoteParallel: 1}})
		stop := h.start()
		h.send(t, letter("owner-@host.test-@[]", "a@far.test", "b@far.test"))
		synctest.Wait()
		stop()
		slices.Sort(got)
		if want := []string{"owner-a=far.test@host.test", "owner-b=far.test@host.test"}; !slices.Equal(got, want) {
			t.Errorf("senders %q, want %q", got, want)
		}
	})
}

func TestRecipientsRefusedAtAcceptanceFailWithoutAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := build(t, plan{})
		stop := h.start()
		env := letter("joe@here.test", "x@far.test")
		env.Recipients[0].Refused = noMailbox
		h.send(t, env)
		synctest.Wait()
		stop()
		if len(h.events.Of(trace.Attempt)) != 1 || len(h.mailed) != 1 { // the bounce's own
			t.Errorf("%d attempts, %d bounces", len(h.events.Of(trace.Attempt)), len(h.mailed))
		}
		if s := h.store.state(env.ID, 0); s.Attempts != 0 || s.State != queue.Done {
			t.Errorf("state %+v", s)
		}
	})
}

func TestTheStoreFailingLosesNoResultAndMakesNoSecondBounce(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h := build(t, plan{remote: target(func(*deliver.Job, deliver.Recipient) deliver.Verdict {
				return deliver.Verdict{Err: noMailbox}
			})})
			stop := h.start()
			var n atomic.Int32
			fail := func(what string) error {
				if what == "finish" {
					if n := n.Add(1); n <= 5 && !late || n == 1 {
						return errors.New("disk on fire")
					}
				}
				return nil
			}
			if late { // the record took effect, but nobody knows
				h.store.after = fail
			} else {
				h.store.fail = fail
			}
			h.send(t, letter("joe@here.test", "x@far.test"))
			time.Sleep(time.Minute)
			synctest.Wait()
			stop()
			if len(h.mailed) != 1 || h.store.left() != 0 {
				t.Errorf("late %v: %d bounces, %d left", late, len(h.mailed), h.store.left())
			}
		})
	}
}

func TestABounceGoesWithoutAMessageThatCannotBeRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := build(t, plan{remote: target(func(*deliver.Job, deliver.Recipient) deliver.Verdict {
			return deliver.Verdict{Err: noMailbox}
		}), mailbox: target(delivered)})
		n := 0
		h.store.fail = func(what string) error {
			if what == "body" {
				n++
				return errors.New("bad sector")
			}
			return nil
		}
		stop := h.start()
		h.send(t, letter("joe@here.test", "x@far.test"))
		time.Sleep(time.Minute)
		synctest.Wait()
		stop()
		if h.store.left() != 0 || h.count.Bounces != 1 || n != unreadable+1 {
			t.Errorf("%d left, %d bounces, %d reads", h.store.left(), h.count.Bounces, n)
		}
	})
}

func TestTroubleInRoutingIsTriedAgainSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		h := build(t, plan{router: routes{err: func(mail.Address) error {
			if time.Since(begin) < 3*time.Second {
				return reason.LocalError
			}
			return nil
		}}})
		stop := h.start()
		h.send(t, letter("joe@a.test", "x@here.test"))
		time.Sleep(6 * time.Second)
		synctest.Wait()
		stop()
		if len(h.mailed) != 1 {
			t.Error("not delivered once the address could be resolved")
		}
	})
}

func TestAClaimMadeAnewLosesNoResult(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		h := build(t, plan{remote: target(func(*deliver.Job, deliver.Recipient) deliver.Verdict {
			n.Add(1)
			time.Sleep(time.Minute)
			return deliver.Verdict{}
		})})
		stop := h.start()
		h.send(t, letter("joe@a.test", "x@far.test"))
		time.Sleep(59*time.Second + 900*time.Millisecond)
		h.store.mu.Lock()
		h.store.fence++
		close(h.store.over) // the store ends the claim; it is made again after a second
		h.store.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		stop()
		if n.Load() != 1 || h.store.left() != 0 {
			t.Errorf("%d deliveries, %d left", n.Load(), h.store.left())
		}
	})
}

func TestWishesForNoticesAreHonoured(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		notify  mail.Notify
		err     *reason.Error
		relayed bool
		after   time.Duration
		want    string // the subject of the notice, "" for none
	}{
		{"failure by default", 0, noMailbox, false, 0, "failure notice"},
		{"never", mail.NotifyNever, noMailbox, false, 0, ""},
		{"only success wanted, failed", mail.NotifySuccess, noMailbox, false, 0, ""},
		{"success", mail.NotifySuccess, nil, false, 0, "success notice"},
		{"success told by the next host", mail.NotifySuccess, nil, true, 0, ""},
		{"delay by default", 0, greylist, false, 5 * time.Hour, "delay notice"},
		{"delay wanted", mail.NotifyDelay, greylist, false, 5 * time.Hour, "delay notice"},
		{"delay not wanted", mail.NotifyFailure, greylist, false, 5 * time.Hour, ""},
		{"delay once", mail.NotifyDelay, greylist, false, 48 * time.Hour, "delay notice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := build(t, plan{options: Options{DelayNotice: 4 * time.Hour}, remote: target(func(*deliver.Job, deliver.Recipient) deliver.Verdict {
					return deliver.Verdict{Err: c.err, Relayed: c.relayed, Host: "mx.far.test", Addr: "192.0.2.1"}
				})})
				stop := h.start()
				defer stop()
				env := letter("joe@here.test", "x@far.test")
				env.Recipients[0].Notify = c.notify
				h.send(t, env)
				time.Sleep(c.after)
				synctest.Wait()
				var got []string
				for _, m := range h.mailed {
					_, subject, _ := strings.Cut(string(m.body), "Subject: ")
					subject, _, _ = strings.Cut(subject, "\n")
					got = append(got, subject)
				}
				var want []string
				if c.want != "" {
					want = []string{c.want}
				}
				if !slices.Equal(got, want) {
					t.Errorf("notices %q, want %q", got, want)
				}
			})
		})
	}
}
