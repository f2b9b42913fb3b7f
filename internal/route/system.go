package route

// Addresses of system users: what qmail-send does with a recipient (qmail reference 7.2) after
// the directory's own domains, with sendmail's tables before it.

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/fs/reread"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/qmail/control"
	"github.com/postilion/postilion/internal/reason"
)

// system is the lists and files that decide about addresses of system users.
type system struct {
	deflt    string // the default domain
	host     string // the only domain of locals where nothing says any
	locals   listed
	virtual  listed
	percent  listed
	explicit bool // locals are configured, so that no other name of the host is local

	users   *users      // nil: none are served
	aliases *aliases    // nil: no files
	tables  *mailTables // sendmail's; nil: none
}

// newSystem returns nil where o has no system users, nor lists and files of their kind.
func newSystem(o Options, d Deps) (*system, error) {
	s := &system{explicit: len(o.Locals) > 0 || o.LocalsFile != ""}
	var errs []error
	s.locals = list("locals", o.Locals, o.LocalsFile, control.NewSet, d.Now)
	s.percent = list("percent_hack", o.PercentHack, o.PercentHackFile, control.NewSet, d.Now)
	s.virtual = list("virtual_domains", o.VirtualDomains, o.VirtualDomainsFile, control.NewMap, d.Now)
	for i, v := range o.VirtualDomains {
		if !strings.Contains(v, ":") {
			errs = append(errs, fmt.Errorf("virtual_domains[%d] %q: want KEY:PREPEND", i, v))
		}
	}
	var err error
	if o.SystemUsers {
		if s.users, err = newUsers(o, d); err != nil {
			errs = append(errs, err)
		}
	} else if s.virtual.any() {
		errs = append(errs, errors.New("virtual_domains: want system_users = true too, whose users they belong to"))
	}
	if len(o.AliasFiles) > 0 {
		s.aliases = newAliases(o, d)
	}
	s.tables = newMailTables(o, d)
	if s.users == nil && s.aliases == nil && s.tables == nil && !s.locals.any() && !s.percent.any() {
		return nil, errors.Join(errs...)
	}
	return s, errors.Join(errs...)
}

// listed is the entries of a key of the configuration and of a file, which come after them.
type listed struct {
	own  *control.Table
	file *reread.File[*control.Table]
}

// list makes a listed. A missing file has no entries, as with qmail.
func list(key string, own []string, file string, parse func(string, []byte) *control.Table, now func() time.Time) listed {
	var l listed
	if len(own) > 0 {
		l.own = parse("route."+key, []byte(strings.Join(own, "\n")))
	}
	if file != "" {
		l.file = &reread.File[*control.Table]{Path: file, Optional: true, Now: now, Parse: func(data []byte) (*control.Table, error) {
			return parse(file, data), nil
		}}
	}
	return l
}

// any reports whether anything is configured.
func (l listed) any() bool { return l.own != nil || l.file != nil }

// find asks the entries of the configuration, then those of the file.
func (l listed) find(ask func(*control.Table) (control.Match, bool)) (control.Match, bool, error) {
	if l.own != nil {
		if m, ok := ask(l.own); ok {
			return m, true, nil
		}
	}
	if l.file == nil {
		return control.Match{}, false, nil
	}
	table, err := l.file.Get()
	if err != nil {
		return control.Match{}, false, err
	}
	m, ok := ask(table)
	return m, ok, nil
}

// place is whose an address is, by the lists.
type place struct {
	local   string // the local part to look the user up by, with the prefix of virtualdomains
	virtual bool   // by virtualdomains
	marked  string // local with the mark that kept it from being an alias; "" without
	domain  string // as it was written
}

// withSystem is Route for hosts with system users. written is the address with the domain as it
// came, or the one that stands for none or for the host's address; domain is that in key form.
func (r *Resolver) withSystem(ctx context.Context, rt Route, written mail.Address, domain string) (Route, error) {
	written, by, err := r.system.unwind(written)
	if err != nil {
		return rt.settle(err)
	}
	for _, m := range by {
		rt.step("domain "+m.Key, m.String(), "user%host means user@host: "+quoted(written.String()))
	}
	if len(by) > 0 {
		rt.Final = written
		if domain, err = r.domain(written.Domain, &rt); err != nil {
			return rt.refuse(reason.BadAddress.With(err.Error())), nil
		}
		rt.Final.Domain = domain
		if written.Domain == "" || rt.Local {
			written.Domain = domain
		}
	}
	if done, err := r.system.tables.access(&rt, written, domain); done || err != nil {
		return rt.settle(err)
	}
	if written.Local != "" {
		found, locals, err := r.findIn(ctx, domain, written.Local)
		if err == nil {
			return r.local(ctx, rt, found, locals)
		}
		if !errors.Is(err, directory.ErrNotFound) {
			return rt, reason.DirectoryUnavailable.Because(err)
		}
	}
	if done, err := r.system.route(&rt, written, domain); done || err != nil {
		return rt.settle(err)
	}
	if written.Local == "" {
		return rt.refuse(reason.BadAddress.With("the local part is empty")), nil
	}
	return r.elsewhere(ctx, rt, domain)
}

// elsewhere answers for a domain that neither the directory nor the lists have: one of the host's own names,
// or another host's.
func (r *Resolver) elsewhere(ctx context.Context, rt Route, domain string) (Route, error) {
	if !r.isOwnName(domain) && !(rt.Local && isRole(rt.Final.Local)) {
		rt.Local = false // the domain that stands for none may be another host's
		return r.remote(rt, domain)
	}
	if r.system.explicit {
		// As with qmail: a host that is not in locals gets its own mail from where it is routed to.
		if rule, ok, err := r.rule(domain); err != nil {
			return rt.settle(err)
		} else if ok && rule.hop.Host != "" {
			rt.Local = false
			return r.remote(rt, domain)
		}
	}
	return r.ownName(ctx, rt, domain)
}

// unwind applies percenthack and returns the entries that did.
func (s *system) unwind(a mail.Address) (mail.Address, []control.Match, error) {
	// The lists are one: an address may unwind through both.
	return control.Unwind(a, func(domain string) (control.Match, bool, error) {
		return s.percent.find(func(t *control.Table) (control.Match, bool) { return t.Lookup(domain) })
	})
}

// isLocal reports whether a domain, in key form or as written, is of locals, and what says so.
func (s *system) isLocal(domain string) (where string, ok bool, err error) {
	m, ok, err := s.locals.find(func(t *control.Table) (control.Match, bool) { return t.Lookup(domain) })
	if ok || err != nil {
		return m.String(), ok, err
	}
	if s.locals.own == nil && domain == s.host {
		if s.locals.file == nil {
			return "host", true, nil
		}
		if t, err := s.locals.file.Get(); err != nil || t == nil {
			return s.locals.file.Path + " does not exist: the host name", err == nil, err
		}
	}
	return "", false, nil
}

// takes reports whether all of a domain's names are those of system users: at least alias gets their mail.
func (s *system) takes(domain string) bool {
	if s == nil || s.users == nil {
		return false
	}
	_, ok, err := s.isLocal(domain)
	return ok || err != nil // who cannot be asked now takes it later
}

// place looks an address up in locals, then in virtualdomains (qmail reference 7.2).
func (s *system) place(rt *Route, written mail.Address, domain string) (p place, ok bool, err error) {
	where, ok, err := s.isLocal(domain)
	if err != nil {
		return p, false, err
	}
	if ok {
		rt.step("domain "+domain, where, "local")
		return place{local: written.Local, domain: written.Domain}, true, nil
	}
	if !s.virtual.any() {
		return p, false, nil
	}
	m, ok, err := s.virtual.find(func(t *control.Table) (control.Match, bool) {
		return control.Virtualdomains{Table: t}.Find(mail.Address{Local: written.Local, Domain: domain})
	})
	switch {
	case err != nil || !ok:
		return p, false, err
	case m.Value == "":
		rt.step("address "+written.String(), m.String(), "an exception: not virtual")
		return p, false, nil
	}
	p = place{local: m.Value + "-" + written.Local, virtual: true, domain: written.Domain}
	rt.step("address "+written.String(), m.String(), "virtual: local part "+quoted(p.local))
	return p, true, nil
}

// route answers for an address of locals or virtualdomains; done is false for others.
func (s *system) route(rt *Route, written mail.Address, domain string) (done bool, err error) {
	if done, err := s.tables.virtual(rt, written, domain, s.deflt); done || err != nil {
		return true, err
	}
	p, ok, err := s.place(rt, written, domain)
	if err != nil || !ok {
		return false, err
	}
	rt.Local, rt.Final = true, written
	if p.local == "" {
		// qmail reference 8.2: such mail is taken and dropped, and so it is here.
		rt.step("local part \"\"", "", "nobody: taken and dropped")
		rt.Kind = Discard
		return true, nil
	}
	exact, marked := strings.CutPrefix(p.local, `\`)
	switch {
	case p.virtual || s.aliases == nil && !s.tables.leads():
	case marked && exact != "":
		rt.step("local part "+quoted(p.local), "", "no alias is looked for: "+quoted(exact))
		// The mark stays in Delivered-To, where the alias's own line would look like a loop.
		p.marked, p.local = p.local, exact
	case s.aliases != nil:
		if done, err := s.alias(rt, p); done || err != nil {
			return true, err
		}
	}
	if s.users == nil {
		rt.step("local part "+quoted(p.local), "route.system_users", "off: no user of the system gets mail")
		return false, nil
	}
	if err := s.users.route(rt, p); err != nil || s.aliases == nil || p.virtual || rt.User.Name != s.users.alias {
		return true, err
	}
	return true, s.aliases.unsure()
}

// also is route for an address of a domain of the directory that nobody there has: of the lists
// only locals is asked.
func (s *system) also(rt *Route) (done bool, err error) {
	if _, ok, err := s.isLocal(rt.Final.Domain); err != nil || !ok {
		return false, err
	}
	rt.step("local part "+quoted(rt.Final.Local), "directory: accounts, aliases", "nobody of that name")
	return s.route(rt, rt.Final, rt.Final.Domain)
}

// settle makes the trouble with a file that decides an error that waits for the operator. Its place and
// what is wrong are for logs: who writes to an address learns only that it has to wait. What the
// file refuses for good is an answer.
func (rt Route) settle(err error) (Route, error) {
	if err == nil {
		return rt, nil
	}
	e, ok := errors.AsType[*reason.Error](err)
	switch {
	case !ok:
		return rt, reason.RouteFileBroken.Because(err)
	case e.Class == reason.Permanent:
		return rt.refuse(e), nil
	}
	return rt, e
}
