package smtp

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/netx/names"
)

// PathError tells why a path is none.
type PathError struct{ Why string }

// Error returns what was expected.
func (e *PathError) Error() string { return e.Why }

func pathError(why string) error { return &PathError{why} }

// ParsePath reads a path in angle brackets at the start of s (RFC 5321 4.1.2) and returns it
// unquoted, with what follows it. "<>" gives the zero Address. A source route is dropped, as
// RFC 5321 appendix C advises. As qmail-smtpd and Postfix do, an address without the brackets is
// taken too, up to the next space: people and old devices write it so. An address without a domain is taken only when its local part is
// postmaster in any case. UTF-8 is checked but taken; whether it may be used is the caller's to
// decide (mail.Address.IsASCII). The error is *PathError.
func ParsePath(s string) (a mail.Address, rest string, err error) {
	return parsePath(s, limits{local: MaxLocalPart})
}

// ParseReversePath is ParsePath for MAIL: the local part may have MaxReverseLocal bytes, as those
// that carry a recipient's address back (VERP, BATV) go beyond 64 in practice, and refusing them
// would lose mail. Two forms of qmail's that are no addresses are taken: <owner-@host-@[]>, which asks for
// a path of its own for each recipient, and <#@[]> of double bounces (qmail reference 3.1).
func ParseReversePath(s string) (a mail.Address, rest string, err error) {
	return parsePath(s, limits{local: MaxReverseLocal, reverse: true})
}

// parseAsQmail is ParseReversePath for both directions with what qmail-smtpd takes besides: no
// domain, and dots at any place of an unquoted local part.
func parseAsQmail(s string) (a mail.Address, rest string, err error) {
	return parsePath(s, limits{local: MaxReverseLocal, asQmail: true, reverse: true})
}

// limits are what a path may be.
type limits struct {
	local   int  // bytes of the local part
	asQmail bool // see parseAsQmail
	reverse bool // see ParseReversePath
}

// perRecipient ends the host of a reverse-path that asks for one of its own for each recipient.
const perRecipient = "-@[]"

func parsePath(s string, most limits) (a mail.Address, rest string, err error) {
	if !strings.HasPrefix(s, "<") {
		return parseBare(s, most)
	}
	s = s[1:]
	if strings.HasPrefix(s, ">") {
		return a, s[1:], nil
	}
	if strings.HasPrefix(s, "@") {
		if s, err = skipRoute(s); err != nil {
			return a, s, err
		}
	}
	local, s, err := parseLocal(s, most)
	if err != nil {
		return a, s, err
	}
	if strings.HasPrefix(s, ">") {
		if !most.asQmail && !strings.EqualFold(local, "postmaster") {
			return a, s, pathError("want a domain after the local part")
		}
		return mail.Address{Local: local}, s[1:], nil
	}
	if !strings.HasPrefix(s, "@") {
		return a, s, pathError("want @ and a domain after the local part")
	}
	end := strings.IndexByte(s, '>')
	if end < 0 {
		return a, s, pathError("want > at the end of the address")
	}
	domain := s[1:end]
	if most.reverse {
		if local == "#" && domain == "[]" {
			return mail.Address{Local: local, Domain: domain}, s[end+1:], nil
		}
		if host, ok := strings.CutSuffix(domain, perRecipient); ok && CheckDomain(host) == nil {
			return mail.Address{Local: local + "@" + host + "-", Domain: "[]"}, s[end+1:], nil
		}
	}
	if err := CheckDomain(domain); err != nil {
		return a, s, err
	}
	return mail.Address{Local: local, Domain: domain}, s[end+1:], nil
}

// parseBare reads an address without brackets up to the next space. The null path needs them.
func parseBare(s string, most limits) (a mail.Address, rest string, err error) {
	word, _, _ := strings.Cut(s, " ")
	if word == "" || strings.ContainsAny(word, "<>") {
		return a, s, pathError("want an address in angle brackets")
	}
	if a, _, err = parsePath("<"+word+">", most); err != nil {
		return a, s, err
	}
	return a, s[len(word):], nil
}

// skipRoute drops "@a,@b:" of a source route (RFC 5321 4.1.2 A-d-l).
func skipRoute(s string) (string, error) {
	end := strings.IndexAny(s, ":\"<> ")
	if end < 0 || s[end] != ':' {
		return s, pathError("want a colon at the end of the source route")
	}
	for hop := range strings.SplitSeq(s[:end], ",") {
		if hop == "" || hop[0] != '@' || CheckDomain(hop[1:]) != nil {
			return s, pathError("want @domain at each hop of the source route")
		}
	}
	return s[end+1:], nil
}

// parseLocal reads a local part, a dot-string or a quoted-string, and returns it unquoted.
func parseLocal(s string, most limits) (local, rest string, err error) {
	if strings.HasPrefix(s, `"`) {
		local, rest, err = parseQuoted(s)
	} else {
		end := strings.IndexAny(s, "@>")
		if end < 0 {
			return "", s, pathError("want > at the end of the address")
		}
		local, rest = s[:end], s[end:]
		err = checkDotString(local, most.asQmail)
	}
	switch {
	case err != nil:
		return "", s, err
	case local == "":
		return "", s, pathError("want a local part that is not empty")
	case len(local) > most.local:
		return "", s, pathError("want a local part of at most " + strconv.Itoa(most.local) + " bytes")
	case !utf8.ValidString(local):
		return "", s, pathError("want valid UTF-8 in the local part")
	}
	return local, rest, nil
}

func checkDotString(s string, anyDots bool) error {
	if s == "" {
		return nil // parseLocal names this
	}
	if !anyDots && (s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..")) {
		return pathError("want single dots inside an unquoted local part only")
	}
	for i := range len(s) {
		if c := s[i]; c < 0x80 && c != '.' && !mail.IsAtext(c) {
			return pathError("want quotes around a local part with special characters")
		}
	}
	return nil
}

// parseQuoted reads a Quoted-string of RFC 5321 4.1.2: printable ASCII, space, UTF-8; no controls.
func parseQuoted(s string) (content, rest string, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '"':
			return b.String(), s[i+1:], nil
		case c == '\\' && i+1 < len(s) && s[i+1] < 0x80:
			i++
			c = s[i]
		}
		if c < ' ' || c == 0x7f {
			return "", s, pathError("want no control characters in a quoted local part")
		}
		b.WriteByte(c)
	}
	return "", s, pathError(`want " at the end of the quoted local part`)
}

// CheckDomain tells whether s is a domain or an address literal as MAIL, RCPT and EHLO take
// it: letters, digits, hyphens and underscores in labels of 1 to 63 bytes, no dot at the end;
// [192.0.2.1] or [IPv6:2001:db8::1]. U-labels and A-labels must be valid IDNA2008. The error is
// *PathError.
func CheckDomain(s string) error {
	switch {
	case s == "":
		return pathError("want a domain that is not empty")
	case s[0] == '[':
		if _, ok := names.Literal(s); !ok {
			return pathError("want an address literal such as [192.0.2.1] or [IPv6:2001:db8::1]")
		}
		return nil
	}
	if s[0] == '-' || s[len(s)-1] == '-' || strings.Contains(s, ".-") || strings.Contains(s, "-.") {
		return pathError("want no hyphen at the ends of a label of the domain")
	}
	if s[len(s)-1] == '.' {
		return pathError("want no dot at the end of the domain")
	}
	if _, err := names.Domain(s); err != nil {
		return pathError(err.Error())
	}
	return nil
}

// DomainKey returns the form that domains are compared in, see names.Domain. What has no such form,
// as an address literal, is only lowered.
func DomainKey(s string) string {
	if name, err := names.Domain(s); err == nil {
		return name
	}
	return strings.ToLower(s)
}

// AppendPath appends the address in angle brackets, quoted where it must be; the zero Address
// gives "<>".
func AppendPath(b []byte, a mail.Address) []byte {
	b = append(b, '<')
	b = append(b, a.Quoted()...)
	return append(b, '>')
}
