package list

import "strings"

// MaxAddress is how long a subscriber's address may be, in bytes (qmail reference 23.3).
const MaxAddress = 400

// CheckAddress tells why an address cannot be on a list. What it lets through can stand in a file
// of subscribers, a header and an envelope. The error is a permanent *Error.
func CheckAddress(address string) error {
	switch {
	case strings.IndexByte(address, '\n') >= 0:
		return refuse("address contains newline")
	case len(address) > MaxAddress:
		return refuse("address is too long")
	}
	for i := range len(address) {
		if address[i] < ' ' || address[i] == 0x7f {
			return refuse("address contains a control character")
		}
	}
	if i := strings.LastIndexByte(address, '@'); i <= 0 || i == len(address)-1 {
		return refuse("address does not contain @")
	}
	return nil
}

// Verp returns an address as it stands within another's local part: its last "@" as "=".
func Verp(address string) string {
	if i := strings.LastIndexByte(address, '@'); i >= 0 {
		return address[:i] + "=" + address[i+1:]
	}
	return address
}

// Unverp is Verp's inverse: the last "=" becomes "@".
func Unverp(text string) string {
	if i := strings.LastIndexByte(text, '='); i >= 0 {
		return text[:i] + "@" + text[i+1:]
	}
	return text
}

// lowerHost returns the address with its domain in lower case, as subscribers are stored.
func lowerHost(address string) string {
	i := strings.LastIndexByte(address, '@') + 1
	return address[:i] + lowerASCII(address[i:])
}

// lowerASCII folds as ezmlm does: letters of ASCII, whatever the language.
func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// RealSender returns who an envelope sender really is, below what forwarders and signers of
// senders put around it: SRS0=HH=TT=host=box@forwarder, prvs=TAG=box@host, prvs=box=TAG@host,
// btv1==TAG==box@host. Subscribers are known by that name.
func RealSender(sender string) string {
	at := strings.LastIndexByte(sender, '@')
	if at < 0 {
		return sender
	}
	box, host := sender[:at], sender[at:]
	switch {
	case strings.HasPrefix(box, "SRS0") || strings.HasPrefix(box, "SRS1"):
		parts := strings.Split(box, "=")
		if n := len(parts); n >= 5 && parts[n-1] != "" && parts[n-2] != "" {
			return parts[n-1] + "@" + parts[n-2]
		}
	case strings.HasPrefix(box, "prvs="):
		if tag, rest, ok := strings.Cut(box[len("prvs="):], "="); ok && isTag(tag) && rest != "" {
			return rest + host
		}
		if i := strings.LastIndexByte(box, '='); i > len("prvs=") && isTag(box[i+1:]) {
			return box[len("prvs="):i] + host
		}
	case strings.HasPrefix(box, "btv1=="):
		if tag, rest, ok := strings.Cut(box[len("btv1=="):], "=="); ok && isTag(tag) && rest != "" {
			return rest + host
		}
	}
	return sender
}

// isTag reports whether s is a tag of BATV: nine hexadecimal digits or more.
func isTag(s string) bool {
	for i := range len(s) {
		if c := s[i] | 0x20; !(s[i] >= '0' && s[i] <= '9' || c >= 'a' && c <= 'f') {
			return false
		}
	}
	return len(s) >= 9
}
