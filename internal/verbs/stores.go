// Package verbs is what the program's verbs do to a data folder. The rule it keeps: where a server runs on the folder, all goes through
// it, by the sockets of its roles; where none does, the verb takes the folder's lock, becomes the folder's owner and opens the
// stores itself. Who calls cannot tell, but that nothing is delivered then.
package verbs

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/auth/secrets"
	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/control/rolecall"
	"github.com/postilion/postilion/internal/datafolder"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/directory/sqlite"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/seam"
)

// Stores is the program's verbs' way to a data folder's stores: through the running
// server, or when none runs by opening them under the folder's lock.
type Stores struct {
	Data      string
	Running   bool
	Directory directory.Admin
	Auth      auth.Admin

	as    *seam.Client // through which all is done as somebody else; nil for the owner
	close []func() error

	removals directory.Removals // of stores opened here

	// Of stores opened here: each copies itself into a new file.
	backups map[role.Role]func(ctx context.Context, path string) error
}

// OpenStores connects to the server of a data folder or opens the stores itself. A
// server that holds the folder and does not answer is named with its pid.
func OpenStores(ctx context.Context, data string) (*Stores, error) {
	running, err := datafolder.Running(ctx, data)
	if err != nil {
		return nil, err
	}
	s := &Stores{Data: data, Running: running}
	if running {
		s.Directory = seam.Directory{Client: adminClient(data, role.Directory)}
		s.Auth = seam.AuthAdmin{Client: adminClient(data, role.Auth)}
		for _, r := range []role.Role{role.Directory, role.Auth} {
			if err := rolecall.Answers(ctx, r, func(ctx context.Context) error { return rolecall.Alive(ctx, data, r.AdminSocket()) }); err != nil {
				s.Close()
				return nil, err
			}
		}
		return s, nil
	}
	if err := datafolder.Check(data); err != nil {
		return nil, err
	}
	if err := s.open(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func adminClient(data string, r role.Role) *seam.Client {
	return rolecall.Seam(data, r.AdminSocket(), r)
}

// open takes the lock and opens the stores as the folder's owner.
func (s *Stores) open(ctx context.Context) error {
	lock, err := datafolder.TakeAsOwner(s.Data)
	if err != nil {
		return err
	}
	s.close = append(s.close, lock.Close)
	for _, dir := range []string{"directory", "auth"} {
		if err := os.MkdirAll(filepath.Join(s.Data, dir), 0o700); err != nil {
			return err
		}
	}
	db, err := sqlite.Open(ctx, sqlite.Options{Path: datafolder.Directory(s.Data)})
	if err != nil {
		return err
	}
	s.Directory, s.removals = db, db
	s.close = append(s.close, db.Close)
	o := secrets.Options{Path: filepath.Join(s.Data, "auth", "secrets.db")}
	if f, err := config.Read(datafolder.ConfigPath(s.Data), nil); err == nil {
		o = f.Auth
	}
	a, err := secrets.Open(ctx, o, secrets.Deps{Directory: db, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	s.Auth = a
	s.close = append(s.close, a.Close)
	_ = s.finishRemovals(ctx) // trouble is the next server's, too, which tells of it
	s.backups = map[role.Role]func(context.Context, string) error{role.Directory: db.Backup, role.Auth: a.Backup}
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

// none is the request or reply of calls without one.
type none struct{}
