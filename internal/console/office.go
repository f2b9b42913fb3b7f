package console

import (
	"context"
	"fmt"

	"github.com/postilion/postilion/internal/access/session"
	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/authority"
	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/control/mailboxes"
	"github.com/postilion/postilion/internal/control/queueadmin"
	"github.com/postilion/postilion/internal/deliver/local"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/dispatch"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/rpc"
	"github.com/postilion/postilion/internal/seam"
)

// This file is the verbs of those who are not the server's owner. They log in at the gate (control.Gate); each of their calls passes
// package authority and goes on to the role that keeps what it concerns.

// Office is how role console reaches what it manages.
type Office struct {
	Logins    auth.Service
	IDs       id.Source
	Directory directory.Admin
	Passwords auth.Admin
	Mailboxes mailboxes.Client
	Queue     *queueadmin.Client
	Journal   authority.Journal
}

// Login finds out who a peer is. Its failures are counted as those of a client of its own, and with those of
// all protocols.
func (o *Office) Login(ctx context.Context, uid uint32, l control.Login) (control.LoggedIn, map[string]rpc.Handler, error) {
	attempt := auth.Attempt{Session: o.IDs.New(), Client: auth.LocalClient(uid), Protocol: auth.Administration}
	who, err := o.Logins.Password(ctx, attempt, string(l.User), string(l.Password))
	if err != nil {
		return control.LoggedIn{}, nil, err
	}
	if who.User != "" {
		return control.LoggedIn{}, nil, reason.AdminSystemUser.With(who.User)
	}
	a := &actor{office: o, Actor: authority.Actor{Account: who.Account, Address: who.Address, Device: who.Device}, journal: o.Journal}
	a.journal.Client = fmt.Sprintf("uid %d", uid)
	if _, err := a.scope(ctx); err != nil {
		if reason.As(err).Reason == reason.AdminGone.Reason {
			err = auth.Failed // as it says itself, once it has heard
		}
		return control.LoggedIn{}, nil, err
	}
	return control.LoggedIn{Address: who.Address}, a.handlers(), nil
}

// actor is one who logged in.
type actor struct {
	authority.Actor
	office  *Office
	journal authority.Journal // the office's, with where the actor is
}

func (a *actor) scope(ctx context.Context) (*authority.Scope, error) {
	return authority.Of(ctx, a.office.Directory, a.Actor)
}

// handlers are what the actor can call: the methods of the admin sockets, under the same names.
func (a *actor) handlers() map[string]rpc.Handler {
	d := authority.Directory{Inner: a.office.Directory, Actor: a.Actor, Journal: a.journal, Removing: a.office.Mailboxes.CanRemove,
		Removed: func(ctx context.Context, x directory.Account) error {
			_, err := a.office.Mailboxes.Removed(ctx, a.office.Passwords, x)
			return err
		}}
	s := authority.Auth{Inner: a.office.Passwords, Directory: a.office.Directory, Actor: a.Actor, Journal: a.journal}
	own := map[string]rpc.Handler{
		mailboxes.MethodFree:   rpc.Handle(a.free),
		queueadmin.MethodCount: rpc.Handle(a.count),
		queueadmin.MethodList:  rpc.Handle(a.list),
		queueadmin.MethodShow:  rpc.Handle(a.show),
		queueadmin.MethodAct:   rpc.Handle(a.act),
		mailboxes.MethodUsage:  rpc.Handle(a.usage),
	}
	for method, verb := range map[string]string{queueadmin.MethodEdit: "queue edit", queueadmin.MethodExport: "queue export", queueadmin.MethodImport: "queue import", queueadmin.MethodBody: "queue show --content",
		queueadmin.MethodStats: "queue stats", queueadmin.MethodFailing: "queue hosts", queueadmin.MethodPauseScope: "queue pause, queue continue"} {
		own[method] = func(context.Context, *rpc.Conn, []byte) ([]byte, error) {
			return nil, reason.AdminOwnerOnly.With(verb)
		}
	}
	return seam.Handlers(seam.AdminHandlers(d), seam.AuthAdminHandlers(s), own)
}

// free ends the sessions that hold an account's mailbox.
func (a *actor) free(ctx context.Context, account uint64) ([]session.Holder, error) {
	s, err := a.scope(ctx)
	if err != nil {
		return nil, err
	}
	target, err := s.Target(ctx, authority.FreeAccount, account)
	what := "the account"
	if target != nil {
		what = target.Address.String()
	}
	a.journal.Tell(s.Actor, authority.FreeAccount, what, err)
	if err != nil {
		return nil, err
	}
	return a.office.Mailboxes.Free(ctx, account)
}

// usage tells what mailboxes hold that the actor may see. Where they are, the directory says, not who asks.
func (a *actor) usage(ctx context.Context, r mailboxes.UsageRequest) ([]local.Usage, error) {
	if len(r.Accounts) > mailboxes.UsageBatch {
		return nil, reason.AdminNotYours.With("the accounts")
	}
	s, err := a.scope(ctx)
	if err != nil {
		return nil, err
	}
	for i := range r.Accounts {
		have, err := s.Target(ctx, authority.SeeAccount, r.Accounts[i].ID)
		if err != nil {
			return nil, err
		}
		r.Accounts[i] = *have
	}
	return a.office.Mailboxes.Usage(ctx, r)
}

// bound holds a filter to the domains that the actor administers.
func (a *actor) bound(ctx context.Context, f *dispatch.Filter) error {
	s, err := a.scope(ctx)
	if err != nil {
		return err
	}
	f.Within, f.By = s.Domains(), s.Name()
	if len(f.Within) == 0 {
		return reason.AdminNotYours.With("the queue")
	}
	if f.Account == "" {
		return nil
	}
	domain, err := directory.DomainKey(mail.ParseAddress(f.Account).Domain)
	if err != nil {
		return err
	}
	return s.May(authority.SeeQueue, f.Account, domain) // who else sent something is not told
}

func (a *actor) count(ctx context.Context, f dispatch.Filter) (queueadmin.CountReply, error) {
	if err := a.bound(ctx, &f); err != nil {
		return queueadmin.CountReply{}, err
	}
	messages, recipients, err := a.office.Queue.Count(ctx, f)
	return queueadmin.CountReply{Messages: messages, Recipients: recipients}, err
}

func (a *actor) list(ctx context.Context, r queueadmin.ListRequest) (queueadmin.ListReply, error) {
	if err := a.bound(ctx, &r.Filter); err != nil {
		return queueadmin.ListReply{}, err
	}
	return a.office.Queue.List(ctx, r)
}

func (a *actor) show(ctx context.Context, message id.ID) (dispatch.Info, error) {
	r, err := a.list(ctx, queueadmin.ListRequest{Filter: dispatch.Filter{IDs: []id.ID{message}}, Limit: 1})
	switch {
	case err != nil:
		return dispatch.Info{}, err
	case len(r.List) == 0:
		return dispatch.Info{}, queue.ErrNotFound
	}
	return r.List[0], nil
}

// act changes messages; the queue tells of each of them.
func (a *actor) act(ctx context.Context, r queueadmin.ActRequest) (dispatch.Acted, error) {
	err := a.bound(ctx, &r.Filter)
	if err == nil {
		err = queueadmin.MayAct(r.Action.Verb)
	}
	if err != nil {
		a.journal.Tell(a.Actor, authority.ChangeQueue+authority.Right(" "+r.Action.Verb), "", err)
		return dispatch.Acted{}, err
	}
	return a.office.Queue.ActOn(ctx, r)
}
