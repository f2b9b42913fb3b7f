// Package sqlite keeps the directory in an SQLite file. One process opens it; other
// roles ask that one. The rules are those of internal/rules, run inside one
// transaction with the change they allow.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/directory/internal/rules"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/sqlx"
)

//go:embed migrations/*.sql
var files embed.FS

// Options say where the directory is.
type Options struct {
	Path  string       // the database file, made if missing
	Clock clock.Clock  // nil: the system's
	Log   *slog.Logger // told of what no caller hears; nil forgets

	// NoSync leaves out all syncs. Only for tests.
	NoSync bool
}

// DB is the directory; it implements directory.Admin.
type DB struct {
	sqlx       *sqlx.DB
	clock      clock.Clock
	log        *slog.Logger
	generation directory.Generations

	domain, first *sql.Stmt // Find's
	byID          *sql.Stmt
}

var _ directory.Admin = (*DB)(nil)

// Open opens or makes the directory.
func Open(ctx context.Context, o Options) (*DB, error) {
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	migrations, err := fs.Sub(files, "migrations")
	if err != nil {
		return nil, err
	}
	s, err := sqlx.Open(ctx, sqlx.Options{Path: o.Path, Migrations: migrations, NoSync: o.NoSync})
	if err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	db := &DB{sqlx: s, clock: o.Clock, log: o.Log}
	if err := db.prepare(ctx); err != nil {
		db.Close()
		return nil, fmt.Errorf("directory: %w", err)
	}
	return db, nil
}

func (db *DB) prepare(ctx context.Context) error {
	var generation int64
	err := db.sqlx.Read.QueryRowContext(ctx, `SELECT value FROM counters WHERE name = 'generation'`).Scan(&generation)
	if err != nil {
		return err
	}
	db.generation.Set(uint64(generation))
	for _, p := range []struct {
		stmt **sql.Stmt
		text string
	}{{&db.domain, findDomain}, {&db.first, findFirst}, {&db.byID, selectAccounts + ` WHERE id = ?`}} {
		if *p.stmt, err = db.sqlx.Read.PrepareContext(ctx, p.text); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the directory after the transaction under way.
func (db *DB) Close() error { return db.sqlx.Close() }

// Backup writes a durable copy, as the directory is at one moment, to a new file.
func (db *DB) Backup(ctx context.Context, path string) error {
	return temporary(db.sqlx.Backup(ctx, path))
}

// Generation counts the changes, over restarts too: what was read at one generation
// is true while it lasts.
func (db *DB) Generation() uint64 { return db.generation.Now() }

// Generations tells of each change.
func (db *DB) Generations() *directory.Generations { return &db.generation }

// change runs a change with its rules in one transaction.
func (db *DB) change(ctx context.Context, f func(s rules.Store) error) error {
	var generation int64
	err := db.sqlx.Tx(ctx, func(tx *sql.Tx) error {
		if err := f(&store{ctx: ctx, q: tx, now: db.now()}); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, `UPDATE counters SET value = value + 1 WHERE name = 'generation' RETURNING value`).Scan(&generation)
	})
	if err == nil {
		db.generation.Set(uint64(generation))
	}
	return temporary(err)
}

// view runs a reader.
func (db *DB) view(ctx context.Context, f func(s rules.Store) error) error {
	return temporary(f(&store{ctx: ctx, q: db.sqlx.Read}))
}

// temporary names the store in an error that came from it.
func temporary(err error) error {
	var invalid *directory.InvalidError
	if err == nil || errors.Is(err, directory.ErrNotFound) || errors.Is(err, directory.ErrExists) || errors.As(err, &invalid) {
		return err
	}
	return fmt.Errorf("directory: %w", err)
}

// Find implements directory.Reader with two queries, four where a catch-all is followed.
func (db *DB) Find(ctx context.Context, domain string, locals []string) (directory.Found, error) {
	if err := ctx.Err(); err != nil {
		return directory.Found{}, err
	}
	// A query takes microseconds; watching ctx meanwhile would cost more than the query.
	f, err := rules.Find(&lookup{context.WithoutCancel(ctx), db}, domain, locals)
	return f, temporary(err)
}

// Account implements directory.Reader.
func (db *DB) Account(ctx context.Context, account uint64) (*directory.Account, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	a, err := scanAccount(db.byID.QueryRowContext(context.WithoutCancel(ctx), int64(account)))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("account %d: %w", account, directory.ErrNotFound)
	}
	if err != nil {
		return nil, temporary(err)
	}
	return &a, nil
}

// Domains implements directory.Admin.
func (db *DB) Domains(ctx context.Context) ([]directory.Domain, error) {
	s := &store{ctx: ctx, q: db.sqlx.Read}
	all, err := s.domains(` ORDER BY name`)
	return all, temporary(err)
}

// PutDomain implements directory.Admin.
func (db *DB) PutDomain(ctx context.Context, d directory.Domain, create bool) error {
	return db.change(ctx, func(s rules.Store) error { return rules.PutDomain(s, d, create, db.now()) })
}

// RemoveDomain implements directory.Admin.
func (db *DB) RemoveDomain(ctx context.Context, name string, all bool) error {
	return db.change(ctx, func(s rules.Store) error { return rules.RemoveDomain(s, name, all) })
}

// Accounts implements directory.Admin.
func (db *DB) Accounts(ctx context.Context, domain string) (all []directory.Account, err error) {
	err = db.view(ctx, func(s rules.Store) error {
		name, err := rules.ListDomain(s, domain)
		if err != nil {
			return err
		}
		all, err = s.Accounts(name)
		return err
	})
	return all, err
}

// PutAccount implements directory.Admin.
func (db *DB) PutAccount(ctx context.Context, a *directory.Account, create bool) error {
	var stored directory.Account
	err := db.change(ctx, func(s rules.Store) error {
		stored = *a // of this run: the transaction may be tried again
		return rules.PutAccount(s, &stored, create, db.now())
	})
	if err == nil {
		*a = stored
	}
	return err
}

// RemoveAccount implements directory.Admin.
func (db *DB) RemoveAccount(ctx context.Context, address mail.Address) error {
	return db.change(ctx, func(s rules.Store) error { return rules.RemoveAccount(s, address) })
}

// Aliases implements directory.Admin.
func (db *DB) Aliases(ctx context.Context, domain string) (all []directory.Alias, err error) {
	err = db.view(ctx, func(s rules.Store) error {
		name, err := rules.ListDomain(s, domain)
		if err != nil {
			return err
		}
		all, err = s.Aliases(name)
		return err
	})
	return all, err
}

// PutAlias implements directory.Admin.
func (db *DB) PutAlias(ctx context.Context, a directory.Alias, create bool) error {
	return db.change(ctx, func(s rules.Store) error { return rules.PutAlias(s, a, create) })
}

// RemoveAlias implements directory.Admin.
func (db *DB) RemoveAlias(ctx context.Context, address mail.Address) error {
	return db.change(ctx, func(s rules.Store) error { return rules.RemoveAlias(s, address) })
}

// Blocks implements directory.Admin; those that expired are not told.
func (db *DB) Blocks(ctx context.Context) ([]directory.Block, error) {
	s := &store{ctx: ctx, q: db.sqlx.Read}
	all, err := s.blocks(db.now())
	return all, temporary(err)
}

// PutBlock implements directory.Admin.
func (db *DB) PutBlock(ctx context.Context, b directory.Block) error {
	return db.change(ctx, func(s rules.Store) error { return rules.PutBlock(s, b, db.now()) })
}

// RemoveBlock implements directory.Admin.
func (db *DB) RemoveBlock(ctx context.Context, what string) error {
	return db.change(ctx, func(s rules.Store) error { return rules.RemoveBlock(s, what) })
}

// now is to the microsecond, as it is stored.
func (db *DB) now() time.Time { return db.clock.Now().UTC().Truncate(time.Microsecond) }
