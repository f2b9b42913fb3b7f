package control

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/postilion/postilion/internal/qmail"
)

// Check tells what in a control file does not do what it looks like. file names it in the
// faults, f is its entry of the table. None of them stops the family's programs: they
// read on in silence, and so do the lookups of this package.
func Check(f File, file string, data []byte) []*qmail.Fault {
	c := checker{file: file}
	if i := bytes.IndexByte(data, 0); i >= 0 {
		c.fault(1+bytes.Count(data[:i], []byte("\n")), "a NUL byte: this is no text file")
		return c.faults
	}
	switch f.Kind {
	case KindLine:
		c.line(f, data)
	case KindInt:
		c.integer(f, data)
	default:
		c.list(f, data)
	}
	return c.faults
}

type checker struct {
	file   string
	faults []*qmail.Fault
}

func (c *checker) fault(line int, format string, args ...any) {
	c.faults = append(c.faults, &qmail.Fault{Place: qmail.Place{File: c.file, Line: line}, Text: fmt.Sprintf(format, args...)})
}

func (c *checker) line(f File, data []byte) {
	for n, line := range qmail.Lines(data) {
		switch text := strings.TrimRight(line, trailing); {
		case n > 1 && text != "":
			if f.Name != "defaultdelivery" {
				c.fault(n, "%q is not read: only the first line counts", text)
			}
			return
		case n > 1:
		case text == "":
			c.fault(n, "the value is empty, and an empty value is not the default")
		case text[0] == ' ' || text[0] == '\t':
			c.fault(n, "%q begins with a blank, which is part of the value", text)
		case strings.HasSuffix(text, "\r"):
			c.fault(n, "%q ends with a carriage return, which qmail takes for part of the value; here it is dropped", text)
		}
	}
}

func (c *checker) integer(f File, data []byte) {
	text := Line(data)
	n, ok := Int(data)
	switch {
	case !ok:
		c.fault(1, "%q does not begin with a digit, so the default %s holds", text, f.Default)
	case strings.TrimLeft(text, "0123456789") != "":
		c.fault(1, "%q is read as %d: want digits alone", text, n)
	}
}

// ofHosts reports whether a file's entries are names of hosts in every version of qmail. Lists of addresses have
// patterns in patched ones.
func ofHosts(name string) bool {
	switch name {
	case "locals", "rcpthosts", "morercpthosts", "percenthack", "virtualdomains", "smtproutes":
		return true
	}
	return false
}

func (c *checker) list(f File, data []byte) {
	seen := map[string]int{}
	for _, e := range List(data) {
		key, value, colon := e.Text, "", true
		if f.Kind == KindMap {
			key, value, colon = strings.Cut(e.Text, ":")
		}
		switch {
		case e.Text[0] == ' ' || e.Text[0] == '\t':
			c.fault(e.Line, "%q begins with a blank, which is part of the entry, so it never matches", e.Text)
		case strings.HasSuffix(e.Text, "\r"):
			c.fault(e.Line, "%q ends with a carriage return, which is part of the entry", e.Text)
		case !colon:
			c.fault(e.Line, "%q has no colon, so it is ignored", e.Text)
		case strings.ContainsAny(key, " \t") || f.Name == "virtualdomains" && strings.ContainsAny(value, " \t"):
			c.fault(e.Line, "%q holds a blank, which is part of the entry", e.Text)
		case strings.Contains(key, "*") && ofHosts(f.Name):
			c.fault(e.Line, "%q holds *, which stands for nothing: all hosts below a domain are .DOMAIN", e.Text)
		}
		if f.Name == "smtproutes" && colon {
			if _, err := ParseRelay(value); err != nil {
				c.fault(e.Line, "%s", err)
			}
		}
		if !colon {
			continue
		}
		low := qmail.Lower(key)
		if first := seen[low]; first > 0 {
			if f.Kind == KindMap {
				c.fault(first, "%q stands again in line %d, which is the one that counts", key, e.Line)
			} else {
				c.fault(e.Line, "%q stands in line %d already", key, first)
			}
		}
		seen[low] = e.Line
	}
}
