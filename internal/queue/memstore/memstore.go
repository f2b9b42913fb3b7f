// Package memstore is a queue in memory, for tests of what lies above the store:
// schedules, routes, bounces. It keeps the contract of queue.Store, except that
// nothing survives the process.
package memstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/reason"
)

// Options configure a Store. The zero value works.
type Options struct {
	Clock clock.Clock // nil means the system's
}

// Store is a queue in memory. It implements queue.Store.
type Store struct {
	clock clock.Clock

	mu       sync.Mutex
	closed   bool
	fence    uint64
	messages map[id.ID]*message
	claim    *claim
}

type message struct {
	queue.Message
	body []byte
}

type claim struct {
	fence  uint64
	fresh  []id.ID
	signal chan struct{}
	over   chan struct{}
}

var _ queue.Store = (*Store)(nil)

// New returns an empty store.
func New(opts Options) *Store {
	if opts.Clock == nil {
		opts.Clock = clock.System{}
	}
	return &Store{clock: opts.Clock, messages: map[id.ID]*message{}}
}

var errClosed = reason.QueueUnavailable.Because(errors.New("the store is closed"))

type draft struct {
	s     *Store
	env   *mail.Envelope
	known *queue.Message // of a message that comes back; nil for a new one
	body  bytes.Buffer
	ended bool
}

var errEnded = errors.New("the draft has ended")

// Begin implements queue.Enqueuer.
func (s *Store) Begin(ctx context.Context, env *mail.Envelope) (queue.Draft, error) {
	if err := ctx.Err(); err != nil {
		return nil, reason.QueueUnavailable.Because(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	return &draft{s: s, env: env}, nil
}

// Restore implements queue.Store.
func (s *Store) Restore(ctx context.Context, m *queue.Message) (queue.Draft, error) {
	if len(m.States) != len(m.Envelope.Recipients) {
		return nil, reason.LocalError.Because(fmt.Errorf("message %s: %d states of %d recipients", m.Envelope.ID, len(m.States), len(m.Envelope.Recipients)))
	}
	q, err := s.Begin(ctx, m.Envelope)
	if err != nil {
		return nil, err
	}
	q.(*draft).known = m
	return q, nil
}

func (d *draft) Write(p []byte) (int, error) {
	if d.ended {
		return 0, errEnded
	}
	return d.body.Write(p)
}

func (d *draft) Commit(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		d.ended = true
		return reason.QueueUnavailable.Because(err)
	}
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	return d.commit()
}

func (d *draft) Abort() { d.ended = true }

// commit adds the message. Store.mu is held.
func (d *draft) commit() error {
	if d.ended {
		return errEnded
	}
	d.ended = true
	if d.s.closed {
		return errClosed
	}
	e, body := d.env, d.body.Bytes()
	if e.Accepted.IsZero() {
		e.Accepted = d.s.clock.Now()
	}
	e.Size = int64(len(body))
	e.CRLFSize = e.Size + int64(bytes.Count(body, []byte{'\n'}))
	e.Eight = slices.ContainsFunc(body, func(c byte) bool { return c >= 0x80 })
	m := &message{body: body, Message: queue.Message{Envelope: cloneEnvelope(e), States: make([]queue.RecipientState, len(e.Recipients)), Held: e.Held}}
	for n := range m.States {
		m.States[n].N = n
	}
	if d.known != nil {
		m.States, m.Held = slices.Clone(d.known.States), d.known.Held
	}
	if finished(m) { // as one to nobody is
		return nil
	}
	d.s.messages[e.ID] = m
	if c := d.s.claim; c != nil {
		c.fresh = append(c.fresh, e.ID)
		select {
		case c.signal <- struct{}{}:
		default:
		}
	}
	return nil
}

func cloneEnvelope(e *mail.Envelope) *mail.Envelope {
	c := *e
	c.Recipients = slices.Clone(e.Recipients)
	return &c
}

func (m *message) copy() *queue.Message {
	return &queue.Message{Envelope: cloneEnvelope(m.Envelope), States: slices.Clone(m.States), Held: m.Held}
}

// Claim implements queue.Store.
func (s *Store) Claim(ctx context.Context, take func(queue.Claimed)) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errClosed
	}
	if s.claim != nil {
		close(s.claim.over)
	}
	s.fence++
	c := &claim{fence: s.fence, signal: make(chan struct{}, 1), over: make(chan struct{})}
	s.claim = c
	var old []id.ID
	for v := range s.messages {
		old = append(old, v)
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.claim == c {
			s.claim = nil
		}
	}()
	slices.SortFunc(old, func(a, b id.ID) int { return bytes.Compare(a[:], b[:]) })
	s.give(c, old, take)
	take(queue.Claimed{})
	for {
		select {
		case <-c.signal:
			s.mu.Lock()
			fresh := c.fresh
			c.fresh = nil
			s.mu.Unlock()
			s.give(c, fresh, take)
		case <-c.over:
			return queue.ErrLeaseLost
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *Store) give(c *claim, list []id.ID, take func(queue.Claimed)) {
	for _, v := range list {
		s.mu.Lock()
		var m *queue.Message
		if have := s.messages[v]; have != nil {
			m = have.copy()
		}
		s.mu.Unlock()
		if m != nil {
			take(queue.Claimed{Message: m, Lease: queue.Lease{Message: v, Fence: c.fence}})
		}
	}
}

// Heartbeat implements queue.Store.
func (s *Store) Heartbeat(_ context.Context, leases []queue.Lease) (lost []queue.Lease, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range leases {
		if l.Fence != s.fence {
			lost = append(lost, l)
		}
	}
	return lost, nil
}

func (s *Store) find(v id.ID) (*message, error) {
	if s.closed {
		return nil, errClosed
	}
	m := s.messages[v]
	if m == nil {
		return nil, fmt.Errorf("message %s: %w", v, queue.ErrNotFound)
	}
	return m, nil
}

// Load implements queue.Store.
func (s *Store) Load(_ context.Context, v id.ID) (*queue.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, err := s.find(v)
	if err != nil {
		return nil, err
	}
	return m.copy(), nil
}

type body struct{ *bytes.Reader }

func (body) Close() error { return nil }

// Body implements queue.Store.
func (s *Store) Body(_ context.Context, v id.ID) (queue.Body, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, err := s.find(v)
	if err != nil {
		return nil, err
	}
	return body{bytes.NewReader(m.body)}, nil
}

// Finish implements queue.Store. The drafts end here, whatever it returns.
func (s *Store) Finish(ctx context.Context, lease queue.Lease, states []queue.RecipientState, drafts ...queue.Draft) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.finish(ctx, lease, states, drafts)
	for _, d := range drafts {
		d.Abort()
	}
	return err
}

func (s *Store) finish(ctx context.Context, lease queue.Lease, states []queue.RecipientState, drafts []queue.Draft) error {
	if err := ctx.Err(); err != nil {
		return reason.QueueUnavailable.Because(err)
	}
	if lease.Fence != s.fence {
		return fmt.Errorf("message %s: %w", lease.Message, queue.ErrLeaseLost)
	}
	m, err := s.find(lease.Message)
	if err != nil {
		return err
	}
	for _, st := range states {
		if st.N < 0 || st.N >= len(m.States) {
			return reason.LocalError.Because(fmt.Errorf("message %s has no recipient %d", lease.Message, st.N))
		}
	}
	for _, q := range drafts {
		if d, ok := q.(*draft); !ok || d.s != s || d.ended {
			return reason.QueueUnavailable.Because(errEnded)
		}
	}
	for _, q := range drafts {
		if err := q.(*draft).commit(); err != nil {
			return err
		}
	}
	for _, st := range states {
		m.States[st.N] = st
	}
	s.dropFinished(m)
	return nil
}

func (s *Store) dropFinished(m *message) {
	if finished(m) {
		delete(s.messages, m.Envelope.ID)
	}
}

func finished(m *message) bool {
	return !slices.ContainsFunc(m.States, func(st queue.RecipientState) bool { return !st.State.Final() })
}

// LoadEach implements queue.Store.
func (s *Store) LoadEach(_ context.Context, messages []id.ID, visit func(*queue.Message) bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	for _, v := range sorted(messages) {
		if m := s.messages[v]; m != nil && !visit(m.copy()) {
			break
		}
	}
	return nil
}

func sorted(ids []id.ID) []id.ID {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, func(a, b id.ID) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(ids)
}

// Revise implements queue.Store.
func (s *Store) Revise(ctx context.Context, messages []id.ID, change func(*queue.Message) queue.Revision) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return reason.QueueUnavailable.Because(err)
	}
	if s.closed {
		return errClosed
	}
	revised := map[id.ID]*queue.Message{} // nil: dropped
	for _, v := range sorted(messages) {
		m := s.messages[v]
		if m == nil {
			continue
		}
		c := m.copy()
		switch change(c) {
		case queue.Drop:
			revised[v] = nil
		case queue.Change:
			if c.Envelope.ID != v || len(c.Envelope.Recipients) != len(m.States) || len(c.States) != len(m.States) {
				return reason.LocalError.Because(fmt.Errorf("message %s: a revision must keep the id and the number of recipients", v))
			}
			revised[v] = c
		}
	}
	for v, c := range revised {
		if c == nil {
			delete(s.messages, v)
			continue
		}
		m := s.messages[v]
		m.Message = *c
		s.dropFinished(m)
	}
	return nil
}

// Backup implements queue.Store only so far: there is no folder to copy.
func (s *Store) Backup(context.Context, string) error {
	return errors.New("a queue in memory has no backup")
}

// Close implements queue.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		if s.claim != nil {
			close(s.claim.over)
		}
	}
	return nil
}
