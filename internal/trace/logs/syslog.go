package logs

import (
	"io"
	"log/syslog"
	"time"
)

// system writes lines to the system's log. A daemon that is not there, at the start or later, holds up
// nothing: until it answers, lines go to the fallback, and it is asked again now and then.
type system struct {
	dial     func() (io.WriteCloser, error)
	fallback io.Writer
	now      func() time.Time

	to    io.WriteCloser // nil while nobody answers
	asked time.Time
}

// askAgain is how often a daemon that did not answer is looked for.
const askAgain = 5 * time.Second

func newSystem(priority syslog.Priority, tag string, fallback io.Writer) *system {
	dial := func() (io.WriteCloser, error) { return syslog.New(priority, tag) }
	return &system{dial: dial, fallback: fallback, now: time.Now}
}

// Write takes one line.
func (s *system) Write(line []byte) (int, error) {
	if s.to == nil && s.now().Sub(s.asked) >= askAgain {
		s.asked = s.now()
		if to, err := s.dial(); err == nil {
			s.to = to
		}
	}
	if s.to != nil {
		if _, err := s.to.Write(line); err == nil {
			return len(line), nil
		}
		s.Close()
	}
	return s.fallback.Write(line)
}

// Close ends the connection to the daemon.
func (s *system) Close() error {
	if s.to == nil {
		return nil
	}
	to := s.to
	s.to = nil
	return to.Close()
}
