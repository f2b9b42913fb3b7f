package smtpd

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/reason"
)

// maxAuthLine is RFC 4954 4.
const maxAuthLine = 12288

// scramPlus is the one mechanism that binds to the channel.
const scramPlus = "SCRAM-SHA-256-PLUS"

// tlsExporter is the channel binding of RFC 9266.
const tlsExporter = "tls-exporter"

// offersAuth reports whether AUTH is offered at all, mayAuth whether it can be used now.
func (s *session) offersAuth() bool {
	o := &s.srv.o
	return s.srv.d.Auth != nil && (o.Mode == Submission || o.Mode == Receive && o.Auth) && s.mayAuth()
}

// mayAuth reports whether passwords may cross this connection.
func (s *session) mayAuth() bool {
	return s.src.TLS != "" || s.srv.o.PlainLoopback && s.src.Client.IsLoopback()
}

// mechanisms lists what AUTH offers on this connection.
func (s *session) mechanisms() []string {
	m := []string{"PLAIN", "LOGIN", "SCRAM-SHA-256"}
	if s.bindings() != nil {
		m = append(m, scramPlus)
	}
	return slices.DeleteFunc(m, func(name string) bool { return !s.wants(name) })
}

// wants reports whether the operator wants a mechanism to be offered.
func (s *session) wants(mechanism string) bool {
	return len(s.srv.o.Mechanisms) == 0 || slices.Contains(s.srv.o.Mechanisms, mechanism)
}

// bindings returns the connection's channel bindings; none without TLS 1.3, nor where the
// mechanism that needs them is not wanted, as clients learn from it what was offered.
func (s *session) bindings() []auth.ChannelBinding {
	state := s.c.TLS()
	if state == nil || !s.wants(scramPlus) {
		return nil
	}
	data, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
	if err != nil {
		return nil // TLS before 1.3 without an extended master secret
	}
	return []auth.ChannelBinding{{Type: tlsExporter, Data: data}}
}

// auth is AUTH, RFC 4954.
func (s *session) auth(arg string) {
	switch {
	case s.srv.d.Auth == nil || s.srv.o.Mode == LMTP || s.srv.o.Mode == Receive && !s.srv.o.Auth:
		s.refuse(reason.CommandNotOffered)
		return
	case !s.extended:
		s.refuse(reason.CommandOrder.With("send EHLO first"))
		return
	case s.src.AccountID != 0:
		s.refuse(reason.CommandOrder.With(reason.LoggedIn))
		return
	case s.tx != nil:
		s.refuse(reason.CommandOrder.With("a message is under way"))
		return
	case !s.mayAuth():
		s.refuse(reason.TLSForAuth)
		return
	}
	// Asked before the first challenge, so that who is blocked shows no password in vain.
	// Any other trouble is told when the password is checked.
	if err := s.srv.d.Auth.Allowed(s.ctx, s.src.Client); auth.KeepsOut(err) {
		s.authenticated(auth.Identity{}, err)
		return
	}
	mechanism, initial, has := strings.Cut(arg, " ")
	x := exchange{s: s, initial: strings.TrimSpace(initial), hasInitial: has}
	var who auth.Identity
	var err error
	mechanism = strings.ToUpper(mechanism)
	if !slices.Contains(s.mechanisms(), mechanism) {
		s.authenticated(auth.Identity{}, reason.AuthMechanism)
		return
	}
	switch mechanism {
	case "PLAIN":
		who, err = x.plain()
	case "LOGIN":
		who, err = x.login()
	default:
		who, err = x.scram()
	}
	s.authenticated(who, err)
}

// authenticated ends AUTH.
func (s *session) authenticated(who auth.Identity, err error) {
	if s.quit {
		return // the connection was lost on the way
	}
	if err == nil && who.Account != 0 {
		s.src.Account, s.src.AccountID = who.Address, who.Account
		s.c.SetAccount(who.Address)
		s.tap.Account(who.Address)
		s.protocol()
		s.errors = 0
		s.say(235, "2.7.0", s.srv.words.welcome)
		return
	}
	if err == nil {
		err = auth.Failed
	}
	e := reason.As(err)
	s.authFailures++
	if s.authFailures >= s.srv.o.MaxAuthErrors {
		s.tell(e)
		s.fatal(reason.TooManyLogins)
		return
	}
	s.refuse(e)
}

// attempt says who tries.
func (s *session) attempt() auth.Attempt {
	return auth.Attempt{Session: s.c.ID, Client: s.src.Client, Protocol: s.srv.role, TLS: s.src.TLS != ""}
}

// exchange is one SASL exchange.
type exchange struct {
	s          *session
	initial    string // base64, or "=" for an empty response
	hasInitial bool
}

// first returns the client's first response: the initial one, or the answer to challenge.
func (x *exchange) first(challenge []byte) ([]byte, error) {
	if !x.hasInitial {
		return x.ask(challenge)
	}
	if x.initial == "=" {
		return nil, nil
	}
	return decode64([]byte(x.initial))
}

// ask sends a challenge and returns the client's response.
func (x *exchange) ask(challenge []byte) ([]byte, error) {
	s := x.s
	b := append(s.reply(), "334 "...)
	b = base64.StdEncoding.AppendEncode(b, challenge)
	s.said(append(b, '\r', '\n'))
	line, err := s.readLine(maxAuthLine, s.srv.o.IdleTimeout)
	if err == nil {
		s.tap.In([]byte("[not recorded]\n"))
	}
	switch {
	case err == errTooLong:
		return nil, reason.AuthTooLong
	case err != nil:
		s.lost(err)
		return nil, err
	case bytes.Equal(line, []byte("*")):
		return nil, reason.AuthCancelled
	}
	return decode64(line)
}

// decode64 is strict: what is not base64 as RFC 4648 4 writes it is refused.
func decode64(p []byte) ([]byte, error) {
	out := make([]byte, base64.StdEncoding.DecodedLen(len(p)))
	n, err := base64.StdEncoding.Strict().Decode(out, p)
	if err != nil || bytes.ContainsAny(p, "\r\n") {
		return nil, reason.AuthEncoding
	}
	return out[:n], nil
}

// plain is RFC 4616.
func (x *exchange) plain() (who auth.Identity, err error) {
	p, err := x.first(nil)
	if err != nil {
		return who, err
	}
	parts := bytes.Split(p, []byte{0})
	if len(parts) != 3 {
		return who, reason.AuthEncoding
	}
	if len(parts[0]) > 0 && !bytes.Equal(parts[0], parts[1]) {
		return who, auth.Failed // nobody may act as somebody else here
	}
	return x.password(string(parts[1]), string(parts[2]))
}

// login is the mechanism of draft-murchison-sasl-login.
func (x *exchange) login() (who auth.Identity, err error) {
	user, err := x.first([]byte("Username:"))
	if err != nil {
		return who, err
	}
	password, err := x.ask([]byte("Password:"))
	if err != nil {
		return who, err
	}
	return x.password(string(user), string(password))
}

func (x *exchange) password(user, password string) (who auth.Identity, err error) {
	if user == "" || !utf8.ValidString(user) || strings.ContainsAny(user, "\x00\r\n") || strings.ContainsRune(password, 0) {
		return who, auth.Failed
	}
	return x.s.srv.d.Auth.Password(x.s.ctx, x.s.attempt(), user, password)
}

// scram is RFC 7677, and its -PLUS form: which of the two the client chose, its first message says.
func (x *exchange) scram() (who auth.Identity, err error) {
	s := x.s
	conversation, err := s.srv.d.Auth.SCRAM(s.ctx, s.attempt(), s.bindings())
	if err != nil {
		return who, err
	}
	defer conversation.Close()
	p, err := x.first(nil)
	for err == nil {
		var challenge []byte
		var done bool
		if challenge, done, err = conversation.Step(s.ctx, p); err != nil {
			break
		}
		if done && len(challenge) == 0 {
			return conversation.Identity(), nil
		}
		p, err = x.ask(challenge)
		if done && err == nil {
			// The last message of the server went as a challenge; the client answers with nothing.
			return conversation.Identity(), nil
		}
	}
	return who, err
}
