package dispatch

import (
	"strings"

	"github.com/postilion/postilion/internal/bounce"
	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/trace"
)

// This file decides which recipients a sender is told of (RFC 3461 4.1), and
// describes them.

// wantsFailure reports whether the failure of recipient n is to be bounced.
func wantsFailure(env *mail.Envelope, n int) bool {
	notify := env.Recipients[n].Notify
	return notify == 0 || notify&mail.NotifyFailure != 0
}

// wantsDelay reports whether the sender is to be told that recipient n is late. Bounces
// have nobody to tell.
func wantsDelay(env *mail.Envelope, n int) bool {
	if env.From.IsZero() || env.From == bounce.DoubleSender {
		return false
	}
	notify := env.Recipients[n].Notify
	return notify == 0 || notify&mail.NotifyDelay != 0
}

// delayed reports whether a deferral comes late enough for the delay notice.
func (d *Dispatcher) delayed(p *pass, s *queue.RecipientState) bool {
	return d.opt.DelayNotice > 0 && p.age >= d.opt.DelayNotice && !s.Delayed
}

// success describes a delivered recipient whose sender asked to be told, unless the next
// host has taken that over.
func (d *Dispatcher) success(p *pass, r *result) (bounce.Outcome, bool) {
	env := p.env
	if env.Recipients[r.n].Notify&mail.NotifySuccess == 0 || r.v.Relayed || env.From.IsZero() || env.From == bounce.DoubleSender {
		return bounce.Outcome{}, false
	}
	action := bounce.Delivered
	switch {
	case r.expanded:
		action = bounce.Expanded
	case p.prep != nil && p.prep.targets != nil, r.v.Forward != nil && r.v.Forward.From == env.From:
		return bounce.Outcome{}, false // the forwarded message carries the wish on
	case p.lane.kind() == remote:
		action = bounce.Relayed
	}
	s := queue.RecipientState{N: int(r.n), Last: p.wall, Host: hostText(&r.v)}
	return d.outcomeOf(p.c, &s, note{text: r.v.Text}, action, 0), true
}

// outcomeOf describes one recipient for a notice.
func (d *Dispatcher) outcomeOf(c *content, s *queue.RecipientState, n note, a bounce.Action, until instant) bounce.Outcome {
	r := &c.env.Recipients[s.N]
	o := bounce.Outcome{
		To: r.To, ORcpt: r.ORcpt, Action: a, Err: s.Err, Text: n.text, Host: s.Host, Last: s.Last, Transcript: n.transcript,
	}
	if until != 0 {
		o.RetryUntil = d.wallAt(until, d.now())
	}
	return o
}

// hostText names the remote MTA of a verdict as RecipientState.Host does.
func hostText(v *deliver.Verdict) string {
	literal := "[" + v.Addr + "]"
	switch {
	case v.Addr == "":
		return v.Host
	case v.Host == "" || v.Host == literal || v.Host == v.Addr: // a route to an address
		return literal
	}
	return v.Host + " " + literal
}

// acceptedEvent tells of a message that was committed, whoever handed it in.
func (d *Dispatcher) acceptedEvent(env *mail.Envelope) {
	e := trace.Event{
		Time: env.Accepted, Kind: trace.Accepted, Role: env.Protocol, Message: env.ID, Parent: env.Parent, Session: env.Session,
		Tenant: env.Tenant, Account: env.Account, Helo: env.HELO, From: env.From.String(), Size: env.Size, Count: int64(len(env.Recipients)),
	}
	if env.Client.IsValid() {
		e.Client = env.Client.String()
	}
	if len(env.Recipients) > 0 {
		e.To = env.Recipients[0].To.String()
	}
	d.deps.Recorder.Record(e)
}

// event records a step of a pass that is not a result.
func (d *Dispatcher) event(p *pass, k trace.Kind, n uint32, e trace.Event) {
	r := &p.env.Recipients[n]
	e.Time, e.Kind, e.Role = d.deps.Clock.Now().UTC(), k, p.role()
	e.Message, e.Parent, e.Attempt, e.Session = p.m.id, p.env.Parent, p.attempt, p.env.Session
	e.Tenant, e.Account = p.env.Tenant, p.env.Account
	e.From, e.To, e.N, e.Size = p.env.From.String(), r.To.String(), int(n), p.env.Size
	d.deps.Recorder.Record(e)
}

// role names who works on a pass: the destination's kind once it is routed.
func (p *pass) role() string {
	switch to := p.lane.key.dest; {
	case to == nil:
		return "queue"
	case to.kind == remote:
		return "remote"
	}
	return "local"
}

// resultEvent describes a result; it is recorded once the store has the state.
func (d *Dispatcher) resultEvent(p *pass, k trace.Kind, s *queue.RecipientState, r *result) trace.Event {
	env := p.env
	e := trace.Event{
		Time: p.wall, Kind: k, Role: p.role(),
		Message: p.m.id, Parent: env.Parent, Attempt: p.attempt, Session: env.Session,
		Tenant: env.Tenant, Account: env.Account,
		From: env.From.String(), To: env.Recipients[r.n].To.String(), N: int(r.n), Size: env.Size,
		Host: s.Host, TLS: r.v.TLS, Text: r.v.Text, Next: s.Next,
		Took: timeOf(d.now() - p.started),
	}
	if s.Err != nil {
		e.Code, e.Status, e.Reason = s.Err.Code, s.Err.Enhanced, string(s.Err.Reason)
		if report, ok := s.Err.Report(); ok {
			e.Text = report
		} else if e.Text == "" {
			e.Text = s.Err.Line()
			if c := s.Err.Cause; c != nil && !strings.Contains(e.Text, c.Error()) {
				e.Text += " " + c.Error()
			}
		} else if s.Err.Reason == reason.QueueLifetime.Reason {
			e.Text = strings.TrimRight(e.Text, "\n") + "\n" + reason.NotAgain
		}
	}
	return e
}

// Counters count what happened since the start.
type Counters struct {
	Delivered  int64 `json:"delivered"`
	Deferred   int64 `json:"deferred"`
	Failed     int64 `json:"failed"`
	Finished   int64 `json:"finished"`   // messages
	Bounces    int64 `json:"bounces"`    // single ones
	Double     int64 `json:"double"`     // bounces of bounces
	Triple     int64 `json:"triple"`     // discarded
	Suppressed int64 `json:"suppressed"` // failures nobody wanted to hear of
}

func (d *Dispatcher) tally(e *trace.Event) {
	switch e.Kind {
	case trace.Delivered:
		d.count.Delivered++
	case trace.Deferred:
		d.count.Deferred++
	case trace.Failed:
		d.count.Failed++
	}
}
