package sqlite_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/directory/directorytest"
	"github.com/postilion/postilion/internal/directory/sqlite"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/sqlx"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, path string, c clock.Clock) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Options{Path: path, Clock: c, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func TestContract(t *testing.T) {
	t.Parallel()
	directorytest.Run(t, func(t *testing.T, c clock.Clock) directorytest.Store {
		return open(t, filepath.Join(t.TempDir(), "directory.db"), c)
	})
}

func TestEverythingIsThereAfterARestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "directory.db")
	c := clock.NewFake(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	db := open(t, path, c)
	if err := db.PutDomain(t.Context(), directory.NewDomain("a.test"), true); err != nil {
		t.Fatal(err)
	}
	a := directory.Account{Address: mail.ParseAddress("joe@a.test"), QuotaBytes: 5}
	if err := db.PutAccount(t.Context(), &a, true); err != nil {
		t.Fatal(err)
	}
	generation := db.Generation()
	copied := filepath.Join(t.TempDir(), "copy.db")
	if err := db.Backup(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	if got, err := open(t, copied, c).Account(t.Context(), a.ID); err != nil || *got != a {
		t.Errorf("the backup has %+v, %v; want %+v", got, err, a)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, path, c)
	got, err := db.Account(t.Context(), a.ID)
	if err != nil || *got != a {
		t.Errorf("got %+v, %v; want %+v", got, err, a)
	}
	if db.Generation() != generation {
		t.Errorf("generation %d after the restart, want %d", db.Generation(), generation)
	}
}

func BenchmarkFind(b *testing.B) {
	db := open(b, filepath.Join(b.TempDir(), "directory.db"), nil)
	if err := db.PutDomain(b.Context(), directory.NewDomain("a.test"), true); err != nil {
		b.Fatal(err)
	}
	for i := range 1000 {
		if err := db.PutAccount(b.Context(), &directory.Account{Address: mail.Address{Local: fmt.Sprint("user", i), Domain: "a.test"}}, true); err != nil {
			b.Fatal(err)
		}
	}
	cached := directory.Cached(db, directory.CacheOptions{Generation: db.Generation})
	for name, r := range map[string]directory.Reader{"sqlite": db, "cached": cached} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				f, err := r.Find(b.Context(), "a.test", []string{fmt.Sprint("user", i%1000)})
				if err != nil || f.Account == nil {
					b.Fatal(f, err)
				}
			}
		})
	}
}

func TestARemovedAccountIsRememberedUntilAllOfItIsGone(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0).UTC()
	path := filepath.Join(t.TempDir(), "directory.db")
	db := open(t, path, clock.NewFake(now))
	ctx := t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	add := func(address string) *directory.Account {
		t.Helper()
		a := &directory.Account{Address: mail.ParseAddress(address)}
		check(db.PutAccount(ctx, a, true))
		return a
	}
	removed := func(want ...directory.Removed) {
		t.Helper()
		got, err := db.Removed(ctx)
		check(err)
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
	check(db.PutDomain(ctx, directory.NewDomain("a.test"), true))
	joe, ann := add("joe@a.test"), add("ann@a.test")
	sensitive := directory.NewDomain("a.test")
	sensitive.CaseSensitive = true
	check(db.PutDomain(ctx, sensitive, false)) // writes every account anew
	removed()
	check(db.RemoveAccount(ctx, joe.Address))
	next := add("joe@a.test")
	if next.Mailbox == joe.Mailbox {
		t.Errorf("the next account has the mail in %s", joe.Mailbox)
	}
	if err := db.PutAccount(ctx, &directory.Account{Address: mail.ParseAddress("eve@a.test"), Mailbox: joe.Mailbox}, true); err == nil {
		t.Error("a further one has it by name")
	}
	check(db.RemoveDomain(ctx, "a.test", true))
	first := directory.Removed{Account: joe.ID, Mailbox: joe.Mailbox, At: now}
	removed(first, directory.Removed{Account: ann.ID, Mailbox: ann.Mailbox, At: now}, directory.Removed{Account: next.ID, Mailbox: next.Mailbox, At: now})
	generation := db.Generation()
	check(db.ForgetRemoved(ctx, []uint64{ann.ID, next.ID}))
	removed(first)
	check(db.ForgetRemoved(ctx, []uint64{joe.ID, 99}))
	removed()
	if db.Generation() != generation {
		t.Error("what is remembered of removed accounts is no change of the directory")
	}
	check(db.PutDomain(ctx, directory.NewDomain("a.test"), true))
	if again := add("joe@a.test"); again.Mailbox != joe.Mailbox {
		t.Errorf("the mailbox is %s", again.Mailbox)
	}
}

// A folder of the first format is brought up to date with all that is in it.
func TestTheFirstFormatIsReadOn(t *testing.T) {
	t.Parallel()
	first, err := os.ReadFile("migrations/0001_initial.sql")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "directory.db")
	old, err := sqlx.Open(t.Context(), sqlx.Options{Path: path, NoSync: true, Migrations: fstest.MapFS{"0001_initial.sql": {Data: first}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := old.Tx(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO domains VALUES ('a.test', '', 'joe@a.test', 'a.test', '+', 0, 0, 9, 0, 1000000);
			INSERT INTO accounts VALUES (1, 'a.test', 'joe', 'Joe', 'J', 0, 0, 5, 6, 7, 8, 'a.test/joe/Maildir', 0, 2000000);
			UPDATE counters SET value = 1 WHERE name = 'account'`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	db := open(t, path, nil)
	f, err := db.Find(t.Context(), "a.test", []string{"x"})
	if err != nil || f.Account == nil || f.Account.QuotaBytes != 5 || f.Domain.MaxSize != 9 || f.Domain.MaxAccounts != 0 {
		t.Errorf("got %+v, %v", f, err)
	}
	if err := db.PutAdministrator(t.Context(), directory.Administrator{Address: mail.ParseAddress("joe@a.test"), Domain: "a.test"}); err != nil {
		t.Error(err)
	}
	if list, err := db.Administered(t.Context(), 1); err != nil || len(list.Domains) != 1 {
		t.Errorf("got %+v, %v", list, err)
	}
}
