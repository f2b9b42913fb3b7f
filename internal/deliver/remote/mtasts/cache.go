package mtasts

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/netx/names"
)

const (
	fetchTime  = 30 * time.Second // for a policy to be fetched; RFC 8461 3.3 suggests a minute at most
	retryAfter = 5 * time.Minute  // from a failed fetch to the next one (RFC 8461 3.3)
	freshTime  = 24 * time.Hour   // after which a policy is fetched again though its id is the same (RFC 8461 3.3)
	maxDomains = 10_000           // of which a policy is kept
)

// Resolver is what is asked of DNS; *netx.Resolver is one.
type Resolver interface {
	TXT(ctx context.Context, name string) (netx.Result[string], error)
	Addrs(ctx context.Context, name string) (netx.Result[netip.Addr], error)
}

// Deps is the world around a Cache. All but Folder are needed.
type Deps struct {
	Resolver Resolver
	Dial     func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	Clock    clock.Clock
	// Roots are the authorities that web servers' certificates are checked by; nil means the system's.
	Roots *x509.CertPool
	// Folder keeps policies over restarts, in a file for each domain; nil forgets them.
	Folder fs.FS
}

// Cache finds policies and keeps them. It is safe for concurrent use, and holds nothing that needs closing.
type Cache struct {
	deps    Deps
	web     *http.Client
	flights singleflight.Group // fetches under way, by domain and id

	mu    sync.Mutex
	known map[string]*entry // by domain: those with a policy, and those whose policy could not be fetched
}

// entry is what is known of a domain.
type entry struct {
	stored bool  // its policy lies in the folder and was not read yet
	held   *held // nil for none

	failedID string // of the policy that could not be fetched last
	failed   time.Time
	why      error
}

// held is a policy that was fetched.
type held struct {
	policy  Policy
	id      string
	fetched time.Time
}

// New returns a Cache of the policies in the folder. The error is of reading that.
func New(deps Deps) (*Cache, error) {
	c := &Cache{deps: deps, web: newFetcher(deps), known: map[string]*entry{}}
	if deps.Folder == nil {
		return c, nil
	}
	list, err := deps.Folder.ReadDir(".")
	if err != nil {
		return nil, err
	}
	for _, f := range list {
		if strings.Contains(f.Name(), unfinished) {
			_ = deps.Folder.Remove(f.Name()) // of a write that a crash has ended
		} else if domain, err := names.Domain(f.Name()); err == nil && domain == f.Name() && len(c.known) < maxDomains {
			c.known[domain] = &entry{stored: true}
		}
	}
	return c, nil
}

// Lookup returns the policy of a domain, which is in key form; nil where it has none. why tells that there is one
// that could not be had, or kept: the policy that is returned then is an older one, if any. A policy that is a day old is
// fetched again meanwhile.
func (c *Cache) Lookup(ctx context.Context, domain string) (p *Policy, why error) {
	id := ""
	if res, err := c.deps.Resolver.TXT(ctx, "_mta-sts."+domain); err == nil {
		id = recordID(res.Records)
	}
	now := c.deps.Clock.Now()
	c.mu.Lock()
	e, h := c.find(domain, now)
	var failed error
	if e != nil && e.failedID == id && now.Sub(e.failed) < retryAfter {
		failed = e.why
	}
	c.mu.Unlock()
	switch {
	case id == "" || failed != nil:
		return h.get(), failed
	case h != nil && h.id == id:
		if now.Sub(h.fetched) > freshTime {
			c.renew(ctx, domain, id)
		}
		return h.get(), nil
	}
	select {
	case got := <-c.renew(ctx, domain, id):
		if got.Val == nil {
			return h.get(), got.Err
		}
		return got.Val.(*held).get(), got.Err
	case <-ctx.Done():
		return h.get(), ctx.Err()
	}
}

// get returns the policy, nil of none.
func (h *held) get() *Policy {
	if h == nil {
		return nil
	}
	return &h.policy
}

// find returns what is known of a domain, and its policy unless that has expired. Called with the lock held.
func (c *Cache) find(domain string, now time.Time) (*entry, *held) {
	e := c.known[domain]
	if e == nil {
		return nil, nil
	}
	if e.stored {
		e.stored, e.held = false, c.load(domain)
	}
	if e.held != nil && now.Sub(e.held.fetched) > e.held.policy.MaxAge {
		c.forget(domain)
		return nil, nil
	}
	return e, e.held
}

// renew fetches a domain's policy and keeps it, for all who ask at the same time. What it sends has a *held, or the error.
func (c *Cache) renew(ctx context.Context, domain, id string) <-chan singleflight.Result {
	ctx = context.WithoutCancel(ctx) // the fetcher has a time-out of its own
	return c.flights.DoChan(domain+" "+id, func() (any, error) {
		p, err := c.fetch(ctx, domain)
		got := entry{held: &held{p, id, c.deps.Clock.Now()}}
		if err != nil {
			err = fmt.Errorf("the MTA-STS policy cannot be had: %w", err)
			got = entry{failedID: id, failed: got.held.fetched, why: err}
		}
		c.note(domain, got)
		if err != nil {
			return nil, err
		}
		if err := c.store(domain, got.held); err != nil {
			return got.held, fmt.Errorf("the MTA-STS policy cannot be kept: %w", err)
		}
		return got.held, nil
	})
}

// note keeps the outcome of a fetch. A failed one leaves the policy that is held.
func (c *Cache) note(domain string, got entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch e := c.known[domain]; {
	case e == nil:
		if c.makeRoom(got.held != nil) {
			c.known[domain] = &got
		}
	case got.held == nil:
		e.failedID, e.failed, e.why = got.failedID, got.failed, got.why
	default:
		*e = got
	}
}

// makeRoom forgets a domain when there are too many, in the map's random order: one of those without a policy, and a policy
// only for another one. Else who has many domains could have the policies of others forgotten, by failures alone. It reports
// whether there is room. Called with the lock held.
func (c *Cache) makeRoom(forPolicy bool) bool {
	if len(c.known) < maxDomains {
		return true
	}
	victim := ""
	for domain, e := range c.known {
		if !e.stored && e.held == nil {
			delete(c.known, domain)
			return true
		}
		victim = domain
	}
	if forPolicy {
		c.forget(victim)
	}
	return forPolicy
}

// forget drops a domain. Called with the lock held.
func (c *Cache) forget(domain string) {
	delete(c.known, domain)
	if c.deps.Folder != nil {
		_ = c.deps.Folder.Remove(domain) // what stays is found again, and has expired then too
	}
}

// unfinished is in the names of files that are being written; in those of domains it cannot be.
const unfinished = "~"

// store writes a policy to its file, whole or not at all: the text of the policy below its id and the time.
func (c *Cache) store(domain string, h *held) error {
	if c.deps.Folder == nil {
		return nil
	}
	tmp := domain + unfinished
	f, err := c.deps.Folder.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil // another Cache of the folder is at it, as at a reload
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "id: %s\nfetched: %s\n%s", h.id, h.fetched.UTC().Format(time.RFC3339), h.policy.text())
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = c.deps.Folder.Rename(tmp, domain)
	}
	if err != nil {
		return errors.Join(err, c.deps.Folder.Remove(tmp))
	}
	return c.deps.Folder.SyncDir(".")
}

// load reads what store wrote; nil of a file that is damaged, which the next fetch replaces.
func (c *Cache) load(domain string) *held {
	f, err := c.deps.Folder.OpenFile(domain, os.O_RDONLY, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPolicy))
	if err != nil {
		return nil
	}
	h := new(held)
	first, rest, _ := strings.Cut(string(text), "\n")
	second, rest, _ := strings.Cut(rest, "\n")
	h.id = strings.TrimPrefix(first, "id: ")
	if h.fetched, err = time.Parse(time.RFC3339, strings.TrimPrefix(second, "fetched: ")); err != nil || !isID(h.id) {
		return nil
	}
	if h.policy, err = Parse(rest); err != nil {
		return nil
	}
	return h
}
