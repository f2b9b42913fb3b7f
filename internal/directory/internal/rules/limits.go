package rules

// What a domain may hold. A change that makes more of what has a limit must fit it;
// one that makes less, or the same, never fails for it.

import (
	"fmt"

	"github.com/postilion/postilion/internal/directory"
)

// fitAccount holds an account that is new, where old is nil, or changed against its domain's limits, and gives
// a new one the domain's quota.
func fitAccount(s Store, d *directory.Domain, n, old *directory.Account) error {
	if old == nil && n.QuotaBytes == 0 {
		n.QuotaBytes = d.DefaultQuota
	}
	if d.QuotaBytes == 0 && (d.MaxAccounts == 0 || old != nil) {
		return nil
	}
	accounts, err := s.Accounts(d.Name)
	if err != nil {
		return err
	}
	if old == nil && d.MaxAccounts > 0 && len(accounts) >= d.MaxAccounts {
		return &directory.InvalidError{What: "account", Value: n.Address.String(),
			Want: fmt.Sprintf("at most %d accounts in the domain: it has %d", d.MaxAccounts, len(accounts))}
	}
	return fitQuota(d, accounts, n, old)
}

// fitQuota holds an account's quota against what the domain's other accounts leave.
func fitQuota(d *directory.Domain, accounts []directory.Account, n, old *directory.Account) error {
	if d.QuotaBytes == 0 || old != nil && (n.QuotaBytes == old.QuotaBytes || 0 < n.QuotaBytes && n.QuotaBytes < old.QuotaBytes) {
		return nil
	}
	left := d.QuotaBytes
	for _, a := range accounts {
		if a.ID != n.ID {
			left = max(left-a.QuotaBytes, 0) // both are at most an int64 and not negative
		}
	}
	if n.QuotaBytes > 0 && n.QuotaBytes <= left {
		return nil
	}
	return &directory.InvalidError{What: "quota of", Value: n.Address.String(),
		Want: fmt.Sprintf("one of at most %s: the domain has %s for all accounts together", size(left), size(d.QuotaBytes))}
}

// size writes bytes in the largest unit that divides them.
func size(n int64) string {
	for _, u := range []struct {
		shift int
		name  string
	}{{30, "GiB"}, {20, "MiB"}, {10, "KiB"}} {
		if n > 0 && n&(1<<u.shift-1) == 0 {
			return fmt.Sprintf("%d%s", n>>u.shift, u.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

// fitAlias holds an alias that is new, where old is nil, against its domain's limit.
func fitAlias(s Store, d *directory.Domain, a directory.Alias, old *directory.Alias) error {
	if old != nil || d.MaxAliases == 0 {
		return nil
	}
	aliases, err := s.Aliases(d.Name)
	if err != nil {
		return err
	}
	if len(aliases) >= d.MaxAliases {
		return &directory.InvalidError{What: "alias", Value: a.Address.String(),
			Want: fmt.Sprintf("at most %d aliases in the domain: it has %d", d.MaxAliases, len(aliases))}
	}
	return nil
}
