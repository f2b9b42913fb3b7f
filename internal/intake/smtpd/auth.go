package smtpd

import (
	"bytes"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/auth/sasl"
	"github.com/postilion/postilion/internal/reason"
)

// maxAuthLine is RFC 4954 4.
const maxAuthLine = 12288

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
		m = append(m, sasl.Plus)
	}
	return slices.DeleteFunc(m, func(name string) bool { return !s.wants(name) })
}

// wants reports whether the operator wants a mechanism to be offered.
func (s *session) wants(mechanism string) bool {
	return len(s.srv.o.Mechanisms) == 0 || slices.Contains(s.srv.o.Mechanisms, mechanism)
}

// bindings returns the connection's channel bindings; none where the mechanism that needs them is not
// wanted, as clients learn from it what was offered.
func (s *session) bindings() []auth.ChannelBinding {
	if !s.wants(sasl.Plus) {
		return nil
	}
	return sasl.Bindings(s.c.TLS())
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
	mechanism, initial, hasInitial := strings.Cut(arg, " ")
	mechanism = strings.ToUpper(mechanism)
	if !slices.Contains(s.mechanisms(), mechanism) {
		s.authenticated(auth.Identity{}, reason.AuthMechanism)
		return
	}
	x := sasl.Begin(s.srv.d.Auth, s.attempt(), mechanism, s.bindings())
	defer x.Close()
	s.authenticated(s.exchange(x, strings.TrimSpace(initial), hasInitial))
}

// authenticated ends AUTH.
func (s *session) authenticated(who auth.Identity, err error) {
	if s.quit {
		return // the connection was lost on the way
	}
	if err == nil && who.Account != 0 {
		s.src.Account, s.src.AccountID = who.Address, who.Account
		s.c.SetAccount(who.Account, who.Address)
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

// exchange carries a SASL exchange to its end. initial is base64, or "=" for an empty response.
func (s *session) exchange(x *sasl.Exchange, initial string, hasInitial bool) (who auth.Identity, err error) {
	var response, challenge []byte
	switch {
	case hasInitial && initial == "=":
		response = []byte{}
	case hasInitial:
		response, err = decode64([]byte(initial))
	case x.ClientFirst():
		response, err = s.ask(nil)
	}
	for done := false; err == nil; {
		if challenge, done, err = x.Step(s.ctx, response); done {
			return x.Identity(), nil
		}
		if err == nil {
			response, err = s.ask(challenge)
		}
	}
	if errors.Is(err, sasl.ErrMalformed) {
		err = reason.AuthEncoding
	}
	return who, err
}

// ask sends a challenge and returns the client's response.
func (s *session) ask(challenge []byte) ([]byte, error) {
	b := append(s.reply(), "334 "...)
	b = base64.StdEncoding.AppendEncode(b, challenge)
	s.said(append(b, '\r', '\n'))
	line, err := s.readLine(maxAuthLine, s.srv.o.IdleTimeout)
	if err == nil {
		s.tap.InSecret()
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
