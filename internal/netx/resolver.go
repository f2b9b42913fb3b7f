package netx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/postilion/postilion/internal/netx/names"
)

// ednsSize is the UDP answer that is asked for: it passes any path unfragmented
// (DNS flag day 2020). Longer answers come over TCP.
const ednsSize = 1232

// Options steer the Resolver.
type Options struct {
	Server      string        `toml:"server" doc:"the DNS server to ask, address:port; empty takes those of /etc/resolv.conf" example:"\"127.0.0.1:53\""`
	Timeout     time.Duration `toml:"timeout" default:"3s" doc:"how long one server is given to answer one question" example:"\"5s\""`
	Attempts    int           `toml:"attempts" default:"2" doc:"how often each server is asked before a lookup fails for now" example:"3"`
	CacheSize   int           `toml:"cache_size" default:"20000" unit:"answers" doc:"answers kept in memory, for their time to live; fewer where they take more than 2 KiB each" example:"100000"`
	MaxTTL      time.Duration `toml:"max_ttl" default:"1h" doc:"the longest that an answer is kept" example:"\"10m\""`
	TrustAD     bool          `toml:"trust_ad" doc:"believe every server's word (the AD bit) that an answer is proven by DNSSEC, as if the way to it were safe; those of this machine are believed anyway, and all where resolv.conf says options trust-ad" example:"true"`
	NegativeTTL time.Duration `toml:"negative_ttl" default:"5m" doc:"the longest that it is remembered that there is no such name or record" example:"\"1m\""`

	ResolvConf string `toml:"-"` // "" means /etc/resolv.conf
}

// failureTTL is how long a failed lookup is remembered, so that a queue full of one
// domain does not ask a dead server for each message (RFC 2308 7).
const failureTTL = 5 * time.Second

// Resolver asks recursive DNS servers. Answers are cached for their TTL, and callers
// that ask the same at the same time share one question. The zero Options work. It is
// safe for concurrent use and holds nothing that needs closing.
type Resolver struct {
	o   Options
	now func() time.Time

	mu      sync.Mutex
	cache   map[question]answer
	cached  int64 // the sizes of all in cache
	flights map[question]*flight

	conf struct {
		sync.Mutex
		checked, modified time.Time
		servers           []string
		trustAD           bool // resolv.conf says so
	}
}

type question struct {
	name  string
	qtype uint16
}

// flight is one question under way and those who wait for it.
type flight struct {
	waiting int // under Resolver.mu
	cancel  context.CancelFunc
	done    chan struct{}
	answer  answer // valid after done
}

// NewResolver returns a Resolver. The error names what is wrong with the options.
func NewResolver(o Options) (*Resolver, error) {
	if o.Server != "" {
		if _, err := netip.ParseAddrPort(o.Server); err != nil {
			return nil, fmt.Errorf("server %q: want address:port, such as 127.0.0.1:53", o.Server)
		}
	}
	if o.Timeout < 0 || o.Attempts < 0 || o.CacheSize < 0 || o.MaxTTL < 0 || o.NegativeTTL < 0 {
		return nil, errors.New("resolver: want no negative times or numbers")
	}
	o.Timeout = cmp.Or(o.Timeout, 3*time.Second)
	o.MaxTTL = cmp.Or(o.MaxTTL, time.Hour)
	o.NegativeTTL = cmp.Or(o.NegativeTTL, 5*time.Minute)
	o.Attempts = cmp.Or(o.Attempts, 2)
	o.CacheSize = cmp.Or(o.CacheSize, 20000)
	o.ResolvConf = cmp.Or(o.ResolvConf, "/etc/resolv.conf")
	return &Resolver{o: o, now: time.Now, cache: map[question]answer{}, flights: map[question]*flight{}}, nil
}

// lookup answers from the cache, or joins or starts a flight. The flight outlives a
// caller that gives up as long as another one waits.
func (r *Resolver) lookup(ctx context.Context, domain string, qtype uint16) (answer, error) {
	name, err := names.Domain(strings.TrimSuffix(domain, "."))
	if err != nil {
		return answer{}, &DNSError{domain, dns.TypeToString[qtype], ErrNoName, err.Error()}
	}
	q := question{name, qtype}
	r.mu.Lock()
	if a, ok := r.cache[q]; ok && r.now().Before(a.expires) {
		r.mu.Unlock()
		return a, a.err
	}
	f := r.flights[q]
	if f == nil {
		fctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		f = &flight{cancel: cancel, done: make(chan struct{})}
		r.flights[q] = f
		go r.fly(fctx, q, f)
	}
	f.waiting++
	r.mu.Unlock()
	select {
	case <-f.done:
		return f.answer, f.answer.err
	case <-ctx.Done():
	}
	r.mu.Lock()
	if f.waiting--; f.waiting == 0 {
		f.cancel()
		if r.flights[q] == f {
			delete(r.flights, q)
		}
	}
	r.mu.Unlock()
	return answer{}, &DNSError{name, dns.TypeToString[qtype], ErrTemporary, ctx.Err().Error()}
}

// fly asks the servers and hands the answer to the waiting and to the cache.
func (r *Resolver) fly(ctx context.Context, q question, f *flight) {
	f.answer = r.resolve(ctx, q)
	r.mu.Lock()
	if r.flights[q] == f {
		delete(r.flights, q)
		r.keep(q, f.answer)
	}
	r.mu.Unlock()
	f.cancel()
	close(f.done)
}

// answerSize is what an answer of the cache may take on average, in bytes of memory. Those in use are far smaller; a few may be as
// large as they come.
const answerSize = 2 << 10

// keep puts an answer into the cache, which never grows past its bounds: expired
// entries go first, then any. Called with the lock held.
func (r *Resolver) keep(q question, a answer) {
	now := r.now()
	r.forget(q)
	if !now.Before(a.expires) {
		return
	}
	full := func() bool {
		return len(r.cache) >= r.o.CacheSize || r.cached+a.size > int64(r.o.CacheSize)*answerSize
	}
	if full() {
		looked := 0
		for k, v := range r.cache {
			// A look at a few, in the map's random order, keeps the work of one insertion bounded.
			if looked++; !now.Before(v.expires) || looked == 16 {
				r.forget(k)
				break
			}
		}
		for k := range r.cache {
			if !full() {
				break
			}
			r.forget(k)
		}
	}
	r.cache[q] = a
	r.cached += a.size
}

// forget takes an answer out of the cache. Called with the lock held.
func (r *Resolver) forget(q question) {
	r.cached -= r.cache[q].size
	delete(r.cache, q)
}

// resolve follows the chain of aliases over as many questions as it takes.
func (r *Resolver) resolve(ctx context.Context, q question) answer {
	a := answer{name: q.name, secure: true}
	ttl := uint32(1 << 31)
	fail := func(outcome error, detail string, keep time.Duration) answer {
		a.rrs, a.err = nil, &DNSError{q.name, dns.TypeToString[q.qtype], outcome, detail}
		a.expires = r.now().Add(min(keep, time.Duration(ttl)*time.Second))
		return a
	}
	for range maxChain {
		m, err := r.ask(ctx, a.name, q.qtype)
		if err != nil {
			return fail(ErrTemporary, err.Error(), failureTTL)
		}
		a.secure = a.secure && m.AuthenticatedData
		rrs, end, next, t, err := collect(m, a.name, q.qtype)
		ttl = min(ttl, t)
		switch {
		case err != nil:
			return fail(ErrNoData, err.Error(), r.negative(m))
		case len(rrs) > 0:
			a.rrs, a.name = rrs, end
			for _, rr := range rrs {
				a.size += int64(dns.Len(rr)) + recordCost
			}
			a.expires = r.now().Add(min(time.Duration(ttl)*time.Second, r.o.MaxTTL))
			return a
		case m.Rcode == dns.RcodeNameError:
			return fail(ErrNoName, "", r.negative(m))
		case next == "", hasSOA(m):
			// With an SOA the server has told all there is about the chain's end.
			return fail(ErrNoData, "", r.negative(m))
		}
		a.name = next
	}
	return fail(ErrNoData, "too many aliases", r.o.NegativeTTL)
}

func hasSOA(m *dns.Msg) bool {
	for _, rr := range m.Ns {
		if _, ok := rr.(*dns.SOA); ok {
			return true
		}
	}
	return false
}

// negative is how long the absence that m tells of may be remembered (RFC 2308 5).
func (r *Resolver) negative(m *dns.Msg) time.Duration {
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return min(time.Duration(min(soa.Minttl, soa.Hdr.Ttl))*time.Second, r.o.NegativeTTL)
		}
	}
	return min(failureTTL, r.o.NegativeTTL)
}

// ask puts one question to each server in turn, Attempts times, until one gives an
// answer that counts: NOERROR or NXDOMAIN.
func (r *Resolver) ask(ctx context.Context, name string, qtype uint16) (*dns.Msg, error) {
	servers, trusted, err := r.servers()
	if err != nil {
		return nil, err
	}
	var last error
	for range r.o.Attempts {
		for _, server := range servers {
			m, err := r.exchange(ctx, server, name, qtype)
			if err == nil && (m.Rcode == dns.RcodeSuccess || m.Rcode == dns.RcodeNameError) {
				m.AuthenticatedData = m.AuthenticatedData && (trusted || isLoopback(server))
				return m, nil
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err == nil {
				err = errors.New(dns.RcodeToString[m.Rcode])
			}
			last = fmt.Errorf("%s: %w", server, err)
		}
	}
	return nil, last
}

// exchange asks one server: over UDP with EDNS, without EDNS if it does not know that,
// over TCP if the answer was cut. Each try has a socket, and so a port, of its own.
func (r *Resolver) exchange(ctx context.Context, server, name string, qtype uint16) (*dns.Msg, error) {
	q := new(dns.Msg)
	q.SetQuestion(dns.Fqdn(name), qtype)
	q.AuthenticatedData = true // ask for the AD bit, RFC 6840 5.7
	q.SetEdns0(ednsSize, false)
	m, err := r.try(ctx, "udp", server, q)
	if err == nil && (m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented) {
		q.Extra = nil
		m, err = r.try(ctx, "udp", server, q)
	}
	if err == nil && m.Truncated || isGarbled(err) {
		m, err = r.try(ctx, "tcp", server, q)
	}
	return m, err
}

// isGarbled tells an answer that came but cannot be read, such as one cut by a server
// that forgets to say so, from none.
func isGarbled(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return err != nil && !network && !errors.Is(err, context.Canceled)
}

func (r *Resolver) try(ctx context.Context, network, server string, q *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, r.o.Timeout)
	defer cancel()
	q.Id = dns.Id()
	c := dns.Client{Net: network, Timeout: r.o.Timeout, UDPSize: ednsSize}
	m, _, err := c.ExchangeContext(ctx, q, server)
	if err != nil {
		return nil, err
	}
	if !m.Response || len(m.Question) != 1 || m.Question[0].Qtype != q.Question[0].Qtype ||
		!strings.EqualFold(m.Question[0].Name, q.Question[0].Name) {
		return nil, errors.New("the answer is to another question")
	}
	return m, nil
}

// isLoopback reports whether nobody can stand between this machine and the server: it is a part of it.
func isLoopback(server string) bool {
	to, err := netip.ParseAddrPort(server)
	return err == nil && to.Addr().IsLoopback()
}

// servers returns the configured server or those of resolv.conf, which is looked at
// again when it has changed; and whether they are believed what DNSSEC has proven wherever they are.
func (r *Resolver) servers() (list []string, trusted bool, err error) {
	if r.o.Server != "" {
		return []string{r.o.Server}, r.o.TrustAD, nil
	}
	r.conf.Lock()
	defer r.conf.Unlock()
	now := r.now()
	if r.conf.servers != nil && now.Sub(r.conf.checked) < 10*time.Second {
		return r.conf.servers, r.o.TrustAD || r.conf.trustAD, nil
	}
	r.conf.checked = now
	info, err := os.Stat(r.o.ResolvConf)
	switch {
	case err != nil && r.conf.servers != nil:
		return r.conf.servers, r.o.TrustAD || r.conf.trustAD, nil
	case err != nil:
		return nil, false, err
	case r.conf.servers != nil && info.ModTime().Equal(r.conf.modified):
		return r.conf.servers, r.o.TrustAD || r.conf.trustAD, nil
	}
	c, err := dns.ClientConfigFromFile(r.o.ResolvConf)
	if err != nil {
		return nil, false, err
	}
	port := c.Port
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		port = "53"
	}
	servers := make([]string, 0, len(c.Servers))
	for _, s := range c.Servers {
		servers = append(servers, net.JoinHostPort(s, port))
	}
	if len(servers) == 0 {
		servers = []string{"127.0.0.1:53"} // resolv.conf(5)
	}
	r.conf.servers, r.conf.modified, r.conf.trustAD = servers, info.ModTime(), saysTrustAD(r.o.ResolvConf)
	return servers, r.o.TrustAD || r.conf.trustAD, nil
}

// saysTrustAD reports whether resolv.conf(5) has the option trust-ad, which package dns does not read.
func saysTrustAD(path string) bool {
	text, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) > 0 && words[0] == "options" && slices.Contains(words, "trust-ad") {
			return true
		}
	}
	return false
}
