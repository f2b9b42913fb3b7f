package sqlite

// The rows as a rules.Store in a transaction, and as Find's rules.Lookup.

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/sqlx"
)

const (
	domainColumns  = `name, alias_of, catch_all, separators, case_sensitive, disabled, max_size, tenant, created, max_accounts, max_aliases, quota_bytes, default_quota`
	accountColumns = `id, domain, local_part, name, disabled, no_send, quota_bytes, quota_messages, max_size, max_recipients, mailbox, tenant, created`

	selectDomains  = `SELECT ` + domainColumns + ` FROM domains`
	selectAccounts = `SELECT ` + accountColumns + ` FROM accounts`
	selectAdmins   = `SELECT a.account, c.local_part, c.domain, a.domain, a.tenant, a.created FROM administrators a JOIN accounts c ON c.id = a.account`
	selectAliases  = `SELECT domain, local_part, targets, tenant FROM aliases`
)

// queryer is what *sql.DB and *sql.Tx share.
type queryer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// store is the rows as a queryer sees them.
type store struct {
	ctx context.Context
	q   queryer
	now time.Time // of a change
}

type scanner interface{ Scan(dest ...any) error }

func scanDomain(s scanner) (d directory.Domain, err error) {
	var tenant, created int64
	err = s.Scan(&d.Name, &d.AliasOf, &d.CatchAll, &d.Separators, &d.CaseSensitive, &d.Disabled, &d.MaxSize, &tenant, &created,
		&d.MaxAccounts, &d.MaxAliases, &d.QuotaBytes, &d.DefaultQuota)
	d.Tenant, d.Created = uint64(tenant), sqlx.FromTime(created)
	return d, err
}

func scanAccount(s scanner) (a directory.Account, err error) {
	var id, tenant, created int64
	err = s.Scan(&id, &a.Address.Domain, &a.Address.Local, &a.Name, &a.Disabled, &a.NoSend, &a.QuotaBytes, &a.QuotaMessages, &a.MaxSize,
		&a.MaxRecipients, &a.Mailbox, &tenant, &created)
	a.ID, a.Tenant, a.Created = uint64(id), uint64(tenant), sqlx.FromTime(created)
	return a, err
}

func scanAlias(s scanner) (a directory.Alias, err error) {
	var targets string
	var tenant int64
	if err := s.Scan(&a.Address.Domain, &a.Address.Local, &targets, &tenant); err != nil {
		return a, err
	}
	a.Tenant = uint64(tenant)
	err = json.Unmarshal([]byte(targets), &a.Targets)
	return a, err
}

// one returns a row, nil where there is none.
func one[T any](row *sql.Row, scan func(scanner) (T, error)) (*T, error) {
	v, err := scan(row)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &v, nil
}

func many[T any](rows *sql.Rows, err error, scan func(scanner) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

func (s *store) exec(query string, args ...any) error {
	_, err := s.q.ExecContext(s.ctx, query, args...)
	return err
}

func (s *store) Domain(name string) (*directory.Domain, error) {
	return one(s.q.QueryRowContext(s.ctx, selectDomains+` WHERE name = ?`, name), scanDomain)
}

func (s *store) domains(where string, args ...any) ([]directory.Domain, error) {
	rows, err := s.q.QueryContext(s.ctx, selectDomains+where, args...)
	return many(rows, err, scanDomain)
}

func (s *store) Referrers(name string) ([]directory.Domain, error) {
	return s.domains(` WHERE alias_of = ? AND alias_of <> '' OR catch_all_domain = ? AND catch_all_domain <> '' ORDER BY name`, name, name)
}

func (s *store) SaveDomain(d directory.Domain) error {
	catchAllDomain := ""
	if d.CatchAll != "" {
		catchAllDomain = mail.ParseAddress(d.CatchAll).Domain
	}
	return s.exec(`INSERT INTO domains (`+domainColumns+`, catch_all_domain) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET alias_of = excluded.alias_of, catch_all = excluded.catch_all, separators = excluded.separators,
		case_sensitive = excluded.case_sensitive, disabled = excluded.disabled, max_size = excluded.max_size, tenant = excluded.tenant,
		catch_all_domain = excluded.catch_all_domain, max_accounts = excluded.max_accounts, max_aliases = excluded.max_aliases,
		quota_bytes = excluded.quota_bytes, default_quota = excluded.default_quota`,
		d.Name, d.AliasOf, d.CatchAll, d.Separators, d.CaseSensitive, d.Disabled, d.MaxSize, int64(d.Tenant), sqlx.Time(d.Created),
		d.MaxAccounts, d.MaxAliases, d.QuotaBytes, d.DefaultQuota, catchAllDomain)
}

func (s *store) DeleteDomain(name string) error {
	return s.exec(`DELETE FROM domains WHERE name = ?`, name)
}

func (s *store) Account(domain, key string) (*directory.Account, error) {
	return one(s.q.QueryRowContext(s.ctx, selectAccounts+` WHERE domain = ? AND local_key = ?`, domain, key), scanAccount)
}

func (s *store) Accounts(domain string) ([]directory.Account, error) {
	where, args := byDomain(domain)
	rows, err := s.q.QueryContext(s.ctx, selectAccounts+where, args...)
	return many(rows, err, scanAccount)
}

// byDomain selects a domain's rows, or all with "", by address.
func byDomain(domain string) (string, []any) {
	if domain == "" {
		return ` ORDER BY domain, local_key`, nil
	}
	return ` WHERE domain = ? ORDER BY local_key`, []any{domain}
}

func (s *store) SaveAccount(key string, a directory.Account) error {
	return s.exec(`INSERT INTO accounts (`+accountColumns+`, local_key) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET domain = excluded.domain, local_part = excluded.local_part, name = excluded.name, disabled = excluded.disabled,
		no_send = excluded.no_send, quota_bytes = excluded.quota_bytes, quota_messages = excluded.quota_messages, max_size = excluded.max_size,
		max_recipients = excluded.max_recipients, mailbox = excluded.mailbox, tenant = excluded.tenant, local_key = excluded.local_key`,
		int64(a.ID), a.Address.Domain, a.Address.Local, a.Name, a.Disabled, a.NoSend, a.QuotaBytes, a.QuotaMessages, a.MaxSize,
		a.MaxRecipients, a.Mailbox, int64(a.Tenant), sqlx.Time(a.Created), key)
}

func (s *store) NextID() (uint64, error) {
	var id int64
	err := s.q.QueryRowContext(s.ctx, `UPDATE counters SET value = value + 1 WHERE name = 'account' RETURNING value`).Scan(&id)
	return uint64(id), err
}

func (s *store) Alias(domain, key string) (*directory.Alias, error) {
	return one(s.q.QueryRowContext(s.ctx, selectAliases+` WHERE domain = ? AND local_key = ?`, domain, key), scanAlias)
}

func (s *store) Aliases(domain string) ([]directory.Alias, error) {
	where, args := byDomain(domain)
	rows, err := s.q.QueryContext(s.ctx, selectAliases+where, args...)
	return many(rows, err, scanAlias)
}

func (s *store) SaveAlias(key string, a directory.Alias) error {
	targets, err := json.Marshal(a.Targets)
	if err != nil {
		return err
	}
	return s.exec(`INSERT INTO aliases (domain, local_key, local_part, targets, tenant) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (domain, local_key) DO UPDATE SET local_part = excluded.local_part, targets = excluded.targets, tenant = excluded.tenant`,
		a.Address.Domain, key, a.Address.Local, string(targets), int64(a.Tenant))
}

func (s *store) DeleteAlias(domain, key string) error {
	return s.exec(`DELETE FROM aliases WHERE domain = ? AND local_key = ?`, domain, key)
}

func (s *store) blocks(now time.Time) ([]directory.Block, error) {
	rows, err := s.q.QueryContext(s.ctx, `SELECT what, reason, expires, created FROM blocks WHERE expires = 0 OR expires > ? ORDER BY what`, sqlx.Time(now))
	return many(rows, err, func(s scanner) (b directory.Block, err error) {
		var expires, created int64
		err = s.Scan(&b.What, &b.Reason, &expires, &created)
		b.Expires, b.Created = sqlx.FromTime(expires), sqlx.FromTime(created)
		return b, err
	})
}

func (s *store) SaveBlock(b directory.Block) error {
	return s.exec(`INSERT INTO blocks (what, reason, expires, created) VALUES (?, ?, ?, ?)
		ON CONFLICT (what) DO UPDATE SET reason = excluded.reason, expires = excluded.expires, created = excluded.created`,
		b.What, b.Reason, sqlx.Time(b.Expires), sqlx.Time(b.Created))
}

func (s *store) DeleteBlock(what string) (bool, error) {
	r, err := s.q.ExecContext(s.ctx, `DELETE FROM blocks WHERE what = ?`, what)
	if err != nil {
		return false, err
	}
	n, err := r.RowsAffected()
	return n > 0, err
}

func (s *store) ExpireBlocks(now time.Time) error {
	return s.exec(`DELETE FROM blocks WHERE expires <> 0 AND expires <= ?`, sqlx.Time(now))
}
