// Package submit is the one path by which every message enters: SMTP, LMTP, the
// sendmail command, JMAP, the web. It asks route and policy, writes the trace fields, streams
// the body into the queue, and answers for each recipient.
//
// What Commit accepted is on disk. Nothing here holds a body in memory, and nothing a caller
// passes on from a peer reaches a header field unescaped.
package submit

import (
	"context"
	"net/netip"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/policy"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/smtp"
	"github.com/postilion/postilion/internal/trace"
)

// Options steer what is written into messages.
type Options struct {
	HideClient  bool `toml:"hide_client" default:"false" doc:"leave the client's address and name out of the Received field of mail that an account sends" example:"true"`
	TellAccount bool `toml:"tell_account" default:"false" doc:"tell the account's address in the Received field of mail that it sends" example:"true"`

	// Host is this host's name in Received and Message-ID; config fills it from the key of that name.
	Host string `toml:"-"`
}

// Deps are what a Submitter works with. Queue, Router and Policy are needed.
type Deps struct {
	Queue  queue.Enqueuer
	Router route.Router
	Policy *policy.Policy
	Events trace.Recorder // nil forgets
	Clock  clock.Clock    // nil is the system's
	IDs    id.Source
	// Full returns an error while there is no room for messages; see policy.Floors. nil never does.
	Full func() error
	// Quota returns an error when size more bytes do not fit the account's mailbox; size is 0 when
	// it is not known. nil never does.
	Quota func(ctx context.Context, a *directory.Account, size int64) error
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
	// LocalOnly refuses recipients of other hosts, whoever asks: LMTP.
	LocalOnly bool
	// Complete adds the Date and Message-ID fields where they are missing (RFC 6409 8).
	Complete bool
}

// MaxSize returns the size of the largest message that src may hand in, as far as is known before
// MAIL: for the SIZE extension.
func (s *Submitter) MaxSize(src *Source) int64 {
	return s.d.Policy.MaxSize(policy.Client{Addr: src.Client, Local: src.Local || src.AccountID != 0})
}

// MaxRecipients is the like for the LIMITS extension.
func (s *Submitter) MaxRecipients() int { return s.d.Policy.MaxRecipients(policy.Client{}) }

// Begin starts a message. It decides about the sender, the declared size and the host's state; the
// error is a *reason.Error. src must not change until Commit or Abort.
func (s *Submitter) Begin(ctx context.Context, src *Source, m smtp.Mail) (*Transaction, error) {
	t := &Transaction{s: s, src: src, client: policy.Client{Addr: src.Client, Local: src.Local}, declared: max(m.Size, 0)}
	if err := t.begin(ctx, m); err != nil {
		t.refused(err, m.From, mail.Address{})
		return nil, err
	}
	t.env = mail.Envelope{
		ID: s.d.IDs.New(), Session: src.Session, From: m.From, Body: m.Body, UTF8: m.UTF8, TLSOnly: m.TLSOnly,
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

// begin makes the decisions of Begin.
func (t *Transaction) begin(ctx context.Context, m smtp.Mail) *reason.Error {
	s := t.s
	if s.d.Full != nil {
		if err := s.d.Full(); err != nil {
			return reason.As(err)
		}
	}
	if t.src.AccountID != 0 {
		if err := t.account(ctx); err != nil {
			return err
		}
	}
	if err := s.d.Policy.Sender(t.client, m.From); err != nil {
		return err
	}
	if t.client.Account != nil && !m.From.IsZero() && s.d.Policy.CheckSender() {
		r, err := s.d.Router.Route(ctx, m.From)
		if err != nil {
			return reason.As(err)
		}
		if err := s.d.Policy.Owns(t.client.Account, m.From, &r); err != nil {
			return err
		}
	}
	if !m.From.IsZero() && !t.src.LocalOnly && s.d.Policy.ChecksOutside(t.client) {
		// When the directory is away, Rcpt tells; mail that needs none passes.
		if r, err := s.d.Router.Route(ctx, m.From); err == nil {
			if err := s.d.Policy.Outside(m.From, &r); err != nil {
				return err
			}
		}
	}
	t.maxSize = s.d.Policy.MaxSize(t.client)
	if t.declared > t.maxSize {
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
	if r.Kind != route.Mailbox || r.Account == nil || r.Account.ID != t.src.AccountID {
		return reason.SendingForbidden.With(smtp.Text(t.src.Account, 200))
	}
	t.client.Account, t.client.Domain = r.Account, r.Domain
	return nil
}
