package secrets

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/reason"
)

// allowed returns the seconds that Allowed tells to wait, "" for none.
func (f *fixture) allowed(client string) string {
	f.t.Helper()
	err := f.Allowed(f.t.Context(), netip.MustParseAddr(client))
	if err == nil {
		return ""
	}
	r := reason.As(err)
	switch r.Reason {
	case auth.Barred.Reason:
		return "barred"
	case auth.Blocked.Reason:
	default:
		f.t.Errorf("got %v", err)
	}
	return r.Args[0]
}

func TestWaitsDoubleEndAndAreForgotten(t *testing.T) {
	t.Parallel()
	f := setUp(t, Options{AddressFailures: 2, BlockFirst: 10 * time.Second, BlockMax: time.Minute, Forget: time.Hour})
	fail := func(want string) {
		t.Helper()
		f.want("failed", "192.0.2.1", "nobody@a.test", "wrong")
		if got := f.allowed("192.0.2.1"); got != want {
			t.Errorf("after a failure the wait is %q, want %q", got, want)
		}
	}
	fail("")
	fail("")
	for _, wait := range []string{"10", "20", "40", "60", "60"} {
		fail(wait)
		f.want("blocked", "192.0.2.1", "joe@a.test", correct)
		f.clock.Advance(time.Minute - time.Millisecond)
		if wait == "60" && f.allowed("192.0.2.1") != "1" {
			t.Errorf("a millisecond before the end the wait is %q, want 1", f.allowed("192.0.2.1"))
		}
		f.clock.Advance(time.Millisecond)
	}
	f.clock.Advance(time.Hour)
	fail("")
	fail("")
	fail("10")
	f.clock.Advance(-24 * time.Hour)
	if got := f.allowed("192.0.2.1"); got != "60" {
		t.Errorf("with the clock set back the wait is %s, want at most the longest, 60", got)
	}
}

func TestFailuresOfANetworkAndOfAllProtocolsCountTogether(t *testing.T) {
	t.Parallel()
	f := setUp(t, Options{AddressFailures: 2, NetworkFailures: 5})
	for i := range 6 {
		a := from(fmt.Sprint("192.0.2.", 10+i))
		a.Protocol = []string{"pop3", "imap", "submission"}[i%3]
		if got := f.word(f.Password(t.Context(), a, fmt.Sprint("user", i, "@a.test"), "wrong")); got != "failed" {
			t.Errorf("attempt %d: %s", i, got)
		}
	}
	if f.allowed("192.0.2.99") == "" || f.allowed("192.0.3.1") != "" {
		t.Error("the /24 is not blocked, or its neighbour is")
	}
	// IPv6: the last 64 bits are the client's to choose; an IPv4 client is one however it is written.
	for i := range 3 {
		f.want("failed", fmt.Sprintf("2001:db8:1:2::%x", i), "nobody@a.test", "wrong")
	}
	if f.allowed("2001:db8:1:2:ffff::1") == "" || f.allowed("2001:db8:1:3::1") != "" {
		t.Error("the /64 is not blocked, or its neighbour is")
	}
	if f.allowed("::ffff:192.0.2.99") == "" {
		t.Error("a blocked IPv4 client passes as IPv6")
	}
}

func TestOthersFailuresDoNotLockAKnownClientOut(t *testing.T) {
	t.Parallel()
	f := setUp(t, Options{AddressFailures: 3, NetworkFailures: 1000, AccountFailures: 4, CacheTTL: -1})
	f.want("ok", "198.51.100.7", "joe@a.test", correct)
	for i := range 12 {
		f.login(fmt.Sprintf("192.0.%d.1", i), "joe@a.test", fmt.Sprint("wrong", i))
	}
	f.want("blocked", "203.0.113.1", "joe@a.test", correct)
	f.want("ok", "198.51.100.7", "joe@a.test", correct)
	f.want("ok", "198.51.100.7", "joe@a.test", correct)
	// The name waits a shorter time than clients do.
	f.clock.Advance(15 * time.Minute)
	f.want("ok", "203.0.113.1", "joe@a.test", correct)

	// Nor do a neighbour's behind the same address; but the known client's own count.
	for range 5 {
		f.login("198.51.100.7", "nobody@a.test", "wrong")
	}
	f.want("blocked", "198.51.100.7", "ann@a.test", "wrong")
	f.want("ok", "198.51.100.7", "joe@a.test", correct)
	if f.allowed("198.51.100.7") != "" {
		t.Error("an account's own client is turned away at the door")
	}
	for i := range 4 {
		f.want("failed", "198.51.100.7", "joe@a.test", fmt.Sprint("wrong", i))
	}
	f.want("blocked", "198.51.100.7", "joe@a.test", correct)
	f.clock.Advance(15 * time.Minute)
	f.want("ok", "198.51.100.7", "joe@a.test", correct)
}

func TestADeviceWithAnOldPasswordLocksNobodyOut(t *testing.T) {
	t.Parallel()
	f := setUp(t, Options{AddressFailures: 3, AccountFailures: 3})
	f.want("ok", "198.51.100.7", "joe@a.test", correct)
	f.ok(f.SetPassword(t.Context(), joe, "the new one"))
	for range 20 {
		f.want("failed", "198.51.100.7", "joe@a.test", correct)
	}
	f.want("ok", "198.51.100.7", "joe@a.test", "the new one")
	for i := range 12 { // the telephone is on the way
		f.want("failed", fmt.Sprintf("192.0.%d.1", i), "joe@a.test", correct)
	}
	f.want("ok", "203.0.113.9", "joe@a.test", "the new one")
	// From an unknown address repetition counts: it costs a hash each time.
	for range 3 {
		f.want("failed", "192.0.99.1", "joe@a.test", correct)
	}
	f.want("failed", "192.0.99.1", "joe@a.test", correct)
	f.want("blocked", "192.0.99.1", "joe@a.test", correct)
}

func TestManyTriesAtOnceAreStillCounted(t *testing.T) {
	t.Parallel()
	f := setUp(t, Options{AddressFailures: 3})
	now := f.clock.Now()
	client := netip.MustParseAddr("192.0.2.1")
	var ends []func()
	for i := range 10 {
		wait, end := f.guard.begin(client, subject{name: fmt.Sprint("u", i)}, now)
		if (wait > 0) != (i > 3) {
			t.Errorf("attempt %d at once waits %v", i+1, wait)
		}
		if end != nil {
			ends = append(ends, end)
		}
	}
	for _, end := range ends {
		end()
	}
	if len(f.guard.pending) != 0 {
		t.Error("attempts are pending after they ended")
	}
}

func TestTrustedNetworksAreNotBlocked(t *testing.T) {
	t.Parallel()
	f := setUp(t, Options{AddressFailures: 1, NetworkFailures: 1, AccountFailures: 3, Trusted: []string{"10.0.0.0/8"}})
	for i := range 10 {
		f.want("failed", "10.1.2.3", fmt.Sprint("u", i, "@a.test"), "wrong")
	}
	f.want("ok", "10.1.2.3", "joe@a.test", correct)
	for i := range 4 {
		f.want("failed", "10.1.2.3", "ann@a.test", fmt.Sprint("wrong", i))
	}
	f.want("blocked", "10.1.2.3", "ann@a.test", "wrong")
}

func TestBlocksAndKnownClientsOutliveARestart(t *testing.T) {
	t.Parallel()
	f := setUp(t, Options{AddressFailures: 2, AccountFailures: 2})
	f.want("ok", "198.51.100.7", "joe@a.test", correct)
	for i := range 3 {
		f.want("failed", "192.0.2.1", "joe@a.test", fmt.Sprint("wrong", i))
	}
	f.ok(f.Service.Close())
	f.open()
	f.want("blocked", "192.0.2.1", "nobody@a.test", "x")
	f.want("blocked", "203.0.113.1", "joe@a.test", correct)
	f.want("ok", "198.51.100.7", "joe@a.test", correct)
	got, err := f.Blocked(t.Context())
	f.ok(err)
	want := []auth.BlockedBy{
		{What: "192.0.2.1/32", Failures: 3, Until: start.Add(5 * time.Second)},
		{What: "joe@a.test", Failures: 3, Until: start.Add(5 * time.Second)},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("blocked (-want +got):\n%s", d)
	}
	f.ok(f.Unblock(t.Context(), "JOE@a.test"))
	f.want("ok", "203.0.113.1", "joe@a.test", correct)
	f.ok(f.Unblock(t.Context(), "192.0.0.0/16"))
	f.want("ok", "192.0.2.1", "joe@a.test", correct)
	f.ok(f.Service.Close())
	f.open()
	if got, err := f.Blocked(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("after a restart %v are blocked again, %v", got, err)
	}
}

// An account's own client that fails too often waits by itself; the operator sees and ends that too.
func TestAKnownClientThatMustWaitIsListedAndLetIn(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"joe@a.test", "198.51.100.7", "198.51.100.0/24"} {
		f := setUp(t, Options{AddressFailures: 2})
		f.want("ok", "198.51.100.7", "joe@a.test", correct)
		for i := range 3 {
			f.want("failed", "198.51.100.7", "joe@a.test", fmt.Sprint("wrong", i))
		}
		f.want("blocked", "198.51.100.7", "joe@a.test", correct)
		got, err := f.Blocked(t.Context())
		f.ok(err)
		want := []auth.BlockedBy{{What: "joe@a.test", Client: "198.51.100.7/32", Failures: 3, Until: start.Add(5 * time.Second)}}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("blocked (-want +got):\n%s", d)
		}
		for _, other := range []string{"ann@a.test", "198.51.100.8", "192.0.2.0/24"} {
			if err := f.Unblock(t.Context(), other); !errors.Is(err, directory.ErrNotFound) {
				t.Errorf("unblocking %s, who need not wait: %v", other, err)
			}
		}
		f.ok(f.Unblock(t.Context(), what))
		f.want("ok", "198.51.100.7", "joe@a.test", correct)
	}
}

func TestTheOperatorsBlocksHold(t *testing.T) {
	t.Parallel()
	f := setUp(t, Options{})
	for _, b := range []directory.Block{{What: "192.0.2.0/24", Expires: start.Add(time.Minute)}, {What: "198.51.100.7"}, {What: "ann@a.test"}, {What: "2001:db8::/32"}} {
		f.ok(f.dir.PutBlock(t.Context(), b))
	}
	for client, want := range map[string]string{"192.0.2.200": "barred", "192.0.3.1": "", "198.51.100.7": "barred", "198.51.100.8": "", "2001:db8:ffff::1": "barred", "2001:db9::1": "", "::ffff:192.0.2.9": "barred"} {
		if got := f.allowed(client); got != want {
			t.Errorf("%s waits %q, want %q", client, got, want)
		}
	}
	f.want("auth-barred", "192.0.2.1", "joe@a.test", correct)
	f.ok(f.SetPassword(t.Context(), ann, correct))
	f.want("auth-barred", "203.0.113.1", "Ann@A.test", correct)
	f.want("ok", "203.0.113.1", "joe@a.test", correct)
	f.clock.Advance(time.Minute)
	f.want("ok", "192.0.2.1", "joe@a.test", correct)
}

func TestABlockHoldsAndEndsAtOnce(t *testing.T) {
	t.Parallel()
	f := setUp(t, Options{})
	for range 3 {
		f.want("ok", "203.0.113.1", "joe@a.test", correct)
		f.ok(f.dir.PutBlock(t.Context(), directory.Block{What: "joe@a.test"}))
		f.want("auth-barred", "203.0.113.1", "joe@a.test", correct)
		f.ok(f.dir.RemoveBlock(t.Context(), "joe@a.test"))
	}
}

// model is the waits as one reads them in the documentation.
type model struct {
	n           int
	last, until time.Time
}

func TestStrikesFollowTheirModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		free := rapid.IntRange(1, 5).Draw(t, "free")
		const first, longest, forget = 5 * time.Second, 10 * time.Minute, time.Hour
		table := strikes{free: free, first: first, max: longest, by: map[string]*strike{}}
		models := map[string]*model{}
		now := start
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(20*time.Minute)).Draw(t, "pass")))
			key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key")
			m := models[key]
			if m == nil {
				m = new(model)
				models[key] = m
			}
			want := max(0, m.until.Sub(now))
			if got := table.wait(key, now); got != want {
				t.Fatalf("%s waits %v, want %v", key, got, want)
			}
			if want > 0 {
				continue // it is not let in
			}
			if now.Sub(m.last) >= forget {
				m.n = 0
			}
			m.n++
			m.last = now
			if wait := first; m.n > free {
				for range m.n - free - 1 {
					wait = min(2*wait, longest)
				}
				m.until = now.Add(wait)
			}
			table.add(key, 0, now, forget)
		}
	})
}

func TestTablesOfFailuresAreBounded(t *testing.T) {
	t.Parallel()
	table := strikes{free: 1, first: time.Hour, max: time.Hour, by: map[string]*strike{}}
	for range 3 {
		table.add("guesser", 0, start, time.Hour)
	}
	for i := range maxStrikes + 10 {
		table.add(fmt.Sprint(i), 0, start, time.Hour)
	}
	if len(table.by) > maxStrikes {
		t.Errorf("%d entries", len(table.by))
	}
	if table.wait("guesser", start) == 0 {
		t.Error("who is blocked was forgotten before those who are not")
	}
}
