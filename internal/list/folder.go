package list

import (
	"context"
	"path"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/fs"
)

// Options of Open. FS must be set.
type Options struct {
	FS  fs.FS  // the list's folder
	Dir string // its name, for messages and the tag <#d#>

	// Other returns the folder of that name: DIR/ezmlmrc may name one in which settings and texts
	// are looked up that the list has not. Nil means that there is none.
	Other func(dir string) (fs.FS, error)
	// System is where what is in neither is looked up (/etc/ezmlm/default); nil without.
	System fs.FS

	Now  func() time.Time                                 // nil means the clock's
	Wait func(ctx context.Context, d time.Duration) error // nil means a timer
}

// Folder is a list's folder with the settings that every program needs.
type Folder struct {
	Local, Host string // the list's address
	ListID      string // of the field List-ID; "" without
	Charset     string // of its texts: "us-ascii" unless it says otherwise
	Encoding    byte   // of its replies' texts: 'Q', 'B' or 0 for none
	Key         []byte // what cookies are made with

	fs       fs.FS
	dir      string
	others   []fs.FS
	flags    map[byte]bool // switches that DIR/flags or DIR/config decides about
	now      func() time.Time
	waitFor  func(ctx context.Context, d time.Duration) error
	contact  string // what the Mailing-List field says, of lists that say it themselves
	database bool
}

// Open reads what every list has: outlocal, outhost and key. A list without them is broken, and its
// mail waits until somebody has mended it: the error is an *Error that is not permanent.
func Open(o Options) (*Folder, error) {
	f := &Folder{fs: o.FS, dir: o.Dir, now: o.Now, waitFor: o.Wait, Charset: "us-ascii"}
	if f.now == nil {
		f.now = time.Now
	}
	if err := f.readFlags(); err != nil {
		return nil, err
	}
	var found bool
	var err error
	if f.Key, found, err = f.read("key", maxKey); err != nil {
		return nil, err
	} else if !found {
		return nil, broken("%s does not exist", f.path("key"))
	}
	if err := f.findOthers(o); err != nil {
		return nil, err
	}
	for _, s := range []struct {
		name string
		to   *string
	}{{"outlocal", &f.Local}, {"outhost", &f.Host}} {
		if *s.to, found, err = f.Line(s.name); err != nil {
			return nil, err
		} else if !found || *s.to == "" {
			return nil, broken("%s does not exist, or is empty", f.path(s.name))
		}
		if err := checkName(f.path(s.name), *s.to); err != nil {
			return nil, err
		}
	}
	return f, f.readRest()
}

// checkName refuses what would break a header or an envelope.
func checkName(file, value string) error {
	for i := range len(value) {
		if c := value[i]; c < ' ' || c == 0x7f {
			return broken("%s: a control character in %q", file, value)
		}
	}
	return nil
}

// readRest reads the settings that most lists have not.
func (f *Folder) readRest() (err error) {
	if f.ListID, _, err = f.Line("listid"); err != nil {
		return err
	}
	// Lists of ezmlm-idx before version 5 say themselves what stands in the field.
	if f.contact, _, err = f.Line("mailinglist"); err != nil {
		return err
	}
	charset, found, err := f.Line("charset")
	if err != nil {
		return err
	}
	if found && charset != "" {
		f.Charset = charset
		if name, code, ok := strings.Cut(charset, ":"); ok && (code == "Q" || code == "B") {
			f.Charset, f.Encoding = name, code[0]
		}
	}
	for name, value := range map[string]string{"listid": f.ListID, "mailinglist": f.contact, "charset": f.Charset} {
		if err := checkName(f.path(name), value); err != nil {
			return err
		}
	}
	for _, name := range []string{"subdb", "sql"} {
		line, found, err := f.Line(name)
		if err != nil {
			return err
		}
		if found && line != "" && line != "std" && !strings.HasPrefix(line, "std:") {
			f.database = true
		}
	}
	return nil
}

// readFlags reads the switches that ezmlm-make wrote down: letters, capitals for off.
func (f *Folder) readFlags() error {
	f.flags = map[byte]bool{}
	text, found, err := f.read("flags", maxSetting)
	if err != nil {
		return err
	}
	if !found {
		config, _, err := f.read("config", maxSetting)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(config)) {
			if rest, ok := strings.CutPrefix(line, "F:"); ok {
				text = []byte(rest)
			}
		}
	}
	line, _, _ := strings.Cut(string(text), "\n")
	for i := range len(line) {
		switch c := line[i]; {
		case c >= 'a' && c <= 'z':
			f.flags[c] = true
		case c >= 'A' && c <= 'Z':
			f.flags[c|0x20] = false
		}
	}
	return nil
}

// findOthers opens the folders in which missing settings and texts are looked up.
func (f *Folder) findOthers(o Options) error {
	text, _, err := f.read("ezmlmrc", maxSetting)
	if err != nil {
		return err
	}
	if dir, _, _ := strings.Cut(string(text), "\n"); dir != "" && o.Other != nil {
		other, err := o.Other(dir)
		if err != nil {
			return &Error{Text: f.path("ezmlmrc") + ": " + err.Error(), Cause: err}
		}
		f.others = append(f.others, other)
	}
	if o.System != nil {
		f.others = append(f.others, o.System)
	}
	return nil
}

// flagOf gives the switch of a file that turns something on (qmail reference 23.10).
var flagOf = map[string]byte{
	"archived": 'a', "modgetonly": 'b', "digest": 'd', "prefix": 'f', "subgetonly": 'g', "nosubconfirm": 'h',
	"threaded": 'i', "nounsubconfirm": 'j', "deny": 'k', "modcanlist": 'l', "modpost": 'm', "modcanedit": 'n',
	"modpostonly": 'o', "public": 'p', "remote": 'r', "modsub": 's', "addtrailer": 't', "subpostonly": 'u',
	"nowarn": 'w', "mimeremove": 'x', "confirmpost": 'y',
	"sublist": '0', "fromheader": '3', "owner": '5', "subdb": '6',
}

// Is reports whether the list has something turned on: by the switches in DIR/flags, else by a
// file of that name.
func (f *Folder) Is(name string) bool {
	if on, ok := f.flags[flagOf[name]]; ok {
		return on
	}
	_, err := f.fs.Stat(name)
	return err == nil
}

// option reports whether an ezmlm-make switch is on, as the lines <=FLAGS=> of texts ask: a
// capital asks for "off".
func (f *Folder) option(c byte) bool {
	if c >= 'A' && c <= 'Z' {
		return !f.option(c | 0x20)
	}
	if on, ok := f.flags[c]; ok {
		return on
	}
	for name, letter := range flagOf {
		if letter == c {
			return f.Is(name)
		}
	}
	return false
}

// find reads a file of the list, or where it has none, of the folders behind it.
func (f *Folder) find(name string) (content []byte, found bool, err error) {
	if content, found, err = f.read(name, maxSetting); found || err != nil {
		return content, found, err
	}
	for _, other := range f.others {
		b, err := readFile(other, name, maxSetting)
		if err == nil {
			return b, true, nil
		}
	}
	return nil, false, nil
}

// Lines returns a setting's lines, with tags replaced; blanks at line ends, empty lines and lines
// that begin with # are left out.
func (f *Folder) Lines(name string) (lines []string, found bool, err error) {
	content, found, err := f.find(name)
	if !found || err != nil {
		return nil, found, err
	}
	text, err := f.expand(string(content), f.Local, nil, true)
	if err != nil {
		return nil, true, &Error{Text: f.path(name) + ": " + err.Error()}
	}
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimRight(line, " \t\r"); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return lines, true, nil
}

// Line returns the first of a setting's lines.
func (f *Folder) Line(name string) (line string, found bool, err error) {
	lines, found, err := f.Lines(name)
	if len(lines) > 0 {
		line = lines[0]
	}
	return line, found, err
}

// set reads a setting as a set of names in lower case.
func (f *Folder) set(name string) (set map[string]bool, found bool, err error) {
	lines, found, err := f.Lines(name)
	set = make(map[string]bool, len(lines))
	for _, l := range lines {
		set[lowerASCII(l)] = true
	}
	return set, found, err
}

// MailingList is what the Mailing-List field of everything the list sends says. Its presence
// keeps other lists' programs from answering.
func (f *Folder) MailingList() string {
	if f.contact != "" {
		return f.contact
	}
	return "contact " + f.quoted(f.Local) + "-help@" + f.Host + "; run by ezmlm"
}

// Table names a set of addresses: "" the subscribers, "digest", "allow", "deny", "mod" or another
// folder in the list's. Lists of ezmlm-idx before version 7 name the folder by its whole path.
func (f *Folder) Table(name string) (*Table, error) {
	rel := name
	if strings.HasPrefix(name, "/") {
		dir := path.Clean(f.dir)
		switch clean := path.Clean(name); {
		case clean == dir:
			rel = "."
		case strings.HasPrefix(clean, dir+"/"):
			rel = clean[len(dir)+1:]
		default:
			return nil, refuse("%s: a set of addresses outside of the list's folder %s is not supported", name, f.dir)
		}
	}
	if rel == "" {
		rel = "."
	}
	if rel != "." && (strings.ContainsAny(rel, "/\x00") || rel == "..") {
		return nil, refuse("%s: names of sets of addresses may not contain slashes", name)
	}
	if f.database {
		return nil, broken("%s names a database: lists whose subscribers are in one are not served", f.path("subdb"))
	}
	return &Table{list: f, name: rel}, nil
}

// Now returns the present time.
func (f *Folder) Now() time.Time { return f.now() }

func (f *Folder) wait(ctx context.Context, d time.Duration) error {
	if f.waitFor != nil {
		return f.waitFor(ctx, d)
	}
	return clock.Sleep(ctx, d)
}

// Dir returns the folder's name, as Options had it.
func (f *Folder) Dir() string { return f.dir }
