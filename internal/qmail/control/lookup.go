package control

import (
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/qmail/cdb"
)

// suffixes yields s and then what begins at each of its dots: "a.b.c", ".b.c", ".c".
func suffixes(s string) iter.Seq[string] {
	return func(yield func(string) bool) {
		if s == "" {
			return
		}
		for i := range len(s) {
			if (i == 0 || s[i] == '.') && !yield(s[i:]) {
				return
			}
		}
	}
}

// Rcpthosts is who may be written to by clients that are no relay clients (qmail
// reference 2.7).
type Rcpthosts struct {
	Hosts *Table // of control/rcpthosts; nil where that is missing: nothing is refused
	// More is control/morercpthosts.cdb, looked up after Hosts; nil without. MoreFile names it.
	More     *cdb.Reader
	MoreFile string
}

// Allows reports whether mail to domain is taken: by the domain itself or a suffix at a dot,
// first in Hosts, then in More. With Hosts nil everything is, and the Match is zero. An
// address without a domain does not come here: it is always taken.
func (r Rcpthosts) Allows(domain string) (Match, bool, error) {
	if r.Hosts == nil {
		return Match{}, true, nil
	}
	for s := range suffixes(domain) {
		if m, ok := r.Hosts.Lookup(s); ok {
			return m, true, nil
		}
	}
	if r.More == nil {
		return Match{}, false, nil
	}
	for s := range suffixes(qmail.Lower(domain)) {
		_, found, err := r.More.Get([]byte(s))
		if err != nil {
			return Match{}, false, fmt.Errorf("%s: %w", r.MoreFile, err)
		}
		if found {
			return Match{Place: qmail.Place{File: r.MoreFile}, Key: s}, true, nil
		}
	}
	return Match{}, false, nil
}

// Unwind is percenthack (qmail reference 2.5): a%b@domain means a@b where domain is listed. It drops
// a listed domain and turns the last "%" of the local part into "@", as often as that finds
// another one. It returns the lines that did, and the error of listed, which ends it.
func Unwind(a mail.Address, listed func(domain string) (Match, bool, error)) (mail.Address, []Match, error) {
	var by []Match
	for {
		i := strings.LastIndexByte(a.Local, '%')
		if i < 0 {
			return a, by, nil
		}
		m, ok, err := listed(a.Domain)
		if err != nil || !ok {
			return a, by, err
		}
		a = mail.Address{Local: a.Local[:i], Domain: a.Local[i+1:]}
		by = append(by, m)
	}
}

// Virtualdomains is which addresses and domains belong to which user (qmail reference 2.4).
type Virtualdomains struct{ *Table }

// Find returns the entry that decides about an address: the whole address, its domain,
// every suffix of that at a dot, the empty key. An entry with an empty Value says that the
// address is another host's; with any other Value the address is delivered here, to the
// local part Value + "-" + local part. Domains of control/locals never come here.
func (v Virtualdomains) Find(a mail.Address) (Match, bool) {
	if m, ok := v.Lookup(a.Local + "@" + a.Domain); ok {
		return m, true
	}
	for s := range suffixes(a.Domain) {
		if m, ok := v.Lookup(s); ok {
			return m, true
		}
	}
	return v.Lookup("")
}

// Smtproutes is the relays of other hosts (qmail reference 2.6).
type Smtproutes struct{ *Table }

// Relay is where an entry of smtproutes sends mail. Without Host mail takes its ordinary
// way by MX.
type Relay struct {
	Host string // a name (its addresses, never its MX) or an address, without brackets
	Port int    // 0 means 25
	// User and Password are for AUTH, from the forms host:port|user|password and
	// host:port user password of patched versions (qmail reference 27).
	User, Password string
}

// Find returns the entry that decides about a host: the host itself, every suffix at a
// dot, the empty key. An entry that cannot be read is an error that names its line.
func (s Smtproutes) Find(host string) (Relay, Match, bool, error) {
	m, ok := s.find(host)
	if !ok {
		return Relay{}, m, false, nil
	}
	r, err := ParseRelay(m.Value)
	if err != nil {
		err = &qmail.Fault{Place: m.Place, Text: err.Error()}
	}
	return r, m, true, err
}

func (s Smtproutes) find(host string) (Match, bool) {
	for suffix := range suffixes(host) {
		if m, ok := s.Lookup(suffix); ok {
			return m, true
		}
	}
	return s.Lookup("")
}

// public is what an error may quote of a relay: a user and a password may stand behind.
func public(value string) string {
	blanks := len(value) - len(strings.TrimLeft(value, " \t"))
	if i := strings.IndexAny(value[blanks:], "| \t"); i >= 0 {
		return value[:blanks+i+1] + "..."
	}
	return value
}

// ParseRelay reads what stands behind the first colon of a line of smtproutes. The error quotes the relay, never a
// password, and says what is wanted.
func ParseRelay(value string) (Relay, error) {
	var r Relay
	rest, found := "", false
	if strings.HasPrefix(value, "[") { // an address with colons stands in brackets
		r.Host, rest, found = strings.Cut(value[1:], "]")
		if !found {
			return r, fmt.Errorf("relay %q: want ] behind the address", public(value))
		}
		if rest != "" && rest[0] != ':' {
			return r, fmt.Errorf("relay %q: want : and a port behind the address", public(value))
		}
		rest, found = strings.CutPrefix(rest, ":")
	} else {
		r.Host, rest, found = strings.Cut(value, ":")
	}
	if strings.ContainsAny(r.Host, " \t") {
		return r, fmt.Errorf("relay %q: a blank in the host name", public(value))
	}
	if !found {
		return r, nil
	}
	port := rest
	if i := strings.IndexAny(rest, "| \t"); i >= 0 {
		var login string
		port, login = rest[:i], rest[i+1:]
		r.User, r.Password, found = strings.Cut(login, rest[i:i+1])
		if !found || r.User == "" {
			return r, fmt.Errorf("relay %q: want a user and a password behind the port", r.Host+":"+port)
		}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if port != "" && (err != nil || n == 0) {
		return r, fmt.Errorf("relay %q: port %q, want a number from 1 to 65535", r.Host, port)
	}
	r.Port = int(n)
	return r, nil
}
