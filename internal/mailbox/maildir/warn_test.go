package maildir_test

import (
	"math"
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/postilion/postilion/internal/mailbox/maildir"
)

func TestOwnersAreDueByTheTimeOfQuotawarn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, maildir.Options{})
	const day = 24 * time.Hour
	if due, err := w.WarnDue("m", day); due || err == nil {
		t.Errorf("without a mailbox: %v, %v", due, err)
	}
	w.deliver(t, "x\n", maildir.Delivery{Mailbox: "m", Message: message(1)})
	due := func(want bool, when string) {
		t.Helper()
		if got, err := w.WarnDue("m", day); got != want || err != nil {
			t.Errorf("%s: %v, %v", when, got, err)
		}
	}
	due(true, "the first time")
	due(false, "at once again")
	w.clock.Advance(day - time.Second)
	due(false, "within the day")
	w.clock.Advance(time.Second)
	due(true, "a day later")
	// vpopmail's file counts as ours does, whatever is in it.
	path := w.root + "/m/quotawarn"
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	at := w.clock.Now().Add(-2 * day)
	os.Chtimes(path, at, at)
	due(true, "an old file of others")
	// A clock that was wrong once silences nobody for long.
	at = w.clock.Now().Add(1000 * day)
	os.Chtimes(path, at, at)
	due(true, "a file of the future")
	due(false, "after it")
}

func TestHowFullAMailboxIs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		q    maildir.Quota
		u    maildir.Usage
		want int
	}{
		{maildir.Quota{}, maildir.Usage{Bytes: 5, Messages: 5}, 0},
		{maildir.Quota{Bytes: 1000}, maildir.Usage{Bytes: 899, Messages: 5}, 89},
		{maildir.Quota{Bytes: 1000}, maildir.Usage{Bytes: 900}, 90},
		{maildir.Quota{Bytes: 1000, Messages: 10}, maildir.Usage{Bytes: 100, Messages: 9}, 90},
		{maildir.Quota{Messages: 3}, maildir.Usage{Messages: 9}, 300},
		{maildir.Quota{Bytes: 1}, maildir.Usage{Bytes: math.MaxInt64}, 1_000_000},
	} {
		if got := tt.q.Percent(tt.u); got != tt.want {
			t.Errorf("%+v of %+v: %d %%, want %d", tt.u, tt.q, got, tt.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		q := maildir.Quota{Bytes: rapid.Int64Range(0, math.MaxInt64).Draw(t, "bytes"), Messages: rapid.Int64Range(0, math.MaxInt64).Draw(t, "messages")}
		u := maildir.Usage{Bytes: rapid.Int64Range(0, math.MaxInt64).Draw(t, "used"), Messages: rapid.Int64Range(0, math.MaxInt64).Draw(t, "count")}
		if p := q.Percent(u); p < 0 || q.None() && p != 0 {
			t.Fatalf("%d %%", p)
		}
	})
}
