// Package sasl is the server's side of PLAIN, LOGIN, SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, for every
// protocol alike: what lies between a client's responses and role auth. It frames nothing: base64, lines
// and their bounds are the protocol's, as is which mechanisms it offers.
package sasl

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/postilion/postilion/internal/auth"
)

// Plus is the one mechanism that binds to the channel.
const Plus = "SCRAM-SHA-256-PLUS"

// ErrMalformed is a response that is not what the mechanism says. It counts as no try of a password.
var ErrMalformed = errors.New("malformed response")

// Bindings returns the tls-exporter of a connection (RFC 9266), or none: it needs TLS 1.3, for clients bind to
// another thing before. state is nil without TLS.
func Bindings(state *tls.ConnectionState) []auth.ChannelBinding {
	if state == nil || state.Version < tls.VersionTLS13 {
		return nil
	}
	data, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
	if err != nil {
		return nil
	}
	return []auth.ChannelBinding{{Type: "tls-exporter", Data: data}}
}

// Exchange is a login under way. It is an auth.Conversation whose Step has ErrMalformed besides; of LOGIN the first
// response is nil where the client waits for the challenge. It is used by one goroutine and closed at the end.
type Exchange struct {
	service   auth.Service
	attempt   auth.Attempt
	mechanism string
	bindings  []auth.ChannelBinding
	step      func(ctx context.Context, response []byte) (challenge []byte, done bool, err error)
	talk      auth.Conversation // SCRAM only
	who       auth.Identity
}

var _ auth.Conversation = (*Exchange)(nil)

// Begin starts a login with a mechanism, named in capitals, that the protocol offers; it is one of the
// package's four. bindings are those that Plus was offered with, whichever is taken; none where it was not.
func Begin(s auth.Service, a auth.Attempt, mechanism string, bindings []auth.ChannelBinding) *Exchange {
	x := &Exchange{service: s, attempt: a, mechanism: mechanism, bindings: bindings}
	switch mechanism {
	case "PLAIN":
		x.step = x.plain
	case "LOGIN":
		x.step = x.login
	default:
		x.step = x.scram
	}
	return x
}

// ClientFirst reports whether the client begins: without an initial response it gets an empty challenge.
func (x *Exchange) ClientFirst() bool { return x.mechanism != "LOGIN" }

// Step implements auth.Conversation. What it returns with done needs no answer of the client.
func (x *Exchange) Step(ctx context.Context, response []byte) (challenge []byte, done bool, err error) {
	return x.step(ctx, response)
}

// Identity implements auth.Conversation.
func (x *Exchange) Identity() auth.Identity { return x.who }

// Close implements auth.Conversation.
func (x *Exchange) Close() error {
	if x.talk == nil {
		return nil
	}
	return x.talk.Close()
}

// plain is RFC 4616.
func (x *Exchange) plain(ctx context.Context, response []byte) ([]byte, bool, error) {
	parts := bytes.Split(response, []byte{0})
	if len(parts) != 3 {
		return nil, false, ErrMalformed
	}
	// Nobody may act as another here: an authorization identity must be the user's own.
	if len(parts[0]) > 0 && !bytes.Equal(parts[0], parts[1]) {
		return nil, false, auth.Failed
	}
	return x.password(ctx, string(parts[1]), string(parts[2]))
}

// login is draft-murchison-sasl-login.
func (x *Exchange) login(ctx context.Context, response []byte) ([]byte, bool, error) {
	if response != nil {
		return x.loginUser(ctx, response)
	}
	x.step = x.loginUser
	return []byte("Username:"), false, nil
}

func (x *Exchange) loginUser(_ context.Context, user []byte) ([]byte, bool, error) {
	name := string(user)
	x.step = func(ctx context.Context, password []byte) ([]byte, bool, error) {
		return x.password(ctx, name, string(password))
	}
	return []byte("Password:"), false, nil
}

func (x *Exchange) password(ctx context.Context, user, password string) (_ []byte, done bool, err error) {
	if user == "" || !utf8.ValidString(user) || strings.ContainsAny(user, "\x00\r\n") || strings.IndexByte(password, 0) >= 0 {
		return nil, false, auth.Failed // nobody has such a name or password
	}
	x.who, err = x.service.Password(ctx, x.attempt, user, password)
	return nil, err == nil, err
}

// scram is RFC 5802 and RFC 7677. The mechanism's name and the message's first field must agree.
func (x *Exchange) scram(ctx context.Context, response []byte) ([]byte, bool, error) {
	if (x.mechanism == Plus) != bytes.HasPrefix(response, []byte("p=")) {
		return nil, false, ErrMalformed
	}
	talk, err := x.service.SCRAM(ctx, x.attempt, x.bindings)
	if err != nil {
		return nil, false, err
	}
	x.talk, x.step = talk, x.scramStep
	return x.scramStep(ctx, response)
}

func (x *Exchange) scramStep(ctx context.Context, response []byte) ([]byte, bool, error) {
	challenge, done, err := x.talk.Step(ctx, response)
	if err != nil || !done {
		return challenge, false, err
	}
	x.who = x.talk.Identity()
	if len(challenge) == 0 {
		return nil, true, nil
	}
	// POP3, SMTP and IMAP4rev1 carry no data with success: the client answers with nothing.
	x.step = func(context.Context, []byte) ([]byte, bool, error) { return nil, true, nil }
	return challenge, false, nil
}
