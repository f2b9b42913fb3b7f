package mess822

import (
	"slices"
	"strings"
)

// Address is an entry of an address list: an address, a comment, or an address with the comment
// or name before it.
type Address struct {
	// Addr is the address without quotes; without a host it ends in "@". "" with IsAddress is <>.
	Addr      string
	IsAddress bool
	Comment   string // the name or comment, blanks in a row made one; alone when !IsAddress
}

// scanner reads a list from its end, where RFC 822's grammar can be told apart: words without a
// comma between are two addresses, words before <…> are a name.
type scanner struct {
	out     []Address // in reverse
	addr    []string  // pieces in reverse
	comment []string  // in reverse
	started bool      // an address is being read
	at      bool      // it has its @
}

// Addresses reads the addresses of a field's value.
func Addresses(value string) []Address {
	tokens := Tokens(value)
	s := &scanner{}
	wordOK, phrase := true, false
	for i := len(tokens) - 1; i >= 0; i-- {
		t := tokens[i]
		if phrase {
			if t.Kind != ',' && t.Kind != ';' && t.Kind != ':' && t.Kind != '>' {
				s.addComment(t)
				continue
			}
			s.finish()
			phrase, wordOK = false, true
		}
		switch t.Kind {
		case ' ', '\t':
			s.comment = append(s.comment, " ")
		case ';', ',':
			s.finish()
			s.finishComment()
			wordOK = true
		case Comment:
			s.comment = append(s.comment, " ", t.Text, " ")
		case Word:
			if !wordOK {
				s.finish()
			}
			s.addAddress(t)
			wordOK = false
		case '>':
			s.finish()
			s.started = true // <> is an address
			i = s.route(tokens, i)
			phrase = true
		case ':':
			phrase = true
		default:
			s.addAddress(t)
			wordOK = true
		}
	}
	s.finish()
	s.finishComment()
	slices.Reverse(s.out)
	return s.out
}

// route reads <address> backwards from its ">" at i; a source route before a ":" is a comment.
// It returns the position of the "<", or 0 when there is none.
func (s *scanner) route(tokens []Token, i int) int {
	take := s.addAddress
	for {
		take(tokens[i])
		if i == 0 {
			return 0
		}
		i--
		switch tokens[i].Kind {
		case '<':
			return i
		case ':':
			take = s.addComment
		}
	}
}

func (s *scanner) addComment(t Token) {
	switch t.Kind {
	case ',', ':', ';', '<', '>':
	default:
		s.comment = append(s.comment, t.Text)
	}
}

func (s *scanner) addAddress(t Token) {
	if t.Kind != Word && t.Kind != '.' && t.Kind != '@' {
		s.addComment(t)
		return
	}
	s.started = true
	s.at = s.at || t.Kind == '@'
	s.addr = append(s.addr, t.Text)
}

// finish ends an address, and the comment that belongs to it.
func (s *scanner) finish() {
	if !s.started {
		return
	}
	a := Address{Addr: joined(s.addr), IsAddress: true}
	if !s.at && a.Addr != "" { // "<>" is nobody: no host makes it somebody
		a.Addr += "@"
	}
	a.Comment = squeezed(joined(s.comment))
	s.out = append(s.out, a)
	s.addr, s.comment, s.started, s.at = s.addr[:0], s.comment[:0], false, false
}

// finishComment ends a comment that belongs to no address.
func (s *scanner) finishComment() {
	if c := squeezed(joined(s.comment)); c != "" {
		s.out = append(s.out, Address{Comment: c})
	}
	s.comment = s.comment[:0]
}

// joined joins pieces that were collected in reverse.
func joined(pieces []string) string {
	var b strings.Builder
	for _, p := range slices.Backward(pieces) {
		b.WriteString(p)
	}
	return b.String()
}

// squeezed makes blanks in a row one, and drops those at the ends.
func squeezed(s string) string {
	var b strings.Builder
	blank := true
	for i := range len(s) {
		if s[i] == ' ' && blank {
			continue
		}
		blank = s[i] == ' '
		b.WriteByte(s[i])
	}
	return strings.TrimRight(b.String(), " ")
}
