package dispatch

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/mail/archive"
)

func TestAnArchiveGetsItsCopyOnceAndNeverLoops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		var finishes atomic.Int32
		store.fail = func(what string) error {
			if what == "finish" && finishes.Add(1) <= 2 {
				return errors.New("the disk")
			}
			return nil
		}
		got := map[string]int{}
		h := build(t, plan{store: store, remote: target(func(j *deliver.Job, r deliver.Recipient) deliver.Verdict {
			what := "message"
			if body := string(bodyOf(t, j)); strings.Contains(body, "\nsha256 ") {
				what = "digest"
			} else if strings.Contains(body, "failure notice") {
				what = "bounce"
			}
			got[r.To.String()+" "+what]++
			if r.To.Local == "gone" {
				return deliver.Verdict{Err: noMailbox}
			}
			return deliver.Verdict{}
		})})
		rules, err := archive.Parse([]string{"* log@far.test", "* sum@far.test digest", "* gone@far.test"})
		if err != nil {
			t.Fatal(err)
		}
		h.deps.Archive = rules
		stop := h.start()
		env := letter("joe@far.test", "x@here.test", "nobody@here.test")
		rules.Add(env) // as submit does
		h.send(t, env)
		time.Sleep(time.Hour)
		synctest.Wait()
		stop()
		want := map[string]int{ // of the message, and of its bounce
			"log@far.test message": 1, "log@far.test bounce": 1, "sum@far.test digest": 2, "gone@far.test message": 1, "gone@far.test bounce": 1, "joe@far.test bounce": 1,
		}
		for what, n := range want {
			if got[what] != n {
				t.Errorf("%s: %d times, want %d", what, got[what], n)
			}
		}
		if len(got) != len(want) || store.left() != 0 || h.count.Bounces != 1 || len(h.mailed) != 1 {
			t.Errorf("delivered %v, %d left, counted %+v", got, store.left(), h.count)
		}
	})
}
