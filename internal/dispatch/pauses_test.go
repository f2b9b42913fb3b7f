package dispatch

import (
	"context"
	"errors"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/bounce"
	"github.com/postilion/postilion/internal/fs"
	crashfs "github.com/postilion/postilion/internal/fs/crash"
)

// paused returns what a Dispatcher that starts on a folder has paused.
func paused(t testing.TB, dir fs.FS) (*Dispatcher, pauses) {
	t.Helper()
	d, err := New(Options{}, Deps{
		Store: newStore(), Router: routes{}, Mailbox: target(delivered), Remote: target(delivered),
		Bouncer: &bounce.Builder{Name: "mx.here.test"}, Folder: dir,
	})
	if err != nil {
		t.Fatal(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d, d.pauses()
}

func TestPausesHoldOverRestarts(t *testing.T) {
	t.Parallel()
	dir := crashfs.New(1)
	d, _ := paused(t, dir)
	for _, s := range []Scope{{}, {Domain: "Far.test."}, {Domain: "near.test"}, {Group: "bulk"}, {Group: "default"}} {
		if err := d.Pause(s); err != nil {
			t.Fatal(err)
		}
	}
	d, got := paused(t, dir)
	if diff := cmp.Diff(pauses{1, true, []string{"far.test", "near.test"}, []string{"", "bulk"}}, got); diff != "" {
		t.Error(diff)
	}
	if s := d.Stats(0); !s.Paused || !slices.Equal(s.PausedDomains, []string{"far.test", "near.test"}) || !s.Groups[0].Paused {
		t.Errorf("%+v", s)
	}
	for _, s := range []Scope{{}, {Domain: "far.test"}, {Group: "default"}, {Domain: "never.test"}} {
		if err := d.Continue(s); err != nil {
			t.Fatal(err)
		}
	}
	_, got = paused(t, dir)
	if diff := cmp.Diff(pauses{1, false, []string{"near.test"}, []string{"bulk"}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestAPauseFromBeforeTheStartHoldsDeliveriesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := crashfs.New(1)
		first, _ := paused(t, dir)
		if err := first.Pause(Scope{Domain: "far.test"}); err != nil {
			t.Fatal(err)
		}
		h := build(t, plan{folder: dir})
		defer h.start()()
		h.send(t, letter("joe@a.test", "u@far.test", "ok@near.test"))
		time.Sleep(time.Hour)
		synctest.Wait()
		if n, r, _ := h.Count(context.Background(), Filter{}); n != 1 || r != 1 {
			t.Errorf("%d messages, %d recipients wait", n, r)
		}
		if err := h.Continue(Scope{Domain: "far.test"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if h.store.left() != 0 {
			t.Errorf("%d left", h.store.left())
		}
	})
}

func TestAPauseThatCannotBeSavedHoldsAndIsTold(t *testing.T) {
	t.Parallel()
	dir := crashfs.New(1)
	d, _ := paused(t, dir)
	remove := dir.Inject(crashfs.Fault{Err: syscall.ENOSPC, Times: -1})
	if err := d.Pause(Scope{}); !errors.Is(err, syscall.ENOSPC) || !d.Stats(0).Paused {
		t.Errorf("%v, paused %v", err, d.Stats(0).Paused)
	}
	remove()
	if _, got := paused(t, dir); got.All {
		t.Error("it was saved all the same")
	}
}

func TestAPauseFileThatCannotBeReadPausesAll(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "{", `{"version":2}`, `{"version":1,"domains":3}`} {
		dir := crashfs.New(1)
		f, err := dir.OpenFile(pausesFile, os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		f.Write([]byte(text))
		f.Close()
		d, got := paused(t, dir)
		if !got.All {
			t.Errorf("%q: nothing is paused", text)
		}
		if err := d.Continue(Scope{}); err != nil {
			t.Error(err)
		}
		if _, got = paused(t, dir); got.All {
			t.Errorf("%q: it cannot be continued", text)
		}
	}
}

func TestPausesSurvivePowerCuts(t *testing.T) {
	t.Parallel()
	crashfs.Explore(t, crashfs.Scenario[string]{
		Run: func(dir fs.FS, ack func(string)) error {
			d, _ := paused(t, dir)
			for _, name := range []string{"a.test", "b.test", "c.test"} {
				if err := d.Pause(Scope{Domain: name}); err != nil {
					return err
				}
				ack(name)
			}
			return nil
		},
		Check: func(dir fs.FS, acked []string) error {
			_, got := paused(t, dir)
			for _, name := range acked {
				if got.All || !slices.Contains(got.Domains, name) {
					return errors.New(name + " is not paused any more")
				}
			}
			return nil
		},
	})
}
