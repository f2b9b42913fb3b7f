package sqlite

// The rows of administrators, and the methods of directory.Admin about them.

import (
	"context"
	"errors"
	"strings"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/directory/internal/rules"
	"github.com/postilion/postilion/internal/sqlx"
)

func scanAdministrator(s scanner) (a directory.Administrator, err error) {
	var account, tenant, created int64
	err = s.Scan(&account, &a.Address.Local, &a.Address.Domain, &a.Domain, &tenant, &created)
	a.Account, a.Tenant, a.Created = uint64(account), uint64(tenant), sqlx.FromTime(created)
	return a, err
}

// like writes a condition of the fields that are not zero.
func like(a directory.Administrator) (where string, args []any) {
	var terms []string
	for _, f := range []struct {
		column string
		set    bool
		value  any
	}{{"account", a.Account != 0, int64(a.Account)}, {"domain", a.Domain != "", a.Domain}, {"tenant", a.Tenant != 0, int64(a.Tenant)}} {
		if f.set {
			terms, args = append(terms, "a."+f.column+" = ?"), append(args, f.value)
		}
	}
	if terms == nil {
		return "", nil
	}
	return " WHERE " + strings.Join(terms, " AND "), args
}

func (s *store) AccountByID(id uint64) (*directory.Account, error) {
	return one(s.q.QueryRowContext(s.ctx, selectAccounts+` WHERE id = ?`, int64(id)), scanAccount)
}

func (s *store) TenantDomains(tenant uint64) ([]directory.Domain, error) {
	return s.domains(` WHERE tenant = ? AND tenant <> 0 ORDER BY name`, int64(tenant))
}

func (s *store) Administrators(of directory.Administrator) ([]directory.Administrator, error) {
	where, args := like(of)
	rows, err := s.q.QueryContext(s.ctx, selectAdmins+where+` ORDER BY a.domain, a.tenant, c.domain, c.local_key`, args...)
	return many(rows, err, scanAdministrator)
}

func (s *store) SaveAdministrator(a directory.Administrator) error {
	return s.exec(`INSERT INTO administrators (account, domain, tenant, created) VALUES (?, ?, ?, ?)`,
		int64(a.Account), a.Domain, int64(a.Tenant), sqlx.Time(a.Created))
}

func (s *store) DeleteAdministrators(of directory.Administrator) error {
	where, args := like(of)
	if where == "" {
		return errors.New("no administrators were named")
	}
	return s.exec(`DELETE FROM administrators AS a`+where, args...)
}

// Administrators implements directory.Admin.
func (db *DB) Administrators(ctx context.Context, domain string) (all []directory.Administrator, err error) {
	err = db.view(ctx, func(s rules.Store) error {
		all, err = rules.Administrators(s, domain)
		return err
	})
	return all, err
}

// PutAdministrator implements directory.Admin.
func (db *DB) PutAdministrator(ctx context.Context, a directory.Administrator) error {
	return db.change(ctx, func(s rules.Store) error { return rules.PutAdministrator(s, a, db.now()) })
}

// RemoveAdministrator implements directory.Admin.
func (db *DB) RemoveAdministrator(ctx context.Context, a directory.Administrator) error {
	return db.change(ctx, func(s rules.Store) error { return rules.RemoveAdministrator(s, a) })
}

// Administered implements directory.Admin.
func (db *DB) Administered(ctx context.Context, account uint64) (all directory.Administered, err error) {
	err = db.view(ctx, func(s rules.Store) error {
		all, err = rules.Administered(s, account)
		return err
	})
	return all, err
}

// ChangeAccount implements directory.Admin.
func (db *DB) ChangeAccount(ctx context.Context, a *directory.Account) error {
	var stored directory.Account
	err := db.change(ctx, func(s rules.Store) error {
		stored = *a // of this run: the transaction may be tried again
		return rules.ChangeAccount(s, &stored)
	})
	if err == nil {
		*a = stored
	}
	return err
}

// SetCatchAll implements directory.Admin.
func (db *DB) SetCatchAll(ctx context.Context, domain, address string) error {
	return db.change(ctx, func(s rules.Store) error { return rules.SetCatchAll(s, domain, address, db.now()) })
}
