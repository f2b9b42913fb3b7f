package logs

import (
	"io"
	"strconv"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// PlainJSON returns a JSON text without the runes that a terminal obeys or hides, such as
// U+009B, which begins an escape sequence, or those that turn the direction of writing. They
// become \u escapes, which a parser reads as the same. encoding/json escapes only the
// control characters below U+0020.
func PlainJSON(p []byte) []byte {
	if isPlainASCII(p) {
		return p
	}
	plain := make([]byte, 0, len(p)+len(p)/8)
	for len(p) > 0 {
		r, n := utf8.DecodeRune(p)
		if r < 0x7f || unicode.IsPrint(r) && !(r == utf8.RuneError && n == 1) {
			plain = append(plain, p[:n]...)
		} else if high, low := utf16.EncodeRune(r); high != utf8.RuneError {
			plain = appendEscape(appendEscape(plain, high), low)
		} else {
			plain = appendEscape(plain, r)
		}
		p = p[n:]
	}
	return plain
}

func isPlainASCII(p []byte) bool {
	for _, c := range p {
		if c >= 0x7f {
			return false
		}
	}
	return true
}

func appendEscape(p []byte, r rune) []byte {
	p = append(p, `\u`...)
	digits := strconv.FormatUint(uint64(r), 16)
	return append(append(p, "0000"[len(digits):]...), digits...)
}

// plainJSON makes each line that is written plain.
type plainJSON struct{ w io.Writer }

func (j plainJSON) Write(p []byte) (int, error) {
	if _, err := j.w.Write(PlainJSON(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}
