package directory_test

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/directory/memdir"
	"github.com/postilion/postilion/internal/mail"
)

// counting counts the questions that reach the directory.
type counting struct {
	directory.Reader
	asked int
}

func (c *counting) Find(ctx context.Context, domain string, locals []string) (directory.Found, error) {
	c.asked++
	return c.Reader.Find(ctx, domain, locals)
}

func (c *counting) Account(ctx context.Context, id uint64) (*directory.Account, error) {
	c.asked++
	return c.Reader.Account(ctx, id)
}

func fixture(t *testing.T) (*memdir.DB, *counting) {
	t.Helper()
	db, err := memdir.New("joe@a.test", "info@a.test=joe@a.test")
	if err != nil {
		t.Fatal(err)
	}
	return db, &counting{Reader: db}
}

func TestCachedAnswersLastTheirTimeAndNoLonger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db, under := fixture(t)
		c := directory.Cached(under, directory.CacheOptions{TTL: time.Second})
		ask := func(want int) {
			t.Helper()
			if f, err := c.Find(t.Context(), "a.test", []string{"joe"}); err != nil || f.Account == nil {
				t.Errorf("got %+v, %v", f, err)
			}
			if _, err := c.Find(t.Context(), "b.test", []string{"joe"}); !errors.Is(err, directory.ErrNotFound) {
				t.Errorf("an unknown domain gives %v", err)
			}
			if _, err := c.Account(t.Context(), 1); err != nil {
				t.Error(err)
			}
			if under.asked != want {
				t.Errorf("%d questions reached the directory, want %d", under.asked, want)
			}
		}
		ask(3)
		ask(3)
		time.Sleep(time.Second)
		ask(6)
		db.Fail(errors.New("down"))
		ask(6)
	})
}

func TestACachedAnswerEndsWithItsGeneration(t *testing.T) {
	t.Parallel()
	db, under := fixture(t)
	c := directory.Cached(under, directory.CacheOptions{TTL: time.Hour, Generation: db.Generation})
	if f, err := c.Find(t.Context(), "a.test", []string{"ann"}); err != nil || f.Account != nil {
		t.Errorf("got %+v, %v", f, err)
	}
	if err := db.PutAccount(t.Context(), &directory.Account{Address: mail.ParseAddress("ann@a.test")}, true); err != nil {
		t.Fatal(err)
	}
	if f, err := c.Find(t.Context(), "a.test", []string{"ann"}); err != nil || f.Account == nil {
		t.Errorf("a new account is not found: %+v, %v", f, err)
	}
}

func TestFailuresAreNotRemembered(t *testing.T) {
	t.Parallel()
	db, under := fixture(t)
	c := directory.Cached(under, directory.CacheOptions{})
	db.Fail(errors.New("down"))
	if _, err := c.Find(t.Context(), "a.test", []string{"joe"}); err == nil {
		t.Error("no error")
	}
	db.Fail(nil)
	if f, err := c.Find(t.Context(), "a.test", []string{"joe"}); err != nil || f.Account == nil {
		t.Errorf("after it healed: %+v, %v", f, err)
	}
}

func TestCachedAnswersAreTheirReadersOwn(t *testing.T) {
	t.Parallel()
	_, under := fixture(t)
	c := directory.Cached(under, directory.CacheOptions{})
	for range 2 {
		f, err := c.Find(t.Context(), "a.test", []string{"info"})
		if err != nil || f.Alias.Targets[0].Local != "joe" {
			t.Fatalf("got %+v, %v", f.Alias, err)
		}
		f.Alias.Targets[0].Local = "changed"
		a, err := c.Account(t.Context(), 1)
		if err != nil || a.Name != "" {
			t.Fatalf("got %+v, %v", a, err)
		}
		a.Name = "changed"
	}
}

func TestQuestionsThatLookAlikeAreToldApart(t *testing.T) {
	t.Parallel()
	_, under := fixture(t)
	c := directory.Cached(under, directory.CacheOptions{})
	for _, q := range [][]string{nil, {""}, {"x\x00joe"}, {"x", "joe"}, {"x\x00", "joe"}, {"", ""}} {
		want, err1 := under.Find(t.Context(), "a.test", q)
		got, err2 := c.Find(t.Context(), "a.test", q)
		if err1 != nil || err2 != nil || (got.Account == nil) != (want.Account == nil) {
			t.Errorf("%q: got %v, %v; want %v, %v", q, got.Account, err2, want.Account, err1)
		}
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	t.Parallel()
	_, under := fixture(t)
	c := directory.Cached(under, directory.CacheOptions{Max: 10})
	ask := func(local string) {
		if _, err := c.Find(t.Context(), "a.test", []string{local}); err != nil {
			t.Error(err)
		}
	}
	for i := range 100 {
		ask(fmt.Sprint("u", i))
		ask("joe") // often used: stays
	}
	if under.asked != 101 {
		t.Errorf("%d questions, want 101", under.asked)
	}
	ask("u0")
	if under.asked != 102 {
		t.Error("more than the bound is remembered")
	}
}

func TestMailboxPathsAreSafeAndUnique(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.String().Draw(t, "a"), rapid.String().Draw(t, "b")
		p, q := directory.MailboxPath("a.test", a), directory.MailboxPath("a.test", b)
		if (a == b) != (p == q) {
			t.Errorf("%q and %q have %q and %q", a, b, p, q)
		}
		parts := strings.Split(p, "/")
		if len(parts) != 3 || parts[0] != "a.test" || parts[2] != "Maildir" || strings.HasPrefix(parts[1], ".") || a != "" && path.Clean(p) != p {
			t.Errorf("%q has %q", a, p)
		}
	})
}

func FuzzDomainKey(f *testing.F) {
	for _, s := range []string{"example.test", "BÜCHER.example", "xn--bcher-kva.example", "한국.example", "a..b", "192.0.2.1", "xn--a", "ß.test", "a\u200db.test", "-a", "a-", "ab--c.test", "．test"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		key, err := directory.DomainKey(s)
		if err != nil {
			return
		}
		if again, err := directory.DomainKey(key); err != nil || again != key {
			t.Errorf("the key %q of %q has the key %q, %v", key, s, again, err)
		}
		if len(key) > directory.MaxDomain || strings.ToLower(key) != key || strings.ContainsAny(key, "/\\\x00 @") || strings.Contains(key, "..") {
			t.Errorf("%q has the key %q", s, key)
		}
	})
}

func FuzzBlockKey(f *testing.F) {
	for _, s := range []string{"192.0.2.1", "::ffff:192.0.2.1", "192.0.2.7/24", "::ffff:192.0.2.0/120", "2001:db8::/32", "fe80::1%eth0", "joe@a.test", "JOE@A.test", "@", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		key, err := directory.BlockKey(s)
		if err != nil {
			return
		}
		if again, err := directory.BlockKey(key); err != nil || again != key {
			t.Errorf("the key %q of %q has the key %q, %v", key, s, again, err)
		}
	})
}
