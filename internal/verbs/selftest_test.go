package verbs

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postilion/postilion/internal/control/rolecall"
	"github.com/postilion/postilion/internal/role"
)

// The time of a test that waits for its messages is bounded by this, whatever hangs in the middle of it.
func TestARoleThatIsAskedAgainAndAgainIsNamedWithinHalfAMinute(t *testing.T) {
	t.Parallel()
	for _, answersFor := range []time.Duration{0, 5 * time.Second, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			ctx, giveUp := context.WithCancelCause(t.Context())
			keepAsking(ctx, giveUp, role.Local, func(ctx context.Context) error {
				if time.Since(began) < answersFor {
					return nil
				}
				<-ctx.Done()
				return ctx.Err()
			})
			if late := time.Since(began) - answersFor; late > 25*time.Second || !rolecall.IsHung(context.Cause(ctx)) {
				t.Errorf("hangs after %v: %v later: %v", answersFor, late, context.Cause(ctx))
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		keepAsking(ctx, func(err error) { t.Errorf("a role that answers, or is down, is given up: %v", err) }, role.Local, func(context.Context) error { return io.EOF })
	})
}
