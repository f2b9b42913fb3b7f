// Package watch lets somebody follow single messages while they are delivered: a Hub is a
// trace.Recorder that hands the events of watched messages to those who watch them.
//
// While nobody watches it costs one atomic load an event. A watcher that does not keep up
// loses events, and is told how many in their place; it never holds a delivery up.
package watch

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/trace"
)

// Bounds of a hub.
const (
	maxSubs     = 1000            // at the same time
	maxMessages = 64              // of one Sub: the message, and what was sent on of it
	buffered    = 1024            // events that wait for their watcher
	forEnds     = 2 * maxMessages // of them, for what tells that a message is finished, and gaps
	forVerdicts = 128             // of them, for which the lines of a dialogue make room
)

// ErrTooMany is Subscribe's error at its bound.
var ErrTooMany = errors.New("too many messages are watched")

// Hub finds the watchers of an event. Its zero value is ready, a nil one has none. It is safe for
// concurrent use.
type Hub struct {
	count atomic.Int32
	mu    sync.Mutex
	subs  map[id.ID][]*Sub
	all   int
}

// Sub is one watcher's view of a message and of those that were made of it.
type Sub struct {
	hub      *Hub
	root     id.ID
	events   chan trace.Event
	messages []id.ID
	lost     atomic.Int64
	closed   bool
}

// Subscribe begins to watch a message. Close ends it. The error is ErrTooMany.
func (h *Hub) Subscribe(message id.ID) (*Sub, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.all >= maxSubs {
		return nil, ErrTooMany
	}
	if h.subs == nil {
		h.subs = map[id.ID][]*Sub{}
	}
	s := &Sub{hub: h, root: message, events: make(chan trace.Event, buffered)}
	h.all++
	h.count.Add(1)
	h.add(s, message)
	return s, nil
}

func (h *Hub) add(s *Sub, message id.ID) {
	s.messages = append(s.messages, message)
	h.subs[message] = append(h.subs[message], s)
}

// Watched reports whether somebody watches a message: what is costly to tell is told only then.
func (h *Hub) Watched(message id.ID) bool {
	if h == nil || h.count.Load() == 0 {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.subs[message]) > 0
}

// Record implements trace.Recorder.
func (h *Hub) Record(e trace.Event) {
	if h == nil || h.count.Load() == 0 || e.Message.IsZero() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	// A message that was accepted because of a watched one is watched with it: what was sent on, but
	// no bounce, which is between us and whom it goes to.
	if e.Kind == trace.Accepted && !e.Parent.IsZero() && e.From != "" && e.From != "#@[]" && len(h.subs[e.Message]) == 0 {
		for _, s := range h.subs[e.Parent] {
			if len(s.messages) < maxMessages {
				h.add(s, e.Message)
			}
		}
	}
	for _, s := range h.subs[e.Message] {
		s.put(e)
	}
}

// put keeps an event for the watcher, behind a gap where others were lost before it. The caller holds the hub's lock.
func (s *Sub) put(e trace.Event) {
	room := buffered - len(s.events)
	switch e.Kind {
	case trace.Finished:
	case trace.Dialogue:
		room -= forEnds + forVerdicts
	default:
		room -= forEnds
	}
	if room < 2 {
		s.lost.Add(1)
		return
	}
	if n := s.lost.Swap(0); n > 0 {
		s.events <- s.gap(e, n)
	}
	s.events <- e
}

func (s *Sub) gap(next trace.Event, lost int64) trace.Event {
	return trace.Event{Time: next.Time, Kind: trace.Gap, Message: s.root, Count: lost}
}

// Next returns the next event, in order: a trace.Gap in the place of those that found no room. The error is ctx's.
func (s *Sub) Next(ctx context.Context) (trace.Event, error) {
	select {
	case e := <-s.events:
		return e, nil
	default: // what was lost came after all that were kept
	}
	if n := s.lost.Swap(0); n > 0 {
		return s.gap(trace.Event{}, n), nil
	}
	select {
	case e := <-s.events:
		return e, nil
	case <-ctx.Done():
		return trace.Event{}, ctx.Err()
	}
}

// Close ends the watch. It may be called more than once.
func (s *Sub) Close() {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	h.all--
	h.count.Add(-1)
	for _, m := range s.messages {
		kept := h.subs[m][:0]
		for _, x := range h.subs[m] {
			if x != s {
				kept = append(kept, x)
			}
		}
		if h.subs[m] = kept; len(kept) == 0 {
			delete(h.subs, m)
		}
	}
}
