package directorytest

// Who administers what, and what a domain may hold.

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/mail"
)

// administers returns the names of what an account administers.
func (f *fixture) administers(account uint64) string {
	f.t.Helper()
	all, err := f.store.Administered(f.ctx(), account)
	f.ok(err)
	var names []string
	for _, d := range all.Domains {
		names = append(names, d.Name)
	}
	for _, n := range all.Tenants {
		names = append(names, fmt.Sprint("tenant ", n))
	}
	return strings.Join(names, " ")
}

func (f *fixture) appoint(address, domain string) {
	f.t.Helper()
	f.changes(func() error {
		return f.store.PutAdministrator(f.ctx(), directory.Administrator{Address: mail.ParseAddress(address), Domain: domain})
	})
}

func testAdministrators(t *testing.T, f *fixture) {
	f.domain("a.test", "b.test", "c.test")
	joe, ann := f.account("joe@a.test"), f.account("ann@b.test")
	f.changes(func() error {
		return f.store.PutDomain(f.ctx(), directory.Domain{Name: "also.test", AliasOf: "a.test"}, true)
	})
	f.appoint("JOE@A.test", "A.test")
	f.appoint("ann@b.test", "a.test")
	f.appoint("joe@a.test", "c.test")
	if got := f.administers(joe.ID); got != "a.test also.test c.test" {
		t.Errorf("joe administers %q", got)
	}
	list, err := f.store.Administrators(f.ctx(), "A.test")
	f.ok(err)
	want := []directory.Administrator{{Account: joe.ID, Address: joe.Address, Domain: "a.test", Created: start}, {Account: ann.ID, Address: ann.Address, Domain: "a.test", Created: start}}
	if d := cmp.Diff(want, list, cmpopts.SortSlices(func(a, b directory.Administrator) bool { return a.Account < b.Account })); d != "" {
		t.Error(d)
	}
	all, err := f.store.Administrators(f.ctx(), "")
	if f.ok(err); len(all) != 3 {
		t.Errorf("in all %+v", all)
	}

	put := func(address, domain string) func() error {
		return func() error {
			return f.store.PutAdministrator(f.ctx(), directory.Administrator{Address: mail.ParseAddress(address), Domain: domain})
		}
	}
	f.is(directory.ErrExists, put("joe@a.test", "a.test"))
	f.is(directory.ErrNotFound, put("nobody@a.test", "a.test"))
	f.is(directory.ErrNotFound, put("joe@a.test", "none.test"))
	f.refuses("also.test", put("joe@a.test", "also.test"))
	f.refuses("joe@a.test", put("joe@a.test", ""))
	f.refuses("c.test", func() error {
		return f.store.PutDomain(f.ctx(), directory.Domain{Name: "c.test", AliasOf: "a.test"}, false)
	})
	f.is(directory.ErrNotFound, func() error {
		return f.store.RemoveAdministrator(f.ctx(), directory.Administrator{Address: ann.Address, Domain: "c.test"})
	})

	// Folding moves every address; who administers stays.
	f.changes(func() error {
		return f.store.PutDomain(f.ctx(), directory.Domain{Name: "a.test", Separators: "+", CaseSensitive: true}, false)
	})
	if got := f.administers(joe.ID); got != "a.test also.test c.test" {
		t.Errorf("after another folding joe administers %q", got)
	}
	f.changes(func() error {
		return f.store.RemoveAdministrator(f.ctx(), directory.Administrator{Address: mail.ParseAddress("joe@a.test"), Domain: "C.test"})
	})
	if got := f.administers(joe.ID); got != "a.test also.test" {
		t.Errorf("joe administers %q", got)
	}
	// It ends with the domain, and with the account: another of the same address inherits nothing.
	f.changes(func() error { return f.store.RemoveAccount(f.ctx(), joe.Address) })
	if again := f.account("joe@a.test"); f.administers(again.ID) != "" || f.administers(joe.ID) != "" {
		t.Error("a new account inherits what a removed one administered")
	}
	f.appoint("ann@b.test", "c.test")
	f.changes(func() error { return f.store.RemoveDomain(f.ctx(), "c.test", true) })
	f.domain("c.test")
	if got := f.administers(ann.ID); got != "a.test also.test" {
		t.Errorf("ann administers %q after the end of c.test", got)
	}
	f.changes(func() error { return f.store.RemoveDomain(f.ctx(), "b.test", true) })
	if all, err = f.store.Administrators(f.ctx(), ""); err != nil || len(all) != 0 {
		t.Errorf("after the end of the accounts' domains: %+v, %v", all, err)
	}
	if got := f.administers(0); got != "" {
		t.Errorf("nobody administers %q", got)
	}
}

func testTenants(t *testing.T, f *fixture) {
	for i, name := range []string{"a.test", "b.test", "c.test"} {
		d := directory.NewDomain(name)
		d.Tenant = 1<<63 + uint64(i/2)
		f.changes(func() error { return f.store.PutDomain(f.ctx(), d, true) })
	}
	joe := f.account("joe@a.test")
	whole := directory.Administrator{Address: joe.Address, Tenant: 1 << 63}
	f.changes(func() error { return f.store.PutAdministrator(f.ctx(), whole) })
	f.is(directory.ErrExists, func() error { return f.store.PutAdministrator(f.ctx(), whole) })
	f.changes(func() error {
		return f.store.PutDomain(f.ctx(), directory.Domain{Name: "also.test", AliasOf: "b.test"}, true)
	})
	if got := f.administers(joe.ID); got != "a.test also.test b.test tenant 9223372036854775808" {
		t.Errorf("joe administers %q", got)
	}
	for domain, want := range map[string]int{"a.test": 1, "b.test": 1, "c.test": 0} {
		if list, err := f.store.Administrators(f.ctx(), domain); err != nil || len(list) != want {
			t.Errorf("%s has %+v, %v", domain, list, err)
		}
	}
	f.changes(func() error { return f.store.RemoveAdministrator(f.ctx(), whole) })
	if got := f.administers(joe.ID); got != "" {
		t.Errorf("joe still administers %q", got)
	}
}

func testLimits(t *testing.T, f *fixture) {
	d := directory.NewDomain("a.test")
	d.MaxAccounts, d.MaxAliases, d.QuotaBytes, d.DefaultQuota = 2, 1, 100<<20, 30<<20
	f.changes(func() error { return f.store.PutDomain(f.ctx(), d, true) })
	found, err := f.store.Find(f.ctx(), "a.test", nil)
	f.ok(err)
	d.Created = start
	equal(t, "the domain with its limits", found.Domain, d)

	put := func(address string, quota int64, create bool) func() error {
		return func() error {
			return f.store.PutAccount(f.ctx(), &directory.Account{Address: mail.ParseAddress(address), QuotaBytes: quota}, create)
		}
	}
	if joe := f.account("joe@a.test"); joe.QuotaBytes != 30<<20 {
		t.Errorf("a new account has a quota of %d bytes", joe.QuotaBytes)
	}
	f.refuses("ann@a.test", put("ann@a.test", 70<<20+1, true))
	f.refuses("ann@a.test", put("ann@a.test", 1<<62, true))
	f.changes(put("ann@a.test", 70<<20, true))
	f.refuses("bob@a.test", put("bob@a.test", 1, true))
	for _, quota := range []int64{0, 30<<20 + 1, 1<<63 - 1} {
		f.refuses("joe@a.test", put("joe@a.test", quota, false))
	}
	f.changes(put("joe@a.test", 20<<20, false))
	f.refuses("joe@a.test", put("joe@a.test", 31<<20, false))
	f.changes(put("joe@a.test", 30<<20, false))

	f.alias("one@a.test", "x@far.example")
	f.refuses("two@a.test", func() error { return f.store.PutAlias(f.ctx(), alias("two@a.test", "x@far.example"), true) })
	f.changes(func() error { return f.store.PutAlias(f.ctx(), alias("one@a.test", "y@far.example"), false) })

	// Limits below what is there keep it from growing, and nothing else.
	d.MaxAccounts, d.QuotaBytes, d.DefaultQuota = 1, 50<<20, 0
	f.changes(func() error { return f.store.PutDomain(f.ctx(), d, false) })
	f.changes(put("ann@a.test", 70<<20, false))
	f.changes(put("ann@a.test", 60<<20, false))
	f.refuses("ann@a.test", put("ann@a.test", 61<<20, false))
	f.changes(func() error { return f.store.RemoveAccount(f.ctx(), mail.ParseAddress("ann@a.test")) })
	f.refuses("ann@a.test", put("ann@a.test", 1<<20, true))

	for what, bad := range map[string]directory.Domain{"-1": {MaxAccounts: -1}, "-2": {MaxAliases: -2}, "-3": {QuotaBytes: -3}, "-4": {DefaultQuota: -4}, "6": {QuotaBytes: 5, DefaultQuota: 6}} {
		bad.Name = "bad.test"
		f.refuses(what, func() error { return f.store.PutDomain(f.ctx(), bad, true) })
	}
	// A domain without a sum may have accounts without a quota; a sum that comes later leaves them alone.
	f.domain("b.test")
	f.changes(put("joe@b.test", 0, true))
	f.changes(func() error {
		return f.store.PutDomain(f.ctx(), directory.Domain{Name: "b.test", QuotaBytes: 10}, false)
	})
	f.changes(put("joe@b.test", 0, false))
	f.refuses("joe@b.test", put("joe@b.test", 11, false))
	f.refuses("ann@b.test", put("ann@b.test", 0, true))
	f.changes(put("joe@b.test", 10, false))
}

// testNarrow are the changes that leave alone what is not theirs.
func testNarrow(t *testing.T, f *fixture) {
	d := directory.Domain{Name: "a.test", Separators: "-", MaxSize: 5, Tenant: 3, MaxAccounts: 4}
	f.changes(func() error { return f.store.PutDomain(f.ctx(), d, true) })
	a := directory.Account{Address: mail.ParseAddress("joe@a.test"), MaxSize: 7, MaxRecipients: 8, Mailbox: "own/Maildir", Tenant: 9}
	f.changes(func() error { return f.store.PutAccount(f.ctx(), &a, true) })
	change := directory.Account{Address: a.Address, Name: "Joe", QuotaBytes: 12, NoSend: true, Mailbox: "others/Maildir", MaxSize: 70, MaxRecipients: 80, Tenant: 90}
	f.changes(func() error { return f.store.ChangeAccount(f.ctx(), &change) })
	want := a
	want.Name, want.QuotaBytes, want.NoSend = "Joe", 12, true
	equal(t, "the account told", change, want)
	got, err := f.store.Account(f.ctx(), a.ID)
	f.ok(err)
	equal(t, "the account stored", got, &want)
	f.is(directory.ErrNotFound, func() error {
		return f.store.ChangeAccount(f.ctx(), &directory.Account{Address: mail.ParseAddress("ann@a.test")})
	})

	f.changes(func() error { return f.store.SetCatchAll(f.ctx(), "A.test", "joe@a.test") })
	d.CatchAll, d.Created = "joe@a.test", start
	found, err := f.store.Find(f.ctx(), "a.test", nil)
	f.ok(err)
	equal(t, "the domain", found.Domain, d)
	f.refuses("none@a.test", func() error { return f.store.SetCatchAll(f.ctx(), "a.test", "none@a.test") })
	f.is(directory.ErrNotFound, func() error { return f.store.SetCatchAll(f.ctx(), "none.test", "") })
	f.domain("b.test")
	f.changes(func() error { return f.store.SetCatchAll(f.ctx(), "b.test", "joe@a.test") })
	f.changes(func() error { return f.store.SetCatchAll(f.ctx(), "a.test", "") })
	err = f.store.RemoveAccount(f.ctx(), a.Address)
	if want := `account "joe@a.test": want one that is not the catch-all of a domain, as it is of "b.test"`; fmt.Sprint(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
