// Package rules holds what every directory promises beyond the shape of a value:
// how rows relate. A store gives its rows within one transaction as a Store; the
// functions here are its Admin. Whoever stores keeps no rule of its own.
package rules

import (
	"fmt"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/mail"
)

// Store is the rows as one transaction sees them. Names and keys are in their
// compared form. What is not there is nil without an error.
type Store interface {
	Domain(name string) (*directory.Domain, error)
	// Referrers returns the domains that are aliases of name or whose catch-all is in it.
	Referrers(name string) ([]directory.Domain, error)
	SaveDomain(d directory.Domain) error
	DeleteDomain(name string) error

	Account(domain, key string) (*directory.Account, error)
	Accounts(domain string) ([]directory.Account, error)
	// SaveAccount writes the row of a.ID.
	SaveAccount(key string, a directory.Account) error
	DeleteAccount(id uint64) error
	// RememberRemoved keeps of an account that is to be deleted what directory.Removals tells.
	RememberRemoved(id uint64) error
	// MailboxOwner returns the account whose mailbox is path, or 0.
	MailboxOwner(path string) (uint64, error)
	// NextID returns an account id that never was used before.
	NextID() (uint64, error)

	Alias(domain, key string) (*directory.Alias, error)
	Aliases(domain string) ([]directory.Alias, error)
	SaveAlias(key string, a directory.Alias) error
	DeleteAlias(domain, key string) error

	// AccountByID returns an account by its id.
	AccountByID(id uint64) (*directory.Account, error)
	// TenantDomains returns the domains of a tenant, which is not 0.
	TenantDomains(tenant uint64) ([]directory.Domain, error)
	// Administrators returns those that have all fields of like which are not zero: Account, Domain and Tenant.
	Administrators(like directory.Administrator) ([]directory.Administrator, error)
	SaveAdministrator(a directory.Administrator) error
	// DeleteAdministrators removes what Administrators returns; one field at least is not zero.
	DeleteAdministrators(like directory.Administrator) error

	SaveBlock(b directory.Block) error
	// DeleteBlock reports whether there was one.
	DeleteBlock(what string) (bool, error)
	// ExpireBlocks removes those that expired before now.
	ExpireBlocks(now time.Time) error
}

func notFound(what, value string) error {
	return fmt.Errorf("%s %q: %w", what, value, directory.ErrNotFound)
}

func exists(what, value string) error {
	return fmt.Errorf("%s %q: %w", what, value, directory.ErrExists)
}

// PutDomain is Admin.PutDomain.
func PutDomain(s Store, d directory.Domain, create bool, now time.Time) error {
	if err := directory.CheckDomain(&d); err != nil {
		return err
	}
	old, err := s.Domain(d.Name)
	switch {
	case err != nil:
		return err
	case create && old != nil:
		return exists("domain", d.Name)
	case !create && old == nil:
		return notFound("domain", d.Name)
	}
	d.Created = now.UTC()
	if old != nil {
		d.Created = old.Created
	}
	if err := checkAliasOf(s, d); err != nil {
		return err
	}
	if err := checkCatchAll(s, d); err != nil {
		return err
	}
	if err := s.SaveDomain(d); err != nil {
		return err
	}
	if old != nil && old.CaseSensitive != d.CaseSensitive {
		return refold(s, d)
	}
	return nil
}

// checkAliasOf refuses chains of alias domains, and addresses that nobody could reach.
func checkAliasOf(s Store, d directory.Domain) error {
	if d.AliasOf == "" {
		return nil
	}
	if d.AliasOf == d.Name {
		return &directory.InvalidError{What: "alias domain", Value: d.Name, Want: "another domain as its target"}
	}
	target, err := s.Domain(d.AliasOf)
	if err != nil {
		return err
	}
	if target == nil {
		return notFound("domain", d.AliasOf)
	}
	if target.AliasOf != "" {
		return &directory.InvalidError{What: "alias domain's target", Value: d.AliasOf,
			Want: fmt.Sprintf("a domain that is no alias itself, such as %q", target.AliasOf)}
	}
	referrers, err := s.Referrers(d.Name)
	if err != nil {
		return err
	}
	for _, r := range referrers {
		if r.AliasOf == d.Name {
			return &directory.InvalidError{What: "alias domain", Value: d.Name, Want: fmt.Sprintf("a domain that %q is not an alias of", r.Name)}
		}
	}
	administrators, err := s.Administrators(directory.Administrator{Domain: d.Name})
	if err != nil {
		return err
	}
	if len(administrators) > 0 {
		return &directory.InvalidError{What: "alias domain", Value: d.Name, Want: "a domain without administrators of its own: those of its target administer it too"}
	}
	accounts, aliases, err := count(s, d.Name)
	if err != nil {
		return err
	}
	if accounts+aliases > 0 {
		return &directory.InvalidError{What: "alias domain", Value: d.Name,
			Want: fmt.Sprintf("a domain without addresses of its own (it has %d accounts and %d aliases)", accounts, aliases)}
	}
	return nil
}

func count(s Store, domain string) (accounts, aliases int, err error) {
	as, err := s.Accounts(domain)
	if err != nil {
		return 0, 0, err
	}
	ls, err := s.Aliases(domain)
	return len(as), len(ls), err
}

// checkCatchAll refuses a catch-all of our own that nobody answers to: it would be
// caught again.
func checkCatchAll(s Store, d directory.Domain) error {
	if d.CatchAll == "" {
		return nil
	}
	to := mail.ParseAddress(d.CatchAll)
	home, err := s.Domain(to.Domain)
	if err != nil {
		return err
	}
	if to.Domain == d.Name {
		home = &d // as it will be
	}
	if home == nil {
		return nil
	}
	account, alias, _, err := resolve(s, home, to.Local)
	if err == nil && account == nil && alias == nil {
		err = &directory.InvalidError{What: "catch-all", Value: d.CatchAll, Want: "an account or alias that exists, or an address at another host"}
	}
	return err
}

// resolve finds a local part exactly, then without its sub-address.
func resolve(s Store, d *directory.Domain, local string) (*directory.Account, *directory.Alias, string, error) {
	if d.AliasOf != "" {
		target, err := s.Domain(d.AliasOf)
		if err != nil || target == nil {
			return nil, nil, "", err
		}
		d = target
	}
	locals := []string{local}
	if i := strings.IndexAny(local, d.Separators); i > 0 {
		locals = append(locals, local[:i])
	}
	for _, l := range locals {
		account, alias, err := entry(s, d.Name, directory.LocalKey(l, d.CaseSensitive))
		if err != nil || account != nil || alias != nil {
			return account, alias, directory.LocalKey(l, d.CaseSensitive), err
		}
	}
	return nil, nil, "", nil
}

func entry(s Store, domain, key string) (*directory.Account, *directory.Alias, error) {
	account, err := s.Account(domain, key)
	if err != nil || account != nil {
		return account, nil, err
	}
	alias, err := s.Alias(domain, key)
	return nil, alias, err
}

// refold gives every address of the domain its key under the new folding.
func refold(s Store, d directory.Domain) error {
	accounts, err := s.Accounts(d.Name)
	if err != nil {
		return err
	}
	aliases, err := s.Aliases(d.Name)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, a := range addresses(accounts, aliases) {
		key := directory.LocalKey(a.Local, d.CaseSensitive)
		if seen[key] {
			return &directory.InvalidError{What: "case_sensitive of domain", Value: d.Name,
				Want: fmt.Sprintf("true while addresses differ by case alone, as %q does", a.String())}
		}
		seen[key] = true
	}
	for _, a := range accounts {
		if err := s.DeleteAccount(a.ID); err != nil {
			return err
		}
	}
	for _, a := range aliases {
		if err := s.DeleteAlias(d.Name, directory.LocalKey(a.Address.Local, !d.CaseSensitive)); err != nil {
			return err
		}
	}
	for _, a := range accounts {
		if err := s.SaveAccount(directory.LocalKey(a.Address.Local, d.CaseSensitive), a); err != nil {
			return err
		}
	}
	for _, a := range aliases {
		if err := s.SaveAlias(directory.LocalKey(a.Address.Local, d.CaseSensitive), a); err != nil {
			return err
		}
	}
	return nil
}

func addresses(accounts []directory.Account, aliases []directory.Alias) []mail.Address {
	var all []mail.Address
	for _, a := range accounts {
		all = append(all, a.Address)
	}
	for _, a := range aliases {
		all = append(all, a.Address)
	}
	return all
}

// RemoveDomain is Admin.RemoveDomain.
func RemoveDomain(s Store, name string, all bool) error {
	name, err := directory.DomainKey(name)
	if err != nil {
		return err
	}
	d, err := s.Domain(name)
	if err != nil {
		return err
	}
	if d == nil {
		return notFound("domain", name)
	}
	if err := removeReferrers(s, name, all); err != nil {
		return err
	}
	accounts, err := s.Accounts(name)
	if err != nil {
		return err
	}
	aliases, err := s.Aliases(name)
	if err != nil {
		return err
	}
	if len(accounts)+len(aliases) > 0 && !all {
		return &directory.InvalidError{What: "domain", Value: name,
			Want: fmt.Sprintf("no addresses in it, or all of them removed too (it has %d accounts and %d aliases)", len(accounts), len(aliases))}
	}
	for _, a := range accounts {
		if err := deleteAccount(s, a.ID); err != nil {
			return err
		}
	}
	for _, a := range aliases {
		if err := s.DeleteAlias(name, directory.LocalKey(a.Address.Local, d.CaseSensitive)); err != nil {
			return err
		}
	}
	if err := s.DeleteAdministrators(directory.Administrator{Domain: name}); err != nil {
		return err
	}
	return s.DeleteDomain(name)
}

// removeReferrers removes the alias domains of name if all is set, and refuses where
// another domain's catch-all would be left pointing at another host.
func removeReferrers(s Store, name string, all bool) error {
	referrers, err := s.Referrers(name)
	if err != nil {
		return err
	}
	for _, r := range referrers {
		switch {
		case r.Name == name: // its own catch-all
		case r.AliasOf != name:
			return &directory.InvalidError{What: "domain", Value: name,
				Want: fmt.Sprintf("no other domain's catch-all in it (%q sends to %q)", r.Name, r.CatchAll)}
		case !all:
			return &directory.InvalidError{What: "domain", Value: name, Want: fmt.Sprintf("no alias domains of it, or all of them removed too (%q is one)", r.Name)}
		default:
			if err := removeReferrers(s, r.Name, all); err != nil {
				return err
			}
			if err := s.DeleteDomain(r.Name); err != nil {
				return err
			}
		}
	}
	return nil
}
