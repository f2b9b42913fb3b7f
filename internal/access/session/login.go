package session

import (
	"context"
	"errors"

	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/trace"
)

// Logins turns credentials into accounts, and records each try. All fields are needed.
type Logins struct {
	Auth      auth.Service
	Directory directory.Reader
	Clock     clock.Clock
	Recorder  trace.Recorder
}

// Login is a successful login.
type Login struct {
	auth.Identity
	Account *directory.Account
}

// Password logs in with a user name and a password. The error is a *reason.Error.
func (l *Logins) Password(ctx context.Context, a auth.Attempt, mechanism, user, password string) (*Login, error) {
	identity, err := l.Auth.Password(ctx, a, user, password)
	return l.finish(ctx, a, mechanism, user, identity, err)
}

// APOP logs in with an RFC 1939 7 digest.
func (l *Logins) APOP(ctx context.Context, a auth.Attempt, user, timestamp, digest string) (*Login, error) {
	identity, err := l.Auth.APOP(ctx, a, user, timestamp, digest)
	return l.finish(ctx, a, "APOP", user, identity, err)
}

func (l *Logins) finish(ctx context.Context, a auth.Attempt, mechanism, user string, identity auth.Identity, err error) (*Login, error) {
	var account *directory.Account
	if err == nil {
		account, err = l.account(ctx, identity)
	}
	e := trace.Event{
		Time: l.Clock.Now(), Kind: trace.Login, Role: a.Protocol, Session: a.Session,
		Client: a.Client.String(), Account: user, Text: mechanism, Code: 235,
	}
	if err != nil {
		r := reason.As(err)
		e.Code, e.Status, e.Reason = r.Code, r.Enhanced, string(r.Reason)
		l.Recorder.Record(e)
		return nil, r
	}
	e.Account, e.Tenant = identity.Address, account.Tenant
	if identity.Device != "" {
		e.Text += " " + identity.Device
	}
	l.Recorder.Record(e)
	return &Login{identity, account}, nil
}

func (l *Logins) account(ctx context.Context, identity auth.Identity) (*directory.Account, error) {
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
