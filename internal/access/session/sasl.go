package session

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"strings"

	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/reason"
)

// ErrSASL is a response that is not what the mechanism says. It counts as no try of a password.
var ErrSASL = errors.New("malformed response")

// Mechanisms lists what is offered, the strongest first: those that show the password
// only when plaintext is allowed, channel binding only with TLS.
func Mechanisms(plaintext bool, state *tls.ConnectionState) []string {
	list := []string{"SCRAM-SHA-256"}
	if len(bindings(state)) > 0 {
		list = []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"}
	}
	if plaintext {
		list = append(list, "PLAIN", "LOGIN")
	}
	return list
}

// AllMechanisms lists what can be offered.
func AllMechanisms() []string {
	return []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"}
}

// bindings returns the tls-exporter of RFC 9266, or none: it needs TLS 1.3.
func bindings(state *tls.ConnectionState) []auth.ChannelBinding {
	if state == nil || state.Version < tls.VersionTLS13 {
		return nil
	}
	data, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
	if err != nil {
		return nil
	}
	return []auth.ChannelBinding{{Type: "tls-exporter", Data: data}}
}

// Exchange is a SASL login under way. It is used by one goroutine and closed at the end.
type Exchange struct {
	logins    *Logins
	attempt   auth.Attempt
	mechanism string
	plus      bool                  // the client chose channel binding
	bindings  []auth.ChannelBinding // what is offered to bind to
	step      func(ctx context.Context, response []byte) ([]byte, *Login, error)
	talk      auth.Conversation // SCRAM only
}

// Begin starts a login with one of the offered mechanisms; ok is false for others.
func (l *Logins) Begin(a auth.Attempt, mechanism string, offered []string, state *tls.ConnectionState) (x *Exchange, ok bool) {
	mechanism = strings.ToUpper(mechanism)
	if !slices.Contains(offered, mechanism) {
		return nil, false
	}
	x = &Exchange{logins: l, attempt: a, mechanism: mechanism}
	switch mechanism {
	case "PLAIN":
		x.step = x.plain
	case "LOGIN":
		x.step = x.login
	default:
		x.step = x.scram
		x.plus = mechanism == "SCRAM-SHA-256-PLUS"
		if slices.Contains(offered, "SCRAM-SHA-256-PLUS") {
			x.bindings = bindings(state)
		}
	}
	return x, true
}

// ClientFirst reports whether the client begins: without an initial response it gets an empty challenge.
func (x *Exchange) ClientFirst() bool { return x.mechanism != "LOGIN" }

// Next takes a response and returns the next challenge, or the login. Of LOGIN the first
// response may be nil: the client waits for the challenge. The error is ErrSASL or a *reason.Error.
func (x *Exchange) Next(ctx context.Context, response []byte) (challenge []byte, done *Login, err error) {
	return x.step(ctx, response)
}

// Close ends the exchange.
func (x *Exchange) Close() {
	if x.talk != nil {
		x.talk.Close() // whatever it says: the exchange is over
	}
}

// plain is RFC 4616.
func (x *Exchange) plain(ctx context.Context, response []byte) ([]byte, *Login, error) {
	parts := bytes.Split(response, []byte{0})
	if len(parts) != 3 || len(parts[1]) == 0 {
		return nil, nil, ErrSASL
	}
	// Nobody may act as another here: an authorization identity must be the user's own.
	if len(parts[0]) > 0 && !bytes.Equal(parts[0], parts[1]) {
		return nil, nil, auth.Failed
	}
	login, err := x.logins.Password(ctx, x.attempt, string(parts[1]), string(parts[2]))
	return nil, login, err
}

// login is draft-murchison-sasl-login.
func (x *Exchange) login(ctx context.Context, response []byte) ([]byte, *Login, error) {
	if response != nil {
		return x.loginUser(ctx, response)
	}
	x.step = x.loginUser
	return []byte("Username:"), nil, nil
}

func (x *Exchange) loginUser(_ context.Context, user []byte) ([]byte, *Login, error) {
	if len(user) == 0 || bytes.IndexByte(user, 0) >= 0 {
		return nil, nil, ErrSASL
	}
	name := string(user)
	x.step = func(ctx context.Context, password []byte) ([]byte, *Login, error) {
		if bytes.IndexByte(password, 0) >= 0 {
			return nil, nil, ErrSASL
		}
		login, err := x.logins.Password(ctx, x.attempt, name, string(password))
		return nil, login, err
	}
	return []byte("Password:"), nil, nil
}

// scram is RFC 5802 and RFC 7677. The mechanism's name and the message's first field must agree.
func (x *Exchange) scram(ctx context.Context, response []byte) ([]byte, *Login, error) {
	if x.plus != bytes.HasPrefix(response, []byte("p=")) {
		return nil, nil, ErrSASL
	}
	talk, err := x.logins.Auth.SCRAM(ctx, x.attempt, x.bindings)
	if err != nil {
		return nil, nil, reason.As(err)
	}
	x.talk, x.step = talk, x.scramStep
	return x.scramStep(ctx, response)
}

func (x *Exchange) scramStep(ctx context.Context, response []byte) ([]byte, *Login, error) {
	challenge, done, err := x.talk.Step(ctx, response)
	if err != nil || !done {
		if err != nil {
			_, err = x.logins.finish(ctx, auth.Identity{}, err)
		}
		return challenge, nil, err
	}
	finish := func(ctx context.Context, _ []byte) ([]byte, *Login, error) {
		login, err := x.logins.finish(ctx, x.talk.Identity(), nil)
		return nil, login, err
	}
	if len(challenge) == 0 {
		return finish(ctx, nil)
	}
	x.step = finish // POP3, SMTP and IMAP4rev1 carry no data with success: the client answers with nothing
	return challenge, nil, nil
}
