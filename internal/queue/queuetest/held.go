package queuetest

import (
	"testing"

	"github.com/postilion/postilion/internal/queue"
)

// testStartsHeld: who takes a message in may want an operator to look at it first.
func testStartsHeld(t *testing.T, m Maker) {
	s := open(t, m)
	k := Take(t, s)
	k.Started(t)
	e := Envelope("a@b.example")
	e.Held = true
	Enqueue(t, s, e, Body(1, 100))
	var first *queue.Message
	k.Wait(t, "the message", func(got []queue.Claimed, _ bool) bool {
		for _, c := range got {
			if c.Message.Envelope.ID == e.ID {
				first = c.Message
			}
		}
		return first != nil
	})
	if !first.Held {
		t.Error("it was handed over to be delivered")
	}
	k.Stop()
	s = reopen(t, m, s)
	got, err := s.Load(bg, e.ID)
	if err != nil {
		t.Fatal(err)
	}
	if !got.Held {
		t.Error("it is not held when it is read back")
	}
}
