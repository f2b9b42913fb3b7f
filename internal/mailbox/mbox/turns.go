package mbox

// Whose turn it is at a mailbox, and who may wait how long. A delivery that waits holds a place that another could use. So
// once another program has had a mailbox locked for impatient, only few go on waiting, Store.Patient in all and a quarter of
// them at one mailbox; the rest gives up at once. Waiting for this process's own deliveries, which get on, costs no patience.

import (
	"context"
	"errors"
	"time"

	"github.com/postilion/postilion/internal/fs"
)

// impatient is how long all wait for another program's locks.
const impatient = 3 * time.Second

// ErrBusy is the cause of an *Error of a mailbox that others wait for already.
var ErrBusy = errors.New("locked, and enough deliveries wait for locks")

// turn is whose turn it is at one mailbox, of this Store's deliveries.
type turn struct {
	slot    chan struct{}
	users   int       // who is in or waits
	locked  time.Time // since when whoever is in waits for another program's locks; zero: does not
	patient int       // who may wait to the end
}

// wait is one delivery that waits for its turn and then for locks.
type wait struct {
	s      *Store
	t      *turn
	began  time.Time
	most   time.Duration
	giveUp context.CancelCauseFunc
	timer  *time.Timer
	lasts  bool // it may wait to the end
	over   bool
}

// enter waits for the caller's turn. Deliveries of one process go one after the other, first come, first served: looking
// for the locks of files again and again would cost more than most deliveries.
//
// The context it returns ends when the caller is to wait no longer for locks either; got ends that, with what was got.
func (s *Store) enter(ctx context.Context, name string) (_ context.Context, got func(locked bool), err error) {
	most := s.LockWait
	if most <= 0 {
		most = 30 * time.Second
	}
	ctx, giveUp := context.WithCancelCause(ctx)
	s.mu.Lock()
	t := s.turns[name]
	if t == nil {
		if s.turns == nil {
			s.turns = map[string]*turn{}
		}
		t = &turn{slot: make(chan struct{}, 1)}
		s.turns[name] = t
	}
	t.users++
	w := &wait{s: s, t: t, began: time.Now(), most: most, giveUp: giveUp}
	w.timer = time.AfterFunc(min(w.next(), most), w.look)
	s.mu.Unlock()
	select {
	case t.slot <- struct{}{}:
	case <-ctx.Done():
		w.end()
		s.drop(name, t)
		return nil, nil, context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.locked.IsZero() {
		t.locked = time.Now()
	}
	return ctx, func(locked bool) {
		w.end()
		s.mu.Lock()
		defer s.mu.Unlock()
		if locked {
			t.locked = time.Time{}
		}
	}, nil
}

// next is how long to wait before looking whether another program holds the mailbox too long. Store.mu is held.
func (w *wait) next() time.Duration {
	if w.t.locked.IsZero() {
		return impatient
	}
	return max(impatient-time.Since(w.t.locked), 0)
}

// look ends the wait where it is time to.
func (w *wait) look() {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	left := w.most - time.Since(w.began)
	most := w.s.Patient
	if most <= 0 {
		most = 10
	}
	switch {
	case w.over:
	case left <= 0:
		w.giveUp(fs.ErrLocked)
	case w.t.locked.IsZero() || time.Since(w.t.locked) < impatient:
		w.timer.Reset(min(w.next(), left))
	case w.s.patient >= most || w.t.patient >= max(most/4, 1):
		w.giveUp(ErrBusy)
	default:
		w.lasts = true
		w.s.patient++
		w.t.patient++
		w.timer.Reset(left)
	}
}

// end ends the wait, whatever came of it.
func (w *wait) end() {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.over = true
	w.timer.Stop()
	w.giveUp(nil)
	if w.lasts {
		w.lasts = false
		w.s.patient--
		w.t.patient--
	}
}

func (s *Store) leave(name string) {
	s.mu.Lock()
	t := s.turns[name]
	s.mu.Unlock()
	<-t.slot
	s.drop(name, t)
}

func (s *Store) drop(name string, t *turn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.users--; t.users == 0 {
		delete(s.turns, name)
	}
}
