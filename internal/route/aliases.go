package route

// Aliases as in /etc/aliases, for the local parts of locals (qmail reference 18.3, 25.10). An alias is
// expanded here, through others and :include: lists, down to addresses, programs and files. Addresses
// alone make a forward. Programs and files make a delivery as the user alias_user, never as root and
// never as the owner of the file: as those of qmail's fastforward, which that user runs.

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/postilion/postilion/internal/fs/reread"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/qmail"
	format "github.com/postilion/postilion/internal/qmail/aliases"
	"github.com/postilion/postilion/internal/reason"
)

// Bounds on what one alias becomes.
const (
	maxAliasDepth   = 20
	maxAliasTargets = 100_000
	maxAliasSteps   = 50
	maxIncludeFiles = 1000 // that are kept in memory
)

// aliases is the files.
type aliases struct {
	files []*reread.File[aliasFile]
	now   func() time.Time

	mu    sync.Mutex
	lists map[string]*reread.File[[]format.Target] // :include: lists by path
}

// aliasFile is one file. fault is that of an entry whose name cannot be told: it may be anybody's.
type aliasFile struct {
	table *format.Table
	fault *qmail.Fault
}

func newAliases(o Options, d Deps) *aliases {
	a := &aliases{now: d.Now, lists: map[string]*reread.File[[]format.Target]{}}
	for _, path := range o.AliasFiles {
		a.files = append(a.files, &reread.File[aliasFile]{Path: path, Now: d.Now, Parse: func(data []byte) (aliasFile, error) {
			list, faults := format.Parse(path, data)
			named := map[int]bool{}
			for _, e := range list {
				named[e.Line] = true
				if e.Fault != nil {
					named[e.Fault.Line] = true
				}
			}
			f := aliasFile{table: format.NewTable(list)}
			for _, fault := range faults {
				if f.fault == nil && !named[fault.Line] {
					f.fault = fault
				}
			}
			return f, nil
		}})
	}
	return a
}

// lookup finds the first of names in the files.
func (a *aliases) lookup(names ...string) (format.Alias, bool, error) {
	for _, file := range a.files {
		f, err := file.Get()
		if err != nil {
			return format.Alias{}, false, err
		}
		for _, name := range names {
			if e, ok := f.table.Lookup(name); ok {
				if e.Fault != nil {
					return e, false, e.Fault
				}
				return e, true, nil
			}
		}
	}
	return format.Alias{}, false, nil
}

// unsure returns the fault of an entry that may be the one of a name that nobody else has.
func (a *aliases) unsure() error {
	for _, file := range a.files {
		if f, err := file.Get(); err == nil && f.fault != nil {
			return f.fault
		}
	}
	return nil
}

// include returns what an :include: list says.
func (a *aliases) include(path string) ([]format.Target, error) {
	a.mu.Lock()
	file := a.lists[path]
	if file == nil {
		if len(a.lists) >= maxIncludeFiles {
			clear(a.lists)
		}
		file = &reread.File[[]format.Target]{Path: path, Now: a.now, Parse: func(data []byte) ([]format.Target, error) {
			targets, faults := format.ParseList(path, data)
			if len(faults) > 0 {
				return nil, faults[0]
			}
			return targets, nil
		}}
		a.lists[path] = file
	}
	a.mu.Unlock()
	return file.Get()
}

// alias answers for a local part that is an alias; done is false for others.
func (s *system) alias(rt *Route, p place) (done bool, err error) {
	names := []string{p.local + "@" + p.domain, "@" + p.domain, p.local}
	if user, _, ok := strings.Cut(p.local, "+"); ok {
		names = append(names, user+"+*", user)
	}
	top, ok, err := s.aliases.lookup(names...)
	if err != nil || !ok {
		return err != nil, err
	}
	x := &expansion{system: s, rt: rt, host: p.domain, seen: map[string]bool{}}
	if err := x.alias(top, 0); err != nil {
		return true, err
	}
	owner, err := x.owner(top.Name)
	if err != nil {
		return true, err
	}
	switch {
	case len(x.instructions) > 0:
		return true, x.deliver(p, owner)
	case len(x.targets) > 0:
		rt.Kind, rt.Targets, rt.Owner = Forward, x.targets, owner
	case x.dropped:
		rt.step("alias "+top.Name, top.Place.String(), "/dev/null: taken and dropped")
		rt.Kind = Discard
	default:
		*rt = rt.refuse(reason.AliasLoop.With(rt.Final.String()))
	}
	return true, nil
}

// expansion is an alias being expanded.
type expansion struct {
	*system
	rt   *Route
	host string          // the domain of names without one
	seen map[string]bool // aliases, lists, addresses and commands, each of which counts once

	targets      []mail.Address
	instructions []Instruction
	dropped      bool // something goes to /dev/null
}

// once reports whether a thing comes for the first time.
func (x *expansion) once(kind, name string) bool {
	key := kind + " " + name
	first := !x.seen[key]
	x.seen[key] = true
	return first
}

func (x *expansion) alias(a format.Alias, depth int) error {
	if !x.once("alias", qmail.Lower(a.Name)) {
		return nil
	}
	if depth > maxAliasDepth {
		return reason.AliasNestsTooDeep.With(a.Name).Because(&qmail.Fault{Place: a.Place, Text: "too many aliases lead to one another"})
	}
	x.step("alias "+a.Name, a.Place, len(a.Targets))
	return x.each(a.Name, a.Targets, depth, false)
}

func (x *expansion) step(what string, at qmail.Place, n int) {
	if len(x.rt.Steps) < maxAliasSteps {
		x.rt.step(what, at.String(), fmt.Sprintf("%d targets", n))
	}
}

// each takes the targets of an alias or of a list.
func (x *expansion) each(name string, list []format.Target, depth int, included bool) error {
	for _, t := range list {
		if included && (t.Kind == format.Program || t.Kind == format.File) {
			return &qmail.Fault{Place: t.Place, Text: fmt.Sprintf("a %s in an :include: list, want addresses alone: programs and files stand in the file of aliases", t.Kind)}
		}
		if len(x.targets)+len(x.instructions) >= maxAliasTargets {
			return &qmail.Fault{Place: t.Place, Text: fmt.Sprintf("the alias %q has more than %d targets", name, maxAliasTargets)}
		}
		if err := x.target(name, t, depth); err != nil {
			return err
		}
	}
	return nil
}

func (x *expansion) target(name string, t format.Target, depth int) error {
	switch t.Kind {
	case format.Program:
		if x.once("program", t.Text) {
			x.instructions = append(x.instructions, Instruction{"!" + t.Text, t.Place.String()})
		}
		return nil
	case format.File:
		if t.Text == os.DevNull {
			x.dropped = true
		} else if x.once("file", t.Text) {
			x.instructions = append(x.instructions, Instruction{t.Text, t.Place.String()})
		}
		return nil
	case format.Include:
		if !x.once("include", t.Text) {
			return nil
		}
		if depth > maxAliasDepth {
			return &qmail.Fault{Place: t.Place, Text: "too many lists lead to one another"}
		}
		list, err := x.aliases.include(t.Text)
		if err != nil {
			return fmt.Errorf("%s: %w", t.Place, err)
		}
		x.step("list "+t.Text, t.Place, len(list))
		return x.each(name, list, depth+1, true)
	case format.Exact:
		x.leaf(`\`, mail.ParseAddress(t.Text))
		return nil
	}
	return x.address(name, t, depth)
}

// address takes an address, which is expanded further where it is a local alias without an owner of its
// own: one with an owner gets its message, and sends it on in the owner's name.
func (x *expansion) address(name string, t format.Target, depth int) error {
	a := mail.ParseAddress(t.Text)
	local := a.Domain == ""
	if !local {
		_, ok, err := x.isLocal(strings.ToLower(a.Domain))
		if err != nil {
			return err
		}
		local = ok
	}
	switch {
	case !local:
		x.leaf("", a)
		return nil
	case strings.EqualFold(a.Local, name), strings.EqualFold(t.Text, name):
		x.leaf(`\`, a) // joe: joe, … keeps a copy for the user joe
		return nil
	}
	next, ok, err := x.aliases.lookup(a.String(), a.Local)
	if err != nil {
		return err
	}
	if !ok {
		x.leaf("", a)
		return nil
	}
	if _, owned, err := x.aliases.lookup("owner-" + next.Name); err != nil || owned {
		x.leaf("", a)
		return err
	}
	return x.alias(next, depth+1)
}

// leaf takes an address that is routed by itself. The mark "\" keeps it from being an alias again.
func (x *expansion) leaf(mark string, a mail.Address) {
	a.Domain = cmp.Or(a.Domain, x.host)
	a.Local = mark + a.Local
	if a.Local != mark && x.once("address", qmail.Lower(a.String())) {
		x.targets = append(x.targets, a)
	}
}

// owner returns the reverse-path of what an alias sends on: where the alias owner-NAME leads, or that
// alias itself where it leads to several.
func (x *expansion) owner(name string) (mail.Address, error) {
	if strings.HasPrefix(qmail.Lower(name), "owner-") {
		return mail.Address{}, nil
	}
	e, ok, err := x.aliases.lookup("owner-" + name)
	if err != nil || !ok {
		return mail.Address{}, err
	}
	owner := mail.Address{Local: "owner-" + name, Domain: x.host}
	if len(e.Targets) == 1 && e.Targets[0].Kind == format.Address {
		if owner = mail.ParseAddress(e.Targets[0].Text); owner.Domain == "" {
			owner.Domain = x.host
		}
	}
	x.rt.step("owner-"+name, e.Place.String(), "what goes on comes from "+owner.String())
	return owner, nil
}

// deliver makes the delivery of programs and files.
func (x *expansion) deliver(p place, owner mail.Address) error {
	where := x.instructions[0].Where
	if x.users == nil {
		return fmt.Errorf("%s: a program or a file, but route.system_users is off: nobody is there to run it", where)
	}
	a, ok, err := x.users.account(x.users.alias)
	switch {
	case err != nil:
		return err
	case !ok:
		return reason.AliasUserAbsent.Because(fmt.Errorf("%s: programs and files of aliases want the user %s", where, x.users.alias))
	case a.UID == 0:
		return reason.DeliverAsRoot.Because(errors.New(a.Place.String() + ": uid 0"))
	}
	for _, to := range x.targets {
		x.instructions = append(x.instructions, Instruction{"&" + to.String(), where})
	}
	x.rt.step("programs and files", a.Place.String(), fmt.Sprintf("user %s, uid %d, home %s", a.Name, a.UID, a.Home))
	x.rt.Kind = SystemUser
	x.rt.User = &User{Name: a.Name, UID: a.UID, GID: a.GID, Home: a.Home, Dash: "-", Ext: p.local, Local: p.local, Host: p.domain,
		Instructions: x.instructions, Owner: owner}
	return nil
}
