package dispatch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/trace"
)

// This file is what operators do to the queue. Each change is durable in the store before memory
// follows, but for retries, which end with the process, and pauses (pauses.go).

// Verb is what an operator does to messages.
type Verb string

// The verbs. Retry and Bounce concern the recipients that match, the others whole messages.
const (
	Retry    Verb = "retry"    // try now, also at a destination that is left alone
	Hold     Verb = "hold"     // no further attempts until released
	Release  Verb = "release"  // undo hold
	Bounce   Verb = "bounce"   // give up now and tell the sender
	Delete   Verb = "delete"   // drop without a word
	Priority Verb = "priority" // set Action.Priority
	Group    Verb = "group"    // set Action.Group
)

// Action is a verb with what it needs.
type Action struct {
	Verb     Verb   `json:"verb"`
	Priority int8   `json:"priority,omitempty"`
	Group    string `json:"group,omitempty"`
}

// Errors of operators' requests, tested for with errors.Is.
var (
	ErrBusy     = errors.New("it is being delivered at this moment: try again")
	ErrNoChange = errors.New("this recipient is finished")
	ErrNoNumber = errors.New("this message has no recipient of that number")
)

// Act does a to every message that f matches and returns how many it changed. It goes through the
// queue in batches, each of which is one commit, and stops at the first error of the store: what was
// changed until then stays changed. A message that changed meanwhile is judged as it is now.
func (d *Dispatcher) Act(ctx context.Context, f Filter, a Action) (n int, err error) {
	done, err := d.ActOn(ctx, f, a, 0, "")
	return done.Changed, err
}

// Acted is how far an action has come.
type Acted struct {
	Changed int    `json:"changed"` // messages
	Running int    `json:"running"` // those of Changed that are to be stopped, but whose delivery under way goes on to its end
	Matched int    `json:"matched"` // messages that were looked at
	Next    string `json:"next"`    // the cursor of what follows; "" at the end
}

// ActOn is Act for the messages after the cursor, "" for the first, until at least limit of them were looked at: so
// that whoever waits sees how far it is. 0 is no limit.
func (d *Dispatcher) ActOn(ctx context.Context, f Filter, a Action, limit int, cursor string) (done Acted, err error) {
	var after id.ID
	if cursor != "" {
		if after, err = id.Parse(cursor); err != nil {
			return done, err
		}
	}
	var do func(ctx context.Context, f *Filter, a Action, batch []match) (changed []id.ID, running int, err error)
	switch a.Verb {
	case Retry:
		do = d.hurry
	case Bounce:
		do = d.bounce
	case Hold, Release, Delete, Priority, Group:
		do = d.revise
	default:
		return done, fmt.Errorf("action %q: want retry, hold, release, bounce, delete, priority or group", a.Verb)
	}
	err = d.each(ctx, f, after, func(batch []match) (bool, error) {
		changed, running, err := do(ctx, &f, a, batch)
		done.Changed += len(changed)
		done.Running += running
		done.Matched += len(batch)
		now := d.deps.Clock.Now().UTC()
		for _, v := range changed {
			d.deps.Recorder.Record(trace.Event{Time: now, Kind: trace.Operator, Role: "queue", Message: v, Account: f.By, Text: string(a.Verb)})
		}
		if done.Next = ""; limit > 0 && done.Matched >= limit {
			done.Next = batch[len(batch)-1].id.String()
		}
		return done.Next == "", err
	})
	return done, err
}

// hurry makes the matching recipients of a batch due now. Only memory changes.
func (d *Dispatcher) hurry(_ context.Context, f *Filter, _ Action, batch []match) (changed []id.ID, running int, _ error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range batch {
		if m := d.find(batch[i].id); m != nil && f.mayHurry(m.held) && d.retry(m, batch[i].ns) {
			changed = append(changed, m.id)
		}
	}
	d.pump()
	return changed, 0, nil
}

// revise changes whole messages of a batch, in the store and then in memory.
func (d *Dispatcher) revise(ctx context.Context, f *Filter, a Action, batch []match) (changed []id.ID, running int, err error) {
	ids := make([]id.ID, len(batch))
	for i := range batch {
		ids[i] = batch[i].id
	}
	err = d.deps.Store.Revise(ctx, ids, func(m *queue.Message) queue.Revision {
		r := queue.Keep
		if x := (match{id: m.Envelope.ID, env: m.Envelope, states: m.States}); f.stillMatches(&x, m.Held) && f.mayRevise(m) {
			r = a.revise(m)
		}
		if r != queue.Keep {
			changed = append(changed, m.Envelope.ID)
		}
		return r
	})
	if err != nil {
		return nil, 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, v := range changed {
		if m := d.find(v); m != nil {
			if (a.Verb == Hold || a.Verb == Delete) && d.runs(m) {
				running++
			}
			d.follow(m, a)
		}
	}
	d.pump()
	return changed, running, nil
}

// runs reports whether a delivery of m is under way.
func (d *Dispatcher) runs(m *message) bool {
	for t := range d.tasksOf(m) {
		if t.where == running {
			return true
		}
	}
	return false
}

// revise changes a message as the store keeps it.
func (a *Action) revise(m *queue.Message) queue.Revision {
	switch a.Verb {
	case Delete:
		return queue.Drop
	case Hold, Release:
		if held := a.Verb == Hold; m.Held != held {
			m.Held = held
			return queue.Change
		}
		return queue.Keep
	}
	a.label(m.Envelope)
	return queue.Change
}

// label sets an envelope's priority or group.
func (a *Action) label(env *mail.Envelope) {
	if a.Verb == Priority {
		env.Priority = a.Priority
	} else {
		env.Group = groupName(a.Group)
	}
}

// follow brings memory to what was changed in the store.
func (d *Dispatcher) follow(m *message, a Action) {
	switch a.Verb {
	case Delete:
		d.forget(m)
	case Hold, Release:
		d.hold(m, a.Verb == Hold)
	default:
		d.regroup(m, a)
	}
}

// numbers is a set of recipients' numbers, in order.
type numbers []uint32

func (s numbers) has(n uint32) bool { _, ok := slices.BinarySearch(s, n); return ok }

// matching returns the tasks of m that hold any of the recipients ns.
func (d *Dispatcher) matching(m *message, ns numbers) (out []*task) {
	for t := range d.tasksOf(m) {
		for n := range d.recipients.of(t.recipients) {
			if ns.has(n) {
				out = append(out, t)
				break
			}
		}
	}
	return out
}

// retry makes the matching recipients due now, unless their message is held.
func (d *Dispatcher) retry(m *message, ns numbers) (done bool) {
	if m.held {
		return false
	}
	for _, t := range d.matching(m, ns) {
		switch t.where {
		case waiting:
			l := d.laneOf(t)
			d.unplace(t)
			t.next, t.force = d.now(), true
			d.place(t, l)
			done = true
		case ready:
			t.force, done = true, true
		}
	}
	return done
}

// takeOut takes recipients out of a task that does not run. The task goes when none
// is left, and is routed again otherwise.
func (d *Dispatcher) takeOut(t *task, ns numbers) (taken []uint32) {
	var kept []uint32
	for n := range d.recipients.of(t.recipients) {
		if ns.has(n) {
			taken = append(taken, n)
		} else {
			kept = append(kept, n)
		}
	}
	d.unprepare(t)
	if len(kept) == 0 {
		d.unplace(t)
		d.drop(t)
	} else {
		d.setRecipients(t, kept)
	}
	return taken
}

// hold stops or releases a message.
func (d *Dispatcher) hold(m *message, held bool) {
	d.sums.remove(m)
	m.held = held
	d.sums.add(m)
	for t := range d.tasksOf(m) {
		switch {
		case held && (t.where == waiting || t.where == ready):
			d.unprepare(t)
			d.unplace(t)
		case !held && t.where == nowhere:
			d.place(t, d.lane(nil, d.groups[m.group]))
		}
	}
	if held {
		d.settle(m)
	}
}

// regroup changes a message's priority or group.
func (d *Dispatcher) regroup(m *message, a Action) {
	if c := d.contents[m.self]; c != nil {
		env := *c.env
		a.label(&env)
		c.env = &env
	}
	type seat struct {
		t    *task
		to   *dest
		busy bool
	}
	var seats []seat // out of the heaps while what orders them changes
	for t := range d.tasksOf(m) {
		if t.where == waiting || t.where == ready {
			seats = append(seats, seat{t, d.laneOf(t).key.dest, t.busy})
			d.unplace(t)
		}
	}
	if a.Verb == Priority {
		m.prio = a.Priority
	} else {
		m.group = d.group(groupName(a.Group)).number
	}
	for _, s := range seats {
		d.place(s.t, d.lane(s.to, d.groups[m.group]))
		d.setBusy(s.t, s.busy)
	}
}

// Edit gives recipient n of a message another address, durably, and tries it at its next
// time.
func (d *Dispatcher) Edit(ctx context.Context, message id.ID, n int, to mail.Address) error {
	m, ns := d.lift(message, n)
	if m == nil {
		return queue.ErrNotFound
	}
	if len(ns) == 0 {
		return queue.Update(ctx, d.deps.Store, message, func(q *queue.Message) error { return cmp.Or(editable(q, n), ErrBusy) })
	}
	err := queue.Update(ctx, d.deps.Store, message, func(q *queue.Message) error {
		if err := editable(q, n); err != nil {
			return err
		}
		q.Envelope.Recipients[n].To = to
		return nil
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	m.busy--
	if m.gone {
		d.free(m)
		return err
	}
	if err == nil {
		m.domains |= d.marks(to.Domain)
		if c := d.contents[m.self]; c != nil {
			env := *c.env
			env.Recipients = slices.Clone(env.Recipients)
			env.Recipients[n].To = to
			c.env = &env
		}
	}
	d.addTask(m, ns, d.now())
	d.pump()
	return err
}

// editable tells what keeps a recipient from being edited for good.
func editable(q *queue.Message, n int) error {
	switch {
	case n < 0 || n >= len(q.States):
		return ErrNoNumber
	case q.States[n].State != queue.Waiting:
		return ErrNoChange
	}
	return nil
}

// lift takes a waiting recipient out of its task, so that nothing starts with it, and has the message
// stay, as busy. No recipient is returned when it is not waiting.
func (d *Dispatcher) lift(of id.ID, n int) (*message, []uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.find(of)
	if m == nil {
		return nil, nil
	}
	ns := numbers{uint32(n)}
	for _, t := range d.matching(m, ns) {
		if t.where != running {
			m.busy++
			return m, d.takeOut(t, ns)
		}
	}
	return m, nil
}

// Flush makes everything due now and forgets what is known of dead destinations. It
// returns the number of messages' tasks that it moved.
func (d *Dispatcher) Flush() (n int) {
	d.forgetHosts()
	d.mu.Lock()
	d.flushes++
	for _, to := range d.dests {
		to.failures, to.wait, to.until, to.err = 0, 0, 0, nil
		if to.kind == remote {
			to.window = max(to.window, float64(min(d.opt.DestStart, to.schedule.parallel)))
		}
	}
	var lanes []*lane
	total := 0
	for _, l := range d.lanes.byKey {
		if len(l.wait) > 0 {
			lanes = append(lanes, l)
			total += len(l.wait)
		}
	}
	d.mu.Unlock()
	// In pieces, so that deliveries go on meanwhile. What is deferred again meanwhile
	// may be moved once more, but never without end.
	for _, l := range lanes {
		for more := true; more && n < total; {
			d.mu.Lock()
			for range chunk {
				if more = len(l.wait) > 0; !more {
					break
				}
				t := d.tasks.at(l.wait[0])
				d.unplaceInto(t, l)
				n++
			}
			d.pump()
			d.mu.Unlock()
		}
	}
	return n
}

// forgetWait bounds how long a Flush waits for role remote.
const forgetWait = 5 * time.Second

func (d *Dispatcher) forgetHosts() {
	if d.deps.ForgetHosts == nil {
		return
	}
	ctx, cancel := context.WithTimeout(d.work, forgetWait)
	defer cancel()
	if err := d.deps.ForgetHosts(ctx); err != nil {
		d.deps.Log.Warn("hosts that did not answer are still left alone for a while", "error", err)
	}
}

// unplaceInto moves a waiting task of l to those that are due.
func (d *Dispatcher) unplaceInto(t *task, l *lane) {
	l.wait.remove(d.byTime, t.pos)
	d.setTimer(l)
	t.next = min(t.next, d.now())
	d.makeReady(t)
}

// groupName maps the name that operators use for the group of mail without one.
func groupName(s string) string {
	if s == "default" {
		return ""
	}
	return s
}

// oldest returns the age of the oldest unfinished message, 0 when there is none.
func (d *Dispatcher) oldest(now instant) time.Duration {
	if d.first == 0 {
		birth := instant(math.MaxInt64)
		for m := range d.messages.all() {
			if !m.gone && m.birth < birth {
				d.first, birth = m.self, m.birth
			}
		}
	}
	if d.first == 0 {
		return 0
	}
	return timeOf(now - d.messages.at(d.first).birth)
}
