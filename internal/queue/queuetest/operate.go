package queuetest

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/id"
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
	if err := queue.Update(bg, s, e.ID, func(m *queue.Message) error { m.Held = true; return refuse }); !errors.Is(err, refuse) {
		t.Errorf("an update that refused: %v", err)
	}
	change := func(f func(m *queue.Message)) {
		t.Helper()
		if err := queue.Update(bg, s, e.ID, func(m *queue.Message) error { f(m); return nil }); err != nil {
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
	err := queue.Update(bg, s, e.ID, func(m *queue.Message) error {
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
	if err := queue.Update(bg, s, e.ID, func(*queue.Message) error { return nil }); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("update of a finished message: %v", err)
	}
	s = reopen(t, m, s)
	mustGone(t, s, e.ID)
}

func testDrop(t *testing.T, m Maker) {
	s := open(t, m)
	for _, size := range []int{10, m.Limit + 1} {
		e := Envelope("a@b.example")
		Enqueue(t, s, e, Body(3, size))
		b, err := s.Body(bg, e.ID)
		if err != nil {
			t.Fatal(err)
		}
		if err := Drop(s, e.ID); err != nil {
			t.Fatal(err)
		}
		mustGone(t, s, e.ID)
		if err := Drop(s, e.ID); !errors.Is(err, queue.ErrNotFound) {
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

// seven puts seven messages into s, large ones among them, and finishes one. It returns the IDs of all in order.
func seven(t *testing.T, m Maker, s queue.Store) (ids []id.ID, finished id.ID) {
	t.Helper()
	k := Take(t, s)
	k.Started(t)
	defer k.Stop()
	for i := range 7 {
		e := Envelope("a@b.example", "b@b.example")
		Enqueue(t, s, e, Body(i, 10+i%2*m.Limit))
		ids = append(ids, e.ID)
	}
	for i, v := range ids {
		states := []queue.RecipientState{{N: 0, State: queue.Delivered}}
		if i == 3 {
			states = append(states, done(1))
			finished = v
		}
		if i%3 == 0 {
			if err := s.Finish(bg, k.Lease(t, v), states); err != nil {
				t.Fatal(err)
			}
		}
	}
	slices.SortFunc(ids, func(a, b id.ID) int { return bytes.Compare(a[:], b[:]) })
	return ids, finished
}

func testLoadEach(t *testing.T, m Maker) {
	s := open(t, m)
	ids, finished := seven(t, m, s)
	want := slices.DeleteFunc(slices.Clone(ids), func(v id.ID) bool { return v == finished })
	read := func(ask []id.ID, most int) (got []id.ID) {
		t.Helper()
		among := map[id.ID]*queue.Message{}
		err := s.LoadEach(bg, ask, func(x *queue.Message) bool {
			among[x.Envelope.ID] = x
			got = append(got, x.Envelope.ID)
			return len(got) < most
		})
		if err != nil {
			t.Fatal(err)
		}
		for v, x := range among {
			alone, err := s.Load(bg, v)
			if err != nil {
				t.Error(err)
			} else if d := cmp.Diff(alone, x, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
				t.Errorf("-alone +among others:\n%s", d)
			}
		}
		return got
	}
	ask := append(slices.Clone(ids), id.ID{}, id.Source{}.New(), ids[1])
	slices.Reverse(ask)
	for range 2 {
		if got := read(ask, 100); !slices.Equal(got, want) {
			t.Errorf("read %v, want %v", got, want)
		}
		if got := read(want[4:], 100); !slices.Equal(got, want[4:]) {
			t.Errorf("read %v, want %v", got, want[4:])
		}
		if got := read(ask, 2); !slices.Equal(got, want[:2]) {
			t.Errorf("read %v, want two", got)
		}
		s = reopen(t, m, s)
	}
}

func testRevise(t *testing.T, m Maker) {
	s := open(t, m)
	ids, finished := seven(t, m, s)
	left := slices.DeleteFunc(slices.Clone(ids), func(v id.ID) bool { return v == finished })
	dropped, held := left[:2], left[2:4]
	var asked []id.ID
	revise := func(m *queue.Message) queue.Revision {
		asked = append(asked, m.Envelope.ID)
		m.Held = true
		switch {
		case slices.Contains(dropped, m.Envelope.ID):
			return queue.Drop
		case slices.Contains(held, m.Envelope.ID):
			m.States[1].Host = "mx.b.example"
			return queue.Change
		}
		return queue.Keep
	}
	ask := append(slices.Clone(ids), id.Source{}.New(), ids[2])
	slices.Reverse(ask)
	if err := s.Revise(bg, ask, revise); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(asked, left) {
		t.Errorf("asked for %v, want %v", asked, left)
	}
	for range 2 {
		for _, v := range left {
			if slices.Contains(dropped, v) {
				mustGone(t, s, v)
				continue
			}
			got, err := s.Load(bg, v)
			if err != nil {
				t.Fatal(err)
			}
			if want := slices.Contains(held, v); got.Held != want || (got.States[1].Host != "") != want {
				t.Errorf("message %s: held %v, states %+v; want held %v", v, got.Held, got.States, want)
			}
		}
		s = reopen(t, m, s)
	}
	// What is wrong with one keeps all as they were.
	err := s.Revise(bg, left, func(m *queue.Message) queue.Revision {
		m.Held = false
		if m.Envelope.ID == left[4] {
			m.States = m.States[:1]
		}
		return queue.Change
	})
	if err == nil {
		t.Error("a revision took a recipient away")
	}
	if got, err := s.Load(bg, held[0]); err != nil || !got.Held {
		t.Errorf("a revision that failed was made in part: %+v, %v", got, err)
	}
	err = s.Revise(bg, left[2:], func(m *queue.Message) queue.Revision { // all recipients final: they are finished
		for n := range m.States {
			m.States[n].State = queue.Done
		}
		return queue.Change
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, v := range left {
			mustGone(t, s, v)
		}
		s = reopen(t, m, s)
	}
	if n := len(Pending(t, s)); n != 0 {
		t.Errorf("%d messages are pending", n)
	}
}

func testReviseDuring(t *testing.T, m Maker) {
	s := open(t, m)
	k := Take(t, s)
	k.Started(t)
	defer k.Stop()
	const n = 40
	var ids []id.ID
	for range n {
		e := Envelope("a@b.example", "b@b.example")
		Enqueue(t, s, e, Body(1, 20))
		ids = append(ids, e.ID)
	}
	leases := make([]queue.Lease, n)
	for i, v := range ids {
		leases[i] = k.Lease(t, v)
	}
	var wg sync.WaitGroup
	fail := func(err error) {
		if err != nil && !errors.Is(err, queue.ErrNotFound) {
			t.Error(err)
		}
	}
	wg.Go(func() { // one recipient of each is delivered, and every other message finished
		for i := range leases {
			fail(s.Finish(bg, leases[i], []queue.RecipientState{{N: 0, State: queue.Delivered}}))
			if i%2 == 0 {
				fail(s.Finish(bg, leases[i], []queue.RecipientState{done(1)}))
			}
		}
	})
	for _, set := range []func(*queue.Message){
		func(m *queue.Message) { m.Envelope.Priority++ },
		func(m *queue.Message) { m.States[1].Attempts++ },
	} {
		wg.Go(func() {
			for range 5 {
				fail(s.Revise(bg, ids, func(m *queue.Message) queue.Revision {
					set(m)
					return queue.Change
				}))
			}
		})
	}
	wg.Wait()
	for i, v := range ids {
		if i%2 == 0 {
			mustGone(t, s, v)
			continue
		}
		got, err := s.Load(bg, v)
		if err != nil {
			t.Fatal(err)
		}
		if got.Envelope.Priority != 5 || got.States[1].Attempts != 5 || got.States[0].State != queue.Delivered {
			t.Errorf("message %s: priority %d, states %+v", v, got.Envelope.Priority, got.States)
		}
	}
}
