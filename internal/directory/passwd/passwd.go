// Package passwd makes accounts of the system's users, so that they read their mail like others: read
// only, from passwd(5) as package sysuser knows it. Root has none.
package passwd

import (
	"path/filepath"
	"strings"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/directory/sysuser"
	"github.com/postilion/postilion/internal/mail"
)

// Users finds users of the system, as sysuser.Users does.
type Users interface {
	Lookup(name string) (sysuser.User, bool, error)
}

// Source makes the accounts. Users and Maildir are needed.
type Source struct {
	Users   Users
	Maildir string // below the home: the account's mailbox
	// Domains are those that may follow a user's name; the first is the accounts'.
	Domains []string
}

// Find returns the account of a user. domain is what the client said behind the name's @; "" for
// nothing. The error is trouble in finding out.
func (s *Source) Find(name, domain string) (*directory.Account, bool, error) {
	if domain != "" && !s.ours(domain) || name == "" || strings.ContainsAny(name, ":/\x00\r\n") {
		return nil, false, nil
	}
	u, ok, err := s.Users.Lookup(name)
	if err != nil || !ok || u.UID == 0 || !filepath.IsAbs(u.Home) {
		return nil, false, err
	}
	a := &directory.Account{
		ID: directory.SystemID(u.UID), Address: mail.Address{Local: u.Name}, Mailbox: s.Maildir,
		System: &directory.SystemUser{Name: u.Name, UID: u.UID, GID: u.GID, Home: filepath.Clean(u.Home)},
	}
	a.Name, _, _ = strings.Cut(u.Gecos, ",")
	if len(s.Domains) > 0 {
		a.Address.Domain = s.Domains[0]
	}
	return a, true, nil
}

func (s *Source) ours(domain string) bool {
	for _, d := range s.Domains {
		if strings.EqualFold(d, domain) {
			return true
		}
	}
	return false
}
