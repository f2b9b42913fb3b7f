// Package queueadmin is the queue as operators see it, carried over role queue's sockets: what may be asked, who answers it there,
// and the client of it. The admin socket lets the server's owner do everything, the office socket role console what administrators
// of domains may have done, the seam's socket role smtpd what programs of this host and ETRN ask for.
package queueadmin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/dispatch"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/rpc"
	"github.com/postilion/postilion/internal/seam"
)

// The methods of role queue's sockets.
const (
	methodPause      = "queue.pause" // true pauses, false continues
	methodFlush      = "queue.flush"
	methodRetry      = "queue.retry"
	MethodCount      = "queue.count"
	MethodList       = "queue.list"
	MethodShow       = "queue.show"
	MethodAct        = "queue.act"
	MethodEdit       = "queue.edit"
	MethodStats      = "queue.stats"
	MethodBody       = "queue.body"
	methodBackup     = "queue.backup"
	MethodPauseScope = "queue.pause-scope"
	MethodExport     = "queue.export"
	MethodImport     = "queue.import"
	MethodFailing    = "queue.failing"
	methodETRN       = "queue.etrn" // on the seam's socket
)

// What bounds the answers.
const (
	bodyPiece         = 64 << 10 // bytes a frame
	maxListed         = 1000     // messages in one answer
	maxTopDestination = 20
	maxFailing        = 300
)

// CountReply answers MethodCount.
type CountReply struct {
	Messages   int `json:"messages"`
	Recipients int `json:"recipients"`
}

// ListRequest asks for a page of the messages that Filter matches, after Cursor.
type ListRequest struct {
	Filter dispatch.Filter
	Limit  int
	Cursor string
}

// ListReply is a page; Next is the next one's Cursor, "" at the end.
type ListReply struct {
	List []dispatch.Info
	Next string
}

// ActRequest does Action to what Filter matches, after Cursor.
type ActRequest struct {
	Filter dispatch.Filter
	Action dispatch.Action
	Limit  int    // messages that one call looks at; 0 is no limit
	Cursor string // of what is left
}

type editRequest struct {
	Message id.ID
	N       int
	To      mail.Address
}

type scopeRequest struct {
	Scope dispatch.Scope
	Pause bool
}

// Handlers serves what operators do to the queue.
func Handlers(store queue.Store, d *dispatch.Dispatcher) map[string]rpc.Handler {
	pause := func(s dispatch.Scope, on bool) error {
		if on {
			return d.Pause(s)
		}
		return d.Continue(s)
	}
	return seam.Handlers(seam.EnqueueHandlers(store), archiveHandlers(store, d), map[string]rpc.Handler{
		methodPause: rpc.Handle(func(_ context.Context, on bool) (none, error) { return none{}, pause(dispatch.Scope{}, on) }),
		MethodPauseScope: rpc.Handle(func(_ context.Context, r scopeRequest) (none, error) {
			return none{}, pause(r.Scope, r.Pause)
		}),
		methodFlush: rpc.Handle(func(ctx context.Context, _ none) (int, error) {
			awaitLoaded(ctx, d)
			return d.Flush(), nil
		}),
		MethodCount: rpc.Handle(func(ctx context.Context, f dispatch.Filter) (r CountReply, err error) {
			awaitLoaded(ctx, d)
			r.Messages, r.Recipients, err = d.Count(ctx, f)
			return r, err
		}),
		MethodList: rpc.Handle(func(ctx context.Context, r ListRequest) (reply ListReply, err error) {
			awaitLoaded(ctx, d)
			reply.List, reply.Next, err = d.List(ctx, r.Filter, min(max(r.Limit, 1), maxListed), r.Cursor)
			return fitFrame(reply), err
		}),
		MethodShow: rpc.Handle(func(ctx context.Context, message id.ID) (dispatch.Info, error) {
			m, err := d.Show(ctx, message)
			return fitInfo(m), err
		}),
		MethodAct: rpc.Handle(func(ctx context.Context, r ActRequest) (dispatch.Acted, error) {
			awaitLoaded(ctx, d)
			r.Filter.By = cmp.Or(r.Filter.By, "owner")
			return d.ActOn(ctx, r.Filter, r.Action, r.Limit, r.Cursor)
		}),
		MethodEdit: rpc.Handle(func(ctx context.Context, r editRequest) (none, error) {
			return none{}, d.Edit(ctx, r.Message, r.N, r.To)
		}),
		MethodFailing: rpc.Handle(func(context.Context, none) ([]dispatch.DestStats, error) { return d.Failing(maxFailing), nil }),
		MethodStats:   rpc.Handle(func(context.Context, none) (dispatch.Stats, error) { return d.Stats(maxTopDestination), nil }),
		methodBackup:  rpc.Handle(func(ctx context.Context, dir string) (none, error) { return none{}, store.Backup(ctx, dir) }),
		MethodBody: func(ctx context.Context, c *rpc.Conn, request []byte) ([]byte, error) {
			message, err := id.Parse(string(request))
			if err != nil {
				return nil, err
			}
			return nil, sendMessageBody(ctx, store, message, c)
		},
	})
}

// loadWait is how long a verb waits for a queue that was just started to be known
// whole; one of a million messages takes about 15 seconds.
const loadWait = 20 * time.Second

// awaitLoaded lets a verb that comes right after a start see the whole queue. When that
// takes too long, because the disk fails for instance, it works on what is known.
func awaitLoaded(ctx context.Context, d *dispatch.Dispatcher) {
	ctx, cancel := context.WithTimeout(ctx, loadWait)
	defer cancel()
	for !d.Loaded() {
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// fitFrame cuts a list that would not fit into one reply; Next goes on after it.
func fitFrame(r ListReply) ListReply {
	budget := replyRoom
	for i := range r.List {
		m := fitInfo(r.List[i])
		if budget -= jsonSize(m); budget < 0 && i > 0 {
			r.Next = r.List[i-1].ID.String()
			r.List = r.List[:i]
			break
		}
		r.List[i] = m
	}
	return r
}

const (
	replyRoom   = rpc.MaxFrame - 1<<10 // bytes of JSON
	maxTextTold = 2000                 // bytes of an address or an error
)

// fitInfo cuts what would not fit into one reply alone: recipients above some hundreds, and texts that
// nobody reads to their end.
func fitInfo(m dispatch.Info) dispatch.Info {
	cut := func(s *string) {
		if len(*s) > maxTextTold {
			*s = strings.ToValidUTF8((*s)[:maxTextTold], "") + "..."
		}
	}
	list := m.Recipients
	m.Recipients = []dispatch.Recipient{}
	cut(&m.From)
	budget := replyRoom - jsonSize(m)
	for i := range list {
		r := list[i]
		cut(&r.To)
		cut(&r.Error)
		cut(&r.Destination)
		if budget -= jsonSize(r); budget < 0 {
			m.More = len(list) - i
			break
		}
		m.Recipients = append(m.Recipients, r)
	}
	return m
}

func jsonSize(v any) int {
	p, err := json.Marshal(v)
	if err != nil {
		return 0 // what is sent fails then, and says so
	}
	return len(p) + 1 // a comma
}

func sendMessageBody(ctx context.Context, store queue.Store, message id.ID, c *rpc.Conn) error {
	body, err := store.Body(ctx, message)
	if err != nil {
		return err
	}
	defer body.Close()
	buf := make([]byte, bodyPiece)
	for {
		n, err := io.ReadFull(body, buf)
		if n > 0 {
			if err := c.Send(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return c.CloseSend()
		case err != nil:
			return err
		}
	}
}

// none is the request or reply of calls without one.
type none struct{}
