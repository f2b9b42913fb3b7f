package lint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/qmail/cdb"
	"github.com/postilion/postilion/internal/qmail/control"
	"github.com/postilion/postilion/internal/qmail/dotqmail"
)

// lists are the control files that say which domains are whose.
type lists struct {
	me        string
	locals    *control.Table
	virtual   control.Virtualdomains
	rcpthosts control.Rcpthosts
	percent   *control.Table
}

// control reads each control file and tells what in it is no good by itself.
func (l *linter) control(context.Context) {
	for _, f := range control.Files() {
		file := l.at("control/" + f.Name)
		data, ok := l.read(file)
		if !ok {
			continue
		}
		for _, fault := range control.Check(f, file, data) {
			l.warn(fault.Place, "control-line", fault.Text, "the line does not do what it looks like", fmt.Sprintf("write it as a %s file wants it: %s", f.Kind, f.Meaning))
		}
		switch n, isInt := control.Int(data); {
		case strings.HasPrefix(f.Name, "concurrency") && f.Name != "concurrencyincoming" && isInt && n > control.MaxConcurrency:
			l.warn(qmail.Place{File: file, Line: 1}, "concurrency", fmt.Sprintf("%d is above %d", n, control.MaxConcurrency), fmt.Sprintf("qmail runs %d at one time without a word", control.MaxConcurrency), fmt.Sprintf("write %d or less", control.MaxConcurrency))
		case f.Name == "defaultdelivery":
			l.instructions(file, data, 0o600)
		}
	}
	l.strangers()
	l.me()
}

// strangers tells files whose names are nearly those of control files.
func (l *linter) strangers() {
	entries, err := fs.ReadDir(l.tree.Root, inTree(l.at("control")))
	if err != nil {
		l.wrong(qmail.Place{File: l.at("control")}, "no-control", "the folder cannot be read: "+cause(err), "there is no qmail here to look at", "name the folder of the installation")
		return
	}
	for _, e := range entries {
		if _, known := control.FileNamed(e.Name()); known || strings.HasSuffix(e.Name(), ".cdb") {
			continue
		}
		for _, f := range control.Files() {
			if near(e.Name(), f.Name) {
				l.warn(qmail.Place{File: l.at("control/" + e.Name())}, "misnamed", "no program reads a control file of this name", "what it says has no effect", "rename it to "+f.Name+", if that is what it is meant to be")
				break
			}
		}
	}
}

// near reports whether two names differ by one letter put in, left out, or another.
func near(a, b string) bool {
	if len(a) < len(b) {
		a, b = b, a
	}
	if len(a)-len(b) > 1 || a == b {
		return false
	}
	i := 0
	for i < len(b) && a[i] == b[i] {
		i++
	}
	return a[i+1:] == b[i:] || len(a) == len(b) && a[i+1:] == b[i+1:]
}

func (l *linter) me() {
	file := l.at("control/me")
	data, ok := l.read(file)
	l.lists.me = control.Value(data)
	switch {
	case !ok && l.exists(l.at("control")):
		l.wrong(qmail.Place{File: file}, "no-me", "it is missing", "qmail-send does not start without locals, qmail-smtpd answers 421 without smtpgreeting, and other names are made up", "write this host's full name into it, in one line")
	case ok && !strings.Contains(l.lists.me, "."):
		l.warn(qmail.Place{File: file, Line: 1}, "me-not-full", fmt.Sprintf("%q has no dot", l.lists.me), "other hosts refuse the name in HELO and in addresses", "write this host's full name")
	}
}

// hosts compares locals, virtualdomains, rcpthosts and percenthack.
func (l *linter) hosts(context.Context) {
	ls := &l.lists
	if data, ok := l.read(l.at("control/locals")); ok {
		ls.locals = control.NewSet(l.at("control/locals"), data)
	} else {
		ls.locals = control.NewSet(l.at("control/me"), []byte(ls.me))
	}
	virtual, _ := l.read(l.at("control/virtualdomains"))
	ls.virtual = control.Virtualdomains{Table: control.NewMap(l.at("control/virtualdomains"), virtual)}
	percent, _ := l.read(l.at("control/percenthack"))
	ls.percent = control.NewSet(l.at("control/percenthack"), percent)
	l.readRcpthosts()
	if ls.rcpthosts.Hosts == nil {
		l.wrong(qmail.Place{File: l.at("control/rcpthosts")}, "open-relay", "it is missing", "anybody may send mail through this host to anywhere: an open relay, soon on every block list", "write the domains that this host takes mail for into it, one a line")
	}
	for _, m := range ls.virtual.Entries() {
		domain := mail.ParseAddress(m.Key).Domain
		if !strings.Contains(m.Key, "@") {
			domain = m.Key
		}
		if by, ok := ls.locals.Lookup(domain); ok && domain != "" {
			l.wrong(m.Place, "locals-and-virtualdomains", fmt.Sprintf("%q is in locals too, at %s", domain, by.Place), "locals comes first: this line is never used, and mail goes to the user that the address names", "take the domain out of one of the two files")
		}
		if m.Value != "" && !strings.Contains(m.Key, "@") && m.Key != "" {
			l.notTaken(m)
		}
	}
	for _, m := range ls.locals.Entries() {
		if m.Key != "localhost" {
			l.notTaken(m)
		}
	}
	for _, m := range ls.percent.Entries() {
		if _, ok, _ := ls.rcpthosts.Allows(m.Key); ok {
			l.wrong(m.Place, "percenthack-relay", fmt.Sprintf("%q is taken from everybody", m.Key), "any client reaches any host as user%host@"+m.Key+": an open relay", "take the domain out of percenthack, or out of rcpthosts")
		}
	}
}

func (l *linter) readRcpthosts() {
	ls := &l.lists
	data, ok := l.read(l.at("control/rcpthosts"))
	if !ok {
		return
	}
	ls.rcpthosts = control.Rcpthosts{Hosts: control.NewSet(l.at("control/rcpthosts"), data), MoreFile: l.at("control/morercpthosts.cdb")}
	more, ok := l.read(ls.rcpthosts.MoreFile)
	if !ok {
		return
	}
	db, err := cdb.FromBytes(more)
	if err != nil {
		l.brokenDatabase(ls.rcpthosts.MoreFile, err, "qmail-newmrh")
		return
	}
	ls.rcpthosts.More = db
}

func (l *linter) brokenDatabase(file string, err error, program string) {
	l.wrong(qmail.Place{File: file}, "cdb-broken", err.Error(), "what depends on it fails for now, so mail waits", "run "+program)
}

// notTaken tells a domain of ours that clients may not write to.
func (l *linter) notTaken(m control.Match) {
	domain := m.Key
	if strings.HasPrefix(domain, ".") {
		domain = "x" + domain
	}
	if _, ok, err := l.lists.rcpthosts.Allows(domain); !ok && err == nil {
		l.wrong(m.Place, "not-in-rcpthosts", fmt.Sprintf("%q is not in rcpthosts", m.Key), "mail for it from other hosts is refused with 553", "add it to control/rcpthosts")
	}
}

// maxDomains bounds how many domains DNS is asked about.
const maxDomains = 200

// exchangers asks DNS where the mail of our domains goes.
func (l *linter) exchangers(ctx context.Context) {
	if l.deps.MX == nil || l.deps.Addresses == nil || l.deps.Own == nil {
		return
	}
	var ask []control.Match
	seen := map[string]bool{"": true, "localhost": true}
	for _, t := range []*control.Table{l.lists.locals, l.lists.virtual.Table, l.lists.rcpthosts.Hosts} {
		for _, m := range t.Entries() {
			key := qmail.Lower(m.Key)
			if !seen[key] && key[0] != '.' && !strings.ContainsAny(key, "@ \t") {
				ask = append(ask, m)
			}
			seen[key] = true
		}
	}
	if len(ask) > maxDomains {
		l.warn(qmail.Place{File: l.at("control")}, "mx-many", fmt.Sprintf("%d domains, of which %d were looked up in DNS", len(ask), maxDomains), "the others may have their MX elsewhere", "look them up by hand")
		ask = ask[:maxDomains]
	}
	var wait sync.WaitGroup
	answers := make([]string, len(ask))
	slots := make(chan struct{}, 8)
	for i, m := range ask {
		slots <- struct{}{}
		wait.Go(func() {
			answers[i] = l.elsewhere(ctx, m.Key)
			<-slots
		})
	}
	wait.Wait()
	for i, m := range ask {
		if answers[i] != "" {
			l.warn(m.Place, "mx-elsewhere", fmt.Sprintf("mail for %q goes to %s by its MX, which is not this host", m.Key, answers[i]), "other hosts send it there, and only what starts here is delivered here", "point the domain's MX record to this host, or take the domain out")
		}
	}
}

// elsewhere returns the hosts that take a domain's mail, or "" where one of them is this host
// or the answer is not known.
func (l *linter) elsewhere(ctx context.Context, domain string) string {
	hosts, err := l.deps.MX(ctx, domain)
	if err != nil || len(hosts) == 0 {
		return ""
	}
	for _, host := range hosts {
		addresses, err := l.deps.Addresses(ctx, host)
		if err != nil || strings.EqualFold(strings.TrimSuffix(host, "."), l.lists.me) || slices.ContainsFunc(addresses, func(a netip.Addr) bool { return l.deps.Own(a) }) {
			return ""
		}
	}
	return strings.Join(hosts[:min(3, len(hosts))], ", ")
}

// instructions tells what is wrong in a file of instructions.
func (l *linter) instructions(file string, data []byte, mode fs.FileMode) {
	list, p := dotqmail.Parse(file, data, mode&0o100 != 0)
	if p != nil {
		cure := map[dotqmail.Wrong]string{
			dotqmail.BlankFirst:   "take the empty first line out",
			dotqmail.FileWithX:    "take the x bit off (chmod -x) or the +list line out, or deliver by forward lines alone",
			dotqmail.ProgramWithX: "take the x bit off (chmod -x) or the +list line out, or deliver by forward lines alone",
			dotqmail.NUL:          "write the file anew as text",
		}[p.Wrong]
		text := strings.TrimPrefix(p.Error(), p.Place.String()+": ")
		l.wrong(p.Place, "qmail-file-refused", text, "mail waits in the queue until the file is mended, and bounces after the queue's lifetime", cure)
	}
	for _, fault := range dotqmail.Check(file, data) {
		l.wrong(fault.Place, "qmail-file-line", fault.Text, "mail bounces, or goes where nobody looks", "write one instruction a line: a bare address, a file, or | and a command")
	}
	for i := range list {
		l.mailbox(&list[i])
	}
}

// mailbox tells of a line of a home's file that names no mailbox: a Maildir that is missing, or one without the
// slash at the end.
func (l *linter) mailbox(x *dotqmail.Instruction) {
	home := path.Dir(x.File)
	if x.Kind != dotqmail.Maildir && x.Kind != dotqmail.Mbox || !strings.HasPrefix(path.Base(x.File), ".qmail") {
		return
	}
	where := x.Text
	if !path.IsAbs(where) {
		where = path.Join(home, where)
	}
	info, err := fs.Stat(l.tree.Root, inTree(path.Clean(where)))
	switch {
	case x.Kind == dotqmail.Maildir && errors.Is(err, fs.ErrNotExist):
		l.wrong(x.Place, "maildir-missing", fmt.Sprintf("there is no Maildir %s", x.Text), "mail for it waits: \"Unable to chdir to maildir. (#4.2.1)\"", "run maildirmake as the user")
	case x.Kind == dotqmail.Mbox && err == nil && info.IsDir():
		l.wrong(x.Place, "mbox-is-folder", fmt.Sprintf("%s is a folder", x.Text), "mail for it waits: \"is a directory\"", "put a slash at the end of the line, if the folder is a Maildir")
	case err == nil && path.Clean(where) != path.Join(home, usualMaildir):
		l.ofRoot(x.Place, x.Text, info)
	}
}

// usualMaildir is the Maildir of a home that is looked at whether or not a line names it: POP3 and the
// usual default delivery go there.
const usualMaildir = "Maildir"

// ofRoot tells of a mailbox that root made and nobody else may write, as when maildirmake ran as root: no
// delivery has root's rights.
func (l *linter) ofRoot(at qmail.Place, name string, info fs.FileInfo) {
	if l.deps.Owner == nil || info.Mode()&0o022 != 0 {
		return
	}
	if uid, ok := l.deps.Owner(info); ok && uid == 0 {
		l.wrong(at, "mailbox-of-root", fmt.Sprintf("%s belongs to root, and the user cannot write it", name), "mail for it waits: \"permission denied\"", "chown -R it to the user")
	}
}
