package dispatch

// This file gives recipients up because an operator says so. The store knows of it before their bounce is written, so that
// neither a pause nor a restart brings them back; a delivery under way goes on, and decides for its own.

import (
	"context"
	"time"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/trace"
)

// bounce makes the matching recipients of a batch fail now. The store knows before anything else does: what an operator
// gave up goes out after no restart.
func (d *Dispatcher) bounce(ctx context.Context, f *Filter, _ Action, batch []match) (changed []id.ID, running int, err error) {
	var list []lifted
	d.mu.Lock()
	for i := range batch {
		m := d.find(batch[i].id)
		if m == nil || !f.mayHurry(m.held) {
			continue
		}
		taken, runs := d.giveUp(m, batch[i].ns)
		if runs {
			running++
		}
		if runs || len(taken) > 0 {
			changed = append(changed, m.id)
		}
		if len(taken) > 0 {
			m.busy++
			list = append(list, lifted{m: m, id: m.id, ns: taken})
		}
	}
	d.mu.Unlock()
	if err = d.storeGivenUp(ctx, list); err != nil {
		changed, running = nil, 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range list {
		d.putBack(&list[i], err)
	}
	d.pump()
	return changed, running, err
}

// lifted is recipients that are in no task while the store is told that they are given up. Their message is busy.
type lifted struct {
	m      *message
	id     id.ID
	ns     []uint32
	failed []uint32 // those of ns that the store has as failed now
	events []trace.Event
}

// storeGivenUp has the store know of what was given up.
func (d *Dispatcher) storeGivenUp(ctx context.Context, list []lifted) error {
	if len(list) == 0 {
		return nil
	}
	ids, of := make([]id.ID, len(list)), make(map[id.ID]*lifted, len(list))
	for i := range list {
		ids[i], of[list[i].id] = list[i].id, &list[i]
	}
	return d.deps.Store.Revise(ctx, ids, func(q *queue.Message) queue.Revision {
		l, r := of[q.Envelope.ID], queue.Keep
		for _, n := range l.ns {
			if int(n) < len(q.States) && q.States[n].State == queue.Waiting {
				failNow(&q.States[n])
				l.failed, r = append(l.failed, n), queue.Change
				l.events = append(l.events, d.givenUpEvent(q, n))
			}
		}
		return r
	})
}

// failNow makes a waiting recipient one whose bounce is not written yet.
func failNow(s *queue.RecipientState) {
	s.State, s.Next, s.Err = queue.Failed, time.Time{}, reason.GivenUp
}

// putBack makes a task of what was lifted: its bounce, or after an error what it was.
func (d *Dispatcher) putBack(l *lifted, err error) {
	m := l.m
	m.busy--
	switch {
	case m.gone:
		d.free(m)
	case err != nil:
		d.addTask(m, l.ns, d.now())
	case len(l.failed) > 0:
		m.failed += int32(len(l.failed)) // which whoever works on m bounces next: a task without recipients, if nobody else
		if c := d.contents[m.self]; c != nil {
			for _, n := range l.failed {
				failNow(&c.states[n])
			}
		}
		for i := range l.events {
			d.tally(&l.events[i])
			d.deps.Recorder.Record(l.events[i])
		}
		d.place(d.newTask(m, nil, d.now()), d.lane(nil, d.groups[m.group])) // also of a held message
	}
}

// givenUpEvent describes the end of a recipient that an operator gave up.
func (d *Dispatcher) givenUpEvent(q *queue.Message, n uint32) trace.Event {
	env, err := q.Envelope, reason.GivenUp
	return trace.Event{
		Time: d.deps.Clock.Now().UTC(), Kind: trace.Failed, Role: "queue", Message: env.ID, Parent: env.Parent, Session: env.Session,
		Tenant: env.Tenant, Account: env.Account, From: env.From.String(), To: env.Recipients[n].To.String(), N: int(n), Size: env.Size,
		Code: err.Code, Status: err.Enhanced, Reason: string(err.Reason), Text: err.Line(),
	}
}

// giveUp takes the matching recipients out of their tasks, so that nobody tries them. Those whose delivery runs fail
// when it is deferred.
func (d *Dispatcher) giveUp(m *message, ns numbers) (taken []uint32, runs bool) {
	for _, t := range d.matching(m, ns) {
		if t.where == running {
			runs = true
			d.givenUp[t.self] = append(d.givenUp[t.self], ns...) // its others are tried on
			continue
		}
		taken = append(taken, d.takeOut(t, ns)...)
	}
	return taken, runs
}

// addGivenUp makes a task that gives recipients up, of which the store does not know yet; also of a held message.
func (d *Dispatcher) addGivenUp(m *message, ns []uint32) {
	t := d.newTask(m, ns, d.now())
	t.giveUp = true
	d.place(t, d.lane(nil, d.groups[m.group]))
}
