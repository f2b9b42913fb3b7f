package service

import (
	"context"
	"errors"

	"github.com/postilion/postilion/internal/authority"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/dispatch"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/rpc"
	"github.com/postilion/postilion/internal/seam"
)

// Role console does for administrators of domains what package authority allows them. For that the roles that
// keep things have an office socket each, which it alone may use, with no more methods than that takes: it cannot
// change domains, appoint anybody, read or change mail, or copy a store.

// officeMethods are what role console may call.
var officeMethods = map[Role][]string{
	Directory: {"directory.find", "directory.account", "directory.accounts", "directory.put-account", "directory.change-account", "directory.remove-account",
		"directory.aliases", "directory.put-alias", "directory.remove-alias", "directory.administrators", "directory.administered", "directory.set-catch-all"},
	Auth:   {"auth.set-password", "auth.credentials", "auth.add-app", "auth.remove-app", "auth.remove"},
	Queue:  {methodCount, methodList, methodAct},
	Local:  {methodAside, methodUsage},
	Access: {MethodFree},
}

func officeSocket(r Role) string { return string(r) + "-office" }

// officeSockets are the Unix sockets for it.
func officeSockets() (list []socket) {
	for _, r := range allRoles {
		if officeMethods[r] != nil {
			list = append(list, socket{Name: officeSocket(r), Role: r, Admin: true, For: Console})
		}
	}
	return list
}

// officeHandlers picks a role's methods for its office socket.
func officeHandlers(part *part) map[string]rpc.Handler {
	from := part.office
	if from == nil {
		from = part.admin
	}
	picked := map[string]rpc.Handler{methodAlive: part.admin[methodAlive]}
	for _, method := range officeMethods[part.role] {
		if h := from[method]; h != nil {
			picked[method] = h
		}
	}
	return picked
}

// journal tells of what is changed through a role.
func (p *process) journal(part *part) authority.Journal {
	return authority.Journal{Recorder: part.recorder, Clock: p.clock}
}

// anyDirectory is the directory as those see it who ask for single accounts.
func (p *process) anyDirectory() directory.Admin {
	if p.here.directory != nil {
		return p.here.directory
	}
	return seam.Directory{Client: p.client(Directory)}
}

// officeQueue serves the queue to role console, which must name the domains that it asks for.
func officeQueue(d *dispatch.Dispatcher) map[string]rpc.Handler {
	bounded := func(f dispatch.Filter) error {
		if len(f.Within) == 0 {
			return reason.AdminNotYours.With("the queue")
		}
		return nil
	}
	return map[string]rpc.Handler{
		methodCount: rpc.Handle(func(ctx context.Context, f dispatch.Filter) (r countReply, err error) {
			if err := bounded(f); err != nil {
				return r, err
			}
			awaitLoaded(ctx, d)
			r.Messages, r.Recipients, err = d.Count(ctx, f)
			return r, err
		}),
		methodList: rpc.Handle(func(ctx context.Context, r listRequest) (reply listReply, err error) {
			if err := bounded(r.Filter); err != nil {
				return reply, err
			}
			awaitLoaded(ctx, d)
			reply.List, reply.Next, err = d.List(ctx, r.Filter, min(max(r.Limit, 1), maxListed), r.Cursor)
			return fitFrame(reply), err
		}),
		methodAct: rpc.Handle(func(ctx context.Context, r actRequest) (done dispatch.Acted, err error) {
			if err := errors.Join(bounded(r.Filter), mayAct(r.Action.Verb)); err != nil {
				return done, err
			}
			awaitLoaded(ctx, d)
			return d.ActOn(ctx, r.Filter, r.Action, r.Limit, r.Cursor)
		}),
	}
}

// mayAct tells what an administrator may do to messages. What the owner holds stays held, and which goes
// first is the owner's to say.
func mayAct(v dispatch.Verb) error {
	switch v {
	case dispatch.Retry, dispatch.Bounce, dispatch.Delete:
		return nil
	}
	return reason.AdminOwnerOnly.With("queue " + string(v))
}

// askStores calls a running server's role in the way that s has.
func askStores[Req, Resp any](ctx context.Context, s *Stores, r Role, method string, req Req) (Resp, error) {
	if s.socket == nil {
		return askRole[Req, Resp](ctx, s.Data, r, method, req)
	}
	cl := watchedClient(s.Data, s.socket(r), r)
	defer cl.Close()
	return rpc.Do[Req, Resp](ctx, cl, method, req)
}
