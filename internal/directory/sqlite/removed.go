package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/sqlx"
)

var _ directory.Removals = (*DB)(nil)

// Removed implements directory.Removals.
func (db *DB) Removed(ctx context.Context) ([]directory.Removed, error) {
	rows, err := db.sqlx.Read.QueryContext(ctx, `SELECT account, mailbox, at FROM removed ORDER BY at, account LIMIT ?`, directory.MaxRemoved)
	all, err := many(rows, err, func(row scanner) (r directory.Removed, err error) {
		var id, at int64
		err = row.Scan(&id, &r.Mailbox, &at)
		r.Account, r.At = uint64(id), sqlx.FromTime(at)
		return r, err
	})
	return all, temporary(err)
}

// ForgetRemoved implements directory.Removals. The directory's answers stay what they were.
func (db *DB) ForgetRemoved(ctx context.Context, accounts []uint64) error {
	return temporary(db.sqlx.Tx(ctx, func(tx *sql.Tx) error {
		for _, id := range accounts {
			if _, err := tx.ExecContext(ctx, `DELETE FROM removed WHERE account = ?`, int64(id)); err != nil {
				return err
			}
		}
		return nil
	}))
}

func (s *store) RememberRemoved(id uint64) error {
	return s.exec(`INSERT INTO removed (account, mailbox, at) SELECT id, mailbox, ? FROM accounts WHERE id = ?`, sqlx.Time(s.now), int64(id))
}

func (s *store) DeleteAccount(id uint64) error {
	return s.exec(`DELETE FROM accounts WHERE id = ?`, int64(id))
}

// MailboxOwner finds removed accounts, too: their mail is not the next one's.
func (s *store) MailboxOwner(path string) (uint64, error) {
	var id int64
	err := s.q.QueryRowContext(s.ctx, `SELECT id FROM accounts WHERE mailbox = ? UNION ALL SELECT account FROM removed WHERE mailbox = ? LIMIT 1`, path, path).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return uint64(id), err
}
