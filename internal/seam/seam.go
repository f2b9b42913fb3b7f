// Package seam carries each seam over internal/rpc, so that whether two roles share
// a process is configuration and neither of them notices.
//
// For each seam there is a client that implements its interface, and a function that
// returns the handlers of the other side. Errors survive the way: *reason.Error with all
// its fields, sentinels for errors.Is.
package seam

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"time"

	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/rpc"
)

// Client calls one role.
type Client struct {
	*rpc.Client
	// Patience is how long calls that may be repeated wait for a role that is being
	// restarted; 0 means 10 s.
	Patience time.Duration
	// Answer is how long such a call waits for its answer in all; 0 means Patience and 20 s.
	Answer time.Duration
	// Silent is how long it waits where the role is known not to answer: it has ended, or the last call waited in vain.
	// That is the time for a restart. 0 makes no difference.
	Silent time.Duration

	heard heard
}

// maxIdle bounds the connections to one role that wait for the next call. They hold 32 KiB each.
const maxIdle = 256

// NewClient returns a client that dials with dial.
func NewClient(dial func(ctx context.Context) (net.Conn, error)) *Client {
	return &Client{Client: &rpc.Client{Dial: dial, MaxIdle: maxIdle}}
}

// Handlers joins the handlers of several seams that one socket serves.
func Handlers(sets ...map[string]rpc.Handler) map[string]rpc.Handler {
	all := map[string]rpc.Handler{}
	for _, s := range sets {
		maps.Copy(all, s)
	}
	return all
}

// broken reports whether err means that the other side went away rather than answered.
func broken(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	if _, ok := errors.AsType[*rpc.Error](err); ok {
		return false
	}
	if _, ok := errors.AsType[*reason.Error](err); ok {
		return false
	}
	_, isNet := errors.AsType[net.Error](err)
	return isNet || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed)
}

// call makes a call that may be repeated: when the role is restarted meanwhile it is
// made again, for up to Patience.
func call[Req, Resp any](ctx context.Context, cl *Client, method string, req Req) (Resp, error) {
	began, silent := time.Now(), time.Time{}
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, 500*time.Millisecond) {
		var resp Resp
		ask := func(ctx context.Context) (err error) {
			resp, err = rpc.Do[Req, Resp](ctx, cl.Client, method, req)
			return err
		}
		if silent.IsZero() && cl.heard.silent.Load() {
			silent = time.Now()
		}
		end := cl.bound(began, silent)
		var err error
		if cl.Watch == nil {
			// The deadline also bounds waiting for a role that does not come up: the supervisor
			// holds its socket open, and calls would wait there.
			err = cl.try(ctx, end, ask)
		} else { // who watches a call ends it
			err = ask(ctx)
		}
		if !broken(err) || time.Since(began) > cl.patience() || time.Now().After(end) {
			return resp, restoreInvalid(err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return resp, err
		}
	}
}

// once makes a call that must not be repeated, since it may have been done.
func once[Req, Resp any](ctx context.Context, cl *Client, method string, req Req) (Resp, error) {
	resp, err := rpc.Do[Req, Resp](ctx, cl.Client, method, req)
	return resp, restoreInvalid(err)
}

// none is the request or reply of calls without one.
type none struct{}
