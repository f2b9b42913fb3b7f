// Package bounce writes and reads what a mail system tells a sender about a message:
// that it failed, waits, arrived, or that its bounce failed.
//
// Such a notice is two things at once: a text that follows QSBMF (qmail reference
// 7.5), for people and for programs that know qmail's bounces, and a multipart/report
// as RFC 3464 has it. Nothing of a peer's bytes can break out of the line it is quoted in.
package bounce

import (
	"cmp"
	"context"
	"io"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
)

// Options are what an operator may steer. Zero values stand for defaults.
type Options struct {
	From          string   `toml:"bouncefrom" default:"MAILER-DAEMON" doc:"the local part that bounces come from" example:"MAILER-DAEMON"`
	Host          string   `toml:"bouncehost" default:"" doc:"the host that bounces name as theirs; empty is the server's name" example:"mx.example.test"`
	DoubleTo      string   `toml:"doublebounceto" default:"postmaster" doc:"the local part that gets bounces that bounced" example:"postmaster"`
	DoubleHost    string   `toml:"doublebouncehost" default:"" doc:"the host that gets bounces that bounced; empty is the server's name" example:"example.test"`
	MaxReturn     int64    `toml:"bounce_max_return" default:"65536" unit:"bytes" doc:"messages up to this size are returned whole, of larger ones the header, unless the sender asked for one of both" example:"50000"`
	Subject       string   `toml:"bouncesubject" default:"failure notice" doc:"subject of bounces (indimail's control of that name)" example:"\"Undelivered mail\""`
	DoubleSubject string   `toml:"doublebouncesubject" default:"failure notice" doc:"subject of bounces of bounces" example:"\"Bounced bounce\""`
	Message       []string `toml:"bouncemessage" doc:"lines that a bounce has in place of the apology, behind its first line; none begins with < or -" example:"[\"Your mail could not be delivered.\", \"Help: https://help.example/mail\"]"`
	DoubleMessage []string `toml:"doublebouncemessage" doc:"the same in bounces of bounces" example:"[\"A bounce bounced.\"]"`
	Unmarked      bool     `toml:"unmarked" default:"false" doc:"bounces have no Auto-Submitted field, as qmail's have none: ezmlm-weed throws away those that have one" example:"true"`
	Language      string   `toml:"language" default:"en" doc:"language in which bounces and delay notices speak to people: en, ko or ja; what programs read stays as it is" example:"ko"`
	Languages     []string `toml:"languages" doc:"other languages for readers in these domains: a domain, or .suffix for all below it, and en, ko or ja" example:"[\"example.co.kr ko\", \".jp ja\"]"`
	MaxFull       int64    `toml:"bounce_max_full" default:"10485760" unit:"bytes" doc:"the largest message that is returned whole even when the sender asks for it" example:"1000000"`
}

// DoubleSender is the reverse-path of a double bounce, "#@[]" (qmail reference 3.1).
var DoubleSender = mail.Address{Local: "#", Domain: "[]"}

// Builder makes notices. Its zero values work apart from Name. It is safe for
// concurrent use.
type Builder struct {
	Options
	Name string // the server's host name
}

// Kind is what a notice tells.
type Kind uint8

const (
	Failure Kind = iota // given up; a double bounce when the message was a bounce
	Delay               // still waiting, nothing has failed
	Success             // delivered, relayed or expanded, as the sender asked to hear
)

// String returns a word for logs.
func (k Kind) String() string {
	switch k {
	case Delay:
		return "delay notice"
	case Success:
		return "success notice"
	}
	return "failure notice"
}

// Action is RFC 3464 2.3.3.
type Action string

// The actions.
const (
	Failed    Action = "failed"
	Delayed   Action = "delayed"
	Delivered Action = "delivered"
	Relayed   Action = "relayed"
	Expanded  Action = "expanded"
)

// Notice is what is to be told about one message.
type Notice struct {
	Kind       Kind
	Of         *mail.Envelope
	Recipients []Outcome
	// Body opens the message's content, with LF line ends.
	Body func(ctx context.Context) (io.ReadCloser, error)
}

// Outcome is one recipient in a notice.
type Outcome struct {
	To         mail.Address
	ORcpt      string // as mail.Recipient.ORcpt
	Action     Action
	Err        *reason.Error // nil for a success
	Text       string        // where it went; verbatim bytes of a peer
	Host       string        // the remote MTA with its address in brackets; "" for local
	Last       time.Time     // of the last attempt
	RetryUntil time.Time     // of a delay; zero: not told
	Transcript string        // as deliver.Verdict.Transcript
}

// Envelope returns the envelope that n travels in, or nil when nobody is to be told:
// the message was a double bounce. A sender that asked for VERP gets its notices at the
// address without it (qmail reference 3.1).
func (b *Builder) Envelope(n *Notice, notice id.ID, now time.Time) *mail.Envelope {
	from := n.Of.From
	env := &mail.Envelope{ID: notice, Parent: n.Of.ID, Accepted: now, Tenant: n.Of.Tenant}
	to := from
	switch {
	case from == DoubleSender:
		return nil
	case from.IsZero():
		env.From = DoubleSender
		to = mail.Address{Local: cmp.Or(b.DoubleTo, "postmaster"), Domain: cmp.Or(b.DoubleHost, b.Name)}
	case from.Domain == "[]" && strings.HasSuffix(from.Local, "-"):
		to = mail.ParseAddress(strings.TrimSuffix(from.Local, "-"))
	}
	env.Recipients = []mail.Recipient{{To: to}}
	// Only the header asks for SMTPUTF8; UTF-8 in the parts needs no more than 8BITMIME.
	env.UTF8 = !to.IsASCII()
	if env.UTF8 || b.speaksUTF8(n, to) || eight(n) || b.returned(n) == whole && n.Of.Eight {
		env.Body = mail.Body8Bit
	}
	return env
}

// speaksUTF8 reports whether what the notice says to people needs more than ASCII.
func (b *Builder) speaksUTF8(n *Notice, to mail.Address) bool {
	if b.languageFor(to) != reason.English {
		return true
	}
	for _, line := range b.message(n) {
		if asciiOnly(line) != line {
			return true
		}
	}
	return false
}

// eight reports whether the notice's own parts need more than ASCII.
func eight(n *Notice) bool {
	if global(n) {
		return true
	}
	for i := range n.Recipients {
		o := &n.Recipients[i]
		for _, s := range []string{o.Host, o.Transcript, remoteText(o.Err)} {
			if asciiOnly(s) != s {
				return true
			}
		}
	}
	return false
}

func remoteText(e *reason.Error) string {
	if e == nil {
		return ""
	}
	return e.Remote + e.Text(reason.English)
}

// global reports whether the notice must be one of RFC 6533: it names an address that
// ASCII cannot.
func global(n *Notice) bool {
	if n.Of.UTF8 || !n.Of.From.IsASCII() {
		return true
	}
	for i := range n.Recipients {
		if !n.Recipients[i].To.IsASCII() {
			return true
		}
	}
	return false
}

// What comes back with a notice.
type part uint8

const (
	header part = iota
	whole
)

// returned decides how much of the message comes back (RFC 3461 4.3, 6.2): all of it only with a
// failure, and not of what requires TLS, since its bounce may pass without (RFC 8689 5).
func (b *Builder) returned(n *Notice) part {
	env := n.Of
	most := cmp.Or(max(b.Options.MaxReturn, 0), 64<<10)
	full := cmp.Or(max(b.Options.MaxFull, 0), 10<<20)
	switch {
	case n.Kind != Failure, env.Ret == mail.RetHeaders, env.TLSOnly:
		return header
	case env.Ret == mail.RetFull && env.Size <= full, env.Ret == mail.RetDefault && env.Size <= most:
		return whole
	}
	return header
}
