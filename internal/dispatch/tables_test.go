package dispatch

import (
	"testing"
	"testing/synctest"
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
