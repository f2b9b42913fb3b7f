package blocks

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/serve"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBlocksKeepClientsOut(t *testing.T) {
	t.Parallel()
	now := time.Now()
	b := &Blocks{now: func() time.Time { return now }, end: nobody, list: func(context.Context) ([]directory.Block, error) {
		return []directory.Block{{What: "192.0.2.0/24", Reason: "guessing", Expires: now.Add(time.Hour)}, {What: "joe@example.test"}}, nil
	}}
	b.refresh(context.Background())
	if why := b.Admit(addr("192.0.2.9")); !strings.Contains(why, "guessing") {
		t.Errorf("have %q", why)
	}
	if why := b.Admit(addr("::ffff:192.0.2.9")); why == "" {
		t.Error("a mapped address came through")
	}
	if why := b.Admit(addr("198.51.100.1")); why != "" {
		t.Errorf("have %q", why)
	}
	now = now.Add(2 * time.Hour)
	if why := b.Admit(addr("192.0.2.9")); why != "" {
		t.Errorf("an expired block: %q", why)
	}
}

func nobody(func(serve.Connection) bool) int { return 0 }

func TestABlockEndsTheSessionsOfWhoIsBlocked(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	list := []directory.Block{{What: "192.0.2.0/24"}, {What: "joe@example.test"}, {What: "ann@example.test", Expires: now}}
	sessions := map[string]serve.Connection{
		"of a blocked client":         {Client: netip.MustParseAddrPort("192.0.2.9:1")},
		"of a blocked account":        {Client: netip.MustParseAddrPort("198.51.100.1:1"), Account: "Joe@example.test", AccountID: 7},
		"of nobody":                   {Client: netip.MustParseAddrPort("198.51.100.1:1")},
		"of an account whose is over": {Client: netip.MustParseAddrPort("198.51.100.1:1"), Account: "ann@example.test", AccountID: 8},
	}
	var ended []string
	looks := 0
	b := New(func(context.Context) ([]directory.Block, error) { return slices.Clone(list), nil }, new(directory.Generations),
		func() time.Time { return now }, func(match func(serve.Connection) bool) int {
			looks++
			for name, c := range sessions {
				if match(c) {
					ended = append(ended, name)
				}
			}
			return len(ended)
		})
	for range 3 { // once: nothing changes afterwards
		if err := b.refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(ended)
	if want := []string{"of a blocked account", "of a blocked client"}; looks != 1 || !slices.Equal(ended, want) {
		t.Errorf("%d looks ended sessions %q, want %q", looks, ended, want)
	}
}

func TestListenersWaitForTheBlocksButNotForLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, late := range []time.Duration{0, 300 * time.Millisecond, time.Hour} {
			b := New(func(ctx context.Context) ([]directory.Block, error) {
				select {
				case <-time.After(late):
					return []directory.Block{{What: "192.0.2.1"}}, nil
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}, new(directory.Generations), time.Now, nobody)
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- b.Watch(ctx) }()
			began := time.Now()
			b.Wait(ctx)
			if took := time.Since(began); took != min(late, firstRead) {
				t.Errorf("a list that comes after %s was waited for %s", late, took)
			}
			if known := b.Admit(addr("192.0.2.1")) != ""; known != (late < firstRead) {
				t.Errorf("a list that comes after %s: known %v", late, known)
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestABlockIsInForceWithoutWaitingForTheNextLook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var list []directory.Block
		var broken error
		var changes directory.Generations
		change := func(err error, now ...directory.Block) {
			mu.Lock()
			list, broken = now, err
			mu.Unlock()
			changes.Set(changes.Now() + 1)
		}
		b := New(func(context.Context) ([]directory.Block, error) {
			mu.Lock()
			defer mu.Unlock()
			return list, broken
		}, &changes, time.Now, nobody)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.Watch(ctx) }()
		b.Wait(ctx)
		within := func(d time.Duration, want bool) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if blocked := b.Admit(addr("192.0.2.1")) != ""; blocked != want {
				t.Errorf("blocked %v, want %v", blocked, want)
			}
		}
		for range 3 {
			change(nil, directory.Block{What: "192.0.2.1"})
			within(soonest, true)
			change(nil)
			within(soonest, false)
		}
		change(errors.New("the directory is restarted"))
		within(soonest, false)
		mu.Lock()
		list, broken = []directory.Block{{What: "192.0.2.1"}}, nil // the change went by unread
		mu.Unlock()
		within(again, true)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }
