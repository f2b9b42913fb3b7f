package rules

// Accounts, aliases, blocks and Find.

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/mail"
)

// home returns the domain that an address of ours is kept in.
func home(s Store, name string) (*directory.Domain, error) {
	d, err := s.Domain(name)
	switch {
	case err != nil:
		return nil, err
	case d == nil:
		return nil, notFound("domain", name)
	case d.AliasOf != "":
		return nil, &directory.InvalidError{What: "domain", Value: name, Want: fmt.Sprintf("the domain that it is an alias of, %q", d.AliasOf)}
	}
	return d, nil
}

// PutAccount is Admin.PutAccount. a is changed only with success.
func PutAccount(s Store, a *directory.Account, create bool, now time.Time) error {
	return putAccount(s, a, create, now, nil)
}

// ChangeAccount is Admin.ChangeAccount. a is changed only with success.
func ChangeAccount(s Store, a *directory.Account) error {
	return putAccount(s, a, false, time.Time{}, func(n, old *directory.Account) {
		n.Mailbox, n.Tenant, n.MaxSize, n.MaxRecipients = old.Mailbox, old.Tenant, old.MaxSize, old.MaxRecipients
	})
}

// putAccount keeps, where keep is set, what it takes over of the account as it is.
func putAccount(s Store, a *directory.Account, create bool, now time.Time, keep func(n, old *directory.Account)) error {
	n := *a
	if err := directory.CheckAccount(&n); err != nil {
		return err
	}
	d, err := home(s, n.Address.Domain)
	if err != nil {
		return err
	}
	key := directory.LocalKey(n.Address.Local, d.CaseSensitive)
	old, alias, err := entry(s, d.Name, key)
	switch {
	case err != nil:
		return err
	case alias != nil:
		return exists("alias", alias.Address.String())
	case create && old != nil:
		return exists("account", old.Address.String())
	case !create && old == nil:
		return notFound("account", n.Address.String())
	}
	if create {
		if n.ID, err = s.NextID(); err != nil {
			return err
		}
		n.Created = now.UTC()
		n.Tenant = cmp.Or(n.Tenant, d.Tenant)
	} else {
		n.ID, n.Created = old.ID, old.Created
		n.Mailbox = cmp.Or(n.Mailbox, old.Mailbox)
		if keep != nil {
			keep(&n, old)
		}
	}
	if err := fitAccount(s, d, &n, old); err != nil {
		return err
	}
	if err := placeMailbox(s, &n, key); err != nil {
		return err
	}
	if err := s.SaveAccount(key, n); err != nil {
		return err
	}
	*a = n
	return nil
}

// placeMailbox gives the account a path of its own.
func placeMailbox(s Store, a *directory.Account, key string) error {
	if a.Mailbox != "" {
		owner, err := s.MailboxOwner(a.Mailbox)
		if err == nil && owner != 0 && owner != a.ID {
			err = &directory.InvalidError{What: "mailbox", Value: a.Mailbox, Want: "a path that no other account has"}
		}
		return err
	}
	base := directory.MailboxPath(a.Address.Domain, key)
	a.Mailbox = base
	owner, err := s.MailboxOwner(base)
	if err != nil || owner == 0 || owner == a.ID {
		return err
	}
	// Another account was given this path by hand. "%-" begins no escape, so that the
	// id makes it unique.
	a.Mailbox = fmt.Sprintf("%s%%-%d/Maildir", strings.TrimSuffix(base, "/Maildir"), a.ID)
	return nil
}

// RemoveAccount is Admin.RemoveAccount.
func RemoveAccount(s Store, address mail.Address) error {
	d, key, err := locate(s, address)
	if err != nil {
		return err
	}
	a, err := s.Account(d.Name, key)
	if err != nil {
		return err
	}
	if a == nil {
		return notFound("account", address.String())
	}
	if err := uncaught(s, d, key, "account"); err != nil {
		return err
	}
	return deleteAccount(s, a.ID)
}

// locate returns the domain and key of an address of ours.
func locate(s Store, address mail.Address) (*directory.Domain, string, error) {
	name, err := directory.DomainKey(address.Domain)
	if err != nil {
		return nil, "", err
	}
	d, err := home(s, name)
	if err != nil {
		return nil, "", err
	}
	return d, directory.LocalKey(address.Local, d.CaseSensitive), nil
}

// uncaught refuses to remove what a catch-all leads to.
func uncaught(s Store, d *directory.Domain, key, what string) error {
	referrers, err := s.Referrers(d.Name)
	if err != nil {
		return err
	}
	for _, r := range referrers {
		to := mail.ParseAddress(r.CatchAll)
		if r.AliasOf != "" || to.Domain != d.Name {
			continue
		}
		_, _, found, err := resolve(s, d, to.Local)
		if err != nil {
			return err
		}
		if found == key {
			return &directory.InvalidError{What: what, Value: key + "@" + d.Name, Want: "one that is not the catch-all of a domain", Other: r.Name}
		}
	}
	return nil
}

// PutAlias is Admin.PutAlias.
func PutAlias(s Store, a directory.Alias, create bool) error {
	if err := directory.CheckAlias(&a); err != nil {
		return err
	}
	d, err := home(s, a.Address.Domain)
	if err != nil {
		return err
	}
	key := directory.LocalKey(a.Address.Local, d.CaseSensitive)
	account, old, err := entry(s, d.Name, key)
	switch {
	case err != nil:
		return err
	case account != nil:
		return exists("account", account.Address.String())
	case create && old != nil:
		return exists("alias", old.Address.String())
	case !create && old == nil:
		return notFound("alias", a.Address.String())
	}
	if err := fitAlias(s, d, a, old); err != nil {
		return err
	}
	for _, t := range a.Targets {
		if err := notItself(s, d, key, t); err != nil {
			return err
		}
	}
	if create && a.Tenant == 0 {
		a.Tenant = d.Tenant
	}
	return s.SaveAlias(key, a)
}

// notItself refuses a target that leads back to the alias at d and key.
func notItself(s Store, d *directory.Domain, key string, t mail.Address) error {
	at, err := s.Domain(t.Domain)
	if err != nil || at == nil || at.Name != d.Name && at.AliasOf != d.Name {
		return err
	}
	_, _, found, err := resolve(s, d, t.Local)
	if err != nil {
		return err
	}
	if found == "" { // the alias itself may not be stored yet
		local := t.Local
		if i := strings.IndexAny(local, d.Separators); i > 0 && directory.LocalKey(local, d.CaseSensitive) != key {
			local = local[:i]
		}
		found = directory.LocalKey(local, d.CaseSensitive)
	}
	if found == key {
		return &directory.InvalidError{What: "target", Value: t.String(), Want: "another address than the alias itself"}
	}
	return nil
}

// RemoveAlias is Admin.RemoveAlias.
func RemoveAlias(s Store, address mail.Address) error {
	d, key, err := locate(s, address)
	if err != nil {
		return err
	}
	a, err := s.Alias(d.Name, key)
	if err != nil {
		return err
	}
	if a == nil {
		return notFound("alias", address.String())
	}
	if err := uncaught(s, d, key, "alias"); err != nil {
		return err
	}
	return s.DeleteAlias(d.Name, key)
}

// PutBlock is Admin.PutBlock; a block of the same What is replaced.
func PutBlock(s Store, b directory.Block, now time.Time) error {
	if err := directory.CheckBlock(&b); err != nil {
		return err
	}
	if !b.Expires.IsZero() && !b.Expires.After(now) {
		return &directory.InvalidError{What: "expires", Value: b.Expires.UTC().Format(time.RFC3339), Want: "a time to come, or none"}
	}
	b.Created, b.Expires = now.UTC(), b.Expires.UTC()
	if err := s.ExpireBlocks(now); err != nil {
		return err
	}
	return s.SaveBlock(b)
}

// RemoveBlock is Admin.RemoveBlock.
func RemoveBlock(s Store, what string) error {
	key, err := directory.BlockKey(what)
	if err != nil {
		return err
	}
	ok, err := s.DeleteBlock(key)
	if err == nil && !ok {
		err = notFound("block", key)
	}
	return err
}

// ListDomain returns the name to list by, checked that it is ours; "" stays.
func ListDomain(s Store, name string) (string, error) {
	if name == "" {
		return "", nil
	}
	name, err := directory.DomainKey(name)
	if err != nil {
		return "", err
	}
	d, err := s.Domain(name)
	if err == nil && d == nil {
		err = notFound("domain", name)
	}
	return name, err
}

// Lookup is what Find reads.
type Lookup interface {
	// Domain returns a domain and, where it is an alias, its target.
	Domain(name string) (d, target *directory.Domain, err error)
	// First returns the first of the keys that is an account or alias in the domain.
	First(domain string, keys []string) (key string, a *directory.Account, l *directory.Alias, err error)
}

// Find is Reader.Find.
func Find(s Lookup, domain string, locals []string) (directory.Found, error) {
	var f directory.Found
	name, err := directory.DomainKey(domain)
	if err != nil {
		return f, fmt.Errorf("%w: %w", directory.ErrNotFound, err)
	}
	d, err := ours(s, name)
	if err != nil {
		return f, err
	}
	f.Domain = *d
	if len(locals) == 0 {
		return f, nil
	}
	keys := make([]string, min(len(locals), directory.MaxFindLocals))
	for i := range keys {
		keys[i] = directory.LocalKey(locals[i], d.CaseSensitive)
	}
	f.Local, f.Account, f.Alias, err = s.First(d.Name, keys)
	if err != nil || f.Local != "" || d.CatchAll == "" {
		return f, err
	}
	return caught(s, f)
}

// ours returns the domain that name means, its target for an alias domain.
func ours(s Lookup, name string) (*directory.Domain, error) {
	d, target, err := s.Domain(name)
	switch {
	case err != nil:
		return nil, err
	case d == nil:
		return nil, notFound("domain", name)
	case target == nil:
		return d, nil
	}
	target.Disabled = target.Disabled || d.Disabled
	return target, nil
}

// caught adds the domain's catch-all. It is looked up once: nothing is caught twice.
func caught(s Lookup, f directory.Found) (directory.Found, error) {
	f.CatchAll = true
	to := mail.ParseAddress(f.Domain.CatchAll)
	d, err := ours(s, to.Domain)
	if errors.Is(err, directory.ErrNotFound) {
		f.Alias = &directory.Alias{Address: to, Targets: []mail.Address{to}, Tenant: f.Domain.Tenant}
		return f, nil
	}
	if err != nil {
		return f, err
	}
	keys := []string{directory.LocalKey(to.Local, d.CaseSensitive)}
	if i := strings.IndexAny(to.Local, d.Separators); i > 0 {
		keys = append(keys, directory.LocalKey(to.Local[:i], d.CaseSensitive))
	}
	_, f.Account, f.Alias, err = s.First(d.Name, keys)
	f.CatchAll = f.Account != nil || f.Alias != nil
	return f, err
}
