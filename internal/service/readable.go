package service

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/deliver/runas"
)

// Root, who checks the configuration, reads every file that a key names; the roles, which use them under uids of
// their own, may not. That is told before they run, not by a role that does not come up.

// Unreadable is a file that a key names and a role cannot read.
type Unreadable struct {
	Key, Path string
	Role      Role
	User      string // the role's, or "uid 64106"
	Down      bool   // the role does not run without it; else mail is put off until it can be read
}

// String says what is wrong.
func (u Unreadable) String() string {
	return fmt.Sprintf("%s: role %s (%s) may not read it", u.Path, u.Role, u.User)
}

// Cure says what to do.
func (u Unreadable) Cure() string {
	return fmt.Sprintf("let %s read %s and pass the folders above it", u.User, u.Path)
}

// namedFile is a file that a key names, and who reads it.
type namedFile struct {
	key, path string
	roles     []Role
	down      bool
}

// namedFiles lists the files that keys name and roles open by themselves. The certificate is not among them: it is
// handed to its roles.
func namedFiles(c *config.Config) (list []namedFile) {
	add := func(down bool, key string, paths []string, roles ...Role) {
		for _, p := range paths {
			if filepath.IsAbs(p) { // others are told of already
				list = append(list, namedFile{key, p, roles, down})
			}
		}
	}
	add(true, "remote.ca_file", []string{c.Remote.CAFile}, Remote)
	for _, r := range []struct {
		group string
		rules []string
	}{
		{"smtp", c.SMTP.Rules}, {"submission", c.Submission.Rules}, {"submissions", c.Submissions.Rules}, {"lmtp", c.LMTP.Rules},
		{"qmtp", c.QMTP.Rules}, {"qmqp", c.QMQP.Rules},
	} {
		add(true, r.group+".access_rules", withoutFormat(r.rules), SMTPD)
	}
	add(true, "content_rules.files", withoutFormat(c.Content.Files), SMTPD)
	add(true, "local.quota.warn_text", []string{c.Local.Quota.Text}, Local)
	if c.TLS.ACME {
		add(true, "tls.acme_roots", []string{c.TLS.ACMERoots}, SMTPD)
	}
	r := &c.Route
	add(false, "route.routes_file", []string{r.RoutesFile}, SMTPD, Queue)
	add(false, "route.locals_file", []string{r.LocalsFile}, SMTPD, Queue)
	add(false, "route.virtual_domains_file", []string{r.VirtualDomainsFile}, SMTPD, Queue)
	add(false, "route.percent_hack_file", []string{r.PercentHackFile}, SMTPD, Queue)
	add(false, "route.alias_files", r.AliasFiles, SMTPD, Queue)
	add(false, "route.virtusertable", []string{r.VirtUserTable}, SMTPD, Queue)
	add(false, "route.access", []string{r.Access}, SMTPD, Queue)
	return list
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

// UnreadableFiles lists what keys name and the roles of a configuration that root serves cannot read. Without root, or
// with all roles in one process, it is nil: who checks is who reads.
func UnreadableFiles(c *config.Config) []Unreadable {
	if os.Getuid() != 0 || c.Process.Single {
		return nil
	}
	if _, _, ok := foreignOwner(c.Data); ok {
		return nil // its owner's
	}
	ids := newIdentities(c.Process.UIDBase)
	return unreadableBy(c, &ids)
}

func unreadableBy(c *config.Config, ids *identities) (list []Unreadable) {
	for _, f := range namedFiles(c) {
		for _, r := range f.roles {
			i := ids.roles[r]
			if err := runas.Open(i.UID, i.GID, i.Groups, f.path); errors.Is(err, syscall.EACCES) {
				user := cmp.Or(i.User, fmt.Sprintf("uid %d", i.UID))
				list = append(list, Unreadable{Key: f.key, Path: f.path, Role: r, User: user, Down: f.down})
			}
		}
	}
	return list
}

// checkReadable refuses files that roles need and cannot read, each with the place of its key, and logs the others.
func (n *Node) checkReadable() error {
	list := unreadableBy(n.cfg, n.ids)
	var problems config.Problems
	for _, u := range list {
		if !u.Down {
			n.log.Error("mail waits: a file of the configuration cannot be read", "key", u.Key, "error", u.String()+": "+u.Cure())
			continue
		}
		at := n.file.Origins[u.Key]
		problems = append(problems, config.Problem{File: at.File, Line: at.Line, Key: u.Key, Text: fmt.Sprintf("key %s: %s: %s", u.Key, u, u.Cure())})
	}
	if len(problems) == 0 {
		return nil
	}
	return problems
}
