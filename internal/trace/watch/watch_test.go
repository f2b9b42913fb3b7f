package watch

import (
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
		if e := <-s.Events(); e.Kind != want {
			t.Errorf("%s came, want %s", e.Kind, want)
		}
	}
	s.Close()
	s.Close()
	h.Record(trace.Event{Message: one})
	if h.Watched(one) || len(s.Events()) > 0 || len(h.subs) > 0 {
		t.Error("a closed watch goes on")
	}
}

func TestASlowWatcherLosesEventsAndHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	m := id.Source{}.New()
	h := new(Hub)
	s, err := h.Subscribe(m)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range buffered + 7 {
		h.Record(trace.Event{Message: m})
	}
	if s.Lost() != 7 {
		t.Errorf("%d events lost, want 7", s.Lost())
	}
}

func TestWatchersAreBounded(t *testing.T) {
	t.Parallel()
	h := &Hub{all: maxSubs}
	if _, err := h.Subscribe(id.ID{1}); err == nil {
		t.Error("one more than allowed")
	}
}
