package auth

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

func TestWhoServesSessionsHearsOfEachChangeOnce(t *testing.T) {
	t.Parallel()
	r := NewRevoked()
	r.Add(1)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	began := r.Since(over, Mark{})
	if !cmp.Equal(began.Accounts, []uint64{1}) || began.All {
		t.Errorf("who begins hears %+v", began)
	}
	r.Add(2)
	r.Add(3)
	got := r.Since(over, began.Now)
	if d := cmp.Diff([]uint64{2, 3}, got.Accounts); d != "" || got.All {
		t.Errorf("%+v: %s", got, d)
	}
	if got = r.Since(over, got.Now); got.Accounts != nil || got.All {
		t.Errorf("again: %+v", got)
	}
	// A role that was started anew tells all that it has told since.
	again := NewRevoked()
	again.epoch = r.epoch + 1
	again.Add(4)
	if got = again.Since(over, got.Now); !cmp.Equal(got.Accounts, []uint64{4}) || got.Now != (Mark{again.epoch, 1}) {
		t.Errorf("after a restart: %+v", got)
	}
}

func TestWhoWasAwayForTooManyChangesHearsThatItMayBeAnybody(t *testing.T) {
	t.Parallel()
	r := NewRevoked()
	began := r.Since(t.Context(), Mark{})
	for n := range uint64(maxRevoked + 1) {
		r.Add(n)
	}
	if got := r.Since(t.Context(), began.Now); !got.All || got.Now.Told != maxRevoked+1 {
		t.Errorf("%+v", got.Now)
	}
}

func TestAChangeWakesWhoWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := NewRevoked()
		began := r.Since(t.Context(), Mark{})
		heard := make(chan Revocation)
		go func() { heard <- r.Since(t.Context(), began.Now) }()
		synctest.Wait()
		r.Add(9)
		if got := <-heard; !cmp.Equal(got.Accounts, []uint64{9}) {
			t.Errorf("%+v", got)
		}
	})
}
