package smtpd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/postilion/postilion/internal/intake/client"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/serve"
	"github.com/postilion/postilion/internal/smtp"
	"github.com/postilion/postilion/internal/submit"
	"github.com/postilion/postilion/internal/trace"
)

// session is one client's dialogue.
type session struct {
	wire
	ctx context.Context // of the connection: when the server stops, the command at hand is finished
	src submit.Source
	// check is what is found out about the client beside the dialogue; settled is set once its
	// answer was waited for.
	check   *client.Check
	settled bool
	ext     smtp.Extensions // offered in the last answer to EHLO or LHLO

	greeted  bool // HELO, EHLO or LHLO came
	extended bool // it was not HELO
	tx       *submit.Transaction
	body     *smtp.Decoder // between the first BDAT and the last; nil else
	utf8     bool          // MAIL said SMTPUTF8

	quit                           bool
	commands, idleCommands, errors int // since the last message
	messages, recipients, refusals int // in all
	authFailures                   int
	end                            string // how the session ended, for its event
	bytes                          int64
}

func newSession(srv *Server, c *serve.Conn) *session {
	s := &session{wire: wire{c: c, raw: c.Conn, srv: srv}, ctx: c.Context()}
	s.buf = s.small[:]
	s.src = submit.Source{
		Role: srv.role, Session: c.ID, Client: c.Client.Addr(),
		LocalOnly: srv.o.Mode == LMTP, Complete: srv.o.Mode == Submission, Local: srv.o.Mode == Local, Invoked: c.Invoked, PID: c.PID,
	}
	if state := c.TLS(); state != nil {
		s.src.TLS = describeTLS(state)
	}
	s.tap = srv.d.Record.Begin(srv.role, c.ID, c.Client.Addr())
	return s
}

// serve talks until the session ends, soon after ctx does.
func (s *session) serve(ctx context.Context) {
	defer s.watch(ctx)()
	s.check = s.srv.d.Clients.Begin(s.c)
	defer s.check.End()
	if s.greet() {
		for first := true; !s.quit; first = false {
			line, err := s.readLine(s.srv.o.MaxLine, s.srv.o.IdleTimeout)
			if err != nil && err != errTooLong {
				s.lost(err)
				break
			}
			if first && s.src.TLS == "" && s.srv.o.Mode != Local && unheard(s.raw) {
				s.fatal(reason.EarlyTalker) // it came while the greeting was on its way
				break
			}
			if err == errTooLong {
				s.refuse(reason.LineTooLong.With(strconv.Itoa(s.srv.o.MaxLine)))
			} else {
				s.tap.InCommand(line)
				s.command(string(line))
			}
			s.limits()
			if s.werr != nil {
				s.lost(s.werr)
			}
		}
	}
	s.reset()
	s.close()
	s.tap.End()
	s.record()
}

// greet says who we are, or why not. It waits for no lookup.
func (s *session) greet() bool {
	if s.src.TLS == "" && s.srv.o.Mode != Local && s.speaksFirst() {
		s.fatal(reason.EarlyTalker)
		return false
	}
	if known := s.check.Early(); known.Refused() {
		s.turnAway(known)
		return false
	} else {
		s.know(known)
	}
	if s.srv.d.Busy != nil {
		if err := s.srv.d.Busy(); err != nil {
			s.fatal(reason.As(err))
			return false
		}
	}
	b := append(s.reply(), "220 "...)
	b = append(b, s.srv.o.Host...)
	b = append(b, ' ')
	b = append(b, s.srv.o.Greeting...)
	s.said(append(b, '\r', '\n'))
	return true
}

// turnAway ends the session of a client whom the access rules refuse: with the rule's text, or without
// a word as tcpserver does.
func (s *session) turnAway(known client.Known) {
	e := reason.ClientRefused.With("denied by the access rules: " + known.Rule)
	s.refusals++
	s.event(e)
	s.quit, s.end = true, string(e.Reason)
	if known.Refusal != nil {
		s.tell(known.Refusal)
	}
}

// know takes over what is known of the client.
func (s *session) know(known client.Known) {
	s.src.Grant, s.src.RemoteHost, s.src.RemoteInfo = known.Grant, known.Host, known.Info
}

// settle waits for the client's name and ident answer where they are asked for, and reports whether
// it may go on.
func (s *session) settle() bool {
	if s.settled {
		return true
	}
	s.settled = true
	known := s.check.Await(s.ctx)
	s.know(known)
	if known.Refused() {
		if known.Refusal == nil {
			known.Refusal = reason.ClientRefused.With("Access denied") // it was greeted: it gets a word
		}
		s.turnAway(known)
		return false
	}
	return true
}

// command carries out one command.
func (s *session) command(line string) {
	s.commands++
	verb, arg := smtp.ParseCommand(line)
	if s.early(verb) {
		s.fatal(reason.EarlyPipelining.With(verb.String()))
		return
	}
	switch verb {
	case smtp.HELO, smtp.EHLO, smtp.LHLO:
		s.idleCommands++
		s.hello(verb, arg)
	case smtp.MAIL:
		s.mail(arg)
	case smtp.RCPT:
		s.rcpt(arg)
	case smtp.DATA:
		s.data(arg)
	case smtp.BDAT:
		s.bdat(arg)
	case smtp.RSET:
		s.idleCommands++
		s.reset()
		s.say(250, "2.0.0", s.srv.words.reset)
	case smtp.NOOP:
		s.idleCommands++
		s.say(250, "2.0.0", "ok")
	case smtp.QUIT:
		s.say(221, "2.0.0", s.srv.words.quit)
		s.quit, s.end = true, "quit"
	case smtp.STARTTLS:
		s.starttls(arg)
	case smtp.AUTH:
		s.auth(arg)
	case smtp.VRFY:
		s.idleCommands++
		s.vrfy(arg)
	case smtp.EXPN:
		s.idleCommands++
		s.refuse(reason.VerifyNotOffered)
	case smtp.HELP:
		s.idleCommands++
		s.say(214, "2.0.0", "commands: "+s.help(), "see RFC 5321")
	case smtp.ETRN:
		s.idleCommands++
		s.etrn(arg)
	case smtp.HTTP:
		s.fatal(reason.NotAMailClient)
	default:
		if len(line) > 0 && line[0] == 0x16 {
			// A TLS handshake where none belongs: nothing after it will be a command.
			s.fatal(reason.NotAMailClient)
			return
		}
		s.refuse(reason.CommandUnknown)
	}
}

// early reports whether the client has gone on without waiting for the answer to verb, where it
// had to: before PIPELINING was offered, and after what must end a group (RFC 2920 3.1). One who writes
// a message before the 354 does not see our answers, and may be writing through somebody else.
func (s *session) early(verb smtp.Verb) bool {
	if s.buffered() == 0 || s.srv.o.Mode == Local { // a script is piped into sendmail -bs at once
		return false
	}
	switch verb {
	case smtp.HELO, smtp.EHLO, smtp.LHLO, smtp.DATA:
		return true
	case smtp.STARTTLS, smtp.QUIT, smtp.BDAT, smtp.HTTP, smtp.Unknown:
		return false // these see to it themselves
	}
	return !s.extended || s.srv.o.NoPipelining
}

// limits closes the connection of a client that asks too much.
func (s *session) limits() {
	o := &s.srv.o
	switch {
	case s.quit:
	case s.errors >= o.MaxErrors:
		s.fatal(reason.TooManyErrors)
	case s.commands >= o.MaxCommands, s.idleCommands >= o.MaxIdle:
		s.fatal(reason.TooManyCommands)
	}
}

// say answers. The lines are free of CR and LF.
func (s *session) say(code int, enhanced string, lines ...string) {
	if s.srv.words.voice == reason.Qmail {
		enhanced = "" // not offered, and qmail says none
	}
	s.said(smtp.AppendReply(s.reply(), code, enhanced, lines...))
}

// refuse answers a command with an error, and counts it.
func (s *session) refuse(e *reason.Error) {
	s.errors++
	s.refusals++
	s.tell(e)
	s.event(e)
}

// tell answers with an error.
func (s *session) tell(e *reason.Error) {
	s.said(s.srv.appendRefusal(s.reply(), e))
}

// fatal answers with an error and ends the session.
func (s *session) fatal(e *reason.Error) {
	s.refusals++
	s.tell(e)
	s.event(e)
	s.quit, s.end = true, string(e.Reason)
}

// lost ends the session after a failed read or write.
func (s *session) lost(err error) {
	s.quit = true
	switch {
	case err == errEndless:
		s.fatal(reason.LineTooLong.With(strconv.Itoa(s.srv.o.MaxLine)))
	case errors.Is(err, errStopping):
		s.tell(reason.Stopping)
		s.end = "server stopping"
	case errors.Is(err, os.ErrDeadlineExceeded), err == errSlow:
		s.disarm()
		s.tell(reason.IdleTimeout)
		s.end = "timeout"
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrClosedPipe):
		s.end = "connection closed"
	default:
		s.end = err.Error()
	}
}

// reset drops the message at hand.
func (s *session) reset() {
	if s.tx != nil {
		s.tx.Abort()
		s.tx = nil
	}
	s.body, s.utf8 = nil, false
}

// event records a refusal of the protocol's; submit records those of messages.
func (s *session) event(e *reason.Error) {
	ev := s.newEvent(trace.Refused)
	ev.Code, ev.Status, ev.Reason, ev.Text = e.Code, e.Enhanced, string(e.Reason), e.Text(reason.English)
	s.srv.d.Events.Record(ev)
}

func (s *session) newEvent(kind trace.Kind) trace.Event {
	ev := trace.Event{
		Time: s.srv.d.Clock.Now(), Kind: kind, Role: s.srv.role, Session: s.c.ID, Account: s.src.Account, Helo: s.src.HELO, TLS: s.src.TLS,
	}
	if s.src.Client.IsValid() {
		ev.Client = s.src.Client.String()
	}
	if ev.Host = s.src.RemoteHost; s.src.RemoteInfo != "" {
		ev.Host = s.src.RemoteInfo + "@" + ev.Host
	}
	return ev
}

// record sums the session up.
func (s *session) record() {
	ev := s.newEvent(trace.SessionEnd)
	ev.Count, ev.Size = int64(s.messages), s.bytes
	if !s.c.Started.IsZero() {
		ev.Took = ev.Time.Sub(s.c.Started)
	}
	ev.Text = fmt.Sprintf("%s: %d messages, %d recipients, %d refusals", s.end, s.messages, s.recipients, s.refusals)
	s.srv.d.Events.Record(ev)
}

func describeTLS(state *tls.ConnectionState) string {
	return fmt.Sprintf("%s %s", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite))
}

// expired reports whether a message that began at start has taken too long.
func (s *session) expired(start time.Time) bool { return time.Since(start) > s.srv.o.TotalTimeout }
