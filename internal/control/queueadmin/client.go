package queueadmin

import (
	"context"
	"io"

	"github.com/postilion/postilion/internal/control/rolecall"
	"github.com/postilion/postilion/internal/dispatch"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/rpc"
)

// Client asks role queue, or whoever serves Handlers. It is safe for concurrent use.
type Client struct{ rpc *rpc.Client }

// NewClient returns a Client that calls by cl.
func NewClient(cl *rpc.Client) *Client { return &Client{cl} }

// Close ends the client's connections.
func (cl *Client) Close() { cl.rpc.Close() }

// Count tells how many messages, and how many of their recipients, f matches.
func (cl *Client) Count(ctx context.Context, f dispatch.Filter) (messages, recipients int, err error) {
	r, err := rpc.Do[dispatch.Filter, CountReply](ctx, cl.rpc, MethodCount, f)
	return r.Messages, r.Recipients, err
}

// List returns one page of messages.
func (cl *Client) List(ctx context.Context, r ListRequest) (ListReply, error) {
	return rpc.Do[ListRequest, ListReply](ctx, cl.rpc, MethodList, r)
}

// Each visits the messages that f matches, oldest first, until visit returns false.
func (cl *Client) Each(ctx context.Context, f dispatch.Filter, visit func(dispatch.Info) bool) error {
	cursor := ""
	// The first pages are small: who wants ten messages should not wait for a thousand to be read.
	for page := 16; ; page = min(2*page, maxListed) {
		r, err := cl.List(ctx, ListRequest{f, page, cursor})
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
func (cl *Client) Show(ctx context.Context, message id.ID) (dispatch.Info, error) {
	return rpc.Do[id.ID, dispatch.Info](ctx, cl.rpc, MethodShow, message)
}

// actPage is how many messages a verb looks at before it tells how far it is: some commits.
const actPage = 2000

// Act does a verb to what f matches and returns how much it did. step is told of the messages that were looked
// at, as it goes on.
func (cl *Client) Act(ctx context.Context, f dispatch.Filter, a dispatch.Action, step func(n int)) (sum dispatch.Acted, err error) {
	r := ActRequest{Filter: f, Action: a, Limit: actPage}
	for {
		done, err := cl.ActOn(ctx, r)
		sum.Changed, sum.Running, sum.Matched = sum.Changed+done.Changed, sum.Running+done.Running, sum.Matched+done.Matched
		if err != nil || done.Next == "" {
			return sum, err
		}
		step(done.Matched)
		r.Cursor = done.Next
	}
}

// ActOn is one step of Act: it looks at no more than r.Limit messages.
func (cl *Client) ActOn(ctx context.Context, r ActRequest) (dispatch.Acted, error) {
	return rpc.Do[ActRequest, dispatch.Acted](ctx, cl.rpc, MethodAct, r)
}

// Edit gives recipient n of a message another address. The error wraps queue.ErrNotFound, or
// dispatch.ErrBusy while its delivery is under way, dispatch.ErrNoChange for one that is finished, or dispatch.ErrNoNumber.
func (cl *Client) Edit(ctx context.Context, message id.ID, n int, to mail.Address) error {
	_, err := rpc.Do[editRequest, none](ctx, cl.rpc, MethodEdit, editRequest{message, n, to})
	return err
}

// Stats sums the queue up.
func (cl *Client) Stats(ctx context.Context) (dispatch.Stats, error) {
	return rpc.Do[none, dispatch.Stats](ctx, cl.rpc, MethodStats, none{})
}

// PauseScope pauses or continues a domain or a queue group.
func (cl *Client) PauseScope(ctx context.Context, s dispatch.Scope, pause bool) error {
	_, err := rpc.Do[scopeRequest, none](ctx, cl.rpc, MethodPauseScope, scopeRequest{s, pause})
	return err
}

// Body writes a message's content, with LF line ends, to w.
func (cl *Client) Body(ctx context.Context, message id.ID, w io.Writer) error {
	s, err := cl.rpc.Open(ctx, MethodBody, []byte(message.String()))
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

// Backup copies the queue's store, while it is in use, into the new folder dir.
func (cl *Client) Backup(ctx context.Context, dir string) error {
	_, err := rpc.Do[string, none](ctx, cl.rpc, methodBackup, dir)
	return err
}

// Flush has the running server of a data folder try now whatever waits, and returns how many messages that is.
func Flush(ctx context.Context, data string) (int, error) {
	return rolecall.Ask[none, int](ctx, data, role.Queue, methodFlush, none{})
}

// Pause pauses the queue of the running server, or has it go on.
func Pause(ctx context.Context, data string, paused bool) error {
	_, err := rolecall.Ask[bool, none](ctx, data, role.Queue, methodPause, paused)
	return err
}

// Failing tells of destinations whose last connections failed.
func Failing(ctx context.Context, data string) ([]dispatch.DestStats, error) {
	return rolecall.Ask[none, []dispatch.DestStats](ctx, data, role.Queue, MethodFailing, none{})
}
