// Package client finds out who a client is, beside its dialogue: its name by DNS, what its ident server
// says, what DNS lists say of it, and what the operator's access rules make of all that.
//
// Its rule: a greeting waits for nothing. What takes time is begun with the connection and waited for where
// it is first needed, within bounds; what has not come by then counts as not known.
package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/dnsbl"
	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/policy/rules"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/serve"
	"github.com/postilion/postilion/internal/submit"
)

// Options are one listener's. The zero value asks and refuses nothing.
type Options struct {
	Rules         []string      `toml:"access_rules" doc:"files of rules by client, the first with a rule for it decides: the path of tcprules' text or cdb, access:PATH for the Connect: lines of sendmail's access in text, hosts:FOLDER for hosts.allow and hosts.deny; read again when they change" example:"[\"/etc/tcp.smtp.cdb\"]"`
	ReverseNames  bool          `toml:"reverse_names" default:"false" doc:"look up the names of clients, beside the dialogue, for Received fields and events; done without this key where a rule needs it" example:"true"`
	Ident         bool          `toml:"ident" default:"false" doc:"ask clients' ident servers (RFC 1413) who connects, beside the dialogue; done without this key where a rule needs it" example:"true"`
	LookupTimeout time.Duration `toml:"lookup_timeout" default:"10s" doc:"how long MAIL waits for a client's name and ident answer, counted from the connection's begin" example:"26s"`
}

// Validate names what is wrong. It opens the files of rules.
func (o *Options) Validate() error {
	var errs []error
	if o.LookupTimeout < 0 {
		errs = append(errs, fmt.Errorf("lookup_timeout: %v: want a duration that is not negative", o.LookupTimeout))
	}
	if _, err := rules.Open(o.Rules, "smtp", nil); err != nil {
		errs = append(errs, fmt.Errorf("access_rules: %w", err))
	}
	return errors.Join(errs...)
}

// Resolver is what is asked of DNS for names; *netx.Resolver is one.
type Resolver interface {
	PTR(ctx context.Context, addr netip.Addr) (netx.Result[string], error)
	Addrs(ctx context.Context, name string) (netx.Result[netip.Addr], error)
}

// Deps are what a Checker works with. All may be nil.
type Deps struct {
	Resolver Resolver     // without one names are not known
	Lists    *dnsbl.Lists // without them no DNS lists are asked
	// Dial opens connections to ident servers, from the given address.
	Dial func(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error)
	Warn func(error) // told of rules that turned bad
}

// Checker knows one listener's rules. A nil Checker knows nothing of anybody. It is safe for
// concurrent use.
type Checker struct {
	o     Options
	d     Deps
	rules *rules.Set
}

// New returns a Checker for a listener's service, nil when there is nothing to check.
func New(service string, o Options, d Deps) (*Checker, error) {
	if len(o.Rules) == 0 && !o.ReverseNames && !o.Ident && len(d.Lists.Names()) == 0 {
		return nil, nil
	}
	o.LookupTimeout = cmp.Or(o.LookupTimeout, 10*time.Second)
	if d.Dial == nil {
		d.Dial = dialFrom
	}
	set, err := rules.Open(o.Rules, service, d.Warn)
	if err != nil {
		return nil, fmt.Errorf("access_rules: %w", err)
	}
	return &Checker{o, d, set}, nil
}

// Errors tells which files of rules are bad now.
func (k *Checker) Errors() []string {
	if k == nil {
		return nil
	}
	return k.rules.Errors()
}

// Known is what is known of a client.
type Known struct {
	Host string // its name, which leads back to its address; "" while not known
	Info string // what its ident server said; "" while not known
	rules.Decision
}

// Refused reports whether the client is turned away.
func (k Known) Refused() bool { return k.Away() }

// Check is one client's. A nil Check knows nothing. It is used by one goroutine.
type Check struct {
	k      *Checker
	client netip.Addr
	early  Known
	final  bool // early is all that will be known
	cancel context.CancelFunc

	names  chan Known         // takes one, when the lookups are over
	known  *Known             // what Await returned
	listed chan *reason.Error // takes one; nil when the lists are not asked
	verdict
}

// verdict is what the lists said, once it was waited for.
type verdict struct {
	asked bool
	err   *reason.Error
}

// Begin starts to find out about a connection's client. End ends what is still under way.
func (k *Checker) Begin(c *serve.Conn) *Check {
	if k == nil {
		return nil
	}
	x := &Check{k: k, client: c.Client.Addr()}
	x.early.Decision = k.rules.Decide(rules.Client{Addr: x.client})
	host, info := k.rules.Needs()
	need := need{host: (host || k.o.ReverseNames) && k.d.Resolver != nil && x.client.IsValid(), info: (info || k.o.Ident) && x.client.IsValid()}
	x.final = !need.host && !need.info
	ctx, cancel := context.WithCancel(c.Context())
	x.cancel = cancel
	if !x.final {
		x.names = make(chan Known, 1)
		go func() { x.names <- k.lookup(ctx, c, need) }()
	}
	if len(k.d.Lists.Names()) > 0 && (!x.final || x.early.Lists == nil && !x.early.Away()) {
		x.listed = make(chan *reason.Error, 1)
		go func() { x.listed <- k.d.Lists.Check(ctx, x.client) }()
	}
	return x
}

// End ends what is still under way.
func (x *Check) End() {
	if x != nil {
		x.cancel()
	}
}

// need is what has to be asked for: the client's name, and what ident says.
type need struct{ host, info bool }

// lookup asks for what is needed, at once, and decides.
func (k *Checker) lookup(ctx context.Context, c *serve.Conn, need need) (n Known) {
	ctx, cancel := context.WithTimeout(ctx, k.o.LookupTimeout)
	defer cancel()
	user := make(chan string, 1)
	if need.info {
		go func() { user <- k.ident(ctx, c) }()
	} else {
		user <- ""
	}
	if need.host {
		n.Host = k.reverse(ctx, c.Client.Addr())
	}
	n.Info = <-user
	n.Decision = k.rules.Decide(rules.Client{Addr: c.Client.Addr(), Host: n.Host, Info: n.Info})
	return n
}

// maxNames bounds the names of an address that are checked.
const maxNames = 4

// reverse returns the first name of an address that leads back to it (tcpserver -p).
func (k *Checker) reverse(ctx context.Context, a netip.Addr) string {
	res, err := k.d.Resolver.PTR(ctx, a)
	if err != nil {
		return ""
	}
	for _, name := range res.Records[:min(len(res.Records), maxNames)] {
		back, err := k.d.Resolver.Addrs(ctx, name)
		if err == nil && slices.Contains(back.Records, a.Unmap().WithZone("")) {
			return name
		}
	}
	return ""
}

// Early returns what the address alone tells. Nothing is waited for. It turns a client away only
// where names could not change that.
func (x *Check) Early() Known {
	if x == nil {
		return Known{}
	}
	n := x.early
	if !x.final {
		n.Deny, n.Refusal = false, nil
	}
	return n
}

// Await returns all that is known, when the lookups are over.
func (x *Check) Await(ctx context.Context) Known {
	switch {
	case x == nil:
		return Known{}
	case x.final:
		return x.early
	case x.known != nil:
		return *x.known
	}
	n := x.early
	select {
	case n = <-x.names:
	case <-ctx.Done():
	}
	x.known = &n
	return n
}

// Recipient decides whether DNS lists refuse the client's mail: RBLSMTPD goes before them, accounts
// and clients that may relay pass (qmail reference 22.3). It waits for Await's answer and the lists'.
func (x *Check) Recipient(ctx context.Context, src *submit.Source) *reason.Error {
	if x == nil || src.AccountID != 0 {
		return nil
	}
	n := x.Await(ctx)
	switch {
	case n.Lists != nil && *n.Lists == "":
		return nil
	case n.Lists != nil:
		return blocked(*n.Lists)
	case x.listed == nil, n.Grant != nil && n.Grant.Relay:
		return nil
	}
	if !x.asked {
		x.asked = true
		select {
		case x.err = <-x.listed:
		case <-ctx.Done():
		}
	}
	return x.err
}

// blocked is RBLSMTPD's text: a "-" before it makes the refusal permanent (vector 44).
func blocked(text string) *reason.Error {
	text, permanent := strings.CutPrefix(text, "-")
	// rblsmtpd: at most 200 bytes, others than printable as "?".
	e := reason.ClientBlocked.With(safe(text))
	if permanent {
		e.Class, e.Code, e.Enhanced = reason.Permanent, 553, "5.7.1"
	}
	return e
}

func safe(s string) string {
	b := []byte(s[:min(len(s), 200)])
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '?'
		}
	}
	return string(b)
}

// errProxied: ident asks the host that the connection comes from, which is the proxy.
var errProxied = errors.New("the connection came through a proxy")
