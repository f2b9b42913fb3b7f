package dispatch

import (
	"context"
	"errors"
	"fmt"
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
)

// Act does a to every message that f matches and returns how many it changed. It stops
// at the first error of the store.
func (d *Dispatcher) Act(ctx context.Context, f Filter, a Action) (n int, err error) {
	switch a.Verb {
	case Retry, Hold, Release, Bounce, Delete, Priority, Group:
	default:
		return 0, fmt.Errorf("action %q: want retry, hold, release, bounce, delete, priority or group", a.Verb)
	}
	err = d.each(ctx, f, id.ID{}, func(x *match) (bool, error) {
		done, err := d.act(ctx, x, a)
		if errors.Is(err, queue.ErrNotFound) {
			return true, nil // it was finished meanwhile
		}
		if done && err == nil {
			n++
			d.deps.Recorder.Record(trace.Event{Time: d.deps.Clock.Now().UTC(), Kind: trace.Operator, Role: "queue", Message: x.id, Text: string(a.Verb)})
		}
		return true, err
	})
	return n, err
}

func (d *Dispatcher) act(ctx context.Context, x *match, a Action) (bool, error) {
	switch a.Verb {
	case Retry:
		return d.retry(x), nil
	case Bounce:
		return d.giveUp(x), nil
	case Hold, Release:
		return d.hold(ctx, x.id, a.Verb == Hold)
	case Delete:
		if err := d.deps.Store.Delete(ctx, x.id); err != nil {
			return false, err
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		if m := d.messages[x.id]; m != nil {
			d.forget(m)
		}
		return true, nil
	}
	return true, d.regroup(ctx, x.id, a)
}

// numbers is a set of recipients' numbers.
type numbers map[uint32]struct{}

func (s numbers) has(n uint32) bool { _, ok := s[n]; return ok }

// matching returns the tasks of m that hold any of the recipients ns.
func (m *message) matching(ns numbers) (out []*task) {
	for _, t := range m.tasks {
		if slices.ContainsFunc(t.ns, ns.has) {
			out = append(out, t)
		}
	}
	return out
}

// retry makes the matching recipients due now.
func (d *Dispatcher) retry(x *match) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.messages[x.id]
	if m == nil || m.held {
		return false
	}
	done := false
	for _, t := range m.matching(x.ns) {
		switch t.where {
		case waiting:
			l := t.lane
			d.unplace(t)
			t.next, t.force = d.now(), true
			d.place(t, l)
			done = true
		case ready:
			t.force, done = true, true
		}
	}
	d.pump()
	return done
}

// giveUp makes the matching recipients fail now. Those whose delivery runs fail when it is
// deferred.
func (d *Dispatcher) giveUp(x *match) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.messages[x.id]
	if m == nil {
		return false
	}
	var ns []uint32
	done := false
	for _, t := range m.matching(x.ns) {
		done = true
		if t.where == running {
			t.giveUp = true
			continue
		}
		ns = append(ns, d.takeOut(t, x.ns)...)
	}
	if len(ns) > 0 {
		t := &task{msg: m, ns: ns, next: d.now(), giveUp: true}
		m.tasks = append(m.tasks, t)
		d.place(t, d.lane(nil, m.group)) // also of a held message
		d.pump()
	}
	return done
}

// takeOut takes recipients out of a task that does not run. The task goes when none
// is left, and is routed again otherwise.
func (d *Dispatcher) takeOut(t *task, ns numbers) (out []uint32) {
	kept := t.ns[:0]
	for _, n := range t.ns {
		if ns.has(n) {
			out = append(out, n)
		} else {
			kept = append(kept, n)
		}
	}
	t.ns = kept
	t.prep = nil
	setBusy(t, false)
	if len(kept) == 0 {
		d.unplace(t)
		d.drop(t)
	}
	return out
}

// hold stops or releases a message, durably.
func (d *Dispatcher) hold(ctx context.Context, message id.ID, held bool) (bool, error) {
	changed := false
	err := d.deps.Store.Update(ctx, message, func(m *queue.Message) error {
		changed = m.Held != held
		m.Held = held
		return nil
	})
	if err != nil || !changed {
		return false, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.messages[message]
	if m == nil {
		return true, nil
	}
	d.sums.remove(m)
	m.held = held
	d.sums.add(m)
	for _, t := range m.tasks {
		switch {
		case held && (t.where == waiting || t.where == ready):
			t.prep = nil
			d.unplace(t)
		case !held && t.where == nowhere:
			d.place(t, d.lane(nil, m.group))
		}
	}
	if held {
		d.settle(m)
	}
	d.pump()
	return true, nil
}

// regroup changes a message's priority or group, durably.
func (d *Dispatcher) regroup(ctx context.Context, message id.ID, a Action) error {
	change := func(env *mail.Envelope) {
		if a.Verb == Priority {
			env.Priority = a.Priority
		} else {
			env.Group = groupName(a.Group)
		}
	}
	err := d.deps.Store.Update(ctx, message, func(m *queue.Message) error {
		change(m.Envelope)
		return nil
	})
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.messages[message]
	if m == nil {
		return nil
	}
	if m.content != nil {
		env := *m.content.env
		change(&env)
		m.content.env = &env
	}
	type seat struct {
		t    *task
		to   *dest
		busy bool
	}
	var seats []seat // out of the heaps while what orders them changes
	for _, t := range m.tasks {
		if t.where == waiting || t.where == ready {
			seats = append(seats, seat{t, t.lane.key.dest, t.busy})
			d.unplace(t)
		}
	}
	if a.Verb == Priority {
		m.prio = a.Priority
	} else {
		m.group = d.group(groupName(a.Group))
	}
	for _, s := range seats {
		d.place(s.t, d.lane(s.to, m.group))
		setBusy(s.t, s.busy)
	}
	d.pump()
	return nil
}

// Edit gives recipient n of a message another address, durably, and tries it at its next
// time.
func (d *Dispatcher) Edit(ctx context.Context, message id.ID, n int, to mail.Address) error {
	m, ns := d.lift(message, n)
	if m == nil {
		return queue.ErrNotFound
	}
	if len(ns) == 0 {
		return ErrBusy
	}
	err := d.deps.Store.Update(ctx, message, func(q *queue.Message) error {
		if n < 0 || n >= len(q.States) || q.States[n].State != queue.Waiting {
			return ErrNoChange
		}
		q.Envelope.Recipients[n].To = to
		return nil
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	if !m.gone {
		if err == nil && m.content != nil {
			env := *m.content.env
			env.Recipients = slices.Clone(env.Recipients)
			env.Recipients[n].To = to
			m.content.env = &env
		}
		d.addTask(m, ns, d.now())
		d.pump()
	}
	return err
}

// lift takes a waiting recipient out of its task, so that nothing starts with it. No
// recipient is returned when it is not waiting.
func (d *Dispatcher) lift(of id.ID, n int) (*message, []uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.messages[of]
	if m == nil {
		return nil, nil
	}
	ns := numbers{uint32(n): {}}
	for _, t := range m.matching(ns) {
		if t.where != running {
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
	for _, l := range d.lanes {
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
				t := l.wait[0]
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
	l.wait.remove(t, earlier)
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
	if d.first == nil || d.first.gone {
		d.first = nil
		for _, m := range d.messages {
			if d.first == nil || m.birth < d.first.birth {
				d.first = m
			}
		}
	}
	if d.first == nil {
		return 0
	}
	return timeOf(now - d.first.birth)
}
