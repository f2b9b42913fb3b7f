package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/doctor/lint"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/service/certs"
	"github.com/postilion/postilion/internal/service/owners"
	"github.com/postilion/postilion/internal/verbs"
)

// lintTime bounds how long `config check` waits for DNS.
const lintTime = 30 * time.Second

// checkCommand finds what is wrong with the configuration, and with the qmail that it runs on.
func (a *app) checkCommand() *cobra.Command {
	var root string
	var noDNS bool
	c := &cobra.Command{
		Use: "check", Short: "Find every mistake in the configuration", Args: cobra.NoArgs,
		Long: "Find every mistake in the configuration, and whether somebody takes postmaster's mail. With the key qmail, or\n" +
			"--qmail DIR, the files of that qmail are looked at too: control files, users, aliases, access rules, databases\n" +
			"and every .qmail file, each finding with file, line, consequence and cure. The exit code is 1 when anything is\n" +
			"wrong, 0 when there are only warnings.",
		RunE: func(c *cobra.Command, _ []string) error { return a.check(c.Context(), root, !noDNS) },
	}
	c.Flags().StringVar(&root, "root", "", "the root `folder` of the qmail's host (default /)")
	c.Flags().BoolVar(&noDNS, "no-dns", false, "do not ask DNS where the domains' mail goes")
	return c
}

// checked is what `config check` found.
type checked struct {
	OK       bool            `json:"ok"`
	Problems config.Problems `json:"problems"`
	Findings []lint.Finding  `json:"findings,omitempty"`
}

func (a *app) check(ctx context.Context, root string, dns bool) error {
	if root != "" {
		abs, err := filepath.Abs(root)
		if err != nil {
			return err
		}
		root = abs
		a.underRoot(root)
	}
	f, err := a.readConfig()
	x := checked{Problems: config.Problems{}}
	if err != nil && !errors.As(err, &x.Problems) {
		return err
	}
	tree := a.lintTree(f, root)
	if tree.Qmail != "" {
		finish := a.busy("looking at " + tree.Qmail)
		x.Findings, err = lint.Check(ctx, tree, lintDeps(f, dns))
		finish()
		if err != nil {
			return err
		}
	}
	if f != nil {
		x.Findings = append(x.Findings, missingFiles(f)...)
		if f.QmailRoot == "" { // else another host's files, to be copied yet
			x.Findings = append(x.Findings, deniedFiles(f)...)
		}
		x.Findings = append(x.Findings, unverifiedLogins(f)...)
		x.Findings = append(x.Findings, a.postmaster(ctx, f)...)
	}
	x.OK = len(x.Problems) == 0 && !slices.ContainsFunc(x.Findings, func(f lint.Finding) bool { return f.Level == lint.Wrong })
	switch {
	case a.json:
		if err := a.printJSON(x); err != nil {
			return err
		}
	case len(x.Findings) > 0:
		if err := a.show(nil, func(w io.Writer) { printFindings(w, x.Findings) }); err != nil {
			return err
		}
	case x.OK:
		return a.done("%s is right", cmp.Or(tree.Qmail, a.config))
	}
	if len(x.Problems) > 0 && !a.json {
		return x.Problems
	}
	if !x.OK {
		return errSilent
	}
	return nil
}

// printFindings prints each finding in three lines.
func printFindings(w io.Writer, found []lint.Finding) {
	wrong := 0
	for _, f := range found {
		if f.Level == lint.Wrong {
			wrong++
		}
		fmt.Fprintf(w, "%s: %s: %s\n\t%s\n\tcure: %s\n", escape(f.Where()), f.Level, escape(f.What), escape(f.Consequence), escape(f.Cure))
	}
	fmt.Fprintf(w, "%d wrong, %d warnings\n", wrong, len(found)-wrong)
}

// underRoot says where the qmail is whose host's root folder is elsewhere.
func (a *app) underRoot(root string) {
	dir := cmp.Or(a.namedQmail(), "/var/qmail")
	if rel, err := filepath.Rel(root, dir); err != nil || strings.HasPrefix(rel, "..") {
		dir = filepath.Join(root, dir)
	}
	a.set = append(a.set, "qmail_root="+root, "qmail="+dir)
}

// namedQmail returns the qmail that a flag names; "" for none.
func (a *app) namedQmail() (dir string) {
	for _, s := range a.set {
		if v, ok := strings.CutPrefix(s, "qmail="); ok {
			dir = v
		}
	}
	return dir
}

// lintTree is the qmail that the configuration or the flags name; its Qmail is "" for none.
func (a *app) lintTree(f *config.File, root string) lint.Tree {
	dir := a.namedQmail() // even where the file has problems
	if f != nil {
		dir, root = f.Qmail, cmp.Or(root, f.QmailRoot)
	}
	root = cmp.Or(root, "/")
	if rel, err := filepath.Rel(root, dir); dir != "" && err == nil && !strings.HasPrefix(rel, "..") {
		dir = "/" + rel // a path below the root is one of its host
	}
	return lint.Tree{Root: os.DirFS(root), Qmail: dir}
}

// lintDeps is the world as the lint sees it.
func lintDeps(f *config.File, dns bool) lint.Deps {
	d := lint.Deps{Owner: fileOwner, Own: new(netx.OwnAddrs).Contains}
	var o netx.Options
	if f != nil {
		o = f.DNS
	}
	resolver, err := netx.NewResolver(o)
	if !dns || err != nil {
		return d
	}
	d.MX = func(ctx context.Context, domain string) ([]string, error) {
		ctx, cancel := context.WithTimeout(ctx, lintTime)
		defer cancel()
		mx, err := resolver.MX(ctx, domain)
		if errors.Is(err, netx.ErrNoData) {
			return []string{domain}, nil
		}
		slices.SortStableFunc(mx.Records, func(a, b netx.MX) int { return cmp.Compare(a.Pref, b.Pref) })
		var hosts []string
		for _, r := range mx.Records {
			hosts = append(hosts, r.Host)
		}
		return hosts, err
	}
	d.Addresses = func(ctx context.Context, host string) ([]netip.Addr, error) {
		ctx, cancel := context.WithTimeout(ctx, lintTime)
		defer cancel()
		all, err := resolver.Addrs(ctx, host)
		return all.Records, err
	}
	return d
}

// missingFiles tells of files that keys name, whose absence holds mail up: the server starts without
// them, as they may come and go.
func missingFiles(f *config.File) (found []lint.Finding) {
	look := func(key, path, consequence string, wrong func(os.FileInfo) string) {
		if path == "" {
			return
		}
		what := ""
		st, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			what = "there is no such file"
		case err != nil:
			what = err.Error()
		case wrong != nil:
			what = wrong(st)
		}
		if what != "" {
			at := f.Origins[key]
			found = append(found, lint.Finding{File: cmp.Or(at.File, f.Path), Line: at.Line, Level: lint.Wrong, Case: "file-missing",
				What: fmt.Sprintf("%s = %s: %s", key, path, what), Consequence: consequence, Cure: "make the file, or take the key out"})
		}
	}
	for _, path := range f.Route.AliasFiles {
		look("route.alias_files", path, "mail for the domains of locals waits until it is there", nil)
	}
	look("route.virtusertable", f.Route.VirtUserTable, "mail waits until it is there", nil)
	look("route.access", f.Route.Access, "mail waits until it is there", nil)
	filter, _, _ := strings.Cut(strings.TrimSpace(f.Submit.Filter), " ")
	look("submit.filter", filter, "mail from the network is answered with 451", func(st os.FileInfo) string {
		if st.IsDir() || st.Mode()&0o111 == 0 {
			return "it cannot be run"
		}
		return ""
	})
	return found
}

// deniedFiles tells of a certificate that cannot be used, and of files that root may use and the roles may not.
func deniedFiles(f *config.File) (found []lint.Finding) {
	if err := certs.Check(f.Config); err != nil && !errors.Is(err, fs.ErrPermission) { // who checks may not be who serves
		at := f.Origins["tls.cert"]
		found = append(found, lint.Finding{File: cmp.Or(at.File, f.Path), Line: at.Line, Level: lint.Wrong, Case: "certificate",
			What: err.Error(), Consequence: "the server does not start", Cure: "give tls.cert and tls.key the two files of one certificate, in PEM, the key without a passphrase"})
	}
	for _, d := range owners.DeniedFiles(f.Config) {
		at := f.Origins[d.Key]
		x := lint.Finding{File: cmp.Or(at.File, f.Path), Line: at.Line, Level: lint.Wrong, Case: "file-denied",
			What: d.Key + " = " + d.String(), Consequence: "mail waits until it may", Cure: d.Cure()}
		if d.Down {
			x.Consequence = "the server does not start"
		}
		found = append(found, x)
	}
	return found
}

// unverifiedLogins tells of relays that get a password without having shown who they are.
func unverifiedLogins(f *config.File) (found []lint.Finding) {
	for _, u := range f.Route.UnverifiedLogins() {
		x := lint.Finding{File: u.Place.File, Line: u.Place.Line, Level: lint.Warning, Case: "unverified-login",
			What:        fmt.Sprintf("%s: nothing asks %s to show who it is", u.Rule, u.Host),
			Consequence: "user, password and mail go to whoever answers in its place",
			Cure:        "write tls=verify into the route, or use port 465, where certificates are always verified"}
		if u.TLS == route.TLSOpportunistic { // where DANE has the last word
			x.What, x.Consequence = fmt.Sprintf("%s: nothing but DANE asks %s to show who it is", u.Rule, u.Host), "unless it has TLSA records, "+x.Consequence
		}
		if x.File == "" {
			x.File = f.Path
		} else {
			x.Cure = `set route.tls = "verify", or use port 465, where certificates are always verified`
		}
		found = append(found, x)
	}
	return found
}

// postmaster tells where nobody takes the mail of postmaster, mailer-daemon and root. Without
// the files of accounts there is nothing to ask yet.
func (a *app) postmaster(ctx context.Context, f *config.File) []lint.Finding {
	if _, err := os.Stat(filepath.Join(a.data, "directory", "directory.db")); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var found []lint.Finding
	err := a.withStores(ctx, func(s *verbs.Stores) error {
		for _, name := range []string{"postmaster", "mailer-daemon", "root"} {
			x, err := s.Explain(ctx, f.Config, verbs.Question{To: mail.Address{Local: name}})
			if err != nil {
				return err
			}
			if x.Err != nil || x.Route.Kind != route.Refused {
				continue
			}
			found = append(found, lint.Finding{File: a.config, Level: lint.Wrong, Case: "no-" + name,
				What:        fmt.Sprintf("nobody takes the mail of %s: %s", name, x.Route.Err.Text(reason.English)),
				Consequence: "complaints and bounces of bounces are lost to you; RFC 5321 wants postmaster on every host",
				Cure:        "give route.postmaster an address that exists, or make an account or alias " + name})
		}
		return nil
	})
	if err != nil { // a server that is stopping, another's folder: no word about postmaster then
		return nil
	}
	return found
}
