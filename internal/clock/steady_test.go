package clock_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/postilion/postilion/internal/clock"
)

func TestASteadyClockFollowsNoJumpForward(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		noon := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
		wall := clock.NewFake(noon)
		steady := clock.NewSteady(wall)
		pass := func(d time.Duration) { time.Sleep(d); wall.Advance(d) }
		want := func(after time.Duration) {
			t.Helper()
			if got := steady.Now().Sub(noon); got != after {
				t.Errorf("it tells %v after noon, want %v", got, after)
			}
		}
		want(0)
		pass(time.Hour)
		want(time.Hour)
		wall.Advance(1000 * time.Hour)
		want(time.Hour)
		pass(time.Minute)
		want(time.Hour + time.Minute)
		wall.Advance(-1000 * time.Hour) // it was set right again
		want(time.Hour + time.Minute)
		wall.Advance(-3 * time.Hour) // back is no matter: files become younger
		want(time.Minute - 2*time.Hour)
		wall.Advance(3 * time.Hour)
		pass(time.Minute)
		want(time.Hour + 2*time.Minute)
		if got := steady.Running(); got != time.Hour+2*time.Minute {
			t.Errorf("it runs for %v", got)
		}
	})
}
