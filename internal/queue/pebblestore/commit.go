package pebblestore

import (
	"errors"
	"iter"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/postilion/postilion/internal/pebblex"
	"github.com/postilion/postilion/internal/queue"
)

// commit is one atomic change on its way to the disk: new messages, states of a message,
// or both. Until it is durable nobody is told of it; if the disk fails under it,
// it is not there when the database is open again, so that a failure reported is a failure.
type commit struct {
	s      *Store
	drafts []*draft
	bodies []pebblex.Attachment // of drafts with a small body, in order
	after  []row                // of an update: what rows become
	hot    *hot                 // whose states change
	finals []int                // recipients of hot that become final
	one    [1]*draft
	body   [1]pebblex.Attachment
	next   *commit         // of another message, committed with this one; its drafts are none
	then   func(err error) // told of the commit's fate where nobody waits for it; may be nil
}

type row struct{ key, value []byte }

// run commits b, which holds c's changes.
func (c *commit) run(b pebblex.Batch) error {
	c.attach(&b)
	return c.s.eng.Commit(b)
}

// attach makes c the owner of b, which holds its changes.
func (c *commit) attach(b *pebblex.Batch) {
	s := c.s
	b.Bodies, b.Owner = c.bodies, c
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending[c] = struct{}{}
	for _, d := range c.drafts {
		s.hidden[d.id] = struct{}{}
		d.submitted = true
	}
}

// Failed implements pebblex.Owner.
func (c *commit) Failed(err error) {
	if errors.Is(err, pebblex.ErrDown) {
		c.s.mu.Lock()
		if _, mine := c.s.pending[c]; mine {
			c.s.dropped(c)
		}
		c.s.mu.Unlock()
	}
	if c.then != nil {
		c.then(err)
	}
}

// Durable implements pebblex.Owner.
func (c *commit) Durable() {
	s := c.s
	nudge := false
	s.mu.Lock()
	delete(s.pending, c)
	bodies := c.bodies
	for _, d := range c.drafts {
		delete(s.hidden, d.id)
		var held pebblex.Held
		if d.attaches() {
			held, bodies = bodies[0].Held(), bodies[1:]
		}
		s.arrived(d, held)
	}
	for c := c; c != nil; c = c.next {
		for _, n := range c.finals {
			if h := c.hot; h.state[n]&stateFinal == 0 {
				h.state[n] |= stateFinal
				h.left--
			}
		}
		if c.hot != nil && c.hot.left == 0 {
			nudge = s.remove(c.hot) || nudge
		}
	}
	s.mu.Unlock()
	if nudge {
		s.eng.Nudge()
	}
	if c.then != nil {
		c.then(nil)
	}
}

// arrived hands a durable message to dispatch. s.mu is held.
func (s *Store) arrived(d *draft, held pebblex.Held) {
	if d.file != nil {
		s.spool.committed(d.file.number)
	}
	h := &hot{id: d.id, head: d.head, left: d.head.count, state: make([]uint8, d.head.count), body: d.buf, held: held}
	d.buf = nil
	for n := range d.states() {
		h.state[n] = stateWritten
		if d.known.States[n].State.Final() {
			h.state[n] |= stateFinal
			h.left--
		}
	}
	s.hot.add(h)
	if s.claim != nil {
		e := *d.env
		e.Recipients = slices.Clone(e.Recipients)
		m := &queue.Message{Envelope: &e, Held: d.head.held}
		if d.known != nil {
			m.States, m.Held = slices.Clone(d.known.States), d.known.Held
		}
		s.claim.arrived(m)
	}
	if h.left == 0 { // a message to nobody is finished
		s.remove(h)
	}
}

// remove queues a finished message's rows for deletion. s.mu is held.
func (s *Store) remove(h *hot) bool {
	if _, twice := s.removing[h.id]; twice {
		return false
	}
	s.hot.drop(h.id)
	s.removing[h.id] = h
	s.removals = append(s.removals, h)
	return true
}

// lazy deletes the rows of finished messages; their spool files become free when
// that is durable.
func (s *Store) lazy(c *pebblex.Changes) (synced func()) {
	s.mu.Lock()
	list := s.removals
	s.removals = nil
	s.mu.Unlock()
	if len(list) == 0 {
		return nil
	}
	for _, h := range list {
		deleteRows(c.Batch, h)
		if h.attached() {
			c.Detach(idKey(bodyPrefix, h.id), h.held)
		}
	}
	return func() {
		s.mu.Lock()
		for _, h := range list {
			delete(s.removing, h.id)
			s.deleted += h.head.size
		}
		if s.reserve.gone.Load() && s.deleted > s.opts.ReserveBytes/16 && !s.shrinks {
			s.shrinks = true
			go s.shrink()
		}
		s.mu.Unlock()
		for _, h := range list {
			if h.head.spool != 0 {
				s.spool.release(h.head.spool)
			}
		}
	}
}

// shrink gives the room of deleted bodies back to a disk that was found full. Left to itself the
// database would do so only when it is worth the work.
func (s *Store) shrink() {
	if err := s.eng.Compact(bodiesFrom, bodiesTo); err != nil {
		s.opts.Log.Warn("the queue could not be compacted", "err", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deleted, s.shrinks = 0, false
}

// deleteRows deletes all rows of a message but its body's. A row written once is deleted with a
// SingleDelete, which meets its Set in the memtable or in the next compaction and vanishes with it: what
// passes through the queue leaves no tombstones for scans to step over.
func deleteRows(b *pebble.Batch, h *hot) {
	del := func(key []byte, once bool) {
		if once {
			b.SingleDelete(key, nil)
		} else {
			b.Delete(key, nil)
		}
	}
	del(idKey(envelopePrefix, h.id), !h.head.twice)
	for n, f := range h.state {
		if f&stateWritten != 0 {
			del(stateKey(h.id, n), f&stateTwice == 0)
		}
	}
}

// dropped forgets a commit that failed and can never be found. s.mu is held.
func (s *Store) dropped(c *commit) {
	delete(s.pending, c)
	for _, d := range c.drafts {
		delete(s.hidden, d.id)
		if d.file != nil {
			s.spool.release(d.file.number)
		}
	}
	for ; c != nil; c = c.next {
		if c.hot != nil {
			s.hot.drop(c.hot.id) // it may say what the database does not
		}
	}
}

// states gives the recipients that have a state from the beginning.
func (d *draft) states() iter.Seq[int] {
	return func(yield func(int) bool) {
		if d.known == nil {
			return
		}
		for n := range d.known.States {
			if d.known.States[n] != (queue.RecipientState{N: n}) && !yield(n) {
				return
			}
		}
	}
}

// addTo adds a message to what c writes.
func (d *draft) addTo(b pebblex.Batch, c *commit) error {
	d.scratch = appendRow(d.scratch[:0], &d.head, d.env)
	if err := b.Set(idKey(envelopePrefix, d.id), d.scratch, nil); err != nil {
		return err
	}
	for n := range d.states() {
		d.scratch = appendStateRow(d.scratch[:0], false, &d.known.States[n])
		if err := b.Set(stateKey(d.id, n), d.scratch, nil); err != nil {
			return err
		}
	}
	if d.attaches() {
		c.bodies = append(c.bodies, pebblex.Attachment{Key: idKey(bodyPrefix, d.id), Data: d.buf.data})
	}
	return nil
}

// attaches reports whether the body lies beside the message's rows, and not in a file.
func (d *draft) attaches() bool { return d.file == nil && d.size > 0 }
