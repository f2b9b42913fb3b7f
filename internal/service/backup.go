package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/rpc"
)

// methodSnapshot has a role copy its database into the new file named.
const methodSnapshot = "role.snapshot"

// snapshotter is a store that copies itself while it is in use.
type snapshotter interface {
	Backup(ctx context.Context, path string) error
}

// snapshotHandler serves methodSnapshot.
func snapshotHandler(s snapshotter) rpc.Handler {
	return rpc.Handle(func(ctx context.Context, path string) (none, error) { return none{}, s.Backup(ctx, path) })
}

// Backup copies the queue, the directory, the passwords and the configuration of a
// data folder into the new folder dir, whether a server runs or not. Each is consistent
// in itself. A server on the copy starts with every message held.
func Backup(ctx context.Context, data, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	running, err := Running(ctx, data)
	if err != nil {
		return err
	}
	// Each part's owner can write into its own folder only: the copy is made there and moved.
	name := "backup-" + strings.ToLower(id.Source{}.New().String())
	move := func(from, to string) error {
		to = filepath.Join(dir, to)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		return moveTree(filepath.Join(data, from), to)
	}
	if err := backupQueue(ctx, data, filepath.Join(data, "queue", name)); err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	if err := move("queue/"+name, "queue"); err != nil {
		return err
	}
	if err := backupDatabases(ctx, data, name, running); err != nil {
		return err
	}
	if err := errors.Join(move("directory/"+name, "directory/directory.db"), move("auth/"+name, "auth/secrets.db")); err != nil {
		return err
	}
	p, err := os.ReadFile(ConfigPath(data))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it lies elsewhere
	}
	if err != nil {
		return err
	}
	return os.WriteFile(ConfigPath(dir), p, 0o600)
}

func backupQueue(ctx context.Context, data, to string) error {
	q, err := OpenQueue(ctx, data)
	if err != nil {
		return err
	}
	_, err = rpc.Do[string, none](ctx, q.client, methodBackup, to)
	return errors.Join(err, q.Close())
}

func backupDatabases(ctx context.Context, data, name string, running bool) error {
	paths := map[Role]string{Directory: filepath.Join(data, "directory", name), Auth: filepath.Join(data, "auth", name)}
	if running {
		var errs []error
		for r, path := range paths {
			cl := control.Client(data, adminSocket(r))
			_, err := rpc.Do[string, none](ctx, cl, methodSnapshot, path)
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
	for r, store := range map[Role]any{Directory: s.Directory, Auth: s.Auth} {
		if b, ok := store.(snapshotter); ok {
			errs = append(errs, b.Backup(ctx, paths[r]))
		}
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
