package serve

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"
)

func TestNoUserTakesWhatIsTheOthers(t *testing.T) {
	t.Parallel()
	var s Shares
	s.Give(7, 0) // by one who never took
	for i, c := range []struct {
		uid     uint32
		n, give int64
		want    error
	}{
		{7, 2, 0, nil}, {7, 1, 0, ErrUserSpent}, {8, 2, 0, nil}, {9, 1, 0, ErrSpent}, {0, 1, 0, ErrSpent},
		{7, 0, 1, nil}, {7, 2, 0, ErrSpent}, {7, 1, 0, nil}, {8, 0, 2, nil}, {7, 0, 2, nil}, {0, 4, 0, nil}, {0, 0, 4, nil},
	} {
		if c.give > 0 {
			s.Give(c.uid, c.give)
		} else if err := s.Take(c.uid, c.n, 4, 2); err != c.want {
			t.Errorf("%d: %d more for %d: %v, want %v", i, c.n, c.uid, err, c.want)
		}
	}
	if s.Taken() != 0 || len(s.users) != 0 {
		t.Errorf("%d are left, of %v", s.Taken(), s.users)
	}
}

func TestEachEndsWithItsCalls(t *testing.T) {
	t.Parallel()
	listen := func() net.Listener {
		l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := listen()
	ctx, cancel := context.WithCancel(t.Context())
	called, ended := make(chan struct{}), false
	done := make(chan error)
	go func() {
		done <- Each(ctx, l, func(c net.Conn) {
			defer c.Close()
			close(called)
			<-ctx.Done()
			ended = true
		})
	}()
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	<-called
	cancel()
	if err := <-done; err != nil || !ended {
		t.Errorf("%v; the call had ended: %v", err, ended)
	}
	l = listen()
	l.Close()
	if err := Each(t.Context(), l, nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed by another: %v", err)
	}
}
