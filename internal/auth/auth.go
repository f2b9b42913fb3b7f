// Package auth is the seam to whoever checks credentials. Role auth alone reads
// password material; the protocols' servers only carry what the client says.
package auth

import (
	"context"
	"net/netip"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/reason"
)

// Service checks credentials. It is safe for concurrent use. A wrong password, an
// unknown user and a disabled account give the same error, Failed, after the same time;
// Blocked and Barred tell that this client or account must wait; anything else is temporary.
type Service interface {
	// Password checks a user name and password.
	Password(ctx context.Context, a Attempt, user, password string) (Identity, error)
	// APOP checks an RFC 1939 digest of timestamp and password.
	APOP(ctx context.Context, a Attempt, user, timestamp, digest string) (Identity, error)
	// SCRAM begins an RFC 7677 conversation. bindings are those of the connection that
	// SCRAM-SHA-256-PLUS was offered with, whichever of the two the client chose; none
	// where it was not offered. The client names the one it binds to.
	SCRAM(ctx context.Context, a Attempt, bindings []ChannelBinding) (Conversation, error)
	// Allowed tells whether a client may try at all: nil, Blocked or Barred. It is asked before the
	// client has sent a password.
	Allowed(ctx context.Context, client netip.Addr) error
}

// Conversation is a SASL exchange of several steps. Close ends it early, which
// counts as no failure unless credentials were seen.
type Conversation interface {
	// Step takes the client's message and returns the server's next. done is set with the
	// last one, and Identity is valid then.
	Step(ctx context.Context, response []byte) (challenge []byte, done bool, err error)
	Identity() Identity
	Close() error
}

// ChannelBinding is what SCRAM-SHA-256-PLUS binds to (RFC 5929, RFC 9266).
type ChannelBinding struct {
	Type string // "tls-exporter" or "tls-server-end-point"
	Data []byte
}

// Attempt says who tries, for limits, log and events.
type Attempt struct {
	Session  id.ID
	Client   netip.Addr
	Protocol string // smtp, submission, pop3, imap, …
	TLS      bool
}

// Identity is who logged in.
type Identity struct {
	Account uint64 // the account's id
	Address string // the account's address
	Device  string // the app password's name; "" for the account's own
	User    string // the name of the user of this system that the account is; "" for others
}

// Errors, tested for by their Reason.
var (
	Failed = &reason.Error{Class: reason.Permanent, Code: 535, Enhanced: "5.7.8", Reason: "auth-failed"}
	// Blocked has the seconds to wait as its argument.
	Blocked = &reason.Error{Class: reason.Temporary, Code: 454, Enhanced: "4.7.0", Reason: "auth-blocked"}
	// Barred is a client or account that the operator blocked.
	Barred = &reason.Error{Class: reason.Temporary, Code: 454, Enhanced: "4.7.0", Reason: "auth-barred"}
)

// KeepsOut reports whether err is Blocked or Barred: the client may not even try.
func KeepsOut(err error) bool {
	if err == nil {
		return false
	}
	r := reason.As(err).Reason
	return r == Blocked.Reason || r == Barred.Reason
}
