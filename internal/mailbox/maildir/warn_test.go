package maildir_test

import (
	"errors"
	"math"
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/postilion/postilion/internal/fs"
	crashfs "github.com/postilion/postilion/internal/fs/crash"
	"github.com/postilion/postilion/internal/fs/crash/plant"
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
	w.clock.Advance(-1000 * day)
	due(true, "marked in the future")
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

// An owner who was to be warned is not warned again the same day, wherever the power was cut meanwhile.
func TestAPowerCutLeadsToNoSecondWarning(t *testing.T) {
	t.Parallel()
	scenario := func(seed uint64) crashfs.Scenario[bool] {
		return crashfs.Scenario[bool]{
			Seed: seed, Cuts: 200,
			Prepare: func(files fs.FS) error {
				return errors.Join(crashStore(files, false, 1).Create("example.test/joe", ""), files.SyncAll())
			},
			Run: func(files fs.FS, ack func(bool)) error {
				due, err := crashStore(files, false, 1).WarnDue("example.test/joe", 24*time.Hour)
				if due {
					ack(true)
				}
				return err
			},
			Check: func(files fs.FS, acked []bool) error {
				again, err := crashStore(files, false, 1).WarnDue("example.test/joe", 24*time.Hour)
				if err == nil && again && len(acked) > 0 {
					return errors.New("warned twice")
				}
				return err
			},
		}
	}
	crashfs.Explore(t, scenario(1))
	for name, bug := range map[string]plant.Bug{"no sync of folders": plant.NoDirSync, "no sync of anything": plant.NoSync} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := scenario(2)
			s.Wrap = func(files fs.FS) fs.FS { return plant.Wrap(files, bug) }
			crashfs.MustFail(t, s)
		})
	}
}
