package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/verbs"
)

// withStores opens the data folder's stores, through the server where one runs, for one verb.
func (a *app) withStores(ctx context.Context, use func(s *verbs.Stores) error) error {
	s, err := a.openStores(ctx)
	if err != nil {
		return err
	}
	if err := use(s); err != nil {
		s.Close()
		return err
	}
	return s.Close()
}

func (a *app) openStores(ctx context.Context) (*verbs.Stores, error) {
	if a.as.address == "" {
		return verbs.OpenStores(ctx, a.data)
	}
	who, err := a.asWho()
	if err != nil {
		return nil, err
	}
	return verbs.OpenStoresAs(ctx, a.data, who)
}

// wantChange refuses a set that was not told what to change.
func wantChange(c *cobra.Command) error {
	changes := c.Flags().NFlag()
	for _, shared := range []string{"data", "config", "set", "json", "as", "password-file"} {
		if c.Flags().Changed(shared) {
			changes--
		}
	}
	if changes == 0 {
		return usageError{fmt.Errorf("nothing to change; see `%s --help`", c.CommandPath())}
	}
	return nil
}

// parseAddress reads an address with a domain.
func parseAddress(s string) (mail.Address, error) {
	addr := mail.ParseAddress(s)
	if addr.Local == "" || addr.Domain == "" {
		return addr, usageError{fmt.Errorf("%q: want an address such as joe@example.test", s)}
	}
	if strings.Contains(addr.Local, "@") { // a slip, or several in one word
		return addr, usageError{fmt.Errorf("%q: want one address such as joe@example.test, with one @", s)}
	}
	return addr, nil
}

func (a *app) domainCommand() *cobra.Command {
	group := &cobra.Command{Use: "domain", Short: "Manage the mail domains of this server"}
	var f domainFlags
	add := &cobra.Command{
		Use: "add DOMAIN", Short: "Add a domain", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			d := directory.NewDomain(args[0])
			return a.putDomain(c, &f, d, true)
		},
	}
	f.register(add)
	set := &cobra.Command{
		Use: "set DOMAIN", Short: "Change a domain; what is not given stays", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := wantChange(c); err != nil {
				return err
			}
			d, err := a.findDomain(c.Context(), args[0])
			if err != nil {
				return err
			}
			return a.putDomain(c, &f, d, false)
		},
	}
	f.register(set)
	list := &cobra.Command{
		Use: "list", Short: "List the domains", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withStores(c.Context(), func(s *verbs.Stores) error {
				domains, err := s.Directory.Domains(c.Context())
				if err != nil {
					return err
				}
				return a.show(orEmpty(domains), func(w io.Writer) { a.printDomains(w, domains) })
			})
		},
	}
	var how removeFlags
	remove := &cobra.Command{
		Use: "remove DOMAIN", Short: "Remove a domain", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withStores(c.Context(), func(s *verbs.Stores) error {
				return a.removeDomain(c.Context(), s, args[0], how)
			})
		},
	}
	remove.Flags().BoolVar(&how.all, "all", false, "with its accounts and aliases; their mail stays on disk")
	remove.Flags().BoolVar(&how.yes, "yes", false, "do not ask")
	group.AddCommand(add, set, list, remove, a.domainAdminCommand())
	return a.takeAs(group)
}

// domainFlags are the properties of a domain.
type domainFlags struct {
	aliasOf, catchAll, separators, maxSize string
	quota, defaultQuota                    string
	maxAccounts, maxAliases                int
	caseSensitive, disabled                bool
}

func (f *domainFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.aliasOf, "alias-of", "", "every address here is the same local part of that domain")
	c.Flags().StringVar(&f.catchAll, "catch-all", "", "the address that unknown local parts go to; empty refuses them")
	c.Flags().StringVar(&f.separators, "separators", "+", "characters that begin a sub-address; empty turns them off")
	c.Flags().BoolVar(&f.caseSensitive, "case-sensitive", false, "tell local parts apart by case")
	c.Flags().BoolVar(&f.disabled, "disabled", false, "defer mail, refuse logins, and end POP3 sessions")
	c.Flags().StringVar(&f.maxSize, "max-size", "", "size of a message, such as 25MiB; 0 is the server's limit")
	c.Flags().IntVar(&f.maxAccounts, "max-accounts", 0, "accounts that the domain may have; 0 is no limit")
	c.Flags().IntVar(&f.maxAliases, "max-aliases", 0, "aliases that the domain may have; 0 is no limit")
	c.Flags().StringVar(&f.quota, "quota", "", "quota of all accounts together, such as 100GiB, so that each needs one; 0 is no limit")
	c.Flags().StringVar(&f.defaultQuota, "default-quota", "", "quota of accounts that are added without one, such as 2GiB; 0 is none")
}

func (f *domainFlags) apply(c *cobra.Command, d *directory.Domain) error {
	setChanged(c, "alias-of", &d.AliasOf, f.aliasOf)
	if f.catchAll != "" {
		if _, err := parseAddress(f.catchAll); err != nil {
			return fmt.Errorf("--catch-all: %w", err)
		}
	}
	setChanged(c, "catch-all", &d.CatchAll, f.catchAll)
	setChanged(c, "separators", &d.Separators, f.separators)
	setChanged(c, "case-sensitive", &d.CaseSensitive, f.caseSensitive)
	setChanged(c, "disabled", &d.Disabled, f.disabled)
	setChanged(c, "max-accounts", &d.MaxAccounts, f.maxAccounts)
	setChanged(c, "max-aliases", &d.MaxAliases, f.maxAliases)
	if err := applySize(c, "quota", f.quota, &d.QuotaBytes); err != nil {
		return err
	}
	if err := applySize(c, "default-quota", f.defaultQuota, &d.DefaultQuota); err != nil {
		return err
	}
	return applySize(c, "max-size", f.maxSize, &d.MaxSize)
}

// setChanged takes a flag's value over, if it was given.
func setChanged[T any](c *cobra.Command, flag string, to *T, value T) {
	if c.Flags().Changed(flag) {
		*to = value
	}
}

// applySize reads a size flag, if it was given.
func applySize(c *cobra.Command, flag, value string, to *int64) error {
	if !c.Flags().Changed(flag) {
		return nil
	}
	n, err := config.ParseSize(value)
	if err != nil {
		return usageError{fmt.Errorf("--%s: %w", flag, err)}
	}
	*to = n
	return nil
}

func (a *app) putDomain(c *cobra.Command, f *domainFlags, d directory.Domain, create bool) error {
	if err := f.apply(c, &d); err != nil {
		return err
	}
	return a.withStores(c.Context(), func(s *verbs.Stores) error {
		if err := s.Directory.PutDomain(c.Context(), d, create); err != nil {
			return err
		}
		if !create && d.Disabled {
			accounts, err := s.Directory.Accounts(c.Context(), d.Name)
			if err != nil {
				return err
			}
			if err := endDisabled(c, s, d.Disabled, accounts...); err != nil {
				return err
			}
		}
		return a.done("domain %s is %s", d.Name, map[bool]string{true: "added", false: "changed"}[create])
	})
}

func (a *app) findDomain(ctx context.Context, name string) (d directory.Domain, err error) {
	key, err := directory.DomainKey(name)
	if err != nil {
		return d, err
	}
	err = a.withStores(ctx, func(s *verbs.Stores) error {
		domains, err := s.Directory.Domains(ctx)
		if err != nil {
			return err
		}
		var names []string
		for _, x := range domains {
			if x.Name == key {
				d = x
				return nil
			}
			names = append(names, x.Name)
		}
		hint := ""
		if near := config.Nearest(key, names); near != "" {
			hint = "; did you mean " + near + "?"
		}
		return fmt.Errorf("domain %s: %w%s", name, directory.ErrNotFound, hint)
	})
	return d, err
}

// removeFlags say how a domain is removed.
type removeFlags struct {
	all bool // with what is in it
	yes bool // without asking
}

func (a *app) removeDomain(ctx context.Context, s *verbs.Stores, name string, f removeFlags) error {
	accounts, err := s.Directory.Accounts(ctx, name)
	if err != nil {
		return err
	}
	with := ""
	if f.all {
		if with, err = goesWith(ctx, s, name, len(accounts)); err != nil {
			return err
		}
		if err := a.confirm(f.yes, "domain %s will be removed%s", name, with); err != nil {
			return err
		}
	}
	if err := s.CanRemove(ctx); err != nil {
		return err
	}
	if err := s.Directory.RemoveDomain(ctx, name, f.all); err != nil {
		return err
	}
	kept, err := s.Removed(ctx, accounts...)
	if err != nil {
		return fmt.Errorf("domain %s is removed, but not all that is kept of its accounts: %w", name, err)
	}
	if len(kept) == 0 {
		return a.done("domain %s is removed%s", name, with)
	}
	return a.done("domain %s is removed%s; the mail of %d accounts is kept below mail/, in folders named .removed-ID", name, with, len(kept))
}

// goesWith tells what is removed with a domain, and would not come back with it.
func goesWith(ctx context.Context, s *verbs.Stores, name string, accounts int) (string, error) {
	aliases, err := s.Directory.Aliases(ctx, name)
	if err != nil {
		return "", err
	}
	all, err := s.Directory.Domains(ctx)
	if err != nil {
		return "", err
	}
	key, err := directory.DomainKey(name)
	if err != nil {
		return "", err
	}
	var with []string
	if accounts > 0 {
		with = append(with, fmt.Sprintf("%d accounts", accounts))
	}
	if len(aliases) > 0 {
		with = append(with, fmt.Sprintf("%d aliases", len(aliases)))
	}
	for _, d := range all {
		if d.AliasOf == key {
			with = append(with, "the alias domain "+d.Name)
		}
	}
	if with == nil {
		return "", nil
	}
	return ", with " + strings.Join(with, ", "), nil
}

func (a *app) printDomains(w io.Writer, domains []directory.Domain) {
	var rows [][]string
	for _, d := range domains {
		rows = append(rows, []string{d.Name, d.AliasOf, d.CatchAll, d.Separators, limit(d.MaxSize), number(int64(d.MaxAccounts)), number(int64(d.MaxAliases)),
			limit(d.QuotaBytes), limit(d.DefaultQuota), marks("disabled", d.Disabled, "case-sensitive", d.CaseSensitive)})
	}
	a.table(w, []string{"DOMAIN", "ALIAS OF", "CATCH-ALL", "SEPARATORS", "MAX SIZE", "ACCOUNTS", "ALIASES", "QUOTA", "EACH", ""}, rows)
}

// limit writes a size, or "-" for none.
func limit(n int64) string {
	if n == 0 {
		return "-"
	}
	return config.FormatSize(n)
}

// marks lists the words whose value, which follows them, is true.
func marks(pairs ...any) string {
	var words []string
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1].(bool) {
			words = append(words, pairs[i].(string))
		}
	}
	return strings.Join(words, ",")
}

// orEmpty makes an empty list [] in JSON, not null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func (a *app) aliasCommand() *cobra.Command {
	group := &cobra.Command{Use: "alias", Short: "Manage addresses that go on to others"}
	put := func(use, short string, create bool) *cobra.Command {
		return &cobra.Command{
			Use: use + " ADDRESS TARGET...", Short: short, Args: cobra.MinimumNArgs(2),
			RunE: func(c *cobra.Command, args []string) error {
				alias := directory.Alias{}
				for i, s := range args {
					addr, err := parseAddress(s)
					if err != nil {
						return err
					}
					if i == 0 {
						alias.Address = addr
					} else {
						alias.Targets = append(alias.Targets, addr)
					}
				}
				return a.withStores(c.Context(), func(s *verbs.Stores) error {
					if err := s.Directory.PutAlias(c.Context(), alias, create); err != nil {
						return err
					}
					return a.done("%s goes on to %s", args[0], strings.Join(different(args[1:]), ", "))
				})
			},
		}
	}
	list := &cobra.Command{
		Use: "list [DOMAIN]", Short: "List aliases", Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withStores(c.Context(), func(s *verbs.Stores) error {
				aliases, err := s.Directory.Aliases(c.Context(), strings.Join(args, ""))
				if err != nil {
					return err
				}
				type view struct {
					Address string   `json:"address"`
					Targets []string `json:"targets"`
				}
				list := []view{}
				for _, x := range aliases {
					v := view{Address: x.Address.String()}
					for _, t := range x.Targets {
						v.Targets = append(v.Targets, t.String())
					}
					list = append(list, v)
				}
				return a.show(list, func(w io.Writer) {
					var rows [][]string
					for _, v := range list {
						rows = append(rows, []string{v.Address, strings.Join(v.Targets, ", ")})
					}
					a.table(w, []string{"ALIAS", "TARGETS"}, rows)
				})
			})
		},
	}
	remove := &cobra.Command{
		Use: "remove ADDRESS", Short: "Remove an alias", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			addr, err := parseAddress(args[0])
			if err != nil {
				return err
			}
			return a.withStores(c.Context(), func(s *verbs.Stores) error {
				if err := s.Directory.RemoveAlias(c.Context(), addr); err != nil {
					return err
				}
				return a.done("alias %s is removed", args[0])
			})
		},
	}
	group.AddCommand(put("add", "Add an alias", true), put("set", "Change an alias's targets", false), list, remove)
	return a.takeAs(group)
}

// different leaves out what a list names again.
func different(list []string) (once []string) {
	for _, s := range list {
		if !slices.Contains(once, s) {
			once = append(once, s)
		}
	}
	return once
}

func number(n int64) string {
	if n == 0 {
		return "-"
	}
	return strconv.FormatInt(n, 10)
}
