package pebblestore

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/pebblex"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/reason"
)

// Finish implements queue.Store. The drafts end here, whatever it returns.
func (s *Store) Finish(ctx context.Context, lease queue.Lease, states []queue.RecipientState, drafts ...queue.Draft) error {
	own, err := s.own(drafts)
	if err == nil {
		err = s.finish(ctx, lease, states, own)
	}
	for _, d := range own {
		d.end(err)
	}
	return failure(err)
}

// own takes the drafts as those of this store.
func (s *Store) own(drafts []queue.Draft) ([]*draft, error) {
	if len(drafts) == 0 {
		return nil, nil
	}
	own := make([]*draft, 0, len(drafts))
	var err error
	for _, q := range drafts {
		if d, ok := q.(*draft); ok && d.s == s {
			own = append(own, d)
		} else {
			q.Abort()
			err = errors.New("a draft of another store cannot be committed with this message")
		}
	}
	return own, err
}

func (s *Store) finish(ctx context.Context, lease queue.Lease, states []queue.RecipientState, drafts []*draft) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.seal(drafts); err != nil {
		return err
	}
	lock := s.rows.get(lease.Message)
	lock.RLock()
	defer func() {
		lock.RUnlock()
		s.rows.put(lease.Message, lock)
	}()
	if lease.Fence != s.fence.Load() {
		return fmt.Errorf("message %s: %w", lease.Message, queue.ErrLeaseLost)
	}
	h, err := s.use(lease.Message)
	if err != nil {
		return err
	}
	defer s.unuse(h)
	c := &commit{s: s, drafts: drafts, hot: h}
	b, err := s.eng.NewBatch(c.size() + 128*len(states))
	if err != nil {
		return err
	}
	if err := errors.Join(c.add(b), c.addStates(b, states)); err != nil {
		b.Close()
		return err
	}
	if b.Empty() {
		b.Close()
		return nil
	}
	return c.run(b)
}

// seal ends the drafts' bodies, the larger ones sharing syncs.
func (s *Store) seal(drafts []*draft) error {
	spooled := 0
	for _, d := range drafts {
		if d.file != nil {
			spooled++
		}
	}
	if spooled < 2 {
		for _, d := range drafts {
			if err := d.seal(); err != nil {
				return err
			}
		}
		return nil
	}
	results := make(chan error, len(drafts))
	for _, d := range drafts {
		go func() { results <- d.seal() }()
	}
	var err error
	for range drafts {
		err = errors.Join(err, <-results)
	}
	return err
}

// addStates puts the states' rows into b.
func (c *commit) addStates(b pebblex.Batch, states []queue.RecipientState) error {
	h := c.hot
	for i := range states {
		if n := states[i].N; n < 0 || n >= h.head.count {
			return reason.LocalError.Because(fmt.Errorf("message %s has no recipient %d", h.id, n))
		}
	}
	scratch := make([]byte, 0, 128)
	for i := range states {
		st := &states[i]
		key := stateKey(h.id, st.N)
		c.s.mu.Lock()
		had := h.state[st.N]
		h.state[st.N] |= stateWritten
		if had&stateWritten != 0 {
			h.state[st.N] |= stateTwice
		}
		c.s.mu.Unlock()
		scratch = appendStateRow(scratch[:0], had&stateWritten != 0, st)
		if err := b.Set(key, scratch, nil); err != nil {
			return err
		}
		if st.State.Final() {
			c.finals = append(c.finals, st.N)
		}
	}
	return nil
}

// use returns what memory knows of a message, read back if need be, and keeps it
// there until unuse.
func (s *Store) use(message id.ID) (*hot, error) {
	s.mu.Lock()
	if h := s.hot.byID[message]; h != nil {
		h.users++
		s.mu.Unlock()
		return h, nil
	}
	s.mu.Unlock()
	m, h, err := s.read(message)
	if err != nil {
		return nil, err
	}
	for _, st := range m.States {
		if st.State.Final() {
			h.state[st.N] |= stateFinal
			h.left--
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, gone := s.removing[message]; gone {
		return nil, notFound(message)
	}
	if other := s.hot.byID[message]; other != nil {
		h = other
	} else {
		s.hot.add(h)
	}
	h.users++
	return h, nil
}

func (s *Store) unuse(h *hot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h.users--
}

// read reads a message's envelope and states back. The error wraps queue.ErrNotFound.
func (s *Store) read(message id.ID) (*queue.Message, *hot, error) {
	s.mu.Lock()
	_, gone := s.removing[message]
	_, hidden := s.hidden[message]
	s.mu.Unlock()
	if gone || hidden {
		return nil, nil, notFound(message)
	}
	var m *queue.Message
	h := &hot{id: message}
	err := s.eng.View(func(db *pebble.DB) (err error) {
		// The states come from a moment no later than the envelope's: who finds it has them all.
		last := stateKey(message, 1<<32-1)
		it, err := db.NewIter(&pebble.IterOptions{LowerBound: idKey(statePrefix, message), UpperBound: last})
		if err != nil {
			return err
		}
		defer it.Close()
		value, closer, err := db.Get(idKey(envelopePrefix, message))
		if errors.Is(err, pebble.ErrNotFound) {
			return notFound(message)
		}
		if err != nil {
			return err
		}
		defer closer.Close()
		if m, err = s.parseRow(h, value); err != nil {
			return err
		}
		for it.First(); it.Valid(); it.Next() {
			if err := addState(m, h, it); err != nil {
				return err
			}
		}
		return it.Error()
	})
	if err != nil {
		return nil, nil, err
	}
	if finished(m) { // a crash came before its rows were deleted
		return nil, nil, notFound(message)
	}
	return m, h, nil
}

// finished reports whether nothing is left to do for a message.
func finished(m *queue.Message) bool {
	for n := range m.States {
		if !m.States[n].State.Final() {
			return false
		}
	}
	return true
}

// parseRow reads an envelope row, with all recipients waiting.
func (s *Store) parseRow(h *hot, row []byte) (m *queue.Message, err error) {
	var rest []byte
	if h.head, rest, err = parseHeader(row); err != nil {
		return nil, fmt.Errorf("message %s: %w", h.id, err)
	}
	e, err := queue.DecodeEnvelope(rest)
	if err != nil {
		return nil, fmt.Errorf("message %s: %w", h.id, err)
	}
	if len(e.Recipients) != h.head.count {
		return nil, fmt.Errorf("message %s: %w: recipients do not match the row's header", h.id, queue.ErrFormat)
	}
	h.state = make([]uint8, h.head.count)
	h.left = h.head.count
	return &queue.Message{Envelope: e, States: waiting(e), Held: s.isHeld(&h.head)}, nil
}

func (s *Store) isHeld(h *header) bool { return h.held || h.released < s.restored }

// waiting is the states of a new message.
func waiting(e *mail.Envelope) []queue.RecipientState {
	states := make([]queue.RecipientState, len(e.Recipients))
	for n := range states {
		states[n].N = n
	}
	return states
}

// addState adds the state row that it stands on.
func addState(m *queue.Message, h *hot, it *pebble.Iterator) error {
	_, n, ok := parseKey(it.Key())
	value, err := it.ValueAndErr()
	if err != nil {
		return err
	}
	twice, st, err := parseStateRow(value)
	if err != nil || !ok || n < 0 || n >= len(m.States) || st.N != n {
		return errors.Join(err, fmt.Errorf("message %s: %w: its state row %d", h.id, queue.ErrFormat, n))
	}
	m.States[n] = st
	h.state[n] |= stateWritten
	if twice {
		h.state[n] |= stateTwice
	}
	return nil
}
