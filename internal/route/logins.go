package route

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/netx/names"
	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/qmail/control"
)

// UnverifiedLogin is a route whose password goes to whoever answers as its relay: TLS hides it on the way, but the route
// does not have the certificate looked at.
type UnverifiedLogin struct {
	Host  string // the relay
	TLS   TLSPolicy
	Rule  string      // as configured, without the password: next_hop, routes[N] or FILE:LINE, and what stands there
	Place qmail.Place // of a line of routes_file; zero for a key
}

// UnverifiedLogins lists such routes. Relays on this machine are left out, and so is what cannot be read: New tells
// of that, and the mail that it holds up.
func (o Options) UnverifiedLogins() (found []UnverifiedLogin) {
	fallback, err := ParseTLSPolicy(o.TLS)
	if err != nil {
		return nil
	}
	look := func(r rule, at qmail.Place) {
		h := r.hop
		if h.User != "" && (h.TLS == TLSOpportunistic || h.TLS == TLSEncrypt) && !thisMachine(h.Host) {
			found = append(found, UnverifiedLogin{h.Host, h.TLS, r.line, at})
		}
	}
	keys, err := parseTable(o.Routes, o.NextHop, fallback)
	if err != nil {
		return nil
	}
	for _, r := range slices.SortedFunc(maps.Values(keys), func(a, b rule) int { return strings.Compare(a.line, b.line) }) {
		look(r, qmail.Place{})
	}
	file := newSmtproutes(o.RoutesFile, fallback, time.Now)
	if file == nil {
		return found
	}
	lines, err := file.file.Get()
	if err != nil {
		return found
	}
	for _, m := range lines.Entries() {
		relay, err := control.ParseRelay(m.Value)
		if last, _ := lines.Lookup(m.Key); err != nil || last.Line != m.Line { // a later line overrules it
			continue
		}
		if r, err := file.rule(relay, m); err == nil {
			look(r, m.Place)
		}
	}
	return found
}

// thisMachine reports whether a relay is surely reached without a network.
func thisMachine(host string) bool {
	a, literal := names.Literal(host)
	return host == "localhost" || literal && a.IsLoopback()
}
