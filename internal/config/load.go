package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	File string `json:"file,omitempty"` // "" for a flag
	Line int    `json:"line,omitempty"` // 1-based; 0 where no line is to blame
	Key  string `json:"key,omitempty"`
	Text string `json:"text"` // what is wrong and what was expected
}

// Error gives file, line and text.
func (p Problem) Error() string {
	switch {
	case p.File == "":
		return p.Text
	case p.Line == 0:
		return fmt.Sprintf("%s: %s", p.File, p.Text)
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}

// Problems is everything that is wrong, found in one go.
type Problems []Problem

// Error lists the problems, one a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Origin tells where a key's value came from.
type Origin struct {
	From string `json:"from"` // "default", "file", "qmail" (a file of a qmail), "flag"
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
}

// String returns "default", "flag", "FILE:LINE", or for what follows from a file being there or
// not FILE alone.
func (o Origin) String() string {
	switch {
	case o.From == "qmail" && o.Line == 0:
		return o.File
	case o.From == "file" || o.From == "qmail":
		return fmt.Sprintf("%s:%d", o.File, o.Line)
	}
	return o.From
}

// loader reads one source into a struct that follows a schema.
type loader struct {
	schema   *schema
	into     reflect.Value // the addressable struct
	file     string
	origins  map[string]Origin // by key; of repeated groups "route[0].domain"
	problems Problems

	parser *unstable.Parser
	// The place that keys count from, changed by [group] and [[group]].
	prefix  string
	element reflect.Value // of the current [[group]]; invalid outside
	at      string        // "route[0]" within a [[group]]
	skip    bool          // the current group is unknown and reported: its keys are not
	broken  bool          // the text is no TOML from some line on: what is missing may stand behind it
}

// setDefaults gives every key its default.
func setDefaults(s *schema, into reflect.Value) {
	for i := range s.keys {
		if k := &s.keys[i]; !k.Repeated && k.Default != "" {
			// newSchema has tried every default.
			_ = setText(into.FieldByIndex(k.path), k, k.Default)
			k.share(into)
		}
	}
}

func (l *loader) problem(line int, key, format string, args ...any) {
	l.problems = append(l.problems, Problem{l.file, line, key, fmt.Sprintf(format, args...)})
}

// load reads TOML. Everything that is wrong is added to l.problems; TOML that cannot be
// parsed further ends the reading.
func (l *loader) load(src []byte) {
	l.parser = &unstable.Parser{}
	l.parser.Reset(bytes.TrimPrefix(src, []byte("\xef\xbb\xbf"))) // as some editors begin a file
	for l.parser.NextExpression() {
		switch n := l.parser.Expression(); n.Kind {
		case unstable.Table:
			l.group(n, false)
		case unstable.ArrayTable:
			l.group(n, true)
		case unstable.KeyValue:
			if !l.skip {
				l.keyValue(n, l.prefix)
			}
		}
	}
	if err := l.parser.Error(); err != nil {
		line := 0
		if pe, ok := errors.AsType[*unstable.ParserError](err); ok && len(pe.Highlight) > 0 {
			line = l.parser.Shape(l.parser.Range(pe.Highlight)).Start.Line
		} else {
			line = strings.Count(string(src), "\n") + 1
		}
		l.problem(line, "", "this is not TOML: %s", err)
		l.broken = true
	}
}

// checks finds what is wrong with values, where their keys are not in trouble already.
func (l *loader) checks(f *File, src source) (ps Problems) {
	if l.broken {
		return nil
	}
	told := map[string]bool{}
	for _, p := range l.problems {
		told[p.Key] = p.Key != ""
	}
	if src.encoded { // checked before; the files of other roles' keys may be none of this one's to read
		return nil
	}
	for _, p := range f.limits(l.schema) {
		if !told[p.Key] {
			told[p.Key] = true
			ps = append(ps, p)
		}
	}
	for _, p := range f.check() {
		if !told[p.Key] {
			ps = append(ps, p)
		}
	}
	return ps
}

// name joins a dotted key and returns the line it stands in.
func (l *loader) name(it unstable.Iterator) (name string, line int) {
	var parts []string
	for it.Next() {
		n := it.Node()
		if line == 0 {
			line = l.parser.Shape(n.Raw).Start.Line
		}
		parts = append(parts, string(n.Data))
	}
	return strings.Join(parts, "."), line
}

func (l *loader) group(n *unstable.Node, repeated bool) {
	name, line := l.name(n.Key())
	l.prefix, l.element, l.at, l.skip = name, reflect.Value{}, "", false
	i := slices.IndexFunc(l.schema.groups, func(g Group) bool { return g.Name == name })
	if i < 0 || name == "" {
		l.skip = true
		var names []string
		for _, g := range l.schema.groups[1:] {
			names = append(names, g.Name)
		}
		l.problem(line, name, "there is no group [%s]%s", name, didYouMean(name, names))
		return
	}
	switch g := &l.schema.groups[i]; {
	case g.Repeated && !repeated:
		l.skip = true
		l.problem(line, name, "write [[%s]] with two brackets: it can be given several times", name)
	case !g.Repeated && repeated:
		l.skip = true
		l.problem(line, name, "write [%s] with one bracket: it can be given only once", name)
	case g.Repeated:
		list := l.into.FieldByIndex(g.path)
		list.Set(reflect.Append(list, reflect.New(g.typ).Elem()))
		l.element = list.Index(list.Len() - 1)
		l.at = fmt.Sprintf("%s[%d]", name, list.Len()-1)
		l.origins[l.at] = Origin{"file", l.file, line}
		for i := range l.schema.keys {
			k := &l.schema.keys[i]
			if strings.HasPrefix(k.Name, name+".") && k.Default != "" {
				_ = setText(l.element.FieldByIndex(k.path), k, k.Default)
			}
		}
	}
}

func (l *loader) keyValue(n *unstable.Node, prefix string) {
	name, line := l.name(n.Key())
	if prefix != "" {
		name = prefix + "." + name
	}
	v := n.Value()
	if v.Kind == unstable.InlineTable && l.schema.byName[name] == nil {
		for it := v.Children(); it.Next(); {
			l.keyValue(it.Node(), name)
		}
		return
	}
	k := l.schema.byName[name]
	if k == nil && slices.ContainsFunc(l.schema.groups, func(g Group) bool { return g.Name == name && name != "" }) {
		l.problem(line, name, "%s is a group: write [%[1]s] in a line of its own, and its keys below", name)
		return
	}
	if k == nil {
		l.problem(line, name, "there is no key %s%s", name, didYouMean(name, l.schema.names()))
		return
	}
	if k.Repeated != l.element.IsValid() {
		l.problem(line, name, "key %s belongs below [[%s]]", name, name[:strings.LastIndexByte(name, '.')])
		return
	}
	full, target := name, l.into
	if k.Repeated {
		full, target = l.at+name[strings.LastIndexByte(name, '.'):], l.element
	}
	if before, ok := l.origins[full]; ok && before.From == "file" {
		l.problem(line, name, "key %s is given twice, first in line %d", name, before.Line)
		return
	}
	l.origins[full] = Origin{"file", l.file, line}
	if err := l.set(target.FieldByIndex(k.path), k, v); err != nil {
		l.problem(line, name, "key %s: %s", name, err)
	}
	k.share(target)
}

// set stores a TOML value.
func (l *loader) set(v reflect.Value, k *Key, n *unstable.Node) error {
	data := string(n.Data)
	switch n.Kind {
	case unstable.String:
		switch k.Type {
		case "text", "duration":
			return setText(v, k, data)
		case "size":
			n, err := ParseSize(data)
			if err != nil {
				return err
			}
			return setInt(v, k, n)
		}
		return wantError(k, "the text "+strconv.Quote(data))
	case unstable.Bool:
		if k.Type == "yes or no" {
			v.SetBool(data == "true")
			return nil
		}
	case unstable.Integer:
		if k.Type == "number" || k.Type == "size" {
			return setText(v, k, data)
		}
		if k.Type == "duration" && data == "0" {
			v.SetInt(0)
			return nil
		}
	case unstable.Float:
		if v.Kind() == reflect.Float64 {
			return setText(v, k, data)
		}
	case unstable.Array:
		if k.Type == "list of texts" {
			return setList(v, k, n)
		}
		data = "a list"
	case unstable.InlineTable:
		data = "a table"
	}
	return wantError(k, data)
}

func setList(v reflect.Value, k *Key, n *unstable.Node) error {
	list := []string{}
	for it := n.Children(); it.Next(); {
		e := it.Node()
		if e.Kind == unstable.Comment {
			continue
		}
		if e.Kind != unstable.String {
			return wantError(k, "a list with "+string(e.Data))
		}
		list = append(list, string(e.Data))
	}
	v.Set(reflect.ValueOf(list))
	return nil
}

// flagProblem tells of a flag that names no key.
func (l *loader) flagProblem(format string, args ...any) {
	l.problems = append(l.problems, Problem{Text: fmt.Sprintf(format, args...)})
}

// flag sets one key as a flag "key=value" does.
func (l *loader) flag(name, value string) {
	l.file = ""
	k := l.schema.byName[name]
	switch {
	case k == nil:
		l.problem(0, name, "there is no key %s%s", name, didYouMean(name, l.schema.names()))
	case k.Repeated:
		l.problem(0, name, "key %s belongs to a list and can be given only in the file", name)
	default:
		if err := setText(l.into.FieldByIndex(k.path), k, value); err != nil {
			l.problem(0, name, "key %s: %s", name, err)
		}
		k.share(l.into)
		l.origins[name] = Origin{From: "flag"}
	}
}

func (s *schema) names() []string {
	names := make([]string, len(s.keys))
	for i, k := range s.keys {
		names[i] = k.Name
	}
	return names
}

// didYouMean returns "; did you mean X?" for the name nearest to a wrong one.
func didYouMean(name string, names []string) string {
	if near := nearestKey(name, names); near != "" {
		return fmt.Sprintf("; did you mean %s?", near)
	}
	return ""
}

// Nearest returns the name of names that name was probably meant to be, or "".
func Nearest(name string, names []string) string {
	return nearest(name, names, distance)
}

// nearestKey is Nearest for keys: one of the right name in another group is near.
func nearestKey(name string, names []string) string {
	last := func(s string) string { return s[strings.LastIndexByte(s, '.')+1:] }
	return nearest(name, names, func(a, b string) int {
		return min(distance(a, b), 1+distance(last(a), last(b)))
	})
}

func nearest(name string, names []string, far func(a, b string) int) string {
	best, at := "", 1000
	for _, n := range names {
		if d := far(name, n); d < at {
			best, at = n, d
		}
	}
	if at > 1+len(name)/4 {
		return ""
	}
	return best
}

// distance is Levenshtein's, with long texts cut: it serves hints only.
func distance(a, b string) int {
	a, b = a[:min(len(a), 64)], b[:min(len(b), 64)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// sortProblems orders by file and line, so that a reader works from the top down.
func sortProblems(ps Problems) {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
}
