// Package lint finds what is wrong with the files of a qmail installation before mail finds
// it: settings that contradict each other or do nothing, databases older than their texts,
// users and aliases that get no mail, instructions that mean something else than they seem to
// (qmail reference 2 to 9, 18, 22, 26). It reads only, through a tree of files that is
// given to it, and asks DNS only through what is given to it.
package lint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/postilion/postilion/internal/qmail"
)

// Level is how bad a finding is.
type Level string

const (
	Wrong   Level = "wrong"   // mail is lost, refused, waits or is relayed for anybody
	Warning Level = "warning" // something does not do what it looks like
)

// Finding is one thing that is wrong.
type Finding struct {
	File        string `json:"file"`           // its path on the host
	Line        int    `json:"line,omitempty"` // from 1; 0 for the whole file
	Level       Level  `json:"level"`
	Case        string `json:"case"`        // a stable name of the kind of finding
	What        string `json:"what"`        // what was found
	Consequence string `json:"consequence"` // what it does to mail
	Cure        string `json:"cure"`        // what to do
}

// Where returns FILE:LINE, or FILE.
func (f Finding) Where() string { return qmail.Place{File: f.File, Line: f.Line}.String() }

// Tree is the files to look at.
type Tree struct {
	Root  fs.FS  // the host's files from "/" on, or those below a prefix
	Qmail string // the installation's path on the host; "" means /var/qmail
}

// Deps is what the lint asks beside files. A nil one is not asked, and its cases are left out.
type Deps struct {
	// MX returns the hosts that take a domain's mail; the domain itself where it has no MX.
	MX func(ctx context.Context, domain string) ([]string, error)
	// Addresses returns a host's addresses.
	Addresses func(ctx context.Context, host string) ([]netip.Addr, error)
	// Own reports whether an address is this host's.
	Own func(netip.Addr) bool
	// Owner returns a file's owner.
	Owner func(fs.FileInfo) (uid uint32, ok bool)
}

// Check returns what is wrong, ordered by file and line. It fails only when it is interrupted.
func Check(ctx context.Context, t Tree, d Deps) ([]Finding, error) {
	t.Qmail = cmp.Or(t.Qmail, "/var/qmail")
	l := &linter{tree: t, deps: d, qmail: path.Clean("/" + t.Qmail)}
	for _, step := range []func(context.Context){l.control, l.hosts, l.compiled, l.rules, l.users, l.groups, l.aliasHome, l.mailAliases, l.homes, l.exchangers} {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		step(ctx)
	}
	slices.SortStableFunc(l.found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return slices.Compact(l.found), ctx.Err()
}

// linter is one run. What several steps need is read once, by the step that comes first.
type linter struct {
	tree  Tree
	deps  Deps
	qmail string // the installation's path on the host
	found []Finding

	lists    lists
	accounts accounts
}

// at returns the path of a file of the installation.
func (l *linter) at(name string) string { return l.qmail + "/" + name }

func (l *linter) add(f Finding) { l.found = append(l.found, f) }

// wrong and warn add findings about a place of the host.
func (l *linter) wrong(at qmail.Place, kind, what, consequence, cure string) {
	l.add(Finding{at.File, at.Line, Wrong, kind, what, consequence, cure})
}

func (l *linter) warn(at qmail.Place, kind, what, consequence, cure string) {
	l.add(Finding{at.File, at.Line, Warning, kind, what, consequence, cure})
}

// inTree returns a host's path as the tree has it.
func inTree(file string) string {
	return cmp.Or(strings.TrimPrefix(path.Clean("/"+file), "/"), ".")
}

// maxFile bounds what is read of a file, in bytes.
const maxFile = 64 << 20

// read returns a file's content; ok is false where it is missing. One that cannot be read is a
// finding, and counts as missing.
func (l *linter) read(file string) (data []byte, ok bool) {
	f, err := l.tree.Root.Open(inTree(file))
	if err == nil {
		data, err = io.ReadAll(io.LimitReader(f, maxFile+1))
		f.Close()
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, false
	case err == nil && len(data) > maxFile:
		err = fmt.Errorf("it is larger than %d bytes", maxFile)
	}
	if err != nil {
		l.wrong(qmail.Place{File: file}, "unreadable", "it cannot be read: "+cause(err), "what it says is not known, here or to the programs that need it", "mend the file and its rights")
		return nil, false
	}
	return data, true
}

// cause leaves the path out, which the finding names already.
func cause(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// stat returns what a file is; ok is false where it is missing or out of reach.
func (l *linter) stat(file string) (fs.FileInfo, bool) {
	info, err := fs.Stat(l.tree.Root, inTree(file))
	return info, err == nil
}

// exists reports whether a file is there.
func (l *linter) exists(file string) bool {
	_, ok := l.stat(file)
	return ok
}
