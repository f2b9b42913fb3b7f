package mailboxes

import (
	"context"
	"log/slog"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/directory"
)

// Grace is how long after the removal of an account whoever removed it has to see to what is kept of it, before the server does:
// a verb can be killed.
const Grace = 10 * time.Second

// Times of Finish.
const (
	finishPause  = time.Second // the least between two looks, however fast the directory changes
	finishAgain  = Grace       // after trouble
	finishAnyway = time.Minute
)

// Finish sees to what is still kept of removed accounts, in the role that keeps it.
type Finish struct {
	Removals directory.Removals
	Changes  *directory.Generations
	Clock    clock.Clock
	Log      *slog.Logger
	// See sees to one account; an error leaves it for later.
	See func(ctx context.Context, r directory.Removed) error
	// After is how long after the removal that is.
	After time.Duration
	// Last has the account forgotten afterwards; else it is seen to once.
	Last bool
}

// Run works until ctx ends.
func (f Finish) Run(ctx context.Context) error {
	seen := map[uint64]bool{}
	for {
		known := f.Changes.Now()
		within, cancel := context.WithTimeout(ctx, f.once(ctx, seen))
		_, _ = f.Changes.Changed(within, known)
		cancel()
		if clock.Sleep(ctx, finishPause) != nil {
			return nil
		}
	}
}

// once sees to those whose time has come, and returns when to look again.
func (f Finish) once(ctx context.Context, seen map[uint64]bool) (again time.Duration) {
	list, err := f.Removals.Removed(ctx)
	if err != nil {
		return finishAgain
	}
	again = finishAnyway
	var done []uint64
	for _, r := range list {
		if wait := r.At.Add(f.After).Sub(f.Clock.Now()); wait > 0 {
			again = min(again, wait)
			continue
		}
		if seen[r.Account] {
			continue
		}
		if err := f.See(ctx, r); err != nil {
			f.Log.Warn("what is kept of a removed account is still there", "account", r.Account, "error", err)
			again = min(again, finishAgain)
			continue
		}
		if f.Last {
			done = append(done, r.Account)
		} else {
			seen[r.Account] = true
		}
	}
	if done != nil {
		if err := f.Removals.ForgetRemoved(ctx, done); err != nil || len(list) == directory.MaxRemoved {
			again = min(again, finishAgain)
		}
	}
	return again
}
