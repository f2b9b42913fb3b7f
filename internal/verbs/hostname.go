package verbs

// The host's name as DNS knows it, for a server that is set up without one: what other hosts see when
// it connects to them, which must lead back to it.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/netx/names"
)

// nameLookup is the part of netx.Resolver that finding the name needs.
type nameLookup interface {
	PTR(ctx context.Context, addr netip.Addr) (netx.Result[string], error)
	Addrs(ctx context.Context, name string) (netx.Result[netip.Addr], error)
}

// hostFacts is what this host knows of itself.
type hostFacts struct {
	addrs    []netip.Addr // its interfaces' addresses
	hostname string       // uname -n
	search   []string     // the domains of resolv.conf
}

// findHostTime bounds the whole search.
const findHostTime = 10 * time.Second

// FindHost returns this host's name from DNS: the reverse name of one of its addresses, or its own name
// completed by the domains that are searched, either with an address here. The error tells what was tried.
func FindHost(ctx context.Context, o netx.Options) (string, error) {
	r, err := netx.NewResolver(o)
	if err != nil {
		return "", err
	}
	facts, err := thisHost(o.ResolvConf)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, findHostTime)
	defer cancel()
	return findHost(ctx, r, facts)
}

func thisHost(resolvConf string) (hostFacts, error) {
	var f hostFacts
	list, err := net.InterfaceAddrs()
	if err != nil {
		return f, err
	}
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			f.addrs = append(f.addrs, p.Addr().Unmap())
		}
	}
	if f.hostname, err = os.Hostname(); err != nil {
		return f, err
	}
	resolvConf = cmp.Or(resolvConf, "/etc/resolv.conf")
	text, _ := os.ReadFile(resolvConf) // without one nothing is searched
	for line := range strings.Lines(string(text)) {
		if w := strings.Fields(line); len(w) > 1 && (w[0] == "search" || w[0] == "domain") {
			f.search = w[1:]
		}
	}
	return f, nil
}

func findHost(ctx context.Context, r nameLookup, f hostFacts) (string, error) {
	var tried []string
	fits := func(name string) bool {
		name, err := names.Domain(strings.TrimSuffix(name, "."))
		if err != nil || !strings.Contains(name, ".") {
			return false
		}
		found, err := r.Addrs(ctx, name)
		if err != nil {
			tried = append(tried, fmt.Sprintf("%s: %v", name, err))
			return false
		}
		if !slices.ContainsFunc(found.Records, func(a netip.Addr) bool { return slices.Contains(f.addrs, a.Unmap()) }) {
			tried = append(tried, fmt.Sprintf("%s: none of its addresses is this host's", name))
			return false
		}
		return true
	}
	addrs := slices.Clone(f.addrs)
	slices.SortStableFunc(addrs, func(a, b netip.Addr) int { return reach(a) - reach(b) })
	for _, a := range addrs {
		if !a.IsGlobalUnicast() {
			continue
		}
		found, err := r.PTR(ctx, a)
		if err != nil {
			tried = append(tried, fmt.Sprintf("%s: %v", a, err))
			continue
		}
		for _, name := range found.Records {
			if fits(name) {
				return names.Domain(strings.TrimSuffix(name, "."))
			}
		}
	}
	candidates := []string{f.hostname}
	if !strings.Contains(f.hostname, ".") {
		candidates = nil
		for _, d := range f.search {
			candidates = append(candidates, f.hostname+"."+strings.Trim(d, "."))
		}
	}
	for _, name := range candidates {
		if fits(name) {
			return names.Domain(strings.TrimSuffix(name, "."))
		}
	}
	if len(tried) == 0 {
		tried = []string{"no address but loopback, and the name " + f.hostname + " is not complete"}
	}
	return "", errors.New("this host's name is not to be found in DNS (" + strings.Join(tried, "; ") + "); give a domain, and --host with the name")
}

// reach sorts addresses: those of the whole Internet first.
func reach(a netip.Addr) int {
	if a.IsPrivate() {
		return 1
	}
	return 0
}

// domainOf is the mail domain of a host that is named by nobody: the host's own, without its first label.
func domainOf(host string) string {
	if _, parent, _ := strings.Cut(host, "."); strings.Contains(parent, ".") {
		return parent
	}
	return host
}
