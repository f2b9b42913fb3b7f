package pebblestore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"

	"github.com/postilion/postilion/internal/fs"
	crashfs "github.com/postilion/postilion/internal/fs/crash"
	"github.com/postilion/postilion/internal/fs/crash/plant"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/pebblex"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/queue/pebblestore"
	"github.com/postilion/postilion/internal/queue/queuetest"
)

// The history under these tests: batches of messages are put in and revised at once. Of each batch the even ones
// are held and the odd ones dropped, some of them large.

// batch is a fact: a batch was put in, or is being revised, or is revised.
type batch struct {
	what string
	ids  []id.ID
}

const (
	revising = "revising"
	revised  = "revised"
	batchLen = 6
)

// reviseBatch holds the even messages and drops the odd ones.
func reviseBatch(s *pebblestore.Store, ids []id.ID) error {
	place := map[id.ID]int{}
	for i, v := range ids {
		place[v] = i
	}
	return s.Revise(context.Background(), ids, func(m *queue.Message) queue.Revision {
		if place[m.Envelope.ID]%2 == 1 {
			return queue.Drop
		}
		m.Held = true
		return queue.Change
	})
}

func enqueueBatch(s *pebblestore.Store, seed int) (ids []id.ID, err error) {
	for i := range batchLen {
		e, body := crashEnvelope(seed*batchLen+i, 300+i%3*crashSpoolAbove/2, id.ID{})
		if err := queuetest.TryEnqueue(s, e, body); err != nil {
			return nil, err
		}
		ids = append(ids, e.ID)
	}
	return ids, nil
}

func reviseHistory(fsys fs.FS, ack func(batch)) error {
	for round := range 2 {
		s, err := pebblestore.Open(context.Background(), crashOptions(fsys))
		if err != nil {
			return err
		}
		errs := make(chan error)
		for w := range 2 {
			go func() { errs <- reviseRound(s, round*2+w, ack) }()
		}
		if err := errors.Join(<-errs, <-errs, s.Close()); err != nil {
			return err
		}
	}
	return nil
}

func reviseRound(s *pebblestore.Store, w int, ack func(batch)) error {
	for i := range 3 {
		ids, err := enqueueBatch(s, w*3+i)
		if err != nil {
			return err
		}
		ack(batch{enqueued, ids})
		ack(batch{revising, ids})
		if err := reviseBatch(s, ids); err != nil {
			return err
		}
		ack(batch{revised, ids})
	}
	return nil
}

// heldOrNot reads which messages are pending, and whether they are held. Each must be whole.
func heldOrNot(s *pebblestore.Store) (held map[id.ID]bool, err error) {
	pending, err := checkPending(s)
	if err != nil {
		return nil, err
	}
	held = map[id.ID]bool{}
	for v := range pending {
		m, err := s.Load(context.Background(), v)
		if err != nil {
			return nil, err
		}
		held[v] = m.Held
	}
	return held, nil
}

// reviseState tells whether a batch was revised, from what is held and what is there.
func reviseState(held map[id.ID]bool, ids []id.ID) (string, error) {
	old, made := 0, 0
	for i, v := range ids {
		switch is, here := held[v]; {
		case here && !is:
			old++
		case i%2 == 0 && is || i%2 == 1 && !here:
			made++
		}
	}
	switch len(ids) {
	case old:
		return enqueued, nil
	case made:
		return revised, nil
	}
	return "", fmt.Errorf("of a batch of %d messages %d are revised and %d are as they were", len(ids), made, old)
}

func checkRevised(fsys fs.FS, facts []batch) error {
	s, err := pebblestore.Open(context.Background(), crashOptions(fsys))
	if err != nil {
		return fmt.Errorf("opening: %w", err)
	}
	held, err := heldOrNot(s)
	errs := []error{err}
	last := map[id.ID]batch{}
	for _, f := range facts {
		last[f.ids[0]] = f
	}
	for _, f := range last {
		state, err := reviseState(held, f.ids)
		if err == nil && f.what != revising && state != f.what {
			err = fmt.Errorf("a batch that was %s is %s", f.what, state)
		}
		errs = append(errs, err)
	}
	return errors.Join(append(errs, works(s), s.Close())...)
}

func TestACrashLeavesARevisionWholeOrUnmade(t *testing.T) {
	t.Parallel()
	crashfs.Explore(t, crashfs.Scenario[batch]{Seed: 11, Cuts: 600 / slower, Run: reviseHistory, Check: checkRevised})
}

func TestTheCrashTestOfRevisionsFindsPlantedBugs(t *testing.T) {
	t.Parallel()
	crashfs.MustFail(t, crashfs.Scenario[batch]{
		Seed: 12, Cuts: 300, Run: reviseHistory, Check: checkRevised,
		Wrap: func(f fs.FS) fs.FS { return plant.Wrap(f, plant.NoSync) },
	})
}

// The disk fails once while batches are revised, at each operation in turn: what failed is as it was, but for
// drops whose fate was in doubt, what succeeded is made, and the store comes back by itself.
func TestAFailureOfTheDiskDuringARevision(t *testing.T) {
	t.Parallel()
	for _, fail := range []error{syscall.EIO, syscall.ENOSPC} {
		for n := 1; n < 160; n += 3 * slower {
			reviseFaultAt(t, n, fail)
		}
	}
}

func reviseFaultAt(t *testing.T, n int, fail error) {
	t.Helper()
	fsys := crashfs.New(uint64(n))
	s, err := pebblestore.Open(context.Background(), faultOptions(fsys))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var batches [][]id.ID
	for i := range 6 {
		ids, err := enqueueBatch(s, i)
		if err != nil {
			t.Fatal(err)
		}
		batches = append(batches, ids)
	}
	fsys.FailAt(n, fail)
	results := make([]error, len(batches))
	var wg sync.WaitGroup
	for i, ids := range batches {
		wg.Go(func() { results[i] = reviseBatch(s, ids) })
	}
	wg.Wait()
	untilTaken(t, s, &outcome{accepted: map[id.ID]bool{}, refused: map[id.ID]bool{}})
	held, err := heldOrNot(s)
	if err != nil {
		t.Fatalf("fault at %d (%s): %v", n, fsys.Op(n), err)
	}
	for i, ids := range batches {
		state, err := reviseState(held, ids)
		switch {
		case results[i] == nil && (err != nil || state != revised):
			t.Fatalf("fault at %d (%s): a revision that was told as made is %q, %v", n, fsys.Op(n), state, err)
		case errors.Is(results[i], pebblex.ErrInDoubt):
			for j := 0; j < len(ids); j += 2 {
				if is, here := held[ids[j]]; is || !here {
					t.Fatalf("fault at %d (%s): a hold that failed was made", n, fsys.Op(n))
				}
			}
		case results[i] != nil && (err != nil || state != enqueued):
			t.Fatalf("fault at %d (%s): a revision that failed with %v is %q, %v", n, fsys.Op(n), results[i], state, err)
		}
	}
}
