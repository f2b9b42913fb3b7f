package admin

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/qmail/control"
	"github.com/postilion/postilion/internal/tools/tool"
)

// show is one run of qmail-showctl.
type show struct {
	out     *bufio.Writer
	dir     string // control/
	origins bool
	me      string
	haveMe  bool
}

// showctl prints each control file's effect in the words of qmail-showctl (qmail reference 13.4).
// With -o it says behind each value where it comes from, and what start scripts read too.
func showctl(_ context.Context, e *tool.Env) int {
	opts, _, ok := tool.GetOpt(e.Args[1:], "o")
	if !ok {
		return e.UsageError("[ -o ]")
	}
	s := &show{out: bufio.NewWriter(e.Out()), dir: e.QmailHome() + "/control/", origins: len(opts) > 0}
	code := s.run(e.QmailHome())
	if err := s.out.Flush(); err != nil {
		return e.Fatal(tool.Temporary, "unable to write output: ", err)
	}
	return code
}

func (s *show) run(home string) int {
	s.build(home)
	switch {
	case !isDir(home):
		return s.oops("Unable to chdir to " + home + ".")
	case !isDir(s.dir):
		return s.oops("Unable to chdir to control.")
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return s.oops("Unable to open current directory.")
	}
	b, err := s.read("me")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s.oops("Trouble reading control/me.")
	}
	s.me, s.haveMe = control.Line(b), err == nil
	known := map[string]bool{"morercpthosts.cdb": true}
	for _, f := range control.Files() {
		known[f.Name] = !f.Convention || s.origins
		switch {
		case f.Convention && !s.origins, f.Name == "morercpthosts":
			// morercpthosts stands behind rcpthosts, on which it depends.
		case f.Name == "rcpthosts":
			s.rcpthosts(f)
		default:
			s.file(f)
		}
	}
	for _, d := range entries {
		if !known[d.Name()] {
			s.out.WriteString("\n" + tool.Masked(d.Name(), '?') + ": I have no idea what this file does.\n")
		}
	}
	return tool.OK
}

func (s *show) oops(text string) int {
	s.out.WriteString("Oops! " + tool.Masked(text, '?') + "\n")
	return tool.Temporary
}

// build prints what qmail fixes when it is built; this server keeps to its defaults.
func (s *show) build(home string) {
	s.out.WriteString("qmail home directory: " + tool.Masked(home, '?') + ".\n" +
		"user-ext delimiter: -.\n" +
		"paternalism (in decimal): 2.\n" +
		"silent concurrency limit: " + strconv.Itoa(control.MaxConcurrency) + ".\n" +
		"subdirectory split: 23.\n")
	ids := make([]string, 0, 8)
	for _, name := range []string{"alias", "qmaild", "qmaill", "root", "qmailp", "qmailq", "qmailr", "qmails"} {
		id := "none"
		if u, err := user.Lookup(name); err == nil {
			id = u.Uid
		}
		ids = append(ids, id)
	}
	s.out.WriteString("user ids: " + strings.Join(ids, ", ") + ".\n")
	ids = ids[:0]
	for _, name := range []string{"nofiles", "qmail"} {
		id := "none"
		if g, err := user.LookupGroup(name); err == nil {
			id = g.Gid
		}
		ids = append(ids, id)
	}
	s.out.WriteString("group ids: " + strings.Join(ids, ", ") + ".\n")
}

func (s *show) read(name string) ([]byte, error) { return tool.ReadAtMost(s.dir+name, sourceLimit) }

// file prints one control file. It returns false when a list is missing.
func (s *show) file(f control.File) (there bool) {
	s.out.WriteString("\n" + f.Name + ": ")
	b, err := s.read(f.Name)
	there = err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.out.WriteString("Oops! Trouble reading this file.\n")
		return true
	}
	switch f.Kind {
	case control.KindList, control.KindMap:
		s.list(f, b, there)
	case control.KindInt:
		n, ok := control.Int(b)
		value, from := f.Default, "built in"
		if ok = ok && there; ok {
			value, from = strconv.FormatInt(n, 10), "control/"+f.Name
		}
		s.value(f, value, from, !ok)
	default:
		value, from := f.Default, "built in"
		switch {
		case there:
			value, from = control.Line(b), "control/"+f.Name
		case f.FromMe && s.haveMe:
			value, from = s.me, "control/me"
		}
		s.value(f, value, from, !there)
	}
	return there
}

func (s *show) value(f control.File, value, from string, isDefault bool) {
	if isDefault {
		s.out.WriteString("(Default.) ")
	}
	pre := f.Show
	if f.Convention {
		pre = f.Meaning + ": "
	}
	s.out.WriteString(pre + tool.Masked(value, '?') + f.ShowEnd + "." + s.origin(from) + "\n")
}

// origin is what -o adds to a line.
func (s *show) origin(from string) string {
	if !s.origins {
		return ""
	}
	return " [" + from + "]"
}

func (s *show) list(f control.File, b []byte, there bool) {
	if !there {
		s.out.WriteString("(Default.) " + f.ShowNone + s.origin("built in") + "\n")
		return
	}
	s.out.WriteString("\n")
	for _, l := range control.List(b) {
		s.out.WriteString(f.Show + tool.Masked(l.Text, '?') + f.ShowEnd + s.origin("control/"+f.Name+":"+strconv.Itoa(l.Line)) + "\n")
	}
}

// rcpthosts prints rcpthosts, morercpthosts and its compiled form.
func (s *show) rcpthosts(f control.File) {
	there := s.file(f)
	more, _ := control.FileNamed("morercpthosts")
	if !there {
		more.ShowNone = "No rcpthosts; morercpthosts is irrelevant."
		more.Show = "No rcpthosts; doesn't matter that morercpthosts has "
	}
	s.file(more)
	s.out.WriteString("\nmorercpthosts.cdb: ")
	text, textErr := os.Stat(s.dir + "morercpthosts")
	db, dbErr := os.Stat(s.dir + "morercpthosts.cdb")
	switch {
	case textErr != nil && dbErr != nil:
		s.out.WriteString("(Default.) No effect.\n")
	case textErr != nil:
		s.out.WriteString("Oops! morercpthosts.cdb exists but morercpthosts doesn't.\n")
	case dbErr != nil:
		s.out.WriteString("Oops! morercpthosts exists but morercpthosts.cdb doesn't.\n")
	case text.ModTime().Unix() > db.ModTime().Unix():
		s.out.WriteString("Oops! morercpthosts.cdb is older than morercpthosts.\n")
	default:
		s.out.WriteString("Modified recently enough; hopefully up to date.\n")
	}
}
