package seam

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/rpc"
)

// heard is what a client knows of its role: that it answered last, or that it does not. A role that ends
// breaks its connections, which tells so at once; new ones wait for its next process, on a socket that the
// supervisor holds open, and cannot tell it from one that hangs.
type heard struct{ silent atomic.Bool }

// note keeps what the end of a call says of the role. An error of the call's caller, who gave up, says nothing.
func (h *heard) note(err error) {
	_, told := errors.AsType[*rpc.Error](err)
	_, refused := errors.AsType[*reason.Error](err)
	if silent := err != nil && !told && !refused; silent != h.silent.Load() {
		h.silent.Store(silent)
	}
}

// try makes one try of a call, until deadline: the role's answer, or what keeps it from coming.
func (cl *Client) try(ctx context.Context, deadline time.Time, ask func(context.Context) error) error {
	within, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	err := ask(within)
	if ctx.Err() == nil {
		cl.heard.note(err)
	}
	if err != nil && within.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("the role does not answer: %w", within.Err())
	}
	return err
}

// bound is the end of a call that may be repeated. began is when it began, silent when it was first seen that the role
// does not answer; zero where it does.
func (cl *Client) bound(began, silent time.Time) time.Time {
	most := cmp.Or(cl.Answer, cl.patience()+20*time.Second)
	if silent.IsZero() || cl.Silent == 0 {
		return began.Add(most)
	}
	end := silent.Add(cl.Silent)
	if whole := began.Add(most); whole.Before(end) {
		return whole
	}
	return end
}

func (cl *Client) patience() time.Duration { return cmp.Or(cl.Patience, 10*time.Second) }
