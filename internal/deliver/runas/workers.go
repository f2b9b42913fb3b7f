package runas

import (
	"time"

	"github.com/postilion/postilion/internal/reason"
)

// workers does operations in this process, with the user's rights on a thread of it.
type workers struct {
	gate   *gate
	hang   time.Duration
	rights rights
}

type result struct {
	reply
	err error
}

// do implements doer. What hangs is left behind, with its thread.
func (w *workers) do(r *request) (reply, error) {
	if err := w.gate.within(w.hang, r.user); err != nil {
		return reply{file: -1}, err
	}
	done := make(chan result, 1) // who was given up does not wait
	go w.work(r, done)
	timer := time.NewTimer(w.hang)
	defer timer.Stop()
	select {
	case p := <-done:
		return p.reply, p.err
	case <-timer.C:
	}
	go func() { discard(<-done) }()
	return reply{file: -1}, reason.RunasBusy.With(r.user.title()).Because(errHang)
}

// work does one operation.
func (w *workers) work(r *request, done chan<- result) {
	p := result{reply: reply{file: -1}}
	called, err := w.rights.lend(r.user.UID, r.user.GID, func() { p.reply = perform(r) })
	if !called {
		p.err = reason.RunasUnavailable.Because(err)
	}
	w.gate.leave(r.user)
	done <- p
}
