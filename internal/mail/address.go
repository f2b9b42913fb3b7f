// Package mail holds what every part of the program means by an address, an
// envelope and a recipient. It does no I/O.
package mail

import (
	"strings"
)

// Address is a mailbox address as an envelope carries it: bytes, not quoted, the
// domain as the peer wrote it. The zero Address is the null reverse-path "<>".
//
// The rightmost "@" separates Local from Domain (qmail reference 3.1). Local may
// hold any byte but NUL, CR and LF. Domain is a name in A-label or U-label form,
// or an address literal with its brackets; it is empty for <postmaster> and for
// local addresses without a host.
type Address struct {
	Local  string
	Domain string
}

// ParseAddress splits an unquoted address at its rightmost "@".
func ParseAddress(s string) Address {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return Address{s[:i], s[i+1:]}
	}
	return Address{Local: s}
}

// IsZero reports whether a is the null reverse-path.
func (a Address) IsZero() bool { return a == Address{} }

// String returns local@domain unquoted, for logs and queue listings; escape it
// before a terminal sees it.
func (a Address) String() string {
	if a.Domain == "" {
		return a.Local
	}
	return a.Local + "@" + a.Domain
}

// Base returns the address that stands behind a reverse-path which asks for one of its own for each
// recipient (VERP, qmail reference 3.1): owner-@host of owner-@host-@[]; any other address as it is.
func (a Address) Base() Address {
	if a.Domain != "[]" || !strings.HasSuffix(a.Local, "-") || !strings.Contains(a.Local, "@") {
		return a
	}
	return ParseAddress(strings.TrimSuffix(a.Local, "-"))
}

// Quoted returns the address as SMTP and header fields write it, without angle
// brackets: the local part becomes a quoted-string where it must (RFC 5321 4.1.2;
// qmail reference 3.2, except that UTF-8 stays as it is, RFC 6531). The zero
// Address gives "".
func (a Address) Quoted() string {
	if a.IsZero() {
		return ""
	}
	local := a.Local
	if needsQuotes(local) {
		local = quote(local)
	}
	if a.Domain == "" {
		return local
	}
	return local + "@" + a.Domain
}

func needsQuotes(local string) bool {
	if local == "" || local[0] == '.' || local[len(local)-1] == '.' || strings.Contains(local, "..") {
		return true
	}
	for i := range len(local) {
		if c := local[i]; c < 0x80 && !IsAtext(c) && c != '.' {
			return true
		}
	}
	return false
}

// IsAtext reports whether c may stand in an atom: RFC 5322 3.2.3, which RFC 5321 4.1.2 refers to.
func IsAtext(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

func quote(local string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(local) {
		switch c := local[i]; c {
		case '"', '\\', '\r', '\n':
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// IsASCII reports whether the address can be carried without SMTPUTF8.
func (a Address) IsASCII() bool { return IsASCII(a.Local) && IsASCII(a.Domain) }

// IsASCII reports whether s has no byte above 127.
func IsASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
