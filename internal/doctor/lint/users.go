package lint

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/postilion/postilion/internal/deliver/runas"
	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/qmail/aliases"
	"github.com/postilion/postilion/internal/qmail/assign"
	"github.com/postilion/postilion/internal/qmail/dotqmail"
)

// accounts is the users of the host and what users/assign says of them.
type accounts struct {
	passwd   []assign.Account
	assign   []assign.Entry
	assigned bool // there is a users/assign that can be read
	alias    string
}

// people are accounts of persons: below are the system's own (login.defs).
const firstPerson, nobody = 1000, 65534

// owner returns who owns a folder.
func (l *linter) owner(dir string) (uid uint32, ok bool, err error) {
	info, ok := l.stat(dir)
	if !ok {
		return 0, false, nil
	}
	if l.deps.Owner == nil {
		return 0, false, nil
	}
	uid, ok = l.deps.Owner(info)
	return uid, ok, nil
}

// users compares passwd with users/assign, and tells who gets no mail.
func (l *linter) users(context.Context) {
	data, ok := l.read("/etc/passwd")
	if !ok {
		return
	}
	l.accounts.passwd = assign.ParsePasswd("/etc/passwd", data)
	if l.deps.Owner == nil {
		return
	}
	for _, a := range l.accounts.passwd {
		l.skipped(a)
	}
	l.changedAccounts(data)
}

// skipped tells a person who gets no mail (qmail reference 8.5, 9.1). qmail's own users, whose
// home is the installation, are no persons: that folder is root's by design.
func (l *linter) skipped(a assign.Account) {
	if path.Clean(a.Home) == l.qmail {
		return
	}
	if a.UID < firstPerson || a.UID == nobody || strings.HasSuffix(a.Shell, "/nologin") || strings.HasSuffix(a.Shell, "/false") {
		return
	}
	if l.assignKnows(a.Name) {
		return
	}
	cure := "make the home, owned by the user"
	var why string
	switch owner, ok, _ := l.owner(a.Home); {
	case qmail.Lower(a.Name) != a.Name:
		why, cure = "has capitals in the name", "rename the account in lower case, or name it in users/assign"
	case len(a.Name) > 31:
		why, cure = "has a name of more than 31 bytes", "name it in users/assign"
	case !ok:
		why = fmt.Sprintf("has no home: %q does not exist", a.Home)
	case owner != a.UID:
		why, cure = fmt.Sprintf("has a home that belongs to uid %d: %q", owner, a.Home), fmt.Sprintf("chown it to uid %d", a.UID)
	default:
		return
	}
	l.wrong(a.Place, "user-skipped", fmt.Sprintf("user %q %s", a.Name, why), "qmail does not see this user: mail goes to the alias user's files, and bounces where those do not take it", cure)
}

// assignKnows reports whether users/assign has a line for a name.
func (l *linter) assignKnows(name string) bool {
	for _, e := range l.accounts.assign {
		if !e.Wild && qmail.Lower(e.Key) == qmail.Lower(name) {
			return true
		}
	}
	return false
}

// changedAccounts tells where passwd has changed since qmail-pw2u made users/assign. A table
// without a catch-all leaves unknown names to passwd and is nobody's copy of it.
func (l *linter) changedAccounts(passwd []byte) {
	have := map[string]assign.Entry{}
	catchAll := false
	for _, e := range l.accounts.assign {
		if e.Wild && e.Key == "" {
			catchAll = true
		}
		if !e.Wild {
			have[e.Key] = e
		}
	}
	if !catchAll {
		return
	}
	o := assign.Pw2u{Owner: l.owner}
	for name, to := range map[string]*[]byte{"include": &o.Include, "exclude": &o.Exclude, "mailnames": &o.Mailnames} {
		if data, ok := l.read(l.at("users/" + name)); ok {
			*to = append([]byte{}, data...)
		}
	}
	var text bytes.Buffer
	if o.Convert(passwd, &text) != nil {
		return
	}
	fresh, err := assign.Parse("", text.Bytes())
	if err != nil {
		return
	}
	lines := map[string]qmail.Place{}
	for _, a := range l.accounts.passwd {
		lines[a.Name] = a.Place
	}
	for _, e := range fresh {
		old, ok := have[e.Key]
		switch {
		case e.Wild:
		case !ok:
			l.wrong(lines[e.Name], "account-new", fmt.Sprintf("user %q is not in users/assign", e.Name), "its mail goes to the catch-all of users/assign, not to the user", "run qmail-pw2u and qmail-newu")
		case old.Name == e.Name && (old.UID != e.UID || old.GID != e.GID || old.Home != e.Home):
			l.wrong(old.Place, "account-changed", fmt.Sprintf("user %q has uid %s, gid %s, home %q in passwd", e.Name, e.UID, e.GID, e.Home), "mail is delivered as another user or to the old home, or waits", "run qmail-pw2u and qmail-newu")
		}
	}
	for _, e := range l.accounts.assign {
		if _, ok := lines[e.Name]; !ok && !e.Wild && e.Name == e.Key && strings.HasPrefix(e.Home, "/home/") {
			l.wrong(e.Place, "account-gone", fmt.Sprintf("user %q is not in passwd any more", e.Name), "mail is delivered with the rights of a uid that may be another's tomorrow", "run qmail-pw2u and qmail-newu")
		}
	}
}

// groups looks for groups that users/assign gives and runas does not, unless passwd gives the user the same.
func (l *linter) groups(context.Context) {
	file, _ := l.read("/etc/group")
	powerful := runas.PowerfulGroups(file)
	for _, e := range l.accounts.assign {
		u, found, err := assign.NewTable([]assign.Entry{e}).Lookup(e.Key)
		name, refused := powerful[u.GID]
		own := slices.ContainsFunc(l.accounts.passwd, func(a assign.Account) bool { return a.Name == u.Name && a.UID == u.UID && a.GID == u.GID })
		if err != nil || !found || !refused || u.UID == 0 || own && u.GID != 0 {
			continue // or told of already
		}
		l.wrong(e.Place, "assign-group", fmt.Sprintf("%q has gid %d, that of group %q", e.Key, u.GID, name), "the group gives power over the machine: its mail waits", "give it another group; or take that out of runas.refused_groups")
	}
}

// userOf returns the user that a local part belongs to, as far as the files tell, and the
// place that says so; ok is false for the alias user and where it is not known.
func (l *linter) userOf(local string) (u assign.User, ok bool) {
	if l.accounts.assigned {
		u, found, err := assign.NewTable(l.accounts.assign).Lookup(local)
		if err != nil || found {
			return u, found && u.Name != "alias"
		}
	}
	if l.deps.Owner == nil {
		return assign.User{}, false
	}
	g := assign.Getpw{Owner: l.owner, Account: func(name string) (assign.Account, bool, error) {
		for _, a := range l.accounts.passwd {
			if a.Name == name {
				return a, true, nil
			}
		}
		return assign.Account{}, false, nil
	}}
	u, _, err := g.User(local)
	return u, err == nil && u.Name != "alias"
}

// aliasHome looks at the alias user's files.
func (l *linter) aliasHome(context.Context) {
	l.accounts.alias = l.at("alias")
	for _, a := range l.accounts.passwd {
		if a.Name == "alias" {
			l.accounts.alias = a.Home
		}
	}
	dir := l.accounts.alias
	names := l.dotFiles(dir)
	if names == nil && !l.exists(dir) {
		l.wrong(qmail.Place{File: dir}, "no-alias-home", "it is missing", "mail for every name that no user has waits: postmaster's too", "make the folder, owned by the user alias")
		return
	}
	for _, name := range names {
		if local, ok := strings.CutPrefix(name, ".qmail-"); ok && !strings.HasSuffix(local, "default") {
			l.hidden(dir+"/"+name, strings.ReplaceAll(local, ":", "."), "the alias is never read: mail goes to the user")
		}
	}
	l.home(dir)
	l.systemAliases(dir)
}

// hidden tells an alias whose name is a user's.
func (l *linter) hidden(file, local, consequence string) {
	if u, ok := l.userOf(local); ok {
		by := u.Place.String()
		l.warn(qmail.Place{File: file}, "alias-hidden", fmt.Sprintf("%q belongs to user %q, by %s", local, u.Name, by), consequence, fmt.Sprintf("put the instructions into a .qmail file of user %q, or take the file away", u.Name))
	}
}

// systemAliases tells when nobody takes the mail of postmaster and the like (RFC 5321 4.5.1).
func (l *linter) systemAliases(dir string) {
	fast := l.etcAliases()
	for _, name := range []string{"postmaster", "mailer-daemon", "root"} {
		if l.exists(dir+"/.qmail-"+name) || l.exists(dir+"/.qmail-default") && fast == nil {
			continue
		}
		if u, ok := l.userOf(name); ok && u.UID != 0 {
			continue
		}
		if _, ok := fast.Lookup(name); ok {
			continue
		}
		level, consequence := l.wrong, "mail for it bounces; RFC 5321 wants postmaster on every host, and bounces of bounces go there"
		if name != "postmaster" {
			level, consequence = l.warn, "mail for it bounces, that of the system's own programs among it"
		}
		level(qmail.Place{File: dir + "/.qmail-" + name}, "no-"+name, "it is missing", consequence, "write the address of a person into it: echo '&you' > "+dir+"/.qmail-"+name)
	}
}

// etcAliases returns /etc/aliases where the alias user's default hands mail to fastforward; nil
// where it does not.
func (l *linter) etcAliases() *aliases.Table {
	data, ok := l.read(l.accounts.alias + "/.qmail-default")
	if !ok || !bytes.Contains(data, []byte("fastforward")) {
		return nil
	}
	text, _ := l.read("/etc/aliases")
	list, _ := aliases.Parse("/etc/aliases", text)
	return aliases.NewTable(list)
}

// mailAliases looks at /etc/aliases, where something reads it.
func (l *linter) mailAliases(context.Context) {
	table := l.etcAliases()
	if table == nil {
		return
	}
	text, ok := l.read("/etc/aliases")
	if !ok {
		return
	}
	_, faults := aliases.Parse("/etc/aliases", text)
	for _, fault := range faults {
		l.wrong(fault.Place, "aliases-line", fault.Text, "newaliases refuses the file: what was changed since has no effect", "mend the line")
	}
	for _, a := range table.All() {
		if u, ok := l.userOf(a.Name); ok {
			l.warn(a.Place, "alias-hidden", fmt.Sprintf("%q belongs to user %q, by %s", a.Name, u.Name, u.Place), "the alias is never read: mail goes to the user", fmt.Sprintf("put the instructions into a .qmail file of user %q, or take the line out", u.Name))
		}
		for _, t := range a.Targets {
			switch {
			case t.Kind == aliases.File:
				l.wrong(t.Place, "aliases-file", fmt.Sprintf("%q delivers to a file", t.Text), "newaliases refuses the file: fastforward does not deliver to files", "deliver from a .qmail file")
			case t.Kind == aliases.Include && !l.exists(t.Text):
				l.wrong(t.Place, "aliases-include", fmt.Sprintf("the list %q is missing", t.Text), "mail for the alias waits", "make the list and run newinclude on it")
			case t.Kind == aliases.Include && l.exists(t.Text+".bin"):
				l.database(t.Text, t.Text+".bin", nil, nil, "newinclude "+t.Text, "mail goes to the old members of the list")
			}
		}
	}
	l.database("/etc/aliases", "/etc/aliases.cdb", nil, nil, "newaliases", "mail goes where the old text said")
}

// homes looks at the .qmail files of every person.
func (l *linter) homes(ctx context.Context) {
	seen := map[string]bool{l.accounts.alias: true}
	look := func(home string) {
		if home != "" && home != "/" && !seen[home] && ctx.Err() == nil {
			seen[home] = true
			l.home(home)
		}
	}
	for _, a := range l.accounts.passwd {
		if a.UID >= firstPerson && a.UID != nobody {
			look(a.Home)
		}
	}
	for _, e := range l.accounts.assign {
		look(e.Home)
	}
}

// dotFiles returns the names of a folder's .qmail files.
func (l *linter) dotFiles(dir string) []string {
	entries, err := fs.ReadDir(l.tree.Root, inTree(dir))
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".qmail") && !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

// home looks at a home and its .qmail files.
func (l *linter) home(dir string) {
	names := l.dotFiles(dir)
	info, ok := l.stat(dir)
	if ok && info.Mode()&0o002 != 0 {
		l.wrong(qmail.Place{File: dir}, "home-writable", "others can write into it", "mail for the user waits: \"Uh-oh: home directory is writable. (#4.7.0)\"", "chmod o-w it")
	}
	if ok && info.Mode()&fs.ModeSticky != 0 {
		l.wrong(qmail.Place{File: dir}, "home-sticky", "it has the sticky bit", "mail for the user waits: \"Home directory is sticky: user is editing his .qmail file. (#4.2.1)\"", "chmod -t it when the editing is done")
	}
	if box, is := l.stat(dir + "/" + usualMaildir); is && box.IsDir() {
		l.ofRoot(qmail.Place{File: dir + "/" + usualMaildir}, "it", box)
	}
	for _, name := range names {
		file := dir + "/" + name
		info, ok := l.stat(file)
		if !ok || !info.Mode().IsRegular() {
			continue
		}
		if info.Mode()&0o002 != 0 {
			l.wrong(qmail.Place{File: file}, "qmail-file-writable", "others can write it", "mail for it waits: \"Uh-oh: .qmail file is writable. (#4.7.0)\"", "chmod o-w it")
		}
		if ext := strings.TrimPrefix(name, ".qmail"); ext != dotqmail.Safe(ext) {
			l.warn(qmail.Place{File: file}, "qmail-file-name", "a dot or capitals in the name", "no address finds the file", fmt.Sprintf("rename it to %q", ".qmail"+dotqmail.Safe(ext)))
		}
		if data, ok := l.read(file); ok {
			l.instructions(file, data, info.Mode())
		}
	}
}
