package config

import (
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/postilion/postilion/internal/migrate"
	"github.com/postilion/postilion/internal/migrate/qmailhost"
)

// A qmail is one more source of keys: below the configuration file, above the defaults. Its
// entries keep the control file and line that they come from, so that `config show` and every
// error name those.

// tree is a qmail as it was read, or why it could not be.
type tree struct {
	dir    string
	report *migrate.Report
	err    error
}

// readTree reads the qmail that the flags or else the file name. named is false when none does.
func readTree(path string, src []byte, flags []string) (t *tree, named bool) {
	s, err := theSchema()
	if err != nil {
		return nil, false
	}
	c := new(Config)
	l := &loader{schema: s, into: reflect.ValueOf(c).Elem(), file: path, origins: map[string]Origin{}}
	l.load(src) // what is wrong is told by the reading that counts
	for _, f := range flags {
		if name, value, ok := strings.Cut(f, "="); ok && (name == "qmail" || name == "qmail_root") {
			l.flag(name, value)
		}
	}
	if c.Qmail == "" {
		return nil, false
	}
	t = &tree{dir: c.Qmail}
	t.report, t.err = qmailhost.Read(c.QmailTree())
	return t, true
}

// QmailTree is the qmail that the configuration runs on.
func (c *Config) QmailTree() qmailhost.Options {
	return qmailhost.Options{Dir: c.Qmail, Root: c.QmailRoot, Live: true}
}

// tree takes a qmail's settings and returns what became of its lines.
func (l *loader) tree(t *tree) []migrate.Note {
	switch {
	case t == nil:
		return nil
	case t.err != nil:
		l.problem(0, "qmail", "key qmail: %s", t.err)
		return nil
	}
	notes := t.report.Notes
	for _, s := range t.report.Settings {
		if l.schema.byName[s.Key] == nil {
			notes = append(notes, migrate.Note{File: s.File, Line: s.Line, What: s.Value, Fate: migrate.NotCarried, Key: s.Key, Text: "this program has no such key"})
			continue
		}
		l.setting(s)
	}
	return notes
}

// setting takes one key that was found elsewhere.
func (l *loader) setting(s migrate.Setting) {
	l.file = s.File
	k := l.schema.byName[s.Key]
	if k == nil || k.Repeated {
		l.problem(s.Line, s.Key, "there is no key %s%s", s.Key, didYouMean(s.Key, l.schema.names()))
		return
	}
	v := l.into.FieldByIndex(k.path)
	var err error
	switch {
	case v.Type() == stringsType && s.List != nil:
		v.Set(reflect.ValueOf(append([]string{}, s.List...)))
	case v.Type() == stringsType:
		v.Set(reflect.ValueOf([]string{s.Value}))
	case s.List != nil:
		err = setText(v, k, strings.Join(s.List, "\n"))
	default:
		err = setText(v, k, s.Value)
	}
	if err != nil {
		l.problem(s.Line, s.Key, "key %s: %s", s.Key, err)
	}
	k.share(l.into)
	l.origins[s.Key] = Origin{From: "qmail", File: s.File, Line: s.Line}
}

// superseded lists keys of a qmail that give way when the configuration file or a flag sets
// another key, which says the same in its own way.
var superseded = map[string][]string{
	"route.locals":          {"route.locals_file"},
	"route.virtual_domains": {"route.virtual_domains_file"},
	"route.percent_hack":    {"route.percent_hack_file"},
	"route.routes":          {"route.routes_file"},
	"route.next_hop":        {"route.routes_file"},
	"policy.rcpthosts":      {"policy.any_recipient"},
	"policy.max_size":       {"policy.databytes"},
	"policy.max_send_size":  {"policy.databytes"},
	"policy.databytes":      {"policy.max_size", "policy.max_send_size"},
}

// supersede gives such keys their defaults again.
func (l *loader) supersede() {
	for key, others := range superseded {
		if o, ok := l.origins[key]; !ok || o.From == "qmail" {
			continue
		}
		for _, other := range others {
			k := l.schema.byName[other]
			if k == nil || l.origins[other].From != "qmail" {
				continue
			}
			v := l.into.FieldByIndex(k.path)
			v.SetZero()
			if k.Default != "" {
				_ = setText(v, k, k.Default) // newSchema has tried every default
			}
			k.share(l.into)
			delete(l.origins, other)
		}
	}
}

// WriteReport writes what a foreign system's settings come to as a configuration file, each
// value below the file and line that it comes from. head is put on top as a comment.
func WriteReport(w io.Writer, r *migrate.Report, head string) error {
	s, err := theSchema()
	if err != nil {
		return err
	}
	for line := range strings.Lines(head) {
		fmt.Fprintf(w, "# %s\n", strings.TrimRight(line, "\n"))
	}
	for _, g := range s.groups {
		first := g.Name != ""
		for i := range s.keys {
			k := &s.keys[i]
			set, ok := r.Get(k.Name)
			if !ok || k.Repeated || groupOf(k.Name) != g.Name {
				continue
			}
			v := reflect.New(k.typ).Elem()
			l := &loader{schema: s, into: reflect.ValueOf(new(Config)).Elem(), origins: map[string]Origin{}}
			if l.setting(set); l.problems != nil {
				return l.problems
			}
			v.Set(l.into.FieldByIndex(k.path))
			if first {
				fmt.Fprintf(w, "\n[%s]\n", g.Name)
				first = false
			}
			fmt.Fprintf(w, "%s = %s # %s\n", k.Name[strings.LastIndexByte(k.Name, '.')+1:], literal(v, k), tomlComment(set))
		}
	}
	return nil
}

// tomlComment tells where a value comes from, without what would end a comment.
func tomlComment(s migrate.Setting) string {
	where := s.File
	if s.Line > 0 {
		where = fmt.Sprintf("%s:%d", s.File, s.Line)
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, where)
}
