package mailboxes

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/directory"
)

// removals is a directory that remembers what it is told.
type removals struct {
	mu   sync.Mutex
	list []directory.Removed
}

func (r *removals) Removed(context.Context) ([]directory.Removed, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.list), nil
}

func (r *removals) remove(accounts ...uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range accounts {
		r.list = append(r.list, directory.Removed{Account: id, At: time.Now()})
	}
}

func (r *removals) ForgetRemoved(_ context.Context, accounts []uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = slices.DeleteFunc(r.list, func(x directory.Removed) bool { return slices.Contains(accounts, x.Account) })
	return nil
}

func TestWhatARemoverDidNotComeToIsSeenTo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var changes directory.Generations
		have := &removals{list: []directory.Removed{{Account: 1, At: time.Now().Add(-time.Hour)}}} // before this start
		var mu sync.Mutex
		var seen []uint64
		broken := true
		f := Finish{Removals: have, Changes: &changes, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler), After: Grace, Last: true,
			See: func(_ context.Context, r directory.Removed) error {
				mu.Lock()
				defer mu.Unlock()
				if r.Account == 3 && broken {
					return errors.New("the disk is full")
				}
				seen = append(seen, r.Account)
				return nil
			}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- f.Run(ctx) }()
		want := func(ids ...uint64) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if d := cmp.Diff(ids, seen); d != "" {
				t.Error(d)
			}
		}
		want(1)
		have.remove(2, 3, 4)
		changes.Set(1)
		time.Sleep(Grace / 2)
		have.ForgetRemoved(ctx, []uint64{4}) // who removed it was there
		want(1)
		time.Sleep(Grace/2 + 2*finishPause)
		want(1, 2)
		mu.Lock()
		broken = false
		mu.Unlock()
		time.Sleep(finishAgain + 2*finishPause)
		want(1, 2, 3)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if len(have.list) > 0 {
			t.Errorf("remembered still: %v", have.list)
		}
	})
}

func TestWhoIsNotTheLastToSeeToAnAccountDoesSoOnce(t *testing.T) {
	t.Parallel()
	have := &removals{list: []directory.Removed{{Account: 1}}}
	times := 0
	f := Finish{Removals: have, Clock: clock.System{}, See: func(context.Context, directory.Removed) error { times++; return nil }}
	seen := map[uint64]bool{}
	for range 3 {
		f.once(t.Context(), seen)
	}
	if times != 1 || len(have.list) != 1 {
		t.Errorf("%d times, remembered %v", times, have.list)
	}
}

// passwords are of accounts; those of 2 cannot be removed.
type passwords struct{ auth.Admin }

func (passwords) Remove(_ context.Context, account uint64) error {
	if account == 2 {
		return errors.New("the disk is full")
	}
	return directory.ErrNotFound
}

func TestAnAccountIsForgottenWhenNothingIsKeptOfIt(t *testing.T) {
	t.Parallel()
	have := &removals{list: []directory.Removed{{Account: 1}, {Account: 2}, {Account: 3}, {Account: 4}}}
	paths, err := Remove{Passwords: passwords{}, Removals: have, SetAside: func(_ context.Context, a directory.Account) (string, error) {
		if a.ID == 3 {
			return "", errors.New("role local is down")
		}
		return a.Mailbox + ".removed", nil
	}}.Accounts(t.Context(), []directory.Account{{ID: 1, Mailbox: "one"}, {ID: 2, Mailbox: "two"}, {ID: 3, Mailbox: "three"}, {ID: 4}})
	if err == nil || !cmp.Equal(paths, []string{"one.removed", "two.removed"}) {
		t.Errorf("%v, %v", paths, err)
	}
	if d := cmp.Diff([]directory.Removed{{Account: 2}, {Account: 3}}, have.list); d != "" {
		t.Error(d)
	}
}
