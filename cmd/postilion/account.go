package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/verbs"
)

func (a *app) accountCommand() *cobra.Command {
	group := &cobra.Command{Use: "account", Short: "Manage accounts and their passwords"}
	group.AddCommand(a.accountAdd(), a.accountSet(), a.accountList(), a.accountShow(), a.accountRemove(), a.appPasswordCommand(), a.accountFree())
	return a.takeAs(group)
}

// accountFlags are the properties of an account.
type accountFlags struct {
	name, quota, maxSize, hash                    string
	quotaMessages                                 int64
	maxRecipients                                 int
	disabled, noSend, passwordStdin, passwordAuto bool
}

func (f *accountFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.name, "name", "", "the owner's name")
	c.Flags().StringVar(&f.quota, "quota", "", "size of the mailbox, such as 2GiB; 0 is no limit")
	c.Flags().Int64Var(&f.quotaMessages, "quota-messages", 0, "messages in the mailbox; 0 is no limit")
	c.Flags().StringVar(&f.maxSize, "max-size", "", "size of a message; 0 is the domain's limit")
	c.Flags().IntVar(&f.maxRecipients, "max-recipients", 0, "recipients of a message; 0 is the server's limit")
	c.Flags().BoolVar(&f.disabled, "disabled", false, "refuse its mail and its logins, and end its POP3 sessions")
	c.Flags().BoolVar(&f.noSend, "no-send", false, "it may not send mail")
	c.Flags().BoolVar(&f.passwordStdin, "password-stdin", false, "read the password from the standard input's first line")
	c.Flags().StringVar(&f.hash, "password-hash", "", "set the password by its stored form: crypt(3)'s or with a {SCHEME} prefix")
	c.MarkFlagsMutuallyExclusive("password-stdin", "password-hash")
}

func (f *accountFlags) apply(c *cobra.Command, x *directory.Account) error {
	setChanged(c, "name", &x.Name, f.name)
	setChanged(c, "quota-messages", &x.QuotaMessages, f.quotaMessages)
	setChanged(c, "max-recipients", &x.MaxRecipients, f.maxRecipients)
	setChanged(c, "disabled", &x.Disabled, f.disabled)
	setChanged(c, "no-send", &x.NoSend, f.noSend)
	if err := applySize(c, "quota", f.quota, &x.QuotaBytes); err != nil {
		return err
	}
	return applySize(c, "max-size", f.maxSize, &x.MaxSize)
}

// setPassword sets what the flags ask for. It returns a generated password.
func (a *app) setPassword(ctx context.Context, s *verbs.Stores, f *accountFlags, of mail.Address, id uint64) (generated string, err error) {
	switch {
	case f.hash != "":
		err = s.Auth.SetHash(ctx, id, f.hash)
	case f.passwordStdin:
		var password string
		if password, err = a.firstLine(); err == nil {
			err = s.Auth.SetPassword(ctx, id, password)
		}
	case f.passwordAuto:
		generated = verbs.NewPassword()
		err = s.Auth.SetPassword(ctx, id, generated)
	default:
		return "", nil
	}
	if err == nil && a.as.address == "" {
		err = verbs.ForgetFirstPassword(a.data, of)
	}
	return generated, err
}

func (a *app) accountAdd() *cobra.Command {
	var f accountFlags
	c := &cobra.Command{
		Use: "add ADDRESS", Short: "Add an account; prints a password unless one is given", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			addr, err := parseAddress(args[0])
			if err != nil {
				return err
			}
			x := &directory.Account{Address: addr}
			if err := f.apply(c, x); err != nil {
				return err
			}
			f.passwordAuto = f.hash == "" && !f.passwordStdin
			return a.withStores(c.Context(), func(s *verbs.Stores) error {
				if err := s.Directory.PutAccount(c.Context(), x, true); err != nil {
					return err
				}
				password, err := a.setPassword(c.Context(), s, &f, x.Address, x.ID)
				if err != nil {
					// An account without the password that was asked for helps nobody.
					return errors.Join(err, s.Directory.RemoveAccount(c.Context(), addr))
				}
				return a.tellPassword(x, password, "added")
			})
		},
	}
	f.register(c)
	return c
}

func (a *app) tellPassword(x *directory.Account, password, what string) error {
	result := map[string]any{"account": x.Address.String(), "id": x.ID, "password": password}
	return a.show(result, func(w io.Writer) {
		fmt.Fprintf(w, "account %s is %s\n", escape(x.Address.String()), what)
		if password != "" {
			fmt.Fprintf(w, "password: %s\n", password)
		}
	})
}

// findAccount returns the account of an address: where local parts are told apart by case, of this spelling and no other.
func findAccount(ctx context.Context, d directory.Admin, address string) (*directory.Account, error) {
	addr, err := parseAddress(address)
	if err != nil {
		return nil, err
	}
	accounts, err := d.Accounts(ctx, addr.Domain)
	if err != nil {
		return nil, err
	}
	var names []string
	var alike []*directory.Account
	for _, x := range accounts {
		switch {
		case x.Address.Local == addr.Local:
			return &x, nil
		case directory.LocalKey(x.Address.Local, false) == directory.LocalKey(addr.Local, false):
			alike = append(alike, &x)
		}
		names = append(names, x.Address.String())
	}
	if len(alike) == 1 {
		domains, err := d.Domains(ctx)
		if err != nil {
			return nil, err
		}
		sensitive := slices.ContainsFunc(domains, func(x directory.Domain) bool { return x.Name == alike[0].Address.Domain && x.CaseSensitive })
		if !sensitive {
			return alike[0], nil
		}
	}
	hint := ""
	if near := config.Nearest(addr.String(), names); near != "" {
		hint = "; did you mean " + near + "?"
	}
	return nil, fmt.Errorf("account %s: %w%s", address, directory.ErrNotFound, hint)
}

func (a *app) accountSet() *cobra.Command {
	var f accountFlags
	c := &cobra.Command{
		Use: "set ADDRESS", Short: "Change an account; what is not given stays", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := wantChange(c); err != nil {
				return err
			}
			return a.withStores(c.Context(), func(s *verbs.Stores) error {
				x, err := findAccount(c.Context(), s.Directory, args[0])
				if err != nil {
					return err
				}
				if err := f.apply(c, x); err != nil {
					return err
				}
				if err := s.Directory.PutAccount(c.Context(), x, false); err != nil {
					return err
				}
				if err := endDisabled(c, s, x.Disabled, *x); err != nil {
					return err
				}
				password, err := a.setPassword(c.Context(), s, &f, x.Address, x.ID)
				if err != nil {
					return err
				}
				return a.tellPassword(x, password, "changed")
			})
		},
	}
	f.register(c)
	c.Flags().BoolVar(&f.passwordAuto, "new-password", false, "set a generated password and print it")
	c.MarkFlagsMutuallyExclusive("password-stdin", "password-hash", "new-password")
	return c
}

// endDisabled ends the sessions of accounts that have just been disabled: they logged in when they still could.
func endDisabled(c *cobra.Command, s *verbs.Stores, disabled bool, accounts ...directory.Account) error {
	if !disabled || !c.Flags().Changed("disabled") || !s.Running {
		return nil
	}
	for _, x := range accounts {
		if err := s.Auth.EndSessions(c.Context(), x.ID); err != nil {
			return fmt.Errorf("%s is disabled, but its sessions go on: %w", x.Address, err)
		}
	}
	return nil
}

func (a *app) accountList() *cobra.Command {
	return &cobra.Command{
		Use: "list [DOMAIN]", Short: "List accounts", Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withStores(c.Context(), func(s *verbs.Stores) error {
				accounts, err := s.Directory.Accounts(c.Context(), strings.Join(args, ""))
				if err != nil {
					return err
				}
				list := []accountView{}
				for _, x := range accounts {
					list = append(list, view(&x))
				}
				return a.show(list, func(w io.Writer) {
					var rows [][]string
					for _, x := range accounts {
						rows = append(rows, []string{x.Address.String(), x.Name, limit(x.QuotaBytes), number(x.QuotaMessages), limit(x.MaxSize),
							marks("disabled", x.Disabled, "no-send", x.NoSend)})
					}
					a.table(w, []string{"ACCOUNT", "NAME", "QUOTA", "MESSAGES", "MAX SIZE", ""}, rows)
				})
			})
		},
	}
}

// accountView is an account in JSON, its address as people write it.
type accountView struct {
	Address string `json:"address"`
	directory.Account
}

func view(x *directory.Account) accountView { return accountView{x.Address.String(), *x} }

func (a *app) accountShow() *cobra.Command {
	return &cobra.Command{
		Use: "show ADDRESS", Short: "Show an account and what it can log in with", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withStores(c.Context(), func(s *verbs.Stores) error {
				x, err := findAccount(c.Context(), s.Directory, args[0])
				if err != nil {
					return err
				}
				credentials, err := s.Auth.Credentials(c.Context(), x.ID)
				if err != nil && !errors.Is(err, directory.ErrNotFound) {
					return err
				}
				return a.show(map[string]any{"account": view(x), "credentials": credentials}, func(w io.Writer) {
					a.table(w, []string{"ACCOUNT", escape(x.Address.String())}, [][]string{
						{"id", fmt.Sprint(x.ID)}, {"name", x.Name}, {"mailbox", x.Mailbox}, {"quota", limit(x.QuotaBytes)},
						{"created", x.Created.Format("2006-01-02 15:04:05Z07:00")}, {"password form", credentials.Form},
						{"SCRAM", fmt.Sprint(credentials.SCRAM)}, {"APOP", fmt.Sprint(credentials.APOP)},
						{"state", marks("disabled", x.Disabled, "no-send", x.NoSend)},
					})
					for _, p := range credentials.Apps {
						fmt.Fprintf(w, "app password %s  %s\n", escape(p.Name), escape(strings.Join(p.Protocols, ",")))
					}
				})
			})
		},
	}
}

func (a *app) accountRemove() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "remove ADDRESS", Short: "Remove an account; its mail is set aside", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withStores(c.Context(), func(s *verbs.Stores) error {
				x, err := findAccount(c.Context(), s.Directory, args[0])
				if err != nil {
					return err
				}
				if err := a.confirm(yes, "account %s will be removed", x.Address); err != nil {
					return err
				}
				if err := s.CanRemove(c.Context()); err != nil {
					return err
				}
				if err := s.Directory.RemoveAccount(c.Context(), x.Address); err != nil {
					return err
				}
				kept, err := s.Removed(c.Context(), *x)
				if err != nil {
					return fmt.Errorf("account %s is removed, but not all that is kept of it: %w", x.Address, err)
				}
				if a.as.address != "" {
					return a.done("account %s is removed; its mail is set aside", x.Address)
				}
				if kept == nil {
					return a.done("account %s is removed; it had no mail", x.Address)
				}
				return a.done("account %s is removed; its mail is kept in mail/%s", x.Address, kept[0])
			})
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

func (a *app) appPasswordCommand() *cobra.Command {
	group := &cobra.Command{Use: "app-password", Short: "Manage further passwords of an account, one for each device"}
	var protocols []string
	add := &cobra.Command{
		Use: "add ADDRESS NAME", Short: "Make an app password and print it, this once", Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withAccount(c, args[0], func(s *verbs.Stores, x *directory.Account) error {
				password, err := s.Auth.AddAppPassword(c.Context(), x.ID, args[1], protocols)
				if err != nil {
					return err
				}
				return a.show(map[string]string{"account": x.Address.String(), "name": args[1], "password": password}, func(w io.Writer) {
					fmt.Fprintf(w, "password: %s\n", password)
				})
			})
		},
	}
	add.Flags().StringSliceVar(&protocols, "protocols", nil, "what it may be used for, such as submission,pop3; default all")
	list := &cobra.Command{
		Use: "list ADDRESS", Short: "List the app passwords of an account", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withAccount(c, args[0], func(s *verbs.Stores, x *directory.Account) error {
				credentials, err := s.Auth.Credentials(c.Context(), x.ID)
				if err != nil {
					return err
				}
				return a.show(orEmpty(credentials.Apps), func(w io.Writer) {
					var rows [][]string
					for _, p := range credentials.Apps {
						used := "never"
						if !p.Used.IsZero() {
							used = p.Used.Format("2006-01-02 15:04") + " " + p.UsedProtocol + " " + p.UsedClient
						}
						rows = append(rows, []string{p.Name, strings.Join(p.Protocols, ","), p.Created.Format("2006-01-02"), used})
					}
					a.table(w, []string{"NAME", "PROTOCOLS", "CREATED", "LAST USED"}, rows)
				})
			})
		},
	}
	remove := &cobra.Command{
		Use: "remove ADDRESS NAME", Short: "Remove an app password", Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withAccount(c, args[0], func(s *verbs.Stores, x *directory.Account) error {
				if err := s.Auth.RemoveAppPassword(c.Context(), x.ID, args[1]); err != nil {
					return err
				}
				return a.done("app password %s is removed", args[1])
			})
		},
	}
	group.AddCommand(add, list, remove)
	return group
}

// withAccount finds an account for one verb.
func (a *app) withAccount(c *cobra.Command, address string, use func(s *verbs.Stores, x *directory.Account) error) error {
	return a.withStores(c.Context(), func(s *verbs.Stores) error {
		x, err := findAccount(c.Context(), s.Directory, address)
		if err != nil {
			return err
		}
		return use(s, x)
	})
}

func (a *app) accountFree() *cobra.Command {
	return &cobra.Command{
		Use: "free ADDRESS", Short: "End the sessions that hold an account's mailbox", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withAccount(c, args[0], func(s *verbs.Stores, x *directory.Account) error {
				freed, err := s.Free(c.Context(), x.ID)
				if err != nil {
					return err
				}
				return a.done("%d sessions of %s were ended", len(freed), args[0])
			})
		},
	}
}
