package policy

import (
	"errors"
	"fmt"
	"strings"

	"github.com/postilion/postilion/internal/policy/lastgood"
	"github.com/postilion/postilion/internal/qmail/cdb"
)

// hostList is rcpthosts and morercpthosts: domains and ".suffixes", from keys and from files that are
// read again when they change (qmail reference 2.7).
type hostList struct {
	hosts hostSet
	files []*lastgood.File[lookup]
}

// lookup tells whether a key, in lower case, is listed.
type lookup func(key string) bool

type hostSet map[string]struct{}

func (s hostSet) has(key string) bool { _, ok := s[key]; return ok }

func newHostList(entries []string, warn func(error)) (*hostList, error) {
	l := &hostList{hosts: hostSet{}}
	var errs []error
	for _, e := range entries {
		if !strings.HasPrefix(e, "/") {
			if err := checkHost(e); err != nil {
				errs = append(errs, err)
			}
			l.hosts[strings.ToLower(e)] = struct{}{}
			continue
		}
		parse := parseHosts
		if strings.HasSuffix(e, ".cdb") {
			parse = parseHostsCDB
		}
		f, err := lastgood.Open(lastgood.Options[lookup]{Path: e, Warn: warn, Parse: func(p []byte) (lookup, error) {
			l, err := parse(p)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", e, err)
			}
			return l, nil
		}})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		l.files = append(l.files, f)
	}
	return l, errors.Join(errs...)
}

func checkHost(e string) error {
	if e == "" || strings.ContainsFunc(e, func(r rune) bool { return r <= ' ' || r == '@' || r == 0x7f }) {
		return fmt.Errorf("%q: want a domain, .suffix, or the path of a file of them", e)
	}
	return nil
}

// parseHosts reads a list file (qmail reference 2.1): a line an entry, trailing blanks off, "#" at
// a line's start begins a comment. As in qmail, a line that is no domain is no error: it matches none.
func parseHosts(content []byte) (lookup, error) {
	set := hostSet{}
	for line := range strings.Lines(string(content)) {
		if line = strings.TrimRight(line, " \t\r\n"); line != "" && line[0] != '#' {
			set[strings.ToLower(line)] = struct{}{}
		}
	}
	return set.has, nil
}

// parseHostsCDB reads morercpthosts.cdb, whose keys are in lower case.
func parseHostsCDB(content []byte) (lookup, error) {
	db, err := cdb.FromBytes(content)
	if err != nil {
		return nil, err
	}
	for _, err := range db.All() {
		if err != nil {
			return nil, err
		}
	}
	return func(key string) bool {
		_, found, err := db.Get([]byte(key))
		return found && err == nil
	}, nil
}

// has looks a domain up: the whole of it, then every suffix that begins at a dot.
func (l *hostList) has(domain string) bool {
	if len(l.hosts) == 0 && len(l.files) == 0 {
		return false
	}
	domain = strings.ToLower(domain)
	if l.listed(domain) {
		return true
	}
	for i := range len(domain) {
		if domain[i] == '.' && l.listed(domain[i:]) {
			return true
		}
	}
	return false
}

func (l *hostList) listed(key string) bool {
	if l.hosts.has(key) {
		return true
	}
	for _, f := range l.files {
		if f.Get()(key) {
			return true
		}
	}
	return false
}
