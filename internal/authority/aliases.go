package authority

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
)

func notFound(what string, address mail.Address) error {
	return fmt.Errorf("%s %q: %w", what, address.String(), directory.ErrNotFound)
}

// Aliases implements directory.Admin.
func (d Directory) Aliases(ctx context.Context, domain string) ([]directory.Alias, error) {
	_, all, err := listed(ctx, d, SeeAlias, domain, func(name string) ([]directory.Alias, error) { return d.Inner.Aliases(ctx, name) })
	return all, err
}

// PutAlias implements directory.Admin. An administrator's alias goes on to any addresses, here and elsewhere, as
// anybody's mail does; the tenant stays.
func (d Directory) PutAlias(ctx context.Context, a directory.Alias, create bool) error {
	r := ChangeAlias
	if create {
		r = AddAlias
	}
	return d.do(ctx, r, a.Address.String(), func(s *Scope) error {
		if s.Owner {
			return nil
		}
		domain, err := directory.DomainKey(a.Address.Domain)
		if err != nil {
			return err
		}
		if err := s.May(r, a.Address.String(), domain); err != nil {
			return err
		}
		for _, t := range a.Targets {
			if !isPerson(t) {
				return reason.AdminTarget.With(t.String())
			}
		}
		a.Tenant = 0 // the domain's
		if !create {
			f, err := d.Inner.Find(ctx, domain, []string{a.Address.Local})
			if err == nil && f.Alias != nil && !f.CatchAll {
				a.Tenant = f.Alias.Tenant
			}
			return err
		}
		return nil
	}, func(*Scope) error { return d.Inner.PutAlias(ctx, a, create) })
}

// isPerson reports whether a target is none of the forms that mean a program, a file or an inclusion anywhere mail
// passes: dot-qmail(5), aliases(5).
func isPerson(t mail.Address) bool {
	return t.Local != "" && t.Domain != "" && !strings.ContainsAny(t.Local[:1], "|/&\"") && !strings.HasPrefix(strings.ToLower(t.Local), ":include:") &&
		!slices.Contains([]byte(t.Local), '\\')
}

// RemoveAlias implements directory.Admin.
func (d Directory) RemoveAlias(ctx context.Context, address mail.Address) error {
	return d.do(ctx, RemoveAlias, address.String(), func(s *Scope) error {
		if s.Owner {
			return nil
		}
		domain, err := directory.DomainKey(address.Domain)
		if err != nil {
			return err
		}
		return s.May(RemoveAlias, address.String(), domain)
	}, func(*Scope) error { return d.Inner.RemoveAlias(ctx, address) })
}
