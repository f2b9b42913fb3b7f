// Package qmqpd serves QMQP (http://cr.yp.to/proto/qmqp.html; qmail reference 15.2): one message on a
// connection, from the hosts of the house, one answer for it.
//
// The protocol knows no relay control: who may speak it may send anywhere. So it is spoken with the
// networks that are named and with clients whom the access rules give RELAYCLIENT, and nobody else.
package qmqpd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/postilion/postilion/internal/intake/netstrings"
	"github.com/postilion/postilion/internal/policy"
	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/serve"
	"github.com/postilion/postilion/internal/smtp"
	"github.com/postilion/postilion/internal/submit"
)

// Options are one listener's. The zero value speaks with nobody.
type Options struct {
	Networks    []string      `toml:"networks" doc:"addresses and ranges of the hosts that may hand in messages; each may send to anywhere" example:"[\"192.0.2.0/28\"]"`
	IdleTimeout time.Duration `toml:"idle_timeout" default:"5m" doc:"time for the next bytes to come, and for the answer to be taken" example:"20m"`
	Total       time.Duration `toml:"message_timeout" default:"1h" doc:"time for the message" example:"30m"`
}

// Validate names what is wrong.
func (o *Options) Validate() error {
	var errs []error
	if err := netstrings.CheckTimeouts(o.IdleTimeout, o.Total); err != nil {
		errs = append(errs, err)
	}
	nets, err := serve.ParsePrefixes(o.Networks)
	if err != nil {
		errs = append(errs, fmt.Errorf("networks: %w", err))
	}
	for _, n := range nets {
		if n.Bits() == 0 {
			errs = append(errs, fmt.Errorf("networks: %q would let everyone relay: want a range of your own", n))
		}
	}
	return errors.Join(errs...)
}

// Deps are what a Server works with. Submit is needed.
type Deps = netstrings.Deps

// Server is a serve.Handler, safe for concurrent use.
type Server struct {
	o    Options
	d    Deps
	nets []netip.Prefix
}

// New returns a Server.
func New(o Options, d Deps) (*Server, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o.IdleTimeout, o.Total = netstrings.Timeouts(o.IdleTimeout, o.Total)
	nets, err := serve.ParsePrefixes(o.Networks)
	return &Server{o, d.Filled(), nets}, err
}

// Refuse answers a client over a limit: it tries again, or another server.
func (s *Server) Refuse(c *serve.Conn, why string) {
	c.Write(qmail.AppendNetstring(nil, "Z"+smtp.Text(why, 200)+" (#4.7.0)"))
}

func (s *Server) named(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, n := range s.nets {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// Serve takes one message: serve.Handler.
func (s *Server) Serve(ctx context.Context, c *serve.Conn) {
	w := netstrings.NewWire(c.Conn, s.o.IdleTimeout, s.o.Total)
	defer w.Watch(ctx)()
	defer w.Flush()
	check := s.d.Clients.Begin(c)
	defer check.End()
	x := &session{Wire: w, srv: s, c: c}
	x.src = submit.Source{Role: "qmqp", Session: c.ID, Client: c.Client.Addr(), Protocol: "QMQP"}
	end := "the client may not use this service"
	if known := check.Await(c.Context()); !known.Refused() && (s.named(x.src.Client) || known.Grant != nil && known.Grant.Relay) {
		grant := policy.Grant{}
		if known.Grant != nil {
			grant = *known.Grant
		}
		grant.Relay = true
		x.src.Grant, x.src.RemoteHost, x.src.RemoteInfo = &grant, known.Host, known.Info
		end = x.serve(c.Context())
	}
	x.record(end)
}

// session is one client's, and its message.
type session struct {
	*netstrings.Wire
	srv *Server
	c   *serve.Conn
	src submit.Source

	tx      *submit.Transaction // nil when nothing will be taken
	refusal string              // the answer, when it is not success
	taken   int
	last    *reason.Error // why a recipient was refused
	size    int64
}

func (x *session) serve(ctx context.Context) string {
	if err := x.Await(); err != nil {
		return err.Error()
	}
	if busy := x.srv.d.Busy; busy != nil {
		if err := busy(); err != nil {
			x.refusal = netstrings.Refusal(reason.As(err))
		}
	}
	if x.refusal == "" {
		tx, err := x.srv.d.Submit.BeginBody(ctx, &x.src)
		if err != nil {
			x.refusal = netstrings.Refusal(reason.As(err))
		} else {
			x.tx = tx
			defer tx.Abort()
		}
	}
	if err := x.read(ctx); err != nil {
		return err.Error()
	}
	return x.commit(ctx)
}

// read takes the outer netstring with all that is in it.
func (x *session) read(ctx context.Context) error {
	outer, err := qmail.ReadNetstringLen(x.R, netstrings.MaxMessage+netstrings.MaxList)
	if err != nil {
		return err
	}
	n, err := qmail.ReadNetstringLen(x.R, outer)
	if err != nil {
		return err
	}
	left := outer - n - framing(n)
	if left < 0 {
		return qmail.ErrNetstring
	}
	if err := x.Content(x.tx, n, false); err != nil {
		return err
	}
	if err := qmail.ReadNetstringEnd(x.R); err != nil {
		return err
	}
	if left == 0 {
		return qmail.ErrNetstring // the sender is missing
	}
	for i := 0; left > 0; i++ {
		a, length, ok, err := x.Address(left)
		if err != nil {
			return err
		}
		if left -= length; left < 0 {
			return qmail.ErrNetstring
		}
		if i > netstrings.MaxRecipients {
			return netstrings.ErrTooMany
		}
		switch {
		case x.tx == nil || x.refusal != "":
		case !ok || i > 0 && a.IsZero():
			x.refusal = netstrings.CannotAccept
		case i == 0:
			if err := x.tx.Sender(ctx, smtp.Mail{From: a, UTF8: !a.IsASCII()}); err != nil {
				x.refusal = netstrings.Refusal(reason.As(err))
			}
		default:
			x.recipient(ctx, smtp.Rcpt{To: a})
		}
	}
	return qmail.ReadNetstringEnd(x.R)
}

// framing is the length of a netstring around n bytes.
func framing(n int64) int64 { return int64(len(fmt.Sprint(n))) + 2 }

// recipient takes one. What cannot be delivered is told the sender by a bounce, since there is one
// answer for all; what may be tried again lets the client keep the whole message.
func (x *session) recipient(ctx context.Context, r smtp.Rcpt) {
	err := x.tx.Rcpt(ctx, r)
	if err == nil {
		x.taken++
		return
	}
	e := reason.As(err)
	if e.Class == reason.Temporary {
		x.refusal = netstrings.Refusal(e)
		return
	}
	x.last = e
	x.tx.Keep(r, e)
}

// takenForNobody is the answer to a message without recipients.
const takenForNobody = "Kno recipients, nothing to deliver"

func (x *session) commit(ctx context.Context) string {
	switch {
	case x.refusal != "":
	case x.taken == 0 && x.last != nil:
		x.refusal = netstrings.Refusal(x.last)
	case x.taken == 0:
		// To nobody it is taken and at once gone, as qmail-queue does (vector 37). No client reads
		// more than the K; the rest tells it from what was queued.
		x.Answer(takenForNobody)
		return "done, for nobody"
	default:
		if _, err := x.tx.Commit(ctx); err != nil {
			x.refusal = netstrings.Refusal(reason.As(err))
		}
	}
	if x.refusal != "" {
		x.taken = 0
		x.Answer(x.refusal)
		return "refused"
	}
	x.size = x.tx.Size()
	x.Answer(netstrings.Accepted(x.srv.d.Clock.Now(), x.tx))
	return "done"
}

// record sums the session up.
func (x *session) record(end string) {
	var messages int64
	if x.taken > 0 {
		messages = 1
	}
	x.srv.d.Record(x.c, &x.src, messages, x.size, fmt.Sprintf("%s: %d recipients", end, x.taken))
}
