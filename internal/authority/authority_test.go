package authority_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/authority"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/trace"
)

// events keeps what was recorded.
type events struct{ list []trace.Event }

func (e *events) Record(x trace.Event) { e.list = append(e.list, x) }

// said writes an event in a line.
func said(e trace.Event) string {
	return strings.TrimSpace(fmt.Sprintf("%s: %s %s: %s %s %s", e.Kind, e.Account, e.Client, e.Text, e.To, e.Reason))
}

func TestWhatAnAdministratorDoesAndIsRefused(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	d, a := h.as("adam@own.test")
	e := new(events)
	d.Journal = authority.Journal{Recorder: e, Client: "uid 1000"}
	a.Journal = d.Journal
	var removed []string
	d.Removed = func(_ context.Context, x directory.Account) error {
		removed = append(removed, x.Address.String())
		return nil
	}
	account := func(address string, quota int64) *directory.Account {
		return &directory.Account{Address: mail.ParseAddress(address), QuotaBytes: quota}
	}
	alias := func(address, target string) directory.Alias {
		return directory.Alias{Address: mail.ParseAddress(address), Targets: []mail.Address{mail.ParseAddress(target)}}
	}
	wide := account("wide@own.test", 5)
	wide.MaxRecipients = 100_000
	for _, c := range []struct {
		do    error
		text  string // of the error; "" for none
		event string
	}{
		{d.PutAccount(ctx, account("new@own.test", 10), true), "", "operator: adam@own.test uid 1000: account add new@own.test"},
		{d.PutAccount(ctx, account("big@own.test", 5000), true), `quota of "big@own.test": want one of at most 990 bytes: the domain has 1000 bytes for all accounts together`, ""},
		{d.PutAccount(ctx, account("x@secret.test", 10), true), "x@secret.test is not yours to manage", "refused: adam@own.test uid 1000: account add x@secret.test admin-not-yours"},
		{d.PutAccount(ctx, account("x@none.test", 10), true), "x@none.test is not yours to manage", "refused: adam@own.test uid 1000: account add x@none.test admin-not-yours"},
		{d.PutAccount(ctx, wide, true), "wide@own.test: limits of messages, mailbox and tenant: only the server's owner may do that", "refused: adam@own.test uid 1000: account add wide@own.test admin-owner-only"},
		{d.PutAccount(ctx, account("both@own.test", 10), false), "both@own.test administers more than you do: only the server's owner may change it", "refused: adam@own.test uid 1000: account set both@own.test admin-above"},
		{a.SetPassword(ctx, h.ids["both@own.test"], "x"), "both@own.test administers more than you do: only the server's owner may change it", "refused: adam@own.test uid 1000: account set password the account admin-above"},
		{a.SetPassword(ctx, h.ids["tenth@own.test"], "x"), "tenth@own.test administers more than you do: only the server's owner may change it", "refused: adam@own.test uid 1000: account set password the account admin-above"},
		{a.SetPassword(ctx, h.ids["eve@secret.test"], "x"), "the account is not yours to manage", "refused: adam@own.test uid 1000: account set password the account admin-not-yours"},
		{a.SetPassword(ctx, 4711, "x"), "the account is not yours to manage", "refused: adam@own.test uid 1000: account set password the account admin-not-yours"},
		{a.SetPassword(ctx, directory.SystemID(0), "x"), "the account is not yours to manage", "refused: adam@own.test uid 1000: account set password the account admin-not-yours"},
		{a.SetPassword(ctx, h.ids["joe@own.test"], "x"), "", "operator: adam@own.test uid 1000: account set password joe@own.test"},
		{a.SetHash(ctx, h.ids["joe@own.test"], "x"), "joe@own.test: only the server's owner may do that", "refused: adam@own.test uid 1000: account set password-hash the account admin-owner-only"},
		{d.PutAlias(ctx, alias("far@own.test", "out@far.example"), true), "", "operator: adam@own.test uid 1000: alias add far@own.test"},
		{d.PutAlias(ctx, alias("run@own.test", "|rm@own.test"), true), "target |rm@own.test: want the address of a person; programs and files are no targets here", "refused: adam@own.test uid 1000: alias add run@own.test admin-target"},
		{d.PutAlias(ctx, directory.Alias{Address: mail.ParseAddress("run@own.test"), Targets: []mail.Address{{Local: "|rm"}}}, true), "target |rm: want the address of a person; programs and files are no targets here", "refused: adam@own.test uid 1000: alias add run@own.test admin-target"},
		{d.RemoveAlias(ctx, mail.ParseAddress("sales@secret.test")), "sales@secret.test is not yours to manage", "refused: adam@own.test uid 1000: alias remove sales@secret.test admin-not-yours"},
		{d.SetCatchAll(ctx, "own.test", "joe@own.test"), "", "operator: adam@own.test uid 1000: domain set --catch-all own.test"},
		{d.SetCatchAll(ctx, "own.test", "vip@secret.test"), "catch-all vip@secret.test: an administrator may set an address of a domain that is his, or none; an alias there leads further", "refused: adam@own.test uid 1000: domain set --catch-all own.test admin-catch-all"},
		{d.PutDomain(ctx, directory.NewDomain("mine.test"), true), "domain add: only the server's owner may do that", "refused: adam@own.test uid 1000: domain add mine.test admin-owner-only"},
		{d.PutDomain(ctx, directory.NewDomain("own.test"), false), "own.test: all but the catch-all: only the server's owner may do that", "refused: adam@own.test uid 1000: domain set --catch-all own.test admin-owner-only"},
		{d.RemoveDomain(ctx, "own.test", true), "domain remove: only the server's owner may do that", "refused: adam@own.test uid 1000: domain remove own.test admin-owner-only"},
		{d.PutAdministrator(ctx, directory.Administrator{Address: mail.ParseAddress("joe@own.test"), Domain: "own.test"}), "domain admin add: only the server's owner may do that", "refused: adam@own.test uid 1000: domain admin add joe@own.test admin-owner-only"},
		// The catch-all of another domain is in the way: which, is not told.
		{errors.Join(d.SetCatchAll(ctx, "own.test", "")), "", "operator: adam@own.test uid 1000: domain set --catch-all own.test"},
		{d.RemoveAccount(ctx, mail.ParseAddress("joe@own.test")), `account "joe@own.test": want one that is not the catch-all of a domain`, ""},
		{func() error {
			hung := d
			hung.Removing = func(context.Context) error { return errors.New("role local does not answer") }
			return hung.RemoveAccount(ctx, mail.ParseAddress("new@own.test"))
		}(), "role local does not answer", ""},
		{d.RemoveAccount(ctx, mail.ParseAddress("new@own.test")), "", "operator: adam@own.test uid 1000: account remove new@own.test"},
		{d.RemoveAccount(ctx, mail.ParseAddress("new@own.test")), `account "new@own.test": not found`, ""},
	} {
		event := ""
		if c.event != "" && len(e.list) > 0 {
			event, e.list = said(e.list[0]), e.list[1:]
		}
		if got := fmt.Sprint(c.do); got != c.text && (c.do != nil || c.text != "") || event != c.event {
			t.Errorf("got %v and %q\nwant %s and %q", c.do, event, c.text, c.event)
		}
	}
	if len(e.list) > 0 || fmt.Sprint(removed) != "[new@own.test]" {
		t.Errorf("left over: %v, %v", e.list, removed)
	}
}

func TestAnAccountsOwnerChangesItsPasswordsAlone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	d, a := h.as("joe@own.test")
	if all, err := d.Accounts(ctx, "OWN.test"); err != nil || len(all) != 1 || all[0].Address.Local != "joe" {
		t.Errorf("joe sees %+v, %v", all, err)
	}
	if all, err := d.Accounts(ctx, ""); err != nil || len(all) != 1 {
		t.Errorf("joe sees %+v, %v", all, err)
	}
	if err := a.SetPassword(ctx, h.ids["joe@own.test"], "x"); err != nil {
		t.Error(err)
	}
	have, err := d.Account(ctx, h.ids["joe@own.test"])
	if err != nil {
		t.Fatal(err)
	}
	if err := d.PutAccount(ctx, have, false); err != nil {
		t.Errorf("a change of nothing: %v", err)
	}
	have.QuotaBytes++
	if err := d.PutAccount(ctx, have, false); reason.As(err).Reason != reason.AdminSelf.Reason {
		t.Errorf("its own quota: %v", err)
	}
	for _, err := range []error{a.SetPassword(ctx, h.ids["adam@own.test"], "x"), d.RemoveAccount(ctx, mail.ParseAddress("adam@own.test"))} {
		if reason.As(err).Reason != reason.AdminNotYours.Reason {
			t.Errorf("another's account: %v", err)
		}
	}
	if list, err := d.Domains(ctx); err != nil || len(list) != 0 {
		t.Errorf("joe sees the domains %+v, %v", list, err)
	}

	// An app password outlives itself in nothing.
	a.Actor.Device = "script"
	for _, err := range []error{a.SetPassword(ctx, h.ids["joe@own.test"], "x"), a.RemoveAppPassword(ctx, h.ids["joe@own.test"], "y")} {
		if reason.As(err).Reason != reason.AdminAppPassword.Reason {
			t.Errorf("by an app password: %v", err)
		}
	}
}

func TestRightsEndAtOnce(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	of := directory.Administrator{Address: mail.ParseAddress("adam@own.test"), Domain: "own.test"}
	for name, c := range map[string]struct {
		change func(*house) error
		want   reason.ID
	}{
		"taken away":      {func(h *house) error { return h.db.RemoveAdministrator(ctx, of) }, reason.AdminSelf.Reason},
		"account removed": {func(h *house) error { return h.db.RemoveAccount(ctx, of.Address) }, reason.AdminGone.Reason},
		"account disabled": {func(h *house) error {
			return h.db.PutAccount(ctx, &directory.Account{Address: of.Address, Disabled: true, QuotaBytes: 1}, false)
		}, reason.AdminGone.Reason},
		"domain disabled": {func(h *house) error {
			return h.db.PutDomain(ctx, directory.Domain{Name: "own.test", Disabled: true}, false)
		}, reason.AdminGone.Reason},
		"made anew": {func(h *house) error {
			return errors.Join(h.db.RemoveAccount(ctx, of.Address), h.db.PutAccount(ctx, &directory.Account{Address: of.Address, QuotaBytes: 1}, true))
		}, reason.AdminGone.Reason},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			d, _ := h.as("adam@own.test")
			if err := d.PutAccount(ctx, &directory.Account{Address: of.Address, QuotaBytes: 2}, false); err != nil {
				t.Fatal(err)
			}
			must(t, c.change(h))
			if err := d.PutAccount(ctx, &directory.Account{Address: of.Address, QuotaBytes: 3}, false); reason.As(err).Reason != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestTheOwnerDoesEverythingAndLeavesEvents(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	e := new(events)
	j := authority.Journal{Recorder: e}
	d := authority.Directory{Inner: h.db, Actor: authority.Actor{Owner: true}, Journal: j}
	a := authority.Auth{Inner: h.set, Directory: h.db, Actor: d.Actor, Journal: j}
	must(t, d.PutDomain(ctx, directory.NewDomain("more.test"), true), d.PutAccount(ctx, &directory.Account{Address: mail.ParseAddress("x@more.test"), MaxSize: 1}, true),
		a.SetHash(ctx, h.ids["joe@own.test"], "form"), d.RemoveAlias(ctx, mail.ParseAddress("sales@secret.test")), d.RemoveDomain(ctx, "more.test", true))
	want := "operator: owner : domain add more.test; operator: owner : account add x@more.test; operator: owner : account set password-hash joe@own.test; " +
		"operator: owner : alias remove sales@secret.test; operator: owner : domain remove more.test"
	var got []string
	for _, x := range e.list {
		got = append(got, said(x))
	}
	if strings.Join(got, "; ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "; "), want)
	}
	if err := d.RemoveAccount(ctx, mail.ParseAddress("joe@own.test")); err == nil || !strings.Contains(err.Error(), "third.test") {
		t.Errorf("the owner is told %v", err)
	}
}
