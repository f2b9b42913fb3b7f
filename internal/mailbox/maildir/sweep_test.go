package maildir_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/mailbox/maildir"
)

// litter leaves a file in a mailbox's tmp/ that was written to last at some time.
func (w *world) litter(t *testing.T, name string, at time.Time) {
	t.Helper()
	if err := errors.Join(os.WriteFile(w.root+"/m/tmp/"+name, nil, 0o600), w.fs.Chtimes("m/tmp/"+name, at, at)); err != nil {
		t.Fatal(err)
	}
}

func TestTheCleanerTakesOnlyWhatIsOld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, maildir.Options{})
		if err := w.Create("m", ""); err != nil {
			t.Fatal(err)
		}
		w.litter(t, "old", time.Now().Add(-37*time.Hour))
		w.litter(t, "young", time.Now().Add(-35*time.Hour))
		time.Sleep(10 * time.Minute)
		if err := errors.Join(w.Clean("m"), w.Clean("missing")); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]string{"m/tmp/young": ""}, w.files(t)); diff != "" {
			t.Error(diff)
		}
	})
}

// A file that somebody writes is not abandoned because a clock says that it is old: the program's, which may be moved, or
// the system's, which is set ahead.
func TestNoJumpOfAClockRemovesAFileAtWork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, maildir.Options{})
		system := clock.NewFake(noon)
		start := func() *maildir.Store {
			return maildir.New(maildir.Options{}, maildir.Deps{FS: w.fs, Barrier: &fs.Barrier{FS: w.fs}, Clock: w.clock, Files: clock.NewSteady(system)})
		}
		pass := func(d time.Duration) { time.Sleep(d); system.Advance(d) }
		there := func(want bool, when string, s *maildir.Store) {
			t.Helper()
			if err := s.Clean("m"); err != nil {
				t.Error(err)
			}
			if _, err := w.fs.Lstat("m/tmp/written"); (err == nil) != want {
				t.Errorf("%s: the file is there: %v", when, err == nil)
			}
		}
		s := start()
		if err := s.Create("m", ""); err != nil {
			t.Fatal(err)
		}
		pass(time.Hour)
		w.litter(t, "written", system.Now())
		w.clock.Advance(1000 * time.Hour)
		there(true, "the program's clock is moved", s)
		system.Advance(1000 * time.Hour)
		there(true, "the system's clock is set ahead", s)
		again := start()
		there(true, "a start after that", again)
		pass(9 * time.Minute)
		there(true, "soon after the start", again)
		pass(28 * time.Hour)
		there(true, "before its time", s)
		pass(8 * time.Hour)
		there(false, "36 hours later", s)
	})
}

func TestASweepCleansEveryMailboxAndNothingElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, maildir.Options{})
		time.Sleep(10 * time.Minute) // since the start
		old := time.Now().Add(-37 * time.Hour)
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
				at = time.Now()
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
