package config

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/postilion/postilion/internal/deliver/remote"
	"github.com/postilion/postilion/internal/dispatch"
	"github.com/postilion/postilion/internal/dnsbl"
	"github.com/postilion/postilion/internal/intake/smtpd"
	"github.com/postilion/postilion/internal/migrate"
	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/netx/names"
	"github.com/postilion/postilion/internal/policy"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/smtp"
)

// check finds keys that contradict each other and values that no part would take.
// File and Line of the problems are filled in from the keys by the caller.
func (f *File) check() (ps Problems) {
	c := f.Config
	bad := func(key, format string, args ...any) {
		ps = append(ps, Problem{Key: key, Text: what(key) + ": " + fmt.Sprintf(format, args...)})
	}
	if c.Host == "" {
		bad("host", `want this server's name, such as "mail.example.test"%s`, f.unfit("host"))
	} else if _, err := netip.ParseAddr(c.Host); err == nil && f.Origins["host"].From != "qmail" { // whose host runs so
		bad("host", `want a name, such as "mail.example.test", not an address`)
	} else if name, err := names.Domain(c.Host); err != nil {
		bad("host", "%s", err)
	} else if !strings.EqualFold(name, c.Host) { // other hosts are greeted with it, and certificates have it
		bad("host", "want the name in ASCII, as DNS has it: %q", name)
	} else if err := smtp.CheckDomain(c.Host); err != nil {
		bad("host", "%s", err)
	}
	for _, n := range []struct{ key, name string }{{"remote.helo", c.Remote.Helo}, {"pop3.host", c.POP3.Host}, {"pop3s.host", c.POP3S.Host}} {
		if n.name == "" {
			continue
		}
		if err := smtp.CheckDomain(n.name); err != nil { // or nobody takes the greeting
			bad(n.key, "%q: %s", n.name, err)
		}
	}
	f.checkListeners(bad)
	f.checkTLS(bad)
	f.checkRoutes(bad)
	f.checkParts(bad)
	f.checkTexts(bad)
	return ps
}

// checkListeners looks at what is listened on: no two services can have one address, and one for all addresses has each of them.
func (f *File) checkListeners(bad func(key, format string, args ...any)) {
	type user struct{ key, addr string }
	users := map[string][]user{} // by port
	all := func(host string) bool { return host == "" || host == "0.0.0.0" || host == "::" }
	for _, s := range f.Services() {
		key := s.Name + ".listen"
		for _, a := range s.Listen {
			if err := checkAddr(a); err != nil {
				bad(key, "%s", err)
				continue
			}
			host, port, _ := net.SplitHostPort(a)
			if port == "0" { // of the system's choice
				continue
			}
			for _, u := range users[port] {
				switch other, _, _ := net.SplitHostPort(u.addr); {
				case other == host || all(other) && all(host):
					bad(key, "%s is %s's already", a, u.key)
				case all(other):
					bad(key, "%s is among all addresses that %s has with %s", a, u.key, u.addr)
				case all(host):
					bad(key, "%s would take %s, which is %s's already", a, u.addr, u.key)
				default:
					continue
				}
				break
			}
			users[port] = append(users[port], user{key, a})
		}
	}
}

// checkParts has each part look at its own keys, as it will at the start.
func (f *File) checkParts(bad func(key, format string, args ...any)) {
	c := f.Config
	for _, p := range []struct {
		group string
		check func() error
	}{
		{"policy", func() error { _, err := policy.New(c.Policy); return err }},
		{"dns", func() error { _, err := netx.NewResolver(c.DNS); return err }},
		{"remote", func() error { _, err := remote.New(c.Remote, remote.Deps{Resolver: noResolver{}}); return err }},
		{"dispatch", func() error { _, err := dispatch.New(c.Dispatch, dispatch.Deps{}); return err }},
		{"log", c.Log.Validate}, {"bounce", c.Bounce.Validate},
		{"smtp", c.SMTP.check}, {"submission", c.Submission.check}, {"submissions", c.Submissions.check}, {"lmtp", c.LMTP.check},
		{"pop3", c.POP3.check}, {"pop3s", c.POP3S.check}, {"qmtp", c.QMTP.check}, {"qmqp", c.QMQP.check},
		{"dns_lists", func() error { _, err := dnsbl.New(c.DNSLists, nil, nil); return err }}, {"turn", c.Turn.Validate},
		{"process", c.Process.check},
		{"trial", func() error { return c.Trial.check(c.Services()) }},
		{"auth", c.Auth.Validate}, {"local", c.Local.Validate}, {"runas", c.RunAs.Validate}, {"submit", c.Submit.Validate}, {"archive", c.Archive.Validate}, {"content_rules", c.Content.Validate}, {"inject", c.Inject.Validate},
	} {
		for _, err := range each(p.check()) {
			key, text := f.blame(p.group, err.Error())
			bad(key, "%s", text)
		}
	}
}

// each takes errors that are joined apart, also where the joined ones have words before them: a key, for instance.
func each(err error) (list []error) {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if ok && errors.Join(joined.Unwrap()...).Error() == err.Error() {
		for _, e := range joined.Unwrap() {
			list = append(list, each(e)...)
		}
		return list
	}
	inner := errors.Unwrap(err)
	parts := each(inner)
	if len(parts) < 2 || !strings.HasSuffix(err.Error(), inner.Error()) {
		return []error{err}
	}
	before := strings.TrimSuffix(err.Error(), inner.Error())
	for _, e := range parts {
		list = append(list, fmt.Errorf("%s%w", before, e))
	}
	return list
}

// unfit tells why a qmail's file does not give a key, "" when there is no such file to name.
func (f *File) unfit(key string) string {
	for _, n := range f.Notes {
		if n.Key == key && n.Fate == migrate.NotCarried {
			if n.Line > 0 {
				return fmt.Sprintf("; %s:%d does not give it: %q: %s", n.File, n.Line, n.What, n.Text)
			}
			return fmt.Sprintf("; %s does not give it: %s", n.File, n.Text)
		}
	}
	return ""
}

// blame finds the key that a part's error begins with, as parts name theirs; without one
// the whole group is to blame.
func (f *File) blame(group, text string) (key, rest string) {
	text = strings.TrimPrefix(text, group+".")
	end := strings.IndexAny(text, " :=[")
	if end <= 0 {
		return group, text
	}
	key = group + "." + text[:end]
	if s, err := theSchema(); err != nil || s.byName[key] == nil {
		return group, text
	}
	return key, strings.TrimLeft(text[end:], " :=")
}

// checkTexts refuses line ends and the like, which would end up in protocols and headers.
func (f *File) checkTexts(bad func(key, format string, args ...any)) {
	list, err := f.Settings(true)
	if err != nil {
		bad("host", "%s", err)
		return
	}
	for _, s := range list {
		if s.Key == "local.default_delivery" {
			continue // lines of a .qmail file, which its part has read
		}
		if strings.ContainsFunc(s.Value, unicode.IsControl) {
			bad(s.Key, "want text without control characters")
		}
	}
}

// check looks at the listener's keys and at the protocol's.
func (s SMTP) check() error {
	s.Host = "localhost"
	_, err := smtpd.New(s.Options, smtpd.Deps{})
	return errors.Join(s.Listener.Validate(), err)
}

func (p POP3) check() error {
	return errors.Join(p.Listener.Validate(), p.Options.Validate())
}

func (q QMTP) check() error { return errors.Join(q.Listener.Validate(), q.Options.Validate()) }

func (q QMQP) check() error {
	err := errors.Join(q.Listener.Validate(), q.Options.Validate())
	if len(q.Listen) > 0 && len(q.Networks) == 0 && len(q.Rules) == 0 {
		err = errors.Join(err, errors.New("networks: want those that may use QMQP: each of their hosts may send to anywhere"))
	}
	return err
}

// noResolver stands for DNS, where nothing is asked.
type noResolver struct{ remote.Resolver }

// what names a key, or a whole group whose part found a mistake.
func what(key string) string {
	if key != "host" && key != "data" && !strings.ContainsAny(key, ".[") {
		return "group [" + key + "]"
	}
	return "key " + key
}

// Service is one kind of listener.
type Service struct {
	Name   string // "smtp", as its group is called
	Listen []string
}

// Services lists what is listened for, whether on or off.
func (c *Config) Services() []Service {
	return []Service{
		{"smtp", c.SMTP.Listen}, {"submission", c.Submission.Listen}, {"submissions", c.Submissions.Listen},
		{"lmtp", c.LMTP.Listen}, {"qmtp", c.QMTP.Listen}, {"qmqp", c.QMQP.Listen}, {"pop3", c.POP3.Listen}, {"pop3s", c.POP3S.Listen}, {"metrics", c.Metrics.Listen},
	}
}

func checkAddr(a string) error {
	host, port, err := net.SplitHostPort(a)
	if err != nil {
		return fmt.Errorf("%q: want address:port, such as 127.0.0.1:25, [::1]:25 or :25", a)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n > 65535 {
		return fmt.Errorf("%q: want a port number from 0 to 65535 after the colon", a)
	}
	if host != "" && net.ParseIP(strings.SplitN(host, "%", 2)[0]) == nil {
		return fmt.Errorf("%q: want an IP address before the port, not the name %q", a, host)
	}
	return nil
}

func (f *File) checkTLS(bad func(key, format string, args ...any)) {
	set := func(key string) bool { _, ok := f.Origins[key]; return ok }
	switch {
	case f.TLS.ACME && (set("tls.cert") || set("tls.key")):
		bad("tls.acme", "it contradicts tls.cert and tls.key: the certificate comes from one place")
	case set("tls.cert") != set("tls.key"):
		bad("tls.cert", "want tls.cert and tls.key together")
	}
	f.checkACME(bad)
	if v := f.TLS.MinTLS; v != "1.2" && v != "1.3" {
		bad("tls.min_version", `want "1.2" or "1.3", have %q`, v)
	}
}

// checkACME looks at what certificates are fetched with, where they are: a mistake there shows itself in a log alone, weeks
// later when the old certificate has expired.
func (f *File) checkACME(bad func(key, format string, args ...any)) {
	t := f.TLS
	if !t.ACME {
		return
	}
	if err := checkAddr(t.ACMEHTTP); err != nil {
		bad("tls.acme_http", "%s", err)
	}
	ca, err := url.Parse(t.ACMECA)
	if err != nil || ca.Host == "" || ca.Scheme != "https" && !(ca.Scheme == "http" && isInternal(ca.Hostname())) {
		bad("tls.acme_ca", "%q: want the https:// address of an ACME directory", t.ACMECA)
	}
	if t.ACMEEmail != "" {
		if _, rest, err := smtp.ParsePath("<" + t.ACMEEmail + ">"); err != nil || rest != "" {
			bad("tls.acme_email", "%q: want an address, such as postmaster@example.test", t.ACMEEmail)
		}
	}
	if t.ACMERoots == "" {
		return
	}
	if p, err := os.ReadFile(t.ACMERoots); err != nil {
		bad("tls.acme_roots", "%s", err)
	} else if !x509.NewCertPool().AppendCertsFromPEM(p) {
		bad("tls.acme_roots", "%s: want certificates in PEM form", t.ACMERoots)
	}
}

// isInternal reports whether a host is of the house, where an authority may be asked without TLS.
func isInternal(host string) bool {
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback() || ip.IsPrivate()
	}
	top := host[strings.LastIndexByte(host, '.')+1:]
	return top == "localhost" || top == "local" || top == "internal" || strings.HasSuffix(host, ".home.arpa")
}

// checkRoutes looks at the group route with the routes that have tables of their own.
func (f *File) checkRoutes(bad func(key, format string, args ...any)) {
	o := f.Route
	o.Routes = slices.Clone(o.Routes)
	tables := make([]string, len(o.Routes)) // of each line: the table that it is of
	for i, h := range f.Routes {
		at := fmt.Sprintf("routes[%d]", i)
		if line, err := h.line(); err != nil {
			bad(at, "%s", err)
		} else {
			o.Routes, tables = append(o.Routes, line), append(tables, at)
		}
		if h.Password != "" && h.PasswordFile != "" {
			bad(at+".password_file", "it contradicts password: want one of them")
		}
	}
	_, err := route.New(o, nil, nil)
	for _, err := range each(err) {
		if wrong, ok := errors.AsType[*route.LineError](err); ok && tables[wrong.N] != "" {
			bad(tables[wrong.N], "%s", wrong.Err)
			continue
		}
		key, text := f.blame("route", err.Error())
		bad(key, "%s", text)
	}
}

// line writes the hop as an entry of route.Options.Routes.
func (h *Hop) line() (string, error) {
	var b strings.Builder
	b.WriteString(h.Domain + ":")
	if h.Host == "" {
		if h.User != "" {
			return "", fmt.Errorf("user needs host: the relay to log in to")
		}
		return b.String(), nil
	}
	host := h.Host
	switch ip := net.ParseIP(host); {
	case ip != nil && ip.To4() == nil:
		host = "[IPv6:" + host + "]"
	case ip == nil && host[0] != '[':
		if _, err := names.Domain(host); err != nil {
			return "", fmt.Errorf("host %q: %w", host, err)
		}
	}
	fmt.Fprintf(&b, "%s:%d tls=%s", host, h.Port, h.TLS)
	if _, err := route.ParseTLSPolicy(h.TLS); err != nil {
		return "", err
	}
	if h.User == "" {
		return b.String(), nil
	}
	password := h.Password
	if h.PasswordFile != "" {
		p, err := os.ReadFile(h.PasswordFile)
		if err != nil {
			return "", fmt.Errorf("password_file: %w", err)
		}
		password, _, _ = strings.Cut(string(p), "\n")
		password = strings.TrimSuffix(password, "\r")
	}
	fmt.Fprintf(&b, " user=%s password=%s", url.PathEscape(h.User), url.PathEscape(password))
	return b.String(), nil
}

// fill derives what the parts want from other keys. It runs on a checked configuration.
func (c *Config) fill() {
	c.Route.Host, c.Submit.Host, c.Remote.Host = c.Host, c.Host, c.Host
	c.Inject.Host = c.Host
	for _, s := range []*SMTP{&c.SMTP, &c.Submission, &c.Submissions, &c.LMTP} {
		s.Host = c.Host
	}
	for _, s := range []*string{&c.POP3.Host, &c.POP3S.Host, &c.Local.Maildir.Host, &c.Bounce.Host, &c.Bounce.DoubleHost} {
		*s = cmp.Or(*s, c.Host)
	}
	c.Submission.Mode, c.Submissions.Mode, c.LMTP.Mode = smtpd.Submission, smtpd.Submission, smtpd.LMTP
	c.Auth.DefaultDomain = cmp.Or(c.Auth.DefaultDomain, c.Route.DefaultDomain)
	c.RunAs.Enabled = c.RunAs.Enabled || c.Route.SystemUsers
	c.Auth.Path = filepath.Join(c.Data, "auth", "secrets.db")
	for i := range c.Routes {
		line, _ := c.Routes[i].line() // checked
		c.Route.Routes = append(c.Route.Routes, line)
	}
	c.Routes = nil
	c.Route.Routes = append(c.Route.Routes, c.Turn.routes(c.Route.Routes)...)
	if abs, err := filepath.Abs(c.Data); err == nil {
		c.Data = abs
	}
}

// InData resolves a file name that may be relative to the data folder.
func (c *Config) InData(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(c.Data, name)
}
