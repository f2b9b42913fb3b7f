package policy

import (
	"fmt"
	"strings"

	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/smtp"
)

// list is a set of addresses and of whole hosts, compared without regard to case (qmail
// reference 2.8).
type list map[mail.Address]struct{}

func newList(entries []string) (list, error) {
	l := list{}
	for _, e := range entries {
		a := mail.ParseAddress(e)
		if a.Domain == "" || smtp.CheckDomain(a.Domain) != nil {
			return nil, fmt.Errorf("%q: want user@host or @host", e)
		}
		l[key(a)] = struct{}{}
	}
	return l, nil
}

func (l list) has(a mail.Address) bool {
	if len(l) == 0 {
		return false
	}
	k := key(a)
	if _, ok := l[k]; ok {
		return true
	}
	_, ok := l[mail.Address{Domain: k.Domain}]
	return ok
}

func key(a mail.Address) mail.Address {
	return mail.Address{Local: strings.ToLower(a.Local), Domain: smtp.DomainKey(a.Domain)}
}
