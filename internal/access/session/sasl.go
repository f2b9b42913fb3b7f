package session

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"strings"

	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/auth/sasl"
)

// Mechanisms lists what is offered, the strongest first: those that show the password
// only when plaintext is allowed, channel binding only with TLS.
func Mechanisms(plaintext bool, state *tls.ConnectionState) []string {
	list := []string{"SCRAM-SHA-256"}
	if len(sasl.Bindings(state)) > 0 {
		list = []string{sasl.Plus, "SCRAM-SHA-256"}
	}
	if plaintext {
		list = append(list, "PLAIN", "LOGIN")
	}
	return list
}

// AllMechanisms lists what can be offered.
func AllMechanisms() []string {
	return []string{sasl.Plus, "SCRAM-SHA-256", "PLAIN", "LOGIN"}
}

// Exchange is a SASL login under way. It is used by one goroutine and closed at the end.
type Exchange struct {
	*sasl.Exchange
	logins *Logins
}

// Begin starts a login with one of the offered mechanisms; ok is false for others.
func (l *Logins) Begin(a auth.Attempt, mechanism string, offered []string, state *tls.ConnectionState) (x *Exchange, ok bool) {
	mechanism = strings.ToUpper(mechanism)
	if !slices.Contains(offered, mechanism) {
		return nil, false
	}
	var bindings []auth.ChannelBinding
	if slices.Contains(offered, sasl.Plus) {
		bindings = sasl.Bindings(state)
	}
	return &Exchange{sasl.Begin(l.Auth, a, mechanism, bindings), l}, true
}

// Next takes a response and returns the next challenge, or the login. The error is sasl.ErrMalformed or a
// *reason.Error.
func (x *Exchange) Next(ctx context.Context, response []byte) (challenge []byte, login *Login, err error) {
	challenge, done, err := x.Step(ctx, response)
	if err == nil && !done || errors.Is(err, sasl.ErrMalformed) {
		return challenge, nil, err
	}
	login, err = x.logins.finish(ctx, x.Identity(), err)
	return nil, login, err
}
