package watch

import (
	"context"
	"testing"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/trace"
)

func TestAWatcherSeesItsMessageAndWhatWasMadeOfIt(t *testing.T) {
	t.Parallel()
	var ids id.Source
	one, other, child := ids.New(), ids.New(), ids.New()
	h := new(Hub)
	h.Record(trace.Event{Message: one, Kind: trace.Accepted})
	s, err := h.Subscribe(one)
	if err != nil {
		t.Fatal(err)
	}
	if !h.Watched(one) || h.Watched(other) {
		t.Error("the wrong message is watched")
	}
	h.Record(trace.Event{Message: other, Kind: trace.Accepted})
	h.Record(trace.Event{Message: one, Kind: trace.Routed})
	h.Record(trace.Event{Message: ids.New(), Parent: one, Kind: trace.Accepted, From: ""}) // a bounce
	h.Record(trace.Event{Message: child, Parent: one, Kind: trace.Accepted, From: "joe@example.test"})
	h.Record(trace.Event{Message: child, Kind: trace.Delivered})
	for _, want := range []trace.Kind{trace.Routed, trace.Accepted, trace.Delivered} {
		if e := next(t, s); e.Kind != want {
			t.Errorf("%s came, want %s", e.Kind, want)
		}
	}
	s.Close()
	s.Close()
	h.Record(trace.Event{Message: one})
	if h.Watched(one) || len(s.events) > 0 || len(h.subs) > 0 {
		t.Error("a closed watch goes on")
	}
}

func next(t *testing.T, s *Sub) trace.Event {
	t.Helper()
	e, err := s.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestASlowWatcherIsToldHowManyEventsItLostAndHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	m := id.Source{}.New()
	h := new(Hub)
	s, err := h.Subscribe(m)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	record := func(kind trace.Kind, n int) {
		for range n {
			h.Record(trace.Event{Message: m, Kind: kind})
		}
	}
	lines := buffered - forEnds - forVerdicts - 1
	record(trace.Dialogue, lines+7) // seven too many
	record(trace.Delivered, 1)      // for which there is room
	skip := func(kind trace.Kind, n int) {
		t.Helper()
		for range n {
			if e := next(t, s); e.Kind != kind {
				t.Fatalf("%s came, want %s", e.Kind, kind)
			}
		}
	}
	skip(trace.Dialogue, lines)
	if e := next(t, s); e.Kind != trace.Gap || e.Count != 7 || e.Message != m {
		t.Errorf("have %+v, want a gap of 7", e)
	}
	skip(trace.Delivered, 1)

	// What nothing comes after is told, too.
	record(trace.Delivered, buffered-forEnds+4)
	skip(trace.Delivered, buffered-forEnds-1)
	if e := next(t, s); e.Kind != trace.Gap || e.Count != 5 {
		t.Errorf("have %+v, want a gap of 5", e)
	}

	// That a message is finished is never lost.
	record(trace.Delivered, buffered)
	record(trace.Finished, 1)
	skip(trace.Delivered, buffered-forEnds-1)
	skip(trace.Gap, 1)
	skip(trace.Finished, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if e, err := s.Next(ctx); err == nil {
		t.Errorf("have %+v, where nothing is left", e)
	}
}

func TestWatchersAreBounded(t *testing.T) {
	t.Parallel()
	h := &Hub{all: maxSubs}
	if _, err := h.Subscribe(id.ID{1}); err == nil {
		t.Error("one more than allowed")
	}
}
