package sqlx

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"

	osfs "github.com/postilion/postilion/internal/fs/os"
)

// Backup writes a copy of the store, as it is at one moment, to a file that must not
// exist, and returns when the copy is durable. Readers and writers go on meanwhile.
func (db *DB) Backup(ctx context.Context, path string) (err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return err
	}
	// Made first, so that it is private; VACUUM INTO takes an empty file (sqlite.org/lang_vacuum.html).
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			os.Remove(path)
		}
	}()
	// A connection of its own: those for reading may not write any file, and the writer
	// must not wait.
	c, err := sql.Open("sqlite", db.copying)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.ExecContext(ctx, `VACUUM INTO ?`, path); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return osfs.Sync(filepath.Dir(path))
}
