// Package aliases reads lists of aliases: /etc/aliases as sendmail and newaliases have it, the
// .forward files and :include: lists of the same syntax, and the tables of fastforward in
// their text and compiled forms (qmail reference 18, 25.10). It opens no file.
package aliases

import (
	"fmt"
	"strings"

	"github.com/postilion/postilion/internal/qmail"
)

// Kind is what a target is.
type Kind uint8

// The kinds of targets: aliases(5), dot-forward(1), fastforward(1).
const (
	Address Kind = iota
	Exact        // \name: that user's own mailbox, no further aliasing
	Program      // "|command": the message on its standard input
	File         // /path
	Include      // :include:/path, a list of more targets
)

// String returns the kind's name.
func (k Kind) String() string {
	return [...]string{"address", "exact", "program", "file", "include"}[k]
}

// Target is where mail goes on to.
type Target struct {
	qmail.Place
	Kind Kind
	Text string // the address unquoted and perhaps without "@"; the command; the path
}

// Alias is an entry of /etc/aliases.
type Alias struct {
	qmail.Place
	Name    string // as written, unquoted: a local part, user@domain or @domain
	Targets []Target
	// Fault is why the targets cannot be told: mail for the name waits. nil for none.
	Fault *qmail.Fault
}

// maxLine bounds an entry with its continuation lines, in bytes.
const maxLine = 1 << 20

// Parse reads /etc/aliases. The faults are those of lines and entries that cannot be read; an
// entry whose name can be read is returned all the same, with its Fault. Of two entries of
// one name both are returned, and the second is a fault.
func Parse(file string, data []byte) ([]Alias, []*qmail.Fault) {
	var out []Alias
	var faults []*qmail.Fault
	seen := map[string]qmail.Place{}
	for _, e := range entries(file, data) {
		a, fault := parseEntry(e)
		if fault != nil {
			faults = append(faults, fault)
		}
		if a.Name == "" {
			continue
		}
		if first, ok := seen[qmail.Lower(a.Name)]; ok {
			faults = append(faults, &qmail.Fault{Place: a.Place, Text: fmt.Sprintf("%q stands at %s already", a.Name, first)})
		} else {
			seen[qmail.Lower(a.Name)] = a.Place
		}
		out = append(out, a)
	}
	return out, faults
}

// line is a line of text and where it stands.
type line struct {
	qmail.Place
	text string
}

// entries joins lines with those that continue them: a line that begins with a blank, or
// whose forerunner ends with a backslash. Comments and empty lines are left out.
func entries(file string, data []byte) [][]line {
	var out [][]line
	slash := false
	for n, text := range qmail.Lines(data) {
		l := line{qmail.Place{File: file, Line: n}, strings.TrimSuffix(text, "\r")}
		continued := slash && len(out) > 0
		slash = strings.HasSuffix(l.text, `\`) && !strings.HasSuffix(l.text, `\\`)
		if slash {
			l.text = l.text[:len(l.text)-1]
		}
		switch {
		case continued:
		case l.text == "" || l.text[0] == '#' || strings.TrimSpace(l.text) == "":
			slash = false
			continue
		case l.text[0] == ' ' || l.text[0] == '\t':
			continued = len(out) > 0
		}
		if continued {
			out[len(out)-1] = append(out[len(out)-1], l)
		} else {
			out = append(out, []line{l})
		}
	}
	return out
}

func parseEntry(e []line) (Alias, *qmail.Fault) {
	a := Alias{Place: e[0].Place}
	name, rest, err := cutName(e[0].text)
	if err != nil {
		return a, &qmail.Fault{Place: a.Place, Text: err.Error()}
	}
	a.Name = name
	e = append([]line{{e[0].Place, rest}}, e[1:]...)
	a.Targets, a.Fault = targets(e)
	if a.Fault == nil && len(a.Targets) == 0 {
		a.Fault = &qmail.Fault{Place: a.Place, Text: fmt.Sprintf("alias %q has no targets", name)}
	}
	return a, a.Fault
}

// cutName divides an entry at the colon behind its name, which may be quoted.
func cutName(text string) (name, rest string, err error) {
	s := scanner{in: text}
	var b strings.Builder
	for {
		c, quoted, ok := s.next()
		if s.err != nil {
			return "", "", s.err
		}
		if !ok {
			return "", "", fmt.Errorf("%q, want name: target, target", text)
		}
		if c == ':' && !quoted {
			break
		}
		if (c == ' ' || c == '\t') && !quoted && b.Len() > 0 && !strings.HasPrefix(strings.TrimLeft(s.rest(), " \t"), ":") {
			return "", "", fmt.Errorf("%q, want one name without blanks before the colon", text)
		}
		if c != ' ' && c != '\t' || quoted {
			b.WriteByte(c)
		}
	}
	if b.Len() == 0 {
		return "", "", fmt.Errorf("%q, want a name before the colon", text)
	}
	return b.String(), s.rest(), nil
}

// ParseList reads a .forward file or an :include: list: targets on lines, several on one with
// commas between, "#" before comments. The faults are those of lines that cannot be read;
// with any, the list is not to be used: mail waits.
func ParseList(file string, data []byte) ([]Target, []*qmail.Fault) {
	var out []Target
	var faults []*qmail.Fault
	for n, text := range qmail.Lines(data) {
		text = strings.TrimSpace(text)
		if text == "" || text[0] == '#' {
			continue
		}
		t, fault := targets([]line{{qmail.Place{File: file, Line: n}, text}})
		if fault != nil {
			faults = append(faults, fault)
		}
		out = append(out, t...)
	}
	return out, faults
}

// targets reads what stands behind the colon of an entry.
func targets(lines []line) ([]Target, *qmail.Fault) {
	var out []Target
	size := 0
	for _, l := range lines {
		if size += len(l.text); size > maxLine {
			return nil, &qmail.Fault{Place: l.Place, Text: fmt.Sprintf("the entry is longer than %d bytes", maxLine)}
		}
		for s := (scanner{in: l.text}); ; {
			item, more := s.item()
			t, ok, err := target(item)
			if s.err != nil {
				err = s.err
			}
			if err != nil {
				return out, &qmail.Fault{Place: l.Place, Text: err.Error()}
			}
			if t.Place = l.Place; ok {
				out = append(out, t)
			}
			if !more {
				break
			}
		}
	}
	return out, nil
}

// target reads one target; ok is false for nothing between two commas.
func target(item string) (t Target, ok bool, err error) {
	item = strings.TrimSpace(item)
	if item == "" {
		return t, false, nil
	}
	whole := item
	if item[0] == '"' && len(item) > 1 { // a target wholly in quotes is what is in them
		if s, n := unquote(item); n == len(item) && strings.ContainsAny(s[:min(1, len(s))], `|/:`) {
			whole = s
		}
	}
	switch {
	case whole[0] == '|':
		if t.Text = strings.TrimSpace(whole[1:]); t.Text == "" {
			return t, false, fmt.Errorf("%q, want a command behind the bar", item)
		}
		t.Kind = Program
	case whole[0] == '/':
		t.Kind, t.Text = File, whole
	case len(whole) >= 9 && strings.EqualFold(whole[:9], ":include:"):
		t.Kind, t.Text = Include, strings.TrimSpace(whole[9:])
		if !strings.HasPrefix(t.Text, "/") {
			return t, false, fmt.Errorf("%q, want :include: and a path that begins with /", item)
		}
	case whole[0] == '\\':
		t.Kind = Exact
		t.Text, err = address(whole[1:])
	default:
		t.Text, err = address(item)
	}
	if strings.IndexByte(t.Text, 0) >= 0 {
		err = fmt.Errorf("a NUL byte in a target")
	}
	return t, err == nil, err
}

// address reads an address with the dress that header fields have: a name before <>, comments.
func address(item string) (string, error) {
	s := scanner{in: item, comments: true}
	var words []string // divided by blanks
	var b strings.Builder
	flush := func() {
		if b.Len() > 0 {
			words = append(words, b.String())
			b.Reset()
		}
	}
	route, closed := false, false
	for {
		c, quoted, ok := s.next()
		if s.err != nil {
			return "", s.err
		}
		switch {
		case !ok:
			flush()
			if route && !closed {
				return "", fmt.Errorf("%q: < without >", item)
			}
			if len(words) != 1 {
				return "", fmt.Errorf("%q, want one address, or commas between several", item)
			}
			return words[0], nil
		case quoted:
			b.WriteByte(c)
		case c == '<' && !route:
			route, words = true, nil
			b.Reset()
		case c == '>' && route && !closed:
			closed = true
		case closed && c != ' ' && c != '\t', c == '>', c == '<', c == ';': // a semicolon is no part of an address (RFC 822 3.3)
			return "", fmt.Errorf("%q, want one address, or commas between several", item)
		case c == ' ' || c == '\t':
			flush()
		default:
			b.WriteByte(c)
		}
	}
}
