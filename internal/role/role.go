// Package role names the parts of the server that can run in processes of their own, and what others find them by: their
// services and their sockets. The names are interface: users, folders, log lines and verbs use them.
package role

import (
	"fmt"
	"slices"
)

// Role is one part of the server that can run in a process of its own.
type Role string

// The roles, by their place in All; the supervisor starts them in this order and
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

	// RunAs is not in All: it keeps root, and exists only where users of the system are
	// served by roles apart.
	RunAs Role = "runas"
)

// All returns every role in starting order.
func All() []Role {
	return []Role{Directory, Auth, Local, Remote, Queue, SMTPD, Access, Console}
}

// Parse reads a role's name. The error lists the right ones.
func Parse(s string) (Role, error) {
	for _, r := range append(All(), RunAs) {
		if string(r) == s {
			return r, nil
		}
	}
	return "", fmt.Errorf("there is no role %q: want one of %v", s, All())
}

// Number is the role's place in uids, from 1 on; part of the program's interface. That of no role, and of RunAs, is 0.
func (r Role) Number() int { return slices.Index(All(), r) + 1 }

// A role has a Unix socket of its name, for other roles, and these.

// AdminSocket names the one for the verbs of the server's owner.
func (r Role) AdminSocket() string { return string(r) + "-admin" }

// OfficeSocket names the one for what role console does on behalf of others.
func (r Role) OfficeSocket() string { return string(r) + "-office" }

// HandedSocket names the one for connections that other programs have accepted.
func (r Role) HandedSocket() string { return string(r) + "-handed" }

// Serving tells which role serves the clients of a service.
func Serving(service string) (Role, bool) {
	switch service {
	case "smtp", "submission", "submissions", "lmtp", "qmtp", "qmqp":
		return SMTPD, true
	case "pop3", "pop3s":
		return Access, true
	case "metrics":
		return Console, true
	}
	return "", false
}
