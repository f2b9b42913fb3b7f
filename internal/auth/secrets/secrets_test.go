package secrets

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/directory/memdir"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/trace/tracetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

const (
	joe, ann = 1, 2 // the ids memdir gives
	correct  = "correct horse"
)

type fixture struct {
	*Service
	t      testing.TB
	path   string
	dir    *memdir.DB
	clock  *clock.Fake
	events *tracetest.Events
	o      Options
}

// setUp opens role auth with joe@a.test, whose password is correct, and ann@a.test without one.
func setUp(t testing.TB, o Options) *fixture {
	t.Helper()
	dir, err := memdir.New("joe@a.test", "ann@a.test", "info@a.test=joe@a.test")
	if err != nil {
		t.Fatal(err)
	}
	// Cheap hashes, and no waiting for answers.
	if o.HashMemory == 0 {
		o.HashMemory, o.HashPasses = 64<<10, 1
	}
	o.FailureDelay = time.Nanosecond
	f := &fixture{t: t, path: filepath.Join(t.TempDir(), "secrets.db"), dir: dir, clock: clock.NewFake(start), events: new(tracetest.Events), o: o}
	dir.Clock = f.clock
	f.open()
	t.Cleanup(func() { f.Service.Close() })
	if err := f.SetPassword(t.Context(), joe, correct); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) open() {
	f.t.Helper()
	f.o.Path = f.path
	s, err := open(context.Background(), f.o, Deps{Directory: f.dir, Blocks: f.dir.Blocks, Generation: f.dir.Generation, Clock: f.clock, Recorder: f.events, Log: slog.New(slog.DiscardHandler)}, true)
	if err != nil {
		f.t.Fatal(err)
	}
	f.Service = s
}

func from(client string) auth.Attempt {
	return auth.Attempt{Client: netip.MustParseAddr(client), Protocol: "pop3"}
}

// login returns "ok", "failed", "blocked" or the temporary reason.
func (f *fixture) login(client, user, password string) string {
	f.t.Helper()
	id, err := f.Password(f.t.Context(), from(client), user, password)
	return f.word(id, err)
}

func (f *fixture) word(id auth.Identity, err error) string {
	f.t.Helper()
	if err == nil {
		if id.Account == 0 || id.Address == "" {
			f.t.Errorf("logged in as nobody: %+v", id)
		}
		return "ok"
	}
	if id != (auth.Identity{}) {
		f.t.Errorf("a failure has an identity: %+v", id)
	}
	r := reason.As(err)
	switch r.Reason {
	case auth.Failed.Reason:
		if d := cmp.Diff(auth.Failed.Text(reason.English), r.Text(reason.English)); d != "" || len(r.Args) > 0 {
			f.t.Errorf("a failure tells more than another: %+v", r)
		}
		return "failed"
	case auth.Blocked.Reason:
		if len(r.Args) != 1 || r.Args[0] == "0" {
			f.t.Errorf("blocked without seconds: %+v", r)
		}
		return "blocked"
	}
	return string(r.Reason)
}

func (f *fixture) want(want, client, user, password string) {
	f.t.Helper()
	if got := f.login(client, user, password); got != want {
		f.t.Errorf("login of %.40q from %s: %s, want %s", user, client, got, want)
	}
}

func (f *fixture) ok(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func TestTheRightPasswordLogsInAndNothingElse(t *testing.T) {
	t.Parallel()
	f := setUp(t, Options{DefaultDomain: "a.test"})
	id, err := f.Password(t.Context(), from("192.0.2.1"), "JOE@A.Test", correct)
	f.ok(err)
	if d := cmp.Diff(auth.Identity{Account: joe, Address: "joe@a.test"}, id); d != "" {
		t.Error(d)
	}
	f.want("ok", "192.0.2.1", "joe", correct)
	for _, wrong := range []string{"correct hors", "correct horse ", "Correct horse", "", " "} {
		f.want("failed", "192.0.2.1", "joe@a.test", wrong)
	}
	for _, user := range []string{"ann@a.test", "info@a.test", "nobody@a.test", "joe@b.test", "joe+x@a.test", "", "@", "@a.test", "joe@"} {
		f.want("failed", "198.51.100.1", user, correct)
	}
}

func TestHostileNamesAndPasswordsFail(t *testing.T) {
	t.Parallel()
	f := setUp(t, Options{AddressFailures: 1000, NetworkFailures: 1000, AccountFailures: 1000})
	big := strings.Repeat("x", 1<<20)
	for _, user := range []string{
		"joe@a.test\x00", "joe\x00@a.test", "\xff\xfe@a.test", "x' OR 1=1--", "joe@a.test' OR '1'='1", "*)(uid=*))(|(uid=*", "*@a.test", "%@a.test", "j_e@a.test", big, big + "@a.test", "joe@" + big,
		"joe@a.test\r\nx", "\x1b[2J@a.test", "${run{/bin/sh}}@a.test", ";id;@a.test", "joe@a.test.", "joe@a.test@a.test", "<joe@a.test>", "joe@[192.0.2.1]", "j\u00f6e@a.test",
	} {
		f.want("failed", "192.0.2.1", user, correct)
	}
	for _, password := range []string{"", "\x00", correct + "\x00", big, strings.Repeat("x", maxPassword+1), "\xff"} {
		f.want("failed", "192.0.2.1", "joe@a.test", password)
	}
	for _, e := range f.events.All() {
		if len(e.Account) > maxUser {
			t.Errorf("an event of %d bytes was recorded", len(e.Account))
		}
	}
	f.want("ok", "192.0.2.1", "joe@a.test", correct)
}

func TestEveryFailureCostsTheSame(t *testing.T) {
	t.Parallel()
	f := setUp(t, Options{AddressFailures: 1000, NetworkFailures: 1000, AccountFailures: 1000})
	f.ok(f.SetHash(t.Context(), ann, "$1$abcdefgh$Gqo0dW5ZZwRMuhky6A93q0"))
	f.ok(f.dir.PutAccount(t.Context(), &directory.Account{Address: mail.ParseAddress("off@a.test"), Disabled: true}, true))
	f.ok(f.SetPassword(t.Context(), 3, correct))
	f.ok(f.dir.PutAccount(t.Context(), &directory.Account{Address: mail.ParseAddress("bare@a.test")}, true))
	for what, user := range map[string]string{
		"wrong": "joe@a.test", "wrong with an old form": "ann@a.test", "disabled": "off@a.test", "without a password": "bare@a.test",
		"unknown": "nobody@a.test", "of another host": "joe@b.test", "nonsense": "\x00",
	} {
		before := f.hasher.ran.Load()
		f.want("failed", "192.0.2.1", user, correct+"?")
		if n := f.hasher.ran.Load() - before; n != 1 {
			t.Errorf("%s: %d hashes were computed, want 1", what, n)
		}
	}
	before := f.hasher.ran.Load()
	f.want("failed", "192.0.2.1", "off@a.test", correct)
	if n := f.hasher.ran.Load() - before; n != 1 {
		t.Errorf("disabled with the right password: %d hashes, want 1", n)
	}
	domain := directory.NewDomain("a.test")
	domain.Disabled = true
	f.ok(f.dir.PutDomain(t.Context(), domain, false))
	f.want("failed", "192.0.2.1", "joe@a.test", correct)
}

func TestFailuresAreAnsweredAtMultiplesOfTheDelay(t *testing.T) {
	t.Parallel()
	f := setUp(t, Options{})
	f.Service.o.FailureDelay = 50 * time.Millisecond
	for _, user := range []string{"joe@a.test", "nobody@a.test"} {
		began := time.Now()
		f.want("failed", "192.0.2.1", user, "wrong")
		if took := time.Since(began); took < 50*time.Millisecond {
			t.Errorf("%s failed after %v", user, took)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Password(ctx, from("192.0.2.1"), "\x00", "wrong"); err == nil {
		t.Error("a client that is gone logged in")
	}
}

func TestFormsOfOtherSystemsLogInOnceAndAreStoredBetter(t *testing.T) {
	t.Parallel()
	f := setUp(t, Options{CacheTTL: -1})
	for _, v := range vectors {
		if v.password == "" {
			continue
		}
		f.ok(f.SetHash(t.Context(), ann, v.form))
		f.want("failed", "192.0.2.1", "ann@a.test", "x"+v.password)
		f.want("ok", "192.0.2.1", "ann@a.test", v.password)
		c, err := f.Credentials(t.Context(), ann)
		f.ok(err)
		if c.Form != "argon2id" || !c.SCRAM || !c.Changed.Equal(start) {
			t.Errorf("%s: stored as %+v after the login", v.form, c)
		}
		f.want("ok", "192.0.2.1", "ann@a.test", v.password)
		f.want("failed", "192.0.2.1", "ann@a.test", "x"+v.password)
		f.ok(f.Unblock(t.Context(), "ann@a.test"))
	}
}

func TestWeakerHashesAreMadeAnewAtLogin(t *testing.T) {
	t.Parallel()
	f := setUp(t, Options{})
	f.ok(f.Service.Close())
	f.o.HashMemory = 128 << 10
	f.open()
	f.want("ok", "192.0.2.1", "joe@a.test", correct)
	c, err := f.store.load(t.Context(), joe)
	f.ok(err)
	if !f.hasher.current(c.hash) {
		t.Errorf("stored as %s", c.hash)
	}
	// Only the change of form happened: no weakening when the setting goes down again.
	f.ok(f.Service.Close())
	f.o.HashMemory = 64 << 10
	f.open()
	f.want("ok", "192.0.2.1", "joe@a.test", correct)
	again, err := f.store.load(t.Context(), joe)
	f.ok(err)
	if again.hash != c.hash {
		t.Error("a stronger hash was replaced by a weaker one")
	}
}

func TestAPasswordLatelyVerifiedCostsNoHash(t *testing.T) {
	t.Parallel()
	f := setUp(t, Options{})
	f.want("ok", "192.0.2.1", "joe@a.test", correct)
	before := f.hasher.ran.Load()
	f.want("ok", "198.51.100.7", "joe@a.test", correct)
	if n := f.hasher.ran.Load() - before; n != 0 {
		t.Errorf("%d hashes for a password just verified", n)
	}
	f.ok(f.SetPassword(t.Context(), joe, "another one"))
	f.want("failed", "192.0.2.1", "joe@a.test", correct)
	f.want("ok", "192.0.2.1", "joe@a.test", "another one")
	f.ok(f.Remove(t.Context(), joe))
	f.want("failed", "192.0.2.1", "joe@a.test", "another one")
	a := directory.Account{Address: mail.ParseAddress("joe@a.test"), Disabled: true}
	f.ok(f.SetPassword(t.Context(), joe, correct))
	f.want("ok", "192.0.2.1", "joe@a.test", correct)
	f.ok(f.dir.PutAccount(t.Context(), &a, false))
	f.want("failed", "192.0.2.1", "joe@a.test", correct)
}

func TestALoginDuringAChangeOfThePasswordIsNeitherALoginNorAFailure(t *testing.T) {
	t.Parallel()
	f := setUp(t, Options{})
	at, err := f.begin(t.Context(), from("192.0.2.1"), "password", "joe@a.test")
	f.ok(err)
	device, err := f.verify(t.Context(), at, correct)
	f.ok(err)
	f.ok(f.SetPassword(t.Context(), joe, "another one"))
	if _, err = at.finish(t.Context(), device, err); reason.As(err).Reason != reason.LocalError.Reason {
		t.Errorf("have %v", err)
	}
}

func TestWhoseSessionsAreOverIsTold(t *testing.T) {
	t.Parallel()
	f := setUp(t, Options{})
	ctx, over := t.Context(), func() context.Context { ctx, cancel := context.WithCancel(t.Context()); cancel(); return ctx }()
	var told auth.Mark
	wants := func(what string, want bool, change func() error) {
		t.Helper()
		f.ok(change())
		r := f.Revoked().Since(over, told)
		if told = r.Now; slices.Contains(r.Accounts, joe) != want {
			t.Errorf("%s: told %v", what, r.Accounts)
		}
	}
	wants("a new password", true, func() error { return f.SetPassword(ctx, joe, correct) })
	wants("a login", false, func() error { f.want("ok", "192.0.2.1", "joe@a.test", correct); return nil })
	wants("one more password", false, func() error { _, err := f.AddAppPassword(ctx, joe, "phone", nil); return err })
	wants("one less", true, func() error { return f.RemoveAppPassword(ctx, joe, "phone") })
	wants("a stored form", true, func() error { return f.SetHash(ctx, joe, "{PLAIN}"+correct) })
	wants("a better form by a login", false, func() error { f.want("ok", "192.0.2.1", "joe@a.test", correct); return nil })
	wants("no account", true, func() error { return f.Remove(ctx, joe) })
}

func TestALoginStormWaitsInABoundedQueue(t *testing.T) {
	t.Parallel()
	f := setUp(t, Options{HashConcurrency: 1, HashQueue: 2})
	running, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		f.hasher.run(context.Background(), 0, func() { close(running); <-release })
	})
	<-running
	results := make(chan string, 2)
	for i := range 2 {
		wg.Go(func() { results <- f.login(fmt.Sprint("192.0.2.", i+1), "joe@a.test", correct) })
	}
	for end := time.Now().Add(time.Minute); f.hasher.waiting.Load() < 2; time.Sleep(time.Millisecond) { // nothing tells that a waiter has queued
		if time.Now().After(end) {
			t.Error("no two logins wait")
			break
		}
	}
	f.want("auth-busy", "192.0.2.9", "joe@a.test", correct)
	close(release)
	for range 2 {
		if got := <-results; got != "ok" {
			t.Errorf("a login that waited: %s", got)
		}
	}
	f.want("ok", "192.0.2.9", "joe@a.test", correct)
}

func TestTroubleIsTemporaryAndNoFailure(t *testing.T) {
	t.Parallel()
	f := setUp(t, Options{AddressFailures: 1, AccountFailures: 1})
	f.dir.Fail(errors.New("down"))
	for range 5 {
		f.want("directory-unavailable", "192.0.2.1", "joe@a.test", correct)
	}
	f.dir.Fail(nil)
	f.want("ok", "192.0.2.1", "joe@a.test", correct)
}

func TestAppPasswords(t *testing.T) {
	t.Parallel()
	f := setUp(t, Options{})
	ctx := t.Context()
	phone, err := f.AddAppPassword(ctx, joe, "Joe's phone", nil)
	f.ok(err)
	reader, err := f.AddAppPassword(ctx, joe, "reader", []string{"pop3", "imap"})
	f.ok(err)
	if phone == reader || len(phone) < 20 {
		t.Errorf("generated %q and %q", phone, reader)
	}
	id, err := f.Password(ctx, from("192.0.2.1"), "joe@a.test", phone)
	f.ok(err)
	if id.Device != "Joe's phone" || id.Account != joe {
		t.Errorf("logged in as %+v", id)
	}
	f.want("ok", "192.0.2.1", "joe@a.test", strings.ToUpper(strings.ReplaceAll(reader, "-", " ")))
	f.want("ok", "192.0.2.1", "joe@a.test", reader)
	a := from("192.0.2.1")
	a.Protocol = "submission"
	if got := f.word(f.Password(ctx, a, "joe@a.test", reader)); got != "failed" {
		t.Errorf("an app password for reading sends: %s", got)
	}
	f.want("failed", "192.0.2.1", "ann@a.test", phone)

	f.ok(f.flush(ctx))
	c, err := f.Credentials(ctx, joe)
	f.ok(err)
	want := []auth.AppPassword{
		{Name: "Joe's phone", Created: start, Used: start, UsedClient: "192.0.2.1", UsedProtocol: "pop3"},
		{Name: "reader", Protocols: []string{"pop3", "imap"}, Created: start, Used: start, UsedClient: "192.0.2.1", UsedProtocol: "pop3"},
	}
	if d := cmp.Diff(want, c.Apps); d != "" {
		t.Errorf("listed (-want +got):\n%s", d)
	}
	f.ok(f.RemoveAppPassword(ctx, joe, "reader"))
	f.want("failed", "192.0.2.1", "joe@a.test", reader)
	f.want("ok", "192.0.2.1", "joe@a.test", phone)

	if _, err := f.AddAppPassword(ctx, joe, "Joe's phone", nil); !errors.Is(err, directory.ErrExists) {
		t.Errorf("a name given twice: %v", err)
	}
	if err := f.RemoveAppPassword(ctx, joe, "reader"); !errors.Is(err, directory.ErrNotFound) {
		t.Errorf("removing none: %v", err)
	}
	for _, bad := range []string{"", "a\nb", strings.Repeat("x", 200)} {
		var invalid *directory.InvalidError
		if _, err := f.AddAppPassword(ctx, joe, bad, nil); !errors.As(err, &invalid) {
			t.Errorf("the name %.20q: %v", bad, err)
		}
	}
	var invalid *directory.InvalidError
	if _, err := f.AddAppPassword(ctx, joe, "x", []string{"a b"}); !errors.As(err, &invalid) {
		t.Errorf("a protocol with a space: %v", err)
	}
}

func TestWhatCannotBeSetIsToldWithoutThePassword(t *testing.T) {
	t.Parallel()
	f := setUp(t, Options{})
	for _, bad := range []string{"", "short", "with\x00zero bytes", "with latin-1 \xe9", "with lost byte \ufffd", strings.Repeat("x", maxPassword+1)} {
		err := f.SetPassword(t.Context(), joe, bad)
		var invalid *directory.InvalidError
		if !errors.As(err, &invalid) || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("%.20q: %.200v", bad, err)
		}
	}
	if err := f.SetHash(t.Context(), joe, "{NTLM}secretword"); err == nil || strings.Contains(err.Error(), "secretword") {
		t.Errorf("an unknown scheme: %v", err)
	}
	for _, err := range []error{f.SetPassword(t.Context(), 99, correct), f.SetHash(t.Context(), 99, "{PLAIN}x")} {
		if !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("of no account: %v", err)
		}
	}
	f.want("ok", "192.0.2.1", "joe@a.test", correct)
}

func TestEveryLoginIsRecordedOnce(t *testing.T) {
	t.Parallel()
	f := setUp(t, Options{AddressFailures: 1})
	a := from("192.0.2.1")
	a.TLS = true
	f.Password(t.Context(), a, "joe@a.test", correct)
	f.want("failed", "192.0.2.2", "joe@a.test", "wrong")
	f.want("failed", "192.0.2.2", "who\xff", "wrong")
	f.want("blocked", "192.0.2.2", "joe@a.test", "wrong")
	var got []string
	for _, e := range f.events.All() {
		got = append(got, fmt.Sprintf("%s %s %s %s %q %d %s %s", e.Kind, e.Role, e.Client, e.TLS, e.Account, e.Code, e.Reason, e.Text))
	}
	if d := cmp.Diff([]string{
		`login pop3 192.0.2.1 yes "joe@a.test" 235  password`,
		`login pop3 192.0.2.2  "joe@a.test" 535 auth-failed password`,
		`login pop3 192.0.2.2  "who?" 535 auth-failed password`,
		`login pop3 192.0.2.2  "joe@a.test" 454 auth-blocked password 5`,
	}, got); d != "" {
		t.Errorf("events (-want +got):\n%s", d)
	}
}

// APOP's example is that of RFC 1939 7.
func TestAPOPWorksWhereThePasswordIsKnown(t *testing.T) {
	t.Parallel()
	f := setUp(t, Options{KeepPlain: true})
	const stamp, digest = "<1896.697170952@dbc.mtview.ca.us>", "c4c9334bac560ecc979e58001b3e22fb"
	apop := func(user, digest string) string {
		return f.word(f.APOP(t.Context(), from("192.0.2.1"), user, stamp, digest))
	}
	f.ok(f.SetHash(t.Context(), ann, "{PLAIN}tanstaaf"))
	for range 2 {
		if got := apop("ann@a.test", digest); got != "ok" {
			t.Errorf("APOP: %s", got)
		}
		f.want("ok", "192.0.2.1", "ann@a.test", "tanstaaf") // and the form stays
	}
	for user, d := range map[string]string{"joe@a.test": digest, "nobody@a.test": digest, "ann@a.test": strings.Repeat("0", 32), "ann@A.test": ""} {
		if got := apop(user, d); got != "failed" {
			t.Errorf("APOP of %s with %s: %s", user, d, got)
		}
	}
}

func BenchmarkPassword(b *testing.B) {
	for name, o := range map[string]Options{"known": {}, "hashed": {CacheTTL: -1, HashMemory: 19456 << 10, HashPasses: 2}} {
		b.Run(name, func(b *testing.B) {
			f := setUp(b, o)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.Password(b.Context(), from("192.0.2.1"), "joe@a.test", correct); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
