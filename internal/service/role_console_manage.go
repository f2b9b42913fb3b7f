package service

import (
	"context"
	"fmt"

	"github.com/postilion/postilion/internal/access/session"
	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/authority"
	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/control"
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

// This file is the verbs of those who are not the server's owner. They log in at the gate, which role console
// serves; each of their calls passes package authority and goes on to the role that keeps what it concerns.

// manageSockets are what the gate listens on: one in the run folder, and one where the operator wants it.
func manageSockets(c *config.Config) []socket {
	list := []socket{{Name: control.Manage, Role: Console, Open: true}}
	if c.Admin.Socket != "" {
		list = append(list, socket{Name: control.Manage, Role: Console, Open: true, Path: c.Admin.Socket})
	}
	return list
}

// office is how role console reaches what it manages.
type office struct {
	logins  auth.Service
	ids     id.Source
	stores  *Stores
	queue   *rpc.Client
	journal authority.Journal
}

// startManage serves the gate.
func (p *process) startManage(part *part) error {
	data := p.cfg.Data
	client := func(r Role) *seam.Client { return watchedSeam(data, officeSocket(r), r) }
	o := &office{
		logins: p.authService(), ids: p.ids, journal: p.journal(part), queue: client(Queue).Client,
		stores: &Stores{Data: data, Running: true, Directory: seam.Directory{Client: client(Directory)}, Auth: seam.AuthAdmin{Client: client(Auth)}, socket: officeSocket},
	}
	gate, err := control.NewGate(p.cfg.Admin, p.logger(), o.login)
	if err != nil {
		return err
	}
	for _, l := range p.sockets.named(control.Manage) {
		part.run = append(part.run, func(ctx context.Context) error { return gate.Serve(ctx, l) })
	}
	return nil
}

// login finds out who a peer is. Its failures are counted as those of a client of its own, and with those of
// all protocols.
func (o *office) login(ctx context.Context, uid uint32, l control.Login) (control.LoggedIn, map[string]rpc.Handler, error) {
	attempt := auth.Attempt{Session: o.ids.New(), Client: auth.LocalClient(uid), Protocol: auth.Administration}
	who, err := o.logins.Password(ctx, attempt, string(l.User), string(l.Password))
	if err != nil {
		return control.LoggedIn{}, nil, err
	}
	if who.User != "" {
		return control.LoggedIn{}, nil, reason.AdminSystemUser.With(who.User)
	}
	a := &actor{office: o, Actor: authority.Actor{Account: who.Account, Address: who.Address, Device: who.Device}, journal: o.journal}
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
	*office
	authority.Actor
	journal authority.Journal
}

func (a *actor) scope(ctx context.Context) (*authority.Scope, error) {
	return authority.Of(ctx, a.stores.Directory, a.Actor)
}

// handlers are what the actor can call: the methods of the admin sockets, under the same names.
func (a *actor) handlers() map[string]rpc.Handler {
	d := authority.Directory{Inner: a.stores.Directory, Actor: a.Actor, Journal: a.journal, Removing: a.stores.CanRemove,
		Removed: func(ctx context.Context, x directory.Account) error {
			_, err := a.stores.Removed(ctx, x)
			return err
		}}
	s := authority.Auth{Inner: a.stores.Auth, Directory: a.stores.Directory, Actor: a.Actor, Journal: a.journal}
	own := map[string]rpc.Handler{
		MethodFree:  rpc.Handle(a.free),
		methodCount: rpc.Handle(a.count),
		methodList:  rpc.Handle(a.list),
		methodShow:  rpc.Handle(a.show),
		methodAct:   rpc.Handle(a.act),
		methodUsage: rpc.Handle(a.usage),
	}
	for method, verb := range map[string]string{methodEdit: "queue edit", methodExport: "queue export", methodImport: "queue import", methodBody: "queue show --content",
		methodStats: "queue stats", methodFailing: "queue hosts", methodPauseScope: "queue pause, queue continue"} {
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
	return askStores[uint64, []session.Holder](ctx, a.stores, Access, MethodFree, account)
}

// usage tells what mailboxes hold that the actor may see. Where they are, the directory says, not who asks.
func (a *actor) usage(ctx context.Context, r usageRequest) ([]local.Usage, error) {
	if len(r.Accounts) > usageBatch {
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
	return askStores[usageRequest, []local.Usage](ctx, a.stores, Local, methodUsage, r)
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

func (a *actor) count(ctx context.Context, f dispatch.Filter) (countReply, error) {
	if err := a.bound(ctx, &f); err != nil {
		return countReply{}, err
	}
	return rpc.Do[dispatch.Filter, countReply](ctx, a.queue, methodCount, f)
}

func (a *actor) list(ctx context.Context, r listRequest) (listReply, error) {
	if err := a.bound(ctx, &r.Filter); err != nil {
		return listReply{}, err
	}
	return rpc.Do[listRequest, listReply](ctx, a.queue, methodList, r)
}

func (a *actor) show(ctx context.Context, message id.ID) (dispatch.Info, error) {
	r, err := a.list(ctx, listRequest{Filter: dispatch.Filter{IDs: []id.ID{message}}, Limit: 1})
	switch {
	case err != nil:
		return dispatch.Info{}, err
	case len(r.List) == 0:
		return dispatch.Info{}, queue.ErrNotFound
	}
	return r.List[0], nil
}

// act changes messages; the queue tells of each of them.
func (a *actor) act(ctx context.Context, r actRequest) (dispatch.Acted, error) {
	err := a.bound(ctx, &r.Filter)
	if err == nil {
		err = mayAct(r.Action.Verb)
	}
	if err != nil {
		a.journal.Tell(a.Actor, authority.ChangeQueue+authority.Right(" "+r.Action.Verb), "", err)
		return dispatch.Acted{}, err
	}
	return rpc.Do[actRequest, dispatch.Acted](ctx, a.queue, methodAct, r)
}
