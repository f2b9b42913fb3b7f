package remote

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"

	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/netx/names"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
)

// Bounds on what a domain's DNS may make us do in one attempt.
const (
	maxExchangers = 20 // of the lowest preferences
	maxAddresses  = 12 // of one exchanger; as many again of a family that comes late
)

// host is one exchanger with its addresses that are still to be tried.
type host struct {
	name   string // A-labels or an address literal
	pref   uint16
	addrs  []netip.AddrPort
	secure bool // found through DNSSEC, or named by the operator
	qmtp   bool // by QMTP

	// What its owner and the domain's have published of its TLS (see guard).
	proven bool   // DNSSEC proves the way from the domain to its addresses
	alias  string // its name after CNAMEs, where that is another
	sts    bool   // the domain's MTA-STS policy is in force, and names it
	remark string // why a policy that there is could not be had

	// late has the addresses that are known where the other family's are still awaited.
	late []netip.AddrPort
}

// lookup finds the hosts of a next hop in the order to try them, at least one, each
// with at least one address; or why there are none (qmail reference 11.1). With published set, hosts that the
// domain's MTA-STS policy forbids are none.
func (t *Target) lookup(ctx context.Context, next *route.NextHop, published bool) ([]host, *reason.Error) {
	port := next.Port
	switch {
	case port == 0 && next.QMTP:
		port = qmtpPort
	case port == 0 && next.TLS == route.TLSImplicit:
		port = 465 // RFC 8314 3.3
	case port == 0:
		port = t.o.Port
	}
	name, fixed := next.Domain, next.Host != ""
	if fixed {
		name = next.Host
	}
	if a, err := netip.ParseAddr(name); err == nil && a.Is4() { // qmail reference 11.1: as if it had brackets
		name = names.FormatLiteral(a)
	}
	if name != "" && name[0] == '[' {
		a, ok := names.Literal(name)
		if !ok {
			return nil, reason.BadAddress.With(name)
		}
		h := host{name: name, addrs: []netip.AddrPort{netip.AddrPortFrom(a, uint16(port))}, secure: fixed, qmtp: next.QMTP}
		if !fixed && t.own(h.addrs[0]) {
			return nil, reason.MXIsMe.With(name)
		}
		return []host{h}, nil
	}
	policy := noPolicy
	if published && !fixed {
		policy = t.policy(ctx, name)
	}
	hosts, err := t.exchangers(ctx, name, fixed && !next.MX)
	if err == nil {
		hosts, err = policy().allow(name, hosts)
	}
	if err != nil {
		return nil, atFixed(err, fixed)
	}
	hosts, err = t.addresses(ctx, name, hosts, uint16(port))
	if err != nil {
		return nil, atFixed(err, fixed)
	}
	if fixed {
		for i := range hosts {
			hosts[i].secure, hosts[i].qmtp = true, next.QMTP
		}
		return hosts, nil // qmail reference 2.6: no safeguard against loops on a fixed route
	}
	if hosts = t.dropOwn(hosts); len(hosts) == 0 {
		return nil, reason.MXIsMe.With(name)
	}
	if t.o.MXPS && next.TLS < route.TLSEncrypt && !hosts[0].sts {
		hosts = mxps(hosts)
	}
	return hosts, nil
}

// mxps puts before each host whose preference says so the same one by QMTP (qmail reference 27).
func mxps(hosts []host) (all []host) {
	for _, h := range hosts {
		if h.pref >= 12800 && h.pref <= 13055 && h.pref%16 == 1 {
			q := h
			q.qmtp, q.late, q.addrs = true, nil, make([]netip.AddrPort, len(h.addrs))
			for i, a := range h.addrs {
				q.addrs[i] = netip.AddrPortFrom(a.Addr(), qmtpPort)
			}
			all = append(all, q)
		}
		all = append(all, h)
	}
	return all
}

// atFixed makes a next hop that cannot be found temporary when the operator configured it: the
// mail waits for the mistake to be put right.
func atFixed(err *reason.Error, fixed bool) *reason.Error {
	if !fixed || err.Class == reason.Temporary {
		return err
	}
	e := *err
	e.Class, e.Code, e.Enhanced = reason.Temporary, 451, "4.4.4"
	return &e
}

// exchangers looks up MX records: equals in random order; without any the name itself
// (RFC 5321 5.1).
func (t *Target) exchangers(ctx context.Context, name string, direct bool) ([]host, *reason.Error) {
	// Who gave the name gave the host's: of the way to that nothing is left to prove.
	itself := []host{{name: name, secure: true, proven: true}}
	if direct {
		return itself, nil
	}
	res, err := t.deps.Resolver.MX(ctx, name)
	switch {
	case errors.Is(err, netx.ErrNoData), errors.Is(err, netx.ErrNoName):
		return itself, nil
	case err != nil:
		return nil, reason.DNSTemporary.With(name).Because(err)
	}
	hosts := make([]host, 0, len(res.Records))
	for _, mx := range res.Records {
		if mx.Host != "" {
			hosts = append(hosts, host{name: mx.Host, pref: mx.Pref, secure: res.Secure, proven: res.Secure})
		}
	}
	if len(hosts) == 0 {
		return nil, reason.NullMX.With(name)
	}
	rand.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
	slices.SortStableFunc(hosts, func(a, b host) int { return cmp.Compare(a.pref, b.pref) })
	return hosts[:min(len(hosts), maxExchangers)], nil
}

// addresses looks up the hosts' addresses, all at once, and drops hosts without. Trouble
// with some is passed over as long as one has an address.
func (t *Target) addresses(ctx context.Context, name string, hosts []host, port uint16) ([]host, *reason.Error) {
	results := make([]netx.Result[netip.Addr], len(hosts))
	errs := make([]error, len(hosts))
	var wg sync.WaitGroup
	for i := 1; i < len(hosts); i++ {
		wg.Go(func() { results[i], errs[i] = t.deps.Resolver.DialAddrs(ctx, hosts[i].name) })
	}
	results[0], errs[0] = t.deps.Resolver.DialAddrs(ctx, hosts[0].name)
	wg.Wait()
	var found []host
	temporary, exists := error(nil), false
	for i, h := range hosts {
		switch err := errs[i]; {
		case err == nil:
			for _, a := range results[i].Records {
				h.addrs = append(h.addrs, netip.AddrPortFrom(a, port))
			}
			h.addrs = few(h.addrs)
			if results[i].Partial {
				h.late = slices.Clone(h.addrs)
			}
			h.proven = h.proven && results[i].Secure
			if results[i].Name != h.name {
				h.alias = results[i].Name
			}
			found = append(found, h)
		case errors.Is(err, netx.ErrNoData):
			exists = true
		case !errors.Is(err, netx.ErrNoName):
			temporary = err
		}
	}
	implicit := len(hosts) == 1 && hosts[0].name == name
	switch {
	case len(found) > 0:
		return found, nil
	case temporary != nil:
		return nil, reason.DNSTemporary.With(name).Because(temporary)
	case implicit && !exists:
		return nil, reason.HostUnknown.With(name)
	case implicit:
		// The name is there, with neither MX nor address: for qmail unknown too.
		return nil, reason.HostUnknown.With(name).Because(errs[0])
	}
	return nil, reason.HostNoAddress.With(name).Because(errs[0])
}

// join gives a host whose addresses are used up those of the other family that its name was not waited
// for. This host's own are none.
func (t *Target) join(ctx context.Context, h *host) {
	known := h.late
	h.late = nil
	if len(known) == 0 {
		return
	}
	whole, _ := t.deps.Resolver.Addrs(ctx, h.name) // without any it stays as it is
	for _, a := range whole.Records {
		to := netip.AddrPortFrom(a, known[0].Port())
		if !slices.Contains(known, to) && !t.own(to) {
			h.addrs = append(h.addrs, to)
		}
	}
	h.addrs = few(h.addrs)
}

// few cuts a host's addresses to those that are tried. A family with many leaves room for the other.
func few(addrs []netip.AddrPort) []netip.AddrPort {
	addrs = netx.Interleave(addrs)
	return addrs[:min(len(addrs), maxAddresses)]
}

// dropOwn takes this host out of the list, with all that are no better than it: mail
// sent to those would come back.
func (t *Target) dropOwn(hosts []host) []host {
	for i, h := range hosts {
		if h.name == t.helo || slices.ContainsFunc(h.addrs, t.own) {
			for i > 0 && hosts[i-1].pref == h.pref {
				i--
			}
			return hosts[:i]
		}
	}
	return hosts
}
