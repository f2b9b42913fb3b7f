// Package pop3d serves mailboxes over POP3: RFC 1939, 2449 (CAPA), 2595 (STLS), 3206
// (response codes), 5034 (SASL), 6856 (UTF8, LANG).
//
// A session changes the mailbox at QUIT only, durably before its +OK, and holds it no
// longer than its connection lives. Whatever a client sends costs bounded memory and
// gets an answer that names its cause.
package pop3d

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/access/session"
	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/mailbox/maildir"
	"github.com/postilion/postilion/internal/record"
	"github.com/postilion/postilion/internal/serve"
	"github.com/postilion/postilion/internal/trace"
)

// Options are what an operator may choose. The zero value works.
type Options struct {
	Host         string        `toml:"host" doc:"host name in the greeting and in APOP's challenge; empty is the server's" example:"pop.example.test"`
	Timeout      time.Duration `toml:"timeout" default:"10m" doc:"time a client may be silent after login (RFC 1939: at least 10 minutes)" example:"20m"`
	LoginTimeout time.Duration `toml:"login_timeout" default:"1m" doc:"time a client may be silent before login" example:"30s"`
	LoginWithin  time.Duration `toml:"login_within" default:"5m" doc:"time from connecting to login in all" example:"2m"`
	WriteTimeout time.Duration `toml:"write_timeout" default:"2m" doc:"time a client may take to read one piece of a reply" example:"1m"`
	LineLimit    int           `toml:"line_limit" default:"1024" unit:"bytes" doc:"longest command line" example:"512"`
	ErrorLimit   int           `toml:"error_limit" default:"20" unit:"replies" doc:"failed commands in a row after which the connection is closed" example:"10"`
	LoginLimit   int           `toml:"login_limit" default:"100" unit:"commands" doc:"commands before login after which the connection is closed" example:"50"`
	CommandLimit int           `toml:"command_limit" default:"10000000" unit:"commands" doc:"commands in a session after which the connection is closed" example:"1000000"`
	Sessions     int           `toml:"sessions" default:"1" unit:"sessions" min:"-1" doc:"sessions that may hold one mailbox at the same time; -1 is any number" example:"-1"`
	LoginDelay   time.Duration `toml:"login_delay" default:"0s" doc:"least time between two logins of an account; 0 is none" example:"1m"`
	APOP         bool          `toml:"apop" default:"false" doc:"offer APOP, for accounts whose password form allows it" example:"true"`
	// Plaintext lets passwords pass without TLS on loopback; elsewhere they never do.
	Plaintext bool `toml:"plaintext_on_loopback" default:"false" doc:"accept passwords without TLS from clients on loopback" example:"true"`
	// UIDL: see maildir.Store.Identify.
	UIDL       string   `toml:"uidl" default:"%08Xu%08Xv" doc:"ids of messages that dovecot-uidlist names, as its pop3_uidl_format; \"name\" takes the file name for all" example:"name"`
	Mechanisms []string `toml:"mechanisms" default:"" doc:"SASL mechanisms that AUTH offers, of PLAIN, LOGIN, SCRAM-SHA-256 and SCRAM-SHA-256-PLUS; none is all" example:"[\"PLAIN\", \"SCRAM-SHA-256\"]"`

	Language string `toml:"language" default:"en" doc:"language of replies until the client chooses: en, ko or ja" example:"ko"`
}

// Validate refuses what cannot work.
func (o Options) Validate() error {
	var errs []error
	for _, m := range o.Mechanisms {
		if known := session.AllMechanisms(); !slices.Contains(known, m) {
			errs = append(errs, fmt.Errorf("mechanisms: %q: want one of %s", m, strings.Join(known, ", ")))
		}
	}
	if _, ok := languageOf(o.Language); o.Language != "" && !ok {
		errs = append(errs, fmt.Errorf("language: %q: want en, ko or ja", o.Language))
	}
	return errors.Join(errs...)
}

func (o *Options) fill() {
	o.Timeout = cmp.Or(o.Timeout, 10*time.Minute)
	o.LoginTimeout = cmp.Or(o.LoginTimeout, time.Minute)
	o.LoginWithin = cmp.Or(o.LoginWithin, 5*time.Minute)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, 2*time.Minute)
	o.LineLimit = cmp.Or(o.LineLimit, 1024)
	o.ErrorLimit = cmp.Or(o.ErrorLimit, 20)
	o.LoginLimit = cmp.Or(o.LoginLimit, 100)
	o.CommandLimit = cmp.Or(o.CommandLimit, 10_000_000)
	o.Sessions = cmp.Or(o.Sessions, 1)
	o.Host = cmp.Or(o.Host, "localhost")
}

// Deps is the world a Handler works in. All fields but TLS are needed.
type Deps struct {
	Logins    *session.Logins
	Holders   *session.Table
	Mailboxes *maildir.Store
	// Homes reaches the mailbox of an account of this system's users; nil where they have none.
	Homes    func(ctx context.Context, user *directory.SystemUser) (*maildir.Store, error)
	Clock    clock.Clock
	Recorder trace.Recorder
	// Record writes dialogues down on demand; nil never does.
	Record *record.Book
	// TLS returns the present configuration for STLS; nil, or a nil result, does not offer it.
	TLS func() *tls.Config
}

// Handler is a serve.Handler that speaks POP3.
type Handler struct {
	opts Options
	Deps
	language language
	table    map[string]command
}

var _ serve.Handler = (*Handler)(nil)

// New returns a Handler.
func New(o Options, d Deps) *Handler {
	o.fill()
	h := &Handler{opts: o, Deps: d, table: commandTable()}
	h.language, _ = languageOf(o.Language)
	return h
}

// Serve implements serve.Handler.
func (h *Handler) Serve(ctx context.Context, c *serve.Conn) {
	s := newSession(ctx, h, c)
	s.run()
}

// Refuse implements serve.Handler.
func (h *Handler) Refuse(c *serve.Conn, why string) {
	_ = c.SetWriteDeadline(time.Now().Add(5 * time.Second))
	_, _ = c.Write([]byte("-ERR [SYS/TEMP] " + printable(why) + ", please try again later\r\n")) // the server closes c whatever comes
}

// attempt says who tries to log in.
func (s *state) attempt() auth.Attempt {
	return auth.Attempt{Session: s.conn.ID, Client: s.conn.Client.Addr(), Protocol: "pop3", TLS: s.conn.TLS() != nil}
}
