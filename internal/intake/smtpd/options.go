// Package smtpd speaks SMTP and LMTP to clients and hands what they bring to submit.
//
// A session is one goroutine that reads commands, never waits for anything but its client,
// the queue's commit and the answers of route and auth, and answers in one write what came in
// one piece. What a client sends is bounded in length, number and time before it is looked at.
package smtpd

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/auth/sasl"
	"github.com/postilion/postilion/internal/smtp"
)

// Mode is what a listener is for.
type Mode uint8

const (
	Receive    Mode = iota // mail from other hosts, port 25
	Submission             // mail of this host's accounts, ports 587 and 465: AUTH before MAIL (RFC 6409)
	LMTP                   // mail for this host's mailboxes from another server of the house, RFC 2033
	Local                  // mail of a program of this host, over the local socket (sendmail -bs)
)

// Options are one listener's. The zero value works once Host is set.
type Options struct {
	Greeting      string        `toml:"greeting" doc:"text after the host name in the greeting" example:"\"ESMTP\""`
	GreetingPause time.Duration `toml:"greeting_pause" default:"0s" min:"-1s" doc:"how long the greeting waits for clients that speak before it, which are dropped (sendmail's greet_pause); 0 is 2 ms while few connections come, and no wait else; -1s never waits" example:"5s"`
	MaxLine       int           `toml:"max_line" default:"2048" unit:"bytes" doc:"length of a command line" example:"4096"`
	MaxCommands   int           `toml:"max_commands" default:"10000" doc:"commands between two messages; then the connection is closed" example:"1000"`
	MaxIdle       int           `toml:"max_idle_commands" default:"200" doc:"commands that bring no message on (NOOP, RSET, VRFY, HELP, EHLO, ETRN) between two messages; then the connection is closed" example:"100"`
	MaxErrors     int           `toml:"max_errors" default:"20" doc:"refused commands between two messages; then the connection is closed" example:"10"`
	MaxAuthErrors int           `toml:"max_auth_failures" default:"5" doc:"failed logins of a connection; then it is closed" example:"3"`
	MaxMessages   int           `toml:"max_messages" default:"0" doc:"messages a connection; 0 is no limit" example:"100"`
	IdleTimeout   time.Duration `toml:"idle_timeout" default:"5m" doc:"time for a command to come in whole, and for the client to take an answer" example:"20m"`
	DataTimeout   time.Duration `toml:"data_timeout" default:"3m" doc:"time for the next block of a message" example:"20m"`
	TotalTimeout  time.Duration `toml:"message_timeout" default:"2h" doc:"time for a whole message" example:"30m"`
	TLSTimeout    time.Duration `toml:"tls_timeout" default:"30s" doc:"time for a TLS handshake" example:"10s"`
	BufferMemory  int64         `toml:"buffer_memory" default:"64MiB" unit:"bytes" doc:"memory for the messages that are coming in at the same time; sessions beyond it go on with 512 bytes each, slower" example:"\"16MiB\""`
	BareNewline   string        `toml:"bare_newline" default:"reject" doc:"what happens to a message with a bare CR or LF: reject; normalise to proper line ends; or defer, which answers 451 and closes the connection, as qmail does" example:"\"normalise\""`
	Replies       string        `toml:"replies" default:"postilion" doc:"words of replies: postilion, with enhanced status codes before them (RFC 2034), or qmail, byte for byte as qmail-smtpd, its usual patches and rblsmtpd word each case" example:"\"qmail\""`
	NoPipelining  bool          `toml:"no_pipelining" default:"false" doc:"do not offer PIPELINING, and drop clients that pipeline" example:"true"`
	Auth          bool          `toml:"auth" default:"false" doc:"offer AUTH on a listener for mail from other hosts; on submission it always is" example:"true"`
	PlainLoopback bool          `toml:"plain_auth_on_loopback" default:"false" doc:"take passwords without TLS from this host itself" example:"true"`
	Mechanisms    []string      `toml:"mechanisms" default:"" doc:"SASL mechanisms that AUTH offers, of PLAIN, LOGIN, SCRAM-SHA-256 and SCRAM-SHA-256-PLUS; none is all. Some clients fail on -PLUS instead of taking another, such as mutt 2.2 of Debian" example:"[\"PLAIN\", \"SCRAM-SHA-256\"]"`
	RequireTLS    bool          `toml:"require_tls" default:"false" doc:"take no mail without TLS" example:"true"`

	BareAddresses bool `toml:"bare_recipients" default:"false" doc:"take addresses as qmail does: without a domain (recipients are names at the default domain), with dots at any place, with local parts of up to 250 bytes" example:"true"`
	HeloOptional  bool `toml:"helo_optional" default:"false" doc:"take MAIL without HELO or EHLO before it, as qmail does" example:"true"`

	Mode Mode   `toml:"-"`
	Host string `toml:"-"` // this host's name in greeting and replies
}

// mechanisms are those that AUTH can offer; the last binds to the channel.
var mechanisms = []string{"PLAIN", "LOGIN", "SCRAM-SHA-256", sasl.Plus}

func (o *Options) fill() error {
	if o.Host == "" {
		return errors.New("smtp: want a host name")
	}
	if err := smtp.CheckDomain(o.Host); err != nil {
		return fmt.Errorf("smtp: host name %q: %w", o.Host, err)
	}
	if o.Greeting == "" {
		o.Greeting = "ESMTP Postilion"
		if o.Mode == LMTP {
			o.Greeting = "LMTP Postilion"
		}
	}
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if smtp.Text(o.Greeting, 200) != o.Greeting {
		wrong("greeting: %q: want at most 200 printable ASCII characters", o.Greeting)
	}
	for name, v := range map[string]*int{"max_line": &o.MaxLine, "max_commands": &o.MaxCommands, "max_idle_commands": &o.MaxIdle, "max_errors": &o.MaxErrors, "max_auth_failures": &o.MaxAuthErrors, "max_messages": &o.MaxMessages} {
		if *v < 0 {
			wrong("%s: %d: want a number that is not negative", name, *v)
		}
	}
	for name, v := range map[string]*time.Duration{"idle_timeout": &o.IdleTimeout, "data_timeout": &o.DataTimeout, "message_timeout": &o.TotalTimeout, "tls_timeout": &o.TLSTimeout} {
		if *v < 0 {
			wrong("%s: %v: want a duration that is not negative", name, *v)
		}
	}
	o.MaxLine = cmp.Or(o.MaxLine, smtp.MaxCommandLine)
	o.MaxCommands = cmp.Or(o.MaxCommands, 10000)
	o.MaxIdle = cmp.Or(o.MaxIdle, 200)
	o.MaxErrors = cmp.Or(o.MaxErrors, 20)
	o.MaxAuthErrors = cmp.Or(o.MaxAuthErrors, 5)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, 5*time.Minute) // RFC 5321 4.5.3.2.7
	o.DataTimeout = cmp.Or(o.DataTimeout, 3*time.Minute) // 4.5.3.2.5
	o.TotalTimeout = cmp.Or(o.TotalTimeout, 2*time.Hour)
	o.TLSTimeout = cmp.Or(o.TLSTimeout, 30*time.Second)
	o.BufferMemory = cmp.Or(o.BufferMemory, 64<<20)
	o.BareNewline = cmp.Or(o.BareNewline, "reject")
	for _, m := range o.Mechanisms {
		if !slices.Contains(mechanisms, m) {
			wrong("mechanisms: %q: want one of %s", m, strings.Join(mechanisms, ", "))
		}
	}
	if o.BareNewline != "reject" && o.BareNewline != "normalise" && o.BareNewline != "defer" {
		wrong("bare_newline: %q: want reject, normalise or defer", o.BareNewline)
	}
	if o.Replies != "" && o.Replies != "postilion" && o.Replies != "qmail" {
		wrong("replies: %q: want postilion or qmail", o.Replies)
	}
	if o.MaxLine >= 0 && o.MaxLine < 512 || o.MaxLine > 64<<10 {
		wrong("max_line: %d: want 512 to 65536", o.MaxLine)
	}
	return errors.Join(errs...)
}
