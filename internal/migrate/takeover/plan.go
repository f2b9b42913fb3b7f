// Package takeover sets an old mail system's programs, links and boot start aside when
// this server takes over, and puts them back exactly.
//
// The whole plan is written and synced before anything is touched; each step can be told
// done from undone by looking at the disk, so that a run that was cut short is carried on
// or undone by running again. Nothing is removed: what is set aside is renamed within its
// folder, to a hidden name that neither shells, init, systemd, xinetd nor svscan pick up.
package takeover

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/inject"
	"github.com/postilion/postilion/internal/migrate"
)

// asidePrefix begins the name of what is set aside.
const asidePrefix = migrate.AsidePrefix

// usualData is the data folder whose socket programs find by themselves.
const usualData = "/var/lib/postilion"

// Options say what is taken over, and where.
type Options struct {
	// Root is where the host's files are; "" is "/". Below any other folder no program is run.
	Root string
	// Data is the data folder, which keeps the journal.
	Data string
	// Qmail is the folder of a qmail whose bin is set aside, as seen from Root; "" for none.
	Qmail string
	// Links are the programs that take the place of those of their names in the usual places and
	// in qmail's bin, and what each leads to; nothing is linked without.
	Links map[string]string
	// Run runs a program that stops or starts a service; nil runs none.
	Run func(argv []string) error
	// Step is called before each change, for tests; an error ends the run there.
	Step func(what string) error
	Now  func() time.Time // nil is time.Now
}

// Kind is what a step does.
type Kind string

const (
	Aside Kind = "aside" // Path is renamed to To
	Link  Kind = "link"  // Path becomes a symbolic link to To
	Mkdir Kind = "mkdir" // Path becomes an empty folder
)

// Step is one change of the disk. Paths are as seen from Root.
type Step struct {
	Kind Kind   `json:"kind"`
	Path string `json:"path"`
	To   string `json:"to,omitempty"`
	Why  string `json:"why"`
}

// String tells the step to an operator.
func (s Step) String() string {
	switch s.Kind {
	case Aside:
		return fmt.Sprintf("set aside %s as %s (%s)", s.Path, filepath.Base(s.To), s.Why)
	case Link:
		return fmt.Sprintf("link %s -> %s (%s)", s.Path, s.To, s.Why)
	}
	return fmt.Sprintf("make %s (%s)", s.Path, s.Why)
}

// Command stops the old system when taking over, or starts it when going back.
type Command struct {
	// First is run before the steps: scripts and units are stopped by the names that they go by, which the
	// distribution's init functions take from the script's own name.
	First []string `json:"first,omitempty"`
	Over  []string `json:"over,omitempty"` // run after the steps
	Back  []string `json:"back,omitempty"` // run after the steps were undone, the last command's first
}

// Plan is what taking over does.
type Plan struct {
	Steps    []Step    `json:"steps"`
	Commands []Command `json:"commands,omitempty"`
	// Remarks name what was found and cannot be set aside: lines within files.
	Remarks []string `json:"remarks,omitempty"`
}

// services are the names under which init systems know mail servers.
var services = []string{"qmail", "qmail-send", "qmail-smtpd", "qmail-smtpsd", "qmail-smtp", "qmail-pop3d", "qmail-pop3sd", "qmail-submission",
	"qmail-qmtpd", "qmail-qmqpd", "qmailctl", "sendmail", "sm-client", "sendmail-client", "postfix", "postfix@-", "exim4", "exim"}

// programs are the names by which other programs hand mail in, and where they look for them.
var programs = []struct{ folder, name string }{
	{"/usr/sbin", "sendmail"}, {"/usr/lib", "sendmail"}, {"/usr/bin", "sendmail"},
	{"/usr/bin", "mailq"}, {"/usr/sbin", "mailq"}, {"/usr/bin", "newaliases"}, {"/usr/sbin", "newaliases"},
}

// always are the places where a link is made though there was none: what programs call.
var always = []string{"/usr/sbin/sendmail", "/usr/lib/sendmail", "/usr/bin/mailq", "/usr/bin/newaliases"}

// planner collects the steps.
type planner struct {
	o    Options
	plan Plan
	seen map[string]bool // by real path: /usr/lib and /lib may be one folder
	errs []error
}

// Make looks at the host and returns what taking over would do. It changes nothing.
func Make(o Options) (*Plan, error) {
	p := &planner{o: o, seen: map[string]bool{}}
	if o.Qmail != "" && !filepath.IsAbs(o.Qmail) {
		return nil, fmt.Errorf("the qmail folder %q: want an absolute path", o.Qmail)
	}
	p.initScripts()
	p.systemd()
	p.supervised()
	p.xinetd()
	p.lines()
	p.links()
	if o.Qmail != "" {
		if err := p.bin(); err != nil {
			return nil, err
		}
	}
	if p.errs != nil {
		return nil, errors.Join(p.errs...)
	}
	if len(o.Links) > 0 && filepath.Clean(o.Data) != usualData && !o.exists(inject.SocketFile) {
		p.plan.Remarks = append(p.plan.Remarks, fmt.Sprintf("programs find the server by %s: write %s there", inject.SocketFile, filepath.Join(o.Data, "run", "inject.sock")))
	}
	return &p.plan, nil
}

// on returns where a path of the host is on this disk.
func (o *Options) on(path string) string { return filepath.Join("/", o.Root, path) }

func (o *Options) exists(path string) bool {
	_, err := os.Lstat(o.on(path))
	return err == nil
}

// real tells apart whether two names are one file: its folder without symbolic links.
func (p *planner) real(path string) string {
	dir, err := filepath.EvalSymlinks(p.o.on(filepath.Dir(path)))
	if err != nil {
		return path
	}
	return filepath.Join(dir, filepath.Base(path))
}

// aside plans to set a path aside, if it is there and not planned yet.
func (p *planner) aside(path, why string) bool {
	real := p.real(path)
	if p.seen[real] || !p.o.exists(path) || strings.HasPrefix(filepath.Base(path), ".") {
		return false
	}
	p.seen[real] = true
	to := filepath.Join(filepath.Dir(path), asidePrefix+filepath.Base(path))
	if p.o.exists(to) {
		p.errs = append(p.errs, fmt.Errorf("%s is there already, and no journal tells of it: move it away first", to))
		return false
	}
	p.plan.Steps = append(p.plan.Steps, Step{Aside, path, to, why})
	return true
}

func (p *planner) command(c Command) { p.plan.Commands = append(p.plan.Commands, c) }

// list returns the names in a folder of the host; none when it cannot be read.
func (p *planner) list(folder string) (names []string) {
	entries, err := os.ReadDir(p.o.on(folder))
	if err != nil {
		return nil
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// initScripts plans for /etc/init.d and its links in the runlevels' folders.
func (p *planner) initScripts() {
	for _, folder := range []string{"/etc/init.d", "/etc/rc.d/init.d"} {
		for _, s := range services {
			script := filepath.Join(folder, s)
			if p.aside(script, "boot start") {
				p.command(Command{First: []string{script, "stop"}, Back: []string{script, "start"}})
			}
		}
	}
	for _, base := range []string{"/etc", "/etc/rc.d"} {
		for _, level := range []string{"rc0.d", "rc1.d", "rc2.d", "rc3.d", "rc4.d", "rc5.d", "rc6.d", "rcS.d", "rcboot.d"} {
			folder := filepath.Join(base, level)
			for _, name := range p.list(folder) {
				// S20qmail, K80qmail: a letter, a number, the service.
				if len(name) > 1 && (name[0] == 'S' || name[0] == 'K') && slices.Contains(services, strings.TrimLeft(name[1:], "0123456789")) {
					p.aside(filepath.Join(folder, name), "boot start")
				}
			}
		}
	}
}

// unitFolder is where the host's own units and its links to units are; vendorFolders hold the packages'.
const unitFolder = "/etc/systemd/system"

var vendorFolders = []string{"/lib/systemd/system", "/usr/lib/systemd/system"}

// systemd plans for the links that have units started at boot, for units of the host's own, and for
// those of packages: these are masked, for else an upgrade of the package starts them again.
func (p *planner) systemd() {
	isOurs := func(name string) bool {
		unit, kind, ok := cutLast(name, ".")
		return ok && (kind == "service" || kind == "socket") && slices.Contains(services, unit)
	}
	var started []string
	before := len(p.plan.Steps)
	for _, name := range p.list(unitFolder) {
		if strings.HasSuffix(name, ".wants") || strings.HasSuffix(name, ".requires") {
			for _, unit := range p.list(filepath.Join(unitFolder, name)) {
				if isOurs(unit) && p.aside(filepath.Join(unitFolder, name, unit), "boot start") {
					started = append(started, unit)
				}
			}
		}
	}
	for _, name := range p.list(unitFolder) {
		if isOurs(name) {
			p.aside(filepath.Join(unitFolder, name), "unit")
		}
	}
	for _, s := range services {
		unit := s + ".service"
		own := filepath.Join(unitFolder, unit)
		if p.isLink(own, "/dev/null") || !p.o.exists(unitFolder) {
			continue // masked already
		}
		if slices.ContainsFunc(vendorFolders, func(f string) bool { return p.o.exists(filepath.Join(f, unit)) }) {
			p.plan.Steps = append(p.plan.Steps, Step{Link, own, "/dev/null", "nothing starts the package's unit"})
			if !slices.Contains(started, unit) {
				p.command(Command{First: []string{"systemctl", "stop", unit}})
			}
		}
	}
	for _, unit := range slices.Compact(started) {
		p.command(Command{First: []string{"systemctl", "stop", unit}, Back: []string{"systemctl", "start", unit}})
	}
	if len(p.plan.Steps) > before {
		p.command(Command{Over: []string{"systemctl", "daemon-reload"}, Back: []string{"systemctl", "daemon-reload"}})
	}
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// servers are qmail's programs by which the scripts of its services are known, whatever their folders' names.
var servers = []string{"qmail-start", "qmail-send", "qmail-smtpd", "qmail-popup", "qmail-pop3d", "qmail-qmtpd", "qmail-qmqpd"}

// startsQmail reports whether the run script of a service starts a qmail's program, or its rc.
func (p *planner) startsQmail(service string) bool {
	if to, err := os.Readlink(p.o.on(service)); err == nil && filepath.IsAbs(to) {
		service = to
	}
	script, err := migrate.ReadFile(p.o.on(filepath.Join(service, "run")))
	if err != nil {
		return false
	}
	rc := filepath.Join(cmp.Or(p.o.Qmail, "/var/qmail"), "rc")
	for line := range strings.Lines(string(script)) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for word := range strings.FieldsSeq(line) {
			if word = strings.Trim(word, "\"'`;&()"); word == rc || slices.Contains(servers, filepath.Base(word)) {
				return true
			}
		}
	}
	return false
}

// supervised plans for daemontools' links. svscan starts what it finds in /service, except
// names that begin with a dot; a running supervise is told by svc to end (qmail reference 21.2).
func (p *planner) supervised() {
	for _, folder := range []string{"/service", "/etc/service", "/var/service"} {
		for _, name := range p.list(folder) {
			path := filepath.Join(folder, name)
			if !slices.Contains(services, name) && !p.startsQmail(path) {
				continue
			}
			if p.aside(path, "supervised service") {
				hidden := filepath.Join(folder, asidePrefix+name)
				over := []string{"svc", "-dx", hidden}
				if p.o.exists(filepath.Join(path, "log")) {
					over = append(over, filepath.Join(hidden, "log"))
				}
				p.command(Command{Over: over})
			}
		}
	}
}

// xinetd plans for services that xinetd starts; it leaves names with a dot alone.
func (p *planner) xinetd() {
	for _, name := range []string{"smtp", "smtps", "submission", "qmail", "qmail-smtpd", "pop3", "pop-3", "qmail-pop3d"} {
		p.aside(filepath.Join("/etc/xinetd.d", name), "started by xinetd")
	}
}

// lines looks into files that only an editor can change.
func (p *planner) lines() {
	for _, file := range []string{"/etc/rc.local", "/etc/rc.d/rc.local", "/etc/inetd.conf", "/etc/inittab", "/etc/crontab"} {
		f, err := os.Open(p.o.on(file))
		if err != nil {
			continue
		}
		lines := bufio.NewScanner(f)
		for n := 1; lines.Scan(); n++ {
			line := strings.TrimSpace(lines.Text())
			if strings.HasPrefix(line, "#") || !slices.ContainsFunc([]string{"qmail", "sendmail", "postfix"}, func(s string) bool { return strings.Contains(line, s) }) {
				continue
			}
			p.plan.Remarks = append(p.plan.Remarks, fmt.Sprintf("%s:%d starts the old system too; change it by hand: %.100s", file, n, line))
		}
		f.Close()
	}
}

// links plans for the programs that others hand mail in with.
func (p *planner) links() {
	link := func(path, name string) {
		target, ok := p.o.Links[name]
		if !ok {
			return
		}
		p.plan.Steps = append(p.plan.Steps, Step{Link, path, target, "the program that others call"})
	}
	for _, at := range programs {
		path := filepath.Join(at.folder, at.name)
		switch {
		case p.isLink(path, p.o.Links[at.name]):
			p.seen[p.real(path)] = true
		case p.aside(path, "program"):
			link(path, at.name)
		case slices.Contains(always, path) && !p.seen[p.real(path)] && p.o.exists(at.folder):
			p.seen[p.real(path)] = true
			link(path, at.name)
		}
	}
}

// isLink reports whether path is a symbolic link to target already.
func (p *planner) isLink(path, target string) bool {
	have, err := os.Readlink(p.o.on(path))
	return err == nil && target != "" && have == target
}

// bin plans for qmail's own programs: a new bin of links to ours, and for what we are not
// to the old program in the folder that was set aside.
func (p *planner) bin() error {
	bin := filepath.Join(p.o.Qmail, "bin")
	names, err := os.ReadDir(p.o.on(bin))
	if err != nil {
		return fmt.Errorf("%s is no qmail folder: %w", p.o.Qmail, err)
	}
	if len(p.o.Links) == 0 || !p.aside(bin, "qmail's programs") {
		return nil
	}
	p.plan.Steps = append(p.plan.Steps, Step{Mkdir, bin, "", "links to this server's programs"})
	for _, e := range names {
		name := e.Name()
		target, why := p.o.Links[name], "this server's"
		if target == "" {
			target, why = filepath.Join("..", asidePrefix+"bin", name), "a program of the host's own"
		}
		p.plan.Steps = append(p.plan.Steps, Step{Link, filepath.Join(bin, name), target, why})
	}
	return nil
}
