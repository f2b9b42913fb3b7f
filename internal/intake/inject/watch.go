package inject

import (
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/id"
	wire "github.com/postilion/postilion/internal/inject"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/trace"
)

// This file tells a program what becomes of the message that it handed in, in the words of
// sendmail -v (qmail reference 25.4), until every recipient has a verdict.

// afterglow is how long more events are waited for once every recipient has a verdict: what was sent
// on of the message is announced right after.
const afterglow = 300 * time.Millisecond

// journey counts what is still open of a message and of those made of it.
type journey struct {
	root id.ID
	open map[id.ID]map[int]bool // recipients without a verdict, by message
	gaps bool                   // events were lost: verdicts may be among them
}

// watch sends steps until the journey is over, its time has passed, the program or the server goes.
func (c *session) watch(l *letter) {
	j := &journey{root: l.tx.ID(), open: map[id.ID]map[int]bool{}}
	j.expect(j.root, l.tx.Recipients())
	gone := make(chan struct{})
	go func() { // the program says nothing more: reading ends when it goes
		defer close(gone)
		c.nc.SetReadDeadline(time.Time{})
		io.Copy(io.Discard, c.r.Buffered())
	}()
	defer func() { <-gone }()
	defer c.nc.SetReadDeadline(time.Unix(1, 0))
	var over, late <-chan time.Time
	var order order
	for {
		var ready []trace.Event
		select {
		case e, ok := <-l.events:
			if !ok {
				return
			}
			ready = order.add(e)
		case <-late:
			late, ready = nil, order.all()
		case <-over:
			c.write(wire.AppendFrame(nil, wire.FrameEnd))
			return
		case <-gone:
			return
		}
		for i := range ready {
			if s, tell := j.step(&ready[i], c.d.Clock.Now()); tell && c.write(wire.StepFrame(&s)) != nil {
				return
			}
		}
		switch {
		case !order.holds():
			late = nil
		case late == nil:
			late = time.After(orderWait)
		}
		if over = nil; j.over() {
			over = time.After(afterglow)
		}
	}
}

func (j *journey) expect(m id.ID, recipients int) {
	if j.open[m] == nil {
		j.open[m] = map[int]bool{}
		for n := range recipients {
			j.open[m][n] = true
		}
	}
}

func (j *journey) over() bool {
	for _, open := range j.open {
		if len(open) > 0 {
			return false
		}
	}
	return true
}

// step words an event that came now; false is for those that tell a sender nothing. Some events have
// the time at which their attempt began, so theirs would not tell the order.
func (j *journey) step(e *trace.Event, now time.Time) (s wire.Step, tell bool) {
	s = wire.Step{Kind: "step", To: e.To, Time: now.UTC().Format("2006-01-02T15:04:05.000Z")}
	switch e.Kind {
	case trace.Accepted:
		j.expect(e.Message, int(e.Count))
		s.To, s.Text = "", "queued as "+e.Message.String()+" ("+strconv.FormatInt(e.Size, 10)+" bytes)"
		if e.Message != j.root {
			s.Text = "sent on as " + e.Message.String() + " to " + e.To
		}
	case trace.Routed:
		s.Text = "routed: " + e.Text
	case trace.Attempt:
		s.Text = "Delivering locally..."
		if e.Role == "remote" {
			s.Text = "Connecting via esmtp..."
		}
	case trace.Dialogue:
		s.Kind, s.To, s.Text = "dialogue", "", e.Text
	case trace.Delivered:
		j.verdict(e)
		s.Kind, s.Code, s.Text = "verdict", 250, "Sent"
		if text := oneLine(e.Text); text != "" {
			s.Text += " (" + text + ")"
		}
	case trace.Deferred:
		j.verdict(e)
		s.Kind, s.Code, s.Text = "verdict", orCode(e.Code, 451), "Deferred: "+failureText(e)
		if !e.Next.IsZero() {
			s.Text += "; next attempt " + e.Next.UTC().Format("2006-01-02 15:04:05 UTC")
		}
	case trace.Failed:
		j.verdict(e)
		s.Kind, s.Code, s.Text = "verdict", orCode(e.Code, 554), failureText(e)
	case trace.Bounced:
		s.To, s.Text = "", "returned to sender"
	case trace.Gap:
		j.gaps = true
		s.To, s.Text = "", "not shown: "+strconv.FormatInt(e.Count, 10)+" steps, which came faster than they were read"
	case trace.Finished:
		if j.gaps {
			delete(j.open, e.Message)
		}
		return s, false
	default:
		return s, false
	}
	return s, true
}

func (j *journey) verdict(e *trace.Event) { delete(j.open[e.Message], e.N) }

func orCode(code, otherwise int) int {
	if code == 0 {
		return otherwise
	}
	return code
}

// failureText words what went wrong: sendmail's words where the reason has some.
func failureText(e *trace.Event) string {
	switch reason.ID(e.Reason) {
	case reason.MailboxUnknown.Reason, reason.NoDotQmail.Reason:
		return "User unknown"
	}
	if text := oneLine(e.Text); text != "" {
		return text
	}
	return "refused without a word" // by a program
}

// oneLine puts a report's lines beside each other.
func oneLine(text string) string {
	return strings.ReplaceAll(strings.TrimSpace(text), "\n", " / ")
}

// smtpConn is a connection whose first bytes may have been read with the call.
type smtpConn struct {
	net.Conn
	r io.Reader
}

// Read implements net.Conn.
func (c *smtpConn) Read(p []byte) (int, error) { return c.r.Read(p) }
