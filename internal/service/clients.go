package service

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/dispatch"
	"github.com/postilion/postilion/internal/dnsbl"
	"github.com/postilion/postilion/internal/intake/client"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/netx/names"
	"github.com/postilion/postilion/internal/policy/headers"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/rpc"
	"github.com/postilion/postilion/internal/serve"
	"github.com/postilion/postilion/internal/submit"
)

// This file is who clients are to the listeners, and the mail that waits for hosts which come and
// fetch it (ETRN, AutoTURN).

// guests makes the checkers of a role's listeners.
type guests struct {
	resolver *netx.Resolver
	warn     func(error) // of files that turned bad
	refusing func(error) // of DNS lists that refuse our questions

	mu   sync.Mutex
	each []*client.Checker // in force

	content atomic.Pointer[headers.Set] // in force; nil without
}

func (p *process) newGuests() (*guests, error) {
	r, err := netx.NewResolver(p.cfg.DNS)
	if err != nil {
		return nil, err
	}
	return &guests{resolver: r, warn: func(err error) {
		p.logger().Warn("a file is wrong; what it said before stays in force", "error", err)
	}, refusing: func(err error) {
		p.logger().Warn("a DNS list is of no use", "error", err)
	}}, nil
}

// lists compiles the DNS lists.
func (g *guests) lists(c *config.Config) (*dnsbl.Lists, error) {
	return dnsbl.New(c.DNSLists, g.resolver, g.refusing)
}

// checker makes one listener's; lists may be nil.
func (g *guests) checker(service string, o client.Options, lists *dnsbl.Lists) (*client.Checker, error) {
	return client.New(service, o, client.Deps{Resolver: g.resolver, Lists: lists, Warn: g.warn})
}

// use remembers which checkers are in force, for facts.
func (g *guests) use(each []*client.Checker) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.each = each
}

// facts adds to a role's facts which files of rules are wrong.
func (g *guests) facts(m map[string]any) map[string]any {
	g.mu.Lock()
	defer g.mu.Unlock()
	var bad []string
	for _, k := range g.each {
		for _, e := range k.Errors() {
			if !slices.Contains(bad, e) {
				bad = append(bad, e)
			}
		}
	}
	bad = append(bad, g.content.Load().Errors()...)
	if bad != nil {
		m["wrong_rules"] = strings.Join(bad, "; ")
	}
	return m
}

// fetchers is who may have waiting mail sent by asking (ETRN, RFC 1985) or by connecting (AutoTURN, qmail
// reference 16.2).
type fetchers struct {
	ask, auto []config.Fetcher
	resolver  *netx.Resolver
	router    route.Router
	// start begins the delivery of what waits for a domain and tells how many messages that is.
	start func(ctx context.Context, domain string) (int, error)
	now   func() time.Time

	mu   sync.Mutex
	last map[string]time.Time // by way and domain; bounded by the configured ones and maxAsked
}

const (
	fetchEvery = 5 * time.Second // the least time between two starts for one domain
	maxAsked   = 10_000          // domains whose last start is remembered

	fetchWithin = 10 * time.Second // for the queue to be told of a dial-in host
)

// etrn is smtpd's ETRN. It may be asked for by who logged in, may relay, is listed, or takes the mail
// of the domain anyway.
func (f *fetchers) etrn(ctx context.Context, who *submit.Source, domain string) (int, error) {
	if !f.mayAsk(ctx, who, domain) {
		return 0, reason.EtrnRefused.With(domain)
	}
	return f.fetch(ctx, "etrn", domain)
}

func (f *fetchers) mayAsk(ctx context.Context, who *submit.Source, domain string) bool {
	if who.AccountID != 0 || who.Local || who.Client.IsLoopback() || who.Grant != nil && who.Grant.Relay {
		return true
	}
	for _, x := range f.ask {
		if x.Has(who.Client) && (slices.Contains(x.Domains, domain) || slices.Contains(x.Domains, "*")) {
			return true
		}
	}
	return f.takes(ctx, who.Client, domain)
}

// takes reports whether the mail of a domain goes to an address: that of its route or its exchangers.
func (f *fetchers) takes(ctx context.Context, client netip.Addr, domain string) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := f.router.Route(ctx, mail.Address{Local: "postmaster", Domain: domain})
	if err != nil || r.Kind != route.Remote {
		return false
	}
	hosts := []string{r.Next.Host}
	if r.Next.Host == "" || r.Next.MX {
		name := cmp.Or(r.Next.Host, r.Next.Domain)
		mx, err := f.resolver.MX(ctx, name)
		if err != nil && !errors.Is(err, netx.ErrNoData) {
			return false
		}
		hosts = []string{name}
		if err == nil {
			hosts = nil
			for _, x := range mx.Records[:min(len(mx.Records), 10)] {
				hosts = append(hosts, x.Host)
			}
		}
	}
	for _, name := range hosts {
		if a, ok := names.Literal(name); ok {
			if a == client.Unmap() {
				return true
			}
			continue
		}
		if res, err := f.resolver.Addrs(ctx, name); err == nil && slices.Contains(res.Records, client.Unmap()) {
			return true
		}
	}
	return false
}

// fetch starts the delivery of a domain's mail, not too often for one way of asking; it tells how
// many messages that is, -1 when it has been started just now.
func (f *fetchers) fetch(ctx context.Context, way, domain string) (int, error) {
	key := way + " " + domain
	f.mu.Lock()
	now := f.now()
	if f.last == nil || len(f.last) >= maxAsked {
		f.last = map[string]time.Time{}
	}
	early := now.Sub(f.last[key]) < fetchEvery && !now.Before(f.last[key])
	if !early {
		f.last[key] = now
	}
	f.mu.Unlock()
	if early {
		return -1, nil
	}
	return f.start(ctx, domain)
}

// connected starts the delivery to a dial-in host that has just been here.
func (f *fetchers) connected(ctx context.Context, client netip.Addr) {
	for _, x := range f.auto {
		if !x.Has(client) {
			continue
		}
		for _, d := range x.Domains {
			_, _ = f.fetch(ctx, "auto", d) // the schedule tries too
		}
	}
}

// turning is a handler whose clients get their waiting mail after their session.
type turning struct {
	serve.Handler
	fetchers *fetchers
}

// Serve implements serve.Handler.
func (t turning) Serve(ctx context.Context, c *serve.Conn) {
	client := c.Client.Addr()
	t.Handler.Serve(ctx, c)
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchWithin)
	defer cancel()
	t.fetchers.connected(within, client)
}

// newFetchers prepares who may fetch.
func (p *process) newFetchers(c *config.Config, g *guests) (*fetchers, error) {
	own := new(netx.OwnAddrs)
	router, err := route.New(c.Route, p.reader(), own.Contains)
	if err != nil {
		return nil, err
	}
	f := &fetchers{resolver: g.resolver, router: router, start: p.startFetch(), now: time.Now}
	if f.ask, err = config.ParseFetchers(c.Turn.ETRN); err != nil {
		return nil, err
	}
	f.auto, err = config.ParseFetchers(c.Turn.Auto)
	return f, err
}

// startFetch is the way to what waits for a domain in the queue.
func (p *process) startFetch() func(ctx context.Context, domain string) (int, error) {
	if d := p.here.dispatcher; d != nil {
		return func(ctx context.Context, domain string) (int, error) {
			return d.Act(ctx, dispatch.Filter{Domain: domain}, dispatch.Action{Verb: dispatch.Retry})
		}
	}
	cl := p.client(Queue)
	return func(ctx context.Context, domain string) (int, error) {
		return rpc.Do[string, int](ctx, cl.Client, methodETRN, domain)
	}
}
