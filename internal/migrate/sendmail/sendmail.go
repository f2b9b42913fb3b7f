// Package sendmail reads the settings of sendmail: sendmail.cf, or the sendmail.mc that it is
// made of, and the tables beside it.
//
// Options, classes and maps have equals here and are taken. Rewriting rules have none: what the
// stock ones do is what routing does; the host's own are named with file and line.
package sendmail

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/postilion/postilion/internal/migrate"
	"github.com/postilion/postilion/internal/netx/names"
)

// Options say where the settings are.
type Options struct {
	Dir  string // the folder of sendmail.mc and its tables, or one of sendmail.cf and sendmail.mc itself
	Root string // the root of the host's other files; "" is "/"
	// Tools is where postilion-tools is, for .forward files; "" has dot-forward found by its name.
	Tools string
}

// reader is one reading.
type reader struct {
	o        Options
	dir      string
	r        *migrate.Report
	done     map[string]bool // files that were taken already
	options  map[string]bool // options that were set
	listen   map[string][]string
	rulesets map[string]*ruleset
	hooks    []hook
	auth     []credentials
}

// Read reads sendmail's settings. The error says that there are none.
func Read(o Options) (*migrate.Report, error) {
	info, err := os.Stat(o.Dir)
	if err != nil {
		return nil, err
	}
	r := &reader{o: o, dir: o.Dir, r: &migrate.Report{}, done: map[string]bool{}, options: map[string]bool{}, listen: map[string][]string{}, rulesets: map[string]*ruleset{}}
	main := o.Dir
	if info.IsDir() {
		if main, err = r.main(); err != nil {
			return nil, err
		}
	} else {
		r.dir = filepath.Dir(o.Dir)
	}
	text, err := migrate.ReadFile(main)
	if err != nil {
		return nil, err
	}
	if strings.HasSuffix(main, ".mc") {
		r.mc(main, string(text))
	} else {
		r.cf(main, string(text), 1)
	}
	r.rules(main)
	r.tables()
	for _, service := range []string{"smtp", "submission", "submissions"} {
		if list := r.listen[service]; list != nil {
			r.r.SetList(service+".listen", list, main, 0)
		}
	}
	r.r.HostName(o.Root)
	r.ownNames()
	r.authenticate()
	r.r.OneForAll()
	r.r.Forwards(main, o.Tools)
	r.r.Set("route.system_users", "true", main, 0)
	r.r.Set("runas.enabled", "true", main, 0)
	r.r.Sort()
	return r.r, nil
}

// main finds the file that counts in a folder: the .cf, which sendmail reads; the .mc without one.
func (r *reader) main() (string, error) {
	for _, name := range []string{"sendmail.cf", "sendmail.mc", "../sendmail.cf"} {
		path := filepath.Join(r.dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no sendmail.cf and no sendmail.mc in %s", r.dir)
}

// host returns where a file of the host is on this disk.
func (r *reader) host(path string) string {
	path = strings.TrimPrefix(strings.TrimSpace(path), "-o ")
	if !filepath.IsAbs(path) {
		return filepath.Join(r.dir, path)
	}
	return filepath.Join("/", r.o.Root, path)
}

// table returns where the text of a table is that the configuration names, compiled or not.
func (r *reader) table(path string) string {
	path = r.host(path)
	text, compiled := strings.CutSuffix(path, ".db")
	if _, err := os.Stat(text); compiled && err != nil {
		if _, err := os.Stat(path); err == nil {
			r.r.Note(migrate.At(path, 0, filepath.Base(path)), migrate.NotCarried, "", "compiled tables are not read, and there is no %s: `makemap -u hash %s` prints it", text, path)
		}
	}
	return text
}

// ownNames adds the host's name to those that are local: sendmail always knows it as its own.
func (r *reader) ownNames() {
	host, ok := r.r.Get("host")
	switch _, has := r.r.Get("route.locals"); {
	case has && ok:
		r.r.Add("route.locals", strings.ToLower(host.Value), host.File, host.Line)
	case has:
		r.r.Note(migrate.At(r.dir, 0, "the host's own name"), migrate.NotCarried, "route.locals", "no file says it: add it, since users' mail of this host goes there")
	}
}

// read reads a table; ok is false when it is not there or cannot be read, which is noted.
func (r *reader) read(path string) (text string, ok bool) {
	data, err := r.r.File(path)
	return string(data), err == nil
}

// lines calls each for the lines of a table, without comments and blank ones.
func lines(text string, each func(n int, line string)) {
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, " \t\r\n")
		if t := strings.TrimSpace(line); t != "" && t[0] != '#' {
			each(n, line)
		}
	}
}

// pair splits a line of a table into key and value.
func pair(line string) (key, value string, ok bool) {
	i := strings.IndexAny(line, " \t")
	if i <= 0 {
		return "", "", false
	}
	return line[:i], strings.TrimSpace(line[i:]), true
}

// tables takes the usual files beside the main one.
func (r *reader) tables() {
	r.class('w', filepath.Join(r.dir, "local-host-names"))
	r.class('R', filepath.Join(r.dir, "relay-domains"))
	r.mailertable(filepath.Join(r.dir, "mailertable"))
	r.accessTable(filepath.Join(r.dir, "access"))
	r.file("route.virtusertable", filepath.Join(r.dir, "virtusertable"), false)
	for _, path := range []string{filepath.Join(r.dir, "aliases"), filepath.Join("/", r.o.Root, "/etc/aliases")} {
		r.file("route.alias_files", path, true)
	}
	for name, instead := range map[string]string{
		"genericstable": "senders are rewritten by the table of ofmipd and new-inject alone",
		"domaintable":   "give alias domains with `domain add --alias-of`",
		"trusted-users": "any user may say who a message is from; the log tells who it was",
		"uucpdomain":    "there is no UUCP",
		"bitdomain":     "there is no BITNET",
	} {
		path := filepath.Join(r.dir, name)
		if text, ok := r.read(path); ok {
			lines(text, func(n int, line string) { r.r.Note(migrate.At(path, n, line), migrate.NotCarried, "", "%s", instead) })
		}
	}
	// The list of those who may send once they have logged in; an empty one lets nobody.
	if path := filepath.Join(r.dir, "smtpauth"); r.once(path) {
		r.r.Note(migrate.At(path, 0, "smtpauth"), migrate.NotCarried, "", "here all who log in may send: switch submission off (submission.listen, submissions.listen = []) or, for accounts of this server, `account set --no-send`")
	}
}

// once reports whether a file is met for the first time and is there.
func (r *reader) once(path string) bool {
	if r.done[path] {
		return false
	}
	if _, err := os.Stat(path); err != nil {
		return false
	}
	r.done[path] = true
	return true
}

// file takes a table by its path: the server reads it in place.
func (r *reader) file(key, path string, list bool) {
	if !r.once(path) {
		return
	}
	if list {
		r.r.Add(key, path, path, 0)
	} else {
		r.r.Set(key, path, path, 0)
	}
	r.r.Taken(migrate.At(path, 0, filepath.Base(path)), key)
}

// class takes the members of a class in a file.
func (r *reader) class(class byte, path string) {
	if !r.once(path) {
		return
	}
	if text, ok := r.read(path); ok {
		lines(text, func(n int, line string) { r.member(class, strings.Fields(line)[0], path, n) })
	}
}

// member takes one member of a class: w is this host's names, R may be relayed for.
func (r *reader) member(class byte, name, file string, line int) {
	_, bad := names.Domain(strings.TrimPrefix(name, "."))
	switch {
	case class == 'w' && bad != nil:
		r.r.Note(migrate.At(file, line, name), migrate.NotCarried, "route.locals", "%s", bad)
	case class == 'w':
		r.r.Add("route.locals", strings.ToLower(name), file, line)
		r.r.Taken(migrate.At(file, line, name), "route.locals")
	case class == 'R':
		if network, ok := prefix(name); ok {
			r.r.Add("policy.relay_networks", network, file, line)
			r.r.Taken(migrate.At(file, line, name), "policy.relay_networks")
			return
		}
		if bad != nil {
			r.r.Note(migrate.At(file, line, name), migrate.NotCarried, "policy.rcpthosts", "%s", bad)
			return
		}
		r.r.Add("policy.rcpthosts", strings.ToLower(strings.TrimPrefix(name, ".")), file, line)
		if !strings.HasPrefix(name, ".") {
			// sendmail matches the domain and all below it.
			r.r.Add("policy.rcpthosts", "."+strings.ToLower(name), file, line)
		}
		r.r.Note(migrate.At(file, line, name), migrate.Differs, "policy.rcpthosts", "mail to it is taken from everybody; clients of that name may not relay: name their addresses")
	}
}

// prefix reads an address, a network, or leading octets such as 192.0.2.
func prefix(s string) (string, bool) {
	s = strings.TrimPrefix(strings.TrimPrefix(s, "IPv6:"), "ipv6:")
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked().String(), p.Bits() > 0
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return a.String(), true
	}
	octets := strings.Split(strings.TrimSuffix(s, "."), ".")
	if len(octets) > 3 || strings.Trim(s, "0123456789.") != "" {
		return "", false
	}
	full := strings.Join(append(octets, "0", "0", "0")[:4], ".")
	p, err := netip.ParsePrefix(fmt.Sprintf("%s/%d", full, 8*len(octets)))
	return p.String(), err == nil
}

// mailertable takes routes: DOMAIN MAILER:HOST (the host in brackets without its MX records).
func (r *reader) mailertable(path string) {
	if !r.once(path) {
		return
	}
	text, ok := r.read(path)
	if !ok {
		return
	}
	lines(text, func(n int, line string) {
		key, value, ok := pair(line)
		if !ok {
			r.r.Note(migrate.At(path, n, line), migrate.NotCarried, "route.routes", "want a domain, blanks, and MAILER:HOST")
			return
		}
		route, more, err := hop(value)
		if _, bad := names.Domain(strings.TrimPrefix(key, ".")); err == nil && key != "." {
			err = bad
		}
		if err != nil {
			r.r.Note(migrate.At(path, n, line), migrate.NotCarried, "route.routes", "%s", err)
			return
		}
		if key == "." {
			key = ""
		}
		r.r.Add("route.routes", strings.ToLower(key)+":"+route, path, n)
		if more {
			r.r.Note(migrate.At(path, n, line), migrate.Differs, "route.routes", onlyFirst)
			return
		}
		r.r.Taken(migrate.At(path, n, line), "route.routes")
	})
}

// onlyFirst tells of a list of hosts, of which a route here has one.
const onlyFirst = "only the first of the hosts is tried: give them one name with an MX record for each"

// hop writes MAILER:HOST[:PORT] as the relay of a route. more is true when other hosts follow the first.
func hop(s string) (route string, more bool, err error) {
	mailer, list, ok := strings.Cut(s, ":")
	switch strings.ToLower(mailer) {
	case "smtp", "esmtp", "relay", "dsmtp", "smtp8":
	case "local":
		return "", false, errors.New("mail for users here: put the domain into route.virtual_domains")
	case "error":
		return "", false, errors.New("refuse the recipients with policy.bad_recipients")
	default:
		if ok {
			return "", false, fmt.Errorf("there is no mailer %q here", mailer)
		}
		list = s // a bare host, as SMART_HOST has it
	}
	host, rest := firstHost(list)
	port := ""
	if rest != "" && strings.Trim(rest, "0123456789") == "" {
		port, rest = ":"+rest, ""
	}
	mx := " mx"
	if inner, ok := strings.CutPrefix(host, "["); ok {
		host, mx = strings.TrimSuffix(inner, "]"), ""
	}
	if a, err := netip.ParseAddr(strings.TrimPrefix(host, "IPv6:")); err == nil {
		if host, mx = a.String(), ""; a.Is6() {
			host = "[IPv6:" + host + "]"
		}
	} else if host, err = names.Domain(host); err != nil {
		return "", false, err
	}
	return host + port + mx, rest != "", nil
}

// firstHost splits a list of hosts with colons between; a host in brackets may have colons in it.
func firstHost(s string) (first, rest string) {
	end := 0
	if strings.HasPrefix(s, "[") {
		end = max(strings.IndexByte(s, ']'), 0)
	}
	if i := strings.IndexByte(s[end:], ':'); i >= 0 {
		return s[:end+i], s[end+i+1:]
	}
	return s, ""
}

// accessTable takes the access map, which the server reads in place, and moves what relaying and senders
// need of it into keys.
func (r *reader) accessTable(path string) {
	if !r.once(path) {
		return
	}
	text, ok := r.read(path)
	if !ok {
		return
	}
	r.r.Set("route.access", path, path, 0)
	r.r.Add("smtp.access_rules", "access:"+path, path, 0)
	lines(text, func(n int, line string) {
		key, value, ok := pair(line)
		if !ok {
			r.r.Note(migrate.At(path, n, line), migrate.NotCarried, "", "want a key, blanks, and a value")
			return
		}
		r.access(key, value, path, n, line)
	})
}

func (r *reader) access(key, value, path string, n int, line string) {
	tag, rest, tagged := strings.Cut(key, ":")
	if tagged && !slices.Contains([]string{"from", "to", "connect", "ipv6"}, strings.ToLower(tag)) {
		r.otherTag(strings.ToLower(tag), path, n, line)
		return
	}
	if !tagged || strings.EqualFold(tag, "ipv6") {
		tag, rest = "", key
	}
	tag, verb := strings.ToLower(tag), strings.ToUpper(value)
	refuses := verb == "REJECT" || strings.HasPrefix(verb, "ERROR") || strings.HasPrefix(verb, "5")
	address := strings.Contains(rest, "@")
	switch {
	case tag == "to" && verb == "RELAY":
		r.member('R', rest, path, n)
	case tag == "to":
		r.r.Taken(migrate.At(path, n, line), "route.access")
	case tag == "connect" || tag == "" && !address && isNetwork(rest):
		r.r.Taken(migrate.At(path, n, line), "smtp.access_rules")
	case refuses && address && strings.HasSuffix(rest, "@"):
		r.r.Note(migrate.At(path, n, line), migrate.NotCarried, "policy.bad_senders", "a user at any host has no equal")
	case refuses && (tag == "from" || tag == ""):
		if !address {
			rest = "@" + rest
		}
		r.r.Add("policy.bad_senders", rest, path, n)
		r.r.Note(migrate.At(path, n, line), migrate.Differs, "policy.bad_senders", "the refusal has a text of this server's; of a domain those below it are not meant")
	case verb == "RELAY":
		r.member('R', rest, path, n)
	case verb == "OK":
		r.r.Note(migrate.At(path, n, line), migrate.NotCarried, "", "exceptions for senders have no equal")
	default:
		r.r.Note(migrate.At(path, n, line), migrate.NotCarried, "", "%s of senders has no equal", verb)
	}
}

// otherTag takes a line of the access map that speaks neither of clients nor of senders or recipients.
func (r *reader) otherTag(tag, path string, n int, line string) {
	switch {
	case tag == "authinfo":
		r.credential(path, n, line)
	case strings.HasPrefix(tag, "tls_") || strings.HasPrefix(tag, "try_") || strings.HasPrefix(tag, "cert") || tag == "srv_features":
		r.r.Note(migrate.At(path, n, line), migrate.NotCarried, "route.routes", "what TLS a host must have is said there, as tls=verify")
	default:
		r.r.Note(migrate.At(path, n, line), migrate.NotCarried, "", "limits of clients are keys of the listeners: smtp.max_per_client, smtp.connection_rate")
	}
}

func isNetwork(s string) bool { _, ok := prefix(s); return ok }
