package secrets

// The rows of secrets.db.

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"encoding/base64"
	"errors"
	"io/fs"
	"net/netip"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/sqlx"
)

//go:embed migrations/*.sql
var files embed.FS

type store struct {
	db             *sqlx.DB
	password, apps *sql.Stmt
}

func openStore(ctx context.Context, path string, noSync bool) (*store, error) {
	migrations, err := fs.Sub(files, "migrations")
	if err != nil {
		return nil, err
	}
	db, err := sqlx.Open(ctx, sqlx.Options{Path: path, Migrations: migrations, NoSync: noSync})
	if err != nil {
		return nil, err
	}
	st := &store{db: db}
	st.password, err = db.Read.PrepareContext(ctx, `SELECT hash, scram_iterations, scram_salt, scram_stored, scram_server, changed FROM passwords WHERE account = ?`)
	if err == nil {
		st.apps, err = db.Read.PrepareContext(ctx, `SELECT name, sum, protocols, created, used, used_client, used_protocol FROM app_passwords WHERE account = ? ORDER BY name`)
	}
	if err != nil {
		db.Close()
		return nil, err
	}
	return st, nil
}

// secret returns the random key of a name, made at its first use. It lasts as long as
// the file.
func (st *store) secret(ctx context.Context, name string) ([]byte, error) {
	var text string
	err := st.db.Tx(ctx, func(tx *sql.Tx) error {
		fresh := make([]byte, 32)
		rand.Read(fresh) // never fails: crypto/rand.Read
		if _, err := tx.ExecContext(ctx, `INSERT INTO keys (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING`,
			name, base64.StdEncoding.EncodeToString(fresh)); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, `SELECT value FROM keys WHERE name = ?`, name).Scan(&text)
	})
	if err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(text)
}

// credential is an account's own password.
type credential struct {
	hash    string // "" without one
	scram   *scramKeys
	changed time.Time
}

func (st *store) load(ctx context.Context, account uint64) (c credential, err error) {
	var k scramKeys
	var salt, stored, server string
	var changed int64
	err = st.password.QueryRowContext(context.WithoutCancel(ctx), int64(account)).Scan(&c.hash, &k.iterations, &salt, &stored, &server, &changed)
	if errors.Is(err, sql.ErrNoRows) {
		return credential{}, nil
	}
	if err != nil {
		return c, err
	}
	c.changed = sqlx.FromTime(changed)
	if k.iterations == 0 {
		return c, nil
	}
	for _, f := range []struct {
		to   *[]byte
		text string
	}{{&k.salt, salt}, {&k.stored, stored}, {&k.server, server}} {
		if *f.to, err = base64.StdEncoding.DecodeString(f.text); err != nil {
			return c, err
		}
	}
	c.scram = &k
	return c, nil
}

// save writes an account's own password; with was set, only where it is still that one.
func (st *store) save(ctx context.Context, account uint64, c credential, was string) error {
	k := c.scram
	if k == nil {
		k = new(scramKeys)
	}
	b64 := base64.StdEncoding.EncodeToString
	args := []any{c.hash, k.iterations, b64(k.salt), b64(k.stored), b64(k.server), sqlx.Time(c.changed), int64(account)}
	return st.db.Tx(ctx, func(tx *sql.Tx) error {
		if was != "" {
			_, err := tx.ExecContext(ctx, `UPDATE passwords SET hash = ?, scram_iterations = ?, scram_salt = ?, scram_stored = ?, scram_server = ?, changed = ?
				WHERE account = ? AND hash = ?`, append(args, was)...)
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO passwords (hash, scram_iterations, scram_salt, scram_stored, scram_server, changed, account) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (account) DO UPDATE SET hash = excluded.hash, scram_iterations = excluded.scram_iterations, scram_salt = excluded.scram_salt,
			scram_stored = excluded.scram_stored, scram_server = excluded.scram_server, changed = excluded.changed`, args...)
		return err
	})
}

// app is an app password with its sum.
type app struct {
	auth.AppPassword
	sum string
}

func (st *store) loadApps(ctx context.Context, account uint64) ([]app, error) {
	rows, err := st.apps.QueryContext(context.WithoutCancel(ctx), int64(account))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []app
	for rows.Next() {
		var a app
		var protocols string
		var created, used int64
		if err := rows.Scan(&a.Name, &a.sum, &protocols, &created, &used, &a.UsedClient, &a.UsedProtocol); err != nil {
			return nil, err
		}
		if protocols != "" {
			a.Protocols = strings.Fields(protocols)
		}
		a.Created, a.Used = sqlx.FromTime(created), sqlx.FromTime(used)
		all = append(all, a)
	}
	return all, rows.Err()
}

// addApp reports false where the name is taken.
func (st *store) addApp(ctx context.Context, account uint64, a app) (added bool, err error) {
	err = st.db.Tx(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `INSERT INTO app_passwords (account, name, sum, protocols, created, used, used_client, used_protocol)
			VALUES (?, ?, ?, ?, ?, 0, '', '') ON CONFLICT (account, name) DO NOTHING`,
			int64(account), a.Name, a.sum, strings.Join(a.Protocols, " "), sqlx.Time(a.Created))
		if err != nil {
			return err
		}
		n, err := r.RowsAffected()
		added = n > 0
		return err
	})
	return added, err
}

func (st *store) removeApp(ctx context.Context, account uint64, name string) (removed bool, err error) {
	err = st.db.Tx(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `DELETE FROM app_passwords WHERE account = ? AND name = ?`, int64(account), name)
		if err != nil {
			return err
		}
		n, err := r.RowsAffected()
		removed = n > 0
		return err
	})
	return removed, err
}

func (st *store) remove(ctx context.Context, account uint64) error {
	return st.db.Tx(ctx, func(tx *sql.Tx) error {
		for _, table := range []string{"passwords", "app_passwords", "known"} {
			if _, err := tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE account = ?`, int64(account)); err != nil {
				return err
			}
		}
		return nil
	})
}

// lazy is what is written together every few seconds.
type lazy struct {
	strikes map[string]*strike // by row; nil removes
	known   map[pair]time.Time
	used    map[appKey]use
}

type appKey struct {
	account uint64
	name    string
}

type use struct {
	at               time.Time
	client, protocol string
}

func (l *lazy) empty() bool { return len(l.strikes)+len(l.known)+len(l.used) == 0 }

func (st *store) writeLazy(ctx context.Context, l lazy) error {
	return st.db.Tx(ctx, func(tx *sql.Tx) error {
		for row, s := range l.strikes {
			query, args := `DELETE FROM strikes WHERE who = ?`, []any{row}
			if s != nil {
				query = `INSERT INTO strikes (who, n, last, until) VALUES (?, ?, ?, ?)
					ON CONFLICT (who) DO UPDATE SET n = excluded.n, last = excluded.last, until = excluded.until`
				args = append(args, s.n, sqlx.Time(s.last), sqlx.Time(s.until))
			}
			if _, err := tx.ExecContext(ctx, query, args...); err != nil {
				return err
			}
		}
		for p, last := range l.known {
			if _, err := tx.ExecContext(ctx, `INSERT INTO known (account, client, last) VALUES (?, ?, ?)
				ON CONFLICT (account, client) DO UPDATE SET last = excluded.last`, int64(p.account), p.client.String(), sqlx.Time(last)); err != nil {
				return err
			}
		}
		for k, u := range l.used {
			if _, err := tx.ExecContext(ctx, `UPDATE app_passwords SET used = ?, used_client = ?, used_protocol = ? WHERE account = ? AND name = ?`,
				sqlx.Time(u.at), u.client, u.protocol, int64(k.account), k.name); err != nil {
				return err
			}
		}
		return nil
	})
}

// loadGuard fills g with what counts still, and forgets the rest.
func (st *store) loadGuard(ctx context.Context, g *guard, now time.Time) error {
	if err := st.db.Tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM strikes WHERE last <= ? AND until <= ?`, sqlx.Time(now.Add(-g.forget)), sqlx.Time(now)); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM known WHERE last <= ?`, sqlx.Time(now.Add(-knownFor)))
		return err
	}); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	rows, err := st.db.Read.QueryContext(ctx, `SELECT who, n, last, until FROM strikes ORDER BY last DESC LIMIT ?`, maxStrikes)
	if err := each(rows, err, func() error {
		var who string
		var s strike
		var last, until int64
		if err := rows.Scan(&who, &s.n, &last, &until); err != nil {
			return err
		}
		s.last, s.until = sqlx.FromTime(last), sqlx.FromTime(until)
		if t, key := g.table(who); t != nil {
			t.by[key] = &s
		}
		return nil
	}); err != nil {
		return err
	}
	rows, err = st.db.Read.QueryContext(ctx, `SELECT account, client, last FROM known ORDER BY last DESC LIMIT ?`, maxKnown)
	return each(rows, err, func() error {
		var account, last int64
		var client string
		if err := rows.Scan(&account, &client, &last); err != nil {
			return err
		}
		if p, err := netip.ParsePrefix(client); err == nil {
			g.known[pair{uint64(account), p}] = sqlx.FromTime(last)
			g.clients[p]++
		}
		return nil
	})
}

func each(rows *sql.Rows, err error, f func() error) error {
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(); err != nil {
			return err
		}
	}
	return rows.Err()
}
