package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/postilion/postilion/internal/bounce"
	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/dispatch"
	"github.com/postilion/postilion/internal/fs"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/queue/pebblestore"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/rpc"
)

// QueueAdmin is the queue as the program's verbs see it: through the running server,
// or opened under the folder's lock when none runs. Then nothing is delivered.
type QueueAdmin struct {
	client  *rpc.Client
	close   []func() error
	offline bool // no server runs
}

// OpenQueue connects to the queue of a data folder, or opens it.
func OpenQueue(ctx context.Context, data string) (*QueueAdmin, error) {
	running, err := Running(ctx, data)
	if err != nil {
		return nil, err
	}
	if running {
		q := &QueueAdmin{client: watchedClient(data, adminSocket(Queue), Queue)}
		if err := answers(ctx, Queue, func(ctx context.Context) error { return alive(ctx, data, adminSocket(Queue)) }); err != nil {
			q.Close()
			return nil, err
		}
		return q, nil
	}
	if err := checkFolder(data); err != nil {
		return nil, err
	}
	return openQueue(ctx, data)
}

// openQueue opens the store with a dispatcher that starts nothing, and talks to both as
// to a running server's: over a pair of sockets.
func openQueue(ctx context.Context, data string) (q *QueueAdmin, err error) {
	q = &QueueAdmin{offline: true}
	defer func() {
		if err != nil {
			q.Close()
		}
	}()
	if err := becomeOwner(data); err != nil {
		return q, err
	}
	lock, err := takeFolder(data)
	if errors.Is(err, fs.ErrLocked) {
		return q, fmt.Errorf("%w; it does not answer on its control socket: if it hangs, end that process", err)
	}
	if err != nil {
		return q, err
	}
	q.close = append(q.close, lock.Close)
	root, err := osfs.New(data)
	if err != nil {
		return q, err
	}
	if err := root.MkdirAll("queue", 0o700); err != nil {
		return q, err
	}
	dir, err := root.Sub("queue")
	if err != nil {
		return q, err
	}
	store, err := openStore(ctx, &config.Config{Data: data}, pebblestore.Options{Log: slog.New(slog.DiscardHandler)}, dir)
	if err != nil {
		return q, err
	}
	q.close = append(q.close, store.Close)
	d, err := dispatch.New(dispatch.Options{}, dispatch.Deps{
		Store: store, Router: idle{}, Mailbox: idle{}, Remote: idle{}, Bouncer: &bounce.Builder{Name: "localhost"},
		Folder: dir, QueueOnly: func() bool { return true },
	})
	if err != nil {
		return q, err
	}
	run, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- d.Run(run) }()
	q.close = append(q.close, func() error { cancel(); return <-done })
	return q, q.serve(ctx, queueHandlers(store, d, idle{}), d)
}

// serve answers the verbs' calls within this process, once everything is loaded.
func (q *QueueAdmin) serve(ctx context.Context, handlers map[string]rpc.Handler, d *dispatch.Dispatcher) error {
	for !d.Loaded() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	dir, err := os.MkdirTemp("", "postilion-")
	if err != nil {
		return err
	}
	q.close = append(q.close, func() error { return os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "queue"))
	if err != nil {
		return err
	}
	serving, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- (&rpc.Server{Handlers: handlers, Allow: control.Owners(dir)}).Serve(serving, l) }()
	q.client = rpc.NewClient(filepath.Join(dir, "queue"))
	q.close = append(q.close, func() error { q.client.Close(); cancel(); return <-done })
	return nil
}

// idle stands for the parts that deliver, where nothing is delivered.
type idle struct{}

// Route implements route.Router.
func (idle) Route(context.Context, mail.Address) (route.Route, error) {
	return route.Route{}, reason.QueueUnavailable
}

// Deliver implements deliver.Target.
func (idle) Deliver(_ context.Context, job *deliver.Job) []deliver.Verdict {
	verdicts := make([]deliver.Verdict, len(job.Recipients))
	for i := range verdicts {
		verdicts[i].Err = reason.QueueUnavailable
	}
	return verdicts
}

// Close gives the queue back.
func (q *QueueAdmin) Close() error {
	var errs []error
	for i := len(q.close) - 1; i >= 0; i-- {
		errs = append(errs, q.close[i]())
	}
	if q.close == nil && q.client != nil {
		q.client.Close()
	}
	return errors.Join(errs...)
}

// Count tells how many messages, and how many of their recipients, f matches.
func (q *QueueAdmin) Count(ctx context.Context, f dispatch.Filter) (messages, recipients int, err error) {
	r, err := rpc.Do[dispatch.Filter, countReply](ctx, q.client, methodCount, f)
	return r.Messages, r.Recipients, err
}

// Each visits the messages that f matches, oldest first, until visit returns false.
func (q *QueueAdmin) Each(ctx context.Context, f dispatch.Filter, visit func(dispatch.Info) bool) error {
	cursor := ""
	// The first pages are small: who wants ten messages should not wait for a thousand to be read.
	for page := 16; ; page = min(2*page, maxListed) {
		r, err := rpc.Do[listRequest, listReply](ctx, q.client, methodList, listRequest{f, page, cursor})
		if err != nil {
			return err
		}
		for _, m := range r.List {
			if !visit(m) {
				return nil
			}
		}
		if r.Next == "" {
			return nil
		}
		cursor = r.Next
	}
}

// Show returns one message. The error wraps queue.ErrNotFound.
func (q *QueueAdmin) Show(ctx context.Context, message id.ID) (dispatch.Info, error) {
	return rpc.Do[id.ID, dispatch.Info](ctx, q.client, methodShow, message)
}

// actPage is how many messages a verb looks at before it tells how far it is: some commits.
const actPage = 2000

// Act does a verb to what f matches and returns how much it did. step is told of the messages that were looked
// at, as it goes on.
func (q *QueueAdmin) Act(ctx context.Context, f dispatch.Filter, a dispatch.Action, step func(n int)) (sum dispatch.Acted, err error) {
	if q.offline && a.Verb == dispatch.Retry {
		return sum, fmt.Errorf("%w, which alone could try messages", control.ErrNotRunning)
	}
	r := actRequest{Filter: f, Action: a, Limit: actPage}
	for {
		done, err := rpc.Do[actRequest, dispatch.Acted](ctx, q.client, methodAct, r)
		sum.Changed, sum.Running, sum.Matched = sum.Changed+done.Changed, sum.Running+done.Running, sum.Matched+done.Matched
		if err != nil || done.Next == "" {
			return sum, err
		}
		step(done.Matched)
		r.Cursor = done.Next
	}
}

// Edit gives recipient n of a message another address. The error wraps queue.ErrNotFound, or
// dispatch.ErrBusy while its delivery is under way, dispatch.ErrNoChange for one that is finished, or dispatch.ErrNoNumber.
func (q *QueueAdmin) Edit(ctx context.Context, message id.ID, n int, to mail.Address) error {
	_, err := rpc.Do[editRequest, none](ctx, q.client, methodEdit, editRequest{message, n, to})
	return err
}

// Stats sums the queue up.
func (q *QueueAdmin) Stats(ctx context.Context) (dispatch.Stats, error) {
	return rpc.Do[none, dispatch.Stats](ctx, q.client, methodStats, none{})
}

// PauseScope pauses or continues a domain or a queue group.
func (q *QueueAdmin) PauseScope(ctx context.Context, s dispatch.Scope, pause bool) error {
	_, err := rpc.Do[scopeRequest, none](ctx, q.client, methodPauseScope, scopeRequest{s, pause})
	return err
}

// Body writes a message's content, with LF line ends, to w.
func (q *QueueAdmin) Body(ctx context.Context, message id.ID, w io.Writer) error {
	s, err := q.client.Open(ctx, methodBody, []byte(message.String()))
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.Flush(); err != nil {
		return err
	}
	if _, err := io.Copy(w, &streamReader{recv: s.Recv}); err != nil {
		return err
	}
	_, err = s.Reply()
	return err
}
