package policy

import (
	"errors"
	"fmt"
	"strings"

	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/policy/lastgood"
	"github.com/postilion/postilion/internal/smtp"
)

// list is a set of addresses and of whole hosts, compared without regard to case (qmail
// reference 2.8), from keys and from files that are read again when they change.
type list struct {
	set   addresses
	files []*lastgood.File[addresses]
}

type addresses map[mail.Address]struct{}

func newList(entries []string, warn func(error)) (list, error) {
	l := list{set: addresses{}}
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e, "/") {
			f, err := lastgood.Open(lastgood.Options[addresses]{Path: e, Warn: warn, Parse: parseAddresses})
			if err != nil {
				errs = append(errs, err)
				continue
			}
			l.files = append(l.files, f)
			continue
		}
		a := mail.ParseAddress(e)
		if a.Domain == "" || smtp.CheckDomain(a.Domain) != nil {
			errs = append(errs, fmt.Errorf("%q: want user@host or @host, or the path of a file of them", e))
			continue
		}
		l.set[key(a)] = struct{}{}
	}
	return l, errors.Join(errs...)
}

// parseAddresses reads a list file (qmail reference 2.1). As in qmail, a line that is no address is
// no error: it matches nobody.
func parseAddresses(content []byte) (addresses, error) {
	set := addresses{}
	for line := range strings.Lines(string(content)) {
		line = strings.TrimRight(line, " \t\r\n")
		if a := mail.ParseAddress(line); line != "" && line[0] != '#' && a.Domain != "" {
			set[key(a)] = struct{}{}
		}
	}
	return set, nil
}

func (l list) has(a mail.Address) bool {
	if len(l.set) == 0 && len(l.files) == 0 {
		return false
	}
	k := key(a)
	if l.set.has(k) {
		return true
	}
	for _, f := range l.files {
		if f.Get().has(k) {
			return true
		}
	}
	return false
}

func (s addresses) has(k mail.Address) bool {
	if _, ok := s[k]; ok {
		return true
	}
	_, ok := s[mail.Address{Domain: k.Domain}]
	return ok
}

func key(a mail.Address) mail.Address {
	return mail.Address{Local: strings.ToLower(a.Local), Domain: smtp.DomainKey(a.Domain)}
}
