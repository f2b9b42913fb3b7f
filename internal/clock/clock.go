// Package clock is the wall clock as the rest of the program sees it.
//
// Due times, Date fields and lifetimes are taken from a Clock, so that a test or
// `serve --clock-offset` can move them. Timers and time-outs are not: they use
// package time directly, whose clock is monotonic.
package clock

import (
	"sync/atomic"
	"time"
)

// A Clock tells the wall-clock time.
type Clock interface {
	Now() time.Time
}

// System is the operating system's clock.
type System struct{}

// Now returns the present time.
func (System) Now() time.Time { return time.Now() }

// Offset is another clock moved by a fixed distance, which may be negative.
type Offset struct {
	Clock Clock
	By    time.Duration
}

// Now returns the moved time.
func (o Offset) Now() time.Time { return o.Clock.Now().Add(o.By) }

// Fake is a clock that stands still until it is moved. Its zero value stands at
// the Unix epoch. It is safe for concurrent use.
type Fake struct{ ns atomic.Int64 }

// NewFake returns a clock that stands at t.
func NewFake(t time.Time) *Fake {
	f := new(Fake)
	f.Set(t)
	return f
}

// Now returns the time the clock stands at.
func (f *Fake) Now() time.Time { return time.Unix(0, f.ns.Load()).UTC() }

// Set moves the clock to t.
func (f *Fake) Set(t time.Time) { f.ns.Store(t.UnixNano()) }

// Advance moves the clock by d, which may be negative.
func (f *Fake) Advance(d time.Duration) { f.ns.Add(int64(d)) }
