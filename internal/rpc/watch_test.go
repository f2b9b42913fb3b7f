package rpc

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"
)

var errHangs = errors.New("the server hangs")

// hanging serves calls that do not end before the test does, and a client that finds out at once.
func hanging(t *testing.T) *Client {
	t.Helper()
	release := make(chan struct{})
	cl := serve(t, &Server{Handlers: map[string]Handler{
		"hang": func(ctx context.Context, c *Conn, _ []byte) ([]byte, error) {
			c.Send([]byte("begun"))
			c.Flush()
			select {
			case <-ctx.Done():
			case <-release:
			}
			return nil, nil
		},
	}})
	t.Cleanup(func() { close(release) })
	cl.WatchEvery = time.Millisecond
	cl.Watch = func(context.Context) error { return errHangs }
	return cl
}

func TestAWatchedCallFailsWithWhatTheWatchSays(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	cl := hanging(t)
	if _, err := cl.Call(ctx, "hang", nil); !errors.Is(err, errHangs) {
		t.Errorf("a call: %v", err)
	}
	s, err := cl.Open(ctx, "hang", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = s.Recv()
	}
	if !errors.Is(err, errHangs) {
		t.Errorf("a stream to the client: %v", err)
	}
	up, err := cl.Open(ctx, "hang", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	for err == nil {
		if err = up.Send(make([]byte, MaxFrame)); err == nil {
			err = up.Flush()
		}
	}
	if !errors.Is(err, errHangs) {
		t.Errorf("a stream to the server: %v", err)
	}
}

func TestAWatchedCallGoesOnWhileTheServerAnswers(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	cl := serve(t, &Server{Handlers: map[string]Handler{
		"slow": func(ctx context.Context, _ *Conn, _ []byte) ([]byte, error) {
			for range 3 {
				select {
				case <-asked:
				case <-ctx.Done():
					return nil, io.ErrUnexpectedEOF
				}
			}
			return []byte("done"), nil
		},
	}})
	cl.WatchEvery = time.Millisecond
	cl.Watch = func(ctx context.Context) error {
		select {
		case asked <- struct{}{}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for range 2 { // the second on the first one's connection
		if reply, err := cl.Call(context.Background(), "slow", nil); err != nil || string(reply) != "done" {
			t.Errorf("have %q, %v", reply, err)
		}
	}
}

func TestACallerWhoGivesUpSaysSoItself(t *testing.T) {
	t.Parallel()
	cl := hanging(t)
	cl.WatchEvery = time.Hour
	ctx, cancel := context.WithCancel(context.Background())
	s, err := cl.Open(ctx, "hang", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := s.Reply(); !errors.Is(err, context.Canceled) {
		t.Errorf("have %v", err)
	}
}
