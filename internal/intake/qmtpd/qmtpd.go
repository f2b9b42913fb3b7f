// Package qmtpd serves QMTP (http://cr.yp.to/proto/qmtp.txt; qmail reference 15.1): messages with their
// envelopes in netstrings, any number on a connection, one answer for each recipient.
//
// The body comes before the envelope, so it streams into the queue's draft first; nothing is committed
// before somebody may have it. An answer K is given when the message is on disk.
package qmtpd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/postilion/postilion/internal/intake/client"
	"github.com/postilion/postilion/internal/intake/netstrings"
	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/serve"
	"github.com/postilion/postilion/internal/smtp"
	"github.com/postilion/postilion/internal/submit"
)

// Options are one listener's. The zero value works.
type Options struct {
	IdleTimeout time.Duration `toml:"idle_timeout" default:"5m" doc:"time for the next bytes to come, and for answers to be taken" example:"20m"`
	Total       time.Duration `toml:"message_timeout" default:"1h" doc:"time for a whole message" example:"30m"`
	MaxMessages int           `toml:"max_messages" default:"0" doc:"messages a connection; 0 is no limit" example:"100"`
}

// Validate names what is wrong.
func (o *Options) Validate() error {
	err := netstrings.CheckTimeouts(o.IdleTimeout, o.Total)
	if o.MaxMessages < 0 {
		err = errors.Join(err, fmt.Errorf("max_messages: %d: want a number that is not negative", o.MaxMessages))
	}
	return err
}

// Deps are what a Server works with. Submit is needed.
type Deps = netstrings.Deps

// Server is a serve.Handler, safe for concurrent use.
type Server struct {
	o Options
	d Deps
}

// New returns a Server.
func New(o Options, d Deps) (*Server, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o.IdleTimeout, o.Total = netstrings.Timeouts(o.IdleTimeout, o.Total)
	return &Server{o, d.Filled()}, nil
}

// Refuse has nothing to say: QMTP has no answer without a message. The client tries again.
func (s *Server) Refuse(*serve.Conn, string) {}

// session is one client's.
type session struct {
	*netstrings.Wire
	srv   *Server
	c     *serve.Conn
	check *client.Check
	src   submit.Source

	messages, recipients, refusals int
	bytes                          int64
}

// Serve talks with one client: serve.Handler.
func (s *Server) Serve(ctx context.Context, c *serve.Conn) {
	x := &session{Wire: netstrings.NewWire(c.Conn, s.o.IdleTimeout, s.o.Total), srv: s, c: c}
	x.src = submit.Source{Role: "qmtp", Session: c.ID, Client: c.Client.Addr(), Protocol: "QMTP"}
	end := "server busy"
	if s.d.Busy == nil || s.d.Busy() == nil {
		defer x.Watch(ctx)()
		x.check = s.d.Clients.Begin(c)
		defer x.check.End()
		end = x.serve(c.Context())
	}
	x.record(end)
}

// serve takes messages until the session ends, and tells why it did.
func (x *session) serve(ctx context.Context) string {
	for {
		if most := x.srv.o.MaxMessages; most > 0 && x.messages >= most {
			x.Flush()
			return "max_messages reached"
		}
		if err := x.Await(); err != nil {
			x.Flush()
			return err.Error()
		}
		if x.messages == 0 && x.refusals == 0 {
			known := x.check.Await(ctx)
			if known.Refused() {
				return "denied by the access rules"
			}
			x.src.Grant, x.src.RemoteHost, x.src.RemoteInfo = known.Grant, known.Host, known.Info
		}
		if err := x.message(ctx); err != nil {
			x.Flush()
			return err.Error()
		}
	}
}

// message takes one message. An error is one of the connection or of framing: no answer is due.
func (x *session) message(ctx context.Context) error {
	m := letter{session: x}
	defer m.abort()
	m.tx, m.whole = m.begin(ctx)
	if err := m.content(); err != nil {
		return err
	}
	if err := m.sender(ctx); err != nil {
		return err
	}
	if err := m.envelope(ctx); err != nil {
		return err
	}
	m.answer(ctx)
	return nil
}

// letter is one message under way.
type letter struct {
	*session
	tx    *submit.Transaction // nil when nothing will be taken
	whole string              // the answer for all recipients that have none of their own
	own   []string            // by recipient; "" for those that were taken
	taken int
}

func (m *letter) begin(ctx context.Context) (*submit.Transaction, string) {
	tx, err := m.srv.d.Submit.BeginBody(ctx, &m.src)
	if err != nil {
		return nil, netstrings.Refusal(reason.As(err))
	}
	return tx, ""
}

func (m *letter) abort() {
	if m.tx != nil {
		m.tx.Abort()
	}
}

// content reads the message. Its first byte tells its line ends.
func (m *letter) content() error {
	n, err := qmail.ReadNetstringLen(m.R, netstrings.MaxMessage)
	if err != nil {
		return err
	}
	if n == 0 {
		return qmail.ErrNetstring
	}
	form, err := m.R.ReadByte()
	if err != nil {
		return err
	}
	if form != '\n' && form != '\r' {
		return qmail.ErrNetstring
	}
	if err := m.Content(m.tx, n-1, form == '\r'); err != nil {
		return err
	}
	return qmail.ReadNetstringEnd(m.R)
}

func (m *letter) sender(ctx context.Context) error {
	from, _, ok, err := m.Address(netstrings.MaxList)
	if err != nil {
		return err
	}
	if m.tx == nil {
		return nil
	}
	if !ok {
		m.whole = netstrings.BadSender
	} else if err := m.tx.Sender(ctx, smtp.Mail{From: from, UTF8: !from.IsASCII()}); err != nil {
		m.whole = netstrings.Refusal(reason.As(err))
	}
	return nil
}

// envelope reads the recipients.
func (m *letter) envelope(ctx context.Context) error {
	left, err := qmail.ReadNetstringLen(m.R, netstrings.MaxList)
	if err != nil {
		return err
	}
	for left > 0 {
		to, length, ok, err := m.Address(left)
		if err != nil {
			return err
		}
		if left -= length; left < 0 {
			return qmail.ErrNetstring
		}
		if len(m.own) >= netstrings.MaxRecipients {
			return netstrings.ErrTooMany
		}
		m.own = append(m.own, m.recipient(ctx, smtp.Rcpt{To: to}, ok))
	}
	return qmail.ReadNetstringEnd(m.R)
}

// recipient decides about one and returns its own answer.
func (m *letter) recipient(ctx context.Context, r smtp.Rcpt, ok bool) string {
	switch {
	case !ok || r.To.IsZero():
		return netstrings.CannotHandle
	case m.tx == nil || m.whole != "":
		return ""
	}
	if err := m.check.Recipient(ctx, &m.src); err != nil {
		m.tx.Refused(err, r.To)
		return netstrings.Refusal(err)
	}
	if err := m.tx.Rcpt(ctx, r); err != nil {
		return netstrings.Refusal(reason.As(err))
	}
	m.taken++
	return ""
}

// answer commits the message and answers for each recipient, in order.
func (m *letter) answer(ctx context.Context) {
	var verdicts []*reason.Error
	if m.whole == "" && m.taken > 0 {
		var err error
		if verdicts, err = m.tx.Commit(ctx); err != nil {
			m.whole = netstrings.Refusal(reason.As(err))
		} else {
			m.whole = netstrings.Accepted(m.srv.d.Clock.Now(), m.tx)
			m.messages++
			m.recipients += m.taken
			m.bytes += m.tx.Size()
		}
	}
	n := 0
	for _, own := range m.own {
		text := own
		if own == "" {
			text = m.whole
			if n < len(verdicts) && verdicts[n] != nil {
				text = netstrings.Refusal(verdicts[n])
			}
			n++
		}
		if text[0] != 'K' {
			m.refusals++
		}
		m.Answer(text)
	}
}

// record sums the session up.
func (x *session) record(end string) {
	x.srv.d.Record(x.c, &x.src, int64(x.messages), x.bytes,
		fmt.Sprintf("%s: %d messages, %d recipients, %d refusals", end, x.messages, x.recipients, x.refusals))
}
