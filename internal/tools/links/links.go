// Package links makes, checks and removes the symbolic links by which the small programs are
// called. What stands in a link's way is never overwritten: it is refused, or, when forced, set
// aside beside the link, and put back when the link is removed.
package links

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Aside is what follows the name of a file that a link took the place of.
const Aside = ".before-postilion"

// Change is what was done with one name.
type Change struct {
	Path string `json:"path"`
	Done string `json:"done"` // "made", "kept", "removed"
	Note string `json:"note,omitempty"`
}

// Options of Install.
type Options struct {
	Dir    string
	Names  []string
	Target string // the program, an absolute path
	Force  bool   // set aside what stands in the way
}

// Install makes a link for each name. Nothing is changed when a file stands in the way and Force is
// not set: the error names all of them.
func Install(o Options) ([]Change, error) {
	if !filepath.IsAbs(o.Target) {
		return nil, fmt.Errorf("%s: want an absolute path", o.Target)
	}
	if st, err := os.Stat(o.Dir); err != nil {
		return nil, err
	} else if !st.IsDir() {
		return nil, fmt.Errorf("%s is no folder", o.Dir)
	}
	var taken []string
	for _, name := range o.Names {
		path := filepath.Join(o.Dir, name)
		if st, err := os.Lstat(path); err == nil && !ours(path, o.Target) {
			if st.IsDir() {
				return nil, fmt.Errorf("%s is a folder", path)
			}
			taken = append(taken, path)
		}
	}
	if len(taken) > 0 && !o.Force {
		return nil, fmt.Errorf("in the way: %s: name other programs, or set these aside with --force", strings.Join(taken, ", "))
	}
	var done []Change
	for _, name := range o.Names {
		c, err := install(filepath.Join(o.Dir, name), o.Target)
		if err != nil {
			return done, err
		}
		done = append(done, c)
	}
	return done, nil
}

// install makes one link in one step, so that the name is never without a program.
func install(path, target string) (Change, error) {
	if ours(path, target) {
		return Change{Path: path, Done: "kept"}, nil
	}
	c := Change{Path: path, Done: "made"}
	if _, err := os.Lstat(path); err == nil {
		aside := path + Aside
		if _, err := os.Lstat(aside); !errors.Is(err, fs.ErrNotExist) {
			return c, fmt.Errorf("%s is in the way: there is a %s already", path, aside)
		}
		// A second name first: the rename below replaces the first one.
		if err := os.Link(path, aside); err != nil {
			return c, err
		}
		c.Note = "the old one is " + aside
	}
	tmp := path + ".postilion-tmp"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return c, err
	}
	if err := os.Symlink(target, tmp); err != nil {
		return c, err
	}
	return c, os.Rename(tmp, path)
}

// ours says whether path is a link to the target, or to a program of its name: an older version's.
func ours(path, target string) bool {
	to, err := os.Readlink(path)
	return err == nil && (to == target || filepath.Base(to) == filepath.Base(target))
}

// Remove removes the links of a folder that lead to the target, and puts back what they took the
// place of.
func Remove(dir, target string, names []string) ([]Change, error) {
	var done []Change
	for _, name := range names {
		path := filepath.Join(dir, name)
		if !ours(path, target) {
			continue
		}
		c := Change{Path: path, Done: "removed"}
		err := os.Rename(path+Aside, path)
		switch {
		case err == nil:
			c.Note = "the old one is back"
		case errors.Is(err, fs.ErrNotExist):
			err = os.Remove(path)
		}
		if err != nil {
			return done, err
		}
		done = append(done, c)
	}
	return done, nil
}

// Finding is what a path by which other programs hand mail in leads to.
type Finding struct {
	Path  string `json:"path"`
	Ours  bool   `json:"ours"`
	Leads string `json:"leads_to,omitempty"` // the file at the end of all links; "" when it is broken
	Via   string `json:"via,omitempty"`      // the first link, when there is more than one
	Wrong string `json:"problem,omitempty"`
}

// systemPaths are the paths that programs of a host call; qmailBin holds qmail's own.
var systemPaths = [...]string{
	"/usr/sbin/sendmail", "/usr/lib/sendmail", "/usr/bin/sendmail", "/usr/bin/mailq", "/usr/sbin/mailq", "/usr/bin/newaliases", "/usr/sbin/newaliases",
}

const qmailBin = "/var/qmail/bin"

// Check looks at the system's paths below root and tells where those that exist lead.
func Check(root, target string, names []string) []Finding {
	paths := slices.Clone(systemPaths[:])
	entries, err := os.ReadDir(root + qmailBin)
	if err == nil {
		for _, e := range entries {
			if slices.Contains(names, e.Name()) {
				paths = append(paths, qmailBin+"/"+e.Name())
			}
		}
	}
	var found []Finding
	for _, p := range paths {
		if f, ok := check(root, p, target); ok {
			found = append(found, f)
		}
	}
	slices.SortStableFunc(found, func(a, b Finding) int { return cmp.Compare(a.Path, b.Path) })
	return found
}

func check(root, path, target string) (Finding, bool) {
	f := Finding{Path: path}
	st, err := os.Lstat(root + path)
	if err != nil {
		return f, false
	}
	if st.Mode()&fs.ModeSymlink != 0 {
		if to, err := os.Readlink(root + path); err == nil {
			f.Via = to
		}
	}
	leads, err := filepath.EvalSymlinks(root + path)
	if err != nil {
		f.Wrong = "leads nowhere"
		return f, true
	}
	f.Leads = leads
	if real, err := filepath.EvalSymlinks(target); err == nil && real == leads {
		f.Ours = true
	} else if filepath.Base(leads) == filepath.Base(target) {
		f.Ours = true
	}
	return f, true
}
