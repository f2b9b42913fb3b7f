package smtpd

import (
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/postilion/postilion/internal/serve"
)

// While fewer than quietConnections have come within quietTime, the greeting waits for quietPause: who speaks at
// once is found out also where the way is so short that the greeting would be there before the first
// word. When more come that would cost too much; over longer ways unheard tells.
const (
	quietConnections = 32
	quietTime        = time.Second
	quietPause       = 2 * time.Millisecond
)

// arrivals knows when the last connections came.
type arrivals struct {
	next  atomic.Uint32
	times [quietConnections]atomic.Int64 // Unix nanoseconds, in turn
}

// quiet notes a connection and reports whether few have come of late.
func (a *arrivals) quiet(now time.Time) bool {
	before := a.times[a.next.Add(1)%quietConnections].Swap(now.UnixNano())
	return now.UnixNano()-before > int64(quietTime)
}

// speaksFirst reports whether the client speaks before it is greeted, after the pause that it is given
// for that.
func (s *session) speaksFirst() bool {
	pause := s.srv.o.GreetingPause
	if pause == 0 && s.srv.arrivals.quiet(time.Now()) {
		pause = quietPause
	}
	t, ok := s.raw.(*net.TCPConn)
	if !ok || pause <= 0 {
		return serve.Unread(s.raw)
	}
	s.idle.Store(true) // a stop need not wait for the pause
	defer s.idle.Store(false)
	t.SetReadDeadline(time.Now().Add(pause))
	defer s.disarm()
	if s.stopping.Load() {
		return false
	}
	n, _ := t.Read(s.buf)
	return n > 0
}

// unheard reports whether the other side has not taken in yet all that was sent to it. What it
// sent by then it sent without having heard: its answer would have come with the receipt, since every
// segment of TCP tells how far its sender has received (RFC 9293 3.1, 3.4). False where it cannot be known.
func unheard(c net.Conn) bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	var n int
	raw.Control(func(fd uintptr) { n = unacknowledged(int(fd)) })
	return n > 0
}

// errSlow ends a message that takes longer than Options.TotalTimeout.
var errSlow = errors.New("message took too long")
