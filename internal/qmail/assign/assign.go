// Package assign reads users/assign and its compiled form users/cdb: which user of the
// system an address belongs to (qmail reference 8.3 to 8.6). A table in text and a
// database give the same answers; both are safe for concurrent use.
package assign

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/qmail/cdb"
)

// User is whom an address belongs to.
type User struct {
	qmail.Place // the line that decided; in a database the file alone

	Name     string
	UID, GID uint32
	Home     string
	Dash     string
	Ext      string // what the entry says, and behind it the rest of the address in its own case
}

// Lookup finds users by the local part of an address. found is false where no line speaks
// of it; the next to ask is then [Getpw]. The error is about the file, never about the
// address: mail waits until it is mended.
type Lookup interface {
	Lookup(local string) (u User, found bool, err error)
}

// Entry is a line of users/assign.
type Entry struct {
	qmail.Place
	Wild bool   // "+": all local parts that begin with Key; else "=": Key alone
	Key  string // as written
	// The fields as written.
	Name, UID, GID, Home, Dash, Ext string
}

// Parse reads users/assign. The error is a *qmail.Fault about the first bad line, for which
// qmail-newu says "bad format in users/assign".
func Parse(file string, data []byte) ([]Entry, error) {
	var out []Entry
	last := 0
	for n, line := range qmail.Lines(data) {
		last = n
		if strings.HasPrefix(line, ".") {
			return out, nil
		}
		e, err := parseLine(qmail.Place{File: file, Line: n}, line)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return nil, &qmail.Fault{Place: qmail.Place{File: file, Line: last + 1}, Text: "the file ends here, want a last line that is a dot: it may have been cut off"}
}

func parseLine(at qmail.Place, line string) (Entry, error) {
	fault := func(format string, args ...any) (Entry, error) {
		return Entry{}, &qmail.Fault{Place: at, Text: fmt.Sprintf(format, args...)}
	}
	key, rest, colon := strings.Cut(line, ":")
	switch {
	case strings.IndexByte(line, 0) >= 0:
		return fault("a NUL byte, want =local:user:uid:gid:home:dash:ext: or +local:…")
	case line == "":
		return fault("an empty line, want =local:user:uid:gid:home:dash:ext: or +local:…")
	case !colon || key == "":
		return fault("%q, want =local:user:uid:gid:home:dash:ext: or +local:…", line)
	}
	f := strings.SplitN(rest, ":", 7)
	if len(f) < 7 {
		return fault("%d colons, want 7 as in =local:user:uid:gid:home:dash:ext:", strings.Count(line, ":"))
	}
	return Entry{at, key[0] == '+', key[1:], f[0], f[1], f[2], f[3], f[4], f[5]}, nil
}

// key returns the entry's key in the database.
func (e Entry) key() string {
	if e.Wild {
		return "!" + qmail.Lower(e.Key)
	}
	return "!" + qmail.Lower(e.Key) + "\x00"
}

// record returns the entry's value in the database.
func (e Entry) record() string {
	return strings.Join([]string{e.Name, e.UID, e.GID, e.Home, e.Dash, e.Ext}, "\x00")
}

// wildChars returns the characters that wildcards end in, in the order they first occur.
func wildChars(entries []Entry) []byte {
	var chars []byte
	for _, e := range entries {
		if !e.Wild || e.Key == "" {
			continue
		}
		if c := e.Key[len(e.Key)-1]; bytes.IndexByte(chars, c) < 0 {
			chars = append(chars, c)
		}
	}
	return chars
}

// Compile writes users/cdb as qmail-newu does. Errors are those of cdb.Writer.
func Compile(entries []Entry, dst io.WriteSeeker) error {
	w := cdb.NewWriter(dst)
	for _, e := range entries {
		if err := w.Put([]byte(e.key()), []byte(e.record())); err != nil {
			return err
		}
	}
	if err := w.Put(nil, wildChars(entries)); err != nil {
		return err
	}
	return w.Close()
}

// lookup finds local with get, which looks a key of the database up (qmail reference 8.3):
// the whole local part, then wildcards from the longest prefix on; only prefixes that end
// in one of chars are tried, and the empty one.
func lookup(local string, chars []byte, get func(key []byte) (User, bool, error)) (User, bool, error) {
	key := make([]byte, 0, len(local)+2)
	key = append(append(append(key, '!'), qmail.Lower(local)...), 0)
	if u, ok, err := get(key); ok || err != nil {
		return u, ok, err
	}
	for i := len(local); i >= 0; i-- {
		if i > 0 && bytes.IndexByte(chars, key[i]) < 0 {
			continue
		}
		u, ok, err := get(key[:i+1])
		if err != nil {
			return u, false, err
		}
		if ok {
			u.Ext += local[i:]
			return u, true, nil
		}
	}
	return User{}, false, nil
}

// user makes a User of the six fields of a record.
func user(at qmail.Place, f []string) (User, error) {
	uid, err := number(at, f[0], "uid", f[1])
	if err != nil {
		return User{}, err
	}
	gid, err := number(at, f[0], "gid", f[2])
	if err != nil {
		return User{}, err
	}
	return User{at, f[0], uid, gid, f[3], f[4], f[5]}, nil
}

func number(at qmail.Place, name, what, s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, &qmail.Fault{Place: at, Text: fmt.Sprintf("user %q: %s %q, want a number up to 4294967295", name, what, s)}
	}
	return uint32(n), nil
}

// Table is users/assign in memory.
type Table struct {
	entries map[string]Entry
	chars   []byte
}

// NewTable makes a table of entries. Of several with one key the first counts.
func NewTable(entries []Entry) *Table {
	t := &Table{make(map[string]Entry, len(entries)), wildChars(entries)}
	for _, e := range entries {
		if _, ok := t.entries[e.key()]; !ok {
			t.entries[e.key()] = e
		}
	}
	return t
}

// Lookup implements [Lookup].
func (t *Table) Lookup(local string) (User, bool, error) {
	return lookup(local, t.chars, func(key []byte) (User, bool, error) {
		e, ok := t.entries[string(key)]
		if !ok {
			return User{}, false, nil
		}
		u, err := user(e.Place, []string{e.Name, e.UID, e.GID, e.Home, e.Dash, e.Ext})
		return u, err == nil, err
	})
}

// DB is users/cdb.
type DB struct {
	file  string
	db    *cdb.Reader
	chars []byte
}

// NewDB reads a compiled table; file names it in errors.
func NewDB(file string, db *cdb.Reader) (*DB, error) {
	chars, ok, err := db.Get(nil)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", file, err)
	case !ok:
		return nil, &qmail.Fault{Place: qmail.Place{File: file}, Text: "a constant database, but none of qmail-newu: it has no list of wildcard characters"}
	}
	return &DB{file, db, chars}, nil
}

// Lookup implements [Lookup].
func (d *DB) Lookup(local string) (User, bool, error) {
	return lookup(local, d.chars, func(key []byte) (User, bool, error) {
		value, ok, err := d.db.Get(key)
		if err != nil {
			return User{}, false, fmt.Errorf("%s: %w", d.file, err)
		}
		if !ok {
			return User{}, false, nil
		}
		at := qmail.Place{File: d.file}
		f := strings.SplitN(string(value), "\x00", 7)
		if len(f) < 6 {
			return User{}, false, &qmail.Fault{Place: at, Text: fmt.Sprintf("the record of %q has %d fields, want 6", key[1:], len(f))}
		}
		u, err := user(at, f)
		return u, err == nil, err
	})
}
