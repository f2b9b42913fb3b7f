package assign

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/qmail/control"
)

// Homes is how qmail-pw2u looks at home folders.
type Homes uint8

const (
	HomesSkip   Homes = iota // -o: users without a home of their own are left out
	HomesNeeded              // -h: the same, but a home that is missing is an error
	HomesAny                 // -H: no look at homes
)

// Pw2u makes users/assign from passwd(5), as qmail-pw2u does (qmail reference 8.6).
type Pw2u struct {
	Homes    Homes
	Capitals bool   // -u: names with capitals too
	Break    byte   // -c: what divides a name from its extension; 0 means "-"
	NoExt    bool   // -C: no lines for extensions
	Slash    bool   // -/: dash is "-/", so that extensions are files .qmail-/…
	Alias    string // the name of the user alias; "" means "alias"
	// The files of that name in /var/qmail/users; nil where one is missing.
	Include, Exclude, Mailnames, Subusers, Append []byte
	// Owner returns who owns a home; ok is false where it does not exist.
	Owner func(dir string) (uid uint32, ok bool, err error)
}

// pw2u is one run.
type pw2u struct {
	Pw2u
	w                  *bufio.Writer
	include, exclude   *control.Table
	mailnames          *control.Table
	users              map[string]string // lowered name to ":user:uid:gid:home:"
	alias, brk, ending string
	aliasSeen          bool
}

// Convert writes users/assign for the accounts in passwd. What was written before an error
// is no table. The error's text is what qmail-pw2u says behind "fatal: ".
func (o Pw2u) Convert(passwd []byte, w io.Writer) error {
	p := pw2u{Pw2u: o, w: bufio.NewWriter(w), users: map[string]string{}, alias: o.Alias, brk: "-", ending: "-:"}
	if o.Include != nil {
		p.include = control.NewSet("users/include", o.Include)
	}
	p.exclude = control.NewSet("users/exclude", o.Exclude)
	p.mailnames = control.NewMap("users/mailnames", o.Mailnames)
	p.alias = cmp.Or(p.alias, "alias")
	if o.Break != 0 {
		p.brk = string([]byte{o.Break})
	}
	if o.Slash {
		p.ending = "-/:"
	}
	for _, line := range qmail.Lines(passwd) {
		if err := p.account(line); err != nil {
			return err
		}
	}
	if !p.aliasSeen {
		return fmt.Errorf("unable to find %s user", p.alias)
	}
	for _, line := range qmail.Lines(o.Subusers) {
		if err := p.subuser(line); err != nil {
			return err
		}
	}
	p.put(string(o.Append))
	if len(o.Append) > 0 && !bytes.HasSuffix(o.Append, []byte("\n")) {
		p.put("\n") // else the dot would end up in the last line
	}
	p.put(".\n")
	return p.w.Flush()
}

// put writes; the writer keeps the first error until Flush.
func (p *pw2u) put(s ...string) {
	for _, s := range s {
		_, _ = p.w.WriteString(s)
	}
}

func (p *pw2u) account(line string) error {
	f := strings.Split(line, ":")
	if strings.IndexByte(line, 0) >= 0 || len(f) < 7 {
		return nil
	}
	name, uids, gids, home := f[0], f[2], f[3], f[5]
	uid, err := strconv.ParseUint(uids, 10, 32)
	if err != nil || uid == 0 || !p.Capitals && strings.ContainsFunc(name, func(r rune) bool { return 'A' <= r && r <= 'Z' }) {
		return nil
	}
	if _, ok := p.include.Lookup(name); p.include != nil && !ok {
		return nil
	}
	if _, ok := p.exclude.Lookup(name); ok {
		return nil
	}
	if ok, err := p.homeFits(home, uint32(uid)); err != nil || !ok {
		return err
	}
	record := ":" + name + ":" + uids + ":" + gids + ":" + home + ":"
	p.users[qmail.Lower(name)] = record
	if name == p.alias {
		p.aliasSeen = true
		p.put("+", record, p.ending, ":\n")
	}
	names := name
	if m, ok := p.mailnames.Lookup(name); ok {
		names = m.Value
	}
	for n := range strings.SplitSeq(names, ":") {
		if n == "" {
			continue
		}
		p.put("=", n, record, "::\n")
		if !p.NoExt {
			p.put("+", n, p.brk, record, p.ending, ":\n")
		}
	}
	return nil
}

func (p *pw2u) homeFits(home string, uid uint32) (bool, error) {
	if p.Homes == HomesAny {
		return true, nil
	}
	owner, ok, err := p.Owner(home)
	if err != nil || !ok && p.Homes == HomesNeeded {
		return false, fmt.Errorf("unable to stat %s", home)
	}
	return ok && owner == uid, nil
}

func (p *pw2u) subuser(line string) error {
	f := strings.SplitN(line, ":", 4)
	if len(f) < 3 {
		return nil
	}
	record, ok := p.users[qmail.Lower(f[1])]
	if !ok {
		return fmt.Errorf("unable to find %s user for subuser", f[1])
	}
	if len(f) < 4 { // the third colon is what ends the prefix
		return nil
	}
	p.put("=", f[0], record, p.ending, f[2], ":\n")
	if !p.NoExt {
		p.put("+", f[0], p.brk, record, p.ending, f[2], "-:\n")
	}
	return nil
}
