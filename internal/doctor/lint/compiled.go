package lint

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/qmail/assign"
	"github.com/postilion/postilion/internal/qmail/cdb"
	"github.com/postilion/postilion/internal/qmail/control"
	"github.com/postilion/postilion/internal/qmail/tcprules"
)

// compiled compares databases with their texts.
func (l *linter) compiled(context.Context) {
	if text, ok := l.read(l.at("control/morercpthosts")); ok {
		var want cdb.Buffer
		err := control.CompileRcpthosts(text, &want)
		l.database(l.at("control/morercpthosts"), l.at("control/morercpthosts.cdb"), want.Bytes(), err, "qmail-newmrh", "clients are refused or let in as the old text said")
	}
	l.readAssign()
}

// database tells a database that does not hold what its text says. want is what the text
// compiles to; nil where that is not known, so that the time of the files decides.
func (l *linter) database(text, db string, want []byte, err error, program, consequence string) {
	if err != nil {
		return // the text has its own finding
	}
	t, okText := l.stat(text)
	d, ok := l.stat(db)
	switch {
	case !ok:
		l.wrong(qmail.Place{File: text}, "cdb-missing", db+" is missing", "nothing reads the text", "run "+program)
		return
	case !okText:
		return
	}
	if want == nil {
		if d.ModTime().Before(t.ModTime()) {
			l.wrong(qmail.Place{File: db}, "cdb-older", fmt.Sprintf("it is older than %s", text), consequence, "run "+program)
		}
		return
	}
	if have, ok := l.read(db); ok && !bytes.Equal(have, want) && !sameRecords(have, want) {
		what := fmt.Sprintf("it does not hold what %s says", text)
		if d.ModTime().Before(t.ModTime()) {
			what = fmt.Sprintf("it is older than %s, and does not hold what that says", text)
		}
		l.wrong(qmail.Place{File: db}, "cdb-older", what, consequence, "run "+program)
	}
}

// sameRecords reports whether two databases hold the same records, in whatever order.
func sameRecords(a, b []byte) bool {
	var all [2][]string
	for i, file := range [][]byte{a, b} {
		r, err := cdb.FromBytes(file)
		if err != nil {
			return false
		}
		for rec, err := range r.All() {
			if err != nil {
				return false
			}
			all[i] = append(all[i], fmt.Sprintf("%q=%q", rec.Key, rec.Value))
		}
		slices.Sort(all[i])
	}
	return slices.Equal(all[0], all[1])
}

// readAssign reads users/assign and compares it with users/cdb.
func (l *linter) readAssign() {
	file, db := l.at("users/assign"), l.at("users/cdb")
	text, ok := l.read(file)
	if !ok {
		return
	}
	entries, err := assign.Parse(file, text)
	if err != nil {
		f, _ := err.(*qmail.Fault)
		l.wrong(f.Place, "assign-format", f.Text, "qmail-newu refuses the whole file: what was changed since has no effect", "mend the line; the last line is a dot")
		return
	}
	l.accounts.assign, l.accounts.assigned = entries, true
	for _, e := range entries {
		if _, _, err := assign.NewTable([]assign.Entry{e}).Lookup(e.Key); err != nil {
			l.wrong(e.Place, "assign-number", strings.TrimPrefix(err.Error(), e.Place.String()+": "), "mail for it waits", "write the numbers of passwd")
		} else if e.UID == "0" {
			l.wrong(e.Place, "assign-root", fmt.Sprintf("%q belongs to uid 0", e.Key), "nothing is delivered as root: its mail waits", "give it to another user")
		}
	}
	var want cdb.Buffer
	err = assign.Compile(entries, &want)
	l.database(file, db, want.Bytes(), err, "qmail-newu", "mail goes to whom the old table said")
}

// rules looks at the access rules for tcpserver in /etc.
func (l *linter) rules(context.Context) {
	names, _ := fs.Glob(l.tree.Root, "etc/tcp.*")
	more, _ := fs.Glob(l.tree.Root, "etc/tcprules.d/tcp.*")
	inside, _ := fs.Glob(l.tree.Root, inTree(l.at("control"))+"/tcp.*")
	for _, name := range slices.Concat(names, more, inside) {
		if strings.HasSuffix(name, ".cdb") || strings.HasSuffix(name, ".tmp") || strings.HasSuffix(name, "~") {
			continue
		}
		file := "/" + name
		if text, ok := l.read(file); ok {
			l.ruleFile(file, text)
		}
	}
}

func (l *linter) ruleFile(file string, text []byte) {
	for _, fault := range tcprules.Check(file, text) {
		l.warn(fault.Place, "rule-line", fault.Text, "the rule never applies", "write ADDRESS:allow or ADDRESS:deny")
	}
	entries, err := tcprules.Parse(file, text)
	if err != nil {
		f, _ := err.(*tcprules.SyntaxError)
		l.wrong(f.Place, "rule-syntax", f.Text, "tcprules refuses the whole file: what was changed since has no effect", "mend the line")
		return
	}
	for _, e := range entries {
		if e.Address == "" && !e.Deny && slices.ContainsFunc(e.Env, func(v string) bool { return strings.HasPrefix(v, "RELAYCLIENT=") }) {
			l.wrong(e.Place, "rule-open-relay", "every client that no other rule names may relay", "anybody may send mail through this host to anywhere: an open relay", "set RELAYCLIENT for your own networks alone")
		}
	}
	var want cdb.Buffer
	err = tcprules.Compile(entries, &want)
	l.database(file, file+".cdb", want.Bytes(), err, "tcprules (qmailctl cdb)", "clients are let in, refused and allowed to relay as the old text said")
}
