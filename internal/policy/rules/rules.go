// Package rules is what an operator's files say of clients by address, name and ident: tcprules in text
// or as cdb, with ranges besides; hosts.allow and hosts.deny; the Connect: lines of sendmail's access.
//
// The files are read again when they change. One that turns bad changes nothing, and is told.
package rules

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/postilion/postilion/internal/policy"
	"github.com/postilion/postilion/internal/policy/lastgood"
	"github.com/postilion/postilion/internal/reason"
)

// Client is what is known of a client.
type Client struct {
	Addr netip.Addr
	Host string // its name by DNS; "" while not known
	Info string // what its ident server said; "" while not known
}

// Decision is what the rules say of a client. The zero Decision lets it in with nothing granted.
type Decision struct {
	Rule string // the file and the rule that decided, for events; "" without one
	// Deny closes the connection without a word, as tcpserver does.
	Deny bool
	// Refusal is told the client where the rule has a text; it implies that the client is turned away.
	Refusal *reason.Error
	Grant   *policy.Grant // nil for nothing
	// Lists is what RBLSMTPD says: nil while not set, "" for no DNS lists, else the text to refuse with.
	Lists *string
}

// Away reports whether the client is turned away.
func (d *Decision) Away() bool { return d.Deny || d.Refusal != nil }

// table is one file's rules.
type table interface {
	// decide returns false when no rule matches.
	decide(c *Client) (Decision, bool)
	// needs tells whether names or ident answers can change a decision.
	needs() (host, info bool)
}

// Set is the rules of one listener. A nil Set lets everyone in. It is safe for concurrent use.
type Set struct {
	files []*lastgood.File[table]
	keys  []string // the configured entries, for Errors
}

// Open reads the files of list in order; the first with a rule for a client decides. An entry is a path,
// or FORMAT:PATH:
//
//	tcprules:PATH  the text that tcprules compiles; the default
//	cdb:PATH       what it makes of that; the default for a name that ends in .cdb
//	access:PATH    sendmail's access map, in text
//	hosts:FOLDER   hosts.allow and hosts.deny of a folder, such as /etc
//
// service is the listener's, such as "smtp", which hosts.allow knows under its programs' names. The
// error joins one for each bad entry, with file and line.
func Open(list []string, service string, warn func(error)) (*Set, error) {
	if len(list) == 0 {
		return nil, nil
	}
	s := &Set{keys: list}
	var errs []error
	for _, e := range list {
		f, err := open(e, service, warn)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s.files = append(s.files, f...)
	}
	return s, errors.Join(errs...)
}

func open(entry, service string, warn func(error)) ([]*lastgood.File[table], error) {
	format, path, ok := strings.Cut(entry, ":")
	if !ok {
		format, path = "tcprules", entry
		if strings.HasSuffix(path, ".cdb") {
			format = "cdb"
		}
	}
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("%q: want the absolute path of a file, or FORMAT:PATH with tcprules, cdb, access or hosts", entry)
	}
	file := func(path string, optional bool, parse func(path string, content []byte) (table, error)) (*lastgood.File[table], error) {
		return lastgood.Open(lastgood.Options[table]{Path: path, Optional: optional, Warn: warn,
			Parse: func(p []byte) (table, error) { return parse(path, p) }})
	}
	one := func(f *lastgood.File[table], err error) ([]*lastgood.File[table], error) {
		return []*lastgood.File[table]{f}, err
	}
	switch format {
	case "tcprules":
		return one(file(path, false, parseTCP))
	case "cdb":
		return one(file(path, false, parseTCPCDB))
	case "access":
		return one(file(path, false, parseAccess))
	case "hosts":
		if info, err := os.Stat(path); err != nil || !info.IsDir() {
			return nil, fmt.Errorf("%s: want the folder of hosts.allow and hosts.deny", path)
		}
		// hosts_access(5): the first match in hosts.allow, then in hosts.deny, decides; a file that is not there is empty.
		var files []*lastgood.File[table]
		var errs []error
		for _, name := range []string{"hosts.allow", "hosts.deny"} {
			f, err := file(filepath.Join(path, name), true, hostsParser(service, name == "hosts.deny"))
			files, errs = append(files, f), append(errs, err)
		}
		return files, errors.Join(errs...)
	}
	return nil, fmt.Errorf("%q: format %q: want tcprules, cdb, access or hosts", entry, format)
}

// Decide tells what the rules say of a client.
func (s *Set) Decide(c Client) Decision {
	if s == nil {
		return Decision{}
	}
	c.Addr = c.Addr.Unmap().WithZone("")
	c.Host = strings.ToLower(c.Host)
	for _, f := range s.files {
		if t := f.Get(); t != nil {
			if d, ok := t.decide(&c); ok {
				return d
			}
		}
	}
	return Decision{}
}

// Needs tells whether a client's name or its ident answer can change what Decide says.
func (s *Set) Needs() (host, info bool) {
	if s == nil {
		return false, false
	}
	for _, f := range s.files {
		if t := f.Get(); t != nil {
			h, i := t.needs()
			host, info = host || h, info || i
		}
	}
	return host, info
}

// Errors tells which files are bad now, though their earlier rules are in force.
func (s *Set) Errors() []string {
	if s == nil {
		return nil
	}
	return lastgood.Errors(s.files)
}

// variable turns a rule's variable into what it means here.
func (d *Decision) variable(name, value string) error {
	if name == "RBLSMTPD" {
		d.Lists = &value
		return nil
	}
	if d.Grant == nil {
		d.Grant = new(policy.Grant)
	}
	if err := d.Grant.Set(name, value); err != nil {
		return err
	}
	d.Grant.Env = append(d.Grant.Env, name+"="+value)
	return nil
}
