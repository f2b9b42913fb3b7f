// Package control reads the files of /var/qmail/control: their reading rules, the table of
// what they are, and the lookups that routing and policy make in them, each in the family's
// own order and each telling the line that decided (qmail reference 2).
package control

import (
	"bytes"
	"io"
	"math"
	"strings"

	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/qmail/cdb"
)

// trailing is what the reading rules take off a line's end.
const trailing = " \t\n"

// Line reads a line file: its first line without trailing blanks and tabs. Leading ones
// stay. An empty file gives ""; that a file is missing is the caller's to know, who then
// takes the default.
func Line(data []byte) string {
	line, _, _ := bytes.Cut(data, []byte("\n"))
	return string(bytes.TrimRight(line, trailing))
}

// Value is a line file's value as this server uses it: Line without a carriage return at its end,
// which an editor of another system left there. The family sends it along, in greetings and headers.
func Value(data []byte) string { return strings.TrimRight(Line(data), trailing+"\r") }

// Int reads an integer file: the digits at the first line's beginning. Without a digit
// there ok is false and the default holds, as if the file were missing. A number that is
// too large is the largest.
func Int(data []byte) (n int64, ok bool) {
	for _, c := range data {
		if c < '0' || c > '9' {
			break
		}
		ok = true
		if d := int64(c - '0'); n > (math.MaxInt64-d)/10 {
			n = math.MaxInt64
		} else {
			n = n*10 + d
		}
	}
	return n, ok
}

// Entry is a line of a list file.
type Entry struct {
	Text string
	Line int
}

// List reads a list file: a line an entry, trailing blanks off, empty lines and those that
// begin with "#" left out. A "#" further on is data, and so is a leading blank.
func List(data []byte) []Entry {
	var out []Entry
	for n, line := range qmail.Lines(data) {
		if line = strings.TrimRight(line, trailing); line != "" && line[0] != '#' {
			out = append(out, Entry{line, n})
		}
	}
	return out
}

// Match is an entry that a lookup found, and where it stands.
type Match struct {
	qmail.Place
	Key   string // as the file writes it
	Value string // behind the first colon; "" in a list without values
}

// Table is a list file for lookup by whole keys, letters' case ignored. A nil Table has no
// entries. It is safe for concurrent use.
type Table struct {
	entries []Match
	index   map[string]int // lowered key to entry
}

// NewSet reads a list file whose whole lines are the keys: locals, rcpthosts,
// percenthack, badmailfrom.
func NewSet(file string, data []byte) *Table {
	return newTable(file, data, func(text string) (key, value string, ok bool) { return text, "", true })
}

// NewMap reads a list file of key:value: virtualdomains, smtproutes. Lines without a colon
// are left out.
func NewMap(file string, data []byte) *Table {
	return newTable(file, data, func(text string) (key, value string, ok bool) { return strings.Cut(text, ":") })
}

// newTable keeps the later of two lines with one key, as the family does.
func newTable(file string, data []byte, split func(string) (string, string, bool)) *Table {
	t := &Table{index: map[string]int{}}
	for _, e := range List(data) {
		key, value, ok := split(e.Text)
		if !ok {
			continue
		}
		t.index[qmail.Lower(key)] = len(t.entries)
		t.entries = append(t.entries, Match{qmail.Place{File: file, Line: e.Line}, key, value})
	}
	return t
}

// Lookup finds a key.
func (t *Table) Lookup(key string) (Match, bool) {
	if t == nil {
		return Match{}, false
	}
	i, ok := t.index[qmail.Lower(key)]
	if !ok {
		return Match{}, false
	}
	return t.entries[i], true
}

// Entries returns every entry in the order of the file, those that a later one overrules
// among them. The slice is not to be changed.
func (t *Table) Entries() []Match {
	if t == nil {
		return nil
	}
	return t.entries
}

// CompileRcpthosts writes morercpthosts.cdb from morercpthosts as qmail-newmrh does: keys
// lowered, comments and empty lines left out (qmail reference 2.3). Errors are those of cdb.Writer.
func CompileRcpthosts(src []byte, dst io.WriteSeeker) error {
	w := cdb.NewWriter(dst)
	for _, e := range List(src) {
		if err := w.Put([]byte(qmail.Lower(e.Text)), nil); err != nil {
			return err
		}
	}
	return w.Close()
}
