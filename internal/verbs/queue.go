package verbs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/postilion/postilion/internal/bounce"
	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/control/queueadmin"
	"github.com/postilion/postilion/internal/control/rolecall"
	"github.com/postilion/postilion/internal/datafolder"
	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/dispatch"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/pebblex"
	"github.com/postilion/postilion/internal/queue/pebblestore"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/rpc"
)

// Queue is the queue as the program's verbs see it: through the running server,
// or opened under the folder's lock when none runs. Then nothing is delivered.
type Queue struct {
	*queueadmin.Client
	close   []func() error
	offline bool // no server runs
}

// OpenQueue connects to the queue of a data folder, or opens it.
func OpenQueue(ctx context.Context, data string) (*Queue, error) {
	running, err := datafolder.Running(ctx, data)
	if err != nil {
		return nil, err
	}
	if running {
		q := &Queue{Client: queueadmin.NewClient(rolecall.Client(data, role.Queue.AdminSocket(), role.Queue))}
		if err := rolecall.Answers(ctx, role.Queue, func(ctx context.Context) error { return rolecall.Alive(ctx, data, role.Queue.AdminSocket()) }); err != nil {
			q.Close()
			return nil, err
		}
		return q, nil
	}
	if err := datafolder.Check(data); err != nil {
		return nil, err
	}
	return openQueue(ctx, data)
}

// openQueue opens the store with a dispatcher that starts nothing, and talks to both as
// to a running server's: over a pair of sockets.
func openQueue(ctx context.Context, data string) (q *Queue, err error) {
	q = &Queue{offline: true}
	defer func() {
		if err != nil {
			q.Close()
		}
	}()
	lock, err := datafolder.TakeAsOwner(data)
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
	store, err := pebblestore.Open(ctx, pebblestore.Options{FS: dir, VFS: pebblex.System(), Path: filepath.Join(data, "queue"), Log: slog.New(slog.DiscardHandler)})
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
	return q, q.serve(ctx, queueadmin.Handlers(store, d), d)
}

// serve answers the verbs' calls within this process, once everything is loaded.
func (q *Queue) serve(ctx context.Context, handlers map[string]rpc.Handler, d *dispatch.Dispatcher) error {
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
	q.Client = queueadmin.NewClient(rpc.NewClient(filepath.Join(dir, "queue")))
	q.close = append(q.close, func() error { q.Client.Close(); cancel(); return <-done })
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
func (q *Queue) Close() error {
	var errs []error
	for i := len(q.close) - 1; i >= 0; i-- {
		errs = append(errs, q.close[i]())
	}
	if q.close == nil && q.Client != nil {
		q.Client.Close()
	}
	return errors.Join(errs...)
}

// Act does a verb to what f matches and returns how much it did. step is told of the messages that were looked at, as it goes on.
func (q *Queue) Act(ctx context.Context, f dispatch.Filter, a dispatch.Action, step func(n int)) (dispatch.Acted, error) {
	if q.offline && a.Verb == dispatch.Retry {
		return dispatch.Acted{}, fmt.Errorf("%w, which alone could try messages", control.ErrNotRunning)
	}
	return q.Client.Act(ctx, f, a, step)
}
