package mess

import (
	"slices"
	"strings"
)

// Rewrite is applied to each address of a list: its tokens in, those to stand there out.
type Rewrite func(address []Token) []Token

// lister takes an address list apart from right to left, which is how RFC 822 lists are
// easy to parse: what is left of an address tells what it was (token822_addrlist).
type lister struct {
	out     []Token // reversed
	address []Token // reversed
	rewrite Rewrite
}

func (l *lister) put(t Token)  { l.out = append(l.out, t) }
func (l *lister) take(t Token) { l.address = append(l.address, t) }

// got ends an address.
func (l *lister) got() {
	slices.Reverse(l.address)
	list := l.rewrite(l.address)
	for i := len(list) - 1; i >= 0; i-- {
		l.put(list[i])
	}
	l.address = l.address[:0]
}

func (l *lister) flush() {
	if len(l.address) > 0 {
		l.got()
	}
}

// flushComma ends an address before which the comma was left out.
func (l *lister) flushComma() {
	if len(l.address) > 0 {
		l.got()
		l.put(Token{Kind: Comma})
	}
}

// List rewrites every address of an address list: groups, route addresses, and old lists with
// blanks between addresses, which get their commas. Comments and phrases stay. The error is ErrSyntax.
func List(tokens []Token, rewrite Rewrite) ([]Token, error) {
	l := &lister{rewrite: rewrite}
	inGroup, wordOK := false, true
	for t := len(tokens) - 1; t >= 0; {
		switch k := tokens[t]; k.Kind {
		case Semi:
			l.flushComma()
			if inGroup {
				return nil, ErrSyntax
			}
			inGroup, wordOK = true, true
			l.put(k)
			t--
		case Colon:
			l.flush()
			if !inGroup {
				return nil, ErrSyntax
			}
			inGroup, wordOK = false, true
			for ; t >= 0 && tokens[t].Kind != Comma; t-- {
				l.put(tokens[t])
			}
			if t >= 0 {
				l.put(tokens[t])
				t--
			}
		case Right:
			l.flushComma()
			if t = l.angle(tokens, t); t < 0 {
				return nil, ErrSyntax
			}
			t = l.phrase(tokens, t-1)
			wordOK = false
		case Atom, Quote, Literal:
			if !wordOK {
				l.flushComma()
			}
			wordOK = false
			l.take(k)
			t--
		case Comment:
			l.put(k)
			t--
		case Comma:
			l.flush()
			l.put(k)
			wordOK = true
			t--
		default: // also a "<" that nothing closes: it is of the address, as qmail has it
			wordOK = true
			l.take(k)
			t--
		}
	}
	l.flush() // a ";" that ends no group, as between the addresses of some programs, is let through
	slices.Reverse(l.out)
	return l.out, nil
}

// angle takes "<address>" whose ">" is at t and returns where its "<" is, -1 without one.
func (l *lister) angle(tokens []Token, t int) int {
	l.put(tokens[t])
	for t--; t >= 0 && tokens[t].Kind != Left; t-- {
		l.take(tokens[t])
	}
	if t < 0 {
		return -1
	}
	l.got() // also when it is empty: <>
	l.put(tokens[t])
	return t
}

// phrase takes the words before "<" and returns where it stopped.
func (l *lister) phrase(tokens []Token, t int) int {
	for ; t >= 0; t-- {
		switch tokens[t].Kind {
		case Comment, Atom, Quote, At, Dot:
			l.put(tokens[t])
			continue
		}
		break
	}
	return t
}

// Hosts are what addresses are completed with (qmail reference 12.4).
type Hosts struct {
	DefaultHost, DefaultDomain, PlusDomain string
}

// Rewrite completes one address.
func (h *Hosts) Rewrite(a []Token) []Token {
	a = dropComments(a)
	if len(a) == 0 {
		return a
	}
	if n := len(a); n >= 2 && a[n-2].Kind == At && a[n-1].Kind == Literal && a[n-1].Text == "" {
		return a // x@[] is not ours to change
	}
	if a[0].Kind == At { // a source route
		if i := slices.IndexFunc(a, func(t Token) bool { return t.Kind == Colon }); i >= 0 {
			a = a[i+1:]
		} else {
			a = nil
		}
	}
	for len(a) > 0 && (a[len(a)-1].Kind == At || a[len(a)-1].Kind == Dot) {
		a = a[:len(a)-1]
	}
	if len(a) == 0 {
		return a
	}
	at := lastAt(a)
	if at < 0 {
		at = len(a)
		a = append(append(slices.Clip(a), Token{Kind: At}), hostTokens(h.DefaultHost)...)
	}
	if last := &a[len(a)-1]; last.Kind == Atom && last.Text != "" && last.Text[len(last.Text)-1] == '+' && len(a)-1 > at {
		a = slices.Clone(a)
		a[len(a)-1].Text = last.Text[:len(last.Text)-1]
		a = append(append(a, Token{Kind: Dot}), hostTokens(h.PlusDomain)...)
	}
	for _, t := range a[at:] {
		if t.Kind == Dot || t.Kind == Literal {
			return a
		}
	}
	return append(append(slices.Clip(a), Token{Kind: Dot}), hostTokens(h.DefaultDomain)...)
}

func dropComments(a []Token) []Token {
	return slices.DeleteFunc(slices.Clone(a), func(t Token) bool { return t.Kind == Comment })
}

func lastAt(a []Token) int {
	for i := len(a) - 1; i >= 0; i-- {
		if a[i].Kind == At {
			return i
		}
	}
	return -1
}

// hostTokens are a host's name as tokens.
func hostTokens(host string) []Token {
	t, err := Tokenize(host)
	if err != nil || len(t) == 0 {
		return []Token{{Kind: Atom, Text: host}}
	}
	return t
}

func cutAt(address string) (box, host string, at bool) {
	for i := len(address) - 1; i >= 0; i-- {
		if address[i] == '@' {
			return address[:i], address[i+1:], true
		}
	}
	return address, "", false
}

func boxTokens(box string) []Token {
	if NeedsQuotes(box) {
		return []Token{{Quote, box}}
	}
	t, err := Tokenize(box)
	if err != nil {
		return []Token{{Quote, box}}
	}
	return t
}

// NeedsQuotes reports whether a box is to be written in quotes (qmail reference 3.2).
func NeedsQuotes(box string) bool {
	if box == "" || box[0] == '.' || box[len(box)-1] == '.' {
		return true
	}
	for i := range len(box) {
		c := box[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.':
			if box[i+1] == '.' {
				return true
			}
		default:
			if !atomByte(c) {
				return true
			}
		}
	}
	return false
}

func atomByte(c byte) bool {
	switch c {
	case '!', '#', '$', '%', '&', '\'', '*', '+', '-', '/', '=', '?', '^', '_', '`', '{', '|', '}', '~':
		return true
	}
	return false
}

// QuoteAddress writes an envelope's address as headers do (quote2).
func QuoteAddress(address string) string {
	if address == "" {
		return ""
	}
	address = strings.NewReplacer("\r", "", "\n", "").Replace(address) // no header line ends within one
	box, host, at := cutAt(address)
	if NeedsQuotes(box) {
		var q []byte
		q = append(q, '"')
		for i := range len(box) {
			switch c := box[i]; c {
			case '"', '\\':
				q = append(q, '\\', c)
			default:
				q = append(q, c)
			}
		}
		box = string(append(q, '"'))
	}
	if at {
		return box + "@" + host
	}
	return box
}
