package runas

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/postilion/postilion/internal/reason"
)

// workers does operations in this process: on threads that have the user's rights, which
// goroutines hold for it, or as the process itself.
type workers struct {
	gate *gate
	hang time.Duration
	self bool

	mu   sync.Mutex
	idle []chan job
}

// job is an operation with the way back. The way back has room for one, so that who was given up does
// not wait.
type job struct {
	r    *request
	done chan result
}

type result struct {
	reply
	err error
}

// maxIdle bounds the threads that are kept for the next operation.
const maxIdle = 32

func (w *workers) do(r *request) (reply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), w.hang)
	defer cancel()
	if err := w.gate.enter(ctx, r.user); err != nil {
		return reply{file: -1}, err
	}
	j := job{r, make(chan result, 1)}
	w.worker() <- j
	select {
	case p := <-j.done:
		return p.reply, p.err
	case <-ctx.Done():
	}
	go func() { discard(<-j.done) }()
	return reply{file: -1}, reason.RunasBusy.With(r.user.title()).Because(errHang)
}

// worker returns a worker that is free, or a new one.
func (w *workers) worker() chan<- job {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.idle); n > 0 {
		c := w.idle[n-1]
		w.idle = w.idle[:n-1]
		return c
	}
	c := make(chan job, 1)
	go w.work(c)
	return c
}

// work does one job after the other. It keeps its thread for itself, since that has other
// rights; it ends with the first that it cannot get them for.
func (w *workers) work(jobs chan job) {
	runtime.LockOSThread()
	t := &thread{self: w.self}
	for j := range jobs {
		err := t.become(j.r.user.UID, j.r.user.GID)
		p := result{reply: reply{file: -1}}
		if err == nil {
			p.reply = perform(j.r)
		} else {
			p.err = reason.RunasUnavailable.Because(err)
		}
		w.gate.leave(j.r.user)
		keep := err == nil && w.park(jobs)
		j.done <- p
		if !keep {
			return
		}
	}
}

// park offers a worker to the next job.
func (w *workers) park(jobs chan job) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.idle) >= maxIdle {
		return false
	}
	w.idle = append(w.idle, jobs)
	return true
}

// close ends the idle workers.
func (w *workers) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.idle {
		close(c)
	}
	w.idle = nil
}
