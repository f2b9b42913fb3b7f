// Package memdir is a directory in memory with every rule of the stored ones, for
// tests of whoever asks one.
package memdir

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/directory/internal/rules"
	"github.com/postilion/postilion/internal/mail"
)

// DB is a directory in memory; it implements directory.Admin. The zero DB is empty
// and runs on the system clock.
type DB struct {
	Clock clock.Clock // set before use

	mu         sync.Mutex
	err        error // what every call fails with, see Fail
	rows       rows
	generation uint64
}

var _ directory.Admin = (*DB)(nil)

type place struct{ domain, key string }

// rows is the state. A change works on a copy that replaces it with success.
type rows struct {
	domains  map[string]directory.Domain
	accounts map[uint64]directory.Account
	byKey    map[place]uint64
	aliases  map[place]directory.Alias
	blocks   map[string]directory.Block
	admins   []directory.Administrator // without addresses
	lastID   uint64
}

// New returns a directory with accounts, their domains made as needed. An account is
// written "joe@example.test", an alias "info@example.test=joe@example.test,ann@example.test". It is
// for set-up in tests: what cannot be stored is returned as the error.
func New(addresses ...string) (*DB, error) {
	db := new(DB)
	for _, s := range addresses {
		address, targets, isAlias := strings.Cut(s, "=")
		a := mail.ParseAddress(address)
		d := directory.NewDomain(a.Domain)
		if err := db.PutDomain(context.Background(), d, true); err != nil && !errors.Is(err, directory.ErrExists) {
			return nil, err
		}
		var err error
		if isAlias {
			l := directory.Alias{Address: a}
			for t := range strings.SplitSeq(targets, ",") {
				l.Targets = append(l.Targets, mail.ParseAddress(t))
			}
			err = db.PutAlias(context.Background(), l, true)
		} else {
			err = db.PutAccount(context.Background(), &directory.Account{Address: a}, true)
		}
		if err != nil {
			return nil, err
		}
	}
	return db, nil
}

// Fail makes every call fail with err from now on, as a broken store does; nil mends it.
func (db *DB) Fail(err error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.err = err
}

// Generation counts the changes.
func (db *DB) Generation() uint64 {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.generation
}

func (db *DB) now() time.Time {
	if db.Clock == nil {
		return time.Now()
	}
	return db.Clock.Now()
}

// view runs a reader under the lock.
func (db *DB) view(ctx context.Context, f func(r *rows) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.err != nil {
		return db.err
	}
	return f(&db.rows)
}

// change runs a change that happens wholly or not at all.
func (db *DB) change(ctx context.Context, f func(r *rows) error) error {
	return db.view(ctx, func(old *rows) error {
		r := old.clone()
		if err := f(&r); err != nil {
			return err
		}
		db.rows = r
		db.generation++
		return nil
	})
}

func (r *rows) clone() rows {
	c := rows{maps.Clone(r.domains), maps.Clone(r.accounts), maps.Clone(r.byKey), maps.Clone(r.aliases), maps.Clone(r.blocks), slices.Clone(r.admins), r.lastID}
	if c.domains == nil {
		c = rows{map[string]directory.Domain{}, map[uint64]directory.Account{}, map[place]uint64{}, map[place]directory.Alias{}, map[string]directory.Block{}, nil, 0}
	}
	return c
}

// Find implements directory.Reader.
func (db *DB) Find(ctx context.Context, domain string, locals []string) (f directory.Found, err error) {
	err = db.view(ctx, func(r *rows) error {
		f, err = rules.Find(lookup{r}, domain, locals)
		return err
	})
	return f, err
}

// Account implements directory.Reader.
func (db *DB) Account(ctx context.Context, account uint64) (found *directory.Account, err error) {
	err = db.view(ctx, func(r *rows) error {
		a, ok := r.accounts[account]
		if !ok {
			return fmt.Errorf("account %d: %w", account, directory.ErrNotFound)
		}
		found = &a
		return nil
	})
	return found, err
}

// Domains implements directory.Admin.
func (db *DB) Domains(ctx context.Context) (all []directory.Domain, err error) {
	err = db.view(ctx, func(r *rows) error {
		all = slices.SortedFunc(maps.Values(r.domains), func(a, b directory.Domain) int { return strings.Compare(a.Name, b.Name) })
		return nil
	})
	return all, err
}

// PutDomain implements directory.Admin.
func (db *DB) PutDomain(ctx context.Context, d directory.Domain, create bool) error {
	return db.change(ctx, func(r *rows) error { return rules.PutDomain(r, d, create, db.now()) })
}

// RemoveDomain implements directory.Admin.
func (db *DB) RemoveDomain(ctx context.Context, name string, all bool) error {
	return db.change(ctx, func(r *rows) error { return rules.RemoveDomain(r, name, all) })
}

// Accounts implements directory.Admin.
func (db *DB) Accounts(ctx context.Context, domain string) (all []directory.Account, err error) {
	err = db.view(ctx, func(r *rows) error {
		name, err := rules.ListDomain(r, domain)
		if err != nil {
			return err
		}
		all, err = r.Accounts(name)
		return err
	})
	return all, err
}

// PutAccount implements directory.Admin.
func (db *DB) PutAccount(ctx context.Context, a *directory.Account, create bool) error {
	return db.change(ctx, func(r *rows) error { return rules.PutAccount(r, a, create, db.now()) })
}

// RemoveAccount implements directory.Admin.
func (db *DB) RemoveAccount(ctx context.Context, address mail.Address) error {
	return db.change(ctx, func(r *rows) error { return rules.RemoveAccount(r, address) })
}

// Aliases implements directory.Admin.
func (db *DB) Aliases(ctx context.Context, domain string) (all []directory.Alias, err error) {
	err = db.view(ctx, func(r *rows) error {
		name, err := rules.ListDomain(r, domain)
		if err != nil {
			return err
		}
		all, err = r.Aliases(name)
		return err
	})
	return all, err
}

// PutAlias implements directory.Admin.
func (db *DB) PutAlias(ctx context.Context, a directory.Alias, create bool) error {
	return db.change(ctx, func(r *rows) error { return rules.PutAlias(r, a, create) })
}

// RemoveAlias implements directory.Admin.
func (db *DB) RemoveAlias(ctx context.Context, address mail.Address) error {
	return db.change(ctx, func(r *rows) error { return rules.RemoveAlias(r, address) })
}

// Blocks implements directory.Admin; those that expired are not told.
func (db *DB) Blocks(ctx context.Context) (all []directory.Block, err error) {
	err = db.view(ctx, func(r *rows) error {
		now := db.now()
		for _, b := range r.blocks {
			if b.Expires.IsZero() || b.Expires.After(now) {
				all = append(all, b)
			}
		}
		slices.SortFunc(all, func(a, b directory.Block) int { return strings.Compare(a.What, b.What) })
		return nil
	})
	return all, err
}

// PutBlock implements directory.Admin.
func (db *DB) PutBlock(ctx context.Context, b directory.Block) error {
	return db.change(ctx, func(r *rows) error { return rules.PutBlock(r, b, db.now()) })
}

// RemoveBlock implements directory.Admin.
func (db *DB) RemoveBlock(ctx context.Context, what string) error {
	return db.change(ctx, func(r *rows) error { return rules.RemoveBlock(r, what) })
}
