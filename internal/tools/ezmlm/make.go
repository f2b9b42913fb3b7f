package ezmlm

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/postilion/postilion/internal/fs"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/tools/tool"
)

// This file is ezmlm-make (qmail reference 23.1, 23.10): a folder with settings, and links in a home by
// which .qmail finds the list's instructions.

const makeUsage = "[-e | -+] [-aAbBdDfFgGhHiIjJlLmMnNoOpPrRsStTuUwWxXyY] [ -0 list ] [ -5 owner ] [ -7 folder ] [ -8 folder ] [ -9 folder ] dir dot local host [ code ]"

// listFile is a file whose presence turns something on; text is what it holds.
type listFile struct {
	letter byte
	names  []string
	text   string
}

// switches are the letters of the command line. Those without a file of their own stand below.
var switches = []listFile{
	{'a', []string{"archived", "indexed"}, ""},
	{'b', []string{"modgetonly"}, ""},
	{'d', []string{"digested"}, ""},
	{'f', []string{"prefix"}, "[<#L#>]\n"},
	{'g', []string{"subgetonly"}, ""},
	{'h', []string{"nosubconfirm"}, ""},
	{'i', []string{"threaded"}, ""},
	{'j', []string{"nounsubconfirm"}, ""},
	{'l', []string{"modcanlist"}, ""},
	{'m', []string{"modpost"}, ""},
	{'n', []string{"modcanedit"}, ""},
	{'o', []string{"modpostonly"}, ""},
	{'p', []string{"public"}, ""},
	{'r', []string{"remote"}, ""},
	{'s', []string{"modsub"}, ""},
	{'t', []string{"addtrailer"}, ""},
	{'u', []string{"subpostonly"}, ""},
	{'w', []string{"nowarn"}, ""},
	{'x', []string{"mimeremove"}, unwantedTypes},
	{'y', []string{"confirmpost"}, ""},
}

// unwantedTypes are left out of posts with -x: what is there to be run, looked at or listened to.
const unwantedTypes = "text/html\ntext/richtext\ntext/enriched\ntext/x-vcard\napplication/octet-stream\napplication/ms-tnef\n" +
	"application/msword\napplication/excel\napplication/powerpoint\napplication/pdf\napplication/postscript\napplication/x-sh\n" +
	"application/javascript\nimage/gif\nimage/jpeg\nimage/png\naudio/basic\naudio/mpeg\nvideo/mpeg\nvideo/mp4\n"

// making is one run of ezmlm-make.
type making struct {
	*call
	fsys                  fs.FS
	dir, dot, local, host string
	on                    map[byte]bool
	values                map[byte]string // of -0 and -5 to -9
	programs              string          // what goes before a program's name on a line
	code                  string          // of digests
	edit                  bool
}

// makeList is ezmlm-make.
func makeList(c *call) int {
	m := &making{call: c, on: map[byte]bool{'a': true, 'p': true}, values: map[byte]string{}}
	if !c.options("+aAbBcCdDeEfFgGhHiIjJkKlLmMnNoOpPqQrRsStTuUvVwWxXyYzZ0:3:4:5:6:7:8:9:") {
		return c.e.UsageError(c.usage)
	}
	m.edit = c.isOn('e') || c.isOn('+')
	if len(c.args) < 4 && !(m.edit && len(c.args) == 1) || len(c.args) > 5 {
		return c.e.UsageError(c.usage)
	}
	if err := m.prepare(); err != nil {
		return c.e.Fatal(tool.Permanent, err)
	}
	if err := m.run(); err != nil {
		return c.e.Fatal(tool.Temporary, err)
	}
	return tool.OK
}

func (c *call) isOn(letter rune) bool { return c.on(letter, false) }

// prepare reads what the command line and, of a list that is there, its files say.
func (m *making) prepare() (err error) {
	m.dir = strings.TrimSuffix(m.args[0], "/")
	if strings.ContainsAny(m.dir, "'\n") {
		return errors.New("quotes and newlines are not allowed in dir")
	}
	if !strings.HasPrefix(m.dir, "/") {
		return errors.New("dir must start with a slash")
	}
	if m.programs, err = m.programPath(); err != nil {
		return err
	}
	if m.edit {
		if err := m.readList(); err != nil {
			return err
		}
	}
	if len(m.args) >= 4 {
		m.dot, m.local, m.host = m.args[1], m.args[2], m.args[3]
	}
	if !strings.HasPrefix(m.dot, "/") {
		return errors.New("dot must start with a slash")
	}
	for what, v := range map[string]string{"local": m.local, "host": m.host, "dot": m.dot} {
		if v == "" || strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return errors.New(what + " is empty, or has blanks or control characters")
		}
	}
	if len(m.args) == 5 {
		m.code = m.args[4]
	}
	for _, o := range m.opts {
		letter := byte(o.Name)
		switch {
		case letter >= '0' && letter <= '9':
			if strings.ContainsAny(o.Value, "\n\r") {
				return errors.New("a newline in the argument of -" + string(o.Name))
			}
			m.values[letter] = o.Value
		case o.Name == 'c', o.Name == '3', o.Name == '4', o.Name == '6':
			return errors.New("-" + string(o.Name) + " is not supported")
		case letter >= 'a':
			m.on[letter] = true
		case letter >= 'A':
			m.on[letter|0x20] = false
		}
	}
	for _, letter := range []byte("346") {
		if _, given := m.values[letter]; given {
			return errors.New("-" + string(letter) + " is not supported")
		}
	}
	return nil
}

// programPath finds out how instructions call the family: by the folder of the link that this
// program was called by, or of the links along PATH; without links, by the one binary.
func (m *making) programPath() (string, error) {
	if name := m.e.Args[0]; strings.HasPrefix(name, "/") {
		if _, err := os.Stat(filepath.Dir(name) + "/ezmlm-send"); err == nil {
			return filepath.Dir(name) + "/", nil
		}
	}
	if path, err := tool.FindProgram("ezmlm-send", m.e.Getenv("PATH"), m.e.Dir); err == nil {
		if path, err = filepath.Abs(path); err == nil {
			return filepath.Dir(path) + "/", nil
		}
	}
	path, err := os.Executable()
	return path + " ", err
}

// readList takes over what a list has that is changed.
func (m *making) readList() error {
	line := func(name string) string {
		text, _ := tool.ReadAtMost(m.e.Path(m.dir)+"/"+name, 4096)
		first, _, _ := strings.Cut(string(text), "\n")
		return first
	}
	m.dot, m.local, m.host = line("dot"), line("outlocal"), line("outhost")
	if m.local == "" {
		return errors.New(m.dir + " is no list's folder")
	}
	m.code = line("digestcode")
	if m.isOn('+') {
		for _, s := range switches {
			_, err := os.Stat(m.e.Path(m.dir) + "/" + s.names[0])
			m.on[s.letter] = err == nil
		}
	}
	return nil
}

func (m *making) run() (err error) {
	dir := m.e.Path(m.dir)
	if !m.edit {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return errors.New("unable to create " + m.dir + ": " + tool.ErrText(err))
		}
	}
	if m.fsys, err = osfs.New(dir); err != nil {
		return errors.New("unable to change directory to " + m.dir + ": " + tool.ErrText(err))
	}
	for _, d := range []string{"archive", "bounce", "text", "subscribers", "digest", "digest/bounce", "digest/subscribers", "allow", "allow/subscribers",
		"deny", "deny/subscribers", "mod", "mod/subscribers", "mod/pending", "mod/accepted", "mod/rejected", "mod/unconfirmed"} {
		if err := m.fsys.MkdirAll(d, 0o755); err != nil {
			return m.failed("create", d, err)
		}
	}
	if err := m.settings(); err != nil {
		return err
	}
	for name, text := range m.instructions() {
		if err := m.write(name, text); err != nil {
			return err
		}
	}
	if err := m.fsys.SyncAll(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return m.failed("write", "settings", err)
	}
	return m.links()
}

func (m *making) failed(doing, name string, err error) error {
	return errors.New("unable to " + doing + " " + m.dir + "/" + name + ": " + tool.ErrText(err))
}

// write makes a file, synced. What commands are proven with is for the list's owner alone: who can read it is a moderator.
func (m *making) write(name, text string) error {
	perm := fs.FileMode(0o644)
	if name == "key" || name == "digestcode" {
		perm = 0o600
	}
	file, err := m.fsys.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return m.failed("create", name, err)
	}
	_, err = io.WriteString(file, text)
	if err == nil {
		err = file.Sync()
	}
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = m.fsys.Rename(name+".new", name)
	}
	if err == nil {
		err = m.fsys.SyncDir(filepath.Dir(name))
	}
	if err != nil {
		return m.failed("write", name, err)
	}
	return nil
}

// settings makes the files of the switches and removes those that are off. What the owner has
// written into a file stays.
func (m *making) settings() error {
	has := func(name string) bool {
		_, err := m.fsys.Stat(name)
		return err == nil
	}
	fixed := []struct{ name, text string }{
		{"outlocal", m.local + "\n"}, {"outhost", m.host + "\n"}, {"dot", m.dot + "\n"}, {"digestcode", m.code + "\n"},
	}
	if !has("key") {
		key := make([]byte, 32)
		rand.Read(key)
		fixed = append(fixed, struct{ name, text string }{"key", hex.EncodeToString(key) + "\n"})
	}
	for _, f := range fixed {
		if err := m.write(f.name, f.text); err != nil {
			return err
		}
	}
	for _, s := range switches {
		text := s.text
		for letter, of := range map[byte]byte{'7': 'm', '8': 's', '9': 'r'} {
			if s.letter == of && m.values[letter] != "" {
				text = m.values[letter] + "\n"
			}
		}
		for _, name := range s.names {
			var err error
			switch {
			case m.on[s.letter] && (!has(name) || text != s.text):
				err = m.write(name, text)
			case !m.on[s.letter] && has(name):
				err = m.fsys.Remove(name)
			}
			if err != nil {
				return m.failed("change", name, err)
			}
		}
	}
	sublist := m.values['0'] != ""
	if sublist {
		if err := m.write("sublist", m.values['0']+"\n"); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{"headeradd": headerAdd(sublist), "headerremove": headerRemove(sublist)} {
		if !has(name) {
			if err := m.write(name, text); err != nil {
				return err
			}
		}
	}
	for _, name := range []string{"lock", "lockbounce", "digest/lock", "digest/lockbounce", "mod/lock"} {
		if !has(name) {
			if err := m.write(name, ""); err != nil {
				return err
			}
		}
	}
	return nil
}

// headerAdd are the fields that lists add; a sublist leaves its parent's alone.
func headerAdd(sublist bool) string {
	own := "List-Help: <mailto:<#l#>-help@<#h#>>\nList-Unsubscribe: <mailto:<#l#>-unsubscribe@<#h#>>\nList-Subscribe: <mailto:<#l#>-subscribe@<#h#>>\n"
	if sublist {
		return own
	}
	return "Sender: <<#l#>@<#h#>>\nPrecedence: bulk\nX-No-Archive: yes\nList-Post: <mailto:<#L#>@<#H#>>\n" + own
}

func headerRemove(sublist bool) string {
	fields := "return-path\nreturn-receipt-to\ncontent-length\nprecedence\nx-confirm-reading-to\nx-pmrqc\nlist-subscribe\nlist-unsubscribe\nlist-help\n"
	if sublist {
		return fields
	}
	return fields + "list-post\nsender\n"
}

// instructions are the files that .qmail links lead to.
func (m *making) instructions() map[string]string {
	dir := "'" + m.dir + "'"
	line := func(program, args string) string { return "|" + m.programs + program + " " + args + "\n" }
	unless := func(file, then string) string {
		return "|if test ! -f '" + m.dir + "/" + file + "'; then " + strings.TrimPrefix(strings.TrimSuffix(then, "\n"), "|") + "; fi\n"
	}
	when := func(test, then string) string {
		return "|if test " + test + "; then " + strings.TrimPrefix(strings.TrimSuffix(then, "\n"), "|") + "; fi\n"
	}
	has := func(file string) string { return "-f '" + m.dir + "/" + file + "'" }
	hasNot := func(file string) string { return "! " + has(file) }
	ignore := func(l string) string { return strings.TrimSuffix(l, "\n") + " || exit 0\n" }
	sweep := ignore(line("ezmlm-clean", dir)) + ignore(line("ezmlm-warn", dir))
	known := ". digest allow mod"
	editor := unless("sublist", line("ezmlm-reject", dir)) +
		unless("sublist", line("ezmlm-checksub", "-n "+dir+" deny")) +
		unless("subpostonly", line("ezmlm-store", dir)) +
		when(has("subpostonly")+" -a "+hasNot("modpost"), strings.TrimSuffix(line("ezmlm-checksub", dir+" "+known), "\n")+" && "+strings.TrimPrefix(line("ezmlm-store", dir), "|")) +
		when(has("subpostonly")+" -a "+has("modpost")+" -a "+hasNot("confirmpost"), line("ezmlm-gate", dir+" "+known)) +
		when(has("subpostonly")+" -a "+has("modpost")+" -a "+has("confirmpost"), line("ezmlm-store", dir)) +
		sweep +
		when(has("digested")+" && "+strings.TrimSuffix(m.programs+"ezmlm-tstdig "+dir, "\n"), ignore(line("ezmlm-get", dir)))
	owner := m.dir + "/Mailbox\n"
	if m.values['5'] != "" {
		owner = "&" + m.values['5'] + "\n"
	}
	gated := line("ezmlm-confirm", dir+" "+m.programs+"ezmlm-gate -Y "+dir+" "+known)
	plain := line("ezmlm-confirm", dir+" "+m.programs+"ezmlm-store -Y "+dir)
	files := map[string]string{
		"editor": editor,
		"manager": line("ezmlm-weed", "") + line("ezmlm-get", dir) + line("ezmlm-split", dir) + line("ezmlm-request", dir) +
			line("ezmlm-manage", dir) + sweep,
		"bouncer":        line("ezmlm-weed", "") + line("ezmlm-return", "-D "+dir),
		"digest/bouncer": line("ezmlm-weed", "") + line("ezmlm-return", "-d "+dir),
		"moderator":      line("ezmlm-weed", "") + line("ezmlm-moderate", dir) + sweep,
		"confirmer": line("ezmlm-weed", "") +
			when(has("subpostonly")+" -a "+has("modpost"), gated) +
			when(hasNot("subpostonly")+" -o "+hasNot("modpost"), plain) + sweep,
		"owner": owner,
	}
	if m.edit && m.values['5'] == "" {
		delete(files, "owner")
	}
	for name, text := range files {
		files[name] = strings.ReplaceAll(text, " \n", "\n")
	}
	return files
}

// links makes the .qmail links. What stands in a link's way is told and left alone.
func (m *making) links() error {
	var taken []string
	for _, l := range []struct{ suffix, target string }{
		{"-default", "manager"}, {"-owner", "owner"}, {"-return-default", "bouncer"},
		{"-digest-owner", "owner"}, {"-digest-return-default", "digest/bouncer"},
		{"-accept-default", "moderator"}, {"-reject-default", "moderator"},
		{"-confirm-default", "confirmer"}, {"-discard-default", "confirmer"},
		{"", "editor"}, // last: who can post can do all the rest
	} {
		name, target := m.e.Path(m.dot)+l.suffix, m.dir+"/"+l.target
		err := os.Symlink(target, name)
		if errors.Is(err, fs.ErrExist) {
			if to, rerr := os.Readlink(name); rerr == nil && to == target {
				continue
			}
			taken = append(taken, name)
			continue
		}
		if err != nil {
			return errors.New("unable to create " + name + ": " + tool.ErrText(err))
		}
	}
	if len(taken) > 0 {
		slices.Sort(taken)
		return errors.New("in the way, and left alone: " + strings.Join(taken, ", "))
	}
	home, err := osfs.New(filepath.Dir(m.e.Path(m.dot)))
	if err == nil {
		err = home.SyncDir(".")
	}
	return err
}
