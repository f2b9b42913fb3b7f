package verbs

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/datafolder"
	"github.com/postilion/postilion/internal/directory"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/netx"
)

// QuickstartOptions are what quickstart is told.
type QuickstartOptions struct {
	Domain     string // "" is found with the host's name
	Host       string // "" is mail.DOMAIN, or without a domain the name that DNS has for this host
	NullClient string // the hub that all mail goes to; nothing is delivered here then
	Data       string
	Config     string
	Flags      []string
	ForTesting bool
}

// QuickstartResult is what was set up, or found.
type QuickstartResult struct {
	Domain, Host, Data string
	Account            string // "" for a null client
	Hub                string // of a null client
	Password           string // "" once it has been changed
	Certificate        string
	New                bool // the folder was made by this call
	Added              bool // the account was
	Notes              []string
	Began              time.Time
}

// firstAccount is the local part of the account that quickstart makes.
const firstAccount = "hello"

// passwordFile keeps the first password, readable by the folder's owner only, until it
// is changed. That of a further domain has the domain behind a dot.
const passwordFile = "first-password"

// Quickstart makes a data folder ready to serve, or finds that it is. What is there
// already is never changed.
func Quickstart(ctx context.Context, o QuickstartOptions) (*QuickstartResult, error) {
	r := &QuickstartResult{Data: o.Data, Began: time.Now()}
	if err := r.name(ctx, o); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Data, 0o700); err != nil {
		return nil, err
	}
	if err := r.makeConfig(o); err != nil {
		return nil, err
	}
	f, err := config.Read(o.Config, o.Flags)
	if err != nil {
		return nil, err
	}
	if !r.New && o.Host != "" && !strings.EqualFold(r.Host, f.Host) {
		return nil, fmt.Errorf("%s says host = %q: change it there, or leave --host %s out", o.Config, f.Host, o.Host)
	}
	r.Host, r.Data = f.Host, f.Data
	if o.ForTesting {
		if err := datafolder.MarkTesting(r.Data); err != nil {
			return nil, err
		}
	}
	r.Certificate = f.InData(f.TLS.Cert)
	if f.Route.NullClient {
		r.Hub = f.Route.NextHop
		return r, nil
	}
	return r, r.makeAccount(ctx, f.Route.DefaultDomain)
}

// name settles the domain and the host's name: those given, else those that DNS knows. What was set up before
// keeps its own.
func (r *QuickstartResult) name(ctx context.Context, o QuickstartOptions) error {
	if o.Host != "" {
		var err error
		if r.Host, err = directory.DomainKey(o.Host); err != nil {
			return fmt.Errorf("--host: %w", err)
		}
	}
	if o.Domain == "" && r.Host == "" {
		if f, err := config.Read(o.Config, o.Flags); err == nil {
			r.Host, r.Domain = f.Host, f.Route.DefaultDomain
			return nil
		}
		var err error
		if r.Host, err = FindHost(ctx, netx.Options{}); err != nil {
			return err
		}
		r.Notes = append(r.Notes, "DNS calls this host "+r.Host)
	}
	if o.Domain == "" {
		o.Domain = domainOf(r.Host)
	}
	var err error
	if r.Domain, err = directory.DomainKey(o.Domain); err != nil {
		return err
	}
	r.Host = cmp.Or(r.Host, "mail."+r.Domain)
	return nil
}

// firstListener is one that quickstart configures.
type firstListener struct {
	group string
	port  int
	more  string // further keys
}

// makeConfig writes the configuration unless there is one.
func (r *QuickstartResult) makeConfig(o QuickstartOptions) error {
	if _, err := os.Stat(o.Config); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	r.New = true
	var b strings.Builder
	fmt.Fprintf(&b, "# Postilion's configuration. `postilion config reference` tells every key.\n\nhost = %q\n", r.Host)
	if filepath.Dir(o.Config) != o.Data {
		fmt.Fprintf(&b, "data = %q\n", o.Data)
	}
	fmt.Fprintf(&b, "\n[route]\ndefault_domain = %q\n", r.Domain)
	listeners := []firstListener{
		{"smtp", 2525, ""}, {"submission", 2587, "plain_auth_on_loopback = true\n"}, {"submissions", 2465, ""},
		{"pop3", 2110, "plaintext_on_loopback = true\n"}, {"pop3s", 2995, ""}, {"metrics", 9125, ""},
	}
	if o.NullClient != "" {
		fmt.Fprintf(&b, "null_client = true\nnext_hop = %q\n\n[policy]\nrelay_networks = [\"127.0.0.0/8\", \"::1\"]\n", o.NullClient)
		for _, group := range []string{"submission", "submissions", "pop3", "pop3s"} {
			fmt.Fprintf(&b, "\n[%s]\nlisten = []\n", group)
		}
		listeners = []firstListener{{"smtp", 2525, ""}, {"metrics", 9125, ""}}
	}
	taken := map[int]bool{}
	for _, l := range listeners {
		port := freePort(l.port, taken)
		given := slices.ContainsFunc(o.Flags, func(s string) bool { return strings.HasPrefix(strings.TrimSpace(s), l.group+".listen=") })
		if port != l.port && !given { // what was given is where it is
			note := fmt.Sprintf("port %d is taken: %s is on %d", l.port, l.group, port)
			if pid, name := netx.PortHolder("127.0.0.1:" + strconv.Itoa(l.port)); pid != "" {
				note += fmt.Sprintf(" (process %s, %s, holds it)", pid, name)
			}
			r.Notes = append(r.Notes, note)
		}
		fmt.Fprintf(&b, "\n[%s]\nlisten = [\"127.0.0.1:%d\"]\n%s", l.group, port, l.more)
	}
	if _, err := config.Parse(o.Config, []byte(b.String()), o.Flags); err != nil {
		return fmt.Errorf("nothing was written: %w", err)
	}
	return osfs.Replace(o.Config, []byte(b.String()), 0o640)
}

// freePort returns the first port from the wanted one on that nobody listens on.
func freePort(port int, taken map[int]bool) int {
	for p := port; p < port+500; p++ {
		if taken[p] {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p)))
		if err != nil {
			continue
		}
		l.Close()
		taken[p] = true
		return p
	}
	return port // serving will tell what is wrong
}

// makeAccount makes domain, account and postmaster, unless they exist. first is the domain that the folder
// was made for.
func (r *QuickstartResult) makeAccount(ctx context.Context, first string) error {
	address := mail.Address{Local: firstAccount, Domain: r.Domain}
	r.Account = address.String()
	running, err := datafolder.Running(ctx, r.Data)
	if err != nil {
		return err
	}
	if running {
		return fmt.Errorf("a server is running on %s already; `postilion status --data %s` tells how it is", r.Data, r.Data)
	}
	stores, err := OpenStores(ctx, r.Data)
	if err != nil {
		return err
	}
	defer stores.Close()
	err = stores.Directory.PutDomain(ctx, directory.NewDomain(r.Domain), true)
	if err != nil && !errors.Is(err, directory.ErrExists) {
		return err
	}
	note := filepath.Join(r.Data, passwordFile)
	if key, err := directory.DomainKey(first); err != nil || key != r.Domain {
		note += "." + r.Domain
	}
	account := &directory.Account{Address: address}
	err = stores.Directory.PutAccount(ctx, account, true)
	switch {
	case errors.Is(err, directory.ErrExists):
		return r.findPassword(note)
	case err != nil:
		return err
	}
	r.Password, r.Added = NewPassword(), true
	if err := stores.Auth.SetPassword(ctx, account.ID, r.Password); err != nil {
		return err
	}
	if err := osfs.Replace(note, []byte(r.Password+"\n"), 0o600); err != nil {
		return err
	}
	return makePostmaster(ctx, stores.Directory, address)
}

// makePostmaster sees that postmaster is somebody (RFC 5321 4.5.1).
func makePostmaster(ctx context.Context, d directory.Admin, to mail.Address) error {
	err := d.PutAlias(ctx, directory.Alias{Address: mail.Address{Local: "postmaster", Domain: to.Domain}, Targets: []mail.Address{to}}, true)
	if errors.Is(err, directory.ErrExists) {
		return nil
	}
	return err
}

// findPassword reads the first password again, if it is still the account's.
func (r *QuickstartResult) findPassword(note string) error {
	p, err := os.ReadFile(note)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	r.Password = strings.TrimSpace(string(p))
	return err
}

// ForgetFirstPassword removes the note of quickstart's password when it is that account's
// which was changed.
func ForgetFirstPassword(data string, of mail.Address) error {
	if of.Local != firstAccount {
		return nil
	}
	note := filepath.Join(data, passwordFile)
	err := os.Remove(note + "." + of.Domain)
	if errors.Is(err, fs.ErrNotExist) {
		err = os.Remove(note)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// NewPassword returns a password of 4 groups of 5 letters and digits: 100 bits. It
// leaves out what looks alike.
func NewPassword() string {
	const letters = "abcdefghijkmnpqrstuvwxyz23456789" // 32, so that a byte's bits are used evenly
	var p [20]byte
	rand.Read(p[:]) // never fails: crypto/rand.Read
	var b strings.Builder
	for i, c := range p {
		if i > 0 && i%5 == 0 {
			b.WriteByte('-')
		}
		b.WriteByte(letters[c%32])
	}
	return b.String()
}
