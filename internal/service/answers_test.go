package service

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postilion/postilion/internal/rpc"
)

func TestARoleThatDoesNotAnswerInTimeIsNamed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		began := time.Now()
		if err := answers(t.Context(), Queue, hang); !IsHung(err) || time.Since(began) != patience {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if err := answers(t.Context(), Queue, func(context.Context) error { return io.EOF }); err != nil {
			t.Errorf("an error is an answer: %v", err)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if err := answers(gone, Queue, hang); err != nil {
			t.Errorf("who gives up blames the role: %v", err)
		}
	})
}

func TestOneAnswerThatDoesNotComeEndsNoCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked, silent := 0, 1
		ask := func(ctx context.Context) error {
			if asked++; asked <= silent {
				<-ctx.Done()
			}
			return ctx.Err()
		}
		if err := stillAnswers(t.Context(), Queue, ask); err != nil || asked != 2 {
			t.Errorf("asked %d times: %v", asked, err)
		}
		asked, silent = 0, 2
		if err := stillAnswers(t.Context(), Queue, ask); !IsHung(err) || asked != 2 {
			t.Errorf("asked %d times: %v", asked, err)
		}
	})
}

// The time of a test that waits for its messages is bounded by this, whatever hangs in the middle of it.
func TestARoleThatIsAskedAgainAndAgainIsNamedWithinHalfAMinute(t *testing.T) {
	t.Parallel()
	for _, answersFor := range []time.Duration{0, 5 * time.Second, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			ctx, giveUp := context.WithCancelCause(t.Context())
			keepAsking(ctx, giveUp, Local, func(ctx context.Context) error {
				if time.Since(began) < answersFor {
					return nil
				}
				<-ctx.Done()
				return ctx.Err()
			})
			if late := time.Since(began) - answersFor; late > 25*time.Second || !IsHung(context.Cause(ctx)) {
				t.Errorf("hangs after %v: %v later: %v", answersFor, late, context.Cause(ctx))
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		keepAsking(ctx, func(err error) { t.Errorf("a role that answers, or is down, is given up: %v", err) }, Local, func(context.Context) error { return io.EOF })
	})
}

// A role whose store is deadlocked still reads its sockets.
func TestARoleIsAliveWhenWhatItKeepsAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := make(chan struct{})
		queue := &part{role: Queue, seam: map[string]rpc.Handler{}, admin: map[string]rpc.Handler{}, alive: func(context.Context) { <-store }}
		new(process).addCommon(queue)
		for what, handlers := range map[string]map[string]rpc.Handler{"admin": queue.admin, "office": officeHandlers(queue)} {
			answered := make(chan error, 1)
			go func() {
				_, err := handlers[methodAlive](t.Context(), nil, []byte("{}"))
				answered <- err
			}()
			synctest.Wait()
			select {
			case <-answered:
				t.Errorf("%s: alive, and its store hangs", what)
			default:
			}
			store <- struct{}{}
			if err := <-answered; err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

// Role console passes on that a role behind it hangs.
func TestWhoHearsOfAHungRoleThroughAnotherKnowsIt(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	server := &rpc.Server{Handlers: map[string]rpc.Handler{methodCount: func(context.Context, *rpc.Conn, []byte) ([]byte, error) { return nil, about(Queue, hungError{Queue}) }}}
	go func() { done <- server.Serve(ctx, l) }()
	defer func() { cancel(); <-done }()
	cl := rpc.NewClient(path)
	defer cl.Close()
	if _, err := cl.Call(t.Context(), methodCount, nil); !IsHung(err) || err.Error() != (hungError{Queue}).Error() {
		t.Errorf("have %v", err)
	}
}
