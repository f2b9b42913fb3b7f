package clock

import "time"

// Steady is a clock without the jumps forward of another: by it no more time has passed since it was made than really
// has. The age of files is told by it, from the system's clock, which is what they have their times from: one that is
// set ahead, or that an offset moves, makes no file old that somebody is at work on.
type Steady struct {
	clock Clock
	start time.Time // of the clock
	began time.Time // monotonic
}

// NewSteady returns a clock that goes with c from now on.
func NewSteady(c Clock) *Steady { return &Steady{clock: c, start: c.Now().Round(0), began: time.Now()} }

// Now returns the other clock's time, or the time that it would be had it not been set ahead.
func (s *Steady) Now() time.Time {
	now, most := s.clock.Now().Round(0), s.start.Add(s.Running())
	if now.After(most) {
		return most
	}
	return now
}

// Running is how long ago the clock was made. Of jumps before that it knows nothing.
func (s *Steady) Running() time.Duration { return time.Since(s.began) }
