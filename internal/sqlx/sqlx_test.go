package sqlx_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/postilion/postilion/internal/sqlx"
)

func files(texts ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i, t := range texts {
		m[string([]byte{'0', '0', '0', byte('1' + i)})+"_x.sql"] = &fstest.MapFile{Data: []byte(t)}
	}
	return m
}

const one = `CREATE TABLE t (k TEXT PRIMARY KEY, n BIGINT NOT NULL); INSERT INTO t (k, n) VALUES ('a', 1);`

func open(t *testing.T, path string, m fstest.MapFS) *sqlx.DB {
	t.Helper()
	db, err := sqlx.Open(t.Context(), sqlx.Options{Path: path, Migrations: m})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func number(t *testing.T, db *sqlx.DB) (n int) {
	t.Helper()
	if err := db.Read.QueryRow(`SELECT n FROM t WHERE k = 'a'`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestOlderStoresAreUpgradedAndNewerRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "odd #?%41 name.db")
	open(t, path, files(one)).Close()
	db := open(t, path, files(one, `UPDATE t SET n = 2;`))
	if n := number(t, db); n != 2 {
		t.Errorf("after the upgrade n is %d, want 2", n)
	}
	db.Close()
	if n := number(t, open(t, path, files(one, `UPDATE t SET n = 2;`))); n != 2 {
		t.Errorf("a second start changed n to %d", n)
	}
	_, err := sqlx.Open(t.Context(), sqlx.Options{Path: path, Migrations: files(one)})
	if !errors.Is(err, sqlx.ErrNewer) {
		t.Errorf("a newer store is opened with %v", err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the store's mode is %v, %v; want 0600 under the name it was given", info, err)
	}
}

func TestAFailedMigrationLeavesTheStoreAsItWas(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	open(t, path, files(one)).Close()
	if _, err := sqlx.Open(t.Context(), sqlx.Options{Path: path, Migrations: files(one, `UPDATE t SET n = 3; NONSENSE;`)}); err == nil {
		t.Fatal("a broken migration succeeded")
	}
	if n := number(t, open(t, path, files(one))); n != 1 {
		t.Errorf("n is %d, want 1: half a migration was kept", n)
	}
	if _, err := sqlx.Open(t.Context(), sqlx.Options{Path: path, Migrations: fstest.MapFS{"0002_x.sql": {}}}); err == nil {
		t.Error("a gap in the numbers was taken")
	}
}

func TestAStoreIsDurableAndItsReadersCannotWrite(t *testing.T) {
	t.Parallel()
	db := open(t, filepath.Join(t.TempDir(), "x.db"), files(one))
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
		var got string
		if err := db.Tx(t.Context(), func(tx *sql.Tx) error { return tx.QueryRow(`PRAGMA ` + pragma).Scan(&got) }); err != nil || got != want {
			t.Errorf("%s is %q, %v; want %q", pragma, got, err, want)
		}
	}
	if _, err := db.Read.Exec(`UPDATE t SET n = 9`); err == nil {
		t.Error("a reader wrote")
	}
}

func TestATransactionHappensWhollyOrNotAtAll(t *testing.T) {
	t.Parallel()
	db := open(t, filepath.Join(t.TempDir(), "x.db"), files(one))
	stop := errors.New("stop")
	err := db.Tx(t.Context(), func(tx *sql.Tx) error {
		if _, err := tx.Exec(`UPDATE t SET n = 5`); err != nil {
			return err
		}
		return stop
	})
	if !errors.Is(err, stop) || number(t, db) != 1 {
		t.Errorf("got %v and n = %d; want the error and n = 1", err, number(t, db))
	}
}

func TestTransactionsOfManyProcessesAllHappen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	stores := []*sqlx.DB{open(t, path, files(one)), open(t, path, files(one))}
	var wg sync.WaitGroup
	for _, db := range stores {
		wg.Go(func() {
			for range 10 {
				if err := db.Tx(t.Context(), func(tx *sql.Tx) error {
					var n int
					if err := tx.QueryRow(`SELECT n FROM t`).Scan(&n); err != nil {
						return err
					}
					_, err := tx.Exec(`UPDATE t SET n = ?`, n+1)
					return err
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := number(t, stores[0]); n != 21 {
		t.Errorf("n is %d after 20 additions to 1", n)
	}
}

type serialization struct{}

func (serialization) Error() string    { return "serialization failure" }
func (serialization) SQLState() string { return "40001" }

func TestSerializationFailuresAreRetried(t *testing.T) {
	t.Parallel()
	db := open(t, filepath.Join(t.TempDir(), "x.db"), files(one))
	runs := 0
	if err := db.Tx(t.Context(), func(*sql.Tx) error {
		if runs++; runs < 3 {
			return serialization{}
		}
		return nil
	}); err != nil || runs != 3 {
		t.Errorf("%d runs, %v; want 3 and success", runs, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := db.Tx(ctx, func(*sql.Tx) error { cancel(); return serialization{} }); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled transaction says %v", err)
	}
}

func TestTimesAreKeptToTheMicrosecond(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)
	if got := sqlx.FromTime(sqlx.Time(at)); !got.Equal(at) || !sqlx.FromTime(sqlx.Time(time.Time{})).IsZero() {
		t.Errorf("%v came back as %v", at, got)
	}
}

func TestABackupIsAWholePrivateStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := open(t, filepath.Join(dir, "x.db"), files(one))
	to := filepath.Join(dir, "it's a copy.db")
	if err := db.Tx(t.Context(), func(tx *sql.Tx) error {
		if _, err := tx.Exec(`UPDATE t SET n = 7`); err != nil {
			return err
		}
		return db.Backup(t.Context(), to) // a writer under way is not waited for
	}); err != nil {
		t.Fatal(err)
	}
	if n := number(t, open(t, to, files(one))); n != 1 {
		t.Errorf("the copy holds %d, want what was committed when it began, 1", n)
	}
	if info, err := os.Stat(to); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy's mode is %v, %v", info, err)
	}
	if err := db.Backup(t.Context(), to); err == nil {
		t.Error("a file was overwritten")
	}
	if n := number(t, open(t, to, files(one))); n != 1 {
		t.Errorf("a refused backup left %d in the file of that name", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.Backup(ctx, to+"2"); err == nil {
		t.Error("a cancelled backup succeeded")
	}
	if _, err := os.Stat(to + "2"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a failed backup left a file: %v", err)
	}
}
