package authority_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/authority"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/directory/memdir"
	"github.com/postilion/postilion/internal/mail"
)

// passwords is an auth.Admin that keeps what was set.
type passwords struct {
	auth.Admin
	set map[uint64]string
}

func (p *passwords) SetPassword(_ context.Context, account uint64, password string) error {
	p.set[account] = password
	return nil
}
func (p *passwords) SetHash(_ context.Context, account uint64, form string) error {
	p.set[account] = form
	return nil
}
func (p *passwords) AddAppPassword(_ context.Context, account uint64, name string, _ []string) (string, error) {
	p.set[account] += " " + name
	return "secret", nil
}
func (p *passwords) RemoveAppPassword(_ context.Context, account uint64, name string) error {
	p.set[account] += " without " + name
	return nil
}
func (p *passwords) Credentials(context.Context, uint64) (auth.Credentials, error) {
	return auth.Credentials{}, nil
}
func (p *passwords) EndSessions(_ context.Context, account uint64) error {
	p.set[account] += " ended"
	return nil
}
func (p *passwords) Remove(_ context.Context, account uint64) error {
	p.set[account] = "removed"
	return nil
}
func (p *passwords) Unblock(context.Context, string) error             { p.set[0] += "unblocked"; return nil }
func (p *passwords) Blocked(context.Context) ([]auth.BlockedBy, error) { return nil, nil }

// house is a directory with a domain of the actor's, own.test, and others'.
type house struct {
	db  *memdir.DB
	set *passwords
	ids map[string]uint64
}

func must(t interface{ Fatal(...any) }, errs ...error) {
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func newHouse(t interface{ Fatal(...any) }) *house {
	ctx := context.Background()
	db, err := memdir.New("adam@own.test", "joe@own.test", "both@own.test", "tenth@own.test", "info@own.test=joe@own.test",
		"eve@secret.test", "vip@secret.test", "sales@secret.test=vip@secret.test", "ann@third.test", "x@hidden.test")
	must(t, err)
	h := &house{db: db, set: &passwords{set: map[uint64]string{}}, ids: map[string]uint64{}}
	all, err := db.Accounts(ctx, "")
	must(t, err)
	for _, a := range all {
		h.ids[a.Address.String()] = a.ID
	}
	own := directory.NewDomain("own.test")
	own.MaxAccounts, own.MaxAliases, own.QuotaBytes = 6, 3, 1000
	hidden := directory.NewDomain("hidden.test")
	hidden.Tenant = 7
	caught := directory.NewDomain("third.test")
	caught.CatchAll = "joe@own.test"
	must(t, db.PutDomain(ctx, own, false), db.PutDomain(ctx, hidden, false), db.PutDomain(ctx, caught, false),
		db.PutDomain(ctx, directory.Domain{Name: "also-own.test", AliasOf: "own.test"}, true),
		db.PutBlock(ctx, directory.Block{What: "eve@secret.test", Reason: "secret"}))
	for of, who := range map[string][]string{"own.test": {"adam@own.test", "both@own.test"}, "secret.test": {"both@own.test", "eve@secret.test"}} {
		for _, address := range who {
			must(t, db.PutAdministrator(ctx, directory.Administrator{Address: mail.ParseAddress(address), Domain: of}))
		}
	}
	must(t, db.PutAdministrator(ctx, directory.Administrator{Address: mail.ParseAddress("tenth@own.test"), Tenant: 9})) // of a tenant without domains
	return h
}

// as returns the wrappers as an account has them.
func (h *house) as(address string) (authority.Directory, authority.Auth) {
	a := authority.Actor{Account: h.ids[address], Address: address}
	return authority.Directory{Inner: h.db, Actor: a}, authority.Auth{Inner: h.set, Directory: h.db, Actor: a}
}

// outside is all that an actor of own.test must not change: everything but the accounts and aliases in own.test, its
// catch-all, and the passwords of its accounts that administer nothing more.
func (h *house) outside(t interface{ Fatal(...any) }, selfOnly string) string {
	ctx := context.Background()
	domains, err := h.db.Domains(ctx)
	must(t, err)
	accounts, err := h.db.Accounts(ctx, "")
	must(t, err)
	aliases, err := h.db.Aliases(ctx, "")
	must(t, err)
	admins, err := h.db.Administrators(ctx, "")
	must(t, err)
	blocks, err := h.db.Blocks(ctx)
	must(t, err)
	for i := range domains {
		if domains[i].Name == "own.test" && selfOnly == "" {
			domains[i].CatchAll = ""
		}
	}
	inside := func(a mail.Address) bool {
		return selfOnly == "" && a.Domain == "own.test" && a.Local != "both" && a.Local != "tenth"
	}
	accounts = slices.DeleteFunc(accounts, func(a directory.Account) bool { return inside(a.Address) })
	aliases = slices.DeleteFunc(aliases, func(a directory.Alias) bool { return inside(a.Address) })
	admins = slices.DeleteFunc(admins, func(a directory.Administrator) bool { return a.Address.String() == "adam@own.test" }) // who may remove itself
	set := map[string]string{}
	for address, id := range h.ids {
		if address != selfOnly && !inside(mail.ParseAddress(address)) {
			set[address] = h.set.set[id]
		}
	}
	text, err := json.MarshalIndent(map[string]any{"domains": domains, "accounts": accounts, "aliases": aliases, "administrators": admins, "blocks": blocks,
		"passwords": set, "nobody's": h.set.set[0]}, "", " ")
	must(t, err)
	return string(text)
}

// command does something at random and returns what was said in it, and what came back.
func (h *house) command(t *rapid.T, d authority.Directory, a authority.Auth) (said, told string) {
	ctx := context.Background()
	address := rapid.SampledFrom([]string{"adam@own.test", "joe@own.test", "both@own.test", "tenth@own.test", "new@own.test", "more@OWN.test", "info@own.test", "x@also-own.test",
		"eve@secret.test", "new@secret.test", "vip@SECRET.test", "sales@secret.test", "ann@third.test", "none@none.test"}).Draw(t, "address")
	addr := mail.ParseAddress(address)
	domain := rapid.SampledFrom([]string{"own.test", "OWN.test", "also-own.test", "secret.test", "third.test", "none.test", "", addr.Domain}).Draw(t, "domain")
	other := rapid.SampledFrom([]string{"joe@own.test", "out@far.example", "vip@secret.test", "|rm", "adam@own.test"}).Draw(t, "other")
	id := h.ids[strings.ToLower(address)]
	n := rapid.Int64Range(-1, 1200).Draw(t, "number")
	create := rapid.Bool().Draw(t, "create")
	account := &directory.Account{Address: addr, QuotaBytes: n}
	if rapid.IntRange(0, 5).Draw(t, "owners'") == 0 {
		account.MaxSize, account.Mailbox, account.Tenant = n, rapid.SampledFrom([]string{"", "secret.test/vip/Maildir/x"}).Draw(t, "mailbox"), 7
	}
	wide := directory.NewDomain(domain)
	wide.CatchAll, wide.MaxAccounts = other, int(n)
	narrow := directory.NewDomain("own.test")
	if have, err := h.db.Find(ctx, "own.test", nil); err == nil {
		narrow = have.Domain
		narrow.CatchAll = other
	}
	alias := directory.Alias{Address: addr, Targets: []mail.Address{mail.ParseAddress(other)}, Tenant: uint64(max(n, 0))}
	admin := directory.Administrator{Address: addr, Domain: domain, Tenant: 7}
	all := map[string]func() (any, error){
		"find":          func() (any, error) { return d.Find(ctx, domain, []string{addr.Local}) },
		"account":       func() (any, error) { return d.Account(ctx, id) },
		"domains":       func() (any, error) { return d.Domains(ctx) },
		"put-domain":    func() (any, error) { return nil, d.PutDomain(ctx, wide, create) },
		"narrow":        func() (any, error) { return nil, d.PutDomain(ctx, narrow, false) },
		"remove-domain": func() (any, error) { return nil, d.RemoveDomain(ctx, domain, create) },
		"accounts":      func() (any, error) { return d.Accounts(ctx, domain) },
		"put-account":   func() (any, error) { return account, d.PutAccount(ctx, account, create) },
		"change":        func() (any, error) { return account, d.ChangeAccount(ctx, account) },
		"remove":        func() (any, error) { return nil, d.RemoveAccount(ctx, addr) },
		"aliases":       func() (any, error) { return d.Aliases(ctx, domain) },
		"put-alias":     func() (any, error) { return nil, d.PutAlias(ctx, alias, create) },
		"remove-alias":  func() (any, error) { return nil, d.RemoveAlias(ctx, addr) },
		"blocks":        func() (any, error) { return d.Blocks(ctx) },
		"put-block":     func() (any, error) { return nil, d.PutBlock(ctx, directory.Block{What: address, Reason: "x"}) },
		"remove-block":  func() (any, error) { return nil, d.RemoveBlock(ctx, "eve@secret.test") },
		"admins":        func() (any, error) { return d.Administrators(ctx, domain) },
		"put-admin":     func() (any, error) { return nil, d.PutAdministrator(ctx, admin) },
		"remove-admin":  func() (any, error) { return nil, d.RemoveAdministrator(ctx, admin) },
		"administered":  func() (any, error) { return d.Administered(ctx, id) },
		"catch-all":     func() (any, error) { return nil, d.SetCatchAll(ctx, domain, other) },
		"password":      func() (any, error) { return nil, a.SetPassword(ctx, id, "changed") },
		"hash":          func() (any, error) { return nil, a.SetHash(ctx, id, "form") },
		"app":           func() (any, error) { return a.AddAppPassword(ctx, id, "phone", nil) },
		"remove-app":    func() (any, error) { return nil, a.RemoveAppPassword(ctx, id, "phone") },
		"end-sessions":  func() (any, error) { return nil, a.EndSessions(ctx, id) },
		"credentials":   func() (any, error) { return a.Credentials(ctx, id) },
		"forget":        func() (any, error) { return nil, a.Remove(ctx, id) },
		"unblock":       func() (any, error) { return nil, a.Unblock(ctx, address) },
		"blocked":       func() (any, error) { return a.Blocked(ctx) },
	}
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	name := rapid.SampledFrom(names).Draw(t, "command")
	result, err := all[name]()
	p, _ := json.Marshal(result)
	if err != nil {
		p = nil
	}
	return strings.ToLower(fmt.Sprint(name, address, domain, other)), strings.ToLower(fmt.Sprintf("%s %v", p, err))
}

func TestNoSequenceOfCommandsReachesBeyondTheActorsDomain(t *testing.T) {
	t.Parallel()
	for actor, selfOnly := range map[string]string{"adam@own.test": "", "joe@own.test": "joe@own.test", "vip@secret.test": "vip@secret.test", "nobody@none.test": "nobody@none.test"} {
		t.Run(actor, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				h := newHouse(t)
				d, a := h.as(actor)
				before := h.outside(t, selfOnly)
				for range rapid.IntRange(1, 30).Draw(t, "commands") {
					said, told := h.command(t, d, a)
					if now := h.outside(t, selfOnly); now != before {
						t.Fatalf("after %s, which answered %s:\n%s", said, told, cmp.Diff(before, now))
					}
					for _, secret := range []string{"secret.test", "third.test", "hidden.test"} {
						if strings.Contains(told, secret) && !strings.Contains(said, secret) && !strings.HasSuffix(actor, secret) {
							// An alias of its own may lead anywhere that the actor itself said before.
							if strings.Contains(said, "aliases") && secret == "secret.test" {
								continue
							}
							t.Fatalf("%s tells of %s: %s", said, secret, told)
						}
					}
				}
				h.withinLimits(t)
			})
		})
	}
}

// withinLimits fails where own.test has more than it may.
func (h *house) withinLimits(t *rapid.T) {
	accounts, err := h.db.Accounts(context.Background(), "own.test")
	must(t, err)
	aliases, err := h.db.Aliases(context.Background(), "own.test")
	must(t, err)
	sum := int64(0)
	for _, a := range accounts {
		sum += a.QuotaBytes
	}
	if len(accounts) > 6 || len(aliases) > 3 || sum > 1000 {
		t.Fatalf("own.test has %d accounts, %d aliases, %d bytes", len(accounts), len(aliases), sum)
	}
}
