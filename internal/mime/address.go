package mime

import (
	"strings"
)

// Address is one address of a header field. A group is given by its Group name, which all of its
// members carry; an empty group is one Address with nothing else set.
type Address struct {
	Name    string // display name as it came, unquoted, or the comment behind a bare address
	Route   string // an obsolete source route, "@a,@b"
	Local   string // unquoted
	Domain  string
	Group   string
	InGroup bool // Group is meaningful, though it may be ""
	Empty   bool // an empty group
	// Invalid tells why the text is no address; Local then holds what could be read.
	Invalid string
}

// maxAddresses bounds the addresses read of one field.
const maxAddresses = 100_000

// ParseAddresses reads an address list (RFC 5322 3.4, with the obsolete forms of 4.4) from an
// unfolded field. What is no address is in the list with Invalid set, so nothing is lost.
func ParseAddresses(v string) []Address {
	p := addressParser{scanner: scanner{s: v}}
	for !p.end() && len(p.list) < maxAddresses {
		p.one()
	}
	if p.inGroup {
		p.endGroup()
	}
	return p.list
}

type addressParser struct {
	scanner
	list    []Address
	group   string
	inGroup bool
	members int
}

func (p *addressParser) add(a Address) {
	if p.inGroup {
		a.Group, a.InGroup = p.group, true
		p.members++
	}
	p.list = append(p.list, a)
}

func (p *addressParser) endGroup() {
	if p.members == 0 {
		p.list = append(p.list, Address{Group: p.group, InGroup: true, Empty: true})
	}
	p.inGroup, p.members = false, 0
}

// one reads up to and with the next separator.
func (p *addressParser) one() {
	comment := p.skipCFWS()
	switch {
	case p.end():
		return
	case p.take(','):
		return
	case p.take(';'):
		if p.inGroup {
			p.endGroup()
		}
		return
	}
	words, c := p.phrase()
	if c != "" {
		comment = c
	}
	switch p.peek() {
	case ':':
		p.i++
		if p.inGroup { // groups do not nest: the outer ends here
			p.endGroup()
		}
		p.group, p.inGroup, p.members = words.text(), true, 0
	case '<':
		p.angle(words.text())
	case '@':
		p.i++
		domain, c := p.domain()
		if c != "" {
			comment = c
		}
		p.finish(Address{Name: comment, Local: words.local(), Domain: domain})
	default:
		invalid := "no @ in it"
		if len(words) == 0 {
			p.junk()
			return
		}
		p.finish(Address{Name: comment, Local: words.local(), Invalid: invalid})
	}
}

// finish adds an address and passes over what stands between it and the separator.
func (p *addressParser) finish(a Address) {
	if c := p.skipCFWS(); c != "" && a.Name == "" {
		a.Name = c
	}
	if !p.end() && p.peek() != ',' && p.peek() != ';' {
		from := p.i
		p.junkTo()
		if a.Invalid == "" {
			a.Invalid = "text behind it: " + strings.TrimSpace(p.s[from:p.i])
		}
	}
	p.add(a)
}

// junk makes an invalid address of everything up to the separator.
func (p *addressParser) junk() {
	from := p.i
	p.junkTo()
	if p.i == from {
		p.i++
	}
	p.add(Address{Local: strings.TrimSpace(p.s[from:p.i]), Invalid: "no address"})
}

func (p *addressParser) junkTo() {
	for !p.end() && p.peek() != ',' && p.peek() != ';' {
		switch p.peek() {
		case '"':
			p.quoted()
		case '(':
			p.comment()
		default:
			p.i++
		}
	}
}

// words are atoms, quoted strings and dots of a phrase or a local part.
type words []wordToken

type wordToken struct {
	s     string
	blank bool // white space stood before it
}

func (w words) text() string {
	var b strings.Builder
	for i, t := range w {
		if i > 0 && t.blank {
			b.WriteByte(' ')
		}
		b.WriteString(t.s)
	}
	return b.String()
}

// local joins the words of a local part; blanks between them are the obsolete form's.
func (w words) local() string {
	var b strings.Builder
	for _, t := range w {
		b.WriteString(t.s)
	}
	return b.String()
}

// phrase reads words up to a special character.
func (p *addressParser) phrase() (list words, comment string) {
	blank := false
	for !p.end() {
		switch c := p.peek(); c {
		case '"':
			list = append(list, wordToken{p.quoted(), blank})
		case ':', '<', '@', ',', ';', '>', '[', ']', ')', '\\':
			return list, comment
		default:
			from := p.i
			for !p.end() && !strings.ContainsRune("\"()<>@,;:\\[] \t\r\n", rune(p.peek())) {
				p.i++
			}
			list = append(list, wordToken{p.s[from:p.i], blank})
		}
		at := p.i
		if c := p.skipCFWS(); c != "" {
			comment = c
		}
		blank = p.i > at
	}
	return list, comment
}

// angle reads "<route:local@domain>".
func (p *addressParser) angle(name string) {
	p.i++
	a := Address{Name: name}
	p.skipCFWS()
	if p.peek() == '@' {
		a.Route = p.route()
	}
	p.skipCFWS()
	local, _ := p.phrase()
	a.Local = local.local()
	switch {
	case p.take('@'):
		a.Domain, _ = p.domain()
	case len(local) == 0:
		a.Invalid = "empty"
	default:
		a.Invalid = "no @ in it"
	}
	p.skipCFWS()
	if !p.take('>') {
		for !p.end() && p.peek() != '>' && p.peek() != ',' {
			p.i++
		}
		p.take('>')
		a.Invalid = "no > where it should end"
	}
	p.finish(a)
}

// route reads "@a,@b:".
func (p *addressParser) route() string {
	from := p.i
	for !p.end() && p.peek() != ':' && p.peek() != '>' {
		p.i++
	}
	route := strings.TrimSpace(p.s[from:p.i])
	p.take(':')
	return route
}

// domain reads a dot-atom, with blanks around its dots, or a literal.
func (p *addressParser) domain() (domain, comment string) {
	comment = p.skipCFWS()
	var b strings.Builder
	for !p.end() {
		if p.peek() == '[' {
			from := p.i
			for !p.end() && p.peek() != ']' {
				p.i++
			}
			p.take(']')
			b.WriteString(p.s[from:p.i])
		} else {
			from := p.i
			for !p.end() && !strings.ContainsRune("\"()<>@,;:\\[] \t\r\n", rune(p.peek())) {
				p.i++
			}
			if p.i == from {
				break
			}
			b.WriteString(p.s[from:p.i])
		}
		at := p.i
		if c := p.skipCFWS(); c != "" {
			comment = c
		}
		// "a . b" goes on, "a b" does not.
		if p.i > at && p.peek() != '.' && !strings.HasSuffix(b.String(), ".") {
			break
		}
	}
	return b.String(), comment
}
