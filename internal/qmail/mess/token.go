// Package mess reads and rewrites message headers as qmail-inject does (qmail reference 12), and as
// mess822's new-inject and ofmipd do (17). It does no I/O but on the readers it is given.
//
// It believes nothing: a field that cannot be parsed is an error of its own, and the work is
// linear in the field's length.
package mess

import (
	"errors"
	"strings"
)

// Kind is what a token is.
type Kind uint8

// The kinds of tokens of RFC 822 3.3, with blanks left out.
const (
	Atom Kind = iota + 1
	Quote
	Literal
	Comment
	Left
	Right
	At
	Comma
	Semi
	Colon
	Dot
)

// Token is a word or a special of a structured field. Text is without quotes and backslashes.
type Token struct {
	Kind Kind
	Text string
}

var specials = map[byte]Kind{'.': Dot, ',': Comma, '@': At, '<': Left, '>': Right, ':': Colon, ';': Semi}

var special = map[Kind]byte{Dot: '.', Comma: ',', At: '@', Left: '<', Right: '>', Colon: ':', Semi: ';'}

// ErrSyntax is the error of a field that does not parse.
var ErrSyntax = errors.New("unable to parse")

// Tokenize splits the value of a structured field. The error is ErrSyntax.
func Tokenize(s string) ([]Token, error) {
	tokens := make([]Token, 0, min(len(s)/4+4, 4096))
	for i := 0; i < len(s); {
		c := s[i]
		if k, ok := specials[c]; ok {
			tokens = append(tokens, Token{Kind: k})
			i++
			continue
		}
		var t Token
		n := 0
		switch c {
		case ' ', '\t', '\r', '\n':
			i++
			continue
		case ')', ']':
			return nil, ErrSyntax
		case '(':
			t, n = delimited(s[i:], Comment, '(', ')')
		case '"':
			t, n = delimited(s[i:], Quote, 0, '"')
		case '[':
			t, n = delimited(s[i:], Literal, 0, ']')
		default:
			t, n = atom(s[i:])
		}
		if n == 0 {
			return nil, ErrSyntax
		}
		tokens = append(tokens, t)
		i += n
	}
	return tokens, nil
}

// delimited reads a quoted string, a literal or a comment, which may hold others of its kind. n is
// 0 when it does not end.
func delimited(s string, k Kind, open, shut byte) (t Token, n int) {
	var b strings.Builder
	level := 1
	for i := 1; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\':
			if i++; i == len(s) {
				return t, 0
			}
			c = s[i]
		case c == shut:
			if level--; level == 0 {
				return Token{k, b.String()}, i + 1
			}
		case c == open && open != 0:
			level++
		}
		if c != '\n' && c != '\r' { // a fold: the blank behind it stays
			b.WriteByte(c)
		}
	}
	return t, 0
}

// atom reads a word. What an atom may not hold makes it a quoted string (token822's atomcheck).
func atom(s string) (t Token, n int) {
	var b strings.Builder
	kind := Atom
	for n < len(s) {
		c := s[n]
		if _, ok := specials[c]; ok || strings.IndexByte(" \t\r\n([\"", c) >= 0 {
			break
		}
		if c == '\\' {
			if n++; n == len(s) {
				break
			}
			c = s[n]
		}
		if c < ' ' || c > '~' || c == ')' || c == ']' || c == '\\' {
			kind = Quote
		}
		if c != '\n' && c != '\r' {
			b.WriteByte(c)
		}
		n++
	}
	return Token{kind, b.String()}, n
}

// lineLength is where folding begins (qmail reference 12.4). token822_unparse counts the break that it
// may take out again, two bytes, with the line.
const lineLength = 80 - 2

// Unparse writes tokens behind head ("To:"), folded after commas before column 80, without the
// last line end.
func Unparse(head string, tokens []Token) string {
	var b strings.Builder
	b.WriteString(head)
	line, last := len(head), Colon // of what is written
	for i := 0; i < len(tokens); {
		// A piece goes up to its comma; a line is broken between pieces only.
		var piece strings.Builder
		for i < len(tokens) {
			t := tokens[i]
			i++
			if space(last, t.Kind) {
				piece.WriteByte(' ')
			}
			last = t.Kind
			t.append(&piece)
			if t.Kind == Comma {
				break
			}
		}
		p := piece.String()
		if line+len(p) > lineLength && line > len(head) {
			b.WriteString("\n ")
			line = 1
		}
		b.WriteString(p)
		line += len(p)
	}
	return b.String()
}

// space reports whether a blank stands between two tokens.
func space(before, after Kind) bool {
	word := func(k Kind) bool { return k == Atom || k == Quote || k == Literal || k == Comment }
	return before == Colon || before == Comma || after == Left || word(before) && word(after)
}

func (t Token) append(b *strings.Builder) {
	switch t.Kind {
	case Atom:
		escape(b, t.Text, "\"[]()\\ \t.,@<>:;")
	case Quote:
		b.WriteByte('"')
		escape(b, t.Text, "\"[]()\\")
		b.WriteByte('"')
	case Literal:
		b.WriteByte('[')
		escape(b, t.Text, "\"[]()\\")
		b.WriteByte(']')
	case Comment:
		b.WriteByte('(')
		escape(b, t.Text, "\"[]()\\")
		b.WriteByte(')')
	default:
		b.WriteByte(special[t.Kind])
	}
}

// escape writes s with a backslash before each byte of special.
func escape(b *strings.Builder, s, special string) {
	for i := range len(s) {
		if strings.IndexByte(special, s[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
}

// Unquote writes an address as an envelope has it: comments are gone, quotes too.
func Unquote(tokens []Token) string {
	var b strings.Builder
	for _, t := range tokens {
		switch t.Kind {
		case Comment:
		case Atom, Quote:
			b.WriteString(t.Text)
		case Literal:
			b.WriteString("[" + t.Text + "]")
		default:
			b.WriteByte(special[t.Kind])
		}
	}
	return b.String()
}
