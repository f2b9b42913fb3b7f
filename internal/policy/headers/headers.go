// Package headers holds messages against the operator's content rules: exact values and patterns on any header
// field, of the message, of its parts and of messages within it, and on the names of attachments. The rules are files in the
// form of Postfix's header_checks, or the H lines of a sendmail.cf.
//
// Patterns are RE2's, whose time grows with the text alone; what one message may cost is bounded. A file that turns
// bad changes nothing, and is told.
package headers

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/postilion/postilion/internal/policy/lastgood"
)

// Options are the rules and whom they are for. The zero value looks at nothing.
type Options struct {
	Files   []string `toml:"files" doc:"files of rules for header fields and attachments, in the form of Postfix's header_checks, read again when they change; header:, mime: or nested: before the path look at the message's own fields, at MIME fields or at messages within it alone; sendmail: takes the header rulesets of a sendmail.cf" example:"[\"/etc/postilion/content-rules\", \"sendmail:/etc/mail/sendmail.cf\"]"`
	Test    bool     `toml:"test" default:"false" doc:"only log what the rules would do" example:"true"`
	Whose   []string `toml:"whose" doc:"whose mail is looked at: network (clients that did not log in), accounts, programs (of this host); empty is network and accounts" example:"[\"network\", \"accounts\", \"programs\"]"`
	Complex string   `toml:"too_complex" default:"refuse" doc:"a message of more header or parts than are looked at (1 MiB, 5000 parts, 50 deep): refuse or accept" example:"accept"`
}

// Whose is who hands in a message.
type Whose string

// The words of Options.Whose.
const (
	Network  Whose = "network"
	Accounts Whose = "accounts"
	Programs Whose = "programs"
)

// Set is the rules in force. A nil Set looks at nothing. It is safe for concurrent use.
type Set struct {
	files  []*lastgood.File[*table]
	test   bool
	accept bool // what is too complex
	whose  []Whose
}

// Validate names what is wrong, in the files too.
func (o *Options) Validate() error {
	_, err := Open(*o, nil)
	return err
}

// Open reads the files. warn is told of files that turn bad later; nil forgets. The error joins one for each mistake,
// with file and line. Without files the Set is nil.
func Open(o Options, warn func(error)) (*Set, error) {
	s := &Set{test: o.Test, accept: o.Complex == "accept", whose: []Whose{Network, Accounts}}
	var errs []error
	if o.Complex != "" && o.Complex != "refuse" && o.Complex != "accept" {
		errs = append(errs, fmt.Errorf("too_complex: %q: want refuse or accept", o.Complex))
	}
	if len(o.Whose) > 0 {
		s.whose = nil
	}
	for _, w := range o.Whose {
		if !slices.Contains([]Whose{Network, Accounts, Programs}, Whose(w)) {
			errs = append(errs, fmt.Errorf("whose: %q: want network, accounts or programs", w))
		}
		s.whose = append(s.whose, Whose(w))
	}
	for _, entry := range o.Files {
		f, err := open(entry, warn)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s.files = append(s.files, f)
	}
	if err := errors.Join(errs...); err != nil || len(s.files) == 0 {
		return nil, err
	}
	return s, nil
}

// The words that may stand before a path, and what they mean.
var scopes = map[string]scope{"": everywhere, "regexp": everywhere, "pcre": everywhere, "header": own, "mime": mimeFields, "nested": nested, "sendmail": everywhere}

func open(entry string, warn func(error)) (*lastgood.File[*table], error) {
	format, path, ok := strings.Cut(entry, ":")
	if !ok {
		format, path = "", entry
	}
	in, known := scopes[format]
	switch {
	case !known:
		return nil, fmt.Errorf("files: %q: format %q: want header, mime, nested or sendmail", entry, format)
	case !filepath.IsAbs(path):
		return nil, fmt.Errorf("files: %q: want the absolute path of a file", entry)
	}
	parse := func(content []byte) (t *table, err error) {
		if format == "sendmail" {
			t, err = parseSendmail(path, content)
		} else {
			t, err = parseRules(path, in, content)
		}
		if err != nil {
			return nil, err
		}
		t.seal()
		return t, nil
	}
	return lastgood.Open(lastgood.Options[*table]{Path: path, Parse: parse, Warn: warn, Max: maxFile})
}

// Errors tells which files are bad now, though their earlier rules are in force.
func (s *Set) Errors() []string {
	if s == nil {
		return nil
	}
	return lastgood.Errors(s.files)
}

// Begin starts to look at a message; nil when nothing is to be looked at.
func (s *Set) Begin(w Whose) *Check {
	if s == nil || !slices.Contains(s.whose, w) {
		return nil
	}
	c := &Check{set: s}
	for _, f := range s.files {
		if t := f.Get(); t != nil && len(t.rules) > 0 {
			c.tables = append(c.tables, t)
		}
	}
	if c.tables == nil {
		return nil
	}
	return c
}
