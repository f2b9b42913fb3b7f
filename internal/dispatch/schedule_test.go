package dispatch

import (
	"strings"
	"testing"
	"time"
)

func TestALateAttemptIsFollowedFromTheRealAge(t *testing.T) {
	t.Parallel()
	s := &schedule{skip: 20}
	if got := s.next(2000 * time.Second); got != 4096*time.Second { // qmail reference, appendix A.2
		t.Errorf("after 2000 s comes %v", got)
	}
}

func TestSchedulesOfDestinationsAreRead(t *testing.T) {
	t.Parallel()
	o := Options{Schedules: []string{
		"fast.test every 5m lifetime 24h",
		".slow.test doubling 10m 4h",
		"q.test quadratic 5",
	}}.withDefaults()
	s, err := newSchedules(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		domain         string
		age, next, end time.Duration
	}{
		{"fast.test", time.Hour, time.Hour + 5*time.Minute, 24 * time.Hour},
		{"a.slow.test", 0, 10 * time.Minute, 168 * time.Hour},
		{"a.slow.test", time.Hour, 2 * time.Hour, 168 * time.Hour},
		{"a.slow.test", 10 * time.Hour, 14 * time.Hour, 168 * time.Hour},
		{"q.test", 0, 25 * time.Second, 168 * time.Hour},
		{"slow.test", 0, 400 * time.Second, 168 * time.Hour},
	} {
		sch := s.of(remote, c.domain)
		if got := sch.next(c.age); got != c.next || sch.lifetime != c.end {
			t.Errorf("%s at %v: next %v, lifetime %v; want %v, %v", c.domain, c.age, got, sch.lifetime, c.next, c.end)
		}
	}
	if got := s.of(local, "far.test").next(0); got != 100*time.Second {
		t.Errorf("local: %v", got)
	}
}

func TestWrongOptionsAreNamed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Schedules: []string{"a.test every"}}, "want a duration"},
		{Options{Schedules: []string{"a.test every 1ms"}}, "from 1s"},
		{Options{Schedules: []string{"a.test doubling 1m"}}, "want a duration"},
		{Options{Schedules: []string{"a.test quadratic x"}}, "want a number"},
		{Options{Schedules: []string{"a.test parallel 0"}}, "want a number"},
		{Options{Schedules: []string{"a.test parallel"}}, "want a number"},
		{Options{Schedules: []string{"a.test sometimes 5m"}}, `"sometimes": want quadratic`},
		{Options{Schedules: []string{""}}, "want a domain"},
		{Options{Groups: []string{"bulk"}}, "want a name and a number"},
		{Options{Groups: []string{"bulk 0"}}, "above 0"},
	} {
		if err := c.o.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: error %v, want %q", c.o, err, c.want)
		}
		if _, err := New(c.o, Deps{}); err == nil {
			t.Errorf("%v: New takes it", c.o)
		}
	}
	if err := (Options{}).Check(); err != nil {
		t.Error(err)
	}
}

// FuzzSchedule: whatever a line says, an accepted schedule always moves forward.
func FuzzSchedule(f *testing.F) {
	f.Add("a.test every 5m lifetime 24h", int64(10))
	f.Add("a.test doubling 1m 2h", int64(100000))
	f.Add("a.test quadratic 7", int64(-5))
	f.Fuzz(func(t *testing.T, line string, age int64) {
		_, s, err := parseSchedule(line, Options{}.withDefaults())
		if err != nil {
			return
		}
		a := time.Duration(age) % (100 * 365 * 24 * time.Hour)
		if next := s.next(a); next <= a {
			t.Errorf("%q at %v: next %v", line, a, next)
		}
	})
}
