package dispatch

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/bounce"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/trace"
)

// This file turns the results of a pass into recorded states. What a result makes (bounces,
// notices, forwards) is committed with it or not at all.

// draft is a message that is to be committed with a record. Its envelope, with its
// ID, stays the same over tries, so that it cannot come to be twice.
type draft struct {
	env    *mail.Envelope
	write  func(ctx context.Context, w io.Writer) error
	bounce bool
}

// outcome is one Finish: states and what rides with them.
type outcome struct {
	m      *message
	c      *content
	states []queue.RecipientState
	drafts []draft
	notes  map[int]note
	events []trace.Event
	told   bool // a delay notice rides, or is not wanted
	empty  bool // nothing was left to do: the store's removal is caught up with
}

// record writes a pass's results, puts its deferred recipients back and bounces what
// failed. The caller has counted it in finishing.
func (d *Dispatcher) record(p *pass) {
	o, deferred, next := d.judge(p)
	lost := false
	if len(o.states) > 0 || o.empty {
		lost = !d.finish(o)
	}
	d.mu.Lock()
	d.finishing--
	if !lost {
		d.apply(o)
	}
	d.retire(p, deferred, next, lost)
	d.settle(p.m)
	d.pump()
	d.mu.Unlock()
}

// Trouble in finding out what an address is lies with us and is mostly short: the pause
// before it is tried again is a quarter of the message's age, within these bounds.
const (
	routeRetry     = 5 * time.Second
	routeRetryMost = 15 * time.Minute
)

// judge turns results into states: what is delivered, deferred, failed, and what
// messages that makes.
func (d *Dispatcher) judge(p *pass) (o *outcome, deferred []uint32, next instant) {
	d.mu.Lock()
	defer d.mu.Unlock()
	o = &outcome{m: p.m, c: p.c, drafts: p.drafts}
	if p.m.gone {
		return o, nil, 0
	}
	o.empty = p.m.left == 0
	sch := d.scheduleOf(p.lane)
	chosen := d.givenUp[p.t.self]
	delete(d.givenUp, p.t.self)
	givenUp := func(n uint32) bool { return p.giveUp || slices.Contains(chosen, n) }
	next = p.m.birth + instant(sch.next(p.age))
	if p.lane.kind() == routing {
		next = p.started + instant(min(max(p.age/4, routeRetry), routeRetryMost))
	}
	var told, waiting []bounce.Outcome
	for i := range p.results {
		r := &p.results[i]
		if r.v.Err != nil && r.v.Err.Class == reason.Temporary {
			next = max(next, p.started+instant(min(r.v.RetryAfter, sch.gap())))
		}
	}
	for i := range p.results {
		r := &p.results[i]
		s := p.c.states[r.n]
		s.N = int(r.n)
		if r.attempted {
			s.Attempts++
		}
		s.Last, s.Err, s.Host = p.wall, r.v.Err, hostText(&r.v)
		kind := trace.Delivered
		switch {
		case r.v.Err == nil:
			s.State, s.Next = queue.Delivered, time.Time{}
			if b, ok := d.success(p, r); ok {
				told = append(told, b)
			}
		case r.v.Err.Class == reason.Temporary && p.age <= sch.lifetime && !givenUp(r.n):
			kind = trace.Deferred
			s.State, s.Next = queue.Waiting, d.wallAt(next, p.started)
			deferred = append(deferred, r.n)
			if d.delayed(p, &s) {
				o.told = true
				if wantsDelay(p.c.env, int(r.n)) {
					s.Delayed = true
					waiting = append(waiting, d.outcomeOf(p.c, &s, note{r.v.Text, r.v.Transcript}, bounce.Delayed, p.m.birth+instant(sch.lifetime)))
				}
			}
		default:
			kind = trace.Failed
			s.Next = time.Time{}
			if r.v.Err.Class == reason.Temporary {
				s.Err = lastAttempt(r.v.Err, givenUp(r.n))
			}
			s.State = queue.Failed
			o.note(int(r.n), note{r.v.Text, r.v.Transcript})
		}
		o.states = append(o.states, s)
		o.events = append(o.events, d.resultEvent(p, kind, &s, r))
	}
	d.notices(o, told, waiting)
	if p.m.busy <= 1 && (p.m.failed > 0 || hasFailed(o.states)) {
		d.bounceAll(o)
	}
	return o, deferred, next
}

func (o *outcome) note(n int, x note) {
	if o.notes == nil {
		o.notes = make(map[int]note)
	}
	o.notes[n] = x
}

func hasFailed(states []queue.RecipientState) bool {
	for i := range states {
		if states[i].State == queue.Failed {
			return true
		}
	}
	return false
}

// scheduleOf returns the schedule of a lane's destination; trouble in routing is tried
// again like a remote delivery.
func (d *Dispatcher) scheduleOf(l *lane) *schedule {
	if l.key.dest == nil {
		return d.schedules.remote
	}
	return l.key.dest.schedule
}

// lastAttempt makes a temporary failure permanent (qmail reference 7.3).
func lastAttempt(e *reason.Error, byOperator bool) *reason.Error {
	if byOperator {
		last := reason.GivenUp.Because(e.Cause)
		last.Remote = e.Remote
		return last
	}
	text := e.Text(reason.English)
	if report, ok := e.Report(); ok {
		text = strings.TrimRight(report, "\n")
	}
	last := reason.QueueLifetime.With(strings.TrimSuffix(text, "."), string(e.Reason), strings.TrimRight(e.Line(), "\n"))
	last.Remote, last.Cause = e.Remote, e.Cause
	return last
}

// bounceAll adds the bounce of all failed recipients, those of o and earlier ones, and
// marks them done.
func (d *Dispatcher) bounceAll(o *outcome) {
	in := make(map[int]*queue.RecipientState, len(o.states))
	for i := range o.states {
		in[o.states[i].N] = &o.states[i]
	}
	if o.m.failed > 0 {
		for i := range o.c.states {
			if s := o.c.states[i]; s.State == queue.Failed && in[i] == nil {
				s.N = i
				o.states = append(o.states, s)
			}
		}
	}
	var list []bounce.Outcome
	for i := range o.states {
		s := &o.states[i]
		if s.State != queue.Failed {
			continue
		}
		s.State = queue.Done
		if !wantsFailure(o.c.env, s.N) {
			d.count.Suppressed++
			continue
		}
		n, ok := o.notes[s.N]
		if !ok {
			n = o.c.notes[s.N]
		}
		list = append(list, d.outcomeOf(o.c, s, n, bounce.Failed, 0))
	}
	if len(list) > 0 {
		d.addNotice(o, bounce.Failure, list)
	}
}

// addNotice adds a message of the given kind to the sender. A triple bounce is
// counted, told to the trace and discarded.
func (d *Dispatcher) addNotice(o *outcome, k bounce.Kind, list []bounce.Outcome) {
	env := o.c.env
	n := &bounce.Notice{
		Kind: k, Of: env, Recipients: list,
		Body: d.bodyOrNothing(o.m.id),
	}
	now := d.deps.Clock.Now().UTC()
	made := d.deps.Bouncer.Envelope(n, d.deps.IDs.New(), now)
	e := trace.Event{Time: now, Kind: trace.Bounced, Role: "queue", Message: o.m.id, Tenant: env.Tenant, Count: int64(len(list))}
	if made == nil {
		d.count.Triple++
		d.deps.Log.Info("triple bounce: discarding it", "message", o.m.id.String())
		e.Kind, e.Text = trace.Discarded, "triple bounce: discarding"
		o.events = append(o.events, e)
		return
	}
	d.deps.Archive.Add(made)
	switch {
	case k != bounce.Failure:
	case env.From.IsZero():
		d.count.Double++
	default:
		d.count.Bounces++
	}
	e.Message, e.Parent, e.To, e.Text = made.ID, o.m.id, made.Recipients[0].To.String(), k.String()
	o.events = append(o.events, e)
	o.drafts = append(o.drafts, draft{env: made, bounce: true, write: func(ctx context.Context, w io.Writer) error {
		return d.deps.Bouncer.Write(ctx, w, made, n)
	}})
}

// unreadable is how often a message that is to come back with a notice may fail to be
// read before the notice goes without it.
const unreadable = 5

// bodyOrNothing opens a message's content; after some failures it gives a line instead, for
// a sender must hear of a failure even when the message is beyond reading.
func (d *Dispatcher) bodyOrNothing(message id.ID) func(context.Context) (io.ReadCloser, error) {
	failures := 0
	return func(ctx context.Context) (io.ReadCloser, error) {
		b, err := d.body(ctx, message)
		if err == nil || errors.Is(err, queue.ErrNotFound) || ctx.Err() != nil {
			return b, err
		}
		if failures++; failures <= unreadable {
			return nil, err
		}
		d.deps.Log.Error("a message cannot be read: its bounce goes without it", "message", message.String(), "error", err)
		return io.NopCloser(strings.NewReader("\nThe message can no longer be read.\n")), nil
	}
}

// notices adds the success and delay notices of a pass.
func (d *Dispatcher) notices(o *outcome, told, waiting []bounce.Outcome) {
	if len(told) > 0 {
		d.addNotice(o, bounce.Success, told)
	}
	if len(waiting) > 0 {
		d.addNotice(o, bounce.Delay, waiting)
	}
}

// firstStoreRetry is the first pause between tries to record an outcome; it doubles.
const firstStoreRetry = 100 * time.Millisecond

// maxLosses is how many tries may find the lease lost, over a minute and a half, before
// the message is taken for another node's.
const maxLosses = 10

// finish records o, trying until the store takes it. Before each new try it asks whether the
// one before reached the disk after all; until that is known nothing is tried. False: the
// message is no longer ours, or the dispatcher was stopped first; then the
// delivery may be repeated after the next start.
func (d *Dispatcher) finish(o *outcome) bool {
	err := d.finishOnce(d.records, o)
	losses := 0
	for pause := firstStoreRetry; err != nil; pause = min(2*pause, d.opt.StoreRetryAtMost) {
		if errors.Is(err, queue.ErrLeaseLost) {
			losses++ // a Claim made anew may give it back, see take
		}
		if errors.Is(err, queue.ErrNotFound) || losses > maxLosses {
			d.mu.Lock()
			d.forget(o.m)
			d.mu.Unlock()
			return false
		}
		if d.records.Err() == nil {
			d.deps.Log.Error("results could not be recorded, trying again", "message", o.m.id.String(), "recipients", len(o.states), "error", err)
		}
		select {
		case <-d.records.Done():
			d.deps.Log.Error("results were not recorded before the stop: deliveries may be repeated", "message", o.m.id.String(), "recipients", len(o.states))
			return false
		case <-time.After(pause):
		}
		done, unknown := d.recorded(o)
		switch {
		case done:
			return true
		case unknown != nil:
			err = unknown
		default:
			err = d.finishOnce(d.records, o)
		}
	}
	return true
}

// recorded reports whether an earlier try of o, told as failed, reached the disk.
func (d *Dispatcher) recorded(o *outcome) (bool, error) {
	m, err := d.deps.Store.Load(d.records, o.m.id)
	if errors.Is(err, queue.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	for i := range o.states {
		want := &o.states[i]
		if want.N >= len(m.States) {
			return false, nil
		}
		if have := &m.States[want.N]; have.State != want.State || have.Attempts != want.Attempts || !have.Last.Equal(want.Last) {
			return false, nil
		}
	}
	return len(o.states) > 0, nil
}

// finishOnce makes the drafts and records o with them.
func (d *Dispatcher) finishOnce(ctx context.Context, o *outcome) error {
	var drafts []queue.Draft
	fail := func(err error) error {
		for _, x := range drafts {
			x.Abort()
		}
		return err
	}
	for _, x := range o.drafts {
		env := *x.env // the store may fill in what the first try had already
		q, err := d.deps.Store.Begin(ctx, &env)
		if err != nil {
			return fail(err)
		}
		drafts = append(drafts, q)
		if err := x.write(ctx, q); err != nil {
			return fail(err)
		}
	}
	d.mu.Lock()
	lease := o.m.lease()
	d.mu.Unlock()
	if err := d.deps.Store.Finish(ctx, lease, o.states, drafts...); err != nil {
		return fail(err)
	}
	return nil
}

// apply brings memory to what the store has recorded, and tells the trace.
func (d *Dispatcher) apply(o *outcome) {
	m := o.m
	for i := range o.states {
		s := &o.states[i]
		old := o.c.states[s.N].State
		o.c.states[s.N] = *s
		switch {
		case s.State == queue.Failed && old == queue.Waiting:
			m.failed++
			if o.c.notes == nil {
				o.c.notes = make(map[int]note)
			}
			o.c.notes[s.N] = o.notes[s.N]
		case s.State == queue.Delivered || s.State == queue.Done:
			m.left--
			if !m.gone {
				d.sums.recipients--
			}
			if old == queue.Failed {
				m.failed--
			}
			delete(o.c.notes, s.N)
		}
	}
	m.told = m.told || o.told
	for i := range o.events {
		d.tally(&o.events[i])
		d.deps.Recorder.Record(o.events[i])
	}
}

// manyDests is the number of destinations above which one with a single waiting message is
// not remembered for it: it is routed anew when due, which costs no memory until then.
const manyDests = 10_000

// retire ends a pass's task: its deferred recipients wait again, the rest is done.
func (d *Dispatcher) retire(p *pass, deferred []uint32, next instant, lost bool) {
	t := p.t
	t.force, t.dirty = false, false
	d.unprepare(t)
	switch {
	case p.m.gone || lost:
		d.drop(t)
	case d.work.Err() != nil && len(deferred) == 0:
		d.drop(t) // stopping: what was cut short is tried again after the next start
	case len(deferred) == 0:
		d.drop(t)
	default:
		d.setRecipients(t, deferred)
		if t.next = next; p.flushes != d.flushes {
			t.next = d.now() // flushed while this was recorded
		}
		l := p.lane
		if to := l.key.dest; to != nil && to.tasks == 1 && len(d.dests) > manyDests && !p.m.held {
			l = d.lane(nil, d.groups[p.m.group])
		}
		d.put(t, l)
		if chosen := d.givenUp[t.self]; chosen != nil { // while this was recorded
			delete(d.givenUp, t.self)
			slices.Sort(chosen)
			if taken, _ := d.giveUp(p.m, chosen); len(taken) > 0 {
				d.addGivenUp(p.m, taken)
			}
		}
	}
}

// settle ends a message that has nothing left in work: it is finished, or its
// failures are bounced, or its content leaves memory until the next attempt.
func (d *Dispatcher) settle(m *message) {
	c := d.contents[m.self]
	switch {
	case m.gone:
		d.free(m)
	case m.busy > 0:
		if len(d.contents) > d.opt.EnvelopesInMem {
			d.shed(m)
		}
	case m.left == 0:
		e := trace.Event{Time: d.deps.Clock.Now().UTC(), Kind: trace.Finished, Role: "queue", Message: m.id, Took: timeOf(d.now() - m.birth)}
		if c != nil {
			e.Tenant, e.Account = c.env.Tenant, c.env.Account
		}
		d.forget(m)
		d.count.Finished++
		d.deps.Recorder.Record(e)
	case m.failed == 0 || d.stopped:
		d.shed(m)
	case c == nil:
		d.addTask(m, nil, d.now())
	default:
		m.busy++
		d.finishing++
		d.jobs.Add(1)
		go d.bounceLate(m, c)
	}
}

// bounceLate bounces what failed while other recipients were still in work.
func (d *Dispatcher) bounceLate(m *message, c *content) {
	defer d.jobs.Done()
	d.mu.Lock()
	o := &outcome{m: m, c: c}
	if !m.gone {
		d.bounceAll(o)
	}
	d.mu.Unlock()
	ok := len(o.states) > 0 && d.finish(o)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.finishing--
	m.busy--
	if ok {
		d.apply(o)
	}
	if ok || m.gone {
		d.settle(m)
	}
	d.pump()
}
