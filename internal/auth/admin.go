package auth

import (
	"context"
	"time"
)

// Admin changes who can log in. Accounts are those of the directory, by id; errors wrap
// directory.ErrNotFound and directory.ErrExists where that is the trouble, and
// *directory.InvalidError, which never shows a password.
type Admin interface {
	// SetPassword sets the account's own password.
	SetPassword(ctx context.Context, account uint64, password string) error
	// SetHash sets the account's own password by its stored form, as other systems keep
	// it: crypt(3)'s, or a {SCHEME} prefix.
	SetHash(ctx context.Context, account uint64, form string) error
	// Credentials tells what the account can log in with.
	Credentials(ctx context.Context, account uint64) (Credentials, error)
	// AddAppPassword makes a further password, for one device. It is told this once.
	// protocols limits it to those named; none means all but Administration.
	AddAppPassword(ctx context.Context, account uint64, name string, protocols []string) (password string, err error)
	RemoveAppPassword(ctx context.Context, account uint64, name string) error
	// EndSessions ends the sessions that the account has logged in to; it may log in again.
	EndSessions(ctx context.Context, account uint64) error
	// Remove forgets all that is kept of the account, and ends its sessions.
	Remove(ctx context.Context, account uint64) error
	// Blocked lists the clients and accounts that failures block now.
	Blocked(ctx context.Context) ([]BlockedBy, error)
	// Unblock forgets the failures of a client's address, a CIDR range or an account's address.
	// Where there are none it is directory.ErrNotFound.
	Unblock(ctx context.Context, what string) error
}

// Credentials is what an account can log in with.
type Credentials struct {
	Form    string        `json:"form"` // how the own password is stored: argon2id, SSHA, …; "" without one
	SCRAM   bool          `json:"scram"`
	APOP    bool          `json:"apop"`
	Changed time.Time     `json:"changed,omitzero"`
	Apps    []AppPassword `json:"apps,omitempty"`
}

// AppPassword is a further password of an account.
type AppPassword struct {
	Name      string    `json:"name"`
	Protocols []string  `json:"protocols,omitempty"` // none: all but Administration
	Created   time.Time `json:"created"`
	// The last use, written within seconds; zero for never.
	Used         time.Time `json:"used,omitzero"`
	UsedClient   string    `json:"used_client,omitempty"`
	UsedProtocol string    `json:"used_protocol,omitempty"`
}

// BlockedBy is who must wait because of failures.
type BlockedBy struct {
	What     string    `json:"what"`             // a CIDR range, or an account's address
	Client   string    `json:"client,omitempty"` // the only range that must wait for the account: one it logged in from before
	Failures int       `json:"failures"`
	Until    time.Time `json:"until"`
}
