package maildir_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postilion/postilion/internal/mailbox/maildir"
)

func TestASweepCleansEveryMailboxAndNothingElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, maildir.Options{})
		old := w.clock.Now().Add(-37 * time.Hour)
		put := func(path string, at time.Time) {
			t.Helper()
			f, err := w.fs.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
			if err == nil {
				err = errors.Join(f.Close(), w.fs.Chtimes(path, at, at))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		there := func(path string) bool { _, err := w.fs.Lstat(path); return err == nil }
		boxes := []string{"example.test/joe", "example.test/ann/Maildir", "other.test/a/b/c", "top"}
		var stale, kept []string
		for _, m := range boxes {
			if err := errors.Join(w.Create(m, ""), w.Create(m, "Sent")); err != nil {
				t.Fatal(err)
			}
			stale = append(stale, m+"/tmp/old", m+"/.Sent/tmp/old")
			kept = append(kept, m+"/tmp/young", m+"/new/old", m+"/cur/old")
		}
		if err := w.fs.MkdirAll("notes/tmp", 0o700); err != nil {
			t.Fatal(err)
		}
		kept = append(kept, "notes/tmp/old")
		for _, path := range append(stale, kept...) {
			at := old
			if path[len(path)-5:] == "young" {
				at = w.clock.Now()
			}
			put(path, at)
		}
		began := time.Now()
		n, err := w.Sweep(context.Background(), time.Second)
		if n != 2*len(boxes) || err != nil || time.Since(began) != time.Duration(n)*time.Second {
			t.Errorf("%d cleaned in %s, %v", n, time.Since(began), err)
		}
		for _, path := range stale {
			if there(path) {
				t.Errorf("%s is still there", path)
			}
		}
		for _, path := range kept {
			if !there(path) {
				t.Errorf("%s is gone", path)
			}
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if n, err := w.Sweep(ctx, time.Second); n != 0 || !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled sweep: %d, %v", n, err)
		}
	})
}
