package logs

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"
)

// linger is how long the first of some lines waits for the others. A busy server writes them
// in one go; what a kill -9 can lose of the log is this much.
const linger = 2 * time.Millisecond

// maxWaiting bounds the lines that wait for a slow destination, in bytes.
const maxWaiting = 1 << 20

// async writes lines to a destination from a goroutine of its own, many at a time, so that a log
// that blocks holds up nobody. When too much waits, lines are dropped and counted in a line of
// their own.
type async struct {
	w      io.Writer
	single bool // each line in a write of its own, as syslog wants

	mu      sync.Mutex
	waiting []byte
	lost    int
	closed  bool
	wake    chan struct{}
	closing chan struct{}
	done    chan struct{}
}

func newAsync(w io.Writer, single bool) *async {
	a := &async{w: w, single: single, wake: make(chan struct{}, 1), closing: make(chan struct{}), done: make(chan struct{})}
	go a.run()
	return a
}

// Write takes one line. It never fails and never waits.
func (a *async) Write(line []byte) (int, error) {
	a.mu.Lock()
	switch {
	case a.closed:
	case len(a.waiting)+len(line) > maxWaiting:
		a.lost++
	default:
		a.waiting = append(a.waiting, line...)
	}
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
	return len(line), nil
}

func (a *async) run() {
	defer close(a.done)
	var spare []byte
	for range a.wake {
		select {
		case <-time.After(linger):
		case <-a.closing:
		}
		a.mu.Lock()
		lines, lost, closed := a.waiting, a.lost, a.closed
		a.waiting, a.lost = spare[:0], 0
		a.mu.Unlock()
		if lost > 0 {
			lines = fmt.Appendf(lines, "%d lines of the log were lost: its destination is too slow\n", lost)
		}
		a.write(lines)
		spare = lines
		if closed {
			return
		}
	}
}

// write ignores errors: a log that cannot be written has nowhere to say so.
func (a *async) write(lines []byte) {
	if !a.single {
		if len(lines) > 0 {
			a.w.Write(lines)
		}
		return
	}
	for line := range bytes.Lines(lines) {
		a.w.Write(line)
	}
}

// Close writes what waits, for at most a second, and ends.
func (a *async) Close() error {
	a.mu.Lock()
	if !a.closed {
		a.closed = true
		close(a.closing)
	}
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
	select {
	case <-a.done:
	case <-time.After(time.Second):
	}
	return nil
}
