package dispatch

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/mail"
)

// Vector 30, as far as it is dispatch's: what route says to drop is taken and gone, and nobody hears of it.
func TestVector30WhatIsDroppedIsASuccess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := build(t, plan{})
		stop := h.start()
		h.send(t, letter("joe@a.test", "drop@here.test"))
		synctest.Wait()
		stop()
		if len(h.mailed) != 0 || h.store.left() != 0 || h.count.Bounces != 0 || h.count.Delivered != 1 {
			t.Errorf("mailed %d, left %d, counted %+v", len(h.mailed), h.store.left(), h.count)
		}
	})
}

func TestTheOwnerOfAnAliasIsTheSenderOfWhatGoesOnButNeverOfABounce(t *testing.T) {
	t.Parallel()
	for from, want := range map[string]string{"joe@a.test": "owner@here.test", "": "", "#@[]": "#@[]"} {
		synctest.Test(t, func(t *testing.T) {
			h := build(t, plan{})
			stop := h.start()
			h.send(t, letter(from, "owned@here.test"))
			synctest.Wait()
			stop()
			if len(h.mailed) != 1 || h.mailed[0].env.From.String() != want {
				t.Errorf("from %q: %+v, want sender %q", from, h.mailed, want)
			}
		})
	}
}

func TestMailThatIsSentOnElsewhereHasItsOwnReversePath(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var from []string
		h := build(t, plan{remote: target(func(_ *deliver.Job, r deliver.Recipient) deliver.Verdict {
			mu.Lock()
			defer mu.Unlock()
			from = append(from, r.From.String())
			return deliver.Verdict{}
		})})
		h.deps.Sender = func(_ context.Context, from mail.Address) (mail.Address, error) {
			return mail.Address{Local: "SRS0=x=" + from.Domain + "=" + from.Local, Domain: "here.test"}, nil
		}
		stop := h.start()
		h.send(t, letter("joe@a.test", "two@here.test"))
		h.send(t, letter("joe@a.test", "direct@far.test"))
		synctest.Wait()
		stop()
		slices.Sort(from)
		if want := []string{"SRS0=x=a.test=joe@here.test", "joe@a.test"}; !slices.Equal(from, want) {
			t.Errorf("reverse-paths %q, want %q", from, want)
		}
	})
}
