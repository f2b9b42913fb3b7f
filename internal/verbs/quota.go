package verbs

import (
	"context"
	"errors"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/control/mailboxes"
	"github.com/postilion/postilion/internal/datafolder"
	"github.com/postilion/postilion/internal/deliver/local"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/fs"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/rpc"
)

// Usage tells what accounts' mailboxes hold, in their order; with recount it is counted anew, whatever
// maildirsize says.
func (s *Stores) Usage(ctx context.Context, accounts []directory.Account, recount bool) (list []local.Usage, err error) {
	ask := func(r mailboxes.UsageRequest) ([]local.Usage, error) {
		if s.as != nil {
			return rpc.Do[mailboxes.UsageRequest, []local.Usage](ctx, s.as.Client, mailboxes.MethodUsage, r)
		}
		return s.roles().Usage(ctx, r)
	}
	if !s.Running {
		t, err := s.mailboxes()
		if err != nil || t == nil {
			return make([]local.Usage, len(accounts)), err
		}
		ask = func(r mailboxes.UsageRequest) ([]local.Usage, error) { return mailboxes.Usages(ctx, t, r) }
	}
	for len(accounts) > 0 {
		n := min(len(accounts), mailboxes.UsageBatch)
		part, err := ask(mailboxes.UsageRequest{Accounts: accounts[:n], Recount: recount})
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
	if f, err := config.Read(datafolder.ConfigPath(s.Data), nil); err == nil {
		o = f.Local
	}
	return local.New(o, local.Deps{FS: mail, Barrier: &fs.Barrier{FS: mail}, Directory: s.Directory, Clock: clock.System{}}), nil
}
