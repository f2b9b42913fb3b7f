package list

import (
	"encoding/base64"
	"strings"
)

// This file reads Subject and From fields the way archives' indices are made of them, so that a
// thread goes on where an existing index left it (qmail reference 23.8).

// oneLine joins the lines of a field's value, with one blank in place of each fold.
func oneLine(value string) string {
	var parts []string
	for line := range strings.Lines(value) {
		if line = strings.Trim(line, " \t\r\n\x00"); line != "" {
			parts = append(parts, line)
		}
	}
	return strings.Join(parts, " ")
}

// decodeWords replaces encoded words by their bytes, whatever their charset (RFC 2047; blanks
// between two of them go).
func decodeWords(s string) string {
	var b strings.Builder
	afterWord := false
	for {
		i := strings.Index(s, "=?")
		if i < 0 {
			b.WriteString(s)
			return b.String()
		}
		parts := strings.SplitN(s[i+2:], "?", 4)
		var text []byte
		ok := len(parts) == 4 && strings.HasPrefix(parts[3], "=") && len(parts[1]) == 1 && !strings.ContainsAny(parts[2], " \t")
		if ok {
			text, ok = decodeWord(parts[1][0], parts[2])
		}
		if !ok {
			b.WriteString(s[:i+2])
			s, afterWord = s[i+2:], false
			continue
		}
		if !afterWord || strings.Trim(s[:i], " \t") != "" {
			b.WriteString(s[:i])
		}
		b.Write(text)
		s, afterWord = parts[3][1:], true
	}
}

func decodeWord(encoding byte, text string) ([]byte, bool) {
	switch encoding | 0x20 {
	case 'b':
		out, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
		return out, err == nil
	case 'q':
		var out []byte
		for i := 0; i < len(text); i++ {
			switch c := text[i]; {
			case c == '_':
				out = append(out, ' ')
			case c == '=' && i+2 < len(text) && hexDigit(text[i+1]) >= 0 && hexDigit(text[i+2]) >= 0:
				out = append(out, byte(hexDigit(text[i+1])<<4|hexDigit(text[i+2])))
				i += 2
			default:
				out = append(out, c)
			}
		}
		return out, true
	}
	return nil, false
}

func hexDigit(c byte) int {
	switch l := c | 0x20; {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case l >= 'a' && l <= 'f':
		return int(l-'a') + 10
	}
	return -1
}

// subject is a Subject field, taken apart.
type subject struct {
	text     string // without marks of replies and the list's prefix
	reply    bool   // there were such marks
	prefixed bool   // the list's prefix was there
}

// parseSubject takes a Subject field's value apart; prefix is the list's, decoded, "" without.
func parseSubject(value, prefix string) (s subject) {
	text := decodeWords(oneLine(value))
	for {
		text = strings.TrimRight(text, " \t\r\n")
		n := len(text) - len("-Reply")
		if n < 0 || !strings.EqualFold(text[n:], "-Reply") {
			break
		}
		text, s.reply = text[:n], true
	}
	for more := true; more; {
		more = false
		text = strings.TrimLeft(text, " \t")
		if word, rest, ok := strings.Cut(text, " "); ok && isReplyMark(word) {
			text, s.reply, more = rest, true, true
		}
		if rest, ok := cutPrefix(text, prefix); ok && len(rest) < len(text) {
			text, s.prefixed, more = rest, true, true
		}
	}
	s.text = strings.Map(func(r rune) rune {
		if r == '\n' || r == 0 {
			return ' '
		}
		return r
	}, text)
	return s
}

// isReplyMark knows "Re:", "AW:", "Fwd:", "Re[2]:", "Re^3:", "Antw(2):" and their like.
func isReplyMark(word string) bool {
	n := len(word)
	if n < 3 || word[n-1] != ':' {
		return false
	}
	c := word[n-2]
	return n <= 5 || c == ')' || c == ']' || c >= '0' && c <= '9'
}

// cutPrefix removes the list's prefix, with any number for its "#", blanks ignored.
func cutPrefix(text, prefix string) (rest string, ok bool) {
	if strings.TrimSpace(prefix) == "" {
		return text, false
	}
	head, tail, numbered := strings.Cut(prefix, "#")
	rest, ok = cutLoosely(text, head)
	if ok && numbered {
		rest, ok = cutLoosely(strings.TrimLeft(rest, " 0123456789"), tail)
	}
	return rest, ok
}

// cutLoosely is strings.CutPrefix, blind for blanks in either.
func cutLoosely(text, prefix string) (rest string, ok bool) {
	rest = text
	for i := range len(prefix) {
		if prefix[i] == ' ' {
			continue
		}
		rest = strings.TrimLeft(rest, " ")
		if rest == "" || rest[0] != prefix[i] {
			return text, false
		}
		rest = rest[1:]
	}
	return rest, true
}

// authorName returns by what name a From field's author is listed: what goes before the "<", else
// a quoted string, else a comment, else the address with a dot for its "@".
func authorName(value string) string {
	from := oneLine(value)
	name := from
	quote, comment, depth := -1, -1, 0
scan:
	for i := 0; i < len(from); i++ {
		switch c := from[i]; {
		case c == '\\':
			i++
		case quote >= 0:
			if c == '"' {
				name = from[quote:i]
				break scan
			}
		case c == '"' && depth == 0:
			quote = i + 1
		case c == '(':
			if depth++; depth == 1 {
				comment = i + 1
			}
		case c == ')' && depth > 0:
			if depth--; depth == 0 {
				name = from[comment:i]
			}
		case depth == 0 && c == '<':
			if strings.Trim(from[:i], " \t") != "" {
				name = from[:i]
			}
			break scan
		case depth == 0 && c == ';':
			break scan
		}
	}
	name = strings.Trim(name, " \t<>")
	if name == "" {
		name = strings.Trim(from, " \t<>")
	}
	return strings.ReplaceAll(decodeWords(name), "@", ".")
}
