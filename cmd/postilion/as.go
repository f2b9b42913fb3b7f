package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/datafolder"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/verbs"
)

// Verbs that an administrator of domains, or an account's owner, may call too take --as ADDRESS: any user of this
// host then has what that account may do, with its password.

const (
	passwordVariable = "POSTILION_PASSWORD"
	socketVariable   = "POSTILION_ADMIN_SOCKET"
	maxPasswordFile  = 1 << 10 // bytes of its first line
)

// asFlags are the flags of it.
type asFlags struct {
	address, passwordFile string
	login                 *verbs.As // once the password is known
}

// takeAs gives a group of verbs the flags.
func (a *app) takeAs(group *cobra.Command) *cobra.Command {
	f := group.PersistentFlags()
	f.StringVar(&a.as.address, "as", "", "do it as this account, an administrator of the domain or the account itself; its password is asked for")
	f.StringVar(&a.as.passwordFile, "password-file", "", "a `file` whose first line is the password for --as; or set "+passwordVariable)
	return group
}

// asFolder is the data folder of a user who has none of his own.
func (a *app) asFolder(otherwise string) string {
	if a.as.address == "" {
		return otherwise
	}
	if _, err := os.Stat(control.SocketPath(otherwise, control.Manage)); err == nil {
		return otherwise
	}
	return datafolder.Host
}

// asWho returns what --as logs in with. The password is asked for once.
func (a *app) asWho() (verbs.As, error) {
	if a.as.login != nil {
		return *a.as.login, nil
	}
	addr, err := parseAddress(a.as.address)
	if err != nil {
		return verbs.As{}, err
	}
	password, err := a.asPassword(addr.String())
	if err != nil {
		return verbs.As{}, err
	}
	a.as.login = &verbs.As{Address: addr.String(), Password: password, Socket: os.Getenv(socketVariable)}
	return *a.as.login, nil
}

func (a *app) asPassword(address string) (string, error) {
	if a.as.passwordFile != "" {
		return passwordFrom(a.as.passwordFile)
	}
	if password := os.Getenv(passwordVariable); password != "" {
		return password, nil
	}
	f, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return "", usageError{fmt.Errorf("the password of %s is asked for on a terminal only: elsewhere name a file with --password-file, or set %s", address, passwordVariable)}
	}
	fmt.Fprintf(a.err, "Password of %s: ", escape(address))
	p, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(a.err)
	return string(p), err
}

// passwordFrom reads the first line of a file that nobody else can read.
func passwordFrom(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Mode().IsRegular() && st.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("the password file %s can be read by others (mode %04o): chmod 600 it", path, st.Mode().Perm())
	}
	line, err := bufio.NewReader(io.LimitReader(f, maxPasswordFile)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", fmt.Errorf("the password file %s has no password in its first line", path)
	}
	return line, nil
}

func (a *app) domainAdminCommand() *cobra.Command {
	group := &cobra.Command{Use: "admin", Short: "Manage who administers a domain"}
	change := func(use, short, done string, do func(s *verbs.Stores, c *cobra.Command, x directory.Administrator) error) *cobra.Command {
		return &cobra.Command{
			Use: use + " DOMAIN ADDRESS", Short: short, Args: cobra.ExactArgs(2),
			RunE: func(c *cobra.Command, args []string) error {
				addr, err := parseAddress(args[1])
				if err != nil {
					return err
				}
				return a.withStores(c.Context(), func(s *verbs.Stores) error {
					if err := do(s, c, directory.Administrator{Address: addr, Domain: args[0]}); err != nil {
						return err
					}
					return a.done(done, addr, args[0])
				})
			},
		}
	}
	list := &cobra.Command{
		Use: "list [DOMAIN]", Short: "List administrators", Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withStores(c.Context(), func(s *verbs.Stores) error {
				all, err := s.Directory.Administrators(c.Context(), strings.Join(args, ""))
				if err != nil {
					return err
				}
				return a.printAdministrators(all)
			})
		},
	}
	group.AddCommand(
		change("add", "Have an account administer a domain", "%s administers %s", func(s *verbs.Stores, c *cobra.Command, x directory.Administrator) error {
			return s.Directory.PutAdministrator(c.Context(), x)
		}),
		change("remove", "Have an account administer a domain no more", "%s administers %s no more", func(s *verbs.Stores, c *cobra.Command, x directory.Administrator) error {
			return s.Directory.RemoveAdministrator(c.Context(), x)
		}), list)
	return group
}

func (a *app) printAdministrators(all []directory.Administrator) error {
	type view struct {
		Address string `json:"address"`
		directory.Administrator
	}
	list := []view{}
	for _, x := range all {
		list = append(list, view{x.Address.String(), x})
	}
	return a.show(list, func(w io.Writer) {
		var rows [][]string
		for _, x := range list {
			rows = append(rows, []string{cmp.Or(x.Domain, fmt.Sprintf("tenant %d", x.Tenant)), x.Address, x.Created.Format("2006-01-02")})
		}
		a.table(w, []string{"DOMAIN", "ADMINISTRATOR", "SINCE"}, rows)
	})
}
