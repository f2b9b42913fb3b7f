package pebblestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/reason"
)

// Load implements queue.Store.
func (s *Store) Load(_ context.Context, message id.ID) (*queue.Message, error) {
	m, _, err := s.read(message)
	return m, failure(err)
}

// Body implements queue.Store. New small bodies come from memory.
func (s *Store) Body(_ context.Context, message id.ID) (queue.Body, error) {
	var head *header
	s.mu.Lock()
	if h := s.hot.byID[message]; h != nil {
		if h.body != nil {
			b := s.newMemBody(h.body)
			s.mu.Unlock()
			return b, nil
		}
		known := h.head
		head = &known
	}
	s.mu.Unlock()
	b, err := s.bodyFromDisk(message, head)
	if errors.Is(err, pebble.ErrNotFound) || errors.Is(err, queue.ErrNotFound) {
		return nil, notFound(message)
	}
	return b, failure(err)
}

// bodyFromDisk opens a body; head is what memory knows of the message, nil when it must be read.
func (s *Store) bodyFromDisk(message id.ID, head *header) (queue.Body, error) {
	if head == nil {
		_, h, err := s.read(message)
		if err != nil {
			return nil, err
		}
		head = &h.head
	}
	if head.spool != 0 {
		b, err := s.spool.open(head.spool, message, head.size)
		if err != nil { // not b: it would be a Body that is not nil
			return nil, err
		}
		return b, nil
	}
	if head.size == 0 {
		return s.newMemBody(s.buffers.get(0)), nil
	}
	var buf *buffer
	room := func(size int) []byte {
		s.buffers.release(buf)
		buf = s.buffers.get(size)
		buf.data = buf.data[:size]
		return buf.data
	}
	if err := s.eng.Attached(idKey(bodyPrefix, message), room); err != nil {
		s.buffers.release(buf)
		return nil, err
	}
	defer s.buffers.release(buf)
	if int64(len(buf.data)) != head.size {
		return nil, fmt.Errorf("message %s: its body has %d bytes, want %d", message, len(buf.data), head.size)
	}
	return s.newMemBody(buf), nil
}

// memBody is an open body in memory.
type memBody struct {
	*bytes.Reader
	s   *Store
	buf *buffer
}

func (s *Store) newMemBody(b *buffer) *memBody {
	b.refs.Add(1)
	return &memBody{bytes.NewReader(b.data), s, b}
}

// Close implements io.Closer. The body's memory is another's afterwards.
func (b *memBody) Close() error {
	if b.buf != nil {
		b.Reader.Reset(nil)
		b.s.buffers.release(b.buf)
		b.buf = nil
	}
	return nil
}

// LoadEach implements queue.Store.
func (s *Store) LoadEach(ctx context.Context, messages []id.ID, visit func(*queue.Message) bool) error {
	if err := ctx.Err(); err != nil {
		return failure(err)
	}
	return failure(s.readEach(inOrder(messages), func(m *queue.Message, _ *hot) (bool, error) { return visit(m), nil }))
}

// inOrder returns ids as they sort in the database, each once.
func inOrder(ids []id.ID) []id.ID {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, func(a, b id.ID) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(ids)
}

// readEach reads messages' envelopes and states back in one pass over the rows, until visit returns false or an
// error. It leaves out those that are finished or cannot be read.
func (s *Store) readEach(ids []id.ID, visit func(*queue.Message, *hot) (bool, error)) error {
	return s.eng.View(func(db *pebble.DB) error {
		rows, states, err := iterate(db, []byte{envelopePrefix, '/'}, []byte{statePrefix, '/'})
		if err != nil {
			return err
		}
		defer rows.Close()
		defer states.Close()
		for _, v := range ids {
			h := &hot{id: v}
			m, err := s.readAt(rows, states, h)
			if errors.Is(err, queue.ErrFormat) {
				s.opts.Log.Error("a message in the queue cannot be read", "message", v, "err", err)
				continue
			}
			if err != nil {
				return err
			}
			if m == nil || finished(m) {
				continue
			}
			if more, err := visit(m, h); err != nil || !more {
				return err
			}
		}
		return nil
	})
}

// near is how many rows are stepped over before it is cheaper to seek.
const near = 4

// advance moves an iterator that stands nowhere, or at the first row from some lower key on, to the first
// row from key on.
func advance(it *pebble.Iterator, key []byte) bool {
	for range near {
		if !it.Valid() {
			break
		}
		if bytes.Compare(it.Key(), key) >= 0 {
			return true
		}
		it.Next()
	}
	return it.SeekGE(key)
}

// readAt reads one message through iterators that have read those before it; nil when it is not there.
func (s *Store) readAt(rows, states *pebble.Iterator, h *hot) (*queue.Message, error) {
	s.mu.Lock()
	_, gone := s.removing[h.id]
	_, hidden := s.hidden[h.id]
	s.mu.Unlock()
	key := idKey(envelopePrefix, h.id)
	if gone || hidden || !advance(rows, key) || !bytes.Equal(rows.Key(), key) {
		return nil, rows.Error()
	}
	value, err := rows.ValueAndErr()
	if err != nil {
		return nil, err
	}
	m, err := s.parseRow(h, value)
	if err != nil {
		return nil, err
	}
	advance(states, idKey(statePrefix, h.id))
	if err := s.scanStates(m, h, states); err != nil {
		return nil, err
	}
	return m, states.Error()
}

// Revise implements queue.Store.
func (s *Store) Revise(ctx context.Context, messages []id.ID, change func(*queue.Message) queue.Revision) error {
	if err := ctx.Err(); err != nil {
		return failure(err)
	}
	ids := inOrder(messages)
	for _, v := range ids { // in one order, so that no two wait for each other
		defer s.rows.exclude(v)()
	}
	var changed *commit
	var dropped []*hot
	err := s.readEach(ids, func(m *queue.Message, h *hot) (bool, error) {
		c := &commit{s: s, hot: h, next: changed}
		what, err := c.revise(m, change)
		switch {
		case err != nil:
			return false, err
		case what == queue.Change:
			changed = c
		case what == queue.Drop:
			dropped = append(dropped, h)
		}
		return true, nil
	})
	if err != nil || changed == nil && dropped == nil {
		return failure(err)
	}
	return failure(s.commitRevised(changed, dropped))
}

// commitRevised commits what Revise was told.
func (s *Store) commitRevised(changed *commit, dropped []*hot) error {
	b, err := s.eng.NewBatch(1024)
	if err != nil {
		return err
	}
	s.mu.Lock()
	for c := changed; c != nil; c = c.next {
		s.hot.drop(c.hot.id) // its copy is old, whatever comes of this
	}
	for _, h := range dropped {
		s.hot.drop(h.id)
	}
	s.mu.Unlock()
	for c := changed; c != nil; c = c.next {
		for _, r := range c.after {
			if err := b.Set(r.key, r.value, nil); err != nil {
				b.Close()
				return err
			}
		}
	}
	for _, h := range dropped {
		deleteRows(b.Batch, h)
		if h.attached() {
			if err := b.Detach(idKey(bodyPrefix, h.id)); err != nil {
				b.Close()
				return err
			}
		}
	}
	if changed != nil {
		err = changed.run(b)
	} else {
		err = s.eng.Commit(b)
	}
	if err != nil {
		return err
	}
	for _, h := range dropped {
		if h.head.spool != 0 {
			s.spool.release(h.head.spool)
		}
	}
	return nil
}

// revise lets change have m and keeps in c what it made of it.
func (c *commit) revise(m *queue.Message, change func(*queue.Message) queue.Revision) (queue.Revision, error) {
	h := c.hot
	old := make([][]byte, len(m.States))
	for n := range m.States {
		old[n] = appendStateRow(nil, h.state[n]&stateTwice != 0, &m.States[n])
	}
	held := m.Held
	if what := change(m); what != queue.Change {
		return what, nil
	}
	if m.Envelope.ID != h.id || len(m.Envelope.Recipients) != len(old) || len(m.States) != len(old) {
		return queue.Keep, reason.LocalError.Because(fmt.Errorf("message %s: a revision must keep the id and the number of recipients", h.id))
	}
	if m.Held != held {
		h.head.held, h.head.released = m.Held, c.s.restored
	}
	h.head.twice = true
	c.set(idKey(envelopePrefix, h.id), appendRow(nil, &h.head, m.Envelope))
	for n := range m.States {
		st := &m.States[n]
		st.N = n
		if st.State.Final() {
			c.finals = append(c.finals, n)
		}
		written := h.state[n]&stateWritten != 0
		if bytes.Equal(old[n][1:], queue.AppendState(nil, st)) {
			continue
		}
		if written {
			h.state[n] |= stateTwice
		}
		h.state[n] |= stateWritten
		c.set(stateKey(h.id, n), appendStateRow(nil, written, st))
	}
	return queue.Change, nil
}

func (c *commit) set(key, value []byte) { c.after = append(c.after, row{key, value}) }
