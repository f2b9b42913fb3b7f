package config

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/postilion/postilion/internal/netx/names"
	"github.com/postilion/postilion/internal/serve"
)

// Turn is who fetches waiting mail.
type Turn struct {
	ETRN []string `toml:"etrn" doc:"clients that may ask by ETRN for mail to be sent, as ADDRESS_OR_RANGE: DOMAIN DOMAIN…, * for any domain; besides them who logs in, who may relay, and the hosts that take the domain's mail" example:"[\"192.0.2.5: dialin.example\", \"198.51.100.0/24: *\"]"`
	Auto []string `toml:"auto" doc:"dial-in hosts (AutoTURN), in the same form: when one has connected to smtp or qmtp, what waits for its domains is sent; where it is one address, and the domain has no route, to that address" example:"[\"192.0.2.5: dialin.example\"]"`
}

// Fetcher is one entry: clients, and the domains whose mail they fetch.
type Fetcher struct {
	Clients netip.Prefix
	Domains []string // in key form, or "*"
}

// Has reports whether a client is one of the entry's.
func (f *Fetcher) Has(a netip.Addr) bool { return f.Clients.Contains(a.Unmap().WithZone("")) }

// ParseFetchers reads "ADDRESS_OR_RANGE: DOMAIN DOMAIN…". The error names the wrong entry.
func ParseFetchers(list []string) (fetchers []Fetcher, err error) {
	for _, e := range list {
		// The colon with a blank, since IPv6 addresses have others.
		clients, domains, ok := strings.Cut(e, ": ")
		if !ok {
			return nil, fmt.Errorf("%q: want ADDRESS_OR_RANGE: DOMAIN, such as 192.0.2.5: dialin.example", e)
		}
		var f Fetcher
		if f.Clients, err = serve.ParsePrefix(strings.TrimSpace(clients)); err != nil {
			return nil, err
		}
		for _, d := range strings.FieldsFunc(domains, func(r rune) bool { return r == ' ' || r == ',' }) {
			if d != "*" {
				if d, err = names.Domain(d); err != nil {
					return nil, fmt.Errorf("%q: %w", e, err)
				}
			}
			f.Domains = append(f.Domains, d)
		}
		if len(f.Domains) == 0 {
			return nil, fmt.Errorf("%q: want a domain behind the colon", e)
		}
		fetchers = append(fetchers, f)
	}
	return fetchers, nil
}

// Validate names what is wrong.
func (t *Turn) Validate() error {
	if _, err := ParseFetchers(t.ETRN); err != nil {
		return fmt.Errorf("etrn: %w", err)
	}
	auto, err := ParseFetchers(t.Auto)
	if err != nil {
		return fmt.Errorf("auto: %w", err)
	}
	for _, f := range auto {
		for _, d := range f.Domains {
			if d == "*" {
				return fmt.Errorf("auto: %s: want the domains by name", f.Clients)
			}
		}
	}
	return nil
}

// routes are the next hops of dial-in hosts whose domains have none: their addresses.
func (t *Turn) routes(have []string) (routes []string) {
	known := map[string]bool{}
	for _, r := range have {
		key, _, _ := strings.Cut(r, ":")
		known[strings.ToLower(key)] = true
	}
	auto, _ := ParseFetchers(t.Auto) // checked
	for _, f := range auto {
		if !f.Clients.IsSingleIP() {
			continue
		}
		for _, d := range f.Domains {
			if !known[d] {
				known[d] = true
				routes = append(routes, d+":"+names.FormatLiteral(f.Clients.Addr()))
			}
		}
	}
	return routes
}
