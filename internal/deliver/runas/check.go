package runas

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/reason"
)

// check refuses users who are never served (qmail reference 8.2, 9.1).
func (u User) check() *reason.Error {
	switch {
	case u.UID == 0:
		return reason.DeliverAsRoot
	case u.UID == ^uint32(0) || u.GID == ^uint32(0): // setfsuid(2) and chown(2) take it for "no change"
		return reason.DeliverAsRoot
	case !filepath.IsAbs(u.Home) || strings.IndexByte(u.Home, 0) >= 0:
		return reason.HomeNotAbsolute
	}
	return nil
}

// rule tells whom a service may become.
type rule struct {
	self     bool            // not root: only the process's own user
	reserved map[uint32]bool // the server's own uids
	groups   *groups         // nil refuses none: who is self gives no group
}

// check refuses what cannot or shall not be.
func (r rule) check(u User) *reason.Error {
	if err := u.check(); err != nil {
		return err
	}
	if r.reserved[u.UID] {
		return reason.RunasReserved.With(u.title())
	}
	if r.self && u.UID != uint32(os.Geteuid()) {
		return reason.RunasOnlyOwn.With(u.title(), "uid "+strconv.Itoa(os.Geteuid()))
	}
	return r.groups.check(u)
}

// title names a user for people.
func (u User) title() string {
	if u.Name != "" {
		return u.Name
	}
	return "uid " + strconv.FormatUint(uint64(u.UID), 10)
}

// local reports whether a name stays below the root by its spelling.
func local(name string) bool { return filepath.IsLocal(name) && strings.IndexByte(name, 0) < 0 }
