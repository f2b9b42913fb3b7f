// Package mess822 reads headers as mess822's programs do: fields, addresses and dates of RFC 822
// in the generous forms found in real mail (qmail reference 17). It does no I/O but on the
// reader given; bounds are the caller's, but no input makes it do more than linear work.
package mess822

import (
	"bufio"
	"errors"
	"io"
	"strings"
)

// Field is a field of a header.
type Field struct {
	Name  string // in lower case
	Raw   string // with its name, its line feeds and its continuation lines
	Value string // unfolded: what follows the colon, without line feeds
}

// limits of a header, in bytes. What lies beyond is left out: no mail program writes such
// headers.
const (
	maxLine   = 1 << 20
	maxHeader = 16 << 20
)

// ReadHeader reads fields up to the end of the header: an empty line, a line that is no field,
// or the end of the input. It returns the line that ended it, "" at the end of the input; what
// follows is still to be read. Lines before the first field that only continue one are a field
// without a name. The error is in's.
func ReadHeader(in *bufio.Reader) (fields []Field, end string, err error) {
	var raw strings.Builder
	size := 0
	flush := func() {
		if raw.Len() > 0 {
			fields = append(fields, newField(raw.String()))
			raw.Reset()
		}
	}
	for {
		line, err := readLine(in)
		if err != nil && err != io.EOF {
			return nil, "", err
		}
		if !isHeader(line) {
			flush()
			return fields, line, nil
		}
		if line[0] != ' ' && line[0] != '\t' {
			flush()
		}
		if size += len(line); size <= maxHeader {
			raw.WriteString(line)
		}
		if err == io.EOF {
			flush()
			return fields, "", nil
		}
	}
}

// readLine reads a line with its line feed, cut at maxLine.
func readLine(in *bufio.Reader) (string, error) {
	var b []byte
	for {
		part, err := in.ReadSlice('\n')
		if room := maxLine - len(b); len(part) > room {
			part = part[:room]
		}
		b = append(b, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return string(b), err
		}
	}
}

// isHeader says whether a line can stand in a header: a name of printable characters, a colon;
// or a continuation line.
func isHeader(line string) bool {
	line = strings.TrimSuffix(line, "\n")
	if line == "" {
		return false
	}
	if line[0] == ' ' || line[0] == '\t' {
		return true
	}
	name, _, ok := strings.Cut(line, ":")
	name = strings.TrimRight(name, " \t")
	if !ok || name == "" {
		return false
	}
	for i := range len(name) {
		if name[i] < 33 || name[i] > 126 {
			return false
		}
	}
	return true
}

func newField(raw string) Field {
	f := Field{Raw: raw}
	i := 0
	for i < len(raw) && raw[i] != ':' && raw[i] >= 33 && raw[i] <= 126 {
		i++
	}
	f.Name = strings.ToLower(raw[:i])
	rest := strings.TrimLeft(raw[i:], " \t")
	f.Value = strings.ReplaceAll(strings.TrimPrefix(rest, ":"), "\n", "")
	return f
}

// Kind is a token's.
type Kind byte

// Kinds of tokens besides the special characters, which are their own: < > , ; : @ . blank tab.
const (
	Word    Kind = '=' // a word, a quoted string, or a domain literal with its brackets
	Comment Kind = '('
)

// Token is a piece of a field's value. Text has quotes and backslashes removed.
type Token struct {
	Kind Kind
	Text string
}

const specials = "<>,;:@. \t"

// Tokens splits a value. What is not closed ends with the value.
func Tokens(s string) []Token {
	var out []Token
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '"':
			text, n := quoted(s[i+1:], '"')
			out = append(out, Token{Word, text})
			i += 1 + n
		case c == '[':
			text, n := quoted(s[i+1:], ']')
			out = append(out, Token{Word, "[" + text + "]"})
			i += 1 + n
		case c == '(':
			text, n := comment(s[i+1:])
			out = append(out, Token{Comment, text})
			i += 1 + n
		case strings.IndexByte(specials, c) >= 0:
			out = append(out, Token{Kind(c), string(c)})
			i++
		default:
			text, n := word(s[i:])
			out = append(out, Token{Word, text})
			i += n
		}
	}
	return out
}

// quoted reads up to the closing byte and past it.
func quoted(s string, end byte) (text string, n int) {
	var b strings.Builder
	for n < len(s) {
		c := s[n]
		n++
		if c == end {
			break
		}
		if c == '\\' && n < len(s) {
			c = s[n]
			n++
		}
		b.WriteByte(c)
	}
	return b.String(), n
}

// comment reads up to the parenthesis that closes the one before s.
func comment(s string) (text string, n int) {
	var b strings.Builder
	for level := 1; n < len(s); {
		c := s[n]
		n++
		switch {
		case c == '(':
			level++
		case c == ')':
			if level--; level == 0 {
				return b.String(), n
			}
		case c == '\\' && n < len(s):
			c = s[n]
			n++
		}
		b.WriteByte(c)
	}
	return b.String(), n
}

func word(s string) (text string, n int) {
	var b strings.Builder
	for n < len(s) && (n == 0 || strings.IndexByte(specials+`"[(`, s[n]) < 0) {
		c := s[n]
		n++
		if c == '\\' && n < len(s) {
			c = s[n]
			n++
		}
		b.WriteByte(c)
	}
	return b.String(), n
}
