package dispatch

import (
	"time"

	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/reason"
)

// This file decides what starts next, and learns from what came of it. The rule: a
// destination, group or kind of work at its limit holds up nobody else.

// chunk bounds how many tasks one pump moves or skips while others wait for the lock.
const chunk = 512

// lowShare: every so many starts the low priorities come first, so that none starves.
const lowShare = 8

// heldBack reports whether nothing may start.
func (d *Dispatcher) heldBack() bool {
	return d.stopped || d.paused || d.finishing >= d.opt.ResultsInMem ||
		d.deps.QueueOnly != nil && d.deps.QueueOnly()
}

// pump moves tasks whose time has come and starts what may start. It is called with
// mu held after anything changed.
func (d *Dispatcher) pump() {
	now := d.now()
	moved := 0
	for len(d.timers) > 0 && moved < chunk {
		l := d.timers[0]
		if l.due > now {
			break
		}
		t := d.tasks.at(l.wait[0])
		l.wait.remove(d.byTime, 0)
		d.retime(l)
		d.makeReady(t)
		moved++
	}
	if d.heldBack() {
		return
	}
	skipped := 0
	for k := range kinds {
		for d.taken(k) < d.limits[k] && moved+skipped < 2*chunk {
			t := d.pick(k, now)
			if t == nil {
				break
			}
			if d.skip(t, now) {
				skipped++
				continue
			}
			d.start(t, now)
		}
	}
	if moved+skipped >= chunk {
		d.nudge()
	}
}

// A delivery into a mailbox that takes long waits for a file system that does not answer, or for the turn of its mailbox.
// Others have its place meanwhile, so many times the places at most.
const (
	longAfter = 32 * time.Second // a bit longer than it takes the mailbox to count as hanging
	longMost  = 4
)

// taken is how many places of a kind are.
func (d *Dispatcher) taken(k kind) int {
	if k != local {
		return d.running[k]
	}
	return d.running[k] - min(d.long, longMost*max(d.limits[k], 0))
}

// watch has the pass count as one that takes long once it does. It is over when p.over is set.
func (d *Dispatcher) watch(p *pass) *time.Timer {
	return time.AfterFunc(longAfter, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if !p.over {
			p.long = true
			d.long++
			d.pump()
		}
	})
}

// pick takes the next due task of a kind out of its lane: groups in turn, the high
// priorities first, lanes in turn.
func (d *Dispatcher) pick(k kind, now instant) *task {
	d.picks++
	for range d.groups {
		g := d.groups[d.turn%len(d.groups)]
		d.turn = (d.turn + 1) % len(d.groups)
		if g.paused || g.limit > 0 && k != routing && g.running >= g.limit {
			continue
		}
		for i := range classes {
			if d.picks%lowShare == 0 {
				i = classes - 1 - i
			}
			if t := d.pickFrom(&g.rings[k][i], now); t != nil {
				return t
			}
		}
	}
	return nil
}

// pickFrom takes a task from the first lane of the ring whose destination has room.
// Lanes without room leave the ring until their destination has some again.
func (d *Dispatcher) pickFrom(r *ring, now instant) *task {
	for r.head != nil {
		l := r.head
		// A dead destination's tasks need no room: they only record why they wait.
		if to := l.key.dest; to != nil && to.running >= d.room(to) && (!to.dead(now) || d.tasks.at(l.ready[0]).force) {
			r.remove(l)
			continue
		}
		t := d.tasks.at(l.ready[0])
		l.ready.remove(d.byUrgency, 0)
		r.remove(l)
		d.activate(l) // at the end
		return t
	}
	return nil
}

// skip puts off a task whose destination is left alone, without an attempt. What
// must be recorded or told (the last attempt, a delay notice) is started all the same,
// and finds the destination dead.
func (d *Dispatcher) skip(t *task, now instant) bool {
	l, m := d.laneOf(t), d.msg(t)
	to := l.key.dest
	if to == nil || !to.dead(now) || t.force || t.giveUp {
		return false
	}
	age := now - m.birth
	if age > instant(to.schedule.lifetime) || d.opt.DelayNotice > 0 && !m.told && age >= instant(d.opt.DelayNotice) {
		return false
	}
	if d.preps[t.self] != nil {
		// A message that was never tried is recorded once with the reason.
		return false
	}
	t.where = nowhere
	t.next = m.birth + instant(to.schedule.next(timeOf(age)))
	t.dirty = true
	d.place(t, l)
	return true
}

// start lets a worker run t.
func (d *Dispatcher) start(t *task, now instant) {
	l := d.laneOf(t)
	t.where = running
	t.dead = l.key.dest != nil && l.key.dest.dead(now) && !t.force
	d.setBusy(t, true)
	d.running[l.kind()]++
	if to := l.key.dest; to != nil {
		to.running++
		l.key.group.running++
	}
	d.jobs.Add(1)
	d.workers.Go(func() { d.run(t) })
}

// release gives back what start took. The task itself stays the caller's.
func (d *Dispatcher) release(l *lane) {
	d.running[l.kind()]--
	if to := l.key.dest; to != nil {
		to.running--
		l.key.group.running--
		for _, other := range to.lanes {
			d.activate(other)
		}
	}
}

// dead reports whether the destination is left alone now.
func (t *dest) dead(now instant) bool { return now < t.until }

// room is the number of deliveries that may run at once. After a time of being left alone
// a single one tries. What a user has beyond the rest is for when others leave half of the places free.
func (d *Dispatcher) room(t *dest) int {
	if t.until > 0 && t.failures > 0 {
		return 1
	}
	n := max(int(t.window), 1)
	if t.kind == user && n > d.opt.UserParallel && d.running[user] >= d.limits[user]/2 {
		n = d.opt.UserParallel
	}
	return n
}

// A delivery for a user that ends within quick is one into a mailbox, or as good; more of them at once share
// their syncs. One that takes slow may be the first of many.
const (
	quick = instant(200 * time.Millisecond)
	slow  = instant(time.Second)
)

// pace adapts the deliveries for a user that may run at once to how long one took.
func (d *Dispatcher) pace(t *dest, took instant) {
	least := float64(d.opt.UserParallel)
	switch {
	case took <= quick:
		most := min(least*5/2, float64(d.opt.LocalParallel/2))
		t.window = max(least, min(t.window+1/t.window, most))
	case took >= slow:
		t.window = least
	}
}

// learn adapts the destination to what a delivery of it met: the window grows by one for
// each window of successes and shrinks by one for each window of failures (as Postfix's
// scheduler); after DeadAfter connection failures in a row the destination is left
// alone, twice as long each time.
func (d *Dispatcher) learn(t *dest, verdicts []deliver.Verdict, now instant) {
	if t.kind != remote {
		return
	}
	failed := connectFailure(verdicts)
	if failed == nil {
		t.failures, t.wait, t.until, t.err = 0, 0, 0, nil
		t.window = min(t.window+1/t.window, float64(t.schedule.parallel))
		return
	}
	t.err = failed
	t.failures++
	t.window = max(t.window-1/max(t.window, 1), 1)
	if t.failures < d.opt.DeadAfter || t.dead(now) {
		return
	}
	t.wait = min(max(2*t.wait, d.opt.DeadWait), d.opt.DeadWaitMost)
	t.until = now + instant(t.wait)
}

// connectFailure returns the error of a delivery that says something about the whole
// destination: no connection, a lost one, no answer from the name servers, or 421. One
// recipient that got further speaks against it.
func connectFailure(verdicts []deliver.Verdict) *reason.Error {
	var worst *reason.Error
	for i := range verdicts {
		e := verdicts[i].Err
		if e == nil || e.Class != reason.Temporary {
			return nil
		}
		switch e.Enhanced {
		case "4.4.1", "4.4.2", "4.4.3", "4.1.2":
		default:
			if e.Code != 421 {
				return nil
			}
		}
		worst = e
	}
	return worst
}
