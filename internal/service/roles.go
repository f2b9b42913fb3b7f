// Package service wires the parts into a running server: which roles there are, who
// runs them and as whom, what they listen on, and how they find each other.
//
// A process runs any set of roles. What it needs of a role that it does not run
// itself it reaches over that role's socket, so that one process, one process per
// role, and anything between are the same code.
package service

import (
	"fmt"
	"os/user"
	"strconv"
)

// Role is one part of the server that can run in a process of its own.
type Role string

// The roles, by their place in allRoles; the supervisor starts them in this order and
// stops them in the opposite one.
const (
	Directory Role = "directory"
	Auth      Role = "auth"
	Local     Role = "local"
	Remote    Role = "remote"
	Queue     Role = "queue"
	SMTPD     Role = "smtpd"
	Access    Role = "access"
	Console   Role = "console"

	// RunAs is not among allRoles: it keeps root, and exists only where users of the system are
	// served by roles apart. See role_runas.go.
	RunAs Role = "runas"
)

var allRoles = []Role{Directory, Auth, Local, Remote, Queue, SMTPD, Access, Console}

// AllRoles returns every role in starting order.
func AllRoles() []Role { return append([]Role(nil), allRoles...) }

// ParseRole reads a role's name. The error lists the right ones.
func ParseRole(s string) (Role, error) {
	for _, r := range append(AllRoles(), RunAs) {
		if string(r) == s {
			return r, nil
		}
	}
	return "", fmt.Errorf("there is no role %q: want one of %v", s, allRoles)
}

// number is the role's place in uids and ports; part of the program's interface.
func (r Role) number() int {
	for i, x := range allRoles {
		if x == r {
			return i + 1
		}
	}
	return 0
}

// roleGroups are the groups of keys that each role is given, besides those of
// everyGroup and the keys outside of groups.
var roleGroups = map[Role][]string{
	Auth:    {"auth", "runas"},
	Local:   {"local", "runas", "inject", "dispatch"}, // dispatch: how many deliveries there are at once
	Remote:  {"remote", "dns", "smtp"},                // smtp: where mail would come back
	Queue:   {"queue", "dispatch", "archive", "bounce", "route"},
	SMTPD:   {"inject", "smtp", "submission", "submissions", "lmtp", "policy", "floors", "submit", "content_rules", "archive", "route", "tls", "qmtp", "qmqp", "dns", "dns_lists", "turn"},
	Access:  {"pop3", "pop3s", "local", "tls", "dns", "runas"},
	RunAs:   {"runas"},
	Console: {"metrics", "admin"},
}

var everyGroup = []string{"log", "events", "process", "trial"}

// groupsOf returns the groups that a role is given.
func groupsOf(r Role) []string { return append(append([]string(nil), everyGroup...), roleGroups[r]...) }

// Identity is a role's user and groups.
type Identity struct {
	User   string // "" when there is no such user in the system
	UID    int
	GID    int
	Groups []int
}

// identities are who the roles run as under root.
type identities struct {
	roles map[Role]Identity
	run   int // the group that may connect to the run sockets: all roles
	mail  int // the group that shares the Maildirs: local and access
	tls   int // the group that reads the TLS key: smtpd and access
}

// newIdentities looks the system's users up: postilion-ROLE, with groups postilion,
// postilion-mail and postilion-tls. What does not exist is numbered from base.
func newIdentities(base int) identities {
	ids := identities{roles: map[Role]Identity{},
		run: groupID("postilion", base), mail: groupID("postilion-mail", base+20), tls: groupID("postilion-tls", base+21)}
	for _, r := range allRoles {
		name := "postilion-" + string(r)
		i := Identity{UID: base + r.number(), GID: base + r.number()}
		if u, err := user.Lookup(name); err == nil {
			i.User = name
			i.UID, _ = strconv.Atoi(u.Uid)
			i.GID, _ = strconv.Atoi(u.Gid)
		}
		i.Groups = []int{ids.run}
		if r == Local || r == Access {
			i.Groups = append(i.Groups, ids.mail)
		}
		if r == SMTPD || r == Access {
			i.Groups = append(i.Groups, ids.tls)
		}
		ids.roles[r] = i
	}
	ids.roles[RunAs] = Identity{User: "root"}
	return ids
}

// groups lists the gids that are the server's alone. A role's user that an operator made may be in a group of others too, which
// is not.
func (ids *identities) groups() []int {
	list := []int{ids.run, ids.mail, ids.tls}
	for _, r := range allRoles {
		if i := ids.roles[r]; i.User == "" {
			list = append(list, i.GID)
		}
	}
	return list
}

func groupID(name string, otherwise int) int {
	if g, err := user.LookupGroup(name); err == nil {
		if n, err := strconv.Atoi(g.Gid); err == nil {
			return n
		}
	}
	return otherwise
}
