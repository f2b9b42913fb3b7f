package aliases

import (
	"fmt"
	"strings"
)

// scanner goes through a text with quotes, backslashes and, if wanted, comments.
type scanner struct {
	in       string
	at       int
	comments bool // leave (comments) out
	inQuotes bool
	err      error
}

// rest returns what was not read.
func (s *scanner) rest() string { return s.in[min(s.at, len(s.in)):] }

// next returns the next byte of the text and whether quotes or a backslash took its meaning.
func (s *scanner) next() (c byte, quoted, ok bool) {
	for s.at < len(s.in) {
		c = s.in[s.at]
		s.at++
		switch {
		case c == '\\' && s.at < len(s.in):
			c = s.in[s.at]
			s.at++
			return c, true, true
		case c == '"':
			s.inQuotes = !s.inQuotes
		case s.comments && c == '(' && !s.inQuotes:
			if !s.comment() {
				return 0, false, false
			}
		default:
			return c, s.inQuotes, true
		}
	}
	if s.inQuotes {
		s.err = fmt.Errorf("%q: a quote does not end", s.in)
	}
	return 0, false, false
}

// comment passes over a comment, whose ( was read.
func (s *scanner) comment() bool {
	for depth := 1; s.at < len(s.in); {
		c := s.in[s.at]
		s.at++
		switch c {
		case '\\':
			s.at++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return true
			}
		}
	}
	s.err = fmt.Errorf("%q: a comment does not end", s.in)
	return false
}

// item returns the text up to the next comma that is in no quotes, comment or brackets, as
// written, and whether there is more behind it.
func (s *scanner) item() (text string, more bool) {
	start, angle := s.at, 0
	program := strings.HasPrefix(strings.TrimLeft(s.rest(), " \t"), "|") // its parentheses are the shell's
	for s.at < len(s.in) {
		c := s.in[s.at]
		s.at++
		switch {
		case c == '\\':
			s.at++
		case c == '"':
			s.inQuotes = !s.inQuotes
		case s.inQuotes:
		case c == '(' && !program:
			if !s.comment() {
				return "", false
			}
		case c == '<':
			angle = 1
		case c == '>':
			angle = 0
		case c == ',' && angle == 0:
			return s.in[start : s.at-1], true
		}
	}
	if s.inQuotes {
		s.err = fmt.Errorf("%q: a quote does not end", s.in)
	}
	return s.in[start:], false
}

// unquote reads a quoted string at the beginning of text: its content, and its length with
// the quotes; 0 where it does not end.
func unquote(text string) (content string, n int) {
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text):
			i++
			b.WriteByte(text[i])
		case c == '"':
			return b.String(), i + 1
		default:
			b.WriteByte(c)
		}
	}
	return "", 0
}
