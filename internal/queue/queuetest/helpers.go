// Package queuetest is the contract that every queue.Store keeps, as tests.
package queuetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/queue"
)

// Maker makes the store under test.
type Maker struct {
	// Open returns an empty store, which the tests close.
	Open func(t *testing.T) queue.Store
	// Reopen closes the store and opens it again on what it left. It is nil for
	// stores that keep nothing.
	Reopen func(t *testing.T, s queue.Store) queue.Store
	// Limit is a body size at which the store changes its ways; bodies around it
	// are tried.
	Limit int
}

// Envelope returns an envelope to the given recipients with every field set.
func Envelope(to ...string) *mail.Envelope {
	e := &mail.Envelope{ID: id.Source{}.New(), From: mail.ParseAddress("sender@a.example"), HELO: "client.example", Protocol: "ESMTP"}
	for _, r := range to {
		e.Recipients = append(e.Recipients, mail.Recipient{To: mail.ParseAddress(r)})
	}
	return e
}

// Enqueue commits a message and fails the test if that fails.
func Enqueue(t testing.TB, s queue.Enqueuer, e *mail.Envelope, body []byte) {
	t.Helper()
	if err := TryEnqueue(s, e, body); err != nil {
		t.Fatalf("enqueue: %v", err)
	}
}

// TryEnqueue commits a message: every other one by CommitThen, where the store has that.
func TryEnqueue(s queue.Enqueuer, e *mail.Envelope, body []byte) error {
	d, err := Draft(s, e, body)
	if err != nil {
		return err
	}
	p, ok := d.(queue.Prompt)
	if !ok || e.ID[len(e.ID)-1]%2 == 0 {
		return d.Commit(context.Background())
	}
	told := make(chan error, 1)
	p.CommitThen(context.Background(), func(err error) {
		select {
		case told <- err:
		default:
			panic("the fate of a commit was told twice")
		}
	})
	return <-told
}

// Draft begins a message and writes its body in pieces.
func Draft(s queue.Enqueuer, e *mail.Envelope, body []byte) (queue.Draft, error) {
	d, err := s.Begin(context.Background(), e)
	if err != nil {
		return nil, err
	}
	for len(body) > 0 {
		n := min(len(body), 4093)
		if _, err := d.Write(body[:n]); err != nil {
			d.Abort()
			return nil, err
		}
		body = body[n:]
	}
	return d, nil
}

// Body returns lines of text, size bytes in all, that differ with seed.
func Body(seed, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = 'a' + byte((i*7+seed*13+i/251)%26)
		if i%72 == 71 {
			b[i] = '\n'
		}
	}
	return b
}

// ReadBody reads a message's body and fails the test if that fails.
func ReadBody(t testing.TB, s queue.Store, v id.ID) []byte {
	t.Helper()
	b, err := s.Body(context.Background(), v)
	if err != nil {
		t.Fatalf("body of %s: %v", v, err)
	}
	defer b.Close()
	data, err := io.ReadAll(b)
	if err != nil {
		t.Fatalf("body of %s: %v", v, err)
	}
	return data
}

// Visit hands over the unfinished messages of a store from which nobody else claims, in Claim's order. The error is Claim's.
func Visit(s queue.Store, visit func(queue.Claimed)) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	err := s.Claim(ctx, func(c queue.Claimed) {
		if c.Message == nil { // all that there was has been handed over
			cancel()
			return
		}
		visit(c)
	})
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// Taker runs Claim and gathers what it hands over.
type Taker struct {
	Err chan error // what Claim returned

	mu      sync.Mutex
	changed chan struct{}
	got     []queue.Claimed
	started int // messages handed over before the end-of-start marker; -1 until it came
	cancel  context.CancelFunc
}

// Take starts a Claim, which ends with the test or Stop.
func Take(t testing.TB, s queue.Store) *Taker {
	ctx, cancel := context.WithCancel(context.Background())
	k := &Taker{Err: make(chan error, 1), changed: make(chan struct{}), started: -1, cancel: cancel}
	go func() { k.Err <- s.Claim(ctx, k.take) }()
	t.Cleanup(cancel)
	return k
}

func (k *Taker) take(c queue.Claimed) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c.Message == nil {
		k.started = len(k.got)
	} else {
		k.got = append(k.got, c)
	}
	close(k.changed)
	k.changed = make(chan struct{})
}

// Stop ends the Claim and waits for it.
func (k *Taker) Stop() {
	k.cancel()
	<-k.Err
}

// Wait waits until enough says so of what was handed over; started tells that the marker came.
func (k *Taker) Wait(t testing.TB, what string, enough func(got []queue.Claimed, started bool) bool) []queue.Claimed {
	t.Helper()
	limit := time.After(30 * time.Second)
	for {
		k.mu.Lock()
		got, changed, started := slices.Clone(k.got), k.changed, k.started >= 0
		k.mu.Unlock()
		if enough(got, started) {
			return got
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("%s: %d messages were handed over, the marker of the start: %v", what, len(got), started)
		}
	}
}

// Started waits for the marker and returns what was handed over by then.
func (k *Taker) Started(t testing.TB) []queue.Claimed {
	t.Helper()
	return k.Wait(t, "start", func(_ []queue.Claimed, started bool) bool { return started })
}

// Lease waits for the message and returns its lease.
func (k *Taker) Lease(t testing.TB, v id.ID) queue.Lease {
	t.Helper()
	var l queue.Lease
	k.Wait(t, "message "+v.String(), func(got []queue.Claimed, _ bool) bool {
		for _, c := range got {
			if c.Lease.Message == v {
				l = c.Lease
				return true
			}
		}
		return false
	})
	return l
}

// Pending returns the ids of the unfinished messages, in Claim's order.
func Pending(t testing.TB, s queue.Store) []id.ID {
	t.Helper()
	var ids []id.ID
	if err := Visit(s, func(c queue.Claimed) { ids = append(ids, c.Lease.Message) }); err != nil {
		t.Error(err)
	}
	return ids
}

func mustGone(t testing.TB, s queue.Store, v id.ID) {
	t.Helper()
	if _, err := s.Load(context.Background(), v); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("load of %s: %v, want ErrNotFound", v, err)
	}
	if b, err := s.Body(context.Background(), v); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("body of %s: %v %v, want ErrNotFound", v, b, err)
	}
}

func mustBody(t testing.TB, s queue.Store, v id.ID, want []byte) {
	t.Helper()
	if got := ReadBody(t, s, v); !bytes.Equal(got, want) {
		t.Errorf("body of %s: %d bytes, want %d", v, len(got), len(want))
	}
}

// Drop drops a message. The error wraps queue.ErrNotFound when it is finished.
func Drop(s queue.Store, message id.ID) error {
	found := false
	err := s.Revise(bg, []id.ID{message}, func(*queue.Message) queue.Revision {
		found = true
		return queue.Drop
	})
	if err == nil && !found {
		return queue.ErrNotFound
	}
	return err
}
