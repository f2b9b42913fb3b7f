// Package submit is the one path by which every message enters: SMTP, LMTP, the
// sendmail command, JMAP, the web. It asks route and policy, writes the trace fields, streams
// the body into the queue, and answers for each recipient.
//
// What Commit accepted is on disk. Nothing here holds a body in memory, and nothing a caller
// passes on from a peer reaches a header field unescaped.
package submit

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/mail/archive"
	"github.com/postilion/postilion/internal/policy"
	"github.com/postilion/postilion/internal/policy/headers"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/smtp"
	"github.com/postilion/postilion/internal/trace"
)

// Options steer what is written into messages.
type Options struct {
	HideClient  bool          `toml:"hide_client" default:"false" doc:"leave the client's address and name out of the Received field of mail that an account sends" example:"true"`
	Received    string        `toml:"received" default:"postilion" doc:"form of the Received field: postilion, or qmail as qmail-smtpd writes it" example:"qmail"`
	Filter      string        `toml:"filter" doc:"a program that gets every message of the network in place of the queue, by qmail-queue's protocol, and hands on by running qmail-queue what is to go on (QMAILQUEUE); its path and arguments. QMAILQUEUE of a client goes before it" example:"/usr/local/bin/scan-mail"`
	FilterTime  time.Duration `toml:"filter_timeout" default:"5m" doc:"time for the filter to end once it has the whole message" example:"1m"`
	TellAccount bool          `toml:"tell_account" default:"false" doc:"tell the account's address in the Received field of mail that it sends" example:"true"`

	// Host is this host's name in Received and Message-ID; config fills it from the key of that name.
	Host string `toml:"-"`
}

// Validate names what is wrong.
func (o *Options) Validate() error {
	var errs []error
	if o.Received != "" && o.Received != "postilion" && o.Received != "qmail" {
		errs = append(errs, fmt.Errorf("received: %q: want postilion or qmail", o.Received))
	}
	if o.FilterTime < 0 {
		errs = append(errs, fmt.Errorf("filter_timeout: %v: want a duration that is not negative", o.FilterTime))
	}
	return errors.Join(errs...)
}

// Deps are what a Submitter works with. Queue, Router and Policy are needed.
type Deps struct {
	Queue  queue.Enqueuer
	Router route.Router
	Policy *policy.Policy
	Events trace.Recorder // nil forgets
	Clock  clock.Clock    // nil is the system's
	IDs    id.Source
	// Archive says who gets copies of messages.
	Archive archive.Rules
	// Full returns an error while there is no room for messages; see policy.Floors. nil never does.
	Full func() error
	// Content is the rules that messages are held against; nil for none.
	Content *headers.Set
	// Filters runs filters (QMAILQUEUE); nil: messages that should pass one are refused for now.
	Filters *Filters
	// Rate counts one more recipient of an account, or refuses it; see policy.Rates. nil never does.
	Rate func(account uint64, now time.Time) *reason.Error
	// Quota returns an error when size more bytes do not fit the account's mailbox; size is 0 when
	// it is not known. nil never does.
	Quota func(ctx context.Context, a *directory.Account, size int64) error
	// Exists returns an error when nothing takes the mail of a system user's address. nil takes all.
	Exists func(ctx context.Context, u route.User) error
}

// Submitter takes messages in. It is safe for concurrent use.
type Submitter struct {
	o Options
	d Deps
}

// New returns a Submitter.
func New(o Options, d Deps) *Submitter {
	if d.Events == nil {
		d.Events = trace.Discard
	}
	if d.Clock == nil {
		d.Clock = clock.System{}
	}
	return &Submitter{o, d}
}

// Source is who hands messages in: a session, or a program of this host. It is used by one
// goroutine; its fields may change between messages.
type Source struct {
	Role     string // for events: smtp, submission, lmtp, sendmail, jmap, …
	Session  id.ID
	Client   netip.Addr // invalid for local programs
	HELO     string     // as the peer said it
	Protocol string     // the Received field's "with" word
	TLS      string     // "TLS1.3 TLS_AES_128_GCM_SHA256"; "" without
	Account  string     // the address of the account that logged in; "" without
	// AccountID is the account's id; with Account it must match what the directory says.
	AccountID uint64
	Local     bool // a user of this host, by its kernel's word: may relay
	// Invoked, of mail that a program hands in, is who ran it, as qmail-queue words it in its Received
	// field: "by uid 1000", "by alias", "from network". PID is that program's.
	Invoked string
	PID     int
	// Late leaves what is wrong with a recipient to its delivery, which bounces it, as qmail-queue
	// does: a program would lose mail over one bad address of many. MaxRecipients then goes
	// before the policy's.
	Late          bool
	MaxRecipients int
	// Filtered tells that the message has been through the filter.
	Filtered bool
	// ID is the message's when it has one already; zero makes one.
	ID id.ID
	// LocalOnly refuses recipients of other hosts, whoever asks: LMTP.
	LocalOnly bool
	// RemoteHost is the client's name by DNS, RemoteInfo what its ident server said (RFC 1413): qmail's
	// TCPREMOTEHOST and TCPREMOTEINFO. "" where unknown or not asked.
	RemoteHost, RemoteInfo string
	// Grant is what the access rules give the client; nil for nothing.
	Grant *policy.Grant
	// Complete adds the Date and Message-ID fields where they are missing (RFC 6409 8).
	Complete bool
}

// MaxSize returns the size of the largest message that src may hand in, as far as is known before
// MAIL: for the SIZE extension.
func (s *Submitter) MaxSize(src *Source) int64 {
	return s.d.Policy.MaxSize(policy.Client{Addr: src.Client, Local: src.Local || src.AccountID != 0, Grant: src.Grant})
}

// Content returns the rules that messages are held against; nil for none.
func (s *Submitter) Content() *headers.Set { return s.d.Content }

// Route tells what an address is: as Router does, and refused where nothing takes a system user's mail.
func (s *Submitter) Route(ctx context.Context, to mail.Address) (route.Route, error) {
	r, err := s.d.Router.Route(ctx, to)
	if err != nil || r.Kind != route.SystemUser || s.d.Exists == nil {
		return r, err
	}
	if err := s.d.Exists(ctx, *r.User); err != nil {
		r.Kind, r.Err = route.Refused, reason.As(err)
	}
	return r, nil
}

// MaxRecipients is the like for the LIMITS extension.
func (s *Submitter) MaxRecipients() int { return s.d.Policy.MaxRecipients(policy.Client{}) }

// Begin starts a message. It decides about the sender, the declared size and the host's state; the
// error is a *reason.Error. src must not change until Commit or Abort.
func (s *Submitter) Begin(ctx context.Context, src *Source, m smtp.Mail) (*Transaction, error) {
	t := s.transaction(src)
	t.declared = max(m.Size, 0)
	if err := t.begin(ctx, m); err != nil {
		t.refused(err, m.From, mail.Address{})
		return nil, err
	}
	message := src.ID
	if message.IsZero() {
		message = s.d.IDs.New()
	}
	t.env = mail.Envelope{
		ID: message, Session: src.Session, From: m.From, Body: m.Body, UTF8: m.UTF8, TLSOnly: m.TLSOnly,
		EnvID: m.EnvID, Ret: m.Ret, Account: src.Account, Client: src.Client, HELO: src.HELO, Protocol: src.Protocol,
	}
	if a := t.client.Account; a != nil {
		t.env.Tenant = a.Tenant
	}
	if m.UTF8 && strings.Contains(src.Protocol, "MTP") {
		// RFC 6531 4.3: UTF8SMTP, UTF8SMTPSA, UTF8LMTP, …
		t.env.Protocol = "UTF8" + strings.TrimPrefix(src.Protocol, "E")
	}
	return t, nil
}

// BeginBody starts a message whose body comes before its envelope, as with QMTP and QMQP: it is ready
// for Write. Sender and Rcpt follow, then Commit; what they refuse was read in vain. src must
// not change until Commit or Abort. The error is a *reason.Error.
func (s *Submitter) BeginBody(ctx context.Context, src *Source) (*Transaction, error) {
	t := s.transaction(src)
	if err := t.host(ctx); err != nil {
		t.refused(err, mail.Address{}, mail.Address{})
		return nil, err
	}
	t.env = mail.Envelope{
		ID: s.d.IDs.New(), Session: src.Session, Account: src.Account, Client: src.Client, HELO: src.HELO, Protocol: src.Protocol,
	}
	if a := t.client.Account; a != nil {
		t.env.Tenant = a.Tenant
	}
	if err := t.open(ctx); err != nil {
		return nil, err
	}
	return t, nil
}

func (s *Submitter) transaction(src *Source) *Transaction {
	return &Transaction{s: s, src: src, client: policy.Client{Addr: src.Client, Local: src.Local, Grant: src.Grant}}
}

// begin makes the decisions of Begin.
func (t *Transaction) begin(ctx context.Context, m smtp.Mail) *reason.Error {
	if err := t.host(ctx); err != nil {
		return err
	}
	return t.sender(ctx, m)
}

// host makes the decisions that need no envelope: the host's state, the account, the size.
func (t *Transaction) host(ctx context.Context) *reason.Error {
	if full := t.s.d.Full; full != nil {
		if err := full(); err != nil {
			return reason.As(err)
		}
	}
	if t.src.AccountID != 0 {
		if err := t.account(ctx); err != nil {
			return err
		}
	}
	t.maxSize, t.countsLF = t.s.d.Policy.MaxSize(t.client), t.s.d.Policy.CountsLF(t.client)
	return nil
}

// sender makes the decisions about the reverse-path and the declared size.
func (t *Transaction) sender(ctx context.Context, m smtp.Mail) *reason.Error {
	s := t.s
	if err := s.d.Policy.Sender(t.client, m.From.Base()); err != nil {
		if !s.d.Policy.SendersAtRcpt() {
			return err
		}
		late := *err
		late.Code = 553 // qmail reference 4.3
		t.late = &late
	}
	from := m.From.Base()
	if t.client.Account != nil && !from.IsZero() && s.d.Policy.CheckSender() {
		r, err := s.d.Router.Route(ctx, from)
		if err != nil {
			return reason.As(err)
		}
		if err := s.d.Policy.Owns(t.client.Account, from, &r); err != nil {
			return err
		}
	}
	if !from.IsZero() && !t.src.LocalOnly && s.d.Policy.ChecksOutside(t.client) {
		// When the directory is away, Rcpt tells; mail that needs none passes.
		if r, err := s.d.Router.Route(ctx, from); err == nil {
			if err := s.d.Policy.Outside(from, &r); err != nil {
				return err
			}
		}
	}
	declared := t.declared
	if t.countsLF {
		declared /= 2 // the least that so many bytes with CRLF can be with LF
	}
	if declared > t.maxSize {
		return reason.MessageTooBig.With(strconv.FormatInt(t.maxSize, 10))
	}
	return nil
}

// account looks up the account that logged in, for its rights of this moment.
func (t *Transaction) account(ctx context.Context) *reason.Error {
	r, err := t.s.d.Router.Route(ctx, mail.ParseAddress(t.src.Account))
	if err != nil {
		return reason.As(err)
	}
	if r.Kind == route.SystemUser && r.User != nil && directory.SystemID(r.User.UID) == t.src.AccountID {
		t.client.Account = &directory.Account{ID: t.src.AccountID, Address: r.Final, System: &directory.SystemUser{
			Name: r.User.Name, UID: r.User.UID, GID: r.User.GID, Home: r.User.Home}}
		t.client.Domain = r.Domain
		return nil
	}
	if r.Kind != route.Mailbox || r.Account == nil || r.Account.ID != t.src.AccountID {
		return reason.SendingForbidden.With(smtp.Text(t.src.Account, 200))
	}
	t.client.Account, t.client.Domain = r.Account, r.Domain
	return nil
}
