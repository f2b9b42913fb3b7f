package route

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/netx/names"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/srs"
)

// maxSubAddresses bounds the candidates of one local part, and so the directory's
// work for an address made of separators.
const maxSubAddresses = 8

// Resolver is the Router over a directory and a table of routes. It holds no state
// but its configuration: a reload makes a new one.
type Resolver struct {
	dir        directory.Reader
	own        func(netip.Addr) bool
	names      map[string]struct{} // this host's names
	deflt      string              // the default domain; "" without one
	noHost     string              // the domain of addresses without one
	ipHost     string              // the domain of this host's addresses
	postmaster mail.Address
	routes     table
	routesFile *smtproutes
	tls        TLSPolicy
	null       bool    // nothing is delivered here
	system     *system // nil without system users
	srs        *srs.Rewriter
}

// Deps are the world that a Resolver asks. The zero value of each works.
type Deps struct {
	Directory directory.Reader // nil has no domains
	// Own tells which addresses are this host's (see netx.OwnAddrs); nil means loopback only.
	Own   func(netip.Addr) bool
	Users Users            // nil is those of Options.Passwd
	Now   func() time.Time // of looking at files; nil is the system's
}

var _ Router = (*Resolver)(nil)

// New returns a Resolver over a directory; see NewWith.
func New(o Options, dir directory.Reader, own func(netip.Addr) bool) (*Resolver, error) {
	return NewWith(o, Deps{Directory: dir, Own: own})
}

// NewWith returns a Resolver. The error names each key that is wrong. Files are read when they are
// first needed: what is wrong with one is an error of the routes that it decides.
func NewWith(o Options, d Deps) (*Resolver, error) {
	r := &Resolver{dir: d.Directory, own: d.Own, null: o.NullClient, names: map[string]struct{}{"localhost": {}}}
	if r.own == nil {
		r.own = netip.Addr.IsLoopback
	}
	errs := r.setNames(o)
	var err error
	if r.tls, err = ParseTLSPolicy(o.TLS); err != nil {
		errs = append(errs, fmt.Errorf("tls: %w", err))
	}
	if r.routes, err = parseTable(o.Routes, o.NextHop, r.tls); err != nil {
		errs = append(errs, err)
	}
	if _, all := r.routes[""]; o.NullClient && !all {
		errs = append(errs, errors.New("null_client: want next_hop too, where all mail goes"))
	}
	r.routesFile = newSmtproutes(o.RoutesFile, r.tls, d.Now)
	if r.system, err = newSystem(o, d); err != nil {
		errs = append(errs, err)
	}
	if r.srs, err = newSRS(o, d.Now); err != nil {
		errs = append(errs, err)
	}
	if r.system != nil {
		r.system.host = r.host(o)
		r.system.deflt = r.deflt
	}
	return r, errors.Join(errs...)
}

// setNames fills in what this host is called.
func (r *Resolver) setNames(o Options) (errs []error) {
	name := func(key, value string) string {
		n, err := names.Domain(value)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %q: %w", key, value, err))
		}
		return n
	}
	if o.Host != "" {
		r.deflt = name("host", o.Host)
		r.names[r.deflt] = struct{}{}
	}
	for _, n := range o.Names {
		r.names[name("names", n)] = struct{}{}
	}
	if o.DefaultDomain != "" {
		r.deflt = name("default_domain", o.DefaultDomain)
	}
	r.noHost, r.ipHost = r.deflt, r.deflt
	if o.EnvNoHost != "" {
		r.noHost = name("env_no_host", o.EnvNoHost)
	}
	if o.LocalIPHost != "" {
		r.ipHost = name("local_ip_host", o.LocalIPHost)
	}
	r.postmaster = mail.Address{Local: "postmaster", Domain: r.deflt}
	if o.Postmaster != "" {
		r.postmaster = mail.ParseAddress(o.Postmaster)
		r.postmaster.Domain = cmp.Or(r.postmaster.Domain, r.deflt)
		if r.postmaster.Local == "" {
			errs = append(errs, fmt.Errorf("postmaster %q: want an address", o.Postmaster))
		}
	}
	return errs
}

// Route implements Router.
func (r *Resolver) Route(ctx context.Context, to mail.Address) (Route, error) {
	rt := Route{Final: to}
	if to.Local == "" && r.system == nil {
		return rt.refuse(reason.BadAddress.With("the local part is empty")), nil
	}
	domain, err := r.domain(to.Domain, &rt)
	if err != nil {
		return rt.refuse(reason.BadAddress.With(err.Error())), nil
	}
	rt.Final.Domain = domain
	switch {
	case r.srs != nil && r.srs.Ours(rt.Final):
		return r.back(rt), nil
	case r.null:
		return r.toHub(rt, domain)
	case r.system != nil:
		if rt.Local { // no domain was written, or this host's address
			to.Domain = domain
		}
		return r.withSystem(ctx, rt, to, domain)
	}
	found, locals, err := r.find(ctx, domain, to.Local)
	switch {
	case err == nil:
		return r.local(ctx, rt, found, locals)
	case !errors.Is(err, directory.ErrNotFound):
		return rt, reason.DirectoryUnavailable.Because(err)
	case rt.Local || r.isOwnName(domain):
		return r.ownName(ctx, rt, domain)
	}
	return r.remote(rt, domain)
}

// ownName answers for the host itself, without a domain of that name.
func (r *Resolver) ownName(ctx context.Context, rt Route, domain string) (Route, error) {
	rt.Local = true
	rt.step("domain "+domain, "host names", "this host's own name; no domain of that name in the directory")
	if isRole(rt.Final.Local) {
		return r.toPostmaster(ctx, rt)
	}
	return rt.refuse(reason.MailboxUnknown.With(rt.Final.String())), nil
}

// toHub answers for a null client: nothing is local.
func (r *Resolver) toHub(rt Route, domain string) (Route, error) {
	if rt.Final.Local == "" || domain == "" {
		return rt.refuse(reason.BadAddress.With(rt.Final.String())), nil
	}
	rt.Local = false
	rt.step("domain "+domain, "route.null_client", "nothing is delivered here")
	return r.remote(rt, domain)
}

// domain turns the address's domain into the name to look up: the default domain for
// none and for this host's own names and literals. It sets rt.Local for those.
func (r *Resolver) domain(domain string, rt *Route) (string, error) {
	if domain == "" {
		rt.Local = true
		rt.step("address without a domain", "default_domain", "the default domain "+quoted(r.noHost))
		return r.noHost, nil
	}
	if domain[0] == '[' {
		a, ok := names.Literal(domain)
		if !ok {
			return "", fmt.Errorf("%q is no address literal", domain)
		}
		literal := names.FormatLiteral(a)
		if !r.own(a) {
			return literal, nil
		}
		rt.Local = true
		rt.step("address literal "+literal, "interfaces of this host", "the default domain "+quoted(r.ipHost))
		return r.ipHost, nil
	}
	return names.Domain(domain)
}

// host is this host's name in key form; a wrong one has been told.
func (r *Resolver) host(o Options) string {
	name, err := names.Domain(o.Host)
	if err != nil {
		return ""
	}
	return name
}

func (r *Resolver) isOwnName(domain string) bool {
	_, own := r.names[domain]
	return own
}

// find asks the directory. One of the host's names that is no domain of its own
// stands for the default domain.
func (r *Resolver) find(ctx context.Context, domain, local string) (directory.Found, []candidate, error) {
	found, locals, err := r.findIn(ctx, domain, local)
	if errors.Is(err, directory.ErrNotFound) && domain != r.deflt && r.deflt != "" && r.isOwnName(domain) {
		return r.findIn(ctx, r.deflt, local)
	}
	return found, locals, err
}

// findIn asks with the rules that most domains have; only when the answer shows that
// this one's differ it asks again with those.
func (r *Resolver) findIn(ctx context.Context, domain, local string) (directory.Found, []candidate, error) {
	if domain == "" || domain[0] == '[' || r.dir == nil {
		return directory.Found{}, nil, directory.ErrNotFound
	}
	separators, caseSensitive := "+", false
	for range 2 {
		locals := candidates(local, separators, caseSensitive)
		found, err := r.dir.Find(ctx, domain, keys(locals))
		if err != nil {
			return found, locals, err
		}
		d := found.Domain
		if d.Separators == separators && d.CaseSensitive == caseSensitive {
			return found, locals, nil
		}
		separators, caseSensitive = d.Separators, d.CaseSensitive
	}
	return directory.Found{}, nil, fmt.Errorf("the rules of domain %s changed during the lookup", domain)
}

// candidate is a local part without a part of its sub-address.
type candidate struct{ key, folder string }

// candidates gives what a local part can stand for: itself, then without its
// sub-address, the longest first.
func candidates(local, separators string, caseSensitive bool) []candidate {
	c := []candidate{{directory.LocalKey(local, caseSensitive), ""}}
	for i := len(local) - 1; i > 0 && len(c) < maxSubAddresses; i-- {
		if strings.IndexByte(separators, local[i]) >= 0 && local[i] < 0x80 {
			c = append(c, candidate{directory.LocalKey(local[:i], caseSensitive), local[i+1:]})
		}
	}
	return c
}

func keys(c []candidate) []string {
	k := make([]string, len(c))
	for i := range c {
		k[i] = c[i].key
	}
	return k
}

// local decides within a domain of ours.
func (r *Resolver) local(ctx context.Context, rt Route, found directory.Found, locals []candidate) (Route, error) {
	rt.Local = true
	rt.Domain = &found.Domain
	if found.Domain.Name != rt.Final.Domain {
		rt.step("domain "+rt.Final.Domain, "directory: domains", "stands for "+found.Domain.Name)
		rt.Final.Domain = found.Domain.Name
	} else {
		rt.step("domain "+rt.Final.Domain, "directory: domains", "a domain of this host")
	}
	if found.Domain.Disabled {
		rt.step("domain "+found.Domain.Name, "directory: domains", "disabled")
		return rt.refuse(reason.DomainDisabled.With(found.Domain.Name)), nil
	}
	if found.CatchAll {
		return rt.catchAll(found), nil
	}
	for _, c := range locals {
		if c.key == found.Local && c.folder != "" {
			rt.Folder = c.folder
			rt.step("local part "+quoted(rt.Final.Local), "separators of "+found.Domain.Name,
				"sub-address "+quoted(c.folder)+" of "+quoted(c.key))
			break
		}
	}
	switch {
	case found.Account != nil:
		return rt.mailbox(found.Account), nil
	case found.Alias != nil:
		return rt.forward(found.Alias.Targets, found.Local), nil
	}
	return r.nobody(ctx, rt)
}

// nobody answers for a local part that the directory's domain does not have.
func (r *Resolver) nobody(ctx context.Context, rt Route) (Route, error) {
	if r.system != nil {
		// A domain of both: who has no account may be a user of the system.
		if done, err := r.system.also(&rt); done || err != nil {
			return rt.settle(err)
		}
	}
	if isRole(rt.Final.Local) {
		return r.toPostmaster(ctx, rt)
	}
	rt.step("local part "+quoted(rt.Final.Local), "directory: accounts, aliases", "nobody of that name")
	return rt.refuse(reason.MailboxUnknown.With(rt.Final.String())), nil
}

// catchAll sends the address on to the domain's catch-all. One that is not there either leaves
// the address unknown: the directory then says no CatchAll.
func (rt Route) catchAll(found directory.Found) Route {
	rt.step("local part "+quoted(rt.Final.Local), "catch-all of "+found.Domain.Name, "goes to "+quoted(found.Domain.CatchAll))
	if found.Account != nil {
		rt.Final = found.Account.Address
		return rt.mailbox(found.Account)
	}
	rt.Final = found.Alias.Address
	return rt.forward(found.Alias.Targets, "")
}

// roles are the names that every domain and the host itself must take mail for
// (RFC 5321 4.5.1, RFC 2142; qmail's set-up makes the same aliases).
var roles = [...]string{"postmaster", "mailer-daemon", "root", "abuse"}

func isRole(local string) bool {
	for _, role := range roles {
		if strings.EqualFold(local, role) {
			return true
		}
	}
	return false
}

// toPostmaster answers for a role's address that nobody has: with the mailbox of the
// host's postmaster, or a forward to it. Mail to postmaster is never refused: when
// the host's postmaster cannot be found either it waits until the operator has put that right.
func (r *Resolver) toPostmaster(ctx context.Context, rt Route) (Route, error) {
	rt.step("local part "+quoted(rt.Final.Local), "postmaster", "always taken: goes to "+quoted(r.postmaster.String()))
	unset := reason.PostmasterUnset.With(r.postmaster.String())
	domain, err := names.Domain(r.postmaster.Domain)
	if err != nil {
		return rt.refuse(unset), nil
	}
	found, locals, err := r.findIn(ctx, domain, r.postmaster.Local)
	switch {
	case errors.Is(err, directory.ErrNotFound):
		if r.isOwnName(domain) && !r.system.takes(domain) {
			return rt.refuse(unset), nil
		}
		rt.Kind, rt.Targets = Forward, []mail.Address{r.postmaster}
		return rt, nil
	case err != nil:
		return rt, reason.DirectoryUnavailable.Because(err)
	case found.Account == nil && found.Alias == nil:
		return rt.refuse(unset), nil
	}
	rt.Final = r.postmaster
	rt, err = r.local(ctx, rt, found, locals)
	if err == nil && rt.Kind == Refused && rt.Err.Class == reason.Permanent {
		rt.Err = unset
	}
	return rt, err
}

// remote chooses the next hop.
func (r *Resolver) remote(rt Route, domain string) (Route, error) {
	rt.Kind = Remote
	rt.step("domain "+domain, "directory: domains", "not a domain of this host")
	rule, ok, err := r.rule(domain)
	switch {
	case err != nil:
		return rt.settle(err)
	case !ok:
		rt.Next.TLS = r.tls
		rt.step("domain "+domain, "no route", "follow the MX records")
	default:
		rt.Next = rule.hop
		if rule.hop.Host == "" {
			rt.step("domain "+domain, rule.line, "follow the MX records")
		} else {
			rt.step("domain "+domain, rule.line, "next hop "+rule.hop.Host)
		}
	}
	rt.Next.Domain = domain
	return rt, nil
}

// rule finds the route of a domain: that of the configuration for itself or a suffix, that of the
// file, that of the configuration for all.
func (r *Resolver) rule(domain string) (rule, bool, error) {
	own, ok := r.routes.find(domain)
	if ok && own.key != "" || r.routesFile == nil {
		return own, ok, nil
	}
	if rule, found, err := r.routesFile.find(domain); found || err != nil {
		return rule, found, err
	}
	return own, ok, nil
}

// mailbox makes the answer for an account.
func (rt Route) mailbox(a *directory.Account) Route {
	if a.Disabled {
		rt.step("account "+a.Address.String(), "directory: accounts", "disabled")
		return rt.refuse(reason.MailboxDisabled.With(a.Address.String()))
	}
	rt.step("account "+a.Address.String(), "directory: accounts", "its mailbox")
	rt.Kind, rt.Account = Mailbox, a
	return rt
}

// forward makes the answer for an alias whose key is local: its targets, each once, without
// the alias itself. Only this one level is expanded; each target is routed by itself when the
// forwarded message is, and Delivered-To ends longer loops.
func (rt Route) forward(targets []mail.Address, local string) Route {
	seen := map[mail.Address]struct{}{{Local: local, Domain: rt.Domain.Name}: {}}
	for _, t := range targets {
		key := mail.Address{Local: directory.LocalKey(t.Local, rt.Domain.CaseSensitive), Domain: t.Domain}
		if name, err := names.Domain(t.Domain); err == nil {
			key.Domain = name
		}
		if _, twice := seen[key]; twice {
			continue
		}
		seen[key] = struct{}{}
		rt.Targets = append(rt.Targets, t)
	}
	if len(rt.Targets) == 0 {
		rt.step("alias "+rt.Final.String(), "directory: aliases", "leads to itself only")
		return rt.refuse(reason.AliasLoop.With(rt.Final.String()))
	}
	rt.step("alias "+rt.Final.String(), "directory: aliases", fmt.Sprintf("goes on to %d addresses", len(rt.Targets)))
	rt.Kind = Forward
	return rt
}

func (rt Route) refuse(err *reason.Error) Route {
	rt.Kind, rt.Err = Refused, err
	return rt
}

func (rt *Route) step(what, where, result string) {
	rt.Steps = append(rt.Steps, Step{what, where, result})
}

func quoted(s string) string { return `"` + s + `"` }
