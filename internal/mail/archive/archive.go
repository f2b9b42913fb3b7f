// Package archive sends copies of messages to archives: of all, of a domain's or of one
// address's (QUEUE_EXTRA of the family, qmail reference 5.5), whole or in part.
//
// A copy is one recipient more in the message's own envelope, so it is committed with the message or
// not at all, once. Nobody is told when it fails, and what an archive is sent is not archived again.
package archive

import (
	"errors"
	"fmt"
	"strings"

	"github.com/postilion/postilion/internal/mail"
)

// Options are what an operator may choose.
type Options struct {
	Copies []string `toml:"copies" doc:"archives, each \"WHOSE ADDRESS [FORM]\": WHOSE is * for every message, a domain or an address that it comes from or goes to, with from: or to: before it for one of these; FORM is whole, header:NAME,NAME for these header fields alone, or digest for a SHA-256 of the message" example:"[\"* log@mail.example.test\", \"to:example.test archive@example.org header:Message-ID,Date\", \"joe@example.test boss@example.test digest\"]"`
}

// Validate names each wrong line and what was expected.
func (o Options) Validate() error {
	_, err := Parse(o.Copies)
	return err
}

// rule is one line of Options.Copies.
type rule struct {
	from, to bool   // which side is looked at
	whose    string // "" is everybody's, else an address or a domain in lower case
	copy     mail.Recipient
}

// Rules say who gets copies. The zero value is nobody.
type Rules struct{ list []rule }

// Parse reads the lines of Options.Copies. The error joins one for each wrong line, which it quotes.
func Parse(lines []string) (Rules, error) {
	var rules Rules
	var errs []error
	for _, line := range lines {
		r, err := parse(line)
		if err != nil {
			errs = append(errs, fmt.Errorf("copies: %q: %w", line, err))
			continue
		}
		rules.list = append(rules.list, r)
	}
	return rules, errors.Join(errs...)
}

func parse(line string) (rule, error) {
	f := strings.Fields(line)
	if len(f) != 2 && len(f) != 3 {
		return rule{}, errors.New("want whose messages, the archive's address, and perhaps whole, header:NAME,… or digest")
	}
	r := rule{from: true, to: true, whose: strings.ToLower(f[0])}
	if s, ok := strings.CutPrefix(r.whose, "from:"); ok {
		r.whose, r.to = s, false
	} else if s, ok := strings.CutPrefix(r.whose, "to:"); ok {
		r.whose, r.from = s, false
	}
	r.copy = mail.Recipient{To: mail.ParseAddress(f[1]), Notify: mail.NotifyNever}
	switch {
	case r.whose == "":
		return rule{}, errors.New("want *, a domain or an address first")
	case r.copy.To.Local == "" || r.copy.To.Domain == "":
		return rule{}, fmt.Errorf("%q: want the archive's address, as log@example.test", f[1])
	}
	if r.whose == "*" {
		r.whose = ""
	}
	if len(f) == 3 {
		if err := checkForm(f[2]); err != nil {
			return rule{}, err
		}
		if f[2] != formWhole {
			r.copy.Copy = f[2]
		}
	}
	return r, nil
}

// Forms of a copy, as mail.Recipient.Copy has them; "" is whole.
const (
	formWhole  = "whole"
	formDigest = "digest"
	formHeader = "header:" // and names of fields, with commas between
)

func checkForm(form string) error {
	names, header := strings.CutPrefix(form, formHeader)
	if !header {
		if form == formWhole || form == formDigest {
			return nil
		}
		return fmt.Errorf("%q: want whole, header:NAME,… or digest", form)
	}
	for name := range strings.SplitSeq(names, ",") {
		if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) {
			return fmt.Errorf("%q: want names of header fields, as header:Message-ID,Date", form)
		}
	}
	return nil
}

// Add adds the archives of a message to its recipients: each address once, and none that gets the
// message anyway.
func (r Rules) Add(env *mail.Envelope) {
	if len(r.list) == 0 {
		return
	}
	people := env.Recipients
	for i := range r.list {
		rule := &r.list[i]
		if rule.covers(env.From, people) && !has(env.Recipients, rule.copy.To) {
			env.Recipients = append(env.Recipients[:len(env.Recipients):len(env.Recipients)], rule.copy)
		}
	}
}

func (r *rule) covers(from mail.Address, to []mail.Recipient) bool {
	if r.whose == "" {
		return true
	}
	if r.from && r.is(from) {
		return true
	}
	for i := range to {
		if r.to && to[i].Refused == nil && r.is(to[i].To) {
			return true
		}
	}
	return false
}

func (r *rule) is(a mail.Address) bool {
	if strings.Contains(r.whose, "@") {
		return strings.EqualFold(a.String(), r.whose)
	}
	return strings.EqualFold(a.Domain, r.whose)
}

func has(list []mail.Recipient, to mail.Address) bool {
	for i := range list {
		if strings.EqualFold(list[i].To.String(), to.String()) && list[i].Refused == nil {
			return true
		}
	}
	return false
}
