// Package tracetest keeps events for the tests of what records them.
package tracetest

import (
	"slices"
	"sync"

	"github.com/postilion/postilion/internal/trace"
)

// Events keeps what was recorded, in order. Its zero value is empty.
type Events struct {
	mu   sync.Mutex
	list []trace.Event
}

// Record implements trace.Recorder.
func (e *Events) Record(x trace.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, x)
}

// All returns the events.
func (e *Events) All() []trace.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.list)
}

// Of returns the events of a kind.
func (e *Events) Of(k trace.Kind) []trace.Event {
	return slices.DeleteFunc(e.All(), func(x trace.Event) bool { return x.Kind != k })
}

// Take returns the events and forgets them.
func (e *Events) Take() []trace.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.list
	e.list = nil
	return l
}
