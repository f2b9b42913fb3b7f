package queueadmin

import (
	"context"

	"github.com/postilion/postilion/internal/dispatch"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/rpc"
)

// View is the queue as programs of this host may see it, through role smtpd.
type View interface {
	// List returns up to limit messages after the message cursor, "" for the first, and the cursor of what follows.
	List(ctx context.Context, limit int, cursor string) ([]dispatch.Info, string, error)
	// Flush has everything that waits tried now, and returns how many messages that is.
	Flush(ctx context.Context) (int, error)
	// Retry has these messages tried now for somebody, and returns how many waited.
	Retry(ctx context.Context, messages []id.ID, by string) (int, error)
	// Fetch has all that waits for a domain tried now, and returns how many messages that is.
	Fetch(ctx context.Context, domain string) (int, error)
}

// ViewHere is the view of a dispatcher of this process.
func ViewHere(d *dispatch.Dispatcher) View { return localView{d} }

// ViewOver is the view over the seam's socket of role queue.
func ViewOver(cl *rpc.Client) View { return remoteView{cl} }

type localView struct{ d *dispatch.Dispatcher }

// List implements View.
func (q localView) List(ctx context.Context, limit int, cursor string) ([]dispatch.Info, string, error) {
	awaitLoaded(ctx, q.d)
	return q.d.List(ctx, dispatch.Filter{}, limit, cursor)
}

// Flush implements View.
func (q localView) Flush(ctx context.Context) (int, error) {
	awaitLoaded(ctx, q.d)
	return q.d.Flush(), nil
}

// Retry implements View.
func (q localView) Retry(ctx context.Context, messages []id.ID, by string) (int, error) {
	if len(messages) == 0 { // no ids in a filter are all
		return 0, nil
	}
	awaitLoaded(ctx, q.d)
	return q.d.Act(ctx, dispatch.Filter{IDs: messages, By: by}, dispatch.Action{Verb: dispatch.Retry})
}

// Fetch implements View.
func (q localView) Fetch(ctx context.Context, domain string) (int, error) {
	return q.d.Act(ctx, dispatch.Filter{Domain: domain}, dispatch.Action{Verb: dispatch.Retry})
}

type remoteView struct{ cl *rpc.Client }

// List implements View.
func (q remoteView) List(ctx context.Context, limit int, cursor string) ([]dispatch.Info, string, error) {
	r, err := rpc.Do[ListRequest, ListReply](ctx, q.cl, MethodList, ListRequest{Limit: limit, Cursor: cursor})
	return r.List, r.Next, err
}

// Flush implements View.
func (q remoteView) Flush(ctx context.Context) (int, error) {
	return rpc.Do[none, int](ctx, q.cl, methodFlush, none{})
}

// Retry implements View.
func (q remoteView) Retry(ctx context.Context, messages []id.ID, by string) (int, error) {
	return rpc.Do[retryRequest, int](ctx, q.cl, methodRetry, retryRequest{messages, by})
}

// Fetch implements View.
func (q remoteView) Fetch(ctx context.Context, domain string) (int, error) {
	return rpc.Do[string, int](ctx, q.cl, methodETRN, domain)
}

// retryRequest asks for messages to be tried now.
type retryRequest struct {
	Messages []id.ID
	By       string
}

// ViewHandlers serves it on the seam's socket.
func ViewHandlers(d *dispatch.Dispatcher) map[string]rpc.Handler {
	q := localView{d}
	return map[string]rpc.Handler{
		MethodList: rpc.Handle(func(ctx context.Context, r ListRequest) (reply ListReply, err error) {
			reply.List, reply.Next, err = q.List(ctx, min(max(r.Limit, 1), maxListed), r.Cursor)
			return fitFrame(reply), err
		}),
		methodFlush: rpc.Handle(func(ctx context.Context, _ none) (int, error) { return q.Flush(ctx) }),
		methodETRN:  rpc.Handle(q.Fetch),
		methodRetry: rpc.Handle(func(ctx context.Context, r retryRequest) (int, error) { return q.Retry(ctx, r.Messages, r.By) }),
	}
}
