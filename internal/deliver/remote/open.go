package remote

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/netx/names"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/smtp"
)

// open connects to one of a host's addresses and brings the session to where MAIL can be
// sent. The addresses that were tried are taken off the host.
func (a *attempt) open(ctx context.Context, h *host) (*session, failure) {
	t := a.t
	awake, rest := t.awake(h.addrs)
	if a.job.Force {
		awake = slices.Clone(h.addrs)
	}
	if len(awake) == 0 {
		h.addrs = nil
		return nil, failure{err: reason.HostResting.With(h.name), host: h.name, retryAfter: rest}
	}
	if h.qmtp {
		return a.openQMTP(ctx, h, awake)
	}
	g, e := a.guard(ctx, h)
	if e != nil {
		h.addrs = nil
		return nil, failure{err: e, host: h.name}
	}
	conn, to, failures, err := netx.HappyEyeballs(ctx, awake, t.deps.Dial)
	for _, f := range failures {
		t.dead.note(f.To.Addr(), f.Err)
	}
	if conn == nil {
		h.addrs = nil
		if err != nil {
			return nil, failure{err: reason.AttemptInterrupted.Because(err), host: h.name}
		}
		return nil, failure{err: connectFailed(h, failures), host: h.name, addr: failures[len(failures)-1].To.Addr().String()}
	}
	t.dead.note(to.Addr(), nil)
	h.addrs = slices.DeleteFunc(awake, func(x netip.AddrPort) bool {
		return x == to || slices.ContainsFunc(failures, func(f netx.Failure) bool { return f.To == x })
	})
	s := a.recorded(t.newSession(a.key, conn, h, to))
	s.tap = a.tap()
	f, ok := s.begin(ctx, h, g)
	var broken *tlsError
	if !ok && g.policy == route.TLSOpportunistic && errors.As(f.err, &broken) && ctx.Err() == nil {
		// RFC 7435: rather in plain text than not at all, on a connection of its own.
		if conn, err = t.deps.Dial(ctx, to); err == nil {
			s = a.recorded(t.newSession(a.key, conn, h, to))
			s.tap = a.tap()
			s.plain = "STARTTLS failed: " + smtp.Text(broken.Error(), 200)
			f, ok = s.begin(ctx, h, guard{policy: route.TLSNone})
		}
	}
	if !ok {
		return nil, f
	}
	return s, failure{}
}

// awake returns the addresses that are not left alone for now, and how long the first of the
// others is.
func (t *Target) awake(addrs []netip.AddrPort) (awake []netip.AddrPort, rest time.Duration) {
	for _, a := range addrs {
		r := t.dead.resting(a.Addr())
		if r == 0 {
			awake = append(awake, a)
		} else if rest == 0 || r < rest {
			rest = r
		}
	}
	return awake, rest
}

func connectFailed(h *host, failures []netx.Failure) *reason.Error {
	errs := make([]error, len(failures))
	for i, f := range failures {
		errs[i] = f.Err
	}
	return reason.ConnectFailed.With(h.name).Because(errors.Join(errs...))
}

// tlsError is a handshake that failed.
type tlsError struct{ cause error }

func (e *tlsError) Error() string { return e.cause.Error() }
func (e *tlsError) Unwrap() error { return e.cause }

// begin takes the session from the connection to MAIL. After a failure the connection is closed.
func (s *session) begin(ctx context.Context, h *host, g guard) (f failure, ok bool) {
	s.remark = h.remark
	defer s.watch(ctx)()
	defer func() {
		if !ok {
			s.close()
		}
	}()
	if g.policy == route.TLSImplicit {
		if e := s.handshake(ctx, g); e != nil {
			return s.failed(e, ""), false
		}
	}
	r, err := s.reply(s.t.o.GreetingTimeout)
	if err != nil {
		return s.failed(lost(err, s.who()), ""), false
	}
	if r.Code != 220 {
		e := refusal(reason.RemoteGreeting, r, s.who())
		if r.Code != 521 && r.Code != 556 { // RFC 7504: this host never takes mail
			e = passing(e)
		}
		s.farewell(r)
		return s.failed(e, ""), false
	}
	if f, ok = s.ehlo(); !ok {
		return f, false
	}
	if f, ok = s.startTLS(ctx, g); !ok {
		return f, false
	}
	if why := s.unrequired(h); why != "" {
		s.quit()
		return s.failed(reason.RequireTLS.With(h.name, why), "EHLO "+s.helo()), false
	}
	return s.login()
}

// unrequired tells what is missing in a session over verified TLS that has to carry REQUIRETLS (RFC 8689 4.2.1); "" for nothing.
func (s *session) unrequired(h *host) string {
	switch {
	case !s.key.required:
		return ""
	case !s.offer.RequireTLS:
		return "REQUIRETLS is not offered"
	case !h.secure && !h.sts:
		return "neither DNSSEC nor an MTA-STS policy proves that the domain's mail is for that host"
	}
	return ""
}

// farewell ends a session that the other side does not want, unless it hung up itself.
func (s *session) farewell(r smtp.Reply) {
	if r.Code != 421 {
		s.quit()
	}
}

// helo is this host's name, or the literal of the connection's address without one.
func (s *session) helo() string {
	if s.t.o.Helo != "" {
		return s.t.o.Helo
	}
	if a, err := netip.ParseAddrPort(s.conn.LocalAddr().String()); err == nil {
		return names.FormatLiteral(a.Addr())
	}
	return "localhost"
}

// ehlo greets, with HELO where EHLO is not known.
func (s *session) ehlo() (failure, bool) {
	command := "EHLO " + s.helo()
	r, err := s.command(s.t.o.EhloTimeout, command)
	if err == nil && r.Class() == 5 {
		command = "HELO " + s.helo()
		r, err = s.command(s.t.o.EhloTimeout, command)
		r.Lines = r.Lines[:min(len(r.Lines), 1)] // HELO offers nothing
	}
	switch {
	case err != nil:
		return s.failed(lost(err, s.who()), command), false
	case r.Class() != 2:
		s.farewell(r)
		return s.failed(passing(refusal(reason.RemoteHelo, r, s.who())), command), false
	}
	s.offer = smtp.ParseOffer(r)
	return failure{}, true
}

// startTLS protects the session as its guard asks.
func (s *session) startTLS(ctx context.Context, g guard) (failure, bool) {
	if g.policy == route.TLSNone || g.policy == route.TLSImplicit {
		return failure{}, true
	}
	must := g.policy != route.TLSOpportunistic
	if !s.offer.StartTLS {
		if !must {
			return failure{}, true
		}
		s.quit()
		if s.key.required {
			return s.failed(reason.RequireTLS.With(s.host, "TLS is not offered"), "EHLO "+s.helo()), false
		}
		return s.failed(g.broken(reason.TLSNotOffered.With(s.who()), "TLS is not offered"), "EHLO "+s.helo()), false
	}
	r, err := s.command(s.t.o.EhloTimeout, "STARTTLS")
	switch {
	case err != nil:
		return s.failed(lost(err, s.who()), "STARTTLS"), false
	case r.Code != 220 && must, r.Code == 421:
		s.farewell(r)
		const refused = "STARTTLS was refused"
		e := g.broken(reason.TLSFailed.With(s.who(), refused), refused)
		e.Remote = r.Verbatim(maxRemote)
		return s.failed(e, "STARTTLS"), false
	case r.Code != 220:
		s.plain = "STARTTLS was refused: " + smtp.Text(r.String(), 200)
		return failure{}, true
	}
	if e := s.handshake(ctx, g); e != nil {
		if s.key.required {
			e = reason.RequireTLS.With(s.host, e.Text(reason.English)).Because(e)
		}
		return s.failed(e, "STARTTLS"), false
	}
	return s.ehlo()
}

// handshake switches the connection to TLS. What came in plain text behind the reply to
// STARTTLS is dropped unread: it may be an attacker's (RFC 3207 6).
func (s *session) handshake(ctx context.Context, g guard) *reason.Error {
	config := g.config.Clone()
	config.ServerName = g.name
	ctx, cancel := context.WithTimeout(ctx, s.t.o.EhloTimeout)
	defer cancel()
	s.arm(s.t.o.EhloTimeout)
	c := tls.Client(s.conn, config)
	if err := c.HandshakeContext(ctx); err != nil {
		why := smtp.Text(err.Error(), 200)
		return g.broken(reason.TLSFailed.With(s.who(), why), why).Because(&tlsError{err})
	}
	s.conn = c
	s.in.Reset(c)
	state := c.ConnectionState()
	s.tls = strings.ReplaceAll(tls.VersionName(state.Version), " ", "") + " " + tls.CipherSuiteName(state.CipherSuite) + " " + g.how()
	return nil
}

// unsafe says why a password cannot be sent, and what the operator can do.
func (s *session) unsafe() string {
	why := "TLS is not offered there"
	switch {
	case s.key.tls == route.TLSNone:
		why = "the route forbids TLS (tls=none)"
	case s.plain != "":
		why = s.plain
	}
	return "the route by " + s.key.host + " has a user and password, which are never sent in clear, but " + why +
		"; give it a relay, port or tls= that encrypts, such as port 587 with tls=encrypt or port 465, or take user and password out"
}

// login authenticates where the route has credentials. They are sent over TLS only, or to this
// machine. A refusal is the operator's to mend, so the mail waits.
func (s *session) login() (failure, bool) {
	if s.key.user == "" {
		return failure{}, true
	}
	s.secret = true
	defer func() { s.secret = false }()
	if s.tls == "" && !s.addr.Addr().IsLoopback() {
		s.quit()
		return s.failed(reason.AuthNotPossible.With(s.who(), s.unsafe()), ""), false
	}
	var r smtp.Reply
	var err error
	mechanism := ""
	encode := base64.StdEncoding.EncodeToString
	switch {
	case slices.Contains(s.offer.Auth, "PLAIN"):
		mechanism = "AUTH PLAIN"
		r, err = s.command(s.t.o.EhloTimeout, mechanism+" "+encode([]byte("\x00"+s.key.user+"\x00"+s.key.password)))
	case slices.Contains(s.offer.Auth, "LOGIN"):
		mechanism = "AUTH LOGIN"
		r, err = s.command(s.t.o.EhloTimeout, mechanism)
		for _, answer := range []string{s.key.user, s.key.password} {
			if err == nil && r.Code == 334 {
				r, err = s.command(s.t.o.EhloTimeout, encode([]byte(answer)))
			}
		}
	default:
		s.quit()
		return s.failed(reason.AuthNotPossible.With(s.who(), "neither PLAIN nor LOGIN is offered"), "EHLO "+s.helo()), false
	}
	switch {
	case err != nil:
		return s.failed(lost(err, s.who()), mechanism), false
	case r.Class() != 2:
		s.farewell(r)
		return s.failed(passing(refusal(reason.RemoteAuth, r, s.who())), mechanism), false
	}
	return failure{}, true
}
