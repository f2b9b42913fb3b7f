package datafolder

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/control"
)

// This file is whose a data folder is. Nobody works on it in a way that leaves files which its owner cannot use.

// Check keeps a verb from making stores where none belong, such as in a folder that was named by mistake: a data folder
// has a configuration or what a server keeps, or nothing yet.
func Check(data string) error {
	list, err := os.ReadDir(data)
	if err != nil || len(list) == 0 {
		return nil // who opens the stores meets the error
	}
	for _, e := range list {
		switch e.Name() {
		case config.FileName, control.LockFile, "directory", "queue":
			return nil
		}
	}
	return fmt.Errorf("%s is no data folder: there is neither a %s in it nor what a server keeps; name yours with --data", data, config.FileName)
}

// becomeOwner gives root's rights up for those of an unprivileged folder's owner, so
// that no file of another's appears in it. A folder of root's own is put right by serve.
func becomeOwner(data string) error {
	if _, err := os.Stat(data); err != nil {
		return err
	}
	uid, gid, ok := ForeignOwner(data)
	if !ok {
		return nil
	}
	return errors.Join(syscall.Setgroups(nil), syscall.Setgid(gid), syscall.Setuid(uid))
}

// ForeignOwner returns whose data folder it is, where root works on an unprivileged user's. It is not,
// whoever owns the folder, once a server of root's has given the parts in it to roles.
func ForeignOwner(data string) (uid, gid int, ok bool) {
	owner, ok := ownerOf(data)
	if !ok || os.Getuid() != 0 || owner.Uid == 0 {
		return 0, 0, false
	}
	if part, ok := ownerOf(filepath.Join(data, "queue")); ok && part.Uid != owner.Uid {
		return 0, 0, false
	}
	return int(owner.Uid), int(owner.Gid), true
}

func ownerOf(path string) (*syscall.Stat_t, bool) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, false
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	return sys, ok
}

// CheckOwner tells a user that the data folder cannot be served by him, because root did.
func CheckOwner(data string) error {
	part, ok := ownerOf(filepath.Join(data, "queue"))
	if self := os.Getuid(); ok && self != 0 && int(part.Uid) != self {
		return fmt.Errorf("%s belongs to uid %d, this is uid %d: root has served this data folder, or another user; "+
			"serve it as that user, or let root give it back: chown -R %[3]d %[4]s", filepath.Join(data, "queue"), part.Uid, self, data)
	}
	return nil
}
