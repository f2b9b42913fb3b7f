package service

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/directory/memdir"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
)

func TestAMissingPostmasterIsToldOnceAndShown(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		accounts []string
		told     bool
	}{
		{[]string{"joe@example.test"}, true},
		{[]string{"postmaster@example.test"}, false},
	} {
		dir, err := memdir.New(c.accounts...)
		if err != nil {
			t.Fatal(err)
		}
		router, err := route.New(route.Options{Host: "mail.example.test", DefaultDomain: "example.test"}, dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		w := &postmaster{router: router, log: slog.New(slog.NewTextHandler(&log, nil))}
		w.look(context.Background())
		w.look(context.Background())
		want := 0
		if c.told {
			want = 1
		}
		if n := strings.Count(log.String(), "nobody takes postmaster's mail"); n != want {
			t.Errorf("%v: told %d times, want %d:\n%s", c.accounts, n, want, &log)
		}
		if _, shown := w.facts(map[string]any{})["postmaster"]; shown != c.told {
			t.Errorf("%v: shown in status: %v, want %v", c.accounts, shown, c.told)
		}
	}
}

// On a qmail host the user alias takes every name, but has a file for postmaster or not.
func TestAnAliasWithoutAFileForPostmasterIsTold(t *testing.T) {
	t.Parallel()
	passwd := filepath.Join(t.TempDir(), "passwd")
	if err := os.WriteFile(passwd, []byte("alias:x:7790:2108::/var/qmail/alias:/bin/false\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	router, err := route.New(route.Options{Host: "mail.example.test", SystemUsers: true, Passwd: passwd}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		err  error
		told bool
	}{{nil, false}, {reason.HomeSticky, false}, {reason.NoDotQmail, true}} {
		w := &postmaster{router: router, log: slog.New(slog.DiscardHandler), exists: func(_ context.Context, u route.User) error {
			if u.Ext != "postmaster" {
				t.Errorf("asked for %+v", u)
			}
			return c.err
		}}
		w.look(context.Background())
		if _, shown := w.facts(map[string]any{})["postmaster"]; shown != c.told {
			t.Errorf("%v: shown %v, want %v", c.err, shown, c.told)
		}
	}
}
