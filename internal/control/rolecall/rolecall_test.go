package rolecall

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestARoleThatDoesNotAnswerInTimeIsNamed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		began := time.Now()
		if err := Answers(t.Context(), role.Queue, hang); !IsHung(err) || time.Since(began) != Patience {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if err := Answers(t.Context(), role.Queue, func(context.Context) error { return io.EOF }); err != nil {
			t.Errorf("an error is an answer: %v", err)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if err := Answers(gone, role.Queue, hang); err != nil {
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
		if err := StillAnswers(t.Context(), role.Queue, ask); err != nil || asked != 2 {
			t.Errorf("asked %d times: %v", asked, err)
		}
		asked, silent = 0, 2
		if err := StillAnswers(t.Context(), role.Queue, ask); !IsHung(err) || asked != 2 {
			t.Errorf("asked %d times: %v", asked, err)
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
	server := &rpc.Server{Handlers: map[string]rpc.Handler{"queue.count": func(context.Context, *rpc.Conn, []byte) ([]byte, error) {
		return nil, About(role.Queue, Hung{role.Queue})
	}}}
	go func() { done <- server.Serve(ctx, l) }()
	defer func() { cancel(); <-done }()
	cl := rpc.NewClient(path)
	defer cl.Close()
	if _, err := cl.Call(t.Context(), "queue.count", nil); !IsHung(err) || err.Error() != (Hung{role.Queue}).Error() {
		t.Errorf("have %v", err)
	}
}
