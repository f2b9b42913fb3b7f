package inject

import (
	"time"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/trace"
)

// This file brings the events of a watched message into the order in which things happened. Those of role queue come in
// order, and so do those of role remote, but not one beside the other: an attempt's dialogue belongs between its
// beginning and its verdicts.

const (
	orderWait  = time.Second // the longest that events wait for those that belong before them: some may have been lost
	maxWaiting = 4096        // events that wait
)

// order is the events of one watched message that wait for others. Its zero value is ready.
type order struct {
	queue    []trace.Event // of role queue, in order
	attempts map[id.ID]*dialogue
	held     int // events in all of them
}

// dialogue is what role remote said of an attempt.
type dialogue struct {
	begun int64 // recipients whose beginning was told
	open  bool  // all were: the lines can be told
	over  bool  // no line comes any more
	lines []trace.Event
}

// add takes an event and returns what can be told now.
func (o *order) add(e trace.Event) (ready []trace.Event) {
	if (e.Kind == trace.Dialogue || e.Kind == trace.Gap) && e.Attempt.IsZero() { // nothing tells where it belongs
		return []trace.Event{e}
	}
	o.held++
	if e.Kind != trace.Dialogue {
		o.queue = append(o.queue, e)
	} else if d := o.attempt(e.Attempt); e.Text == "" {
		d.over = true
		o.held--
	} else {
		d.lines = append(d.lines, e)
	}
	if o.held > maxWaiting {
		return o.all()
	}
	for {
		n := len(ready)
		ready = o.lines(ready)
		if len(o.queue) > 0 && !o.early(&o.queue[0]) {
			ready = append(ready, o.queue[0])
			o.begin(&o.queue[0])
			o.queue = o.queue[1:]
		}
		if len(ready) == n {
			o.held -= n
			return ready
		}
	}
}

func (o *order) attempt(a id.ID) *dialogue {
	if o.attempts == nil {
		o.attempts = map[id.ID]*dialogue{}
	}
	d := o.attempts[a]
	if d == nil {
		d = &dialogue{}
		o.attempts[a] = d
	}
	return d
}

// lines appends the lines whose attempt has begun.
func (o *order) lines(ready []trace.Event) []trace.Event {
	for _, d := range o.attempts {
		if d.open {
			ready = append(ready, d.lines...)
			d.lines = nil
		}
	}
	return ready
}

// begin notes that an attempt has begun for a recipient. An attempt is told to each of its recipients first.
func (o *order) begin(e *trace.Event) {
	if e.Kind == trace.Attempt && e.Role == "remote" && !e.Attempt.IsZero() {
		d := o.attempt(e.Attempt)
		d.begun++
		d.open = d.open || d.begun >= e.Count
	}
}

// early reports whether an event of role queue is a verdict whose dialogue has not ended.
func (o *order) early(e *trace.Event) bool {
	switch e.Kind {
	case trace.Delivered, trace.Deferred, trace.Failed:
		d := o.attempts[e.Attempt]
		return d != nil && d.open && !d.over
	}
	return false
}

// holds reports whether something waits.
func (o *order) holds() bool { return o.held > 0 }

// all gives up waiting.
func (o *order) all() (ready []trace.Event) {
	for _, d := range o.attempts {
		ready = append(ready, d.lines...)
		d.lines, d.open, d.over = nil, true, true
	}
	ready = append(ready, o.queue...)
	for i := range o.queue {
		o.begin(&o.queue[i])
	}
	o.queue, o.held = nil, 0
	return ready
}
