package queuetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/reason"
)

// Run runs the contract on stores of make.
func Run(t *testing.T, m Maker) {
	tests := []struct {
		promise string
		test    func(t *testing.T, m Maker)
	}{
		{"a committed message is kept whole", testKept},
		{"every field of an envelope and a state is kept", testFields},
		{"an aborted draft leaves nothing", testAbort},
		{"a draft ends once", testEndsOnce},
		{"claim hands over the old in order, then the marker, then the new", testClaim},
		{"messages committed during a claim are handed over once", testClaimDuring},
		{"a body is read from anywhere", testBody},
		{"finish removes a message when its last recipient is final", testFinish},
		{"finish commits its drafts with the states or not at all", testFinishDrafts},
		{"an old fence is refused", testLease},
		{"a message that comes back has its states and its hold from the first", testRestore},
		{"a message that is to start held does", testStartsHeld},
		{"many messages are read back in their order", testLoadEach},
		{"update changes what operators may change", testUpdate},
		{"a revision drops a message whatever its state", testDrop},
		{"a revision of many messages is made in whole or not at all", testRevise},
		{"a revision and finishes at the same time lose nothing", testReviseDuring},
		{"many work at the same time", testConcurrent},
		{"finishes of one message at the same time are all kept", testConcurrentFinish},
	}
	for _, tt := range tests {
		t.Run(tt.promise, func(t *testing.T) {
			t.Parallel()
			tt.test(t, m)
		})
	}
}

func open(t *testing.T, m Maker) queue.Store {
	s := m.Open(t)
	t.Cleanup(func() { s.Close() })
	return s
}

func reopen(t *testing.T, m Maker, s queue.Store) queue.Store {
	if m.Reopen == nil {
		return s
	}
	s = m.Reopen(t, s)
	t.Cleanup(func() { s.Close() })
	return s
}

var bg = context.Background()

func testKept(t *testing.T, m Maker) {
	s := open(t, m)
	bodies := map[id.ID][]byte{}
	for i, size := range []int{0, 1, 10 << 10, m.Limit - 1, m.Limit, m.Limit + 1, 5 << 20} {
		e := Envelope("to@b.example")
		bodies[e.ID] = Body(i, size)
		Enqueue(t, s, e, bodies[e.ID])
		lines := int64(bytes.Count(bodies[e.ID], []byte{'\n'}))
		if e.Size != int64(size) || e.CRLFSize != int64(size)+lines || e.Eight {
			t.Errorf("%d bytes in %d lines: Size %d, CRLFSize %d, Eight %v", size, lines, e.Size, e.CRLFSize, e.Eight)
		}
		mustBody(t, s, e.ID, bodies[e.ID])
	}
	for round := range 2 {
		s = reopen(t, m, s)
		for v, body := range bodies {
			mustBody(t, s, v, body)
		}
		if n := len(Pending(t, s)); n != len(bodies) {
			t.Errorf("round %d: %d messages pending, want %d", round, n, len(bodies))
		}
	}
}

func testFields(t *testing.T, m Maker) {
	s := open(t, m)
	refused := reason.LocalError.With("x\x00y", "ü").Because(errors.New("private"))
	refused.Remote = "550 no\n\xff"
	e := &mail.Envelope{
		ID: id.Source{}.New(), Session: id.Source{Node: 3}.New(), Parent: id.Source{}.New(),
		Accepted: time.Date(2031, 2, 3, 4, 5, 6, 789, time.UTC),
		From:     mail.Address{Local: "a\xff\xfe \"b\\", Domain: "\xc3\x28.example"},
		Recipients: []mail.Recipient{
			{To: mail.Address{Local: "\x80\x01@", Domain: "[IPv6:::1]"}, ORcpt: "rfc822;a+b", Notify: mail.NotifyDelay | mail.NotifyNever},
			{To: mail.Address{}, Refused: refused},
			{To: mail.Address{Local: "postmaster"}},
		},
		Body: mail.Body8Bit, UTF8: true, TLSOnly: true, EnvID: "e\xffid", Ret: mail.RetHeaders, Priority: -7, Group: "slow",
		Tenant: 1 << 63, Account: "joe@a.example", Client: netip.MustParseAddr("fe80::1%eth0"), HELO: "[\x01]", Protocol: "ESMTPSA",
	}
	Enqueue(t, s, e, []byte("caf\xe9\n"))
	if !e.Eight {
		t.Error("a body with a byte above 127 was not noticed")
	}
	k := Take(t, s)
	lease := k.Lease(t, e.ID)
	state := queue.RecipientState{
		N: 1, State: queue.Waiting, Attempts: 39, Next: time.Unix(1e9, 1).UTC(), Last: time.Unix(1, 999999999).UTC(),
		Err: refused, Host: "mx.b.example [192.0.2.1]", Delayed: true,
	}
	if err := s.Finish(bg, lease, []queue.RecipientState{state}); err != nil {
		t.Fatal(err)
	}
	k.Stop()
	s = reopen(t, m, s)
	want := &queue.Message{Envelope: e, States: []queue.RecipientState{{N: 0}, state, {N: 2}}}
	got, err := s.Load(bg, e.ID)
	if err != nil {
		t.Fatal(err)
	}
	options := cmp.Options{
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Cause" },
			cmp.Comparer(func(a, b error) bool { return fmt.Sprint(a) == fmt.Sprint(b) })), // its text is what is kept
	}
	if d := cmp.Diff(want, got, options); d != "" {
		t.Errorf("loaded, -want +got:\n%s", d)
	}
	claimed := Take(t, s).Started(t)
	if len(claimed) != 1 {
		t.Fatalf("%d messages claimed", len(claimed))
	}
	if d := cmp.Diff(want, claimed[0].Message, options); d != "" {
		t.Errorf("claimed, -want +got:\n%s", d)
	}
}

func testAbort(t *testing.T, m Maker) {
	s := open(t, m)
	for _, size := range []int{0, 100, m.Limit + 100} {
		e := Envelope("to@b.example")
		d, err := Draft(s, e, Body(1, size))
		if err != nil {
			t.Fatal(err)
		}
		mustGone(t, s, e.ID)
		d.Abort()
		d.Abort()
		if err := d.Commit(bg); err == nil {
			t.Error("an aborted draft was committed")
		}
		mustGone(t, s, e.ID)
	}
	ctx, cancel := context.WithCancel(bg)
	cancel()
	if _, err := s.Begin(ctx, Envelope("to@b.example")); err == nil {
		t.Error("a cancelled context was given a draft")
	}
	if p := Pending(t, s); len(p) != 0 {
		t.Errorf("pending after aborts: %v", p)
	}
}

func testEndsOnce(t *testing.T, m Maker) {
	s := open(t, m)
	e := Envelope("to@b.example")
	d, err := Draft(s, e, []byte("one\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(bg); err != nil {
		t.Fatal(err)
	}
	d.Abort()
	if err := d.Commit(bg); err == nil {
		t.Error("a draft was committed twice")
	}
	if _, err := d.Write([]byte("two\n")); err == nil {
		t.Error("a committed draft took more")
	}
	e.Recipients[0].To.Local = "changed" // the store must not look any more
	got, err := s.Load(bg, e.ID)
	if err != nil || got.Envelope.Recipients[0].To.Local != "to" {
		t.Errorf("loaded %+v, %v", got, err)
	}
	mustBody(t, s, e.ID, []byte("one\n"))
}

func testClaim(t *testing.T, m Maker) {
	s := open(t, m)
	var want []id.ID
	at := time.Now()
	for i := range 700 {
		e := Envelope("to@b.example")
		e.ID = id.Source{Clock: fixed(at.Add(time.Duration(i) * time.Millisecond))}.New()
		want = append(want, e.ID)
		Enqueue(t, s, e, Body(i, 100))
	}
	s = reopen(t, m, s)
	k := Take(t, s)
	var got []id.ID
	for _, c := range k.Started(t) {
		got = append(got, c.Lease.Message)
		if c.Message.Envelope.ID != c.Lease.Message || len(c.Message.States) != 1 {
			t.Fatalf("claimed %+v with the lease %+v", c.Message, c.Lease)
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("claimed at start, -want +got:\n%s", d)
	}
	for i := range 20 {
		e := Envelope("to@b.example")
		Enqueue(t, s, e, Body(i, 100))
		l := k.Lease(t, e.ID)
		if lost, err := s.Heartbeat(bg, []queue.Lease{l}); err != nil || len(lost) > 0 {
			t.Errorf("heartbeat of a live lease: lost %v, %v", lost, err)
		}
	}
	k.Wait(t, "old and new", func(got []queue.Claimed, _ bool) bool { return len(got) == 720 })
	k.Stop()
}

type fixed time.Time

func (f fixed) Now() time.Time { return time.Time(f) }

func testClaimDuring(t *testing.T, m Maker) {
	s := open(t, m)
	const writers, each = 8, 60
	for i := range 600 {
		Enqueue(t, s, Envelope("old@b.example"), Body(i, 50))
	}
	s = reopen(t, m, s)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := TryEnqueue(s, Envelope("new@b.example"), Body(w*each+i, 200)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	k := Take(t, s)
	wg.Wait()
	got := k.Wait(t, "all", func(got []queue.Claimed, started bool) bool { return started && len(got) >= 600+writers*each })
	k.Stop()
	seen := map[id.ID]int{}
	for _, c := range got {
		seen[c.Lease.Message]++
	}
	if len(seen) != len(got) {
		t.Errorf("%d messages were handed over %d times", len(seen), len(got))
	}
}

func testBody(t *testing.T, m Maker) {
	s := open(t, m)
	for round := range 2 {
		for i, size := range []int{1000, m.Limit + 70000} {
			e := Envelope("to@b.example")
			want := Body(i, size)
			Enqueue(t, s, e, want)
			if round == 1 {
				s = reopen(t, m, s)
			}
			b, err := s.Body(bg, e.ID)
			if err != nil {
				t.Fatal(err)
			}
			var all bytes.Buffer
			if n, err := b.WriteTo(&all); err != nil || n != int64(size) || !bytes.Equal(all.Bytes(), want) {
				t.Errorf("WriteTo: %d, %v", n, err)
			}
			if n, err := b.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("Read at the end: %d, %v", n, err)
			}
			if at, err := b.Seek(-10, io.SeekEnd); at != int64(size-10) || err != nil {
				t.Errorf("Seek: %d, %v", at, err)
			}
			if tail, err := io.ReadAll(b); err != nil || !bytes.Equal(tail, want[size-10:]) {
				t.Errorf("the last 10 bytes: %q, %v", tail, err)
			}
			part := make([]byte, 100)
			if n, err := b.ReadAt(part, 333); n != 100 || err != nil || !bytes.Equal(part, want[333:433]) {
				t.Errorf("ReadAt: %d, %v", n, err)
			}
			if n, err := b.ReadAt(part, int64(size)-50); n != 50 || err != io.EOF {
				t.Errorf("ReadAt over the end: %d, %v", n, err)
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func done(n int) queue.RecipientState {
	return queue.RecipientState{N: n, State: queue.Done, Attempts: 1}
}

func testFinish(t *testing.T, m Maker) {
	s := open(t, m)
	for _, size := range []int{100, m.Limit + 1} {
		e := Envelope("a@b.example", "b@b.example", "c@b.example")
		Enqueue(t, s, e, Body(1, size))
		k := Take(t, s)
		lease := k.Lease(t, e.ID)
		deferred := queue.RecipientState{N: 1, Attempts: 1, Next: time.Unix(1e9, 0).UTC()}
		if err := s.Finish(bg, lease, []queue.RecipientState{done(0), deferred}); err != nil {
			t.Fatal(err)
		}
		k.Stop()
		s = reopen(t, m, s)
		k = Take(t, s)
		lease = k.Lease(t, e.ID)
		got, err := s.Load(bg, e.ID)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]queue.RecipientState{done(0), deferred, {N: 2}}, got.States); d != "" {
			t.Errorf("states, -want +got:\n%s", d)
		}
		if err := s.Finish(bg, lease, []queue.RecipientState{{N: 3}}); err == nil {
			t.Error("a recipient that is not there was finished")
		}
		failed := queue.RecipientState{N: 1, State: queue.Failed, Attempts: 2}
		if err := s.Finish(bg, lease, []queue.RecipientState{failed}); err != nil {
			t.Fatal(err)
		}
		if err := s.Finish(bg, lease, []queue.RecipientState{{N: 2, State: queue.Delivered}}); err != nil {
			t.Fatal(err)
		}
		mustBody(t, s, e.ID, Body(1, size)) // one has failed and is not bounced
		if err := s.Finish(bg, lease, []queue.RecipientState{done(1)}); err != nil {
			t.Fatal(err)
		}
		mustGone(t, s, e.ID)
		if err := s.Finish(bg, lease, []queue.RecipientState{done(1)}); !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("finish of a finished message: %v", err)
		}
		k.Stop()
		s = reopen(t, m, s)
		mustGone(t, s, e.ID)
	}
	if p := Pending(t, s); len(p) != 0 {
		t.Errorf("pending: %v", p)
	}
}

func testFinishDrafts(t *testing.T, m Maker) {
	s := open(t, m)
	e := Envelope("a@b.example", "b@b.example")
	Enqueue(t, s, e, []byte("list mail\n"))
	k := Take(t, s)
	lease := k.Lease(t, e.ID)

	make := func(size int) (queue.Draft, *mail.Envelope) {
		f := Envelope("x@c.example")
		d, err := Draft(s, f, Body(size, size))
		if err != nil {
			t.Fatal(err)
		}
		return d, f
	}
	small, smallEnv := make(100)
	large, largeEnv := make(m.Limit + 5)
	larger, largerEnv := make(m.Limit + 6)
	if err := s.Finish(bg, lease, []queue.RecipientState{done(0)}, small, large, larger); err != nil {
		t.Fatal(err)
	}
	for _, f := range []*mail.Envelope{smallEnv, largeEnv, largerEnv} {
		k.Lease(t, f.ID)
		mustBody(t, s, f.ID, Body(int(f.Size), int(f.Size)))
	}
	lost, lostEnv := make(50)
	lost2, lostEnv2 := make(m.Limit + 50)
	old := lease
	old.Fence--
	if err := s.Finish(bg, old, []queue.RecipientState{done(1)}, lost, lost2); !errors.Is(err, queue.ErrLeaseLost) {
		t.Errorf("finish with an old fence: %v", err)
	}
	mustGone(t, s, lostEnv.ID)
	mustGone(t, s, lostEnv2.ID)
	if err := lost.Commit(bg); err == nil {
		t.Error("a draft outlived the Finish it was given to")
	}
	k.Stop()
	s = reopen(t, m, s)
	if n := len(Pending(t, s)); n != 4 {
		t.Errorf("%d pending, want the message and three drafts", n)
	}
	mustBody(t, s, e.ID, []byte("list mail\n"))
}

func testLease(t *testing.T, m Maker) {
	s := open(t, m)
	e := Envelope("a@b.example")
	Enqueue(t, s, e, []byte("x\n"))
	first := Take(t, s)
	old := first.Lease(t, e.ID)
	second := Take(t, s)
	young := second.Lease(t, e.ID)
	if err := <-first.Err; !errors.Is(err, queue.ErrLeaseLost) {
		t.Errorf("the first claim ended with %v", err)
	}
	if lost, err := s.Heartbeat(bg, []queue.Lease{old, young}); err != nil || len(lost) != 1 || lost[0] != old {
		t.Errorf("heartbeat: lost %v, %v", lost, err)
	}
	if err := s.Finish(bg, old, []queue.RecipientState{done(0)}); !errors.Is(err, queue.ErrLeaseLost) {
		t.Errorf("finish with a lost lease: %v", err)
	}
	if err := s.Finish(bg, young, []queue.RecipientState{done(0)}); err != nil {
		t.Error(err)
	}
	second.Stop()
}

func testConcurrent(t *testing.T, m Maker) {
	s := open(t, m)
	const writers, each = 16, 30
	k := Take(t, s)
	k.Started(t)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				e := Envelope("a@b.example", "b@b.example")
				size := 500 * i
				if i%10 == 9 {
					size = m.Limit + 1000*w
				}
				body := Body(w*each+i, size)
				if err := TryEnqueue(s, e, body); err != nil {
					t.Error(err)
					return
				}
				lease := k.Lease(t, e.ID)
				if got := ReadBody(t, s, e.ID); !bytes.Equal(got, body) {
					t.Errorf("body of %s differs", e.ID)
				}
				for n := range 2 {
					if err := s.Finish(bg, lease, []queue.RecipientState{done(n)}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	k.Stop()
	if p := Pending(t, s); len(p) != 0 {
		t.Errorf("%d still pending", len(p))
	}
	s = reopen(t, m, s)
	if p := Pending(t, s); len(p) != 0 {
		t.Errorf("%d came back", len(p))
	}
}

func testConcurrentFinish(t *testing.T, m Maker) {
	s := open(t, m)
	const recipients = 50
	e := Envelope()
	for i := range recipients {
		e.Recipients = append(e.Recipients, mail.Recipient{To: mail.Address{Local: fmt.Sprint("r", i), Domain: "b.example"}})
	}
	Enqueue(t, s, e, []byte("to many\n"))
	s = reopen(t, m, s)
	k := Take(t, s)
	lease := k.Lease(t, e.ID)
	var wg sync.WaitGroup
	for n := range recipients {
		wg.Go(func() {
			if n%3 == 0 {
				if err := s.Finish(bg, lease, []queue.RecipientState{{N: n, Attempts: 1}}); err != nil {
					t.Error(err)
				}
			}
			if err := s.Finish(bg, lease, []queue.RecipientState{done(n)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	mustGone(t, s, e.ID)
	k.Stop()
	s = reopen(t, m, s)
	mustGone(t, s, e.ID)
}
