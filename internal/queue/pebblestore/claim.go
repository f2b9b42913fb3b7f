package pebblestore

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/pebblex"
	"github.com/postilion/postilion/internal/queue"
)

// claim is the dispatcher that messages are handed to.
type claim struct {
	fence  uint64
	take   func(queue.Claimed)
	signal chan struct{} // holds a token when fresh may have something
	over   chan struct{} // closed when another Claim or Close ends this one

	// Under Store.mu:
	fresh []*queue.Message // durable and not yet taken; without States where all recipients wait
	// handed, during the scan, is what came through fresh: the scan passes it over.
	handed map[id.ID]struct{}
}

// arrived queues a new durable message. s.mu is held.
func (c *claim) arrived(m *queue.Message) {
	c.fresh = append(c.fresh, m)
	if c.handed != nil {
		c.handed[m.Envelope.ID] = struct{}{}
	}
	select {
	case c.signal <- struct{}{}:
	default:
	}
}

// Claim implements queue.Store. A new Claim ends the one before, whose leases are
// lost.
func (s *Store) Claim(ctx context.Context, take func(queue.Claimed)) error {
	c := &claim{
		take: take, signal: make(chan struct{}, 1), over: make(chan struct{}), handed: map[id.ID]struct{}{},
	}
	s.mu.Lock()
	if s.closed.Load() {
		s.mu.Unlock()
		return failure(pebblex.ErrDown)
	}
	if s.claim != nil {
		close(s.claim.over)
	}
	c.fence = s.fence.Add(1)
	s.claim = c
	first := !s.scanned
	s.mu.Unlock()
	defer s.unclaim(c)

	if err := s.scan(ctx, c, first); err != nil {
		return err
	}
	s.mu.Lock()
	c.handed = nil
	s.scanned = true
	s.mu.Unlock()
	if first {
		s.spool.freeOrphans()
		s.eng.Nudge() // rows of finished messages may have been found
	}
	take(queue.Claimed{})
	for {
		select {
		case <-c.signal:
			s.handOver(c)
		case <-c.over:
			return queue.ErrLeaseLost
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *Store) unclaim(c *claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claim == c {
		s.claim = nil
	}
}

// handOver takes what has newly come.
func (s *Store) handOver(c *claim) {
	s.mu.Lock()
	fresh := c.fresh
	c.fresh = nil
	s.mu.Unlock()
	for _, m := range fresh {
		if m.States == nil {
			m.States = waiting(m.Envelope)
		}
		c.take(queue.Claimed{Message: m, Lease: queue.Lease{Message: m.Envelope.ID, Fence: c.fence}})
	}
}

// scanStep is how many messages are read at once; between, new ones are handed over, so that
// they do not wait for the old.
const scanStep = 256

// downWait is how often a scan looks whether the database is open again.
const downWait = 50 * time.Millisecond

// scan hands over all messages that the database holds. While it is not open, scan waits.
func (s *Store) scan(ctx context.Context, c *claim, first bool) error {
	from := []byte{envelopePrefix, '/'}
	var found []scanned
	for from != nil {
		err := s.eng.View(func(db *pebble.DB) (err error) {
			found, from, err = s.step(db, from, found[:0])
			return err
		})
		if err != nil {
			found = found[:0]
			if s.eng.Up() == nil {
				return failure(err)
			}
			select { // the disk failed: the scan goes on when the database is open again
			case <-time.After(downWait):
			case <-c.over:
			case <-ctx.Done():
			}
		}
		for i := range found {
			if s.scanTakes(c, found[i], first) {
				c.take(queue.Claimed{Message: found[i].m, Lease: queue.Lease{Message: found[i].h.id, Fence: c.fence}})
			}
		}
		clear(found)
		found = found[:0]
		select {
		case <-c.over:
			return queue.ErrLeaseLost
		case <-ctx.Done():
			return ctx.Err()
		case <-c.signal:
			s.handOver(c)
		default:
		}
	}
	return nil
}

// iterate returns iterators over the rows of envelopes and those of states, from keys on. Both see the same moment: a
// message's rows are deleted together, and must be read so. (A snapshot would do as well, but its end can wait for ever in a
// database that froze.)
func iterate(db *pebble.DB, from, fromState []byte) (rows, states *pebble.Iterator, err error) {
	rows, err = db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: []byte{envelopePrefix, '/' + 1}})
	if err != nil {
		return nil, nil, err
	}
	states, err = rows.Clone(pebble.CloneOptions{IterOptions: &pebble.IterOptions{LowerBound: fromState, UpperBound: []byte{statePrefix, '/' + 1}}})
	if err != nil {
		return nil, nil, errors.Join(err, rows.Close())
	}
	return rows, states, nil
}

type scanned struct {
	m *queue.Message
	h *hot
}

// step reads the next messages from the key on, and returns the key to go on from, nil at the end.
func (s *Store) step(db *pebble.DB, from []byte, found []scanned) ([]scanned, []byte, error) {
	lowest := append([]byte{statePrefix, '/'}, from[2:]...)
	rows, states, err := iterate(db, from, lowest)
	if err != nil {
		return found, from, err
	}
	defer rows.Close()
	defer states.Close()
	rows.First()
	states.First()
	for ; rows.Valid(); rows.Next() {
		if len(found) == scanStep {
			return found, bytes.Clone(rows.Key()), nil
		}
		v, n, ok := parseKey(rows.Key())
		if !ok || n != -1 {
			s.opts.Log.Error("the queue holds a row of no message", "key", rows.Key())
			continue
		}
		value, err := rows.ValueAndErr()
		if err != nil {
			return found, from, err
		}
		h := &hot{id: v}
		m, err := s.parseRow(h, value)
		if err == nil {
			err = s.scanStates(m, h, states)
		}
		if err != nil {
			// One damaged row must not keep the others; the operator sees it, and its spool file is kept.
			s.opts.Log.Error("a message in the queue cannot be read", "message", v, "err", err)
		}
		if h.head.spool != 0 {
			s.spool.referenced(h.head.spool)
		}
		if err == nil {
			found = append(found, scanned{m, h})
		}
	}
	if err := errors.Join(rows.Error(), states.Error()); err != nil {
		return found, from, err
	}
	return found, nil, nil
}

// scanStates adds the message's state rows; it stands at the first row of this or
// a later message, if a message's rows were not left behind.
func (s *Store) scanStates(m *queue.Message, h *hot, it *pebble.Iterator) error {
	for ; it.Valid(); it.Next() {
		v, _, ok := parseKey(it.Key())
		if !ok || bytes.Compare(v[:], h.id[:]) < 0 {
			continue
		}
		if v != h.id {
			return nil
		}
		if err := addState(m, h, it); err != nil {
			return err
		}
	}
	return nil
}

// scanTakes reports whether a message read from the database is to be handed over: not if it
// is not durable yet or came through fresh, and not if it is finished. The rows of a finished
// one were left by a crash; the first scan queues them for deletion, when no Finish can be
// under way whose fate is open.
func (s *Store) scanTakes(c *claim, m scanned, first bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := m.h.id
	_, hidden := s.hidden[v]
	_, handed := c.handed[v]
	_, gone := s.removing[v]
	if hidden || handed || gone {
		return false
	}
	if !finished(m.m) {
		return true
	}
	if first {
		s.remove(m.h)
	}
	return false
}
