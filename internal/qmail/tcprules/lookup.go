package tcprules

import (
	"fmt"
	"iter"
	"strings"

	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/qmail/cdb"
)

// names yields what a client is looked up by, in order: ident at address, ident at name,
// address, name, networks and prefixes of the address from the longest on, suffixes of the
// name from the longest on, any name, anything.
func (c Client) names(lengths []byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		ip, host := c.IP.Unmap().String(), qmail.Lower(c.Host)
		if c.Info != "" && (!yield(c.Info+"@"+ip) || host != "" && !yield(c.Info+"@="+host)) {
			return
		}
		if !yield(ip) || host != "" && !yield("="+host) {
			return
		}
		for _, n := range lengths {
			if p, err := c.IP.Prefix(int(n)); err == nil && !c.IP.Unmap().Is4() && !yield(networkKey(p)) {
				return
			}
		}
		for i := len(ip); i > 0; i-- {
			if ip[i-1] == '.' && !yield(ip[:i]) {
				return
			}
		}
		for i := range len(host) {
			if host[i] == '.' && !yield("="+host[i:]) {
				return
			}
		}
		if host != "" && !yield("=") {
			return
		}
		yield("")
	}
}

// Table is rules in memory.
type Table struct {
	rules   map[string]Rule
	lengths []byte
}

// NewTable makes a table of entries. Of several for one address the first counts.
func NewTable(entries []Entry) *Table {
	t := &Table{map[string]Rule{}, lengths(entries)}
	for _, e := range ordered(entries) {
		for _, k := range e.keys {
			if _, ok := t.rules[k]; !ok {
				t.rules[k] = Rule{e.Place, k, e.Deny, e.Env}
			}
		}
	}
	return t
}

// Lookup implements [Lookup]. The error is always nil.
func (t *Table) Lookup(c Client) (Rule, bool, error) {
	for name := range c.names(t.lengths) {
		if r, ok := t.rules[name]; ok {
			return r, true, nil
		}
	}
	return Rule{}, false, nil
}

// DB is compiled rules.
type DB struct {
	file    string
	db      *cdb.Reader
	lengths []byte
}

// NewDB reads compiled rules; file names them in errors and rules.
func NewDB(file string, db *cdb.Reader) (*DB, error) {
	l, _, err := db.Get([]byte(lengthsKey))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(l) > 129 {
		return nil, &qmail.Fault{Place: qmail.Place{File: file}, Text: fmt.Sprintf("%d lengths of networks, want at most 129", len(l))}
	}
	return &DB{file, db, l}, nil
}

// Lookup implements [Lookup]. The error says that the database is broken: tcpserver drops
// the connection then.
func (d *DB) Lookup(c Client) (Rule, bool, error) {
	for name := range c.names(d.lengths) {
		value, ok, err := d.db.Get([]byte(name))
		if err != nil {
			return Rule{}, false, fmt.Errorf("%s: %w", d.file, err)
		}
		if !ok {
			continue
		}
		r := Rule{Place: qmail.Place{File: d.file}, Key: name}
		for s := range strings.SplitSeq(string(value), "\x00") {
			switch {
			case s == "D":
				r.Deny = true
			case strings.HasPrefix(s, "+"):
				r.Env = append(r.Env, s[1:])
			}
		}
		return r, true, nil
	}
	return Rule{}, false, nil
}

// Report returns what tcprulescheck prints about the outcome of a lookup.
func Report(r Rule, found bool) string {
	if !found {
		return "default:\nallow connection\n"
	}
	var b strings.Builder
	b.WriteString("rule " + r.Key + ":\n")
	if r.Deny {
		b.WriteString("deny connection\n")
		return b.String()
	}
	for _, v := range r.Env {
		b.WriteString("set environment variable " + v + "\n")
	}
	b.WriteString("allow connection\n")
	return b.String()
}

// Check tells what in rules does not do what it looks like. A line that Parse refuses is not
// among the faults.
func Check(file string, data []byte) []*qmail.Fault {
	var out []*qmail.Fault
	for n, raw := range qmail.Lines(data) {
		line := strings.TrimRight(raw, " \t")
		if line == "" || line[0] == '#' {
			continue
		}
		address, _, ok := cutAddress(line)
		why := ""
		name, isName := "", false
		if i := strings.IndexByte(address, '='); i >= 0 {
			name, isName = address[i+1:], true
		}
		switch {
		case !ok:
			why = "has no colon, so it is ignored"
		case strings.ContainsAny(address, " \t"):
			why = "has a blank in the address, which never matches"
		case isName && qmail.Lower(name) != name:
			why = "has capitals in the name, and names are looked up in lower case"
		case isName && strings.HasPrefix(name, "*"):
			why = "has a * in the name: want =.domain for all names of a domain"
		case !isName && shortPrefix(address):
			why = "is a whole address, which no client has: a prefix ends with a dot"
		}
		if why != "" {
			out = append(out, &qmail.Fault{Place: qmail.Place{File: file, Line: n}, Text: fmt.Sprintf("%q %s", line, why)})
		}
	}
	return out
}

// shortPrefix reports whether an address is numbers and dots, but too few for an address
// and without the dot of a prefix.
func shortPrefix(address string) bool {
	return address != "" && strings.Trim(address, "0123456789.-") == "" && !strings.HasSuffix(address, ".") && strings.Count(address, ".") < 3
}
