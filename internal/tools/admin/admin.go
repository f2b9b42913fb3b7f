// Package admin holds the programs that compile and show a qmail host's configuration:
// qmail-newu, qmail-newmrh, qmail-pw2u, qmail-showctl, tcprules and tcprulescheck.
//
// A compiled file is written beside the old one, synced, and renamed over it: readers see the old
// or the new one, and a source with an error changes nothing.
package admin

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/postilion/postilion/internal/fs"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/qmail/assign"
	"github.com/postilion/postilion/internal/qmail/control"
	"github.com/postilion/postilion/internal/tools/tool"
)

// Programs returns the family's entries.
func Programs() []tool.Program {
	return []tool.Program{
		{Name: "qmail-newu", Short: "compile users/assign", Run: newu},
		{Name: "qmail-newmrh", Short: "compile control/morercpthosts", Run: newmrh},
		{Name: "qmail-pw2u", Short: "make users/assign from passwd", Run: pw2u},
		{Name: "qmail-showctl", Short: "show what the control files say", Run: showctl},
		{Name: "tcprules", Short: "compile access rules", Run: func(_ context.Context, e *tool.Env) int { return CompileRules(e) }},
		{Name: "tcprulescheck", Short: "show what access rules say of a client", Run: checkRules},
	}
}

// Replace writes a file through tmp, syncs it and renames it over final, which lasts through a power cut when Replace
// has returned; names are as the process must open them.
func Replace(tmp, final string, write func(w io.WriteSeeker) error) error {
	root, err := osfs.New("/")
	if err != nil {
		return &Step{"write", err}
	}
	from, err := fromRoot(tmp)
	if err != nil {
		return &Step{"write", err}
	}
	to, err := fromRoot(final)
	if err != nil {
		return &Step{"move", err}
	}
	return replace(root, from, to, write)
}

// fromRoot names a file, whose folder exists, from the root of the file system.
func fromRoot(name string) (string, error) {
	dir, file := filepath.Split(name)
	// A ".." behind a link means the folder above the one that it leads to.
	dir, err := filepath.EvalSymlinks(cmp.Or(dir, "."))
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	return strings.TrimPrefix(dir+"/", "/") + file, err
}

func replace(dir fs.FS, tmp, final string, write func(w io.WriteSeeker) error) error {
	f, err := dir.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return &Step{"write", err}
	}
	if err := errors.Join(write(f), f.Sync(), f.Close()); err != nil {
		_ = dir.Remove(tmp) // what is wrong has been told
		return &Step{"write", err}
	}
	if err = dir.Rename(tmp, final); err == nil {
		err = dir.SyncDir(path.Dir(final))
	}
	if err != nil {
		return &Step{"move", err}
	}
	return nil
}

// Step is a step of Replace that failed: "write" to the temporary file, or "move" it.
type Step struct {
	Name string
	Err  error
}

// Error returns the cause's text.
func (s *Step) Error() string { return tool.ErrText(s.Err) }

// Unwrap returns the cause.
func (s *Step) Unwrap() error { return s.Err }

// sourceLimit bounds what is read of a source file.
const sourceLimit = 256 << 20

// home returns the qmail folder, or the exit code after a message.
func home(e *tool.Env) (string, int) {
	dir := e.QmailHome()
	if st, err := os.Stat(dir); err != nil {
		return "", e.Fatal(tool.Temporary, "unable to chdir to ", dir, ": ", err)
	} else if !st.IsDir() {
		return "", e.Fatal(tool.Temporary, "unable to chdir to ", dir, ": ", error(syscall.ENOTDIR))
	}
	return dir, tool.OK
}

func newu(_ context.Context, e *tool.Env) int {
	if dir := e.QmailHome(); !isDir(dir) {
		return e.Fatal(tool.Temporary, "unable to chdir")
	}
	dir := e.QmailHome() + "/users/"
	f, err := os.Open(dir + "assign")
	if err != nil {
		return e.Fatal(tool.Temporary, "unable to open users/assign")
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, sourceLimit))
	if err != nil {
		return e.Fatal(tool.Temporary, "unable to read users/assign")
	}
	entries, err := assign.Parse("users/assign", b)
	if err != nil {
		if fault, ok := errors.AsType[*qmail.Fault](err); ok {
			e.Warn(fault.Error())
		}
		return e.Fatal(tool.Temporary, "bad format in users/assign")
	}
	return compile(e, dir+"cdb.tmp", dir+"cdb", func(f io.WriteSeeker) error { return assign.Compile(entries, f) },
		map[string]string{"write": "unable to write users/cdb.tmp", "move": "unable to move users/cdb.tmp to users/cdb"})
}

func isDir(name string) bool {
	st, err := os.Stat(name)
	return err == nil && st.IsDir()
}

// compile is Replace with the program's words.
func compile(e *tool.Env, tmp, final string, write func(io.WriteSeeker) error, words map[string]string) int {
	err := Replace(tmp, final, write)
	if step, ok := errors.AsType[*Step](err); ok {
		return e.Fatal(tool.Temporary, words[step.Name], ": ", step)
	}
	return tool.OK
}

func newmrh(_ context.Context, e *tool.Env) int {
	dir, code := home(e)
	if code != tool.OK {
		return code
	}
	dir += "/control/"
	b, err := tool.ReadAtMost(dir+"morercpthosts", sourceLimit)
	if err != nil {
		return e.Fatal(tool.Temporary, "unable to read control/morercpthosts: ", err)
	}
	return compile(e, dir+"morercpthosts.tmp", dir+"morercpthosts.cdb", func(f io.WriteSeeker) error { return control.CompileRcpthosts(b, f) },
		map[string]string{
			"write": "unable to write to control/morercpthosts.tmp",
			"move":  "unable to move control/morercpthosts.tmp to control/morercpthosts.cdb",
		})
}

func pw2u(_ context.Context, e *tool.Env) int {
	opts, _, ok := tool.GetOpt(e.Args[1:], "/ohHuUc:C")
	if !ok {
		return e.UsageError("[ -/ohHuUcC ]")
	}
	p := assign.Pw2u{Owner: owner}
	for _, o := range opts {
		switch o.Name {
		case '/':
			p.Slash = true
		case 'o':
			p.Homes = assign.HomesSkip
		case 'h':
			p.Homes = assign.HomesNeeded
		case 'H':
			p.Homes = assign.HomesAny
		case 'u':
			p.Capitals = true
		case 'U':
			p.Capitals = false
		case 'c':
			p.Break, p.NoExt = o.Value[0], false
		case 'C':
			p.NoExt = true
		}
	}
	dir, code := home(e)
	if code != tool.OK {
		return code
	}
	for name, to := range map[string]*[]byte{
		"include": &p.Include, "exclude": &p.Exclude, "mailnames": &p.Mailnames, "subusers": &p.Subusers, "append": &p.Append,
	} {
		b, err := tool.ReadAtMost(dir+"/users/"+name, sourceLimit)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return e.Fatal(tool.Temporary, "unable to read controls: users/", name, ": ", err)
		}
		*to = append([]byte{}, b...)
	}
	passwd, err := io.ReadAll(io.LimitReader(e.In(), sourceLimit))
	if err != nil {
		return e.Fatal(tool.Temporary, "unable to read input: ", err)
	}
	out := bufio.NewWriter(e.Out())
	if err := p.Convert(passwd, out); err != nil {
		return e.Fatal(tool.Temporary, err.Error())
	}
	if err := out.Flush(); err != nil {
		return e.Fatal(tool.Temporary, "unable to write output: ", err)
	}
	return tool.OK
}

// owner returns who owns a folder.
func owner(dir string) (uid uint32, ok bool, err error) {
	st, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false, fmt.Errorf("%s: its owner is not known", dir)
	}
	return sys.Uid, true, nil
}
