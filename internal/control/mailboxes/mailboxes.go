// Package mailboxes is what roles that hold accounts' mail and sessions do for those who manage accounts: the program's verbs, and
// role console. It has both ends: what role local answers, and the client.
//
// With an account its passwords, sessions and mail have to go; what stayed would be the next account's of that name.
package mailboxes

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/postilion/postilion/internal/access/session"
	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/control/rolecall"
	"github.com/postilion/postilion/internal/deliver/local"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/rpc"
	"github.com/postilion/postilion/internal/seam"
)

// The methods, on admin and office sockets.
const (
	MethodFree  = "access.free" // of role access: frees the mailbox of an account's id, and answers which sessions held it
	MethodAside = "local.aside" // of role local, as MethodUsage
	MethodUsage = "local.usage" // a UsageRequest
)

// UsageRequest asks what accounts' mailboxes hold; with Recount it is counted anew, whatever maildirsize says.
type UsageRequest struct {
	Accounts []directory.Account
	Recount  bool
}

// UsageBatch is how many mailboxes one question is about: to count one may take a while.
const UsageBatch = 20

type asideRequest struct {
	Account uint64
	Mailbox string
}

// Handlers serves what role local is asked.
func Handlers(t *local.Target) map[string]rpc.Handler {
	return map[string]rpc.Handler{
		MethodAside: rpc.Handle(func(_ context.Context, r asideRequest) (string, error) { return t.SetAside(r.Mailbox, r.Account) }),
		MethodUsage: rpc.Handle(func(ctx context.Context, r UsageRequest) ([]local.Usage, error) { return Usages(ctx, t, r) }),
	}
}

// Usages answers a UsageRequest, in the order of its accounts.
func Usages(ctx context.Context, t *local.Target, r UsageRequest) (list []local.Usage, err error) {
	for i := range r.Accounts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		list = append(list, t.Usage(&r.Accounts[i], r.Recount))
	}
	return list, nil
}

// Client asks the roles of a running server.
type Client struct {
	Data   string
	Office bool // over the office sockets, which are role console's
}

func (c Client) socket(r role.Role) string {
	if c.Office {
		return r.OfficeSocket()
	}
	return r.AdminSocket()
}

// call calls a role. The owner's verbs wait for no longer than a role has patience; role console, for whom others
// wait, as long as the role answers at all.
func call[Req, Resp any](ctx context.Context, c Client, r role.Role, method string, req Req) (Resp, error) {
	if !c.Office {
		return rolecall.Ask[Req, Resp](ctx, c.Data, r, method, req)
	}
	cl := rolecall.Client(c.Data, c.socket(r), r)
	defer cl.Close()
	return rpc.Do[Req, Resp](ctx, cl, method, req)
}

// Free ends the sessions that hold an account's mailbox and returns them.
func (c Client) Free(ctx context.Context, account uint64) ([]session.Holder, error) {
	return call[uint64, []session.Holder](ctx, c, role.Access, MethodFree, account)
}

// Usage tells what mailboxes hold.
func (c Client) Usage(ctx context.Context, r UsageRequest) ([]local.Usage, error) {
	return call[UsageRequest, []local.Usage](ctx, c, role.Local, MethodUsage, r)
}

// setAside moves an account's mail away and returns where that is. Whoever reads it now must not write where the next
// account's mail will be.
func (c Client) setAside(ctx context.Context, a directory.Account) (string, error) {
	if _, err := c.Free(ctx, a.ID); err != nil {
		return "", err
	}
	return call[asideRequest, string](ctx, c, role.Local, MethodAside, asideRequest{a.ID, a.Mailbox})
}

// removers keep what has to go with an account.
var removers = []role.Role{role.Auth, role.Access, role.Local}

// CanRemove is asked before accounts are removed. The error is of a role that does not answer: what it keeps would stay
// where the next account of that name finds it, its mail among that.
func (c Client) CanRemove(ctx context.Context) error {
	for _, r := range removers {
		var failed error
		hung := rolecall.Answers(ctx, r, func(ctx context.Context) error {
			failed = rolecall.Alive(ctx, c.Data, c.socket(r))
			return failed
		})
		if hung != nil {
			return hung
		}
		if failed != nil {
			return rolecall.About(r, failed)
		}
	}
	return nil
}

// forgotten is when no role remembers a removed account any more; see directory.CacheOptions.
const forgotten = 2500 * time.Millisecond

// Removed forgets what else is kept of accounts that the directory has just lost: the passwords go, sessions end, the
// mail is set aside. It returns where that is, below mail/.
func (c Client) Removed(ctx context.Context, passwords auth.Admin, accounts ...directory.Account) (paths []string, err error) {
	d := seam.Directory{Client: rolecall.Seam(c.Data, c.socket(role.Directory), role.Directory)}
	defer d.Client.Close()
	return Remove{Passwords: passwords, Removals: d, Wait: forgotten, SetAside: c.setAside}.Accounts(ctx, accounts)
}

// Remove is how what is kept of accounts goes.
type Remove struct {
	Passwords auth.Admin
	Removals  directory.Removals
	Wait      time.Duration // before mail is set aside: a delivery that began with the old answer would make the mailbox again
	// SetAside moves an account's mail away and returns where that is, "" where there is none.
	SetAside func(ctx context.Context, a directory.Account) (string, error)
}

// Accounts forgets what is kept of accounts, as far as it can, and returns where their mail is. What it does not get to the
// server sees to, or its next start: see Finish.
func (r Remove) Accounts(ctx context.Context, accounts []directory.Account) (paths []string, err error) {
	var errs []error
	left := map[uint64]bool{} // accounts of which something is
	for _, a := range accounts {
		if err := r.Passwords.Remove(ctx, a.ID); err != nil && !errors.Is(err, directory.ErrNotFound) {
			errs = append(errs, fmt.Errorf("the passwords of %s: %w", a.Address, err))
			left[a.ID] = true
		}
	}
	if r.Wait > 0 && len(accounts) > 0 {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(r.Wait):
		}
	}
	var done []uint64
	for _, a := range accounts {
		if a.Mailbox != "" {
			aside, err := r.SetAside(ctx, a)
			if err != nil {
				errs = append(errs, fmt.Errorf("the mail of %s: %w", a.Address, err))
				left[a.ID] = true
			} else if aside != "" {
				paths = append(paths, aside)
			}
		}
		if !left[a.ID] {
			done = append(done, a.ID)
		}
	}
	if done != nil {
		errs = append(errs, r.Removals.ForgetRemoved(ctx, done))
	}
	return paths, errors.Join(errs...)
}
