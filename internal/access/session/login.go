package session

import (
	"context"
	"errors"

	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/reason"
)

// Logins turns credentials into accounts. Auth and Directory are needed. Auth records each
// try, of all protocols, so that nothing here does.
type Logins struct {
	Auth      auth.Service
	Directory directory.Reader
	// System finds the accounts of this system's users; nil where they have none.
	System func(name string) (*directory.Account, bool, error)
}

// Login is a successful login.
type Login struct {
	auth.Identity
	Account *directory.Account
}

// Password logs in with a user name and a password. The error is a *reason.Error.
func (l *Logins) Password(ctx context.Context, a auth.Attempt, user, password string) (*Login, error) {
	identity, err := l.Auth.Password(ctx, a, user, password)
	return l.finish(ctx, identity, err)
}

// APOP logs in with an RFC 1939 7 digest.
func (l *Logins) APOP(ctx context.Context, a auth.Attempt, user, timestamp, digest string) (*Login, error) {
	identity, err := l.Auth.APOP(ctx, a, user, timestamp, digest)
	return l.finish(ctx, identity, err)
}

// finish finds the account of who logged in. The error is a *reason.Error.
func (l *Logins) finish(ctx context.Context, identity auth.Identity, err error) (*Login, error) {
	if err != nil {
		return nil, reason.As(err)
	}
	account, err := l.account(ctx, identity)
	if err != nil {
		return nil, reason.As(err)
	}
	return &Login{identity, account}, nil
}

func (l *Logins) account(ctx context.Context, identity auth.Identity) (*directory.Account, error) {
	if identity.User != "" {
		return l.system(identity)
	}
	account, err := l.Directory.Account(ctx, identity.Account)
	switch {
	case errors.Is(err, directory.ErrNotFound):
		return nil, auth.Failed
	case err != nil:
		return nil, reason.DirectoryUnavailable.Because(err)
	case account.Disabled || account.Mailbox == "":
		return nil, auth.Failed
	}
	return account, nil
}

// system finds the account of a user of this system.
func (l *Logins) system(identity auth.Identity) (*directory.Account, error) {
	if l.System == nil {
		return nil, auth.Failed
	}
	account, ok, err := l.System(identity.User)
	switch {
	case err != nil:
		return nil, reason.DirectoryUnavailable.Because(err)
	case !ok || account.ID != identity.Account:
		return nil, auth.Failed
	}
	return account, nil
}
