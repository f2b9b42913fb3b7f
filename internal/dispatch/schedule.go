package dispatch

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// This file is when a message is tried again: pure arithmetic on its age.

// schedule tells when a message of some age is tried again, and until when.
// The formula of qmail is quadratic: attempts come (k*skip)² seconds after birth
// (qmail reference 7.3).
type schedule struct {
	skip     int           // quadratic: the step of the root, in √seconds; 0 for others
	every    time.Duration // fixed distance
	first    time.Duration // doubling: the first distance
	most     time.Duration // doubling: the longest
	lifetime time.Duration
	parallel int // deliveries to the destination that run at once at most
}

// next returns the age of the attempt that follows one at age. It is always above age.
func (s *schedule) next(age time.Duration) time.Duration {
	age = max(age, 0)
	switch {
	case s.every > 0:
		return age + s.every
	case s.first > 0:
		// Distances double when the age does: first, first, 2 first, 4 first, …
		return age + min(max(age, s.first), s.most)
	}
	n := time.Duration(math.Sqrt(float64(age/time.Second))) + time.Duration(s.skip)
	return n * n * time.Second
}

// gap is the longest distance between two attempts within the lifetime.
func (s *schedule) gap() time.Duration { return s.next(s.lifetime) - s.lifetime }

// schedules finds the schedule of a destination.
type schedules struct {
	local, remote *schedule
	gap           time.Duration        // the longest of all
	domains       map[string]*schedule // ".example.test" covers what is below it
}

func newSchedules(o Options) (*schedules, error) {
	s := &schedules{
		local:   &schedule{skip: o.LocalSkip, lifetime: o.Lifetime},
		remote:  &schedule{skip: o.RemoteSkip, lifetime: o.Lifetime, parallel: o.DestParallel},
		domains: make(map[string]*schedule),
	}
	var errs []error
	for _, line := range o.Schedules {
		domain, sch, err := parseSchedule(line, o)
		if err != nil {
			errs = append(errs, fmt.Errorf("schedules: %q: %w", line, err))
			continue
		}
		s.domains[domain] = sch
		s.gap = max(s.gap, sch.gap())
	}
	s.gap = max(s.gap, s.local.gap(), s.remote.gap())
	return s, errors.Join(errs...)
}

// of returns the schedule for a destination of the given kind.
func (s *schedules) of(k kind, domain string) *schedule {
	if len(s.domains) > 0 {
		if sch, ok := s.domains[domain]; ok {
			return sch
		}
		for i := range len(domain) {
			if domain[i] == '.' {
				if sch, ok := s.domains[domain[i:]]; ok {
					return sch
				}
			}
		}
	}
	if k == local || k == user {
		return s.local
	}
	return s.remote
}

// parseSchedule reads "DOMAIN [quadratic SKIP | every DURATION | doubling FIRST MOST]
// [lifetime DURATION] [parallel NUMBER]".
func parseSchedule(line string, o Options) (string, *schedule, error) {
	f := strings.Fields(line)
	if len(f) == 0 {
		return "", nil, fmt.Errorf("want a domain")
	}
	sch := &schedule{skip: o.RemoteSkip, lifetime: o.Lifetime, parallel: o.DestParallel}
	span := func(i int) (time.Duration, error) {
		if i >= len(f) {
			return 0, fmt.Errorf("want a duration such as 5m after %q", f[len(f)-1])
		}
		d, err := time.ParseDuration(f[i])
		if err != nil || d < time.Second || d > 10000*time.Hour {
			return 0, fmt.Errorf("%q: want a duration from 1s to 10000h, such as 5m", f[i])
		}
		return d, nil
	}
	number := func(i int) (int, error) {
		n := 0
		if i < len(f) {
			n, _ = strconv.Atoi(f[i])
		}
		if n < 1 || n > 1000 {
			return 0, fmt.Errorf("want a number from 1 to 1000 after %s", f[i-1])
		}
		return n, nil
	}
	var err error
	for i := 1; i < len(f) && err == nil; i += 2 {
		switch f[i] {
		case "quadratic":
			sch.skip, err = number(i + 1)
		case "parallel":
			sch.parallel, err = number(i + 1)
		case "every":
			sch.every, err = span(i + 1)
		case "doubling":
			if sch.first, err = span(i + 1); err == nil {
				sch.most, err = span(i + 2)
			}
			i++
		case "lifetime":
			sch.lifetime, err = span(i + 1)
		default:
			err = fmt.Errorf("%q: want quadratic, every, doubling, lifetime or parallel", f[i])
		}
	}
	return strings.ToLower(f[0]), sch, err
}
