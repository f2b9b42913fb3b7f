package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/postilion/postilion/internal/access/session"
	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/fs"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/mailbox/maildir"
	"github.com/postilion/postilion/internal/rpc"
)

// methodAside is answered by role local, which owns the mail.
const methodAside = "local.aside"

type asideRequest struct {
	Account uint64
	Mailbox string
}

// asideHandlers serves it for a Store's mailboxes.
func asideHandlers(set func(mailbox string, account uint64) (string, error)) map[string]rpc.Handler {
	return map[string]rpc.Handler{
		methodAside: rpc.Handle(func(_ context.Context, r asideRequest) (string, error) { return set(r.Mailbox, r.Account) }),
	}
}

// forgotten is when no role remembers a removed account any more; see directory.CacheOptions.
const forgotten = 2500 * time.Millisecond

// removers keep what has to go with an account.
var removers = []Role{Auth, Access, Local}

// CanRemove is asked before accounts are removed. The error is of a role that does not answer: what it keeps would stay
// where the next account of that name finds it, its mail among that.
func (s *Stores) CanRemove(ctx context.Context) error {
	if s.as != nil || !s.Running {
		return nil
	}
	for _, r := range removers {
		socket := adminSocket(r)
		if s.socket != nil {
			socket = s.socket(r)
		}
		var failed error
		hung := answers(ctx, r, func(ctx context.Context) error {
			failed = alive(ctx, s.Data, socket)
			return failed
		})
		if hung != nil {
			return hung
		}
		if failed != nil {
			return about(r, failed)
		}
	}
	return nil
}

// Removed forgets what else is kept of accounts that the directory has just lost: the passwords
// go, sessions end, the mail is set aside. It returns where that is, below mail/.
func (s *Stores) Removed(ctx context.Context, accounts ...directory.Account) (paths []string, err error) {
	if s.as != nil {
		return nil, nil // the server has seen to it
	}
	var errs []error
	for _, a := range accounts {
		if err := s.Auth.Remove(ctx, a.ID); err != nil && !errors.Is(err, directory.ErrNotFound) {
			errs = append(errs, fmt.Errorf("the passwords of %s: %w", a.Address, err))
		}
	}
	if s.Running && len(accounts) > 0 {
		// A delivery that began with the old answer would make the mailbox again.
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(forgotten):
		}
	}
	for _, a := range accounts {
		if a.Mailbox == "" {
			continue
		}
		aside, err := s.setAside(ctx, a)
		if err != nil {
			errs = append(errs, fmt.Errorf("the mail of %s: %w", a.Address, err))
		} else if aside != "" {
			paths = append(paths, aside)
		}
	}
	return paths, errors.Join(errs...)
}

func (s *Stores) setAside(ctx context.Context, a directory.Account) (string, error) {
	if s.Running {
		// Whoever reads it now must not write where the next account's mail will be.
		if _, err := askStores[uint64, []session.Holder](ctx, s, Access, MethodFree, a.ID); err != nil {
			return "", err
		}
		return askStores[asideRequest, string](ctx, s, Local, methodAside, asideRequest{a.ID, a.Mailbox})
	}
	root, err := osfs.New(s.Data)
	if err != nil {
		return "", err
	}
	mail, err := root.Sub("mail")
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return maildir.New(maildir.Options{}, maildir.Deps{FS: mail, Barrier: &fs.Barrier{FS: mail}, Clock: clock.System{}}).SetAside(a.Mailbox, a.ID)
}
