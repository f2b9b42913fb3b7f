package queueadmin

import (
	"context"
	"errors"

	"github.com/postilion/postilion/internal/dispatch"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/rpc"
)

// OfficeHandlers serves the queue to role console, which must name the domains that it asks for.
func OfficeHandlers(d *dispatch.Dispatcher) map[string]rpc.Handler {
	bounded := func(f dispatch.Filter) error {
		if len(f.Within) == 0 {
			return reason.AdminNotYours.With("the queue")
		}
		return nil
	}
	return map[string]rpc.Handler{
		MethodCount: rpc.Handle(func(ctx context.Context, f dispatch.Filter) (r CountReply, err error) {
			if err := bounded(f); err != nil {
				return r, err
			}
			awaitLoaded(ctx, d)
			r.Messages, r.Recipients, err = d.Count(ctx, f)
			return r, err
		}),
		MethodList: rpc.Handle(func(ctx context.Context, r ListRequest) (reply ListReply, err error) {
			if err := bounded(r.Filter); err != nil {
				return reply, err
			}
			awaitLoaded(ctx, d)
			reply.List, reply.Next, err = d.List(ctx, r.Filter, min(max(r.Limit, 1), maxListed), r.Cursor)
			return fitFrame(reply), err
		}),
		MethodAct: rpc.Handle(func(ctx context.Context, r ActRequest) (done dispatch.Acted, err error) {
			if err := errors.Join(bounded(r.Filter), MayAct(r.Action.Verb)); err != nil {
				return done, err
			}
			awaitLoaded(ctx, d)
			return d.ActOn(ctx, r.Filter, r.Action, r.Limit, r.Cursor)
		}),
	}
}

// MayAct tells what an administrator may do to messages. What the owner holds stays held, and which goes
// first is the owner's to say.
func MayAct(v dispatch.Verb) error {
	switch v {
	case dispatch.Retry, dispatch.Bounce, dispatch.Delete:
		return nil
	}
	return reason.AdminOwnerOnly.With("queue " + string(v))
}
