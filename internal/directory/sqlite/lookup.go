package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/sqlx"
)

// batch is how many local parts one query looks at. Fewer repeat the last.
const batch = 3

const (
	findDomain = `SELECT d.name, d.alias_of, d.catch_all, d.separators, d.case_sensitive, d.disabled, d.max_size, d.tenant, d.created,
		d.max_accounts, d.max_aliases, d.quota_bytes, d.default_quota,
		t.name, t.alias_of, t.catch_all, t.separators, t.case_sensitive, t.disabled, t.max_size, t.tenant, t.created,
		t.max_accounts, t.max_aliases, t.quota_bytes, t.default_quota
		FROM domains d LEFT JOIN domains t ON t.name = d.alias_of WHERE d.name = ?`
	// An account has an id; an alias has 0 and its targets in place of the mailbox.
	findFirst = `SELECT local_key, ` + accountColumns + ` FROM accounts WHERE domain = ? AND local_key IN (?, ?, ?)
		UNION ALL SELECT local_key, 0, domain, local_part, '', 0, 0, 0, 0, 0, 0, targets, tenant, 0 FROM aliases WHERE domain = ? AND local_key IN (?, ?, ?)`
)

// lookup is Find's view.
type lookup struct {
	ctx context.Context
	db  *DB
}

func (l *lookup) Domain(name string) (*directory.Domain, *directory.Domain, error) {
	var d directory.Domain
	var tenant, created int64
	var t struct {
		name, aliasOf, catchAll, separators sql.NullString
		caseSensitive, disabled             sql.NullBool
		maxSize, tenant, created            sql.NullInt64
		maxAccounts, maxAliases             sql.NullInt64
		quotaBytes, defaultQuota            sql.NullInt64
	}
	err := l.db.domain.QueryRowContext(l.ctx, name).Scan(&d.Name, &d.AliasOf, &d.CatchAll, &d.Separators, &d.CaseSensitive, &d.Disabled, &d.MaxSize, &tenant, &created,
		&d.MaxAccounts, &d.MaxAliases, &d.QuotaBytes, &d.DefaultQuota,
		&t.name, &t.aliasOf, &t.catchAll, &t.separators, &t.caseSensitive, &t.disabled, &t.maxSize, &t.tenant, &t.created,
		&t.maxAccounts, &t.maxAliases, &t.quotaBytes, &t.defaultQuota)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	d.Tenant, d.Created = uint64(tenant), sqlx.FromTime(created)
	if !t.name.Valid {
		return &d, nil, nil
	}
	return &d, &directory.Domain{
		Name: t.name.String, AliasOf: t.aliasOf.String, CatchAll: t.catchAll.String, Separators: t.separators.String,
		CaseSensitive: t.caseSensitive.Bool, Disabled: t.disabled.Bool, MaxSize: t.maxSize.Int64,
		Tenant: uint64(t.tenant.Int64), Created: sqlx.FromTime(t.created.Int64),
		MaxAccounts: int(t.maxAccounts.Int64), MaxAliases: int(t.maxAliases.Int64), QuotaBytes: t.quotaBytes.Int64, DefaultQuota: t.defaultQuota.Int64,
	}, nil
}

func (l *lookup) First(domain string, keys []string) (string, *directory.Account, *directory.Alias, error) {
	for len(keys) > 0 {
		n := min(batch, len(keys))
		key, account, alias, err := l.firstOf(domain, keys[:n])
		if err != nil || key != "" {
			return key, account, alias, err
		}
		keys = keys[n:]
	}
	return "", nil, nil, nil
}

// row is one of findFirst.
type row struct {
	key     string
	account directory.Account
}

func (l *lookup) firstOf(domain string, keys []string) (string, *directory.Account, *directory.Alias, error) {
	args := make([]any, 0, 2*(1+batch))
	for range 2 {
		args = append(args, domain)
		for i := range batch {
			args = append(args, keys[min(i, len(keys)-1)])
		}
	}
	rows, err := l.db.first.QueryContext(l.ctx, args...)
	found, err := many(rows, err, func(s scanner) (r row, err error) {
		r.account, err = scanAccount(scanKey{s, &r.key})
		return r, err
	})
	if err != nil {
		return "", nil, nil, err
	}
	for _, key := range keys {
		for i := range found {
			if found[i].key != key {
				continue
			}
			account, alias, err := found[i].entry()
			return key, account, alias, err
		}
	}
	return "", nil, nil, nil
}

// scanKey scans a row that begins with its key.
type scanKey struct {
	scanner
	key *string
}

func (s scanKey) Scan(dest ...any) error {
	return s.scanner.Scan(append([]any{s.key}, dest...)...)
}

func (r *row) entry() (*directory.Account, *directory.Alias, error) {
	if r.account.ID != 0 {
		return &r.account, nil, nil
	}
	var targets []mail.Address
	if err := json.Unmarshal([]byte(r.account.Mailbox), &targets); err != nil {
		return nil, nil, err
	}
	return nil, &directory.Alias{Address: r.account.Address, Targets: targets, Tenant: r.account.Tenant}, nil
}
