package memdir

// rows as a rules.Store, and as a rules.Lookup. What they return shares no memory
// with the state.

import (
	"cmp"
	"slices"
	"time"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/mail"
)

func (r *rows) Domain(name string) (*directory.Domain, error) {
	if d, ok := r.domains[name]; ok {
		return &d, nil
	}
	return nil, nil
}

func (r *rows) Referrers(name string) (all []directory.Domain, err error) {
	for _, d := range r.domains {
		if d.AliasOf == name || d.CatchAll != "" && mail.ParseAddress(d.CatchAll).Domain == name {
			all = append(all, d)
		}
	}
	slices.SortFunc(all, func(a, b directory.Domain) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

func (r *rows) SaveDomain(d directory.Domain) error {
	r.domains[d.Name] = d
	return nil
}

func (r *rows) DeleteDomain(name string) error {
	delete(r.domains, name)
	return nil
}

func (r *rows) Account(domain, key string) (*directory.Account, error) {
	if id, ok := r.byKey[place{domain, key}]; ok {
		a := r.accounts[id]
		return &a, nil
	}
	return nil, nil
}

func (r *rows) Accounts(domain string) ([]directory.Account, error) {
	at := map[uint64]place{}
	for p, id := range r.byKey {
		if domain == "" || p.domain == domain {
			at[id] = p
		}
	}
	var all []directory.Account
	for id := range at {
		all = append(all, r.accounts[id])
	}
	slices.SortFunc(all, func(a, b directory.Account) int { return compare(at[a.ID], at[b.ID]) })
	return all, nil
}

func compare(a, b place) int {
	return cmp.Or(cmp.Compare(a.domain, b.domain), cmp.Compare(a.key, b.key))
}

func (r *rows) SaveAccount(key string, a directory.Account) error {
	r.accounts[a.ID] = a
	r.byKey[place{a.Address.Domain, key}] = a.ID
	return nil
}

func (r *rows) DeleteAccount(id uint64) error {
	delete(r.accounts, id)
	for p, i := range r.byKey {
		if i == id {
			delete(r.byKey, p)
		}
	}
	return nil
}

// RememberRemoved does nothing: nobody keeps anything of the accounts of a test.
func (r *rows) RememberRemoved(uint64) error { return nil }

func (r *rows) MailboxOwner(path string) (uint64, error) {
	for id, a := range r.accounts {
		if a.Mailbox == path {
			return id, nil
		}
	}
	return 0, nil
}

func (r *rows) NextID() (uint64, error) {
	r.lastID++
	return r.lastID, nil
}

func (r *rows) Alias(domain, key string) (*directory.Alias, error) {
	if a, ok := r.aliases[place{domain, key}]; ok {
		a.Targets = slices.Clone(a.Targets)
		return &a, nil
	}
	return nil, nil
}

func (r *rows) Aliases(domain string) ([]directory.Alias, error) {
	var at []place
	for p := range r.aliases {
		if domain == "" || p.domain == domain {
			at = append(at, p)
		}
	}
	slices.SortFunc(at, compare)
	var all []directory.Alias
	for _, p := range at {
		a := r.aliases[p]
		a.Targets = slices.Clone(a.Targets)
		all = append(all, a)
	}
	return all, nil
}

func (r *rows) SaveAlias(key string, a directory.Alias) error {
	a.Targets = slices.Clone(a.Targets)
	r.aliases[place{a.Address.Domain, key}] = a
	return nil
}

func (r *rows) DeleteAlias(domain, key string) error {
	delete(r.aliases, place{domain, key})
	return nil
}

func (r *rows) SaveBlock(b directory.Block) error {
	r.blocks[b.What] = b
	return nil
}

func (r *rows) DeleteBlock(what string) (bool, error) {
	_, ok := r.blocks[what]
	delete(r.blocks, what)
	return ok, nil
}

func (r *rows) ExpireBlocks(now time.Time) error {
	for what, b := range r.blocks {
		if !b.Expires.IsZero() && !b.Expires.After(now) {
			delete(r.blocks, what)
		}
	}
	return nil
}

// lookup is rows as Find reads them.
type lookup struct{ *rows }

func (l lookup) Domain(name string) (d, target *directory.Domain, err error) {
	if d, _ = l.rows.Domain(name); d != nil && d.AliasOf != "" {
		target, _ = l.rows.Domain(d.AliasOf)
	}
	return d, target, nil
}

func (l lookup) First(domain string, keys []string) (string, *directory.Account, *directory.Alias, error) {
	for _, key := range keys {
		if a, _ := l.rows.Account(domain, key); a != nil {
			return key, a, nil, nil
		}
		if a, _ := l.rows.Alias(domain, key); a != nil {
			return key, nil, a, nil
		}
	}
	return "", nil, nil, nil
}
