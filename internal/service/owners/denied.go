package owners

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/datafolder"
	"github.com/postilion/postilion/internal/deliver/runas"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/service/certs"
)

// Root, who checks the configuration, may do anything with the files that keys name; the roles, which use them under uids of
// their own, may not. That is told before they run, not by a role that does not come up.

// Denied is a file that a key names and a role may not use.
type Denied struct {
	Key, Path string
	Use       string // "read"; "run", a filter; "write", the log
	Role      role.Role
	User      string // the role's, or "uid 64106"
	Down      bool   // the role does not run without it; else mail is put off
}

// String says what is wrong.
func (d Denied) String() string {
	return fmt.Sprintf("%s: role %s (%s) may not %s it", d.Path, d.Role, d.User, d.Use)
}

// Cure says what to do.
func (d Denied) Cure() string {
	if d.Use == "write" {
		return "name a file in a folder of the log's own, such as /var/log/postilion/postilion.log: it is made where there is none"
	}
	return fmt.Sprintf("let %s %s %s and pass the folders above it", d.User, d.Use, d.Path)
}

// namedFile is a file that a key names, and who reads it.
type namedFile struct {
	key, path string
	run       bool // it is a program
	roles     []role.Role
	down      bool
}

// namedFiles lists the files that keys name and roles open by themselves. The certificate is not among them: it is
// handed to its roles.
func namedFiles(c *config.Config) (list []namedFile) {
	add := func(down bool, key string, paths []string, roles ...role.Role) {
		for _, p := range paths {
			if filepath.IsAbs(p) { // others are told of already
				list = append(list, namedFile{key: key, path: p, roles: roles, down: down})
			}
		}
	}
	add(true, "remote.ca_file", []string{c.Remote.CAFile}, role.Remote)
	for _, r := range []struct {
		group string
		rules []string
	}{
		{"smtp", c.SMTP.Rules}, {"submission", c.Submission.Rules}, {"submissions", c.Submissions.Rules}, {"lmtp", c.LMTP.Rules},
		{"qmtp", c.QMTP.Rules}, {"qmqp", c.QMQP.Rules},
	} {
		add(true, r.group+".access_rules", withoutFormat(r.rules), role.SMTPD)
	}
	add(true, "content_rules.files", withoutFormat(c.Content.Files), role.SMTPD)
	add(true, "local.quota.warn_text", []string{c.Local.Quota.Text}, role.Local)
	if c.TLS.ACME {
		add(true, "tls.acme_roots", []string{c.TLS.ACMERoots}, role.SMTPD)
	}
	r := &c.Route
	add(false, "route.routes_file", []string{r.RoutesFile}, role.SMTPD, role.Queue)
	add(false, "route.locals_file", []string{r.LocalsFile}, role.SMTPD, role.Queue)
	add(false, "route.virtual_domains_file", []string{r.VirtualDomainsFile}, role.SMTPD, role.Queue)
	add(false, "route.percent_hack_file", []string{r.PercentHackFile}, role.SMTPD, role.Queue)
	add(false, "route.alias_files", r.AliasFiles, role.SMTPD, role.Queue)
	add(false, "route.virtusertable", []string{r.VirtUserTable}, role.SMTPD, role.Queue)
	add(false, "route.access", []string{r.Access}, role.SMTPD, role.Queue)
	if filter, _, _ := strings.Cut(strings.TrimSpace(c.Submit.Filter), " "); filepath.IsAbs(filter) && isProgram(filter) {
		list = append(list, namedFile{key: "submit.filter", path: filter, run: true, roles: []role.Role{role.SMTPD}})
	}
	return list
}

// isProgram reports whether anybody may run a file.
func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// withoutFormat takes the words before the paths off, such as access:PATH.
func withoutFormat(list []string) []string {
	paths := make([]string, len(list))
	for i, e := range list {
		_, path, found := strings.Cut(e, ":")
		if !found {
			path = e
		}
		paths[i] = path
	}
	return paths
}

// DeniedFiles lists what keys name and the roles of a configuration that root serves may not use. Without root, or
// with all roles in one process, it is nil: who checks is who uses them.
func DeniedFiles(c *config.Config) []Denied {
	if os.Getuid() != 0 || c.Process.Single {
		return nil
	}
	if _, _, ok := datafolder.ForeignOwner(c.Data); ok {
		return nil // its owner's
	}
	ids := New(c.Process.UIDBase)
	return append(deniedFiles(c, ids), deniedLog(c, ids)...)
}

func deniedFiles(c *config.Config, ids *IDs) (list []Denied) {
	for _, f := range namedFiles(c) {
		for _, r := range f.roles {
			use, mode := "read", uint32(unix.R_OK)
			if f.run {
				use, mode = "run", unix.X_OK
			}
			if user, denied := ids.denied(r, f.path, mode); denied {
				list = append(list, Denied{Key: f.key, Path: f.path, Use: use, Role: r, User: user, Down: f.down})
			}
		}
	}
	return list
}

// deniedLog names one role that cannot open its log. Those in the data folder's own log/ every start gives to their roles, so
// that whose they are before it says nothing: roles may have got users of their own since, or have been one process.
func deniedLog(c *config.Config, ids *IDs) []Denied {
	if c.Log.To != "file" || filepath.Dir(c.InData(c.Log.File)) == filepath.Join(c.Data, "log") {
		return nil
	}
	for _, r := range role.All() {
		path, ask, mode := c.InData(c.Log.File)+"."+string(r), "", uint32(unix.W_OK)
		if ask = path; !exists(path) { // the role makes it
			ask, mode = filepath.Dir(path), unix.W_OK|unix.X_OK
		}
		if user, denied := ids.denied(r, ask, mode); denied {
			return []Denied{{Key: "log.file", Path: path, Use: "write", Role: r, User: user, Down: true}}
		}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// denied reports whether the system refuses a role a file for its rights alone. Whatever else is wrong is told by who uses it.
func (ids *IDs) denied(r role.Role, path string, mode uint32) (user string, denied bool) {
	i := ids.roles[r]
	err := runas.As(i.UID, i.GID, i.Groups, func() error { return unix.Faccessat(unix.AT_FDCWD, path, mode, unix.AT_EACCESS) })
	return cmp.Or(i.User, fmt.Sprintf("uid %d", i.UID)), errors.Is(err, unix.EACCES)
}

// MakeLogFolder makes the folder of a log that lies elsewhere than in log/, for all roles as that one is. One that is there
// is the operator's.
func MakeLogFolder(c *config.Config, ids *IDs) error {
	dir := filepath.Dir(c.InData(c.Log.File))
	if c.Log.To != "file" || exists(dir) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	return errors.Join(os.Mkdir(dir, 0o700), os.Lchown(dir, os.Getuid(), ids.Run), os.Chmod(dir, os.ModeSticky|0o770))
}

// CheckFiles refuses files that the server does not run with, each with the place of its key, and logs those that mail waits
// for. In a single process ids is nil. A certificate that is not there yet is made.
func CheckFiles(f *config.File, ids *IDs, log *slog.Logger) error {
	var problems config.Problems
	wrong := func(key, text string) {
		at := f.Origins[key]
		problems = append(problems, config.Problem{File: at.File, Line: at.Line, Key: key, Text: "key " + key + ": " + text})
	}
	if err := certs.Check(f.Config); err != nil {
		wrong("tls.cert", err.Error())
	}
	if ids != nil {
		for _, d := range append(deniedFiles(f.Config, ids), deniedLog(f.Config, ids)...) {
			if d.Down {
				wrong(d.Key, d.String()+": "+d.Cure())
			} else {
				log.Error("mail waits: a role may not use a file of the configuration", "key", d.Key, "error", d.String()+": "+d.Cure())
			}
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return problems
}
