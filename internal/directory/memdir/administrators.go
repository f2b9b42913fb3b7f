package memdir

// The rows of administrators, and the methods of directory.Admin about them.

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/directory/internal/rules"
)

func (r *rows) AccountByID(id uint64) (*directory.Account, error) {
	if a, ok := r.accounts[id]; ok {
		return &a, nil
	}
	return nil, nil
}

func (r *rows) TenantDomains(tenant uint64) (all []directory.Domain, err error) {
	for _, d := range r.domains {
		if d.Tenant == tenant && tenant != 0 {
			all = append(all, d)
		}
	}
	slices.SortFunc(all, func(a, b directory.Domain) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// is reports whether a has all fields of like that are not zero.
func is(a, like directory.Administrator) bool {
	return (like.Account == 0 || like.Account == a.Account) && (like.Domain == "" || like.Domain == a.Domain) && (like.Tenant == 0 || like.Tenant == a.Tenant)
}

func (r *rows) Administrators(like directory.Administrator) (all []directory.Administrator, err error) {
	key := map[uint64]string{}
	for p, id := range r.byKey {
		key[id] = p.key
	}
	for _, a := range r.admins {
		if is(a, like) {
			a.Address = r.accounts[a.Account].Address
			all = append(all, a)
		}
	}
	slices.SortFunc(all, func(a, b directory.Administrator) int {
		return cmp.Or(cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Address.Domain, b.Address.Domain),
			cmp.Compare(key[a.Account], key[b.Account]))
	})
	return all, nil
}

func (r *rows) SaveAdministrator(a directory.Administrator) error {
	r.admins = append(r.admins, a)
	return nil
}

func (r *rows) DeleteAdministrators(like directory.Administrator) error {
	if like.Account == 0 && like.Domain == "" && like.Tenant == 0 {
		return errors.New("no administrators were named")
	}
	r.admins = slices.DeleteFunc(r.admins, func(a directory.Administrator) bool { return is(a, like) })
	return nil
}

// Administrators implements directory.Admin.
func (db *DB) Administrators(ctx context.Context, domain string) (all []directory.Administrator, err error) {
	err = db.view(ctx, func(r *rows) error {
		all, err = rules.Administrators(r, domain)
		return err
	})
	return all, err
}

// PutAdministrator implements directory.Admin.
func (db *DB) PutAdministrator(ctx context.Context, a directory.Administrator) error {
	return db.change(ctx, func(r *rows) error { return rules.PutAdministrator(r, a, db.now()) })
}

// RemoveAdministrator implements directory.Admin.
func (db *DB) RemoveAdministrator(ctx context.Context, a directory.Administrator) error {
	return db.change(ctx, func(r *rows) error { return rules.RemoveAdministrator(r, a) })
}

// Administered implements directory.Admin.
func (db *DB) Administered(ctx context.Context, account uint64) (all directory.Administered, err error) {
	err = db.view(ctx, func(r *rows) error {
		all, err = rules.Administered(r, account)
		return err
	})
	return all, err
}

// ChangeAccount implements directory.Admin.
func (db *DB) ChangeAccount(ctx context.Context, a *directory.Account) error {
	return db.change(ctx, func(r *rows) error { return rules.ChangeAccount(r, a) })
}

// SetCatchAll implements directory.Admin.
func (db *DB) SetCatchAll(ctx context.Context, domain, address string) error {
	return db.change(ctx, func(r *rows) error { return rules.SetCatchAll(r, domain, address, db.now()) })
}
