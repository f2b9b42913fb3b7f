// Package mailmap reads the text of sendmail's maps, virtusertable and access: a line a key,
// blanks, and the value (makemap(8)). Keys are compared in lower case. Postfix's tables are read as well:
// a value goes on in indented lines (postmap(1)).
package mailmap

import (
	"strings"

	"github.com/postilion/postilion/internal/qmail"
)

// Entry is a line.
type Entry struct {
	qmail.Place
	Key   string // as the file writes it
	Value string // "" where the line has none, which is wrong
}

// Map is a file's entries. A nil Map has none. It is safe for concurrent use.
type Map struct {
	entries []Entry
	index   map[string]int
}

// Parse reads a map. Lines that begin with "#" and empty ones are passed over. Of two lines with one
// key the first counts, as makemap refuses the second.
func Parse(file string, data []byte) *Map {
	m := &Map{index: map[string]int{}}
	var last *Entry // that a further line may belong to
	for n, raw := range qmail.Lines(data) {
		line := strings.TrimSpace(raw)
		if line == "" || line[0] == '#' {
			continue
		}
		if last != nil && (raw[0] == ' ' || raw[0] == '\t') && last.continues(line) {
			last.Value = strings.TrimLeft(last.Value+" "+line, " ")
			continue
		}
		last = nil
		e := Entry{Place: qmail.Place{File: file, Line: n}, Key: line}
		if i := strings.IndexAny(line, " \t"); i >= 0 {
			e.Key, e.Value = line[:i], strings.TrimSpace(line[i:])
		}
		key := qmail.Lower(e.Key)
		if _, twice := m.index[key]; !twice {
			m.index[key] = len(m.entries)
			m.entries = append(m.entries, e)
			last = &m.entries[len(m.entries)-1]
		}
	}
	return m
}

// continues reports whether an indented line goes on with the entry. One that reads as an entry itself, as
// sloppy files have it, does so behind a comma only.
func (e *Entry) continues(line string) bool {
	return e.Value == "" || strings.HasSuffix(e.Value, ",") || !strings.ContainsAny(line, " \t")
}

// Lookup finds a key. An entry without a value is an error that names its line.
func (m *Map) Lookup(key string) (Entry, bool, error) {
	if m == nil {
		return Entry{}, false, nil
	}
	i, ok := m.index[qmail.Lower(key)]
	if !ok {
		return Entry{}, false, nil
	}
	e := m.entries[i]
	if e.Value == "" {
		return e, false, &qmail.Fault{Place: e.Place, Text: "a key alone, want blanks and a value behind it"}
	}
	return e, true, nil
}

// Entries returns the entries in the order of the file. The slice is not to be changed.
func (m *Map) Entries() []Entry {
	if m == nil {
		return nil
	}
	return m.entries
}
