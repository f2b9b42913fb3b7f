package verbs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/postilion/postilion/internal/control/rolecall"
	"github.com/postilion/postilion/internal/datafolder"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/rpc"
)

// Backup copies the queue, the directory, the passwords and the configuration of a
// data folder into the new folder dir, whether a server runs or not. Each is consistent
// in itself, and on disk when Backup returns; after an error nothing of it is left.
// A server on the copy starts with every message held. The configuration is that of file, where there is one.
func Backup(ctx context.Context, data, file, dir string) (err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return err
	}
	running, err := datafolder.Running(ctx, data)
	if err != nil {
		return err
	}
	if !running {
		if err := datafolder.Check(data); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: want the name of a new folder", dir)
	} else if err != nil {
		return err
	}
	if uid, gid, ok := datafolder.ForeignOwner(data); ok && !running { // it is written with those rights
		if err := os.Chown(dir, uid, gid); err != nil {
			return errors.Join(err, os.Remove(dir))
		}
	}
	// Each part's owner can write into its own folder only: the copy is made there and moved.
	b := backup{data: data, file: file, dir: dir, name: "backup-" + strings.ToLower(id.Source{}.New().String())}
	if err := b.make(ctx, running); err != nil {
		return errors.Join(err, b.remove())
	}
	return nil
}

// backup is one copy being made: its parts lie below the data folder's parts as name at first.
type backup struct{ data, file, dir, name string }

func (b *backup) make(ctx context.Context, running bool) error {
	if err := backupQueue(ctx, b.data, filepath.Join(b.data, "queue", b.name)); err != nil {
		return rolecall.About(role.Queue, err)
	}
	if err := b.move("queue", "queue"); err != nil {
		return err
	}
	if err := backupDatabases(ctx, b.data, b.name, running); err != nil {
		return err
	}
	if err := errors.Join(b.move("directory", "directory/directory.db"), b.move("auth", "auth/secrets.db")); err != nil {
		return err
	}
	p, err := os.ReadFile(b.file)
	switch {
	case errors.Is(err, fs.ErrNotExist): // it lies elsewhere, which who asked is told
	case err != nil:
		return err
	default:
		if err := os.WriteFile(datafolder.ConfigPath(b.dir), p, 0o600); err != nil {
			return err
		}
	}
	return errors.Join(syncTree(b.dir), osfs.Sync(filepath.Dir(b.dir)))
}

// move takes the copy of a part to its place in the backup.
func (b *backup) move(part, to string) error {
	to = filepath.Join(b.dir, to)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	return moveTree(filepath.Join(b.data, part, b.name), to)
}

// remove takes away what a backup that failed has left. The parts have names of their own.
func (b *backup) remove() error {
	errs := []error{os.RemoveAll(b.dir)}
	for _, part := range []string{"queue", "directory", "auth"} {
		if err := os.RemoveAll(filepath.Join(b.data, part, b.name)); !errors.Is(err, fs.ErrPermission) {
			errs = append(errs, err) // who may not look there has made nothing there
		}
	}
	return errors.Join(errs...)
}

// syncTree syncs every file and folder below dir, and dir.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return osfs.Sync(path)
	})
}

func backupQueue(ctx context.Context, data, to string) error {
	q, err := OpenQueue(ctx, data)
	if err != nil {
		return err
	}
	return errors.Join(q.Backup(ctx, to), q.Close())
}

func backupDatabases(ctx context.Context, data, name string, running bool) error {
	paths := map[role.Role]string{role.Directory: filepath.Join(data, "directory", name), role.Auth: filepath.Join(data, "auth", name)}
	if running {
		var errs []error
		for r, path := range paths {
			cl := rolecall.Client(data, r.AdminSocket(), r)
			_, err := rpc.Do[string, none](ctx, cl, rolecall.MethodSnapshot, path)
			cl.Close()
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}
	s, err := OpenStores(ctx, data)
	if err != nil {
		return err
	}
	var errs []error
	for r, backup := range s.backups {
		errs = append(errs, backup(ctx, paths[r]))
	}
	return errors.Join(append(errs, s.Close())...)
}

// moveTree renames a file or folder, or copies and removes it where it is moved to another file system.
func moveTree(from, to string) error {
	if err := os.Rename(from, to); err == nil {
		return nil
	}
	st, err := os.Stat(from)
	if err != nil {
		return err
	}
	if st.IsDir() {
		err = os.CopyFS(to, os.DirFS(from))
	} else {
		var p []byte
		if p, err = os.ReadFile(from); err == nil {
			err = os.WriteFile(to, p, 0o600)
		}
	}
	if err != nil {
		return err
	}
	return os.RemoveAll(from)
}
