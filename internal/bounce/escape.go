package bounce

import (
	"strings"
	"unicode/utf8"
)

// maxLine is the longest line written, in bytes: RFC 5322 2.1.1 allows 998.
const maxLine = 900

// foldAt is where lines of fields are folded if they can be.
const foldAt = 76

// oneLine replaces what could end a line or steer a terminal, and what is not UTF-8, by "?".
func oneLine(s string) string {
	clean := func(r rune) bool {
		return r >= ' ' && r != 0x7f && (r < 0x80 || r >= 0xa0) && r != '\u2028' && r != '\u2029'
	}
	ok := utf8.ValidString(s)
	for _, r := range s {
		ok = ok && clean(r)
	}
	if ok {
		return s
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case !clean(r) || r == utf8.RuneError:
			return '?'
		}
		return r
	}, s)
}

// clip is oneLine for values that cannot be folded: what does not fit a line is cut.
func clip(s string) string {
	s = oneLine(s)
	if len(s) > maxLine {
		return s[:cutAt(s, maxLine)]
	}
	return s
}

// asciiOnly replaces each byte above 127 by "?".
func asciiOnly(s string) string {
	for i := range len(s) {
		if s[i] >= 0x80 {
			b := []byte(s)
			for j := i; j < len(b); j++ {
				if b[j] >= 0x80 {
					b[j] = '?'
				}
			}
			return string(b)
		}
	}
	return s
}

// fold breaks one line of a field at spaces near foldAt, and wherever it must at maxLine.
func fold(line string) []string {
	var out []string
	for len(line) > foldAt {
		cut := strings.LastIndexByte(line[:foldAt], ' ')
		if cut <= 0 {
			cut = strings.IndexByte(line, ' ')
		}
		if cut <= 0 || cut > maxLine {
			if len(line) <= maxLine {
				break
			}
			cut = cutAt(line, maxLine)
		}
		out = append(out, strings.TrimSpace(line[:cut]))
		line = strings.TrimSpace(line[cut:])
	}
	if line != "" {
		out = append(out, line)
	}
	return out
}

// cutAt returns the last place up to n where no character is cut.
func cutAt(s string, n int) int {
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return n
}
