package rules

// Who administers what. An administrator is an account, by its id, and ends with it.

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/postilion/postilion/internal/directory"
)

// Administrators is Admin.Administrators.
func Administrators(s Store, domain string) ([]directory.Administrator, error) {
	name, err := ListDomain(s, domain)
	if err != nil {
		return nil, err
	}
	all, err := s.Administrators(directory.Administrator{Domain: name})
	if err != nil || name == "" {
		return all, err
	}
	d, err := s.Domain(name)
	if err != nil || d == nil || d.Tenant == 0 {
		return all, err
	}
	tenants, err := s.Administrators(directory.Administrator{Tenant: d.Tenant})
	return append(all, tenants...), err
}

// administrator completes what PutAdministrator and RemoveAdministrator are told.
func administrator(s Store, a directory.Administrator) (directory.Administrator, error) {
	at, key, err := locate(s, a.Address)
	if err != nil {
		return a, err
	}
	account, err := s.Account(at.Name, key)
	if err == nil && account == nil {
		err = notFound("account", a.Address.String())
	}
	if err != nil {
		return a, err
	}
	a.Account, a.Address = account.ID, account.Address
	if a.Domain == "" {
		if a.Tenant == 0 {
			err = &directory.InvalidError{What: "administrator", Value: a.Address.String(), Want: "a domain or a tenant that it administers"}
		}
		return a, err
	}
	a.Tenant = 0
	d, err := lookUp(s, a.Domain)
	if err != nil {
		return a, err
	}
	a.Domain = d.Name
	if d.AliasOf != "" {
		err = &directory.InvalidError{What: "domain", Value: a.Domain, Want: fmt.Sprintf("the domain that it is an alias of, %q", d.AliasOf)}
	}
	return a, err
}

// lookUp returns a domain of ours by any form of its name.
func lookUp(s Store, name string) (*directory.Domain, error) {
	key, err := directory.DomainKey(name)
	if err != nil {
		return nil, err
	}
	d, err := s.Domain(key)
	if err == nil && d == nil {
		err = notFound("domain", key)
	}
	return d, err
}

// text writes what an administrator administers.
func text(a directory.Administrator) string {
	of := a.Domain
	if of == "" {
		of = fmt.Sprintf("tenant %d", a.Tenant)
	}
	return a.Address.String() + " of " + of
}

// PutAdministrator is Admin.PutAdministrator.
func PutAdministrator(s Store, a directory.Administrator, now time.Time) error {
	a, err := administrator(s, a)
	if err != nil {
		return err
	}
	have, err := s.Administrators(a)
	if err != nil {
		return err
	}
	if len(have) > 0 {
		return exists("administrator", text(a))
	}
	a.Created = now.UTC()
	return s.SaveAdministrator(a)
}

// RemoveAdministrator is Admin.RemoveAdministrator.
func RemoveAdministrator(s Store, a directory.Administrator) error {
	a, err := administrator(s, a)
	if err != nil {
		return err
	}
	have, err := s.Administrators(a)
	if err != nil {
		return err
	}
	if len(have) == 0 {
		return notFound("administrator", text(a))
	}
	return s.DeleteAdministrators(a)
}

// Administered is Admin.Administered.
func Administered(s Store, account uint64) (out directory.Administered, err error) {
	if account == 0 {
		return out, nil
	}
	of, err := s.Administrators(directory.Administrator{Account: account})
	if err != nil {
		return out, err
	}
	all := map[string]directory.Domain{}
	for _, a := range of {
		domains, err := administeredBy(s, a)
		if err != nil {
			return out, err
		}
		if a.Domain == "" {
			out.Tenants = append(out.Tenants, a.Tenant)
		}
		for _, d := range domains {
			all[d.Name] = d
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out.Domains = append(out.Domains, all[name])
	}
	return out, nil
}

// administeredBy returns the domains that a row stands for.
func administeredBy(s Store, a directory.Administrator) (all []directory.Domain, err error) {
	if a.Domain == "" {
		all, err = s.TenantDomains(a.Tenant)
	} else if d, derr := s.Domain(a.Domain); d != nil {
		all = []directory.Domain{*d}
	} else {
		err = derr
	}
	for _, d := range all {
		referrers, rerr := s.Referrers(d.Name)
		if rerr != nil {
			return nil, rerr
		}
		for _, r := range referrers {
			if r.AliasOf == d.Name {
				all = append(all, r)
			}
		}
	}
	return all, err
}

// deleteAccount removes an account with what it administers.
func deleteAccount(s Store, id uint64) error {
	if err := s.DeleteAdministrators(directory.Administrator{Account: id}); err != nil {
		return err
	}
	if err := s.RememberRemoved(id); err != nil {
		return err
	}
	return s.DeleteAccount(id)
}

// SetCatchAll is Admin.SetCatchAll.
func SetCatchAll(s Store, domain, address string, now time.Time) error {
	d, err := lookUp(s, domain)
	if err != nil {
		return err
	}
	d.CatchAll = address
	return PutDomain(s, *d, false, now)
}
