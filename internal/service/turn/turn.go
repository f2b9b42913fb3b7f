// Package turn is the mail that waits for hosts which come and fetch it: by asking (ETRN, RFC 1985), or by connecting (AutoTURN,
// qmail reference 16.2). The rule it keeps: nobody sets deliveries to strangers going, nor too often.
package turn

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/netx/names"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/serve"
	"github.com/postilion/postilion/internal/submit"
)

// Fetchers is who may have waiting mail sent by asking (ETRN, RFC 1985) or by connecting (AutoTURN, qmail
// reference 16.2).
type Fetchers struct {
	ask, auto []config.Fetcher
	deps      Deps

	mu   sync.Mutex
	last map[string]time.Time // by way and domain; bounded by the configured ones and maxAsked
}

// Deps are what Fetchers work with.
type Deps struct {
	Resolver *netx.Resolver
	Router   route.Router
	// Start begins the delivery of what waits for a domain and tells how many messages that is.
	Start func(ctx context.Context, domain string) (int, error)
	Now   func() time.Time
}

const (
	fetchEvery = 5 * time.Second // the least time between two starts for one domain
	maxAsked   = 10_000          // domains whose last start is remembered

	fetchWithin = 10 * time.Second // for the queue to be told of a dial-in host
)

// New returns the Fetchers of a configuration.
func New(c *config.Config, d Deps) (f *Fetchers, err error) {
	f = &Fetchers{deps: d}
	if f.ask, err = config.ParseFetchers(c.Turn.ETRN); err != nil {
		return nil, err
	}
	f.auto, err = config.ParseFetchers(c.Turn.Auto)
	return f, err
}

// Handler returns h with clients who get their waiting mail after their session; h itself where there are none.
func (f *Fetchers) Handler(h serve.Handler) serve.Handler {
	if len(f.auto) == 0 {
		return h
	}
	return turning{h, f}
}

// ETRN is smtpd's ETRN. It may be asked for by who logged in, may relay, is listed, or takes the mail
// of the domain anyway.
func (f *Fetchers) ETRN(ctx context.Context, who *submit.Source, domain string) (int, error) {
	if !f.mayAsk(ctx, who, domain) {
		return 0, reason.EtrnRefused.With(domain)
	}
	return f.fetch(ctx, "etrn", domain)
}

func (f *Fetchers) mayAsk(ctx context.Context, who *submit.Source, domain string) bool {
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
func (f *Fetchers) takes(ctx context.Context, client netip.Addr, domain string) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := f.deps.Router.Route(ctx, mail.Address{Local: "postmaster", Domain: domain})
	if err != nil || r.Kind != route.Remote {
		return false
	}
	hosts := []string{r.Next.Host}
	if r.Next.Host == "" || r.Next.MX {
		name := cmp.Or(r.Next.Host, r.Next.Domain)
		mx, err := f.deps.Resolver.MX(ctx, name)
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
		if res, err := f.deps.Resolver.Addrs(ctx, name); err == nil && slices.Contains(res.Records, client.Unmap()) {
			return true
		}
	}
	return false
}

// fetch starts the delivery of a domain's mail, not too often for one way of asking; it tells how
// many messages that is, -1 when it has been started just now.
func (f *Fetchers) fetch(ctx context.Context, way, domain string) (int, error) {
	key := way + " " + domain
	f.mu.Lock()
	now := f.deps.Now()
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
	return f.deps.Start(ctx, domain)
}

// connected starts the delivery to a dial-in host that has just been here.
func (f *Fetchers) connected(ctx context.Context, client netip.Addr) {
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
	fetchers *Fetchers
}

// Serve implements serve.Handler.
func (t turning) Serve(ctx context.Context, c *serve.Conn) {
	client := c.Client.Addr()
	t.Handler.Serve(ctx, c)
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchWithin)
	defer cancel()
	t.fetchers.connected(within, client)
}
