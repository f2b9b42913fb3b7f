package pebblestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"

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
	s.mu.Lock()
	if h := s.hot.byID[message]; h != nil && h.body != nil {
		b := s.newMemBody(h.body)
		s.mu.Unlock()
		return b, nil
	}
	s.mu.Unlock()
	b, err := s.bodyFromDisk(message)
	if errors.Is(err, pebble.ErrNotFound) || errors.Is(err, queue.ErrNotFound) {
		return nil, notFound(message)
	}
	return b, failure(err)
}

func (s *Store) bodyFromDisk(message id.ID) (queue.Body, error) {
	_, h, err := s.read(message)
	if err != nil {
		return nil, err
	}
	if h.head.spool != 0 {
		b, err := s.spool.open(h.head.spool, message, h.head.size)
		if err != nil { // not b: it would be a Body that is not nil
			return nil, err
		}
		return b, nil
	}
	var buf *buffer
	err = s.eng.View(func(db *pebble.DB) error {
		value, closer, err := db.Get(idKey(bodyPrefix, message))
		if err != nil {
			return err
		}
		buf = s.buffers.get(len(value))
		buf.data = append(buf.data, value...)
		return closer.Close()
	})
	if err != nil {
		return nil, err
	}
	defer s.buffers.release(buf)
	if int64(len(buf.data)) != h.head.size {
		return nil, fmt.Errorf("message %s: its body has %d bytes, want %d", message, len(buf.data), h.head.size)
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

// Update implements queue.Store.
func (s *Store) Update(ctx context.Context, message id.ID, change func(*queue.Message) error) error {
	if err := ctx.Err(); err != nil {
		return failure(err)
	}
	defer s.rows.exclude(message)()
	m, h, err := s.read(message)
	if err != nil {
		return failure(err)
	}
	c, err := s.update(m, h, change)
	if err != nil {
		return failure(err)
	}
	s.mu.Lock()
	s.hot.drop(message) // its copy is old, whatever comes of this
	s.mu.Unlock()
	b, err := s.eng.NewBatch(1024)
	if err != nil {
		return failure(err)
	}
	for _, r := range c.after {
		if err := b.Set(r.key, r.value, nil); err != nil {
			b.Close()
			return failure(err)
		}
	}
	return failure(c.run(b))
}

// update lets change have m and returns the commit of what it made of it.
func (s *Store) update(m *queue.Message, h *hot, change func(*queue.Message) error) (*commit, error) {
	c := &commit{s: s, hot: h}
	head := h.head
	was := appendRow(nil, &head, m.Envelope)
	old := make([][]byte, len(m.States))
	for n := range m.States {
		old[n] = appendStateRow(nil, h.state[n]&stateTwice != 0, &m.States[n])
	}
	held := m.Held
	if err := change(m); err != nil {
		return nil, err
	}
	if m.Envelope.ID != h.id || len(m.Envelope.Recipients) != len(old) || len(m.States) != len(old) {
		return nil, reason.LocalError.Because(fmt.Errorf("message %s: an update must keep the id and the number of recipients", h.id))
	}
	if m.Held != held {
		h.head.held, h.head.released = m.Held, s.restored
	}
	h.head.twice = true
	c.set(idKey(envelopePrefix, h.id), was, appendRow(nil, &h.head, m.Envelope))
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
		if !written {
			old[n] = nil
		} else {
			h.state[n] |= stateTwice
		}
		h.state[n] |= stateWritten
		c.set(stateKey(h.id, n), old[n], appendStateRow(nil, written, st))
	}
	return c, nil
}

func (c *commit) set(key, before, after []byte) {
	c.before = append(c.before, row{key, before})
	c.after = append(c.after, row{key, after})
}

// Delete implements queue.Store.
func (s *Store) Delete(ctx context.Context, message id.ID) error {
	if err := ctx.Err(); err != nil {
		return failure(err)
	}
	defer s.rows.exclude(message)()
	_, h, err := s.read(message)
	if errors.Is(err, queue.ErrFormat) { // unreadable: the operator may drop it all the same
		h, err = &hot{id: message, again: true}, nil
	}
	if err != nil {
		return failure(err)
	}
	b, err := s.eng.NewBatch(256)
	if err != nil {
		return failure(err)
	}
	deleteRows(b.Batch, h)
	s.mu.Lock()
	s.hot.drop(message)
	s.mu.Unlock()
	if err := s.eng.Commit(b); err != nil {
		return failure(err)
	}
	if h.head.spool != 0 {
		s.spool.release(h.head.spool)
	}
	return nil
}
