package policy

import (
	"testing"
	"time"

	"github.com/postilion/postilion/internal/reason"
)

func TestAnAccountSendsAnHoursWorthAndThenEvenly(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	r := new(Rates)
	for range 100 {
		if err := r.Take(1, now); err != nil {
			t.Fatalf("without a limit: %v", err)
		}
	}
	r.SetLimit(60)
	for i := range 60 {
		if err := r.Take(1, now); err != nil {
			t.Fatalf("recipient %d: %v", i+1, err)
		}
	}
	if err := r.Take(1, now); err == nil || err.Reason != reason.RateExceeded.Reason || err.Class != reason.Temporary {
		t.Errorf("the 61st at once: %v", err)
	}
	if err := r.Take(2, now); err != nil {
		t.Errorf("another account: %v", err)
	}
	now = now.Add(time.Minute)
	if err := r.Take(1, now); err != nil {
		t.Errorf("a minute later: %v", err)
	}
	if err := r.Take(1, now); err == nil {
		t.Error("a second one in that minute was taken")
	}
	if err := r.Take(1, now.Add(-time.Hour)); err == nil {
		t.Error("a clock that jumps back gives recipients away")
	}
	r.SetLimit(0)
	if err := r.Take(1, now); err != nil {
		t.Errorf("the limit taken away: %v", err)
	}
}

func TestAccountsThatHaveEverythingBackAreForgotten(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	r := new(Rates)
	r.SetLimit(10)
	for account := range uint64(sweepAbove) {
		r.Take(account, now)
	}
	now = now.Add(time.Hour)
	r.Take(sweepAbove, now)
	if n := len(r.accounts); n != 1 {
		t.Errorf("%d accounts are remembered", n)
	}
}
