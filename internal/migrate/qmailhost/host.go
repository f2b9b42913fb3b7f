// Package qmailhost reads a whole qmail: its control files, users, alias, the client rules
// and what its start scripts say. What a file leaves out is set to qmail's own default where
// that differs from ours, so that mail is treated as before.
//
// A file that is wrong takes effect as far as qmail lets it, and the report says so.
package qmailhost

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/postilion/postilion/internal/migrate"
	"github.com/postilion/postilion/internal/qmail/control"
)

// Options say where the qmail is and for what it is read.
type Options struct {
	Dir  string // the qmail folder, such as /var/qmail
	Root string // the root of the host's other files, such as /etc/tcp.smtp; "" is "/"
	// Live has lists named by their files, which the running server reads again when they change.
	// Otherwise what they say is taken over, so that the files are not needed any longer.
	Live bool
}

// reader is one reading of a tree.
type reader struct {
	o  Options
	r  *migrate.Report
	me string // the value of control/me

	found []runScript          // of the services; nil: not looked for yet
	used  map[string]runScript // which of them is a listener's, by its name
}

// Read reads the qmail. The error says that there is none; what is wrong in it is in the notes.
func Read(o Options) (*migrate.Report, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	o.Dir = dir
	info, err := os.Stat(filepath.Join(dir, "control"))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s is no qmail folder: %w", dir, migrate.Plain(err))
	case !info.IsDir():
		return nil, fmt.Errorf("%s is no qmail folder: control is no folder", dir)
	}
	r := &reader{o: o, r: &migrate.Report{}, used: map[string]runScript{}}
	r.controlFiles()
	r.users()
	r.boot()
	r.clientRules()
	r.r.Sort()
	return r.r, nil
}

// Files lists the files whose change Read would see, whether they exist or not.
func Files(o Options) []string {
	list := []string{filepath.Join(o.Dir, "control"), filepath.Join(o.Dir, "users", "cdb"), filepath.Join(o.Dir, "users", "assign"), filepath.Join(o.Dir, "rc")}
	for _, row := range table() {
		list = append(list, filepath.Join(o.Dir, "control", row.Name))
	}
	for _, s := range services(o) {
		list = append(list, s.path)
	}
	return append(list, filepath.Join("/", o.Root, tcpRules), filepath.Join("/", o.Root, tcpRules+".cdb"))
}

// file is a control file as it was read.
type file struct {
	control.File
	path string
	data []byte
	has  bool
}

// controlFiles takes every file of the control folder.
func (r *reader) controlFiles() {
	known := map[string]bool{}
	for _, row := range table() {
		known[row.Name] = true
		if row.Take == nil { // some are folders
			path := filepath.Join(r.o.Dir, "control", row.Name)
			if _, err := os.Stat(path); err == nil {
				r.r.Note(migrate.At(path, 0, row.Name), migrate.NotCarried, "", "%s", row.Instead)
			}
			continue
		}
		f := r.open(row.Name)
		if row.Name == "me" {
			r.me = control.Value(f.data)
		}
		if f.has {
			for _, fault := range control.Check(f.File, f.path, f.data) {
				r.r.Note(migrate.At(f.path, fault.Line, lineOf(f.data, fault.Line)), migrate.Differs, "", "%s", fault.Text)
			}
		}
		row.Take(r, f)
	}
	entries, err := os.ReadDir(filepath.Join(r.o.Dir, "control"))
	if err != nil {
		r.r.Note(migrate.At(filepath.Join(r.o.Dir, "control"), 0, "control"), migrate.NotCarried, "", "cannot be listed: %s", migrate.Plain(err))
	}
	for _, e := range entries {
		name := e.Name()
		if !known[name] && !ignored(name) {
			r.r.Note(migrate.At(filepath.Join(r.o.Dir, "control", name), 0, name), migrate.NotCarried, "", "no program of qmail reads a file of this name")
		}
	}
}

// ignored tells the names that editors and compilers leave.
func ignored(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") || strings.HasSuffix(name, ".cdb") || strings.HasSuffix(name, ".tmp") ||
		slices.ContainsFunc([]string{".bak", ".old", ".orig", ".dist", ".rpmsave", ".rpmnew"}, func(s string) bool { return strings.HasSuffix(name, s) })
}

// open reads one control file; one that cannot be read is noted and counts as missing.
func (r *reader) open(name string) file {
	f := file{path: filepath.Join(r.o.Dir, "control", name)}
	f.File, _ = control.FileNamed(name)
	if f.Name == "" {
		f.File = control.File{Name: name, Kind: kindOf(name)}
	}
	f.data, f.has = r.read(f.path)
	return f
}

// read reads a file of the host; ok is false when it is not there or cannot be read, which is noted.
func (r *reader) read(path string) (data []byte, ok bool) {
	data, err := r.r.File(path)
	return data, err == nil
}

// lineOf returns a line of a file, for notes.
func lineOf(data []byte, n int) string {
	for line := range strings.Lines(string(data)) {
		if n--; n == 0 {
			return strings.TrimRight(line, "\r\n")
		}
	}
	return ""
}

// host returns where a path of the host is on this disk.
func (r *reader) host(path string) string { return filepath.Join("/", r.o.Root, path) }
