package runas

import (
	"context"
	"sync"

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

// enter waits until the user has a place. The error is RunasBusy.
func (g *gate) enter(ctx context.Context, u User) *reason.Error {
	g.mu.Lock()
	if g.free(u.UID) {
		g.busy++
		g.users[u.UID]++
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
			g.busy++
			g.users[w.uid]++
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
