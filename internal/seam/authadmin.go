package seam

import (
	"context"

	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/rpc"
)

// AuthAdmin is an auth.Admin over rpc.
type AuthAdmin struct{ Client *Client }

var _ auth.Admin = AuthAdmin{}

type secretRequest struct {
	Account   uint64
	Text      []byte // a password, a stored form, or an app password's name
	Protocols []string
}

// AuthAdminHandlers serves auth.Admin.
func AuthAdminHandlers(a auth.Admin) map[string]rpc.Handler {
	change := func(f func(context.Context, uint64, string) error) rpc.Handler {
		return rpc.Handle(func(ctx context.Context, r secretRequest) (none, error) {
			return none{}, f(ctx, r.Account, string(r.Text))
		})
	}
	return withInvalid(map[string]rpc.Handler{
		"auth.set-password": change(a.SetPassword),
		"auth.set-hash":     change(a.SetHash),
		"auth.remove-app":   change(a.RemoveAppPassword),
		"auth.credentials":  rpc.Handle(a.Credentials),
		"auth.add-app": rpc.Handle(func(ctx context.Context, r secretRequest) (string, error) {
			return a.AddAppPassword(ctx, r.Account, string(r.Text), r.Protocols)
		}),
		"auth.end-sessions": rpc.Handle(func(ctx context.Context, account uint64) (none, error) {
			return none{}, a.EndSessions(ctx, account)
		}),
		"auth.remove": rpc.Handle(func(ctx context.Context, account uint64) (none, error) { return none{}, a.Remove(ctx, account) }),
		"auth.blocked": rpc.Handle(func(ctx context.Context, _ none) ([]auth.BlockedBy, error) {
			return a.Blocked(ctx)
		}),
		"auth.unblock": rpc.Handle(func(ctx context.Context, what string) (none, error) { return none{}, a.Unblock(ctx, what) }),
	})
}

func (a AuthAdmin) change(ctx context.Context, method string, account uint64, text string) error {
	_, err := once[secretRequest, none](ctx, a.Client, method, secretRequest{Account: account, Text: []byte(text)})
	return err
}

// SetPassword implements auth.Admin.
func (a AuthAdmin) SetPassword(ctx context.Context, account uint64, password string) error {
	return a.change(ctx, "auth.set-password", account, password)
}

// SetHash implements auth.Admin.
func (a AuthAdmin) SetHash(ctx context.Context, account uint64, form string) error {
	return a.change(ctx, "auth.set-hash", account, form)
}

// RemoveAppPassword implements auth.Admin.
func (a AuthAdmin) RemoveAppPassword(ctx context.Context, account uint64, name string) error {
	return a.change(ctx, "auth.remove-app", account, name)
}

// Credentials implements auth.Admin.
func (a AuthAdmin) Credentials(ctx context.Context, account uint64) (auth.Credentials, error) {
	return call[uint64, auth.Credentials](ctx, a.Client, "auth.credentials", account)
}

// AddAppPassword implements auth.Admin.
func (a AuthAdmin) AddAppPassword(ctx context.Context, account uint64, name string, protocols []string) (string, error) {
	return once[secretRequest, string](ctx, a.Client, "auth.add-app", secretRequest{account, []byte(name), protocols})
}

// EndSessions implements auth.Admin.
func (a AuthAdmin) EndSessions(ctx context.Context, account uint64) error {
	_, err := call[uint64, none](ctx, a.Client, "auth.end-sessions", account)
	return err
}

// Remove implements auth.Admin.
func (a AuthAdmin) Remove(ctx context.Context, account uint64) error {
	_, err := once[uint64, none](ctx, a.Client, "auth.remove", account)
	return err
}

// Blocked implements auth.Admin.
func (a AuthAdmin) Blocked(ctx context.Context) ([]auth.BlockedBy, error) {
	return call[none, []auth.BlockedBy](ctx, a.Client, "auth.blocked", none{})
}

// Unblock implements auth.Admin.
func (a AuthAdmin) Unblock(ctx context.Context, what string) error {
	_, err := once[string, none](ctx, a.Client, "auth.unblock", what)
	return err
}
