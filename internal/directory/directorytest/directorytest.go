// Package directorytest holds the contract of directory.Admin, which every store runs.
package directorytest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/mail"
)

// Store is what is tested.
type Store interface {
	directory.Admin
	// Generation changes with every change, and with nothing else.
	Generation() uint64
}

// Run runs the contract on empty stores that open makes, one for each part.
func Run(t *testing.T, open func(t *testing.T, c clock.Clock) Store) {
	for name, part := range map[string]func(*testing.T, *fixture){
		"Domains":        testDomains,
		"AliasDomains":   testAliasDomains,
		"CatchAll":       testCatchAll,
		"Accounts":       testAccounts,
		"Aliases":        testAliases,
		"Find":           testFind,
		"Folding":        testFolding,
		"Mailboxes":      testMailboxes,
		"Blocks":         testBlocks,
		"Hostile":        testHostile,
		"Narrow":         testNarrow,
		"Limits":         testLimits,
		"Tenants":        testTenants,
		"Administrators": testAdministrators,
		"Model":          testModel,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := clock.NewFake(start)
			part(t, &fixture{t, open(t, c), c})
		})
	}
}

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

type fixture struct {
	t     *testing.T
	store Store
	clock *clock.Fake
}

func (f *fixture) ctx() context.Context { return f.t.Context() }

// ok fails the test where err is not nil.
func (f *fixture) ok(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// changes fails unless what it runs succeeds and moves the generation.
func (f *fixture) changes(err func() error) {
	f.t.Helper()
	before := f.store.Generation()
	f.ok(err())
	if f.store.Generation() == before {
		f.t.Error("a change left the generation as it was")
	}
}

// refuses fails unless err is an InvalidError that names value, and nothing changed.
func (f *fixture) refuses(value string, err func() error) {
	f.t.Helper()
	before := f.store.Generation()
	e := err()
	var invalid *directory.InvalidError
	if !errors.As(e, &invalid) {
		f.t.Errorf("%.80q: got %v, want an InvalidError", value, e)
		return
	}
	if !strings.Contains(invalid.Value, value) || invalid.What == "" || invalid.Want == "" {
		f.t.Errorf("the error %q does not tell what is wrong with %q", e, value)
	}
	if f.store.Generation() != before {
		f.t.Error("a refused change moved the generation")
	}
}

// is fails unless err wraps want and changes nothing.
func (f *fixture) is(want error, err func() error) {
	f.t.Helper()
	before := f.store.Generation()
	if e := err(); !errors.Is(e, want) {
		f.t.Errorf("got %v, want one that wraps %q", e, want)
	}
	if f.store.Generation() != before {
		f.t.Error("a refused change moved the generation")
	}
}

func (f *fixture) domain(names ...string) {
	f.t.Helper()
	for _, n := range names {
		f.changes(func() error { return f.store.PutDomain(f.ctx(), directory.NewDomain(n), true) })
	}
}

func (f *fixture) account(address string) directory.Account {
	f.t.Helper()
	a := directory.Account{Address: mail.ParseAddress(address)}
	f.changes(func() error { return f.store.PutAccount(f.ctx(), &a, true) })
	return a
}

func (f *fixture) alias(address string, targets ...string) directory.Alias {
	f.t.Helper()
	a := alias(address, targets...)
	f.changes(func() error { return f.store.PutAlias(f.ctx(), a, true) })
	return a
}

func alias(address string, targets ...string) directory.Alias {
	a := directory.Alias{Address: mail.ParseAddress(address)}
	for _, t := range targets {
		a.Targets = append(a.Targets, mail.ParseAddress(t))
	}
	return a
}

// find returns what Find says in a few words: "account joe@d", "alias info@d", "nobody" or "no domain".
func (f *fixture) find(domain string, locals ...string) string {
	f.t.Helper()
	found, err := f.store.Find(f.ctx(), domain, locals)
	if errors.Is(err, directory.ErrNotFound) {
		return "no domain"
	}
	f.ok(err)
	s := "nobody"
	switch {
	case found.Account != nil && found.Alias != nil:
		s = "both"
	case found.Account != nil:
		s = "account " + found.Account.Address.String()
	case found.Alias != nil:
		s = "alias " + found.Alias.Address.String()
	}
	if found.CatchAll {
		s += " by catch-all"
	}
	return s
}

func (f *fixture) finds(want, domain string, locals ...string) {
	f.t.Helper()
	if got := f.find(domain, locals...); got != want {
		f.t.Errorf("Find(%q, %q) is %q, want %q", domain, locals, got, want)
	}
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func testDomains(t *testing.T, f *fixture) {
	d := directory.Domain{Name: "Bücher.Example", Separators: "+-", CaseSensitive: true, Disabled: true, MaxSize: 1 << 40, Tenant: 1<<63 + 7}
	f.changes(func() error { return f.store.PutDomain(f.ctx(), d, true) })
	d.Name, d.Created = "xn--bcher-kva.example", start
	f.clock.Advance(time.Hour)
	f.domain("a.test")

	all, err := f.store.Domains(f.ctx())
	f.ok(err)
	equal(t, "domains", all, []directory.Domain{{Name: "a.test", Separators: "+", Created: start.Add(time.Hour)}, d})

	d.Disabled, d.MaxSize = false, 0
	f.changes(func() error { return f.store.PutDomain(f.ctx(), d, false) })
	found, err := f.store.Find(f.ctx(), "xn--bcher-kva.example", nil)
	f.ok(err)
	equal(t, "domain alone", found, directory.Found{Domain: d})

	f.is(directory.ErrExists, func() error { return f.store.PutDomain(f.ctx(), directory.Domain{Name: "BÜCHER.example"}, true) })
	f.is(directory.ErrNotFound, func() error { return f.store.PutDomain(f.ctx(), directory.Domain{Name: "none.test"}, false) })
	f.is(directory.ErrNotFound, func() error { return f.store.RemoveDomain(f.ctx(), "none.test", true) })

	f.account("joe@a.test")
	f.alias("info@a.test", "joe@a.test")
	f.refuses("a.test", func() error { return f.store.RemoveDomain(f.ctx(), "a.test", false) })
	f.changes(func() error { return f.store.RemoveDomain(f.ctx(), "A.test", true) })
	f.finds("no domain", "a.test", "joe")
	accounts, err := f.store.Accounts(f.ctx(), "")
	f.ok(err)
	equal(t, "accounts after their domain", accounts, []directory.Account(nil))
	f.domain("a.test")
	f.finds("nobody", "a.test", "joe", "info")
}

func testAliasDomains(t *testing.T, f *fixture) {
	f.domain("real.test")
	joe := f.account("joe@real.test")
	f.changes(func() error {
		return f.store.PutDomain(f.ctx(), directory.Domain{Name: "also.test", AliasOf: "REAL.test"}, true)
	})
	found, err := f.store.Find(f.ctx(), "also.test", []string{"joe"})
	f.ok(err)
	equal(t, "account through the alias domain", found.Account, &joe)
	if found.Domain.Name != "real.test" {
		t.Errorf("found in %q, want the alias domain's target", found.Domain.Name)
	}

	put := func(d directory.Domain, create bool) func() error {
		return func() error { return f.store.PutDomain(f.ctx(), d, create) }
	}
	f.refuses("also.test", put(directory.Domain{Name: "chain.test", AliasOf: "also.test"}, true))
	f.domain("empty.test")
	f.refuses("self.test", put(directory.Domain{Name: "self.test", AliasOf: "self.test"}, true))
	f.refuses("real.test", put(directory.Domain{Name: "real.test", AliasOf: "empty.test"}, false))
	f.is(directory.ErrNotFound, put(directory.Domain{Name: "lost.test", AliasOf: "none.test"}, true))
	f.refuses("x@also.test", put(directory.Domain{Name: "both.test", AliasOf: "real.test", CatchAll: "x@also.test"}, true))
	f.refuses("also.test", func() error {
		return f.store.PutAccount(f.ctx(), &directory.Account{Address: mail.ParseAddress("x@also.test")}, true)
	})
	f.domain("full.test")
	f.account("ann@full.test")
	f.refuses("full.test", put(directory.Domain{Name: "full.test", AliasOf: "real.test"}, false))

	f.changes(put(directory.Domain{Name: "also.test", AliasOf: "real.test", Disabled: true}, false))
	found, err = f.store.Find(f.ctx(), "also.test", []string{"joe"})
	f.ok(err)
	if !found.Domain.Disabled {
		t.Error("a disabled alias domain is found enabled")
	}
	f.refuses("real.test", func() error { return f.store.RemoveDomain(f.ctx(), "real.test", false) })
	f.changes(func() error { return f.store.RemoveDomain(f.ctx(), "real.test", true) })
	f.finds("no domain", "also.test", "joe")
}

func testCatchAll(t *testing.T, f *fixture) {
	f.domain("a.test", "b.test")
	f.account("joe@a.test")
	set := func(domain, to string) func() error {
		d := directory.NewDomain(domain)
		d.CatchAll = to
		return func() error { return f.store.PutDomain(f.ctx(), d, false) }
	}
	f.refuses("none@a.test", set("a.test", "none@a.test"))
	f.refuses("@a.test", set("a.test", "@a.test"))
	f.refuses("joe", set("a.test", "joe"))
	f.changes(set("a.test", "joe@A.test"))
	f.finds("account joe@a.test by catch-all", "a.test", "x", "y")
	f.finds("account joe@a.test", "a.test", "x", "joe")

	// Over a domain: what is caught in b is not caught again in a.
	f.refuses("none@a.test", set("b.test", "none@a.test"))
	f.changes(set("b.test", "joe+b@a.test"))
	f.finds("account joe@a.test by catch-all", "b.test", "x")
	f.refuses("joe@a.test", func() error { return f.store.RemoveAccount(f.ctx(), mail.ParseAddress("joe@a.test")) })
	f.refuses("a.test", func() error { return f.store.RemoveDomain(f.ctx(), "a.test", true) })

	f.changes(set("b.test", "far@elsewhere.example"))
	f.finds("alias far@elsewhere.example by catch-all", "b.test", "x")
	found, err := f.store.Find(f.ctx(), "b.test", []string{"x"})
	f.ok(err)
	equal(t, "targets of a far catch-all", found.Alias.Targets, []mail.Address{{Local: "far", Domain: "elsewhere.example"}})
	f.changes(set("b.test", ""))
	f.finds("nobody", "b.test", "x")
	f.changes(set("a.test", ""))
	f.changes(func() error { return f.store.RemoveAccount(f.ctx(), mail.ParseAddress("joe@a.test")) })
}

func testAccounts(t *testing.T, f *fixture) {
	f.domain("a.test", "b.test")
	a := directory.Account{
		Address: mail.Address{Local: "Joe.D", Domain: "A.TEST"}, Name: "Joe 조", Disabled: true, NoSend: true,
		QuotaBytes: 1 << 41, QuotaMessages: 7, MaxSize: 9, MaxRecipients: 20, Tenant: 12,
	}
	f.changes(func() error { return f.store.PutAccount(f.ctx(), &a, true) })
	want := a
	want.Address.Domain = "a.test"
	want.Mailbox, want.Created = "a.test/joe.d/Maildir", start
	if a.ID == 0 {
		t.Error("the account has no id")
	}
	equal(t, "the account given", a, want)
	got, err := f.store.Account(f.ctx(), a.ID)
	f.ok(err)
	equal(t, "the account by id", got, &want)
	found, err := f.store.Find(f.ctx(), "a.test", []string{"joe.d"})
	f.ok(err)
	equal(t, "the account found", found, directory.Found{Domain: found.Domain, Local: "joe.d", Account: &want})

	f.clock.Advance(time.Hour)
	change := directory.Account{Address: mail.Address{Local: "JOE.d", Domain: "a.test"}, Name: "Joe"}
	f.changes(func() error { return f.store.PutAccount(f.ctx(), &change, false) })
	got, err = f.store.Account(f.ctx(), a.ID)
	f.ok(err)
	equal(t, "the account changed", got, &directory.Account{ID: a.ID, Address: mail.Address{Local: "JOE.d", Domain: "a.test"}, Name: "Joe", Mailbox: want.Mailbox, Created: start})

	f.is(directory.ErrExists, func() error {
		return f.store.PutAccount(f.ctx(), &directory.Account{Address: mail.ParseAddress("joe.d@a.test")}, true)
	})
	f.is(directory.ErrNotFound, func() error {
		return f.store.PutAccount(f.ctx(), &directory.Account{Address: mail.ParseAddress("ann@a.test")}, false)
	})
	f.is(directory.ErrNotFound, func() error {
		return f.store.PutAccount(f.ctx(), &directory.Account{Address: mail.ParseAddress("ann@none.test")}, true)
	})
	f.is(directory.ErrNotFound, func() error { return f.store.RemoveAccount(f.ctx(), mail.ParseAddress("ann@a.test")) })
	f.is(directory.ErrNotFound, func() error { _, err := f.store.Account(f.ctx(), 1<<63); return err })
	f.is(directory.ErrNotFound, func() error { _, err := f.store.Accounts(f.ctx(), "none.test"); return err })

	ann, bob := f.account("ann@b.test"), f.account("bob@a.test")
	list, err := f.store.Accounts(f.ctx(), "")
	f.ok(err)
	equal(t, "all accounts by address", ids(list), []uint64{bob.ID, a.ID, ann.ID})
	list, err = f.store.Accounts(f.ctx(), "B.test")
	f.ok(err)
	equal(t, "accounts of one domain", list, []directory.Account{ann})

	f.changes(func() error { return f.store.RemoveAccount(f.ctx(), mail.ParseAddress("Bob@a.test")) })
	f.finds("nobody", "a.test", "bob")
	if again := f.account("bob@a.test"); again.ID == bob.ID || again.ID == ann.ID {
		t.Error("an id was given twice: the new owner would inherit what is kept by id")
	}
}

func ids(list []directory.Account) (ids []uint64) {
	for _, a := range list {
		ids = append(ids, a.ID)
	}
	return ids
}

func testAliases(t *testing.T, f *fixture) {
	f.domain("a.test")
	f.changes(func() error {
		return f.store.PutDomain(f.ctx(), directory.Domain{Name: "also.test", AliasOf: "a.test"}, true)
	})
	f.account("joe@a.test")
	f.alias("Info@a.test", "joe@a.test", "x y@far.example", "joe@a.test", "z@[192.0.2.1]")
	list, err := f.store.Aliases(f.ctx(), "a.test")
	f.ok(err)
	equal(t, "aliases, doubles left out", list, []directory.Alias{alias("Info@a.test", "joe@a.test", "x y@far.example", "z@[192.0.2.1]")})

	put := func(a directory.Alias, create bool) func() error {
		return func() error { return f.store.PutAlias(f.ctx(), a, create) }
	}
	f.changes(put(directory.Alias{Address: mail.ParseAddress("info@a.test"), Targets: []mail.Address{{Local: "q", Domain: "far.example"}}, Tenant: 4}, false))
	found, err := f.store.Find(f.ctx(), "a.test", []string{"info"})
	f.ok(err)
	equal(t, "the alias found", found.Alias, &directory.Alias{Address: mail.ParseAddress("info@a.test"), Targets: []mail.Address{{Local: "q", Domain: "far.example"}}, Tenant: 4})

	f.refuses("none@a.test", put(alias("none@a.test"), true))
	for _, self := range []string{"me@a.test", "ME@A.test", "me+x@a.test", "me@also.test"} {
		f.refuses(strings.ToLower(self[:2]), put(alias("me@a.test", "joe@a.test", strings.ToLower(self)), true))
	}
	for _, bad := range []string{"joe", "@far.example", "joe@-x.example", "a\nb@far.example", "a\x00@far.example", "joe@[x]", strings.Repeat("l", 300) + "@far.example"} {
		f.refuses(bad, put(alias("me@a.test", bad), true))
	}
	f.is(directory.ErrExists, put(alias("joe@a.test", "x@far.example"), true))
	f.is(directory.ErrExists, put(alias("INFO@a.test", "x@far.example"), true))
	f.is(directory.ErrNotFound, put(alias("none@a.test", "x@far.example"), false))
	f.is(directory.ErrExists, func() error {
		return f.store.PutAccount(f.ctx(), &directory.Account{Address: mail.ParseAddress("info@a.test")}, true)
	})
	f.changes(func() error { return f.store.RemoveAlias(f.ctx(), mail.ParseAddress("INFO@a.test")) })
	f.is(directory.ErrNotFound, func() error { return f.store.RemoveAlias(f.ctx(), mail.ParseAddress("info@a.test")) })
}

func testFind(t *testing.T, f *fixture) {
	f.domain("a.test")
	f.account("joe@a.test")
	f.account("joe+vip@a.test")
	f.alias("info@a.test", "joe@a.test")
	f.finds("account joe+vip@a.test", "a.test", "joe+vip", "joe")
	f.finds("account joe@a.test", "a.test", "joe+x", "joe")
	f.finds("alias info@a.test", "a.test", "x", "info", "joe")
	f.finds("account joe@a.test", "A.Test", "JOE")
	f.finds("nobody", "a.test", "x")
	f.finds("nobody", "a.test")
	f.finds("no domain", "b.test", "joe")
	many := append(slices.Repeat([]string{"x"}, directory.MaxFindLocals-1), "joe")
	f.finds("account joe@a.test", "a.test", many...)
	f.finds("nobody", "a.test", append([]string{"x"}, many...)...)

	ctx, cancel := context.WithCancel(f.ctx())
	cancel()
	if _, err := f.store.Find(ctx, "a.test", []string{"joe"}); err == nil || errors.Is(err, directory.ErrNotFound) {
		t.Errorf("a cancelled Find says %v: an address must not seem unknown", err)
	}
}

func testFolding(t *testing.T, f *fixture) {
	d := directory.NewDomain("a.test")
	d.CaseSensitive = true
	put := func(create bool) func() error {
		return func() error { return f.store.PutDomain(f.ctx(), d, create) }
	}
	f.changes(put(true))
	f.account("Joe@a.test")
	f.account("joe@a.test")
	f.alias("Info@a.test", "joe@a.test")
	f.finds("account Joe@a.test", "a.test", "Joe")
	f.finds("account joe@a.test", "a.test", "joe")
	f.finds("nobody", "a.test", "info")
	d.CaseSensitive = false
	f.refuses("a.test", put(false))
	f.changes(func() error { return f.store.RemoveAccount(f.ctx(), mail.ParseAddress("joe@a.test")) })
	f.changes(put(false))
	f.finds("account Joe@a.test", "a.test", "jOE")
	f.finds("alias Info@a.test", "a.test", "INFO")
	d.CaseSensitive = true
	f.changes(put(false))
	f.finds("nobody", "a.test", "jOE")
	f.finds("account Joe@a.test", "a.test", "Joe")
	f.finds("alias Info@a.test", "a.test", "Info")
	// NFD finds NFC, and the bytes stay as they were given.
	f.account("jose\u0301@a.test")
	f.finds("account jose\u0301@a.test", "a.test", "jos\u00e9")
}

func testMailboxes(t *testing.T, f *fixture) {
	f.domain("a.test")
	for local, want := range map[string]string{
		"joe": "a.test/joe/Maildir", "..": "a.test/%2e./Maildir", ".ssh": "a.test/%2essh/Maildir", "a/b": "a.test/a%2fb/Maildir",
		"50%": "a.test/50%25/Maildir", "조": "a.test/%ec%a1%b0/Maildir", "UP+x": "a.test/up+x/Maildir", "a{b}": "a.test/a%7bb%7d/Maildir",
	} {
		if a := f.account(local + "@a.test"); a.Mailbox != want {
			t.Errorf("mailbox of %q is %q, want %q", local, a.Mailbox, want)
		}
	}
	put := func(address, mailbox string) func() error {
		a := directory.Account{Address: mail.ParseAddress(address), Mailbox: mailbox}
		return func() error { return f.store.PutAccount(f.ctx(), &a, true) }
	}
	for _, bad := range []string{"/abs", "../up", "a/../b", "a/./b", "a//b", ".hidden", "a/.b", "a\x00b", "a\nb", `a\b`, "a/", "a.test/joe/Maildir"} {
		f.refuses(bad, put("bad@a.test", bad))
	}
	f.changes(put("old@a.test", "a.test/ann/Maildir"))
	ann := f.account("ann@a.test")
	if ann.Mailbox == "a.test/ann/Maildir" || !strings.HasPrefix(ann.Mailbox, "a.test/ann%-") {
		t.Errorf("two accounts share the mailbox %q", ann.Mailbox)
	}
}

func testBlocks(t *testing.T, f *fixture) {
	put := func(b directory.Block) func() error { return func() error { return f.store.PutBlock(f.ctx(), b) } }
	f.changes(put(directory.Block{What: "::ffff:192.0.2.7", Reason: "spam"}))
	f.changes(put(directory.Block{What: "2001:db8::5/32", Reason: "range", Expires: start.Add(time.Hour)}))
	f.changes(put(directory.Block{What: "Joe@A.test", Reason: "left"}))
	f.changes(put(directory.Block{What: "192.0.2.7", Reason: "more spam"}))
	list, err := f.store.Blocks(f.ctx())
	f.ok(err)
	equal(t, "blocks", list, []directory.Block{
		{What: "192.0.2.7", Reason: "more spam", Created: start},
		{What: "2001:db8::/32", Reason: "range", Expires: start.Add(time.Hour), Created: start},
		{What: "joe@a.test", Reason: "left", Created: start},
	})
	f.refuses("192.0.2.300", put(directory.Block{What: "192.0.2.300"}))
	f.refuses("2026-01-02", put(directory.Block{What: "192.0.2.8", Expires: start}))
	f.refuses("a\nb", put(directory.Block{What: "192.0.2.8", Reason: "a\nb"}))
	f.clock.Advance(time.Hour)
	list, err = f.store.Blocks(f.ctx())
	f.ok(err)
	if len(list) != 2 {
		t.Errorf("%d blocks after one expired, want 2", len(list))
	}
	f.changes(func() error { return f.store.RemoveBlock(f.ctx(), "JOE@a.test") })
	f.is(directory.ErrNotFound, func() error { return f.store.RemoveBlock(f.ctx(), "joe@a.test") })
	f.refuses("nonsense", func() error { return f.store.RemoveBlock(f.ctx(), "nonsense") })
}
