package authority

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/trace"
)

// Journal takes an event of everything that an actor did or was refused.
type Journal struct {
	Recorder trace.Recorder // nil forgets
	Clock    clock.Clock    // nil is the system's
	Client   string         // where the actor comes from, such as "uid 1000"
}

// Tell records a change, or its refusal. What failed otherwise has changed nothing and is told to who asked.
func (j Journal) Tell(a Actor, r Right, what string, err error) {
	refused, ok := errors.AsType[*reason.Error](err)
	if j.Recorder == nil || err != nil && !ok {
		return
	}
	e := trace.Event{Time: j.now(), Kind: trace.Operator, Role: "directory", Account: a.Name(), Client: j.Client, To: what, Text: string(r)}
	if ok {
		e.Kind, e.Code, e.Status, e.Reason = trace.Refused, refused.Code, refused.Enhanced, string(refused.Reason)
	}
	j.Recorder.Record(e)
}

func (j Journal) now() time.Time {
	if j.Clock == nil {
		return time.Now().UTC()
	}
	return j.Clock.Now().UTC()
}

// Directory is a directory.Admin as an actor may use it.
type Directory struct {
	Inner   directory.Admin
	Actor   Actor
	Journal Journal
	// Removing, where set, is asked before an account is removed; its error keeps it.
	Removing func(ctx context.Context) error
	// Removed, where set, is called after an account was removed by an actor who cannot see to what is left of it.
	Removed func(ctx context.Context, a directory.Account) error
}

var _ directory.Admin = Directory{}

// do runs a change that check allows, and tells of both.
func (d Directory) do(ctx context.Context, r Right, what string, check func(*Scope) error, change func(*Scope) error) error {
	s, err := Of(ctx, d.Inner, d.Actor)
	if err != nil {
		return err
	}
	if err = check(s); err == nil {
		err = s.public(change(s))
	}
	if errors.Is(err, errSame) {
		return nil
	}
	d.Journal.Tell(s.Actor, r, what, err)
	return err
}

// errSame is the result of a change of nothing.
var errSame = errors.New("it is so already")

// owners runs a change that is the owner's alone.
func (d Directory) owners(ctx context.Context, r Right, what string, change func() error) error {
	return d.do(ctx, r, what, func(s *Scope) error { return s.MayOwner(string(r)) }, func(*Scope) error { return change() })
}

// ownersView runs a reader that is the owner's alone.
func (d Directory) ownersView(ctx context.Context, r Right) error {
	s, err := Of(ctx, d.Inner, d.Actor)
	if err != nil {
		return err
	}
	return s.MayOwner(string(r))
}

// Find implements directory.Reader. It follows aliases and catch-alls to anywhere, so that it is the owner's.
func (d Directory) Find(ctx context.Context, domain string, locals []string) (directory.Found, error) {
	if err := d.ownersView(ctx, FindAnything); err != nil {
		return directory.Found{}, err
	}
	return d.Inner.Find(ctx, domain, locals)
}

// Account implements directory.Reader.
func (d Directory) Account(ctx context.Context, account uint64) (*directory.Account, error) {
	s, err := Of(ctx, d.Inner, d.Actor)
	if err != nil {
		return nil, err
	}
	return s.Target(ctx, SeeAccount, account)
}

// Domains implements directory.Admin: an administrator sees its own.
func (d Directory) Domains(ctx context.Context) ([]directory.Domain, error) {
	s, err := Of(ctx, d.Inner, d.Actor)
	if err != nil {
		return nil, err
	}
	if s.Owner {
		return d.Inner.Domains(ctx)
	}
	return slices.SortedFunc(maps.Values(s.domains), func(a, b directory.Domain) int { return strings.Compare(a.Name, b.Name) }), nil
}

// PutDomain implements directory.Admin. An administrator changes the catch-all alone.
func (d Directory) PutDomain(ctx context.Context, x directory.Domain, create bool) error {
	if d.Actor.Owner || create {
		r := ChangeDomain
		if create {
			r = AddDomain
		}
		return d.owners(ctx, r, x.Name, func() error { return d.Inner.PutDomain(ctx, x, create) })
	}
	name, err := directory.DomainKey(x.Name)
	if err != nil {
		return err
	}
	return d.do(ctx, SetCatchAll, name, func(s *Scope) error {
		if err := s.May(SetCatchAll, name, name); err != nil {
			return err
		}
		have := s.domains[name]
		have.CatchAll, have.Name, have.Created = x.CatchAll, x.Name, x.Created
		if have != x {
			return reason.AdminOwnerOnly.With(name + ": all but the catch-all")
		}
		return s.mayCatch(x.CatchAll)
	}, func(*Scope) error { return d.Inner.SetCatchAll(ctx, name, x.CatchAll) })
}

// mayCatch decides about a catch-all. One elsewhere would tell which addresses other domains of the host have.
func (s *Scope) mayCatch(address string) error {
	domain, err := directory.DomainKey(mail.ParseAddress(address).Domain)
	if address == "" || s.Owner || err == nil && s.administers(domain) {
		return nil
	}
	return reason.AdminCatchAll.With(address)
}

// SetCatchAll implements directory.Admin.
func (d Directory) SetCatchAll(ctx context.Context, domain, address string) error {
	name, err := directory.DomainKey(domain)
	if err != nil {
		return err
	}
	return d.do(ctx, SetCatchAll, name, func(s *Scope) error {
		if err := s.May(SetCatchAll, name, name); err != nil {
			return err
		}
		return s.mayCatch(address)
	}, func(*Scope) error { return d.Inner.SetCatchAll(ctx, name, address) })
}

// RemoveDomain implements directory.Admin.
func (d Directory) RemoveDomain(ctx context.Context, name string, all bool) error {
	return d.owners(ctx, RemoveDomain, name, func() error { return d.Inner.RemoveDomain(ctx, name, all) })
}

// listed runs a list of one domain's, or of all that are the actor's.
func listed[T any](ctx context.Context, d Directory, r Right, domain string, list func(domain string) ([]T, error)) (*Scope, []T, error) {
	s, err := Of(ctx, d.Inner, d.Actor)
	if err != nil {
		return nil, nil, err
	}
	if s.Owner {
		all, err := list(domain)
		return s, all, err
	}
	names := s.Domains()
	if domain != "" {
		name, err := directory.DomainKey(domain)
		if err != nil {
			return s, nil, err
		}
		if err := s.May(r, domain, name); err != nil {
			return s, nil, err
		}
		names = []string{name}
	}
	var all []T
	for _, name := range names {
		some, err := list(name)
		if err != nil {
			return s, nil, err
		}
		all = append(all, some...)
	}
	return s, all, nil
}

// Accounts implements directory.Admin: an administrator sees its domains' and its own, anybody else its own.
func (d Directory) Accounts(ctx context.Context, domain string) ([]directory.Account, error) {
	s, all, err := listed(ctx, d, SeeAccount, domain, func(name string) ([]directory.Account, error) { return d.Inner.Accounts(ctx, name) })
	if s == nil || s.Owner || s.administers(s.account.Address.Domain) {
		return all, err
	}
	key, kerr := directory.DomainKey(domain)
	switch {
	case domain == "" && err == nil:
		return append(all, *s.account), nil
	case kerr == nil && key == s.account.Address.Domain:
		return []directory.Account{*s.account}, nil
	}
	return all, err
}

// PutAccount implements directory.Admin. What is told in directory.OwnersAlone is.
func (d Directory) PutAccount(ctx context.Context, a *directory.Account, create bool) error {
	if d.Actor.Owner {
		r := ChangeAccount
		if create {
			r = AddAccount
		}
		return d.owners(ctx, r, a.Address.String(), func() error { return d.Inner.PutAccount(ctx, a, create) })
	}
	if !create {
		return d.ChangeAccount(ctx, a)
	}
	what := a.Address.String()
	return d.do(ctx, AddAccount, what, func(s *Scope) error {
		domain, err := directory.DomainKey(a.Address.Domain)
		if err != nil {
			return err
		}
		if err := s.May(AddAccount, what, domain); err != nil {
			return err
		}
		if directory.OwnersAlone(a, &directory.Account{}) {
			return reason.AdminOwnerOnly.With(what + ": limits of messages, mailbox and tenant")
		}
		return nil
	}, func(*Scope) error { return d.Inner.PutAccount(ctx, a, true) })
}

// ChangeAccount implements directory.Admin.
func (d Directory) ChangeAccount(ctx context.Context, a *directory.Account) error {
	what, same := a.Address.String(), false
	return d.do(ctx, ChangeAccount, what, func(s *Scope) error {
		have, err := s.at(ctx, a.Address)
		if err != nil {
			return err
		}
		wanted := *a
		wanted.ID, wanted.Created, wanted.System, wanted.Address = have.ID, have.Created, nil, have.Address
		wanted.Mailbox = cmp.Or(wanted.Mailbox, have.Mailbox)
		if same = wanted == *have; same { // as a verb does that changes the password alone
			return s.MayAccount(ctx, SeeAccount, have)
		}
		if err := s.MayAccount(ctx, ChangeAccount, have); err != nil {
			return err
		}
		if !s.Owner && directory.OwnersAlone(&wanted, have) {
			return reason.AdminOwnerOnly.With(what + ": limits of messages, mailbox and tenant")
		}
		return nil
	}, func(*Scope) error {
		if same {
			return errSame
		}
		return d.Inner.ChangeAccount(ctx, a)
	})
}

// at returns the account of an address of the actor's domains, or its own.
func (s *Scope) at(ctx context.Context, address mail.Address) (*directory.Account, error) {
	domain, err := directory.DomainKey(address.Domain)
	if err != nil {
		return nil, err
	}
	if !s.administers(domain) && domain != s.account.Address.Domain {
		return nil, reason.AdminNotYours.With(address.String())
	}
	f, err := s.directory.Find(ctx, domain, []string{address.Local})
	switch {
	case err != nil:
		return nil, err
	case f.Account != nil && !f.CatchAll && (s.administers(domain) || f.Account.ID == s.Account):
		return f.Account, nil
	case !s.administers(domain):
		return nil, reason.AdminNotYours.With(address.String())
	}
	return nil, notFound("account", address)
}

// Target returns an account by its id that the actor has a right to. The error is MayAccount's or the directory's; of an account that is
// not there, or is another's, nobody but the owner hears more than reason.AdminNotYours.
func (s *Scope) Target(ctx context.Context, r Right, account uint64) (*directory.Account, error) {
	a, err := s.directory.Account(ctx, account)
	if err != nil {
		if errors.Is(err, directory.ErrNotFound) && !s.Owner {
			return nil, reason.AdminNotYours.With("the account")
		}
		return nil, err
	}
	if err := s.MayAccount(ctx, r, a); err != nil {
		if e := reason.As(err); e.Reason == reason.AdminNotYours.Reason {
			return nil, reason.AdminNotYours.With("the account") // an address may not be known
		}
		return nil, err
	}
	return a, nil
}

// RemoveAccount implements directory.Admin.
func (d Directory) RemoveAccount(ctx context.Context, address mail.Address) error {
	if d.Actor.Owner {
		return d.owners(ctx, RemoveAccount, address.String(), func() error { return d.Inner.RemoveAccount(ctx, address) })
	}
	var have *directory.Account
	return d.do(ctx, RemoveAccount, address.String(), func(s *Scope) (err error) {
		if have, err = s.at(ctx, address); err != nil {
			return err
		}
		return s.MayAccount(ctx, RemoveAccount, have)
	}, func(*Scope) error {
		if d.Removing != nil {
			if err := d.Removing(ctx); err != nil {
				return err
			}
		}
		err := d.Inner.RemoveAccount(ctx, address)
		if err == nil && d.Removed != nil {
			err = d.Removed(ctx, *have)
		}
		return err
	})
}

// Administrators implements directory.Admin: who is of a domain that is not the actor's is left out.
func (d Directory) Administrators(ctx context.Context, domain string) ([]directory.Administrator, error) {
	s, all, err := listed(ctx, d, SeeDomain, domain, func(name string) ([]directory.Administrator, error) { return d.Inner.Administrators(ctx, name) })
	if s == nil || s.Owner || err != nil {
		return all, err
	}
	return slices.DeleteFunc(all, func(a directory.Administrator) bool {
		return a.Account != s.Account && !s.administers(a.Address.Domain)
	}), nil
}

// PutAdministrator implements directory.Admin.
func (d Directory) PutAdministrator(ctx context.Context, a directory.Administrator) error {
	return d.owners(ctx, AddAdmin, a.Address.String(), func() error { return d.Inner.PutAdministrator(ctx, a) })
}

// RemoveAdministrator implements directory.Admin.
func (d Directory) RemoveAdministrator(ctx context.Context, a directory.Administrator) error {
	return d.owners(ctx, RemoveAdmin, a.Address.String(), func() error { return d.Inner.RemoveAdministrator(ctx, a) })
}

// Administered implements directory.Admin; the actor asks for itself.
func (d Directory) Administered(ctx context.Context, account uint64) (directory.Administered, error) {
	if !d.Actor.Owner && account != d.Actor.Account {
		return directory.Administered{}, reason.AdminOwnerOnly.With(string(SeeAdministrated))
	}
	if _, err := Of(ctx, d.Inner, d.Actor); err != nil {
		return directory.Administered{}, err
	}
	return d.Inner.Administered(ctx, account)
}

// Blocks implements directory.Admin.
func (d Directory) Blocks(ctx context.Context) ([]directory.Block, error) {
	if err := d.ownersView(ctx, SeeBlocks); err != nil {
		return nil, err
	}
	return d.Inner.Blocks(ctx)
}

// PutBlock implements directory.Admin.
func (d Directory) PutBlock(ctx context.Context, b directory.Block) error {
	return d.owners(ctx, AddBlock, b.What, func() error { return d.Inner.PutBlock(ctx, b) })
}

// RemoveBlock implements directory.Admin.
func (d Directory) RemoveBlock(ctx context.Context, what string) error {
	return d.owners(ctx, RemoveBlock, what, func() error { return d.Inner.RemoveBlock(ctx, what) })
}
