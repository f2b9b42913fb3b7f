package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/auth/secrets"
	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/directory/sqlite"
	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/seam"
)

// Stores is the program's verbs' way to a data folder's stores: through the running
// server, or when none runs by opening them under the folder's lock.
type Stores struct {
	Data      string
	Running   bool
	Directory directory.Admin
	Auth      auth.Admin

	as     *seam.Client      // through which all is done as somebody else; nil for the owner
	socket func(Role) string // which of a running server's roles' sockets; nil is adminSocket
	close  []func() error
}

// OpenStores connects to the server of a data folder or opens the stores itself. A
// server that holds the folder and does not answer is named with its pid.
func OpenStores(ctx context.Context, data string) (*Stores, error) {
	running, err := Running(ctx, data)
	if err != nil {
		return nil, err
	}
	s := &Stores{Data: data, Running: running}
	if running {
		s.Directory = seam.Directory{Client: adminClient(data, Directory)}
		s.Auth = seam.AuthAdmin{Client: adminClient(data, Auth)}
		for _, role := range []Role{Directory, Auth} {
			if err := answers(ctx, role, func(ctx context.Context) error { return alive(ctx, data, adminSocket(role)) }); err != nil {
				s.Close()
				return nil, err
			}
		}
		return s, nil
	}
	if err := checkFolder(data); err != nil {
		return nil, err
	}
	if err := s.open(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// checkFolder keeps a verb from making stores where none belong, such as in a folder that was named by mistake: a data folder
// has a configuration or what a server keeps, or nothing yet.
func checkFolder(data string) error {
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

func adminClient(data string, r Role) *seam.Client { return watchedSeam(data, adminSocket(r), r) }

// Running reports whether a server serves the data folder. The error is of a data folder that is not there, or of one
// that this user may not look into.
func Running(ctx context.Context, data string) (bool, error) {
	if _, err := os.Stat(data); err != nil {
		return false, fmt.Errorf("the data folder cannot be used: %w", err)
	}
	c, err := control.Dial(ctx, data, control.Supervisor)
	if err == nil {
		c.Close()
		return true, nil
	}
	if !errors.Is(err, control.ErrNotRunning) {
		return false, err
	}
	return false, nil
}

// open takes the lock and opens the stores as the folder's owner.
func (s *Stores) open(ctx context.Context) error {
	if err := becomeOwner(s.Data); err != nil {
		return err
	}
	lock, err := takeFolder(s.Data)
	if errors.Is(err, fs.ErrLocked) {
		return fmt.Errorf("%w; it does not answer on its control socket: if it hangs, end that process", err)
	}
	if err != nil {
		return err
	}
	s.close = append(s.close, lock.Close)
	for _, dir := range []string{"directory", "auth"} {
		if err := os.MkdirAll(filepath.Join(s.Data, dir), 0o700); err != nil {
			return err
		}
	}
	db, err := sqlite.Open(ctx, sqlite.Options{Path: directoryPath(s.Data)})
	if err != nil {
		return err
	}
	s.Directory = db
	s.close = append(s.close, db.Close)
	o := secrets.Options{Path: filepath.Join(s.Data, "auth", "secrets.db")}
	if f, err := config.Read(ConfigPath(s.Data), nil); err == nil {
		o = f.Auth
	}
	a, err := secrets.Open(ctx, o, secrets.Deps{Directory: db, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	s.Auth = a
	s.close = append(s.close, a.Close)
	return nil
}

// becomeOwner gives root's rights up for those of an unprivileged folder's owner, so
// that no file of another's appears in it. A folder of root's own is put right by serve.
func becomeOwner(data string) error {
	if _, err := os.Stat(data); err != nil {
		return err
	}
	uid, gid, ok := foreignOwner(data)
	if !ok {
		return nil
	}
	return errors.Join(syscall.Setgroups(nil), syscall.Setgid(gid), syscall.Setuid(uid))
}

// foreignOwner returns whose data folder it is, where root works on an unprivileged user's. It is not,
// whoever owns the folder, once a server of root's has given the parts in it to roles.
func foreignOwner(data string) (uid, gid int, ok bool) {
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

// checkOwner tells a user that the data folder cannot be served by him, because root did.
func checkOwner(data string) error {
	part, ok := ownerOf(filepath.Join(data, "queue"))
	if self := os.Getuid(); ok && self != 0 && int(part.Uid) != self {
		return fmt.Errorf("%s belongs to uid %d, this is uid %d: root has served this data folder, or another user; "+
			"serve it as that user, or let root give it back: chown -R %[3]d %[4]s", filepath.Join(data, "queue"), part.Uid, self, data)
	}
	return nil
}

// Close gives the stores back.
func (s *Stores) Close() error {
	var errs []error
	for i := len(s.close) - 1; i >= 0; i-- {
		errs = append(errs, s.close[i]())
	}
	return errors.Join(errs...)
}
