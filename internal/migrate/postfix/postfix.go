// Package postfix reads main.cf of Postfix and the tables that it names, where they are text.
//
// Parameters refer to each other by $name; what is taken is their value with that resolved. A
// parameter without an equal is named with file and line; nothing is left out in silence.
package postfix

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/postilion/postilion/internal/migrate"
)

// Options say where the settings are.
type Options struct {
	Dir  string // the folder of main.cf, or main.cf itself
	Root string // the root of the host's other files; "" is "/"
	// Tools is where postilion-tools is, for .forward files; "" has dot-forward found by its name.
	Tools string
}

// parameter is one setting of main.cf.
type parameter struct {
	name, value string // the value as it stands, continued lines joined by blanks
	line        int
}

// reader is one reading.
type reader struct {
	o      Options
	dir    string
	file   string
	r      *migrate.Report
	list   []parameter
	byName map[string]parameter
	left   int // references that the present value may still resolve
}

// maxReferences bounds what one value may resolve: parameters may refer to themselves, twice.
const maxReferences = 10_000

// Read reads Postfix's settings. The error says that there are none.
func Read(o Options) (*migrate.Report, error) {
	r := &reader{o: o, dir: o.Dir, file: filepath.Join(o.Dir, "main.cf"), r: &migrate.Report{}, byName: map[string]parameter{}}
	if info, err := os.Stat(o.Dir); err == nil && !info.IsDir() {
		r.dir, r.file = filepath.Dir(o.Dir), o.Dir
	}
	text, err := migrate.ReadFile(r.file)
	if err != nil {
		return nil, err
	}
	r.parse(string(text))
	for _, p := range r.list {
		if r.byName[p.name].line != p.line {
			r.r.Note(r.at(p), migrate.NotCarried, "", "%s stands again in line %d, which is the one that counts", p.name, r.byName[p.name].line)
			continue
		}
		r.parameter(p)
	}
	r.defaults()
	r.r.Sort()
	return r.r, nil
}

// text is the parameter as notes show it.
func (p *parameter) text() string { return p.name + " = " + p.value }

// at is where notes about the parameter belong.
func (r *reader) at(p parameter) migrate.Origin { return migrate.At(r.file, p.line, p.text()) }

// parse reads `name = value`; a line that begins with a blank continues the one before (postconf(5)).
func (r *reader) parse(text string) {
	n := 0
	for raw := range strings.Lines(text) {
		n++
		line := strings.TrimRight(raw, " \t\r\n")
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "" || trimmed[0] == '#':
		case (raw[0] == ' ' || raw[0] == '\t') && len(r.list) > 0:
			last := &r.list[len(r.list)-1]
			last.value = strings.TrimSpace(last.value + " " + trimmed)
			r.byName[last.name] = *last
		default:
			name, value, ok := strings.Cut(trimmed, "=")
			if !ok || strings.TrimSpace(name) == "" {
				r.r.Note(migrate.At(r.file, n, trimmed), migrate.NotCarried, "", "want NAME = VALUE")
				continue
			}
			p := parameter{strings.TrimSpace(name), strings.TrimSpace(value), n}
			r.list = append(r.list, p)
			r.byName[p.name] = p
		}
	}
}

// usual are the defaults of parameters that others refer to, at a depth of expand.
func (r *reader) usual(name string, depth int) string {
	switch name {
	case "mydomain":
		host := r.byName["myhostname"].value // may name mydomain itself
		if _, rest, ok := strings.Cut(r.expand(host, depth+1), "."); ok {
			return rest
		}
		return "localdomain"
	case "myorigin":
		return "$myhostname"
	case "mydestination":
		return "$myhostname, localhost.$mydomain, localhost"
	case "mail_name":
		return "Postfix"
	case "config_directory":
		return r.dir
	case "data_directory":
		return "/var/lib/postfix"
	}
	return ""
}

// value returns a parameter's value with references resolved.
func (r *reader) value(name string) string { return r.expand("${"+name+"}", 1) }

// expand resolves $name, ${name} and $(name); depth is 1 for a value as a whole.
func (r *reader) expand(s string, depth int) string {
	if depth == 1 {
		r.left = maxReferences
	}
	if depth > 10 || r.left <= 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] != '$' {
			b.WriteByte(s[i])
			i++
			continue
		}
		name, length := reference(s[i:])
		if name == "" {
			b.WriteString(s[i : i+length])
			i += length
			continue
		}
		p, ok := r.byName[name]
		r.left--
		if value := p.value; ok {
			b.WriteString(r.expand(value, depth+1))
		} else {
			b.WriteString(r.expand(r.usual(name, depth), depth+1))
		}
		i += length
	}
	return b.String()
}

// environment are the variables that Postfix's local gives to commands under other names than .qmail programs have.
var environment = map[string]string{"EXTENSION": "EXT", "DOMAIN": "HOST", "ORIGINAL_RECIPIENT": "RECIPIENT"}

// command resolves the parameters in a command line. Names in capitals are variables of the shell's, which stay.
func (r *reader) command(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		name, length := "", 1
		if s[i] == '$' {
			name, length = reference(s[i:])
		}
		switch {
		case name == "":
			b.WriteString(s[i : i+length])
		case strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") == "":
			b.WriteString("${" + cmp.Or(environment[name], name) + "}")
		default:
			b.WriteString(r.expand(s[i:i+length], 1))
		}
		i += length
	}
	return b.String()
}

// reference reads the $name that s begins with, and its length.
func reference(s string) (name string, length int) {
	if strings.HasPrefix(s, "$$") {
		return "", 2
	}
	if len(s) > 1 && (s[1] == '{' || s[1] == '(') {
		closing := byte('}')
		if s[1] == '(' {
			closing = ')'
		}
		if end := strings.IndexByte(s, closing); end > 0 {
			return s[2:end], end + 1
		}
		return "", 1
	}
	i := 1
	for i < len(s) && (s[i] == '_' || 'a' <= s[i] && s[i] <= 'z' || 'A' <= s[i] && s[i] <= 'Z' || '0' <= s[i] && s[i] <= '9') {
		i++
	}
	return s[1:i], i
}

// words splits a list at commas and blanks.
func words(s string) []string {
	return strings.FieldsFunc(s, func(c rune) bool { return c == ',' || c == ' ' || c == '\t' })
}

// members resolves a list of names: an entry that is a path stands for the words of that file, one that is a
// table for its keys.
func (r *reader) members(p parameter, key string, each func(word, file string, line int)) {
	for _, w := range words(r.expand(p.value, 1)) {
		if kind, path, ok := strings.Cut(w, ":"); ok && strings.HasPrefix(path, "/") && strings.Trim(kind, "abcdefghijklmnopqrstuvwxyz") == "" {
			r.maps(parameter{p.name, w, p.line}, key, func(path, left, _ string, n int, _ string) { each(left, path, n) })
			continue
		}
		if !strings.HasPrefix(w, "/") || strings.HasSuffix(w, "/") {
			each(w, r.file, p.line)
			continue
		}
		path := r.host(w)
		text, ok := r.read(path)
		if !ok {
			continue
		}
		lines(text, func(n int, line string) {
			for _, f := range words(line) {
				each(f, path, n)
			}
		})
	}
}

// host returns where a file of the host is on this disk.
func (r *reader) host(path string) string {
	if strings.HasPrefix(path, r.dir+"/") {
		return path
	}
	return filepath.Join("/", r.o.Root, path)
}

// read reads a file; one that cannot be read, or that is named and is not there, is noted.
func (r *reader) read(path string) (string, bool) {
	data, err := r.r.File(path)
	if errors.Is(err, fs.ErrNotExist) {
		r.r.Note(migrate.At(path, 0, filepath.Base(path)), migrate.NotCarried, "", "there is no such file")
	}
	return string(data), err == nil
}

// lines calls each for the logical lines of a table: continued ones joined, comments left out.
func lines(text string, each func(n int, line string)) {
	n, at, whole := 0, 0, ""
	flush := func() {
		if whole != "" {
			each(at, whole)
		}
		whole = ""
	}
	for raw := range strings.Lines(text) {
		n++
		trimmed := strings.TrimSpace(raw)
		switch {
		case trimmed == "" || trimmed[0] == '#':
		case (raw[0] == ' ' || raw[0] == '\t') && whole != "":
			whole += " " + trimmed
		default:
			flush()
			at, whole = n, trimmed
		}
	}
	flush()
}

// maps calls each for the lines of the text tables of a parameter: hash:/etc/postfix/x was made of
// /etc/postfix/x. Tables of other kinds are noted.
func (r *reader) maps(p parameter, key string, each func(path, left, right string, n int, line string)) (paths []string) {
	for _, w := range words(r.expand(p.value, 1)) {
		kind, path, ok := strings.Cut(w, ":")
		switch {
		case !ok || strings.HasPrefix(kind, "proxy"):
			if _, inner, nested := strings.Cut(path, ":"); nested {
				path = inner
				break
			}
			continue
		case kind != "hash" && kind != "btree" && kind != "texthash" && kind != "lmdb" && kind != "cdb" && kind != "dbm":
			r.r.Note(r.at(p), migrate.NotCarried, key, "tables of kind %s are not read", kind)
			continue
		}
		path = r.host(path)
		text, ok := r.read(path)
		if !ok {
			continue
		}
		paths = append(paths, path)
		lines(text, func(n int, line string) {
			i := strings.IndexAny(line, " \t")
			if i < 0 {
				r.r.Note(migrate.At(path, n, line), migrate.NotCarried, key, "want a key, blanks, and a value")
				return
			}
			each(path, line[:i], strings.TrimSpace(line[i:]), n, line)
		})
	}
	return paths
}
