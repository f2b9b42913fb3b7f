package authority

import (
	"context"
	"strings"

	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/directory"
)

// Auth is an auth.Admin as an actor may use it.
type Auth struct {
	Inner     auth.Admin
	Directory directory.Admin // which decides whose an account is
	Actor     Actor
	Journal   Journal
}

var _ auth.Admin = Auth{}

// do runs what concerns one account, where the actor may.
func (a Auth) do(ctx context.Context, r Right, account uint64, more string, change func() error) error {
	s, err := Of(ctx, a.Directory, a.Actor)
	if err != nil {
		return err
	}
	what := "the account"
	target, err := s.Target(ctx, r, account)
	if target != nil {
		what = target.Address.String()
	}
	if err == nil {
		err = change()
	}
	if r != SeeAccount {
		a.Journal.Tell(s.Actor, Right(strings.TrimSpace(string(r)+" "+more)), what, err)
	}
	return err
}

// owners runs what is the owner's alone.
func (a Auth) owners(ctx context.Context, r Right, what string, change func() error) error {
	s, err := Of(ctx, a.Directory, a.Actor)
	if err == nil {
		err = s.MayOwner(string(r))
	}
	if err == nil {
		err = change()
	}
	a.Journal.Tell(a.Actor, r, what, err)
	return err
}

// SetPassword implements auth.Admin.
func (a Auth) SetPassword(ctx context.Context, account uint64, password string) error {
	return a.do(ctx, SetPassword, account, "", func() error { return a.Inner.SetPassword(ctx, account, password) })
}

// SetHash implements auth.Admin. A form that costs much to check is a way to take the machine: it is the owner's.
func (a Auth) SetHash(ctx context.Context, account uint64, form string) error {
	return a.do(ctx, SetHash, account, "", func() error { return a.Inner.SetHash(ctx, account, form) })
}

// Credentials implements auth.Admin.
func (a Auth) Credentials(ctx context.Context, account uint64) (c auth.Credentials, err error) {
	err = a.do(ctx, SeeAccount, account, "", func() (err error) {
		c, err = a.Inner.Credentials(ctx, account)
		return err
	})
	return c, err
}

// AddAppPassword implements auth.Admin.
func (a Auth) AddAppPassword(ctx context.Context, account uint64, name string, protocols []string) (password string, err error) {
	err = a.do(ctx, AddAppPassword, account, name, func() (err error) {
		password, err = a.Inner.AddAppPassword(ctx, account, name, protocols)
		return err
	})
	return password, err
}

// RemoveAppPassword implements auth.Admin.
func (a Auth) RemoveAppPassword(ctx context.Context, account uint64, name string) error {
	return a.do(ctx, RemoveApp, account, name, func() error { return a.Inner.RemoveAppPassword(ctx, account, name) })
}

// EndSessions implements auth.Admin.
func (a Auth) EndSessions(ctx context.Context, account uint64) error {
	return a.do(ctx, FreeAccount, account, "", func() error { return a.Inner.EndSessions(ctx, account) })
}

// Remove implements auth.Admin.
func (a Auth) Remove(ctx context.Context, account uint64) error {
	s, err := Of(ctx, a.Directory, a.Actor)
	if err == nil {
		err = s.MayOwner(string(ForgetPasswords))
	}
	if err != nil {
		return err
	}
	return a.Inner.Remove(ctx, account)
}

// Blocked implements auth.Admin.
func (a Auth) Blocked(ctx context.Context) ([]auth.BlockedBy, error) {
	s, err := Of(ctx, a.Directory, a.Actor)
	if err == nil {
		err = s.MayOwner(string(SeeBlocks))
	}
	if err != nil {
		return nil, err
	}
	return a.Inner.Blocked(ctx)
}

// Unblock implements auth.Admin.
func (a Auth) Unblock(ctx context.Context, what string) error {
	return a.owners(ctx, ForgetFailures, what, func() error { return a.Inner.Unblock(ctx, what) })
}
