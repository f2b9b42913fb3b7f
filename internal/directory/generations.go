package directory

import (
	"context"
	"sync"
	"sync/atomic"
)

// Generations counts a directory's changes and wakes who waits for the next one: what was read at
// one generation is true while it lasts. Copies in other processes follow by Set, so that a change is
// in force everywhere as soon as it is made. The zero value is at generation 0.
type Generations struct {
	now  atomic.Uint64
	mu   sync.Mutex
	next chan struct{} // closed by the next Set; nil while nobody waits
}

// Now returns the generation.
func (g *Generations) Now() uint64 { return g.now.Load() }

// Set begins a generation.
func (g *Generations) Set(n uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.now.Swap(n) != n && g.next != nil {
		close(g.next)
		g.next = nil
	}
}

// Changed returns the generation as soon as it is another than known, and at the end of ctx as it
// is then, with ctx's error.
func (g *Generations) Changed(ctx context.Context, known uint64) (uint64, error) {
	for {
		g.mu.Lock()
		now := g.now.Load()
		if now != known {
			g.mu.Unlock()
			return now, nil
		}
		if g.next == nil {
			g.next = make(chan struct{})
		}
		next := g.next
		g.mu.Unlock()
		select {
		case <-next:
		case <-ctx.Done():
			return g.Now(), ctx.Err()
		}
	}
}
