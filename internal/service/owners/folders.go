package owners

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/datafolder"
	"github.com/postilion/postilion/internal/role"
)

// folder is one folder of the data folder with the role that owns it.
type folder struct {
	name  string
	role  role.Role // "" for the supervisor's own
	group string
	mode  fs.FileMode
	deep  bool // what is inside belongs to the role alone and is given to it too
}

// folders is the layout of the data folder when roles run under uids of their own. In
// a single process everything belongs to its user.
var folders = []folder{
	{name: control.RunFolder, mode: 0o711},
	{name: "queue", role: role.Queue, mode: 0o700, deep: true},
	{name: "directory", role: role.Directory, mode: 0o700, deep: true},
	{name: "auth", role: role.Auth, mode: 0o700, deep: true},
	{name: "mail", role: role.Local, group: "mail", mode: fs.ModeSetgid | 0o770},
	{name: datafolder.Policies, role: role.Remote, mode: 0o700, deep: true},
	{name: "tls", role: role.SMTPD, group: "tls", mode: 0o750, deep: true},
	{name: "events", mode: 0o711},
	{name: "log", group: "run", mode: fs.ModeSticky | 0o770},
}

// MakeFolders makes the data folder's layout. With ids every folder is given to its role.
func MakeFolders(data string, ids *IDs) error {
	if ids != nil {
		// Its names are no secret, and each role opens it.
		if err := os.Chmod(data, 0o755); err != nil {
			return err
		}
	}
	all := append([]folder(nil), folders...)
	for _, r := range role.All() {
		all = append(all, folder{name: "events/" + string(r), role: r, mode: 0o700, deep: true})
	}
	for _, f := range all {
		path := filepath.Join(data, f.name)
		mode := f.mode
		if ids == nil && f.name != control.RunFolder { // which holds a socket for every user
			mode = 0o700
		}
		if err := os.MkdirAll(path, 0o700); err != nil {
			return err
		}
		if ids != nil {
			if err := give(path, f, ids); err != nil {
				return err
			}
		}
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
	}
	if ids != nil {
		return giveLogs(filepath.Join(data, "log"), ids)
	}
	return nil
}

// giveLogs gives each role its log files, FILE.ROLE and FILE.ROLE.N: their uids are others
// after a move to another host, or once the system has users for them.
func giveLogs(dir string, ids *IDs) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		name := strings.TrimRight(e.Name(), ".0123456789")
		i, ok := ids.roles[role.Role(strings.TrimPrefix(filepath.Ext(name), "."))]
		if !ok || !e.Type().IsRegular() {
			continue
		}
		if err := (&heir{uid: i.UID, gid: i.GID}).tree(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// Give gives a folder to one role, with all that is in it.
func Give(path string, r role.Role, ids *IDs) error {
	return give(path, folder{role: r, deep: true}, ids)
}

// give changes the owner of a folder, and of its content where only its role uses it. Links
// are given, not followed.
func give(path string, f folder, ids *IDs) error {
	uid, gid := os.Getuid(), os.Getgid()
	if f.role != "" {
		uid, gid = ids.roles[f.role].UID, ids.roles[f.role].GID
	}
	switch f.group {
	case "mail":
		return shareMail(path, uid, ids.mail)
	case "tls":
		gid = ids.TLS
	case "run":
		gid = ids.Run
	}
	if !f.deep {
		return os.Lchown(path, uid, gid)
	}
	return (&heir{uid: uid, gid: gid}).tree(path)
}

// CheckReachable reports a folder on the way to data that the roles' uids cannot pass.
func CheckReachable(data string) error {
	for dir := filepath.Dir(filepath.Clean(data)); ; dir = filepath.Dir(dir) {
		st, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if st.Mode().Perm()&0o001 == 0 {
			return fmt.Errorf("roles run under uids of their own and cannot reach %s: %s has mode %04o; "+
				"give others the right to pass (chmod o+x %s), choose another data folder, or use --single",
				data, dir, st.Mode().Perm(), dir)
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}
