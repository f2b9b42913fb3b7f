package serve

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"
)

// curt is a protocol that reads no more than a byte, says one word and hangs up.
type curt struct{}

func (curt) Serve(_ context.Context, c *Conn) {
	io.ReadFull(c, make([]byte, 1))
	io.WriteString(c, "no\n")
}

func (curt) Refuse(*Conn, string) {}

func TestTheLastWordReachesAClientThatIsStillSending(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, &Server{Name: "curt", Handler: curt{}})
	for range 20 {
		c := dial(t, addr)
		if _, err := io.Copy(c, strings.NewReader(strings.Repeat("x", 4<<20))); err != nil {
			t.Fatalf("it could not finish: %v", err)
		}
		c.want("no")
		c.wantEOF()
	}
}

func TestAClientThatNeverStopsIsNotHeardForLong(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, &Server{Name: "curt", Handler: curt{}})
	c := dial(t, addr)
	sent := make(chan int64)
	go func() {
		var n int64
		for {
			m, err := c.Write(make([]byte, 64<<10))
			if n += int64(m); err != nil {
				sent <- n
				return
			}
		}
	}()
	c.want("no")
	if n := <-sent; n > 64<<20 { // with what the system's buffers hold
		t.Errorf("%d bytes were listened to", n)
	}
}

func TestAStopDoesNotWaitForAClientThatGoesOn(t *testing.T) {
	t.Parallel()
	var took time.Duration
	for range 10 { // a machine with much to do takes its time as well, but not always
		addr, stop := start(t, &Server{Name: "curt", Handler: curt{}, Options: Options{StopTimeout: time.Minute}})
		c := dial(t, addr)
		io.WriteString(c, "xx")
		c.want("no")
		began := time.Now()
		stop()
		if took = time.Since(began); took < lingerTime {
			return
		}
	}
	t.Errorf("the stop took %s", took)
}
