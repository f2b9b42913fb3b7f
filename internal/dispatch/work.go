package dispatch

import (
	"context"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/trace"
)

// This file is one pass over a task: load it, route its recipients, ask the target. It
// changes nothing durable; what came of it goes to record.

// loadRetry is the pause before a message that the store could not read is tried again.
const loadRetry = 5 * time.Second

// pass is one go over a task's recipients.
type pass struct {
	t       *task
	m       *message
	ns      []uint32 // the task's recipients when it began
	prep    *prep    // nil until they are routed
	c       *content
	env     *mail.Envelope // of c, as it was when the pass began
	lane    *lane          // whose slot it holds
	started instant
	age     time.Duration
	wall    time.Time
	attempt id.ID
	dead    *reason.Error // the destination is left alone: why
	force   bool          // of the task
	giveUp  bool          // of the task
	flushes int           // flushes before its results were known
	long    bool          // it counts in Dispatcher.long
	over    bool          // its deliveries are
	results []result
	drafts  []draft // of forwards
}

// result is what became of one recipient in a pass.
type result struct {
	n         uint32
	v         deliver.Verdict
	attempted bool // a target was asked
	expanded  bool // sent on to several addresses
	final     mail.Address
}

// run works on one task that start has handed over.
func (d *Dispatcher) run(t *task) {
	defer d.jobs.Done()
	p := &pass{t: t}
	if !d.load(p) {
		return
	}
	if p.prep == nil {
		d.routeAll(p)
	}
	if p.prep != nil && p.lane.key.dest != nil {
		d.deliver(p)
	}
	d.mu.Lock()
	d.release(p.lane)
	if p.over = true; p.long {
		d.long--
	}
	d.finishing++
	p.flushes = d.flushes
	d.pump()
	d.mu.Unlock()
	d.record(p)
}

// load sees that the task's message is still here and in memory. On false the task
// has been put back or dropped.
func (d *Dispatcher) load(p *pass) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	p.m, p.lane = d.msg(p.t), d.laneOf(p.t)
	if d.contents[p.m.self] == nil && !p.m.gone {
		d.mu.Unlock()
		loaded, err := d.deps.Store.Load(d.work, p.m.id)
		d.mu.Lock()
		switch {
		case p.m.gone:
		case errors.Is(err, queue.ErrNotFound):
			d.forget(p.m)
		case err != nil:
			if d.work.Err() == nil {
				d.deps.Log.Warn("a message could not be read from the queue, trying again", "message", p.m.id.String(), "error", err)
			}
			d.release(p.lane)
			p.t.next = d.now() + instant(loadRetry)
			d.setBusy(p.t, false)
			d.put(p.t, p.lane)
			d.pump()
			return false
		default:
			d.keep(p.m, loaded)
		}
	}
	if p.m.gone {
		d.release(p.lane)
		d.drop(p.t)
		d.free(p.m)
		d.pump()
		return false
	}
	p.c = d.contents[p.m.self]
	p.env = p.c.env
	p.ns, p.prep = d.recipientsOf(p.t), d.preps[p.t.self]
	p.started = d.now()
	p.age = timeOf(p.started - p.m.birth)
	p.wall = d.deps.Clock.Now().UTC()
	p.force, p.giveUp = p.t.force, p.t.giveUp
	if p.t.dead {
		p.dead = p.lane.key.dest.err
		if p.dead == nil { // it came back to life meanwhile
			d.release(p.lane)
			d.setBusy(p.t, p.prep != nil)
			d.put(p.t, p.lane)
			d.pump()
			return false
		}
	}
	if len(d.parked) > 0 {
		p.prep = nil // a recipient's domain may have been paused: look again
	}
	return true
}

func timeOf(i instant) time.Duration { return time.Duration(i) }

// stop is one place that recipients of a pass are routed to.
type stop struct {
	key    string
	kind   kind
	domain string // whose schedule counts
	ns     []uint32
	prep   *prep
}

// jobRecipients is how many recipients one delivery has at most, so that what it takes to tell of them
// stays small, and so that a message to very many is delivered to by several at once.
const jobRecipients = 1000

// routeAll routes the task's recipients. Those that stay in the task's lane become its
// prep; the others become tasks of their own lanes; refused ones become results.
func (d *Dispatcher) routeAll(p *pass) {
	var stops []*stop
	byKey := make(map[string]*stop, 1)
	for _, n := range p.ns {
		r := &p.env.Recipients[n]
		if err := p.refusal(r); err != nil {
			p.results = append(p.results, result{n: n, v: deliver.Verdict{Err: err}, final: r.To})
			continue
		}
		if r.Copy != "" {
			d.archive(p, n)
			continue
		}
		found, err := d.deps.Router.Route(d.work, r.To)
		if err == nil && found.Kind == route.Refused {
			if err = error(found.Err); found.Err == nil {
				err = reason.LocalError
			}
		}
		if err != nil {
			if d.work.Err() == nil {
				p.results = append(p.results, result{n: n, v: deliver.Verdict{Err: reason.As(err)}, final: r.To})
			}
			continue
		}
		d.event(p, trace.Routed, n, trace.Event{Text: routeText(&found), Host: found.Next.Host})
		if found.Kind == route.Discard {
			p.results = append(p.results, result{n: n, v: deliver.Verdict{Text: routeText(&found)}, attempted: true, final: found.Final})
			continue
		}
		s := d.stopFor(p, n, &found)
		if err := d.sentOn(p, s); err != nil {
			p.results = append(p.results, result{n: n, v: deliver.Verdict{Err: reason.As(err)}, final: r.To})
			continue
		}
		if old := byKey[s.key]; old != nil && len(old.ns) < jobRecipients && s.kind != user && s.kind != routing && !isVERP(p.env.From) && s.prep.targets == nil {
			old.ns = append(old.ns, n)
			old.prep.recipients = append(old.prep.recipients, s.prep.recipients...)
			continue
		}
		byKey[s.key] = s
		stops = append(stops, s)
	}
	d.assign(p, stops)
}

// refusal returns why a recipient is given up without being routed.
func (p *pass) refusal(r *mail.Recipient) *reason.Error {
	switch {
	case r.Refused != nil:
		e := *r.Refused
		e.Class = reason.Permanent
		return &e
	case p.giveUp:
		return reason.GivenUp
	}
	return nil
}

// stopFor describes where one routed recipient goes.
func (d *Dispatcher) stopFor(p *pass, n uint32, found *route.Route) *stop {
	r := &p.env.Recipients[n]
	to := deliver.Recipient{N: int(n), To: r.To, Final: found.Final, From: expandVERP(p.env.From, r.To), Folder: found.Folder, ORcpt: r.ORcpt, Notify: r.Notify}
	s := &stop{kind: local, ns: []uint32{n}, prep: &prep{}, domain: foldDomain(found.Final.Domain)}
	switch found.Kind {
	case route.Mailbox:
		s.key = "mailbox"
		to.Dest = strconv.FormatUint(found.Account.ID, 10)
	case route.Forward:
		s.key = "forward"
		s.prep.targets = found.Targets
		if !found.Owner.IsZero() && !p.env.From.IsZero() && p.env.From.Domain != "[]" {
			to.From = found.Owner
		}
	case route.SystemUser:
		// Each has a job of its own: its instructions may take long, or fail half-way.
		s.kind, s.key = user, "user "+found.User.Name
		to.User = found.User
	default:
		s.kind = remote
		s.key, s.domain = destKey(&found.Next)
		next := found.Next
		s.prep.next = &next
	}
	s.prep.recipients = []deliver.Recipient{to}
	return s
}

// sentOn gives a recipient elsewhere of a message that was sent on here the reverse-path for that.
func (d *Dispatcher) sentOn(p *pass, s *stop) error {
	if s.kind != remote || d.deps.Sender == nil || p.env.Parent == (id.ID{}) || p.env.From.IsZero() {
		return nil
	}
	to := &s.prep.recipients[0]
	from, err := d.deps.Sender(d.work, to.From)
	to.From = from
	return err
}

// destKey names a next hop: jobs with the same key may share a connection and what is
// known of the destination.
func destKey(n *route.NextHop) (key, domain string) {
	if n.Host == "" {
		domain = foldDomain(n.Domain)
		key = domain
		if n.Port != 0 {
			key += ":" + strconv.Itoa(n.Port)
		}
	} else {
		domain = foldDomain(n.Host)
		key = "relay " + domain + ":" + strconv.Itoa(n.Port)
		if n.MX {
			key += " mx"
		}
	}
	if n.TLS != 0 {
		key += " tls" + strconv.Itoa(int(n.TLS))
	}
	if n.User != "" {
		key += " " + n.User
	}
	return key, domain
}

// assign turns stops into tasks. The first stop of the task's own lane stays with it.
func (d *Dispatcher) assign(p *pass, stops []*stop) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p.m.gone {
		return
	}
	t := p.t
	ns := p.ns[:0]
	for i := range p.results {
		ns = append(ns, p.results[i].n)
	}
	for _, s := range stops {
		if d.park(p, s) {
			continue
		}
		to := d.dest(s)
		if p.prep == nil && p.lane.key.dest == to {
			p.prep = s.prep
			ns = append(ns, s.ns...)
			continue
		}
		moved := d.newTask(p.m, s.ns, p.started)
		moved.force = t.force
		if chosen := d.givenUp[t.self]; chosen != nil {
			d.givenUp[moved.self] = chosen
		}
		if p.m.held {
			continue
		}
		d.preps[moved.self] = s.prep
		d.setBusy(moved, true)
		d.place(moved, d.lane(to, d.groups[p.m.group]))
	}
	d.setRecipients(t, ns)
}

// park takes recipients of paused domains out of the way.
func (d *Dispatcher) park(p *pass, s *stop) bool {
	if len(d.parked) == 0 {
		return false
	}
	kept, recipients := s.ns[:0], s.prep.recipients[:0]
	for i, n := range s.ns {
		r := s.prep.recipients[i]
		name := ""
		for _, domain := range []string{foldDomain(r.Final.Domain), foldDomain(r.To.Domain)} {
			if _, paused := d.parked[domain]; paused {
				name = domain
			}
		}
		if name == "" {
			kept, recipients = append(kept, n), append(recipients, r)
			continue
		}
		t, l := d.newTask(p.m, []uint32{n}, p.started), d.parked[name]
		d.attach(t, l)
		t.where = parked
		l.wait.push(d.byTime, t.self)
	}
	s.ns, s.prep.recipients = kept, recipients
	return len(kept) == 0
}

// dest returns the destination of a stop, made when it is new.
func (d *Dispatcher) dest(s *stop) *dest {
	to := d.dests[s.key]
	if to == nil || to.kind != s.kind {
		to = &dest{key: s.key, domain: s.domain, kind: s.kind, schedule: d.schedules.of(s.kind, s.domain)}
		to.window = float64(min(d.opt.DestStart, to.schedule.parallel))
		switch s.kind {
		case local:
			to.schedule, to.domain = d.schedules.local, ""
			to.window = math.MaxInt32 // what the places allow
		case user:
			to.schedule, to.domain = d.schedules.local, ""
			to.window = float64(d.opt.UserParallel)
		}
		d.dests[s.key] = to
	}
	return to
}

// deliver asks the target of the task's lane and keeps its verdicts as results.
func (d *Dispatcher) deliver(p *pass) {
	pr := p.prep
	var verdicts []deliver.Verdict
	switch {
	case p.dead != nil:
		for _, r := range pr.recipients {
			p.results = append(p.results, result{n: uint32(r.N), v: deliver.Verdict{Err: p.dead}, final: r.Final})
		}
		return
	case pr.targets != nil:
		d.forward(p)
		return
	}
	p.attempt = d.deps.IDs.New()
	d.mu.Lock()
	for i := range pr.recipients {
		to := &pr.recipients[i]
		to.Again = p.m.birth < 0 || p.c.states[to.N].Attempts > 0
	}
	d.mu.Unlock()
	job := &deliver.Job{
		Attempt:    p.attempt,
		Envelope:   p.env,
		Recipients: pr.recipients,
		Body:       func() (io.ReadCloser, error) { return d.body(d.work, p.m.id) },
		Next:       pr.next,
		Force:      p.force,
	}
	for i := range pr.recipients {
		d.event(p, trace.Attempt, uint32(pr.recipients[i].N), trace.Event{Count: int64(len(pr.recipients))})
	}
	ctx, target := d.work, d.deps.Remote
	if limit := d.timeLimit(p.lane.key.dest.kind); limit > 0 {
		target = d.deps.Mailbox
		limited, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		ctx = limited
	}
	if p.lane.key.dest.kind == local {
		defer d.watch(p).Stop()
	}
	verdicts = target.Deliver(ctx, job)
	interrupted := d.work.Err() != nil
	for i := range pr.recipients {
		v := deliver.Verdict{Err: reason.LocalError}
		if i < len(verdicts) {
			v = verdicts[i]
		}
		if interrupted && v.Err != nil && v.Err.Class == reason.Temporary {
			continue // it was cut short by us: nothing was learnt
		}
		res := result{n: uint32(pr.recipients[i].N), v: v, attempted: true, final: pr.recipients[i].Final}
		if v.Err == nil && v.Forward != nil {
			d.sendOn(p, &pr.recipients[i], &res)
		}
		p.results = append(p.results, res)
	}
	if !interrupted {
		d.mu.Lock()
		if to := p.lane.key.dest; to.kind == user {
			d.pace(to, d.now()-p.started)
		} else {
			d.learn(to, verdicts, d.now())
		}
		d.mu.Unlock()
	}
}

// timeLimit returns the most that a delivery here may take; 0 of deliveries elsewhere, whose
// target has limits of its own.
func (d *Dispatcher) timeLimit(k kind) time.Duration {
	switch k {
	case local:
		return d.opt.LocalTimeout
	case user:
		return d.opt.UserTimeout
	}
	return 0
}

func (d *Dispatcher) body(ctx context.Context, message id.ID) (io.ReadCloser, error) {
	b, err := d.deps.Store.Body(ctx, message)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// isVERP tells a sender that asks for one reverse-path per recipient: it ends in "-@[]"
// (qmail reference 3.1).
func isVERP(from mail.Address) bool {
	return from.Domain == "[]" && len(from.Local) > 1 && from.Local[len(from.Local)-1] == '-'
}

// expandVERP returns the reverse-path for one recipient: owner-@host-@[] becomes
// owner-box=rhost@host. One without a host before the mark, or for a recipient without one, stays as
// it is, as in qmail-send.
func expandVERP(from, to mail.Address) mail.Address {
	if !isVERP(from) || to.Domain == "" || !strings.Contains(from.Local, "@") {
		return from
	}
	base := mail.ParseAddress(from.Local[:len(from.Local)-1])
	base.Local += to.Local + "=" + to.Domain
	return base
}

func routeText(r *route.Route) string {
	switch r.Kind {
	case route.Mailbox:
		return "mailbox " + r.Account.Address.String()
	case route.Forward:
		return "forward to " + strconv.Itoa(len(r.Targets)) + " addresses"
	case route.Discard:
		return "taken and dropped"
	case route.SystemUser:
		if r.User.Ext == "" {
			return "user " + r.User.Name
		}
		return "user " + r.User.Name + ", extension " + r.User.Ext // which file has the instructions is found at delivery
	}
	if r.Next.Host != "" {
		return "relay " + r.Next.Host
	}
	return "remote " + r.Next.Domain
}
