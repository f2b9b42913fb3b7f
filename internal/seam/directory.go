package seam

import (
	"context"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/rpc"
)

// Directory is a directory.Admin over rpc.
type Directory struct{ Client *Client }

var (
	_ directory.Admin    = Directory{}
	_ directory.Removals = Directory{}
)

// maxLocal is more than the bytes of any local part that an account has.
const maxLocal = 4 * directory.MaxLocal

type (
	findRequest struct {
		Domain string
		Locals []string
	}
	domainRequest struct {
		Domain directory.Domain
		Create bool
	}
	removeDomainRequest struct {
		Name string
		All  bool
	}
	accountRequest struct {
		Account directory.Account
		Create  bool
	}
	catchAllRequest struct {
		Domain, Address string
	}
	aliasRequest struct {
		Alias  directory.Alias
		Create bool
	}
)

// ReaderHandlers serves directory.Reader.
func ReaderHandlers(d directory.Reader) map[string]rpc.Handler {
	return map[string]rpc.Handler{
		"directory.find": rpc.Handle(func(ctx context.Context, r findRequest) (directory.Found, error) {
			return d.Find(ctx, r.Domain, r.Locals)
		}),
		"directory.account": rpc.Handle(d.Account),
	}
}

// BlocksHandlers serves the list of blocks, which every listener needs.
func BlocksHandlers(d directory.Admin) map[string]rpc.Handler {
	return map[string]rpc.Handler{
		"directory.blocks": rpc.Handle(func(ctx context.Context, _ none) ([]directory.Block, error) { return d.Blocks(ctx) }),
	}
}

// RemovalsHandlers serves directory.Removals.
func RemovalsHandlers(r directory.Removals) map[string]rpc.Handler {
	return map[string]rpc.Handler{
		"directory.removed": rpc.Handle(func(ctx context.Context, _ none) ([]directory.Removed, error) { return r.Removed(ctx) }),
		"directory.forget-removed": rpc.Handle(func(ctx context.Context, accounts []uint64) (none, error) {
			return none{}, r.ForgetRemoved(ctx, accounts)
		}),
	}
}

// Removed implements directory.Removals.
func (d Directory) Removed(ctx context.Context) ([]directory.Removed, error) {
	return call[none, []directory.Removed](ctx, d.Client, "directory.removed", none{})
}

// ForgetRemoved implements directory.Removals.
func (d Directory) ForgetRemoved(ctx context.Context, accounts []uint64) error {
	_, err := call[[]uint64, none](ctx, d.Client, "directory.forget-removed", accounts)
	return err
}

// changesWait bounds one wait for a change, well within what a call may take.
const changesWait = 15 * time.Second

// ChangesHandlers serves the wait for the directory's next generation.
func ChangesHandlers(g *directory.Generations) map[string]rpc.Handler {
	return map[string]rpc.Handler{
		"directory.changed": rpc.Handle(func(ctx context.Context, known uint64) (uint64, error) {
			ctx, cancel := context.WithTimeout(ctx, changesWait)
			defer cancel()
			now, _ := g.Changed(ctx, known)
			return now, nil
		}),
	}
}

// Follow brings g to the directory's generation, and keeps it there until ctx ends. While the
// directory cannot be reached g stays, and calls of the same client know of it.
func (d Directory) Follow(ctx context.Context, g *directory.Generations) error {
	known, pause := g.Now(), followSoonest
	for ctx.Err() == nil {
		var now uint64
		err := d.Client.try(ctx, time.Now().Add(2*changesWait), func(ctx context.Context) (err error) {
			now, err = rpc.Do[uint64, uint64](ctx, d.Client.Client, "directory.changed", known)
			return err
		})
		if err == nil {
			g.Set(now)
			known, pause = now, followSoonest
			continue
		}
		known = noGeneration // a role that comes up answers at once
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, time.Second)
	}
	return nil
}

const (
	followSoonest = 10 * time.Millisecond
	noGeneration  = ^uint64(0) // that no directory comes to
)

// AdminHandlers serves directory.Admin.
func AdminHandlers(d directory.Admin) map[string]rpc.Handler {
	return withInvalid(Handlers(ReaderHandlers(d), BlocksHandlers(d), map[string]rpc.Handler{
		"directory.domains": rpc.Handle(func(ctx context.Context, _ none) ([]directory.Domain, error) { return d.Domains(ctx) }),
		"directory.put-domain": rpc.Handle(func(ctx context.Context, r domainRequest) (none, error) {
			return none{}, d.PutDomain(ctx, r.Domain, r.Create)
		}),
		"directory.remove-domain": rpc.Handle(func(ctx context.Context, r removeDomainRequest) (none, error) {
			return none{}, d.RemoveDomain(ctx, r.Name, r.All)
		}),
		"directory.accounts": rpc.Handle(d.Accounts),
		"directory.put-account": rpc.Handle(func(ctx context.Context, r accountRequest) (directory.Account, error) {
			err := d.PutAccount(ctx, &r.Account, r.Create)
			return r.Account, err
		}),
		"directory.remove-account": rpc.Handle(func(ctx context.Context, a mail.Address) (none, error) {
			return none{}, d.RemoveAccount(ctx, a)
		}),
		"directory.aliases": rpc.Handle(d.Aliases),
		"directory.put-alias": rpc.Handle(func(ctx context.Context, r aliasRequest) (none, error) {
			return none{}, d.PutAlias(ctx, r.Alias, r.Create)
		}),
		"directory.remove-alias": rpc.Handle(func(ctx context.Context, a mail.Address) (none, error) {
			return none{}, d.RemoveAlias(ctx, a)
		}),
		"directory.administrators": rpc.Handle(d.Administrators),
		"directory.administered":   rpc.Handle(d.Administered),
		"directory.put-administrator": rpc.Handle(func(ctx context.Context, a directory.Administrator) (none, error) {
			return none{}, d.PutAdministrator(ctx, a)
		}),
		"directory.remove-administrator": rpc.Handle(func(ctx context.Context, a directory.Administrator) (none, error) {
			return none{}, d.RemoveAdministrator(ctx, a)
		}),
		"directory.change-account": rpc.Handle(func(ctx context.Context, a directory.Account) (directory.Account, error) {
			err := d.ChangeAccount(ctx, &a)
			return a, err
		}),
		"directory.set-catch-all": rpc.Handle(func(ctx context.Context, r catchAllRequest) (none, error) {
			return none{}, d.SetCatchAll(ctx, r.Domain, r.Address)
		}),
		"directory.put-block": rpc.Handle(func(ctx context.Context, b directory.Block) (none, error) {
			return none{}, d.PutBlock(ctx, b)
		}),
		"directory.remove-block": rpc.Handle(func(ctx context.Context, what string) (none, error) {
			return none{}, d.RemoveBlock(ctx, what)
		}),
	}))
}

// Find implements directory.Reader.
func (d Directory) Find(ctx context.Context, domain string, locals []string) (directory.Found, error) {
	// A frame is bounded, and JSON keeps no bytes that are not UTF-8: neither can be ours.
	if _, err := directory.DomainKey(domain); err != nil {
		return directory.Found{}, fmt.Errorf("%w: %w", directory.ErrNotFound, err)
	}
	kept := make([]string, 0, len(locals))
	for _, l := range locals {
		if len(l) <= maxLocal && utf8.ValidString(l) {
			kept = append(kept, l)
		}
	}
	locals = kept
	return call[findRequest, directory.Found](ctx, d.Client, "directory.find", findRequest{domain, locals})
}

// Account implements directory.Reader.
func (d Directory) Account(ctx context.Context, account uint64) (*directory.Account, error) {
	return call[uint64, *directory.Account](ctx, d.Client, "directory.account", account)
}

// Domains implements directory.Admin.
func (d Directory) Domains(ctx context.Context) ([]directory.Domain, error) {
	return call[none, []directory.Domain](ctx, d.Client, "directory.domains", none{})
}

// PutDomain implements directory.Admin.
func (d Directory) PutDomain(ctx context.Context, domain directory.Domain, create bool) error {
	if err := directory.CheckDomain(&domain); err != nil {
		return err // JSON would not carry any byte that it names
	}
	_, err := once[domainRequest, none](ctx, d.Client, "directory.put-domain", domainRequest{domain, create})
	return err
}

// RemoveDomain implements directory.Admin.
func (d Directory) RemoveDomain(ctx context.Context, name string, all bool) error {
	_, err := once[removeDomainRequest, none](ctx, d.Client, "directory.remove-domain", removeDomainRequest{name, all})
	return err
}

// Accounts implements directory.Admin.
func (d Directory) Accounts(ctx context.Context, domain string) ([]directory.Account, error) {
	return call[string, []directory.Account](ctx, d.Client, "directory.accounts", domain)
}

// PutAccount implements directory.Admin.
func (d Directory) PutAccount(ctx context.Context, a *directory.Account, create bool) error {
	checked := *a
	if err := directory.CheckAccount(&checked); err != nil {
		return err
	}
	got, err := once[accountRequest, directory.Account](ctx, d.Client, "directory.put-account", accountRequest{checked, create})
	if err == nil {
		*a = got
	}
	return err
}

// RemoveAccount implements directory.Admin.
func (d Directory) RemoveAccount(ctx context.Context, address mail.Address) error {
	_, err := once[mail.Address, none](ctx, d.Client, "directory.remove-account", address)
	return err
}

// Aliases implements directory.Admin.
func (d Directory) Aliases(ctx context.Context, domain string) ([]directory.Alias, error) {
	return call[string, []directory.Alias](ctx, d.Client, "directory.aliases", domain)
}

// PutAlias implements directory.Admin.
func (d Directory) PutAlias(ctx context.Context, a directory.Alias, create bool) error {
	a.Targets = slices.Clone(a.Targets)
	if err := directory.CheckAlias(&a); err != nil {
		return err
	}
	_, err := once[aliasRequest, none](ctx, d.Client, "directory.put-alias", aliasRequest{a, create})
	return err
}

// RemoveAlias implements directory.Admin.
func (d Directory) RemoveAlias(ctx context.Context, address mail.Address) error {
	_, err := once[mail.Address, none](ctx, d.Client, "directory.remove-alias", address)
	return err
}

// Blocks implements directory.Admin.
func (d Directory) Blocks(ctx context.Context) ([]directory.Block, error) {
	return call[none, []directory.Block](ctx, d.Client, "directory.blocks", none{})
}

// PutBlock implements directory.Admin.
func (d Directory) PutBlock(ctx context.Context, b directory.Block) error {
	if err := directory.CheckBlock(&b); err != nil {
		return err
	}
	_, err := once[directory.Block, none](ctx, d.Client, "directory.put-block", b)
	return err
}

// RemoveBlock implements directory.Admin.
func (d Directory) RemoveBlock(ctx context.Context, what string) error {
	_, err := once[string, none](ctx, d.Client, "directory.remove-block", what)
	return err
}

// Administrators implements directory.Admin.
func (d Directory) Administrators(ctx context.Context, domain string) ([]directory.Administrator, error) {
	return call[string, []directory.Administrator](ctx, d.Client, "directory.administrators", domain)
}

// Administered implements directory.Admin.
func (d Directory) Administered(ctx context.Context, account uint64) (directory.Administered, error) {
	return call[uint64, directory.Administered](ctx, d.Client, "directory.administered", account)
}

// PutAdministrator implements directory.Admin.
func (d Directory) PutAdministrator(ctx context.Context, a directory.Administrator) error {
	_, err := once[directory.Administrator, none](ctx, d.Client, "directory.put-administrator", a)
	return err
}

// RemoveAdministrator implements directory.Admin.
func (d Directory) RemoveAdministrator(ctx context.Context, a directory.Administrator) error {
	_, err := once[directory.Administrator, none](ctx, d.Client, "directory.remove-administrator", a)
	return err
}

// ChangeAccount implements directory.Admin.
func (d Directory) ChangeAccount(ctx context.Context, a *directory.Account) error {
	checked := *a
	if err := directory.CheckAccount(&checked); err != nil {
		return err
	}
	got, err := once[directory.Account, directory.Account](ctx, d.Client, "directory.change-account", checked)
	if err == nil {
		*a = got
	}
	return err
}

// SetCatchAll implements directory.Admin.
func (d Directory) SetCatchAll(ctx context.Context, domain, address string) error {
	_, err := once[catchAllRequest, none](ctx, d.Client, "directory.set-catch-all", catchAllRequest{domain, address})
	return err
}
