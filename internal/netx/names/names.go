// Package names is how domain names and address literals are written: the one form that they are
// compared, looked up and keyed in. It asks nobody, so that small programs can be linked with it.
package names

import (
	"errors"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Errors of Domain, in the words of the rule that was broken.
var (
	errNameEmpty  = errors.New("a domain name must not be empty")
	errNameLong   = errors.New("a domain name has at most 253 characters")
	errNameLabel  = errors.New("each label of a domain name has 1 to 63 characters")
	errNameUTF8   = errors.New("an international domain name is UTF-8")
	errNameLetter = errors.New("a domain name holds letters, digits, hyphens and dots")
)

// maxUnicode bounds the work for a name in UTF-8, in bytes: no longer one has an ASCII form of
// 253 characters.
const maxUnicode = 1024

// profile maps as IDNA2008 does for lookups, without transitional mapping of ß.
var profile = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false),
	idna.StrictDomainName(false), idna.ValidateLabels(true))

// Domain returns a domain name in the one form that names are compared, looked up
// and keyed in: A-labels in lower case, without a final dot. Underscores are let
// through, as names in use have them. A name that cannot be one is an error.
func Domain(domain string) (string, error) {
	if len(domain) > maxUnicode {
		return "", errNameLong
	}
	ascii := true
	for i := range len(domain) {
		if domain[i] >= 0x80 {
			ascii = false
			break
		}
	}
	name := domain
	if !ascii || hasALabel(domain) {
		if !utf8.ValidString(domain) {
			return "", errNameUTF8
		}
		var err error
		if name, err = profile.ToASCII(domain); err != nil {
			return "", err
		}
	}
	if err := checkName(name); err != nil {
		return "", err
	}
	return strings.ToLower(name), nil
}

func hasALabel(s string) bool {
	for i := 0; i+4 <= len(s); i++ {
		if (i == 0 || s[i-1] == '.') && strings.EqualFold(s[i:i+4], "xn--") {
			return true
		}
	}
	return false
}

// checkName is RFC 1035 2.3.1 and 2.3.4 with underscores.
func checkName(name string) error {
	switch {
	case name == "":
		return errNameEmpty
	case len(name) > 253:
		return errNameLong
	}
	label := 0
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '.':
			if label == 0 {
				return errNameLabel
			}
			label = 0
			continue
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return errNameLetter
		}
		if label++; label > 63 {
			return errNameLabel
		}
	}
	if label == 0 {
		return errNameLabel
	}
	return nil
}

// Literal reads an address literal with its brackets: "[192.0.2.1]" or
// "[IPv6:2001:db8::1]" (RFC 5321 4.1.3). Zones are refused, IPv4-mapped addresses
// become IPv4.
func Literal(s string) (netip.Addr, bool) {
	if len(s) < 3 || s[0] != '[' || s[len(s)-1] != ']' {
		return netip.Addr{}, false
	}
	inner := s[1 : len(s)-1]
	const tag = "IPv6:"
	if len(inner) > len(tag) && strings.EqualFold(inner[:len(tag)], tag) {
		a, err := netip.ParseAddr(inner[len(tag):])
		return a.Unmap(), err == nil && a.Is6() && a.Zone() == ""
	}
	a, err := netip.ParseAddr(inner)
	return a, err == nil && a.Is4()
}

// FormatLiteral writes an address as Literal reads it.
func FormatLiteral(a netip.Addr) string {
	if a = a.Unmap(); a.Is4() {
		return "[" + a.String() + "]"
	}
	return "[IPv6:" + a.WithZone("").String() + "]"
}
