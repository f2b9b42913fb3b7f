// Package sqlx opens an embedded SQL store the one way this program uses it: SQLite
// with a write-ahead log, every commit synced, one writer and several readers,
// its tables brought up to date by numbered files. It knows no domain types.
//
// Statements written for it keep to what PostgreSQL shares: "?" aside, no
// SQLite-only functions, no reliance on its loose types.
package sqlx

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"modernc.org/sqlite"

	osfs "github.com/postilion/postilion/internal/fs/os"
)

// Options say which store to open.
type Options struct {
	// Path is the database file; it and its folder's name for it are made if missing, the
	// file readable by its owner alone. "-wal" and "-shm" files appear beside it.
	Path string
	// Migrations holds files NNNN_name.sql from 0001 without gaps. The highest number is the
	// version this program knows.
	Migrations fs.FS
	// Readers is the number of connections for reading; 0 means one for each CPU, at least 2.
	Readers int
	// BusyTimeout is how long a lock held by another process is waited for; 0 means 5 s.
	BusyTimeout time.Duration
	// NoSync leaves out all syncs. Only for tests, and for stores that may be lost.
	NoSync bool
}

// DB is an open store. Reads go through Read, changes through Tx alone.
type DB struct {
	Read *sql.DB // cannot write

	write   *sql.DB // one connection
	copying string  // the name that a connection for Backup opens
}

// Open opens the store and brings its tables up to date. The error wraps ErrNewer
// where a later version of the program has written it.
func Open(ctx context.Context, o Options) (*DB, error) {
	o.BusyTimeout = cmp.Or(o.BusyTimeout, 5*time.Second)
	if o.Readers == 0 {
		o.Readers = max(2, runtime.GOMAXPROCS(0))
	}
	path, err := filepath.Abs(o.Path)
	if err != nil {
		return nil, err
	}
	if err := create(path); err != nil {
		return nil, err
	}
	db := &DB{copying: dsn(path, o, false)}
	fail := func(err error) (*DB, error) {
		db.Close()
		return nil, fmt.Errorf("database %s: %w", o.Path, err)
	}
	if db.write, err = sql.Open("sqlite", db.copying); err != nil {
		return fail(err)
	}
	db.write.SetMaxOpenConns(1)
	if err := db.migrate(ctx, o.Migrations); err != nil {
		return fail(err)
	}
	if db.Read, err = sql.Open("sqlite", dsn(path, o, true)); err != nil {
		return fail(err)
	}
	db.Read.SetMaxOpenConns(o.Readers)
	db.Read.SetMaxIdleConns(o.Readers)
	if err := db.Read.PingContext(ctx); err != nil {
		return fail(err)
	}
	return db, nil
}

// create makes the file, so that it is private from its first byte, and its name durable.
func create(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return osfs.Sync(filepath.Dir(path))
}

// dsn writes what modernc.org/sqlite reads. WAL with synchronous=FULL syncs the log at each
// commit (sqlite.org/pragma.html#pragma_synchronous); "immediate" takes the write lock
// at BEGIN, so that no transaction fails half way for it.
func dsn(path string, o Options, readOnly bool) string {
	q := url.Values{"_pragma": {
		"busy_timeout(" + strconv.FormatInt(o.BusyTimeout.Milliseconds(), 10) + ")",
		"journal_mode(WAL)",
		"synchronous(FULL)",
		"foreign_keys(1)",
		"trusted_schema(0)",
	}}
	if o.NoSync {
		q.Add("_pragma", "synchronous(OFF)")
	}
	if readOnly {
		q.Add("_pragma", "query_only(1)")
	} else {
		q.Set("_txlock", "immediate")
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}

// Close closes the store. Transactions under way end first. The error is SQLite's.
func (db *DB) Close() error {
	var errs []error
	for _, d := range []*sql.DB{db.Read, db.write} {
		if d != nil {
			errs = append(errs, d.Close())
		}
	}
	return errors.Join(errs...)
}

// Tx runs f in a transaction that is committed, and synced, if f returns nil. f may
// run again where the store asks for it, so it must keep nothing of a failed run.
func (db *DB) Tx(ctx context.Context, f func(tx *sql.Tx) error) error {
	const tries = 8
	wait := 2 * time.Millisecond
	for try := 1; ; try++ {
		err := once(ctx, db.write, f)
		if err == nil || try == tries || !Retryable(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(wait):
			wait *= 2
		}
	}
}

func once(ctx context.Context, db *sql.DB, f func(tx *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // without effect after Commit
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// Retryable reports whether a transaction failed only because others were in its way:
// SQLITE_BUSY and SQLITE_LOCKED, or a serialization failure (SQLSTATE 40001).
func Retryable(err error) bool {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		const busy, locked = 5, 6 // sqlite.org/rescode.html; the low byte of extended codes
		return e.Code()&0xff == busy || e.Code()&0xff == locked
	}
	var state interface{ SQLState() string }
	return errors.As(err, &state) && state.SQLState() == "40001"
}

// Time and its inverse FromTime keep times as microseconds since the Unix epoch in
// UTC, an integer in every store; the zero time is 0.
func Time(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// FromTime is the inverse of Time.
func FromTime(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}
