// Package tcprules reads the rules that say which clients may connect and with which
// variables: the text that tcprules compiles, its database, and what tcprulescheck
// prints (qmail reference 22.2). What is compiled here is, byte by byte, what tcprules
// makes of the same text.
//
// Beyond tcprules an address may be a network, 192.0.2.0/24 or [2001:db8::/32], and an IPv6
// address in brackets. IPv4 networks are compiled into rules that tcpserver knows too.
package tcprules

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/qmail/cdb"
)

// Rule is what a client gets.
type Rule struct {
	qmail.Place          // the line; of a database the file alone
	Key         string   // the address that matched, as tcprulescheck prints it
	Deny        bool     // the connection is refused
	Env         []string // NAME=value, in order
}

// Client is whom a rule is looked up for.
type Client struct {
	IP   netip.Addr
	Host string // its name, "" when not known
	Info string // what ident said, "" when not known
}

// Lookup finds the one rule that counts for a client; found is false where none does, and
// the connection is allowed. It is safe for concurrent use.
type Lookup interface {
	Lookup(c Client) (r Rule, found bool, err error)
}

// Entry is a line of rules.
type Entry struct {
	qmail.Place
	Address string // as written
	Deny    bool
	Env     []string // NAME=value

	keys []string     // what it is looked up by
	net  netip.Prefix // valid for a network
}

// SyntaxError is a line that tcprules refuses: it says "unable to parse this line: " and Raw.
type SyntaxError struct {
	qmail.Fault
	Raw string
}

// Parse reads rules. The error is a *SyntaxError about the first line that cannot be read.
// Lines without a colon are left out, as tcprules does in silence; see [Check].
func Parse(file string, data []byte) ([]Entry, error) {
	var out []Entry
	for n, raw := range qmail.Lines(data) {
		line := strings.TrimRight(raw, " \t")
		if line == "" || line[0] == '#' {
			continue
		}
		at := qmail.Place{File: file, Line: n}
		address, instructions, ok := cutAddress(line)
		if !ok {
			continue
		}
		e := Entry{Place: at, Address: address}
		err := e.instructions(instructions)
		if err == nil {
			e.keys, e.net, err = keys(address)
		}
		if err != nil {
			return nil, &SyntaxError{qmail.Fault{Place: at, Text: fmt.Sprintf("unable to parse this line: %q: %s", line, err)}, line}
		}
		out = append(out, e)
	}
	return out, nil
}

// cutAddress divides a line at its first colon, outside of brackets.
func cutAddress(line string) (address, instructions string, ok bool) {
	colon, open := strings.IndexByte(line, ':'), strings.IndexByte(line, '[')
	if open >= 0 && open < colon {
		if end := strings.IndexByte(line[open:], ']'); end >= 0 {
			address, instructions, ok = strings.Cut(line[open+end:], ":")
			return line[:open+end] + address, instructions, ok
		}
	}
	return strings.Cut(line, ":")
}

// instructions reads allow or deny and the variables: any character may serve as quote.
func (e *Entry) instructions(s string) error {
	rest, ok := strings.CutPrefix(s, "allow")
	if !ok {
		if rest, ok = strings.CutPrefix(s, "deny"); !ok {
			return fmt.Errorf("want allow or deny behind the colon")
		}
		e.Deny = true
	}
	for rest != "" {
		if rest[0] != ',' {
			return fmt.Errorf("%q, want a comma and NAME=\"value\"", rest)
		}
		name, value, ok := strings.Cut(rest[1:], "=")
		if !ok {
			return fmt.Errorf("%q, want NAME=\"value\"", rest[1:])
		}
		if value == "" {
			return fmt.Errorf("nothing behind %q, want a value in quotes", name+"=")
		}
		quote := value[:1]
		if value, rest, ok = strings.Cut(value[1:], quote); !ok {
			return fmt.Errorf("the value of %q does not end, want another %s behind it", name, quote)
		}
		e.Env = append(e.Env, name+"="+value)
	}
	return nil
}

// keys returns what an address is looked up by: itself, each number of its range, or what
// a network is made of.
func keys(address string) ([]string, netip.Prefix, error) {
	if address == "" || strings.Contains(address, "=") {
		return []string{address}, netip.Prefix{}, nil
	}
	if i := strings.IndexByte(address, '['); i >= 0 && strings.HasSuffix(address, "]") {
		inside := address[i+1 : len(address)-1]
		if !strings.Contains(inside, "/") {
			ip, err := netip.ParseAddr(inside)
			if err != nil || ip.Zone() != "" {
				return nil, netip.Prefix{}, fmt.Errorf("%q is no address", inside)
			}
			return []string{address[:i] + ip.Unmap().String()}, netip.Prefix{}, nil
		}
		if i > 0 {
			return nil, netip.Prefix{}, fmt.Errorf("a user before a network, want an address")
		}
		return network(inside)
	}
	if strings.Contains(address, "@") {
		return []string{address}, netip.Prefix{}, nil
	}
	if strings.Contains(address, "/") {
		return network(address)
	}
	k, err := numbers(address)
	return k, netip.Prefix{}, err
}

// numbers expands the range in an address such as 1.2.3.37-53 or 10.2-3. as tcprules does.
func numbers(address string) ([]string, error) {
	dash := strings.IndexByte(address, '-')
	if dash < 0 {
		return []string{address}, nil
	}
	left := strings.LastIndexByte(address[:dash], '.') + 1
	right := len(address)
	if i := strings.IndexByte(address[dash+1:], '.'); i >= 0 {
		right = dash + 1 + i
	}
	bottom, ok1 := number(address[left:dash])
	top, ok2 := number(address[dash+1 : right])
	if !ok1 || !ok2 {
		return nil, fmt.Errorf("%q, want a range of numbers such as 37-53", address[left:right])
	}
	var out []string
	for n := bottom; n <= min(top, 255); n++ {
		out = append(out, address[:left]+strconv.Itoa(n)+address[right:])
	}
	return out, nil
}

// number reads digits; none are 0, and what is above 255 counts as 256.
func number(s string) (int, bool) {
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = min(n*10+int(s[i]-'0'), 256)
	}
	return n, true
}

// network returns the keys of an IPv4 network: addresses for one longer than /24, else
// prefixes that end in a dot. One of IPv6 is its own key, in brackets.
func network(s string) ([]string, netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return nil, p, fmt.Errorf("%q is no network, want one such as 192.0.2.0/24 or [2001:db8::/32]", s)
	}
	if p.Addr().Is4In6() {
		return nil, p, fmt.Errorf("%q is IPv4 in the clothes of IPv6, want it as IPv4", s)
	}
	if p != p.Masked() {
		return nil, p, fmt.Errorf("%q has bits behind its length, want %q", s, p.Masked())
	}
	if !p.Addr().Is4() {
		return []string{networkKey(p)}, p, nil
	}
	a, bits := p.Addr().As4(), p.Bits()
	octets := max(1, (bits+7)/8) // how many the keys name
	var out []string
	for n := range 1 << (octets*8 - bits) {
		b := a
		b[octets-1] += byte(n)
		key := ""
		for _, c := range b[:octets] {
			key += strconv.Itoa(int(c)) + "."
		}
		if octets == 4 {
			key = strings.TrimSuffix(key, ".")
		}
		out = append(out, key)
	}
	return out, p, nil
}

// networkKey is the key of an IPv6 network.
func networkKey(p netip.Prefix) string { return "[" + p.String() + "]" }

// lengthsKey is the key of the list of lengths that IPv6 networks have, a byte each.
const lengthsKey = "[]"

// ordered returns the entries as they are looked up where several have one key: addresses
// and prefixes first, in their order, then networks, the longest first.
func ordered(entries []Entry) []Entry {
	out := slices.Clone(entries)
	slices.SortStableFunc(out, func(a, b Entry) int { return b.weight() - a.weight() })
	return out
}

func (e Entry) weight() int {
	if e.net.IsValid() {
		return e.net.Bits()
	}
	return 129
}

// lengths returns the lengths of the IPv6 networks, longest first.
func lengths(entries []Entry) []byte {
	var out []byte
	for _, e := range ordered(entries) {
		if n := byte(e.net.Bits()); e.net.IsValid() && !e.net.Addr().Is4() && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// Compile writes the database of rules. Errors are those of cdb.Writer.
func Compile(entries []Entry, dst io.WriteSeeker) error {
	w := cdb.NewWriter(dst)
	for _, e := range ordered(entries) {
		var value []byte
		if e.Deny {
			value = append(value, "D\x00"...)
		}
		for _, v := range e.Env {
			value = append(append(append(value, '+'), v...), 0)
		}
		for _, k := range e.keys {
			if err := w.Put([]byte(k), value); err != nil {
				return err
			}
		}
	}
	if l := lengths(entries); len(l) > 0 {
		if err := w.Put([]byte(lengthsKey), l); err != nil {
			return err
		}
	}
	return w.Close()
}
