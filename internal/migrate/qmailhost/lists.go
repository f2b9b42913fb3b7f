package qmailhost

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/postilion/postilion/internal/migrate"
	"github.com/postilion/postilion/internal/netx/names"
	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/qmail/control"
)

// list takes the entries of a list file that check finds right, and notes the others. It
// returns the line of the first; 0 when there is none.
func (r *reader) list(f file, key string, check func(string) error) (list []string, at int) {
	for _, e := range control.List(f.data) {
		if err := check(e.Text); err != nil {
			r.r.Note(migrate.At(f.path, e.Line, e.Text), migrate.NotCarried, key, "%s", err)
			continue
		}
		if at == 0 {
			at = e.Line
		}
		list = append(list, e.Text)
		r.r.Taken(migrate.At(f.path, e.Line, e.Text), key)
	}
	return list, at
}

// checkHost refuses what can be no domain.
func checkHost(s string) error {
	if strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c == '@' || c == ':' || c == 0x7f }) {
		return errors.New("no domain can match this")
	}
	return nil
}

// lists sets a list: what the file says, or in a living tree the file, which is then read
// again when it changes.
func (r *reader) lists(key, fileKey string, list []string, f file, at int) {
	switch {
	case r.o.Live:
		r.r.Set(fileKey, f.path, f.path, 0)
	case list != nil:
		r.r.SetList(key, list, f.path, at)
	}
}

func (r *reader) locals(f file) {
	if !f.has && !r.o.Live {
		if r.me != "" {
			r.r.SetList(keyLocals, []string{r.me}, f.path, 0)
		}
		return
	}
	list, at := r.list(f, keyLocals, checkHost)
	if list == nil && !r.o.Live {
		// No list would stand for control/me, but this file says that nothing is local.
		r.r.Set(keyLocalsFile, f.path, f.path, 0)
		r.r.Note(migrate.At(f.path, 0, "locals"), migrate.Differs, keyLocalsFile, "empty: nothing is local, which the file goes on to say")
		return
	}
	r.lists(keyLocals, keyLocalsFile, list, f, at)
}

func (r *reader) percenthack(f file) {
	list, at := r.list(f, keyPercentHack, checkHost)
	r.lists(keyPercentHack, keyPercentHackFile, list, f, at)
}

// qmqpservers takes the servers of a mini-qmail, which hands all its mail to them. In another qmail
// nothing reads the file.
func (r *reader) qmqpservers(f file) {
	if !f.has {
		return
	}
	queue := filepath.Join(r.o.Dir, "bin", "qmail-queue")
	if to, err := os.Readlink(queue); err != nil || filepath.Base(to) != "qmail-qmqpc" {
		r.r.Note(migrate.At(f.path, 0, "qmqpservers"), migrate.NotCarried, keyQMQPServers, "%s is no link to qmail-qmqpc, so nothing reads it", queue)
		return
	}
	if list, at := r.list(f, keyQMQPServers, checkAddr); list != nil {
		r.r.SetList(keyQMQPServers, list, f.path, at)
		r.r.Set("route.null_client", "true", f.path, at)
	}
}

// dnsbllist takes the lists of patched versions; one with a "-" before it refuses for good, which
// here all do or none.
func (r *reader) dnsbllist(f file) {
	for _, e := range control.List(f.data) {
		name, permanent := strings.CutPrefix(e.Text, "-")
		if checkHost(name) != nil || !strings.Contains(name, ".") {
			r.r.Note(migrate.At(f.path, e.Line, e.Text), migrate.NotCarried, keyDNSLists, "want a list's name")
			continue
		}
		r.r.Add(keyDNSLists, name, f.path, e.Line)
		if permanent {
			r.r.Set("dns_lists.permanent", "true", f.path, e.Line)
			r.r.Note(migrate.At(f.path, e.Line, e.Text), migrate.Differs, keyDNSLists, "all lists refuse for good, with 553")
			continue
		}
		r.r.Taken(migrate.At(f.path, e.Line, e.Text), keyDNSLists)
	}
}

// checkAddr refuses what qmail-qmqpc cannot use: it takes addresses alone.
func checkAddr(s string) error {
	if _, err := netip.ParseAddr(s); err != nil {
		return errors.New("want an IP address")
	}
	return nil
}

// lasting returns a file's entries that count: of two with one key the later one. control.Check tells of the other.
func lasting(f file) []control.Match {
	entries, last := control.NewMap(f.path, f.data).Entries(), map[string]int{}
	for _, e := range entries {
		last[qmail.Lower(e.Key)] = e.Line
	}
	return slices.DeleteFunc(slices.Clone(entries), func(e control.Match) bool { return last[qmail.Lower(e.Key)] != e.Line })
}

// virtualdomains takes the entries that count.
func (r *reader) virtualdomains(f file) {
	var list []string
	at := 0
	for _, e := range lasting(f) {
		if strings.ContainsAny(e.Key+e.Value, " \t") {
			r.r.Note(migrate.At(f.path, e.Line, e.Key+":"+e.Value), migrate.NotCarried, keyVirtualDomains, "it holds a blank, so it matches nothing")
			continue
		}
		if at == 0 {
			at = e.Line
		}
		list = append(list, e.Key+":"+e.Value)
		r.r.Taken(migrate.At(f.path, e.Line, e.Key+":"+e.Value), keyVirtualDomains)
	}
	r.lists(keyVirtualDomains, keyVirtualDomainsFile, list, f, at)
}

// rcpthosts takes who may be written to from outside. Without the file qmail restricts nobody.
func (r *reader) rcpthosts(f file) {
	const key = keyRcptHosts
	if !f.has {
		r.r.Set("policy.any_recipient", "true", f.path, 0)
		r.r.Note(migrate.At(f.path, 0, "rcpthosts is missing"), migrate.Differs, "policy.any_recipient",
			"OPEN RELAY: without control/rcpthosts qmail takes mail for every host from everybody, and so does this server; list your domains there, or set policy.any_recipient = false")

		return
	}
	r.r.Set("policy.rcpthosts_only", "true", f.path, 0)
	list, at := r.list(f, key, checkHost)
	if r.o.Live {
		list, at = []string{f.path}, 0
	}
	cdb := filepath.Join(r.o.Dir, "control", "morercpthosts.cdb")
	if _, err := os.Stat(cdb); err == nil {
		list = append(list, cdb)
		r.r.Taken(migrate.At(cdb, 0, "morercpthosts.cdb"), key)
	}
	r.r.SetList(key, list, f.path, at)
}

// morercpthosts only counts when it is compiled; it is told when the two disagree.
func (r *reader) morercpthosts(f file) {
	cdb := f.path + ".cdb"
	text, errText := os.Stat(f.path)
	compiled, errCDB := os.Stat(cdb)
	_, errMain := os.Stat(filepath.Join(r.o.Dir, "control", "rcpthosts"))
	switch {
	case errText != nil && errCDB != nil:
	case errMain != nil:
		r.r.Note(migrate.At(f.path, 0, "morercpthosts"), migrate.NotCarried, keyRcptHosts, "it counts only beside rcpthosts, which is missing")
	case errCDB != nil:
		r.r.Note(migrate.At(f.path, 0, "morercpthosts"), migrate.NotCarried, keyRcptHosts, "there is no morercpthosts.cdb: run qmail-newmrh")
	case errText != nil:
		r.r.Note(migrate.At(cdb, 0, "morercpthosts.cdb"), migrate.Differs, keyRcptHosts, "taken, though morercpthosts, which it was made of, is missing")
	case compiled.ModTime().Before(text.ModTime()):
		r.r.Note(migrate.At(f.path, 0, "morercpthosts"), migrate.Differs, keyRcptHosts, "morercpthosts.cdb is older, and it is the one that counts: run qmail-newmrh")
	default:
		r.r.Taken(migrate.At(f.path, 0, "morercpthosts"), keyRcptHosts)
	}
}

// smtproutes takes the artificial routes.
func (r *reader) smtproutes(f file) {
	const key = keyRoutes
	var list []string
	at := 0
	for _, e := range lasting(f) {
		what := hidePassword(e.Key + ":" + e.Value)
		route, err := Route(e.Key, e.Value)
		if err != nil {
			r.r.Note(migrate.At(f.path, e.Line, what), migrate.NotCarried, key, "%s", err)
			continue
		}
		if at == 0 {
			at = e.Line
		}
		list = append(list, route)
		r.r.Taken(migrate.At(f.path, e.Line, what), key)
	}
	r.lists(key, keyRoutesFile, list, f, at)
}

// hidePassword cuts a route before its credentials.
func hidePassword(s string) string {
	if i := strings.IndexAny(s, "| \t"); i >= 0 {
		return s[:i] + " (with a user and a password)"
	}
	return s
}

// Route writes an entry of smtproutes as one of route.routes.
func Route(key, value string) (string, error) {
	if strings.HasPrefix(key, "!") {
		return "", errors.New("routes by sender have no equal here")
	}
	if name := strings.TrimPrefix(key, "."); name != "" {
		if _, err := names.Domain(name); err != nil {
			return "", fmt.Errorf("no host can match this: %w", err)
		}
	}
	relay, err := control.ParseRelay(value)
	if err != nil {
		return "", err
	}
	if relay.Host == "" {
		return key + ":", nil
	}
	host := relay.Host
	if a, err := netip.ParseAddr(host); err == nil && a.Is6() {
		host = "[IPv6:" + host + "]"
	} else if err != nil {
		if host, err = names.Domain(host); err != nil {
			return "", err
		}
	}
	s := key + ":" + host
	if relay.Port != 0 {
		s += fmt.Sprintf(":%d", relay.Port)
	}
	if relay.User != "" {
		s += " user=" + url.PathEscape(relay.User) + " password=" + url.PathEscape(relay.Password)
	}
	return s, nil
}
