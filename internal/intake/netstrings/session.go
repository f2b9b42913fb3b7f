package netstrings

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/intake/client"
	"github.com/postilion/postilion/internal/serve"
	"github.com/postilion/postilion/internal/submit"
	"github.com/postilion/postilion/internal/trace"
)

// Deps are what a server of the family works with. Submit is needed.
type Deps struct {
	Submit *submit.Submitter
	Events trace.Recorder // nil forgets
	Clock  clock.Clock    // nil is the system's
	// Busy returns an error while the load is too high to serve. nil never does.
	Busy func() error
	// Clients tells what is known of a client; nil for nothing.
	Clients *client.Checker
}

// Filled returns d with what was left out.
func (d Deps) Filled() Deps {
	if d.Events == nil {
		d.Events = trace.Discard
	}
	if d.Clock == nil {
		d.Clock = clock.System{}
	}
	return d
}

// CheckTimeouts names which of a server's two times is wrong.
func CheckTimeouts(idle, total time.Duration) error {
	var errs []error
	for _, k := range []struct {
		key string
		d   time.Duration
	}{{"idle_timeout", idle}, {"message_timeout", total}} {
		if k.d < 0 {
			errs = append(errs, fmt.Errorf("%s: %v: want a duration that is not negative", k.key, k.d))
		}
	}
	return errors.Join(errs...)
}

// Timeouts returns the two of a server, where 0 means the default: five minutes for the next bytes, and
// an hour for a message, which is the alarm of qmail-qmtpd and qmail-qmqpd.
func Timeouts(idle, total time.Duration) (time.Duration, time.Duration) {
	idle = cmp.Or(idle, 5*time.Minute)
	total = cmp.Or(total, time.Hour)
	return idle, total
}

// Record sums up a session of src's role: the messages that were taken, their bytes, and in words how
// it went.
func (d Deps) Record(c *serve.Conn, src *submit.Source, messages, bytes int64, text string) {
	ev := trace.Event{Time: d.Clock.Now(), Kind: trace.SessionEnd, Role: src.Role, Session: c.ID, Count: messages, Size: bytes,
		Host: src.RemoteHost, Text: text}
	if src.Client.IsValid() {
		ev.Client = src.Client.String()
	}
	if !c.Started.IsZero() {
		ev.Took = ev.Time.Sub(c.Started)
	}
	d.Events.Record(ev)
}
