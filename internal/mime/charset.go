package mime

import (
	"cmp"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/htmlindex"
)

// This file turns texts of other character sets into UTF-8, for people and for comparing. What a message is made of
// is never changed by it.

// charsets are names that writers use and the index of the web has not.
var charsets = map[string]string{
	"": "utf-8", "utf8": "utf-8", "us-ascii": "utf-8", "ascii": "utf-8", "unknown-8bit": "utf-8", "unknown": "utf-8",
	"ks_c_5601": "euc-kr", "cp949": "euc-kr", "ms949": "euc-kr", "uhc": "euc-kr", "x-windows-949": "euc-kr", "euckr": "euc-kr",
	"cp932": "shift_jis", "ms932": "shift_jis", "eucjp": "euc-jp", "ujis": "euc-jp",
	"iso-2022-jp-ms": "iso-2022-jp", "iso-2022-jp-1": "iso-2022-jp", "cp50221": "iso-2022-jp",
	"csiso2022kr": iso2022kr,
}

// iso2022kr is RFC 1557's character set, which the index of the web refuses to decode.
const iso2022kr = "iso-2022-kr"

// toUTF8 reads text in a character set; one that is not known is taken as UTF-8 where it
// is valid, else as Windows-1252, where every byte means something.
func toUTF8(charset, text string) string {
	charset = strings.ToLower(charset)
	charset = cmp.Or(charsets[charset], charset)
	if charset == "utf-8" {
		if utf8.ValidString(text) {
			return text
		}
		charset = "windows-1252"
	}
	if s, ok := decode(charset, text); ok {
		return s
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// decode reads text in a character set by its usual name; what it has no character for becomes U+FFFD. ok is
// false where the character set is not known.
func decode(charset, text string) (s string, ok bool) {
	if charset == iso2022kr {
		charset, text = "euc-kr", shiftedKorean(text)
	}
	enc, err := htmlindex.Get(charset)
	if err != nil {
		return "", false
	}
	s, err = enc.NewDecoder().String(text)
	return s, err == nil
}

// Bytes of ISO-2022-KR (RFC 1557).
const (
	designator = "\x1b$)C" // makes KS X 1001 what shiftOut turns to
	shiftOut   = 0x0e
	shiftIn    = 0x0f
)

// shiftedKorean turns ISO-2022-KR into EUC-KR, where the same codes have the high bit. Each line begins in ASCII.
func shiftedKorean(text string) string {
	out := make([]byte, 0, len(text))
	shifted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == 0x1b && strings.HasPrefix(text[i:], designator):
			i += len(designator) - 1
		case c == shiftOut || c == shiftIn:
			shifted = c == shiftOut
		case shifted && 0x21 <= c && c <= 0x7e:
			out = append(out, c|0x80)
		default:
			shifted = shifted && c != '\n'
			out = append(out, c)
		}
	}
	return string(out)
}

// Legible turns a field's value that holds more than ASCII without saying in what into UTF-8: Korean and Japanese
// writers leave encoded words out. charset is what the message says of its text, "" for nothing. Text with the escapes
// of ISO-2022 tells by them what it is. What would not be read whole stays as it is, as do encoded words.
func Legible(value, charset string) string {
	escaped := strings.Contains(value, "\x1b$")
	switch {
	case strings.Contains(value, designator):
		charset = iso2022kr
	case escaped:
		charset = "iso-2022-jp"
	case utf8.ValidString(value):
		return value
	}
	charset = strings.ToLower(charset)
	if s, ok := decode(cmp.Or(charsets[charset], charset), value); ok && !strings.ContainsRune(s, utf8.RuneError) {
		return s
	}
	return value
}
