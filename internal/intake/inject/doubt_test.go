package inject

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	wire "github.com/postilion/postilion/internal/inject"
)

// brief is how long programs of these tests wait for a server that is silent.
const brief = 50 * time.Millisecond

// hand hands a message in, of a program that waits so long, and returns what broke.
func hand(t *testing.T, socket string, wait time.Duration) *wire.Error {
	t.Helper()
	c := &wire.Client{Socket: socket, Timeout: wait}
	_, err := c.Send(context.Background(), &wire.Envelope{To: to("joe@example.test")}, strings.NewReader("x\n"), nil)
	e, ok := errors.AsType[*wire.Error](err)
	if !ok {
		t.Fatalf("%v", err)
	}
	return e
}

func TestAServerThatWakesUpTakesNothingOfAProgramThatHasGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, nil)
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	e := hand(t, socket, brief) // nobody accepts
	if want := "the mail server does not answer on " + socket; !e.Slow || e.Doubt != "" || e.Error() != want {
		t.Errorf("%+v: %v", e, e)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.server.Serve(ctx, l) }()
	until(t, "the message is dropped", func() bool { return w.queue.dropped() > 0 })
	cancel()
	if err := <-ended; err != nil || len(w.queue.all()) != 0 {
		t.Errorf("%v, %d messages", err, len(w.queue.all()))
	}
}

func (q *fakeQueue) dropped() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.aborted
}

func TestACommitWithoutAnAnswerIsInDoubtUnderItsName(t *testing.T) {
	t.Parallel()
	for wait := brief; ; wait *= 4 {
		w := newWorld(t, Options{}, nil)
		w.queue.gate = make(chan struct{})
		e := hand(t, w.socket, wait)
		close(w.queue.gate)
		w.stop()
		if e.Doubt == "" && wait < time.Minute {
			continue // the server had not said yet that it commits: the machine has much to do
		}
		if !e.Slow || e.Doubt == "" || !strings.HasSuffix(e.Error(), "; whether it has taken the message is in doubt: look for "+e.Doubt+" in its queue or log before this is sent again") {
			t.Errorf("%+v: %v", e, e)
		}
		if got := w.queue.all(); len(got) != 1 || got[0].env.ID.String() != e.Doubt {
			t.Errorf("%+v, want %s", got, e.Doubt)
		}
		return
	}
}

func TestAnOlderProgramGetsItsAnswerWithoutAnIntent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, nil)
	c, err := net.Dial("unix", w.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := wire.AppendFrame(nil, wire.FrameCall, "postilion-inject 1 send")
	b = wire.AppendFrame(b, wire.FrameFrom, "a@b.example")
	b = wire.ToFrame(b, &wire.Recipient{To: "joe@example.test"})
	c.Write(wire.AppendFrame(b, wire.FrameEnd))
	if kind, _, err := wire.NewReader(c).Next(); kind != wire.FrameAnswer || err != nil {
		t.Errorf("%q %v", kind, err)
	}
}
