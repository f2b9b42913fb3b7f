// Package authority decides what may be done to domains, accounts and aliases by whom: the server's owner
// everything, an administrator what is in its domains, anybody else its own passwords. Directory and Auth
// hold whatever passes through them to that, so that verbs, an HTTP API and a web console share one rule.
//
// An administrator hears nothing of other domains: what is not in its own is refused by its name alone, without
// a look whether it exists. And it gains nothing by what it may do: not its domain's limits, and not the account
// of one who administers more.
package authority

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/reason"
)

// Actor is who asks, as its login or the kernel told.
type Actor struct {
	Owner   bool   // the server's owner; nothing else is set then
	Account uint64 // the account that logged in
	Address string // the account's address
	Device  string // the app password that it logged in with; "" for its own
}

// Name is how events call the actor.
func (a Actor) Name() string {
	switch {
	case a.Owner:
		return "owner"
	case a.Device != "":
		return a.Address + " (" + a.Device + ")"
	}
	return a.Address
}

// Right is one thing that can be done. Events call it by this name.
type Right string

// The rights. What is not in rings is the owner's alone.
const (
	SeeDomain      Right = "domain list"
	SetCatchAll    Right = "domain set --catch-all"
	SeeAccount     Right = "account show"
	AddAccount     Right = "account add"
	ChangeAccount  Right = "account set"
	RemoveAccount  Right = "account remove"
	FreeAccount    Right = "account free"
	SetPassword    Right = "account set password"
	AddAppPassword Right = "app-password add"
	RemoveApp      Right = "app-password remove"
	SeeAlias       Right = "alias list"
	AddAlias       Right = "alias add"
	ChangeAlias    Right = "alias set"
	RemoveAlias    Right = "alias remove"
	SeeQueue       Right = "queue list"
	ChangeQueue    Right = "queue"

	AddDomain        Right = "domain add"
	ChangeDomain     Right = "domain set"
	RemoveDomain     Right = "domain remove"
	AddAdmin         Right = "domain admin add"
	RemoveAdmin      Right = "domain admin remove"
	SetHash          Right = "account set password-hash"
	ForgetPasswords  Right = "account forget passwords"
	AddBlock         Right = "block add"
	RemoveBlock      Right = "block remove"
	SeeBlocks        Right = "block list"
	FindAnything     Right = "address test"
	ForgetFailures   Right = "forget failed logins"
	SeeAdministrated Right = "see what others administer"
)

// ring is who has a right besides the owner.
type ring struct {
	administrator bool // of the domain
	self          bool // the account's owner
	changes       bool // it changes the account that it concerns
}

// ringOf tells who has a right.
func ringOf(r Right) ring {
	switch r {
	case SeeAccount:
		return ring{administrator: true, self: true}
	case SetPassword, AddAppPassword, RemoveApp, FreeAccount:
		return ring{administrator: true, self: true, changes: true}
	case ChangeAccount, RemoveAccount:
		return ring{administrator: true, changes: true}
	case SeeDomain, SetCatchAll, AddAccount, SeeAlias, AddAlias, ChangeAlias, RemoveAlias, SeeQueue, ChangeQueue:
		return ring{administrator: true}
	}
	return ring{}
}

// Scope is what an actor may do at a time. It is asked for anew before each thing that is done, so that an end of
// rights is one at once.
type Scope struct {
	Actor
	directory directory.Admin
	account   *directory.Account          // the actor's own; nil for the owner
	domains   map[string]directory.Domain // that it administers, with their alias domains
	tenants   []uint64
}

// Of finds out what an actor may do. The error is AdminGone where the account is not there any more or
// disabled, or its domain.
func Of(ctx context.Context, d directory.Admin, a Actor) (*Scope, error) {
	s := &Scope{Actor: a, directory: d}
	if a.Owner {
		return s, nil
	}
	var err error
	if s.account, err = d.Account(ctx, a.Account); err != nil {
		return nil, gone(err)
	}
	home, err := d.Find(ctx, s.account.Address.Domain, nil)
	if err != nil {
		return nil, gone(err)
	}
	if s.account.Disabled || home.Domain.Disabled {
		return nil, reason.AdminGone
	}
	s.Address = s.account.Address.String()
	all, err := d.Administered(ctx, a.Account)
	if err != nil {
		return nil, err
	}
	s.domains = map[string]directory.Domain{}
	for _, x := range all.Domains {
		s.domains[x.Name] = x
	}
	s.tenants = all.Tenants
	return s, nil
}

func gone(err error) error {
	if errors.Is(err, directory.ErrNotFound) {
		return reason.AdminGone
	}
	return err
}

// Domains lists the names of the domains that the actor administers, with their alias domains. The owner's is
// empty, and means nothing.
func (s *Scope) Domains() []string { return slices.Sorted(maps.Keys(s.domains)) }

// administers reports whether a domain, in its compared form, is the actor's.
func (s *Scope) administers(domain string) bool {
	_, ok := s.domains[domain]
	return s.Owner || ok
}

// May decides about what is in a domain, or the domain itself: what is how a refusal calls it. The error is
// reason.AdminNotYours or reason.AdminOwnerOnly.
func (s *Scope) May(r Right, what, domain string) error {
	switch {
	case s.Owner:
		return nil
	case !s.administers(domain):
		return reason.AdminNotYours.With(what)
	case !ringOf(r).administrator:
		return reason.AdminOwnerOnly.With(what)
	}
	return nil
}

// MayOwner decides about what is the owner's alone: to others the error is reason.AdminOwnerOnly.
func (s *Scope) MayOwner(what string) error {
	if s.Owner {
		return nil
	}
	return reason.AdminOwnerOnly.With(what)
}

// MayAccount decides about an account that exists. The error is May's, reason.AdminAppPassword, AdminSelf or AdminAbove, or the
// directory's.
func (s *Scope) MayAccount(ctx context.Context, r Right, target *directory.Account) error {
	if s.Owner {
		return nil
	}
	ring, what, own := ringOf(r), target.Address.String(), target.ID == s.Account
	switch {
	case own && ring.changes && s.Device != "":
		return reason.AdminAppPassword.With(what)
	case own && ring.self:
		return nil
	case own && !s.administers(target.Address.Domain):
		return reason.AdminSelf.With(what)
	}
	if err := s.May(r, what, target.Address.Domain); err != nil || !ring.changes || own {
		return err
	}
	return s.notAbove(ctx, target)
}

// notAbove refuses to change an account that administers what the actor does not.
func (s *Scope) notAbove(ctx context.Context, target *directory.Account) error {
	all, err := s.directory.Administered(ctx, target.ID)
	if err != nil {
		return err
	}
	above := func(d directory.Domain) bool { return !s.administers(d.Name) }
	if slices.ContainsFunc(all.Domains, above) || slices.ContainsFunc(all.Tenants, func(t uint64) bool { return !slices.Contains(s.tenants, t) }) {
		return reason.AdminAbove.With(target.Address.String())
	}
	return nil
}

// public takes out of an error what the actor may not know.
func (s *Scope) public(err error) error {
	e, ok := errors.AsType[*directory.InvalidError](err)
	if !ok || e.Other == "" || s.administers(e.Other) {
		return err
	}
	less := *e
	less.Other = ""
	return &less
}
