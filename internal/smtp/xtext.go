package smtp

import (
	"errors"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrXtext is the error of DecodeXtext.
var ErrXtext = errors.New("not xtext: want printable ASCII with + as +2B and = as +3D")

const upperHex = "0123456789ABCDEF"

// EncodeXtext returns s as xtext, RFC 3461 4: bytes outside "!" to "~", and "+" and "=", become
// "+" and two hex digits.
func EncodeXtext(s string) string {
	plain := true
	for i := range len(s) {
		plain = plain && isXchar(s[i])
	}
	if plain {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; isXchar(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('+')
			b.WriteByte(upperHex[c>>4])
			b.WriteByte(upperHex[c&15])
		}
	}
	return b.String()
}

func isXchar(c byte) bool { return c > ' ' && c < 0x7f && c != '+' && c != '=' }

// DecodeXtext decodes xtext. UTF-8 is taken as it is, for SMTPUTF8 (RFC 6533 3). Decoded
// control bytes are refused: the value ends up in reports.
func DecodeXtext(s string) (string, error) {
	if strings.IndexByte(s, '+') < 0 {
		return s, checkXtext(s)
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '+' {
			if i+2 >= len(s) {
				return "", ErrXtext
			}
			hi, lo := strings.IndexByte(upperHex, s[i+1]), strings.IndexByte(upperHex, s[i+2])
			if hi < 0 || lo < 0 {
				return "", ErrXtext
			}
			c = byte(hi<<4 | lo)
			if c < ' ' || c == 0x7f {
				return "", ErrXtext
			}
			i += 2
		} else if c < 0x80 && !isXchar(c) {
			return "", ErrXtext
		}
		b.WriteByte(c)
	}
	if d := b.String(); utf8.ValidString(d) {
		return d, nil
	}
	return "", ErrXtext
}

func checkXtext(s string) error {
	for i := range len(s) {
		if s[i] < 0x80 && !isXchar(s[i]) {
			return ErrXtext
		}
	}
	if !utf8.ValidString(s) {
		return ErrXtext
	}
	return nil
}

// EncodeUTF8Xtext writes an address in RFC 6533 3's ASCII form, utf-8-addr-xtext: characters outside
// xtext become \x{HEX}, as does the backslash.
func EncodeUTF8Xtext(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r < 0x80 && isXchar(byte(r)) && r != '\\' {
			b.WriteByte(byte(r))
			continue
		}
		b.WriteString(`\x{`)
		b.WriteString(strings.ToUpper(strconv.FormatInt(int64(r), 16)))
		b.WriteByte('}')
	}
	return b.String()
}

// decodeUTF8Xtext decodes the address of an ORCPT of type utf-8 in any of its forms, RFC 6533 3: characters
// as \x{HEX}, in UTF-8 or, of old senders, in xtext.
func decodeUTF8Xtext(s string) (string, error) {
	s, err := DecodeXtext(s)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, `\x{`)
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		digits, rest, found := strings.Cut(rest, "}")
		r, err := strconv.ParseUint(digits, 16, 24)
		if !found || err != nil || !utf8.ValidRune(rune(r)) || unicode.IsControl(rune(r)) {
			return "", ErrXtext
		}
		b.WriteRune(rune(r))
		s = rest
	}
}
