package aliases

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/qmail/cdb"
)

// Forward is an entry of a table of fastforward (qmail reference 18.1, 18.2).
type Forward struct {
	qmail.Place
	Target string // lowered: user@host, user@ or @host; others are found only by other entries
	Owner  string // the envelope sender of what is sent on, where Owned; it may be empty: no bounces
	Owned  bool
	// Commands are what is done: "&address", "|program", "!program" (with the lines UFLINE,
	// RPLINE and DTLINE in front), "/list" or "./list", a compiled list of addresses.
	Commands []string
}

// maxAddress bounds an address of a table, in bytes.
const maxAddress = 800

// SetforwardError is a source that setforward refuses, in its own words.
type SetforwardError struct{ qmail.Fault }

// ParseForward reads setforward's source: target: command, command; with blanks and line feeds
// ignored, "\" before a byte that means itself, "#" before comments. The error is a *SetforwardError, in setforward's
// words, with the line.
func ParseForward(file string, data []byte) ([]Forward, error) {
	p := forwardParser{at: qmail.Place{File: file, Line: 1}}
	for i := 0; i < len(data); i++ {
		c, quoted := data[i], false
		switch {
		case c == '\\' && i+1 < len(data):
			i++
			c, quoted = data[i], true
		case c == '#':
			for i+1 < len(data) && data[i+1] != '\n' {
				i++
			}
			continue
		}
		if err := p.add(c, quoted); err != nil {
			return nil, err
		}
		if c == '\n' {
			p.at.Line++
		}
	}
	if p.colon || len(p.word) > 0 {
		return nil, p.fault("final instruction must end with semicolon")
	}
	return p.out, nil
}

type forwardParser struct {
	at    qmail.Place
	now   Forward
	colon bool // behind it
	word  []byte
	out   []Forward
}

func (p *forwardParser) fault(format string, args ...any) error {
	return &SetforwardError{qmail.Fault{Place: p.at, Text: fmt.Sprintf(format, args...)}}
}

func (p *forwardParser) add(c byte, quoted bool) error {
	switch {
	case c == 0:
		return p.fault("NUL bytes are not permitted")
	case quoted:
	case c == ' ' || c == '\t' || c == '\n' || c == '\r':
		return nil
	case c == ':':
		if p.colon {
			return p.fault("double colons are not permitted")
		}
		p.colon, p.now = true, Forward{Place: p.at, Target: qmail.Lower(string(p.word))}
		p.word = p.word[:0]
		return nil
	case c == ',' || c == ';':
		if !p.colon {
			return p.fault("commas are not permitted before colons")
		}
		if err := p.command(); err != nil {
			return err
		}
		if c == ';' {
			p.out = append(p.out, p.now)
			p.colon = false
		}
		return nil
	}
	p.word = append(p.word, c)
	return nil
}

// command takes the word that was read; one without a command's sign is an address.
func (p *forwardParser) command() error {
	w := string(p.word)
	p.word = p.word[:0]
	if w == "" {
		return nil
	}
	switch w[0] {
	case '?':
		if !p.now.Owned { // of two the first counts
			p.now.Owner, p.now.Owned = w[1:], true
		}
		return nil
	case '.', '/', '|', '!', '&':
	default:
		w = "&" + w
	}
	p.now.Commands = append(p.now.Commands, w)
	if w[0] == '&' && len(w) > maxAddress+1 {
		return p.fault("an address of %d bytes, want at most %d", len(w)-1, maxAddress)
	}
	return nil
}

// CompileForward writes a table's database: "?" and the target for its owner, ":" and the
// target for its commands, each ended by a NUL. Errors are those of cdb.Writer.
func CompileForward(table []Forward, dst io.WriteSeeker) error {
	w := cdb.NewWriter(dst)
	for _, f := range table {
		if f.Owned {
			if err := w.Put([]byte("?"+f.Target), []byte(f.Owner)); err != nil {
				return err
			}
		}
		if len(f.Commands) > 0 {
			if err := w.Put([]byte(":"+f.Target), []byte(strings.Join(f.Commands, "\x00")+"\x00")); err != nil {
				return err
			}
		}
	}
	return w.Close()
}

// ForwardDB is a compiled table.
type ForwardDB struct {
	file string
	db   *cdb.Reader
}

// NewForwardDB reads a compiled table; file names it in errors.
func NewForwardDB(file string, db *cdb.Reader) *ForwardDB { return &ForwardDB{file, db} }

// Find finds the entry of an incoming address: user@host, then @host, then user@. The error
// says that the database is broken: mail waits.
func (d *ForwardDB) Find(user, host string) (Forward, bool, error) {
	for _, target := range []string{user + "@" + host, "@" + host, user + "@"} {
		if f, ok, err := d.Lookup(target); ok || err != nil {
			return f, ok, err
		}
	}
	return Forward{}, false, nil
}

// Lookup finds an entry by its whole target, as addresses that entries give are looked up. The error names the file:
// it is broken, or cannot be read.
func (d *ForwardDB) Lookup(target string) (Forward, bool, error) {
	f := Forward{Place: qmail.Place{File: d.file}, Target: qmail.Lower(target)}
	commands, ok, err := d.db.Get([]byte(":" + f.Target))
	if err != nil || !ok {
		return f, false, d.wrap(err)
	}
	owner, owned, err := d.db.Get([]byte("?" + f.Target))
	f.Owner, f.Owned, f.Commands = string(owner), owned, splitNULs(commands)
	return f, err == nil, d.wrap(err)
}

func (d *ForwardDB) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", d.file, err)
}

// splitNULs divides what is ended by NULs.
func splitNULs(b []byte) []string {
	var out []string
	for s := range bytes.SplitSeq(bytes.TrimSuffix(b, []byte{0}), []byte{0}) {
		if len(s) > 0 {
			out = append(out, string(s))
		}
	}
	return out
}

// PrintForward writes a database as printforward does, in a form that setforward reads. The error is of a broken
// database, or of writing.
func PrintForward(w io.Writer, db *cdb.Reader) error {
	for rec, err := range db.All() {
		if err != nil {
			return err
		}
		if len(rec.Key) == 0 {
			continue
		}
		var b strings.Builder
		escape(&b, string(rec.Key[1:]))
		switch rec.Key[0] {
		case '?':
			b.WriteString(": ?")
			escape(&b, string(rec.Value))
			b.WriteString(";\n")
		case ':':
			b.WriteString(":\n")
			for _, c := range splitNULs(rec.Value) {
				b.WriteString(", ")
				escape(&b, c)
				b.WriteByte('\n')
			}
			b.WriteString(";\n")
		default:
			continue
		}
		if _, err := io.WriteString(w, b.String()); err != nil {
			return err
		}
	}
	return nil
}

// escape writes s with a backslash before what setforward would take for something else.
func escape(b *strings.Builder, s string) {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > 126 || strings.IndexByte(`#,:;\`, c) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
}

// ParseMaillist reads setmaillist's source, an address a line, "#" before comments, and
// returns the entries of the compiled list: "&address", or "/list" as written. A list runs no
// programs: its owner need not be the table's.
func ParseMaillist(data []byte) []string {
	var out []string
	for _, text := range qmail.Lines(data) {
		text = strings.TrimRight(text, " \t")
		if text == "" || text[0] == '#' {
			continue
		}
		if strings.IndexByte("&./", text[0]) < 0 {
			text = "&" + text
		}
		out = append(out, strings.ReplaceAll(text, "\x00", ""))
	}
	return out
}

// AppendMaillist appends a compiled list: its entries, each ended by a NUL.
func AppendMaillist(b []byte, list []string) []byte {
	for _, s := range list {
		b = append(append(b, s...), 0)
	}
	return b
}

// ReadMaillist reads a compiled list.
func ReadMaillist(data []byte) []string { return splitNULs(data) }

// Hosts are the names that newaliases completes addresses with.
type Hosts struct{ Default, Plus, Domain string }

// Complete gives an address its host: Default for one without, Plus behind a host that ends
// in "+", Domain behind one without a dot.
func (h Hosts) Complete(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		address, at = address+"@"+h.Default, len(address)
	}
	host := address[at+1:]
	switch {
	case strings.HasPrefix(host, "["):
	case strings.HasSuffix(host, "+"):
		host = host[:len(host)-1] + "." + h.Plus
	case !strings.Contains(host, "."):
		host += "." + h.Domain
	}
	return address[:at+1] + host
}

// Forwards turns /etc/aliases into a table, as fastforward's newaliases does (qmail reference
// 18.3). The error is its text for what it cannot carry.
func (h Hosts) Forwards(list []Alias) ([]Forward, error) {
	names := NewTable(list)
	var out []Forward
	for _, a := range list {
		if a.Fault != nil {
			return nil, a.Fault
		}
		f := Forward{Place: a.Place, Target: qmail.Lower(a.Name)}
		if !strings.Contains(f.Target, "@") {
			f.Target += "@"
			if _, ok := names.Lookup("owner-" + a.Name); ok {
				f.Owner, f.Owned = h.Complete("owner-"+a.Name), true
			}
		}
		for _, t := range a.Targets {
			switch t.Kind {
			case Program:
				f.Commands = append(f.Commands, "!"+t.Text)
			case Include:
				f.Commands = append(f.Commands, t.Text+".bin")
			case File:
				return nil, fmt.Errorf("file delivery %s not supported", t.Text)
			default:
				f.Commands = append(f.Commands, "&"+h.Complete(t.Text))
			}
		}
		out = append(out, f)
	}
	return out, nil
}
