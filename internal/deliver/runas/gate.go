package runas

import (
	"context"
	"sync"
	"time"

	"github.com/postilion/postilion/internal/reason"
)

// gate bounds what is under way, in all and for each user, and who waits for it. A
// user whose share is used up holds nobody else back.
type gate struct {
	all, each int // at once
	waiting   int // most that wait for one user

	mu    sync.Mutex
	busy  int
	users map[uint32]int
	queue []*waiter // in order of coming
	kept  map[uint32]int
}

type waiter struct {
	uid  uint32
	turn chan struct{}
}

func newGate(all, each, waiting int) *gate {
	return &gate{all: all, each: each, waiting: waiting, users: map[uint32]int{}, kept: map[uint32]int{}}
}

// within is enter for at most so long. The time costs nothing where a place is free.
func (g *gate) within(d time.Duration, u User) *reason.Error {
	if g.try(u) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return g.enter(ctx, u)
}

// try takes a place that is free.
func (g *gate) try(u User) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	free := g.free(u.UID)
	if free {
		g.take(u.UID)
	}
	return free
}

// enter waits until the user has a place. The error is RunasBusy.
func (g *gate) enter(ctx context.Context, u User) *reason.Error {
	g.mu.Lock()
	if g.free(u.UID) {
		g.take(u.UID)
		g.mu.Unlock()
		return nil
	}
	if g.kept[u.UID] >= g.waiting {
		g.mu.Unlock()
		return reason.RunasBusy.With(u.title())
	}
	w := &waiter{u.UID, make(chan struct{})}
	g.queue = append(g.queue, w)
	g.kept[u.UID]++
	g.mu.Unlock()
	select {
	case <-w.turn:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, other := range g.queue {
		if other == w {
			g.remove(i)
			return reason.RunasBusy.With(u.title()).Because(ctx.Err())
		}
	}
	return nil // its turn came at the same moment
}

func (g *gate) free(uid uint32) bool { return g.busy < g.all && g.users[uid] < g.each }

func (g *gate) take(uid uint32) {
	g.busy++
	g.users[uid]++
}

func (g *gate) remove(i int) {
	uid := g.queue[i].uid
	g.queue = append(g.queue[:i], g.queue[i+1:]...)
	if g.kept[uid]--; g.kept[uid] == 0 {
		delete(g.kept, uid)
	}
}

// leave gives the user's place to who waits for one.
func (g *gate) leave(u User) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.busy--
	if g.users[u.UID]--; g.users[u.UID] == 0 {
		delete(g.users, u.UID)
	}
	for i, w := range g.queue {
		if g.free(w.uid) {
			g.take(w.uid)
			g.remove(i)
			close(w.turn)
			return
		}
	}
}

// counts returns how many are at work and how many wait.
func (g *gate) counts() (busy, waiting int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.busy, len(g.queue)
}
