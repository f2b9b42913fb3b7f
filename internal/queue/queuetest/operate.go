package queuetest

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/queue"
)

// The part of the contract that operators rely on: messages that come back, are changed, are dropped.

func testRestore(t *testing.T, m Maker) {
	s := open(t, m)
	k := Take(t, s)
	k.Started(t)
	at := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	put := func(size int, held bool, states ...queue.RecipientState) *queue.Message {
		t.Helper()
		e := Envelope("a@b.example", "b@b.example", "c@b.example")
		back := &queue.Message{Envelope: e, Held: held, States: states}
		d, err := s.Restore(bg, back)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Write(Body(1, size)); err != nil {
			t.Fatal(err)
		}
		if err := d.Commit(bg); err != nil {
			t.Fatal(err)
		}
		return back
	}
	waiting := queue.RecipientState{N: 1, Attempts: 3, Next: at.Add(time.Hour), Last: at, Host: "mx.b.example"}
	held := put(100, true, queue.RecipientState{N: 0, State: queue.Delivered}, waiting, queue.RecipientState{N: 2})
	large := put(m.Limit+1, false, queue.RecipientState{N: 0, State: queue.Done}, waiting, queue.RecipientState{N: 2, State: queue.Delivered})
	over := put(10, false, queue.RecipientState{N: 0, State: queue.Done}, queue.RecipientState{N: 1, State: queue.Done}, queue.RecipientState{N: 2, State: queue.Done})
	for _, want := range []*queue.Message{held, large} {
		var first *queue.Message
		k.Wait(t, "a message that came back", func(got []queue.Claimed, _ bool) bool {
			for _, c := range got {
				if c.Message.Envelope.ID == want.Envelope.ID {
					first = c.Message
				}
			}
			return first != nil
		})
		if d := cmp.Diff(want.States, first.States); d != "" || first.Held != want.Held {
			t.Errorf("handed over held %v, states -want +got:\n%s", first.Held, d)
		}
	}
	finished := large.States[1]
	finished.State = queue.Done
	if err := s.Finish(bg, k.Lease(t, large.Envelope.ID), []queue.RecipientState{finished}); err != nil {
		t.Error(err)
	}
	k.Stop()
	s = reopen(t, m, s)
	got, err := s.Load(bg, held.Envelope.ID)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(held.States, got.States); d != "" || !got.Held {
		t.Errorf("read back held %v, states -want +got:\n%s", got.Held, d)
	}
	mustGone(t, s, large.Envelope.ID)
	mustGone(t, s, over.Envelope.ID)
	if d, err := s.Restore(bg, &queue.Message{Envelope: Envelope("a@b.example")}); err == nil {
		d.Abort()
		t.Error("a message without its states came back")
	}
}

func testUpdate(t *testing.T, m Maker) {
	s := open(t, m)
	e := Envelope("a@b.example", "b@b.example")
	Enqueue(t, s, e, []byte("x\n"))
	refuse := errors.New("no")
	if err := s.Update(bg, e.ID, func(m *queue.Message) error { m.Held = true; return refuse }); !errors.Is(err, refuse) {
		t.Errorf("an update that refused: %v", err)
	}
	change := func(f func(m *queue.Message)) {
		t.Helper()
		if err := s.Update(bg, e.ID, func(m *queue.Message) error { f(m); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	check := func(f func(m *queue.Message) bool) {
		t.Helper()
		for range 2 {
			got, err := s.Load(bg, e.ID)
			if err != nil {
				t.Fatal(err)
			}
			if !f(got) {
				t.Errorf("loaded %+v %+v", got, got.Envelope)
			}
			s = reopen(t, m, s)
		}
	}
	change(func(m *queue.Message) {
		m.Held = true
		m.Envelope.Priority = 5
		m.Envelope.Group = "night"
		m.Envelope.Recipients[1].To = mail.ParseAddress("other@c.example")
		m.States[1].Next = time.Unix(5, 0).UTC()
	})
	check(func(m *queue.Message) bool {
		return m.Held && m.Envelope.Priority == 5 && m.Envelope.Group == "night" && m.States[1].Next.Unix() == 5 &&
			m.Envelope.Recipients[1].To.Domain == "c.example" && m.States[0] == queue.RecipientState{}
	})
	change(func(m *queue.Message) { m.Held = false; m.States[1].Next = time.Unix(6, 0).UTC() })
	check(func(m *queue.Message) bool { return !m.Held && m.States[1].Next.Unix() == 6 })
	err := s.Update(bg, e.ID, func(m *queue.Message) error {
		m.Envelope.Recipients, m.States = m.Envelope.Recipients[:1], m.States[:1]
		return nil
	})
	if err == nil {
		t.Error("an update took a recipient away")
	}
	change(func(m *queue.Message) {
		for n := range m.States {
			m.States[n].State = queue.Done
		}
	})
	mustGone(t, s, e.ID)
	if err := s.Update(bg, e.ID, func(*queue.Message) error { return nil }); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("update of a finished message: %v", err)
	}
	s = reopen(t, m, s)
	mustGone(t, s, e.ID)
}

func testDelete(t *testing.T, m Maker) {
	s := open(t, m)
	for _, size := range []int{10, m.Limit + 1} {
		e := Envelope("a@b.example")
		Enqueue(t, s, e, Body(3, size))
		b, err := s.Body(bg, e.ID)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(bg, e.ID); err != nil {
			t.Fatal(err)
		}
		mustGone(t, s, e.ID)
		if err := s.Delete(bg, e.ID); !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("second delete: %v", err)
		}
		Enqueue(t, s, Envelope("z@b.example"), Body(4, size)) // must not disturb who still reads
		if got, err := io.ReadAll(b); err != nil || !bytes.Equal(got, Body(3, size)) {
			t.Errorf("a body open during delete: %d bytes, %v", len(got), err)
		}
		b.Close()
		s = reopen(t, m, s)
		mustGone(t, s, e.ID)
	}
}
