package runas

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postilion/postilion/internal/reason"
)

func TestAUserWhoseHomeHangsHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(10, 2, 3)
		hangs, other := User{Name: "hangs", UID: 1}, User{Name: "other", UID: 2}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		for range 2 { // they never leave
			if err := g.enter(ctx, hangs); err != nil {
				t.Fatal(err)
			}
		}
		waited := make(chan *reason.Error, 3)
		for range 3 {
			go func() { waited <- g.enter(ctx, hangs) }()
		}
		synctest.Wait()
		if err := g.enter(ctx, hangs); err == nil || err.Reason != reason.RunasBusy.Reason || err.Args[0] != "hangs" {
			t.Errorf("one more may wait: %v", err)
		}
		for range 50 {
			if err := g.enter(ctx, other); err != nil {
				t.Fatal(err)
			}
			g.leave(other)
		}
		if busy, waiting := g.counts(); busy != 2 || waiting != 3 {
			t.Errorf("%d at work, %d wait", busy, waiting)
		}
		began := time.Now()
		for range 3 {
			if err := <-waited; err == nil || err.Reason != reason.RunasBusy.Reason {
				t.Errorf("have %v", err)
			}
		}
		if time.Since(began) != 30*time.Second {
			t.Errorf("they waited %v", time.Since(began))
		}
		// Who hung comes back: the places are free again.
		g.leave(hangs)
		g.leave(hangs)
		if busy, waiting := g.counts(); busy != 0 || waiting != 0 || len(g.users) != 0 || len(g.kept) != 0 {
			t.Errorf("%d at work, %d wait, %v, %v", busy, waiting, g.users, g.kept)
		}
	})
}

func TestPlacesAreGivenInTurnToWhomTheyFit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(2, 1, 10)
		joe, ann, tim := User{UID: 1}, User{UID: 2}, User{UID: 3}
		for _, u := range []User{joe, ann} {
			if err := g.enter(t.Context(), u); err != nil {
				t.Fatal(err)
			}
		}
		var order []uint32
		for _, u := range []User{joe, tim, ann} {
			go func() {
				if g.enter(t.Context(), u) == nil {
					order = append(order, u.UID)
				}
			}()
			synctest.Wait()
		}
		g.leave(ann) // joe, who waits first, has his one place still
		synctest.Wait()
		g.leave(joe)
		synctest.Wait()
		g.leave(tim)
		synctest.Wait()
		if len(order) != 3 || order[0] != 3 || order[1] != 1 || order[2] != 2 {
			t.Errorf("have %v", order)
		}
	})
}

func TestWrongOptionsAreNamed(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]Options{
		"": {Exceptions: []string{"joe time=2h memory=2GiB processes=-1", "joe cpu=1m file_size=5 files=7"}},
		`maildir: "../x": want a path below the home, such as Maildir`:                                            {MaildirPath: "../x"},
		`programs: -1: want at least 1`:                                                                           {Programs: -1},
		`program_time: 1ns: want at least 1s`:                                                                     {Time: 1},
		`program_nice: 20: want 0 to 19`:                                                                          {Nice: 20},
		`program_oom: 1001: want 0 to 1000, or -1`:                                                                {OOM: 1001},
		`exceptions: "joe": want a user and key=value, such as joe memory=2GiB`:                                   {Exceptions: []string{"joe"}},
		`exceptions: "joe x=1": x=1: want time, cpu, memory, processes, file_size or files`:                       {Exceptions: []string{"joe x=1"}},
		`exceptions: "joe memory=2GB": memory=2GB: want a number, with KiB, MiB or GiB for bytes; -1 is no limit`: {Exceptions: []string{"joe memory=2GB"}},
		`exceptions: "joe time=1": time=1: want a duration such as 30s, 10m or 2h`:                                {Exceptions: []string{"joe time=1"}},
	} {
		err := o.Validate()
		have := ""
		if err != nil {
			have = err.Error()
		}
		if have != want {
			t.Errorf("have %q, want %q", have, want)
		}
	}
	n, err := Options{Exceptions: []string{"joe memory=2GiB", "joe files=7"}}.normalise()
	if err != nil || n.of("joe").memory != 2<<30 || n.of("joe").files != 7 || n.of("joe").processes != 256 || n.of("ann").files != 1024 {
		t.Errorf("have %+v, %v", n.of("joe"), err)
	}
}
