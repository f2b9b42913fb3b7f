package logs

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"
)

// daemon is a system's log that can be away.
type daemon struct {
	bytes.Buffer
	away  bool
	asked int
}

func (d *daemon) dial() (io.WriteCloser, error) {
	d.asked++
	if d.away {
		return nil, errors.New("nobody listens")
	}
	return d, nil
}

func (d *daemon) Write(p []byte) (int, error) {
	if d.away {
		return 0, errors.New("it has gone")
	}
	return d.Buffer.Write(p)
}

func (d *daemon) Close() error { return nil }

func TestWithoutItsDaemonTheLogGoesToStandardErrorUntilItIsBack(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	d := &daemon{away: true}
	var stderr bytes.Buffer
	s := &system{dial: d.dial, fallback: &stderr, now: func() time.Time { return now }}
	write := func(line string) {
		t.Helper()
		if n, err := s.Write([]byte(line)); n != len(line) || err != nil {
			t.Fatalf("%q: %d, %v", line, n, err)
		}
	}
	write("one\n")
	write("two\n")
	if d.asked != 1 {
		t.Errorf("the daemon was looked for %d times at once", d.asked)
	}
	d.away = false
	now = now.Add(askAgain)
	write("three\n")
	d.away = true
	write("four\n")
	d.away = false
	now = now.Add(askAgain)
	write("five\n")
	if got, want := stderr.String(), "one\ntwo\nfour\n"; got != want {
		t.Errorf("standard error has %q, want %q", got, want)
	}
	if got, want := d.String(), "three\nfive\n"; got != want {
		t.Errorf("the daemon has %q, want %q", got, want)
	}
}
