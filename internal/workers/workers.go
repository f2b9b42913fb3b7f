// Package workers runs functions on goroutines that are used again. The stack of a new goroutine is small and is copied each time that
// it must grow; for work that takes less than a millisecond that is a good part of it.
package workers

import "sync"

// Pool runs functions, each on a goroutine that does nothing else meanwhile. It never makes anybody wait. The zero Pool is ready.
type Pool struct {
	// Idle bounds the goroutines that are kept for later; 0 means 64.
	Idle int

	mu     sync.Mutex
	idle   []*worker // the one used last is used first: its stack is warm
	closed bool
	all    sync.WaitGroup
}

type worker struct {
	next chan func() // holds one; closed when there will be no more
}

// Go runs f. After Close it still does.
func (p *Pool) Go(f func()) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		w := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		w.next <- f
		return
	}
	p.mu.Unlock()
	p.all.Go(func() { p.work(f) })
}

func (p *Pool) work(f func()) {
	w := &worker{next: make(chan func(), 1)}
	for more := true; more; f, more = <-w.next {
		f()
		if !p.keep(w) {
			return
		}
	}
}

// keep reports whether a worker that has nothing to do is to wait for more.
func (p *Pool) keep(w *worker) bool {
	most := p.Idle
	if most == 0 {
		most = 64
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle) >= most {
		return false
	}
	p.idle = append(p.idle, w)
	return true
}

// Close ends the goroutines that do nothing now, and the others when they are done.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, w := range p.idle {
		close(w.next)
	}
	p.idle = nil
}

// Wait returns when all that was given to Go is done. It is called after Close.
func (p *Pool) Wait() { p.all.Wait() }
