package dispatch

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postilion/postilion/internal/bounce"
	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/queue/memstore"
	"github.com/postilion/postilion/internal/trace"
	"github.com/postilion/postilion/internal/trace/tracetest"
)

// TestOnAStoreThatKeepsTheContract runs what the fake store is too kind for: a delivery, a
// forward, a failure with its bounce, and a deferral over a restart.
func TestOnAStoreThatKeepsTheContract(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Options{})
		defer store.Close()
		seen := new(tracetest.Events)
		begin := time.Now()
		remoteTarget := target(func(_ *deliver.Job, r deliver.Recipient) deliver.Verdict {
			switch {
			case r.To.Local == "no":
				return deliver.Verdict{Err: noMailbox}
			case time.Since(begin) < time.Minute:
				return deliver.Verdict{Err: greylist}
			}
			return deliver.Verdict{}
		})
		start := func() (stop func()) {
			d, err := New(Options{}, Deps{
				Store: store, Router: routes{}, Mailbox: target(delivered), Remote: remoteTarget,
				Bouncer: &bounce.Builder{Name: "mx.here.test"}, Recorder: seen,
			})
			if err != nil {
				t.Fatal(err)
			}
			return (&house{Dispatcher: d}).start()
		}
		stop := start()
		for _, to := range [][]string{{"x@here.test", "y@far.test"}, {"two@here.test"}, {"no@far.test", "z@far.test"}} {
			draft, err := store.Begin(t.Context(), letter("joe@here.test", to...))
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(draft, sample)
			if err := draft.Commit(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		stop()
		time.Sleep(time.Hour)
		stop = start()
		synctest.Wait()
		stop()
		for k, want := range map[trace.Kind]int{trace.Finished: 5, trace.Delivered: 7, trace.Failed: 1, trace.Bounced: 1, trace.Deferred: 3} {
			if got := len(seen.Of(k)); got != want {
				t.Errorf("%d events %s, want %d", got, k, want)
			}
		}
	})
}
