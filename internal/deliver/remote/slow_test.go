package remote

// Servers that are slow or stop, attempts that are ended, messages that cannot be read: each ends in time, and nothing is sent by half.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/reason"
)

func TestAServerThatNeverAnswersHoldsNothingElse(t *testing.T) {
	t.Parallel()
	others := make(chan struct{})
	silent := byHand(t, func(int, net.Conn, *bufio.Reader) { <-others })
	good := byHand(t, sinkByHand)
	target := newTarget(t, Options{}, Deps{})
	done := make(chan []deliver.Verdict)
	go func() { done <- target.Deliver(context.Background(), letterTo(silent, "x\n", "a@dest.test")) }()
	for range 20 {
		if v := target.Deliver(t.Context(), letterTo(good, "x\n", "a@dest.test")); v[0].Err != nil {
			t.Error(v[0].Err)
		}
	}
	close(others)
	if v := <-done; v[0].Err == nil || v[0].Err.Reason != reason.ConnectionLost.Reason || v[0].Err.Class != reason.Temporary {
		t.Errorf("%+v", v[0])
	}
}

func TestEveryStepHasATimeOut(t *testing.T) {
	t.Parallel()
	const short = 50 * time.Millisecond
	steps := []Options{{GreetingTimeout: short}, {EhloTimeout: short}, {MailTimeout: short}, {RcptTimeout: short}, {DataTimeout: short}, {DotTimeout: short}}
	replies := []string{"220 x\r\n", "250-x\r\n250 SIZE\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"}
	for n, o := range steps {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			addr := byHand(t, func(_ int, c net.Conn, in *bufio.Reader) {
				for i, r := range replies[:n] {
					if i > 0 {
						if _, err := in.ReadSlice('\n'); err != nil {
							return
						}
					}
					fmt.Fprint(c, r)
				}
				_, _ = io.Copy(io.Discard, in)
			})
			want := reason.ConnectionLost.Reason
			if n == len(replies) {
				want = reason.PossibleDuplicate.Reason
			}
			v := newTarget(t, o, Deps{}).Deliver(t.Context(), letterTo(addr, "x\n", "a@dest.test"))
			if v[0].Err == nil || v[0].Err.Reason != want || v[0].Err.Class != reason.Temporary {
				t.Errorf("%+v", v[0])
			}
		})
	}
	t.Run("content", func(t *testing.T) {
		t.Parallel()
		addr := byHand(t, func(_ int, c net.Conn, in *bufio.Reader) {
			for _, r := range replies {
				fmt.Fprint(c, r)
			}
			<-t.Context().Done() // reads nothing more
		})
		v := newTarget(t, Options{BlockTimeout: short}, Deps{}).Deliver(t.Context(), letterTo(addr, strings.Repeat("0123456789\n", 4_000_000), "a@dest.test"))
		if v[0].Err == nil || v[0].Err.Reason != reason.ConnectionLost.Reason {
			t.Errorf("%+v", v[0])
		}
	})
}

func TestAnInterruptedAttemptEndsSoon(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		replies []string
		want    reason.ID
		ok      bool
	}{
		"before the greeting":             {nil, reason.AttemptInterrupted.Reason, false},
		"after MAIL":                      {[]string{"220 x\r\n", "250-x\r\n250 PIPELINING\r\n", "250 ok\r\n"}, reason.AttemptInterrupted.Reason, false},
		"after the dot, answered in time": {[]string{"220 x\r\n", "250-x\r\n250 PIPELINING\r\n", "250 ok\r\n250 ok\r\n354 go\r\n"}, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			addr := byHand(t, func(_ int, conn net.Conn, in *bufio.Reader) {
				for i, r := range c.replies {
					if i > 0 {
						_, _ = in.ReadSlice('\n')
					}
					fmt.Fprint(conn, r)
				}
				if c.ok {
					for {
						if line, err := in.ReadString('\n'); err != nil || line == ".\r\n" {
							break
						}
					}
				}
				cancel()
				if c.ok {
					fmt.Fprint(conn, "250 queued\r\n")
				}
				_, _ = io.Copy(io.Discard, in)
			})
			v := newTarget(t, Options{}, Deps{}).Deliver(ctx, letterTo(addr, "x\n", "a@dest.test"))
			switch {
			case c.ok && v[0].Err != nil, !c.ok && (v[0].Err == nil || v[0].Err.Reason != c.want):
				t.Errorf("%+v", v[0])
			}
		})
	}
}

// brokenBody fails in the middle.
type brokenBody struct{ io.Reader }

func (brokenBody) Close() error { return nil }

func TestAMessageThatCannotBeReadIsNeverHalfSent(t *testing.T) {
	t.Parallel()
	broken := errors.New("disk on fire")
	for _, o := range []Options{{}, {NoChunking: true}} {
		s, addr := startSink(t, nil)
		target := newTarget(t, o, Deps{})
		job := letterTo(addr, "", "a@dest.test")
		job.Body = func() (io.ReadCloser, error) {
			return brokenBody{io.MultiReader(strings.NewReader(strings.Repeat("half\n", 200_000)), errReader{broken})}, nil
		}
		if v := target.Deliver(t.Context(), job); !errors.Is(v[0].Err, broken) || v[0].Err.Class != reason.Temporary {
			t.Errorf("%+v", v[0])
		}
		job.Body = func() (io.ReadCloser, error) { return nil, broken }
		if v := target.Deliver(t.Context(), job); !errors.Is(v[0].Err, broken) {
			t.Errorf("%+v", v[0])
		}
		target.Close()
		s.mu.Lock()
		for _, m := range s.messages {
			t.Errorf("a message of %d bytes arrived", len(m))
		}
		s.mu.Unlock()
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestAServerThatStopsReadingIsHeard(t *testing.T) {
	t.Parallel()
	addr := byHand(t, func(_ int, c net.Conn, in *bufio.Reader) {
		fmt.Fprint(c, "220 x\r\n")
		_, _ = in.ReadSlice('\n')
		fmt.Fprint(c, "250-x\r\n250 PIPELINING\r\n")
		for range 3 {
			_, _ = in.ReadSlice('\n')
		}
		fmt.Fprint(c, "250 ok\r\n250 ok\r\n354 go\r\n552 5.3.4 too much\r\n")
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.CopyN(io.Discard, in, 1<<20)
	})
	v := newTarget(t, Options{}, Deps{}).Deliver(t.Context(), letterTo(addr, strings.Repeat("0123456789\n", 2_000_000), "a@dest.test"))
	if v[0].Err == nil || v[0].Err.Enhanced != "5.3.4" {
		// The kernel may throw the reply away together with the reset; then it is a lost connection.
		if v[0].Err == nil || v[0].Err.Reason != reason.ConnectionLost.Reason {
			t.Errorf("%+v", v[0])
		}
	}
}
