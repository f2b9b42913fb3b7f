package secrets

// SCRAM-SHA-256 and -PLUS (RFC 5802, RFC 7677) with the channel bindings tls-exporter
// (RFC 9266) and tls-server-end-point (RFC 5929). A user without keys is answered
// with a salt that is always the same for him, and fails at the end like a wrong
// password.

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"strings"

	"github.com/xdg-go/scram"

	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/reason"
)

const (
	scramIterations = 15_000 // RFC 7677 4
	scramSalt       = 16     // bytes
	maxSCRAM        = 4096   // bytes of one message
)

// scramKeys are what RFC 5802 3 has a server store.
type scramKeys struct {
	salt           []byte
	iterations     int
	stored, server []byte
}

func newSCRAM(password string) (*scramKeys, error) {
	salt := make([]byte, scramSalt)
	rand.Read(salt) // never fails: crypto/rand.Read
	return deriveSCRAM(password, salt, scramIterations)
}

// deriveSCRAM returns the keys of a password. The error is SASLprep's (RFC 4013).
func deriveSCRAM(password string, salt []byte, iterations int) (*scramKeys, error) {
	c, err := scram.SHA256.NewClient("", password, "")
	if err != nil {
		return nil, err
	}
	k, err := c.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt), Iters: iterations})
	if err != nil {
		return nil, err
	}
	return &scramKeys{salt, iterations, k.StoredKey, k.ServerKey}, nil
}

// fakeSCRAM returns keys that nobody's password has, the same for a name each time.
func (s *Service) fakeSCRAM(name string) *scramKeys {
	derive := func(what string) []byte {
		m := hmac.New(sha256.New, s.salts)
		m.Write([]byte(what + "\x00" + name))
		return m.Sum(nil)
	}
	return &scramKeys{derive("salt")[:scramSalt], scramIterations, derive("stored"), derive("server")}
}

// conversation is one SCRAM exchange, used by one goroutine.
type conversation struct {
	s        *Service
	attempt  auth.Attempt
	bindings []auth.ChannelBinding
	nonce    func() string // tests' own; nil for random ones

	plus   string // "-PLUS" where the client binds to the channel
	server *scram.ServerConversation
	at     *attempt // from the first message on
	real   bool     // the keys are an account's
	over   bool
	id     auth.Identity
}

// SCRAM implements auth.Service.
func (s *Service) SCRAM(_ context.Context, a auth.Attempt, bindings []auth.ChannelBinding) (auth.Conversation, error) {
	return &conversation{s: s, attempt: a, bindings: bindings}, nil
}

var errOver = errors.New("the conversation is over")

// Step implements auth.Conversation.
func (c *conversation) Step(ctx context.Context, response []byte) (challenge []byte, done bool, err error) {
	switch {
	case c.over:
		return nil, false, reason.AuthEncoding.Because(errOver)
	case len(response) > maxSCRAM:
		c.Close()
		return nil, false, reason.AuthEncoding
	case c.server == nil:
		challenge, err = c.first(ctx, string(response))
	default:
		challenge, err = c.last(ctx, string(response))
		done = err == nil
	}
	if err != nil {
		c.Close()
	}
	return challenge, done, err
}

// first answers client-first-message with salt and iterations.
func (c *conversation) first(ctx context.Context, message string) ([]byte, error) {
	var failure error
	lookup := func(user string) (scram.StoredCredentials, error) {
		keys, err := c.keys(ctx, user)
		if err != nil {
			failure = err
			return scram.StoredCredentials{}, err
		}
		return scram.StoredCredentials{
			KeyFactors: scram.KeyFactors{Salt: string(keys.salt), Iters: keys.iterations}, StoredKey: keys.stored, ServerKey: keys.server,
		}, nil
	}
	server, err := scram.SHA256.NewServer(lookup)
	if err != nil {
		return nil, reason.LocalError.Because(err)
	}
	if c.nonce != nil {
		server = server.WithNonceGenerator(c.nonce)
	}
	c.server = c.converse(server, message)
	challenge, err := c.server.Step(message)
	switch {
	case failure != nil:
		return nil, failure
	case err != nil && bindingErrors[challenge]:
		// RFC 5802 6: a client that could bind, and was offered to, has seen another offer.
		return nil, reason.AuthBinding.With(challenge).Because(err)
	case err != nil:
		return nil, reason.AuthEncoding.Because(err)
	case c.server.AuthzID() != "" && c.server.AuthzID() != c.server.Username():
		// Nobody may act as another. It fails at the end, as a wrong password does.
		c.real = false
	}
	return []byte(challenge), nil
}

// bindingErrors are the server-errors of RFC 5802 7 that are about channel bindings.
var bindingErrors = map[string]bool{scram.ErrServerDoesSupportChannelBinding: true, scram.ErrChannelBindingNotSupported: true,
	scram.ErrUnsupportedChannelBindingType: true}

// converse chooses the binding that the client names (RFC 5802 7, gs2-cbind-flag).
func (c *conversation) converse(server *scram.Server, message string) *scram.ServerConversation {
	if len(c.bindings) == 0 {
		return server.NewConversation()
	}
	chosen := c.bindings[0]
	flag, _, _ := strings.Cut(message, ",")
	if strings.HasPrefix(flag, "p=") {
		c.plus = "-PLUS"
	}
	for _, b := range c.bindings {
		if flag == "p="+b.Type {
			chosen = b
		}
	}
	return server.NewConversationWithChannelBinding(scram.ChannelBinding{Type: scram.ChannelBindingType(chosen.Type), Data: chosen.Data})
}

// keys returns the keys of a user, true or fake.
func (c *conversation) keys(ctx context.Context, user string) (*scramKeys, error) {
	var err error
	if c.at, err = c.s.begin(ctx, c.attempt, "SCRAM-SHA-256"+c.plus, user); err != nil {
		_, err = c.at.finish(ctx, "", err)
		c.over = true
		return nil, err
	}
	var found credential
	if c.at.who.usable {
		if found, err = c.s.store.load(ctx, c.at.who.account); err != nil {
			return nil, reason.LocalError.Because(err)
		}
	}
	if found.scram == nil {
		return c.s.fakeSCRAM(c.at.who.name), nil
	}
	c.real = true
	return found.scram, nil
}

// last answers client-final-message with the server's signature.
func (c *conversation) last(ctx context.Context, message string) ([]byte, error) {
	challenge, err := c.server.Step(message)
	if err == nil && !c.real {
		err = errors.New("no keys")
	}
	if err != nil {
		err = auth.Failed.Because(err)
	}
	c.over = true
	c.id, err = c.at.finish(ctx, "", err)
	return []byte(challenge), err
}

// Identity implements auth.Conversation.
func (c *conversation) Identity() auth.Identity { return c.id }

// Close implements auth.Conversation. A conversation given up before the proof is no
// failure.
func (c *conversation) Close() error {
	if !c.over && c.at != nil {
		c.at.end()
	}
	c.over = true
	return nil
}
