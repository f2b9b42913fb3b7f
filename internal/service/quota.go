package service

import (
	"context"
	"errors"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/deliver/local"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/fs"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/rpc"
)

// methodUsage is answered by role local, which owns the mail: what mailboxes hold.
const methodUsage = "local.usage"

type usageRequest struct {
	Accounts []directory.Account
	Recount  bool
}

// usageBatch is how many mailboxes one question is about: to count one may take a while.
const usageBatch = 20

// usageHandlers serves it.
func usageHandlers(t *local.Target) map[string]rpc.Handler {
	return map[string]rpc.Handler{
		methodUsage: rpc.Handle(func(ctx context.Context, r usageRequest) ([]local.Usage, error) { return usages(ctx, t, r) }),
	}
}

func usages(ctx context.Context, t *local.Target, r usageRequest) (list []local.Usage, err error) {
	for i := range r.Accounts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		list = append(list, t.Usage(&r.Accounts[i], r.Recount))
	}
	return list, nil
}

// Usage tells what accounts' mailboxes hold, in their order; with recount it is counted anew, whatever
// maildirsize says.
func (s *Stores) Usage(ctx context.Context, accounts []directory.Account, recount bool) (list []local.Usage, err error) {
	ask := func(r usageRequest) ([]local.Usage, error) {
		if s.as != nil {
			return rpc.Do[usageRequest, []local.Usage](ctx, s.as.Client, methodUsage, r)
		}
		return askStores[usageRequest, []local.Usage](ctx, s, Local, methodUsage, r)
	}
	if !s.Running {
		t, err := s.mailboxes()
		if err != nil || t == nil {
			return make([]local.Usage, len(accounts)), err
		}
		ask = func(r usageRequest) ([]local.Usage, error) { return usages(ctx, t, r) }
	}
	for len(accounts) > 0 {
		n := min(len(accounts), usageBatch)
		part, err := ask(usageRequest{accounts[:n], recount})
		if err != nil {
			return nil, err
		}
		if len(part) != n {
			return nil, errors.New("role local answered about other mailboxes than it was asked")
		}
		list, accounts = append(list, part...), accounts[n:]
	}
	return list, nil
}

// mailboxes opens the mail folder where no server runs; nil where there is none.
func (s *Stores) mailboxes() (*local.Target, error) {
	root, err := osfs.New(s.Data)
	if err != nil {
		return nil, err
	}
	mail, err := root.Sub("mail")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var o local.Options
	if f, err := config.Read(ConfigPath(s.Data), nil); err == nil {
		o = f.Local
	}
	return local.New(o, local.Deps{FS: mail, Barrier: &fs.Barrier{FS: mail}, Directory: s.Directory, Clock: clock.System{}}), nil
}
