package dispatch

import (
	"iter"
	"slices"
)

// This file makes tasks, moves them between their places and drops them. All of it is called with
// Dispatcher.mu held, and keeps the counts of lanes, destinations and messages right.

// newTask makes a task of m that is nowhere yet.
func (d *Dispatcher) newTask(m *message, ns []uint32, at instant) *task {
	self := d.tasks.add(task{msg: m.self, recipients: d.recipients.add(ns), next: at, pos: out, after: m.tasks})
	t := d.tasks.at(self)
	t.self = self
	if t.after != 0 {
		d.tasks.at(t.after).before = self
	}
	m.tasks = self
	return t
}

// addTask makes a task of m in its group's routing lane, unless m is held.
func (d *Dispatcher) addTask(m *message, ns []uint32, at instant) *task {
	t := d.newTask(m, ns, at)
	if !m.held {
		d.place(t, d.lane(nil, d.groups[m.group]))
	}
	return t
}

// msg returns the message of a task.
func (d *Dispatcher) msg(t *task) *message { return d.messages.at(t.msg) }

// laneOf returns the lane that a task is in, or runs for; nil for none.
func (d *Dispatcher) laneOf(t *task) *lane {
	if t.lane == 0 {
		return nil
	}
	return d.lanes.all[t.lane]
}

// tasksOf yields m's tasks; the one it has yielded may be dropped.
func (d *Dispatcher) tasksOf(m *message) iter.Seq[*task] {
	return func(yield func(*task) bool) {
		for n := m.tasks; n != 0; {
			t := d.tasks.at(n)
			n = t.after
			if !yield(t) {
				return
			}
		}
	}
}

// recipientsOf returns the numbers of a task's recipients.
func (d *Dispatcher) recipientsOf(t *task) []uint32 {
	return slices.Collect(d.recipients.of(t.recipients))
}

// setRecipients gives a task other recipients.
func (d *Dispatcher) setRecipients(t *task, ns []uint32) {
	d.recipients.remove(t.recipients)
	t.recipients = d.recipients.add(ns)
}

// lane returns the lane of a destination (nil for routing) and group.
func (d *Dispatcher) lane(to *dest, g *group) *lane {
	key := laneKey{to, g}
	l := d.lanes.byKey[key]
	if l == nil {
		l = d.lanes.add(key)
		if to != nil {
			to.lanes = append(to.lanes, l)
		}
	}
	return l
}

// place puts t into a lane, by its time.
func (d *Dispatcher) place(t *task, l *lane) {
	d.attach(t, l)
	if t.next <= d.now() {
		d.makeReady(t)
		return
	}
	t.where = waiting
	l.wait.push(d.byTime, t.self)
	d.setTimer(l)
}

// attach makes t one of l's tasks.
func (d *Dispatcher) attach(t *task, l *lane) {
	if t.lane == l.number {
		return
	}
	if was := d.laneOf(t); was != nil && was.key.dest != nil {
		was.key.dest.tasks--
	}
	if l.key.dest != nil {
		l.key.dest.tasks++
	}
	t.lane = l.number
}

// setTimer puts l where its first waiting task belongs, and wakes the loop when it comes first.
func (d *Dispatcher) setTimer(l *lane) {
	d.retime(l)
	if l.timer == 0 {
		d.nudge()
	}
}

func (d *Dispatcher) retime(l *lane) {
	if len(l.wait) == 0 {
		if l.timer != out {
			d.timers.remove(byDue{}, l.timer)
		}
		return
	}
	l.due = d.tasks.at(l.wait[0]).next
	if l.timer == out {
		d.timers.push(byDue{}, l)
	} else {
		d.timers.fix(byDue{}, l.timer)
	}
}

// makeReady puts t among its lane's due tasks.
func (d *Dispatcher) makeReady(t *task) {
	t.where = ready
	l := d.laneOf(t)
	l.ready.push(d.byUrgency, t.self)
	d.activate(l)
}

// activate puts l into the ring of its most urgent due task.
func (d *Dispatcher) activate(l *lane) {
	var want *ring
	if len(l.ready) > 0 {
		first := d.tasks.at(l.ready[0])
		want = &l.key.group.rings[l.kind()][class(d.msg(first).prio)]
	}
	if l.ring == want {
		return
	}
	if l.ring != nil {
		l.ring.remove(l)
	}
	if want != nil {
		want.add(l)
	}
}

// unplace takes t out of its lane and its lane's destination. A running one stays: whoever
// runs it sees what became of its message.
func (d *Dispatcher) unplace(t *task) {
	switch l := d.laneOf(t); t.where {
	case waiting:
		l.wait.remove(d.byTime, t.pos)
		d.setTimer(l)
	case ready:
		l.ready.remove(d.byUrgency, t.pos)
		d.activate(l)
	case parked:
		l.wait.remove(d.byTime, t.pos)
	case running:
		return
	}
	d.detach(t)
}

// put places a task that ran, unless its message is held.
func (d *Dispatcher) put(t *task, l *lane) {
	t.where = nowhere
	if d.msg(t).held {
		d.detach(t)
	} else {
		d.place(t, l)
	}
}

// detach takes a task that ran, or stands nowhere, out of its lane.
func (d *Dispatcher) detach(t *task) {
	if l := d.laneOf(t); l != nil && l.key.dest != nil {
		l.key.dest.tasks--
	}
	t.where, t.lane = nowhere, 0
	d.setBusy(t, false)
}

// drop takes a task that is in no heap out of its lane and its message, and frees its number.
func (d *Dispatcher) drop(t *task) {
	d.detach(t)
	if t.before != 0 {
		d.tasks.at(t.before).after = t.after
	} else {
		d.msg(t).tasks = t.after
	}
	if t.after != 0 {
		d.tasks.at(t.after).before = t.before
	}
	delete(d.preps, t.self)
	delete(d.givenUp, t.self)
	d.recipients.remove(t.recipients)
	d.tasks.remove(t.self)
}
