// Package policy decides who may send what to whom: relay control, lists of unwanted
// senders and recipients, and the limits of a message. Its decisions are pure: they
// are made from what is passed in and from lists in memory, without waiting.
package policy

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/serve"
	"github.com/postilion/postilion/internal/smtp"
)

// Options are the rules. The zero value takes mail for this host's own domains from anyone,
// and mail for others from accounts that logged in.
type Options struct {
	RelayNetworks  []string `toml:"relay_networks" doc:"clients that may send to other hosts without logging in: addresses and ranges" example:"[\"192.0.2.0/24\", \"2001:db8::/32\"]"`
	BadSenders     []string `toml:"bad_senders" doc:"reverse-paths that are refused: user@host, or @host for all of a host, or the path of a file of them (qmail's control/badmailfrom), read again when it changes" example:"[\"@spam.example\", \"joe@bad.example\"]"`
	BadRecipients  []string `toml:"bad_recipients" doc:"recipients that are refused: user@host, or @host for all of a host, or the path of a file of them" example:"[\"former@example.test\"]"`
	ReceiveOnly    bool     `toml:"receive_only" default:"false" doc:"take mail for this host's own domains only, whoever sends it" example:"true"`
	AnySender      bool     `toml:"any_sender" default:"false" doc:"let accounts send with any reverse-path and with any From, Sender, Resent-From and Resent-Sender field, not only with their own addresses" example:"true"`
	OwnSenders     string   `toml:"own_senders" default:"accept" doc:"mail from outside, without a login, whose reverse-path is in a domain of this host: accept or refuse; refuse also stops mail that others forward back here" example:"refuse"`
	UnknownSenders string   `toml:"unknown_senders" default:"refuse" doc:"mail from outside, without a login, whose reverse-path is in a domain of this host but names nobody: accept or refuse" example:"accept"`
	MaxSize        int64    `toml:"max_size" default:"50MiB" unit:"bytes" doc:"size of a message from other hosts, with CRLF line ends" example:"\"25MiB\""`
	MaxSendSize    int64    `toml:"max_send_size" default:"50MiB" unit:"bytes" doc:"size of a message that an account or a relay network sends; an account's or its domain's own limit goes before it" example:"\"25MiB\""`
	MaxRecipients  int      `toml:"max_recipients" default:"1000" doc:"recipients of a message; further ones get a temporary answer" example:"100"`
	AccountRate    int      `toml:"account_rate" default:"0" unit:"recipients an hour" doc:"recipients that one account may send to in an hour; further ones get a temporary answer; 0 is no limit" example:"500"`
	MaxHops        int      `toml:"max_hops" default:"99" doc:"Received and Delivered-To fields of a message; one with more is taken for a loop" example:"50"`

	RcptHosts     []string `toml:"rcpthosts" doc:"further domains whose mail is taken from anyone and passed on: a domain, .suffix for all below it, or the path of a file of them such as qmail's control/rcpthosts or morercpthosts.cdb, read again when it changes" example:"[\"backup.example\", \".inside.example\", \"/var/qmail/control/morercpthosts.cdb\"]"`
	RcptHostsOnly bool     `toml:"rcpthosts_only" default:"false" doc:"take mail from outside for the domains of rcpthosts alone, not for this host's own that are missing there, as qmail does" example:"true"`
	AnyRecipient  bool     `toml:"any_recipient" default:"false" doc:"take mail for any host from anyone, as qmail without control/rcpthosts does: an open relay" example:"true"`
	SendersAt     string   `toml:"refuse_senders_at" default:"mail" doc:"when a sender of bad_senders is told: at mail, or at rcpt as qmail does (553)" example:"rcpt"`
	Databytes     int64    `toml:"databytes" default:"0" unit:"bytes" doc:"size of a message as qmail counts it, with LF line ends (control/databytes), in place of max_size and, but for programs of this host, of max_send_size; 0 leaves it to those" example:"\"25MiB\""`

	// Warn is told of files that have become bad; what they said before stays in force.
	Warn func(error) `toml:"-"`
}

const (
	defaultMaxSize       = 50 << 20
	defaultMaxRecipients = 1000 // RFC 5321 4.5.3.1.8 asks for 100
	defaultMaxHops       = 99   // qmail reference 4.5 refuses at 100; RFC 5321 6.3
)

// Policy is compiled Options. It is safe for concurrent use.
type Policy struct {
	o                    Options
	relay                []netip.Prefix
	senders, recipients  list
	rcpthosts            *hostList
	maxSize, maxSendSize int64
}

// New checks and compiles the options. The error names each wrong value and what was expected.
func New(o Options) (*Policy, error) {
	p := &Policy{o: o, maxSize: cmp.Or(o.MaxSize, defaultMaxSize), maxSendSize: cmp.Or(o.MaxSendSize, defaultMaxSize)}
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	var err error
	if p.relay, err = serve.ParsePrefixes(o.RelayNetworks); err != nil {
		wrong("relay_networks: %w", err)
	}
	for _, r := range p.relay {
		if r.Bits() == 0 {
			wrong("relay_networks: %q would let everyone relay: want a range of your own", r)
		}
	}
	if p.senders, err = newList(o.BadSenders, o.Warn); err != nil {
		wrong("bad_senders: %w", err)
	}
	if p.recipients, err = newList(o.BadRecipients, o.Warn); err != nil {
		wrong("bad_recipients: %w", err)
	}
	if p.rcpthosts, err = newHostList(o.RcptHosts, o.Warn); err != nil {
		wrong("rcpthosts: %w", err)
	}
	if o.SendersAt != "" && o.SendersAt != "mail" && o.SendersAt != "rcpt" {
		wrong("refuse_senders_at: %q: want mail or rcpt", o.SendersAt)
	}
	for _, k := range []struct{ name, value string }{{"own_senders", o.OwnSenders}, {"unknown_senders", o.UnknownSenders}} {
		if k.value != "" && k.value != "accept" && k.value != "refuse" {
			wrong("%s: %q: want accept or refuse", k.name, k.value)
		}
	}
	for _, k := range []struct {
		name  string
		value int64
	}{
		{"max_size", o.MaxSize}, {"max_send_size", o.MaxSendSize},
		{"max_recipients", int64(o.MaxRecipients)}, {"account_rate", int64(o.AccountRate)}, {"max_hops", int64(o.MaxHops)}, {"databytes", o.Databytes},
	} {
		if k.value < 0 {
			wrong("%s: %d: want a number that is not negative", k.name, k.value)
		}
	}
	if errs != nil {
		return nil, errors.Join(errs...)
	}
	p.o.MaxRecipients = cmp.Or(p.o.MaxRecipients, defaultMaxRecipients)
	p.o.MaxHops = cmp.Or(p.o.MaxHops, defaultMaxHops)
	return p, nil
}

// Client is who hands in a message.
type Client struct {
	Addr    netip.Addr         // invalid for this host's own programs
	Local   bool               // a user of this host, by its kernel's word
	Account *directory.Account // logged in; nil otherwise
	Domain  *directory.Domain  // the account's; nil without
	Grant   *Grant             // what the access rules give; nil for nothing
}

// MayRelay reports whether c may send to other hosts.
func (p *Policy) MayRelay(c Client) bool {
	return !p.o.ReceiveOnly && p.inside(c)
}

// inside reports whether c is one of this host's own: a user, an account, a relay network.
func (p *Policy) inside(c Client) bool {
	if c.Local || c.Account != nil || c.Grant != nil && c.Grant.Relay {
		return true
	}
	a := c.Addr.Unmap().WithZone("")
	for _, n := range p.relay {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// CheckSender reports whether an account's reverse-path must be one of its own addresses.
func (p *Policy) CheckSender() bool { return !p.o.AnySender }

// Sender decides about a reverse-path. The null one is never listed.
func (p *Policy) Sender(c Client, from mail.Address) *reason.Error {
	if c.Account != nil && c.Account.NoSend {
		return reason.SendingForbidden.With(smtp.Text(c.Account.Address.String(), 200))
	}
	if !from.IsZero() && p.senders.has(from) {
		return reason.SenderRefused.With(smtp.Text(from.String(), 200))
	}
	return nil
}

// ChecksOutside reports whether c's reverse-paths are to be shown to Outside.
func (p *Policy) ChecksOutside(c Client) bool {
	return (p.o.OwnSenders == "refuse" || p.o.UnknownSenders != "accept") && !p.inside(c)
}

// Outside decides about a reverse-path that comes from outside, given its route: one in a domain
// of this host may be refused at all, or when it names nobody.
func (p *Policy) Outside(from mail.Address, r *route.Route) *reason.Error {
	switch {
	case !r.Local:
		return nil
	case p.o.OwnSenders == "refuse":
		return reason.SenderIsOurs.With(smtp.Text(from.String(), 200))
	case p.o.UnknownSenders != "accept" && r.Kind == route.Refused && r.Err != nil && r.Err.Reason == reason.MailboxUnknown.Reason:
		return reason.SenderUnknown.With(smtp.Text(from.String(), 200))
	}
	return nil
}

// Owns decides whether an account may send as from, given from's route: the address is its own,
// a sub-address or one in an alias domain, an alias that leads to it alone, or one that the files of the user
// of this system decide about whose account it is. Everyone may send
// with the null reverse-path, as for receipts.
func (p *Policy) Owns(account *directory.Account, from mail.Address, r *route.Route) *reason.Error {
	switch {
	case from.IsZero(), p.o.AnySender:
		return nil
	case r.Kind == route.Mailbox && r.Account != nil && r.Account.ID == account.ID:
		return nil
	case r.Kind == route.SystemUser && r.User != nil && directory.SystemID(r.User.UID) == account.ID:
		return nil // its name, with extensions, and what virtual_domains gives the user
	case r.Kind == route.Forward && len(r.Targets) == 1 && same(r.Targets[0], account.Address):
		return nil
	}
	return reason.SenderNotYours.With(smtp.Text(from.String(), 200))
}

func same(a, b mail.Address) bool {
	return strings.EqualFold(a.Local, b.Local) && smtp.DomainKey(a.Domain) == smtp.DomainKey(b.Domain)
}

// Recipient decides about a recipient by its route. size is the declared size of the message, 0 when
// none was.
func (p *Policy) Recipient(c Client, to mail.Address, r *route.Route, size int64) *reason.Error {
	if p.recipients.has(to) {
		return reason.RecipientRefused.With(smtp.Text(to.String(), 200))
	}
	remote, host := r.Kind == route.Remote, to.Domain
	if r.Local && strings.HasPrefix(host, "[") {
		host = r.Final.Domain // control/localiphost stands for this host's addresses
	}
	switch {
	case remote && p.o.ReceiveOnly:
		return reason.ReceiveOnly
	case (remote || p.o.RcptHostsOnly && host != "") && !p.MayRelay(c) && !p.o.AnyRecipient && !p.rcpthosts.has(host):
		return reason.RelayDenied.With(smtp.Text(to.Domain, 200))
	case r.Kind == route.Refused:
		return r.Err
	}
	if most := RecipientMaxSize(r); most > 0 && size > most {
		return reason.MailboxTooBig.With(strconv.FormatInt(most, 10))
	}
	return nil
}

// RecipientMaxSize returns the size of the largest message that a recipient takes, 0 when it has no
// limit of its own.
func RecipientMaxSize(r *route.Route) int64 {
	switch {
	case r.Kind == route.Mailbox && r.Account != nil && r.Account.MaxSize > 0:
		return r.Account.MaxSize
	case r.Local && r.Domain != nil:
		return r.Domain.MaxSize
	}
	return 0
}

// MaxSize returns the size of the largest message that c may hand in, in bytes with CRLF.
func (p *Policy) MaxSize(c Client) int64 {
	switch {
	case c.Account != nil && c.Account.MaxSize > 0:
		return c.Account.MaxSize
	case c.Domain != nil && c.Domain.MaxSize > 0:
		return c.Domain.MaxSize
	case c.Grant != nil && c.Grant.Sized && c.Grant.Databytes > 0:
		return c.Grant.Databytes
	case c.Grant != nil && c.Grant.Sized:
		return NoLimit
	case p.o.Databytes > 0 && !c.Local:
		return p.o.Databytes
	case p.MayRelay(c):
		return p.maxSendSize
	}
	return p.maxSize
}

// CountsLF reports whether MaxSize of c counts line ends as LF, as DATABYTES does, not as CRLF.
func (p *Policy) CountsLF(c Client) bool {
	own := c.Account != nil && c.Account.MaxSize > 0 || c.Domain != nil && c.Domain.MaxSize > 0
	return !own && (p.o.Databytes > 0 && !c.Local || c.Grant != nil && c.Grant.Sized)
}

// SendersAtRcpt reports whether a refused sender is told at RCPT (qmail reference 2.8).
func (p *Policy) SendersAtRcpt() bool { return p.o.SendersAt == "rcpt" }

// MaxRecipients returns how many recipients a message of c may have.
func (p *Policy) MaxRecipients(c Client) int {
	if c.Account != nil && c.Account.MaxRecipients > 0 {
		return c.Account.MaxRecipients
	}
	return p.o.MaxRecipients
}

// MaxHops returns how many Received and Delivered-To fields a message may have.
func (p *Policy) MaxHops() int { return p.o.MaxHops }
