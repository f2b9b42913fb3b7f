package mime

import (
	"slices"
	"strings"
)

// maxFilenames bounds the names that Filenames returns of one part.
const maxFilenames = 1000

// Filenames returns every name that a reader of mail may take for that of the part's file: of all its
// Content-Disposition and Content-Type fields, also where a field or a parameter is there twice,
// decoded, and as it came where that is something else. They are a peer's words: never paths to open.
func (q *Part) Filenames() (names []string) {
	add := func(name string) {
		if name != "" && len(names) < maxFilenames && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, f := range q.Header {
		key := ""
		switch {
		case strings.EqualFold(f.Name, "Content-Disposition"):
			key = "filename"
		case strings.EqualFold(f.Name, "Content-Type"):
			key = "name"
		default:
			continue
		}
		// What stands before the first semicolon matters to nobody who looks for a name.
		s := scanner{s: Unfold(f.Value)}
		params := s.params()
		if v, ok := extended(params, key); ok {
			add(v)
		}
		for _, p := range params {
			if p.Name == key {
				add(DecodeWords(p.Value))
				add(p.Value)
			}
		}
	}
	return names
}

// WithoutComments returns a structured field's value without its comments (RFC 5322 3.2.2). Quoted strings
// stay as they are.
func WithoutComments(value string) string {
	s := scanner{s: value}
	var b strings.Builder
	for !s.end() {
		from := s.i
		switch s.peek() {
		case '(':
			s.comment()
			continue
		case '"':
			s.quoted()
		default:
			s.i++
		}
		b.WriteString(s.s[from:s.i])
	}
	return b.String()
}
