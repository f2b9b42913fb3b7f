package mime

import (
	"strconv"
	"strings"
)

// scanner reads the tokens of structured fields: those of RFC 5322 for addresses, those
// of RFC 2045 for parameters.
type scanner struct {
	s string
	i int
}

func (s *scanner) end() bool { return s.i >= len(s.s) }

// peek returns the next byte, or 0 at the end.
func (s *scanner) peek() byte {
	if s.end() {
		return 0
	}
	return s.s[s.i]
}

// take moves over b if it is next.
func (s *scanner) take(b byte) bool {
	if !s.end() && s.s[s.i] == b {
		s.i++
		return true
	}
	return false
}

// skipCFWS passes over blanks, line ends and comments and returns the last comment's
// text, without its parentheses and backslashes.
func (s *scanner) skipCFWS() (comment string) {
	for !s.end() {
		switch s.s[s.i] {
		case ' ', '\t', '\r', '\n':
			s.i++
		case '(':
			comment = s.comment()
		default:
			return comment
		}
	}
	return comment
}

// comment reads a comment with those nested in it, iteratively: depth costs nothing.
func (s *scanner) comment() string {
	var b strings.Builder
	depth := 0
	for ; !s.end(); s.i++ {
		c := s.s[s.i]
		switch {
		case c == '\\' && s.i+1 < len(s.s):
			s.i++
			c = s.s[s.i]
		case c == '(':
			if depth++; depth == 1 {
				continue
			}
		case c == ')':
			if depth--; depth == 0 {
				s.i++
				return b.String()
			}
		case c == '\r' || c == '\n':
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// quoted reads a quoted-string, whose opening quote is next, and returns its content.
// Without a closing quote it ends with the text.
func (s *scanner) quoted() string {
	var b strings.Builder
	for s.i++; !s.end(); s.i++ {
		c := s.s[s.i]
		switch {
		case c == '\\' && s.i+1 < len(s.s):
			s.i++
			c = s.s[s.i]
		case c == '"':
			s.i++
			return b.String()
		case c == '\r' || c == '\n':
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// token reads an RFC 2045 token; "" where none is next.
func (s *scanner) token() string {
	from := s.i
	for !s.end() && !strings.ContainsRune("()<>@,;:\\\"/[]?= \t\r\n", rune(s.s[s.i])) {
		s.i++
	}
	return s.s[from:s.i]
}

// Param is one parameter of a Content-Type or Content-Disposition field. Name is as it came,
// in lower case, Value unquoted.
type Param struct {
	Name, Value string
}

func param(params []Param, name string) string {
	for _, p := range params {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

// parseType reads a Content-Type field's value.
func parseType(v string) (typ, subtype string, params []Param, ok bool) {
	s := scanner{s: v}
	s.skipCFWS()
	typ = strings.ToLower(s.token())
	s.skipCFWS()
	if typ == "" || !s.take('/') {
		return "", "", nil, false
	}
	s.skipCFWS()
	subtype = strings.ToLower(s.token())
	if subtype == "" {
		return "", "", nil, false
	}
	return typ, subtype, s.params(), true
}

// maxParams bounds the parameters of one field.
const maxParams = 1000

// params reads ";name=value" up to the end, passing over what is none.
func (s *scanner) params() (list []Param) {
	for len(list) < maxParams {
		for !s.end() && s.s[s.i] != ';' {
			switch s.s[s.i] {
			case '"':
				s.quoted()
			case '(':
				s.comment()
			default:
				s.i++
			}
		}
		if !s.take(';') {
			return list
		}
		s.skipCFWS()
		name := strings.ToLower(s.token())
		s.skipCFWS()
		if name == "" || !s.take('=') {
			continue
		}
		s.skipCFWS()
		list = append(list, Param{name, s.value()})
	}
	return list
}

// value reads a parameter's value: a quoted-string, or all up to the next ";" or blank,
// since many a writer forgets the quotes around special characters.
func (s *scanner) value() string {
	if s.peek() == '"' {
		return s.quoted()
	}
	from := s.i
	for !s.end() && !strings.ContainsRune("; \t\r\n(", rune(s.s[s.i])) {
		s.i++
	}
	return s.s[from:s.i]
}

// Decoded returns the value of a parameter with the continuations and character sets of
// RFC 2231 resolved, and encoded words too, which many writers use instead; as UTF-8.
func Decoded(params []Param, name string) string {
	if v, ok := extended(params, name); ok {
		return v
	}
	return DecodeWords(param(params, name))
}

// extended joins name*, name*0, name*0*, name*1…; ok is false where there are none.
func extended(params []Param, name string) (string, bool) {
	byName := map[string]string{}
	for _, p := range params {
		if _, twice := byName[p.Name]; strings.HasPrefix(p.Name, name+"*") && !twice {
			byName[p.Name] = p.Value
		}
	}
	if v, ok := byName[name+"*"]; ok {
		charset, text := splitCharset(v)
		return toUTF8(charset, unescape(text, '%')), true
	}
	var b strings.Builder
	charset := ""
	for i := 0; ; i++ {
		key := name + "*" + strconv.Itoa(i)
		if v, ok := byName[key+"*"]; ok {
			if i == 0 {
				charset, v = splitCharset(v)
			}
			b.WriteString(unescape(v, '%'))
		} else if v, ok := byName[key]; ok {
			b.WriteString(v)
		} else {
			return toUTF8(charset, b.String()), i > 0
		}
	}
}

// splitCharset takes charset'language' off an extended value.
func splitCharset(v string) (charset, rest string) {
	parts := strings.SplitN(v, "'", 3)
	if len(parts) < 3 {
		return "", v
	}
	return parts[0], parts[2]
}

// unescape replaces mark and two hexadecimal digits by their byte.
func unescape(s string, mark byte) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == mark && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
