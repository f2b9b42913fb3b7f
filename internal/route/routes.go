package route

// Routes are the next hops of other hosts' mail: those of the configuration, read at the start,
// and those of a file as qmail's smtproutes, read again when it changes.

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/fs/reread"
	"github.com/postilion/postilion/internal/netx/names"
	"github.com/postilion/postilion/internal/qmail/control"
)

// policies are the names of TLSPolicy, by value.
var policies = [...]string{"opportunistic", "none", "encrypt", "verify", "implicit"}

// String returns the policy's name as configuration writes it.
func (p TLSPolicy) String() string {
	if int(p) < len(policies) {
		return policies[p]
	}
	return strconv.Itoa(int(p))
}

// ParseTLSPolicy reads a policy's name; "" is opportunistic. The error names what
// was expected.
func ParseTLSPolicy(s string) (TLSPolicy, error) {
	if s == "" {
		return TLSOpportunistic, nil
	}
	for i, name := range policies {
		if s == name {
			return TLSPolicy(i), nil
		}
	}
	return 0, fmt.Errorf("tls policy %q: want one of %s", s, strings.Join(policies[:], ", "))
}

// table is the routes by key: a domain, ".suffix", or "" for all.
type table map[string]rule

// rule is one line of routes. Without a Host it is an exception: the MX records
// are followed, with the rule's TLS policy.
type rule struct {
	key  string
	hop  NextHop
	line string // as configured, without its password, for Step.Where
}

// parseTable reads routes and the default next hop. The error joins one for each wrong one; those of routes are LineErrors.
func parseTable(routes []string, nextHop string, fallback TLSPolicy) (table, error) {
	t := table{}
	var errs []error
	for i, line := range routes {
		where := fmt.Sprintf("routes[%d]", i)
		key, rest, err := cutKey(line)
		if err != nil {
			errs = append(errs, &LineError{i, fmt.Errorf("%q: %w", public(line), err)})
			continue
		}
		hop, err := parseHop(rest, fallback)
		switch _, twice := t[key]; {
		case err != nil:
			errs = append(errs, &LineError{i, fmt.Errorf("key %q: %w", key, err)})
		case twice:
			errs = append(errs, &LineError{i, fmt.Errorf("a second route for %q", key)})
		default:
			t[key] = rule{key, hop, where + " " + describe(key, hop)}
		}
	}
	if nextHop != "" {
		hop, err := parseHop(nextHop, fallback)
		switch _, twice := t[""]; {
		case err != nil:
			errs = append(errs, fmt.Errorf("next_hop: %w", err))
		case twice:
			errs = append(errs, fmt.Errorf("next_hop: routes has an entry for all domains too; want one of them"))
		default:
			t[""] = rule{"", hop, "next_hop " + describe("", hop)}
		}
	}
	return t, errors.Join(errs...)
}

// LineError is a mistake in a line of Options.Routes.
type LineError struct {
	N   int // of the line, from 0
	Err error
}

// Error names the line.
func (e *LineError) Error() string { return fmt.Sprintf("routes[%d]: %s", e.N, e.Err) }

// Unwrap returns the mistake.
func (e *LineError) Unwrap() error { return e.Err }

// public is what an error may quote of a route.
func public(line string) string {
	for _, w := range []string{" user=", " password="} {
		line, _, _ = strings.Cut(line, w)
	}
	return line
}

// cutKey splits a line at the colon after its key and normalises the key.
func cutKey(line string) (key, rest string, err error) {
	if strings.HasPrefix(line, "[") {
		end := strings.Index(line, "]:")
		if end < 0 {
			return "", "", fmt.Errorf("want [ADDRESS]:RELAY")
		}
		a, ok := names.Literal(line[:end+1])
		if !ok {
			return "", "", fmt.Errorf("%q is no address literal", line[:end+1])
		}
		return names.FormatLiteral(a), line[end+2:], nil
	}
	key, rest, ok := strings.Cut(line, ":")
	if !ok {
		return "", "", fmt.Errorf("want KEY:RELAY[:PORT]")
	}
	if key = strings.TrimSpace(key); key == "" {
		return "", rest, nil
	}
	name, dot := strings.CutPrefix(key, ".")
	if name, err = names.Domain(name); err != nil {
		return "", "", fmt.Errorf("key %q: %w", key, err)
	}
	if dot {
		name = "." + name
	}
	return name, rest, nil
}

// parseHop reads RELAY[:PORT] and its words.
func parseHop(s string, fallback TLSPolicy) (NextHop, error) {
	hop := NextHop{TLS: fallback}
	words := strings.Fields(s)
	if len(words) > 0 && !strings.Contains(words[0], "=") && words[0] != "mx" && words[0] != "qmtp" {
		if err := parseRelay(words[0], &hop); err != nil {
			return hop, err
		}
		words = words[1:]
	}
	for _, w := range words {
		name, value, _ := strings.Cut(w, "=")
		var err error
		switch name {
		case "mx":
			hop.MX = true
		case "qmtp":
			hop.QMTP = true
		case "tls":
			hop.TLS, err = ParseTLSPolicy(value)
		case "user":
			hop.User, err = url.PathUnescape(value)
		case "password":
			if hop.Password, err = url.PathUnescape(value); err != nil {
				err = fmt.Errorf("password: want percent-encoding such as %%20 for a blank")
			}
		default:
			err = fmt.Errorf("%q: want mx, qmtp, tls=, user= or password=", name)
		}
		if err != nil {
			return hop, err
		}
	}
	if hop.Port == 465 && hop.TLS != TLSNone {
		hop.TLS = TLSImplicit // RFC 8314 3.3: nobody speaks STARTTLS there
	}
	hop.QMTP = hop.QMTP || hop.Port == qmtpPort
	switch {
	case hop.QMTP && (hop.User != "" || hop.TLS >= TLSEncrypt):
		return hop, fmt.Errorf("qmtp (port 209) knows neither TLS nor logins: want tls=opportunistic or none, no user= and password=")
	case hop.Host == "" && (hop.MX || hop.QMTP || hop.User != "" || hop.Password != "" || hop.Port != 0):
		return hop, fmt.Errorf("mx, qmtp, user, password and a port need a relay")
	case (hop.User == "") != (hop.Password == ""):
		return hop, fmt.Errorf("want user and password together")
	case hop.MX && strings.HasPrefix(hop.Host, "["):
		return hop, fmt.Errorf("mx: %s has no MX records, being an address", hop.Host)
	}
	return hop, nil
}

// parseRelay reads a name or address, in brackets or not, with its port.
func parseRelay(s string, hop *NextHop) error {
	host, port := s, ""
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return fmt.Errorf("relay %q: the bracket is not closed", s)
		}
		host, port = s[:end+1], s[end+1:]
		if port != "" && port[0] != ':' {
			return fmt.Errorf("relay %q: want a colon before the port", s)
		}
		port = strings.TrimPrefix(port, ":")
	} else if i := strings.IndexByte(s, ':'); i >= 0 {
		host, port = s[:i], s[i+1:]
	}
	if port != "" || strings.HasSuffix(s, ":") {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return fmt.Errorf("relay %q: port %q: want 1 to 65535", s, port)
		}
		hop.Port = int(n)
	}
	switch {
	case host == "":
		return nil
	case host[0] == '[' && !strings.HasPrefix(strings.ToLower(host), "[ipv6:") && strings.Contains(host, ":"):
		host = "[IPv6:" + host[1:]
	case host[0] != '[' && isDotted(host):
		host = "[" + host + "]"
	}
	if host[0] == '[' {
		a, ok := names.Literal(host)
		if !ok {
			return fmt.Errorf("relay %q: want a name, an IPv4 address or [IPv6 address]", s)
		}
		hop.Host = names.FormatLiteral(a)
		return nil
	}
	name, err := names.Domain(host)
	if err != nil {
		return fmt.Errorf("relay %q: %w", s, err)
	}
	hop.Host = name
	return nil
}

// isDotted reports whether s is made of digits and dots only: no domain ends in a number.
func isDotted(s string) bool { return strings.Trim(s, "0123456789.") == "" }

// describe writes a rule back without its password.
func describe(key string, hop NextHop) string {
	s := key + ":" + hop.Host
	if hop.Port != 0 {
		s += ":" + strconv.Itoa(hop.Port)
	}
	if hop.MX {
		s += " mx"
	}
	if hop.User != "" {
		s += " user=" + url.PathEscape(hop.User)
	}
	if hop.QMTP {
		return s + " qmtp"
	}
	return s + " tls=" + hop.TLS.String()
}

// qmtpPort is QMTP's; a route to it is one by QMTP, as in smtproutes with the MXPS patch.
const qmtpPort = 209

// find looks up a domain (A-labels or literal): itself, its suffixes from the longest, all
// (qmail reference 2.6).
func (t table) find(domain string) (rule, bool) {
	if len(t) == 0 {
		return rule{}, false
	}
	if r, ok := t[domain]; ok {
		return r, true
	}
	if !strings.HasPrefix(domain, "[") {
		for i := range len(domain) {
			if domain[i] == '.' {
				if r, ok := t[domain[i:]]; ok {
					return r, true
				}
			}
		}
	}
	r, ok := t[""]
	return r, ok
}

// smtproutes is a file of routes; nil is none.
type smtproutes struct {
	file reread.File[control.Smtproutes]
	tls  TLSPolicy // of lines, which say nothing of it
}

func newSmtproutes(path string, tls TLSPolicy, now func() time.Time) *smtproutes {
	if path == "" {
		return nil
	}
	s := &smtproutes{tls: tls}
	s.file.Path, s.file.Optional, s.file.Now = path, true, now
	s.file.Parse = func(data []byte) (control.Smtproutes, error) {
		return control.Smtproutes{Table: control.NewMap(path, data)}, nil
	}
	return s
}

// find returns the rule for a domain in the family's order. The error names the line that decides and
// cannot be read: other domains' mail goes on.
func (s *smtproutes) find(domain string) (rule, bool, error) {
	if s == nil {
		return rule{}, false, nil
	}
	table, err := s.file.Get()
	if err != nil {
		return rule{}, false, err
	}
	relay, match, ok, err := table.Find(domain)
	if err != nil || !ok {
		return rule{}, false, err
	}
	r, err := s.rule(relay, match)
	return r, err == nil, err
}

// rule returns what a line asks for.
func (s *smtproutes) rule(relay control.Relay, match control.Match) (rule, error) {
	var err error
	hop := NextHop{Port: relay.Port, TLS: s.tls, User: relay.User, Password: relay.Password, QMTP: relay.Port == qmtpPort && relay.User == "" && s.tls < TLSEncrypt}
	if hop.Host, err = relayHost(relay.Host); err != nil {
		return rule{}, fmt.Errorf("%s: relay %q: %w", match.Place, relay.Host, err)
	}
	if hop.Host == "" {
		hop = NextHop{TLS: s.tls}
	}
	if hop.Port == 465 && hop.TLS != TLSNone {
		hop.TLS = TLSImplicit // RFC 8314 3.3
	}
	return rule{match.Key, hop, match.Place.String() + " " + describe(match.Key, hop)}, nil
}

// relayHost writes a relay's name or address as a NextHop has it.
func relayHost(host string) (string, error) {
	if host == "" {
		return "", nil
	}
	if a, err := netip.ParseAddr(host); err == nil && a.Zone() == "" {
		return names.FormatLiteral(a), nil
	}
	return names.Domain(host)
}
