// Package owners is who the roles are to the system where root serves, and what follows from it: which role each part of the data folder
// belongs to, and which files that keys name a role may not use.
//
// Root works here where a role, or somebody who broke into one, may be at work too: no name is followed out of the data folder, and
// nothing is given away that is not the server's.
package owners

import (
	"os/user"
	"strconv"

	"github.com/postilion/postilion/internal/role"
)

// Identity is a role's user and groups.
type Identity struct {
	User   string // "" when there is no such user in the system
	UID    int
	GID    int
	Groups []int
}

// IDs are who the roles run as under root.
type IDs struct {
	roles map[role.Role]Identity
	Run   int // the group that may connect to the run sockets: all roles
	mail  int // the group that shares the Maildirs: local and access
	TLS   int // the group that reads the TLS key: smtpd and access
}

// New looks the system's users up: postilion-ROLE, with groups postilion,
// postilion-mail and postilion-tls. What does not exist is numbered from base.
func New(base int) *IDs {
	ids := &IDs{roles: map[role.Role]Identity{},
		Run: groupID("postilion", base), mail: groupID("postilion-mail", base+20), TLS: groupID("postilion-tls", base+21)}
	for _, r := range role.All() {
		name := "postilion-" + string(r)
		i := Identity{UID: base + r.Number(), GID: base + r.Number()}
		if u, err := user.Lookup(name); err == nil {
			i.User = name
			i.UID, _ = strconv.Atoi(u.Uid)
			i.GID, _ = strconv.Atoi(u.Gid)
		}
		i.Groups = []int{ids.Run}
		if r == role.Local || r == role.Access {
			i.Groups = append(i.Groups, ids.mail)
		}
		if r == role.SMTPD || r == role.Access {
			i.Groups = append(i.Groups, ids.TLS)
		}
		ids.roles[r] = i
	}
	ids.roles[role.RunAs] = Identity{User: "root"}
	return ids
}

// Of returns who a role runs as.
func (ids *IDs) Of(r role.Role) Identity { return ids.roles[r] }

// GIDs lists the gids that are the server's alone. A role's user that an operator made may be in a group of others too, which
// is not.
func (ids *IDs) GIDs() []int {
	list := []int{ids.Run, ids.mail, ids.TLS}
	for _, r := range role.All() {
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
