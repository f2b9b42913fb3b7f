package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
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

// ParseFetchers reads entries "ADDRESS_OR_RANGE: DOMAIN DOMAIN…". The error joins one for each wrong entry.
func ParseFetchers(list []string) (fetchers []Fetcher, _ error) {
	var errs []error
	for _, e := range list {
		f, err := parseFetcher(e)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		fetchers = append(fetchers, f)
	}
	return fetchers, errors.Join(errs...)
}

func parseFetcher(e string) (f Fetcher, err error) {
	// The colon with a blank, since IPv6 addresses have others.
	clients, domains, ok := strings.Cut(e, ": ")
	if !ok {
		return f, fmt.Errorf("%q: want ADDRESS_OR_RANGE: DOMAIN, such as 192.0.2.5: dialin.example", e)
	}
	if f.Clients, err = serve.ParsePrefix(strings.TrimSpace(clients)); err != nil {
		return f, err
	}
	for _, d := range strings.FieldsFunc(domains, func(r rune) bool { return r == ' ' || r == ',' }) {
		if d != "*" {
			if d, err = names.Domain(d); err != nil {
				return f, fmt.Errorf("%q: %w", e, err)
			}
		}
		f.Domains = append(f.Domains, d)
	}
	if len(f.Domains) == 0 {
		return f, fmt.Errorf("%q: want a domain behind the colon", e)
	}
	return f, nil
}

// Validate names each wrong entry.
func (t *Turn) Validate() error {
	var errs []error
	if _, err := ParseFetchers(t.ETRN); err != nil {
		errs = append(errs, fmt.Errorf("etrn: %w", err))
	}
	auto, err := ParseFetchers(t.Auto)
	if err != nil {
		errs = append(errs, fmt.Errorf("auto: %w", err))
	}
	for _, f := range auto {
		if slices.Contains(f.Domains, "*") {
			errs = append(errs, fmt.Errorf("auto: %s: want the domains by name", f.Clients))
		}
	}
	return errors.Join(errs...)
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
