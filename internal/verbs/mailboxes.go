package verbs

import (
	"context"

	"github.com/postilion/postilion/internal/control/mailboxes"
	"github.com/postilion/postilion/internal/directory"
)

// roles are those of the running server that keep something of accounts.
func (s *Stores) roles() mailboxes.Client { return mailboxes.Client{Data: s.Data} }

// CanRemove is asked before accounts are removed. The error is of a role that does not answer: what it keeps would stay
// where the next account of that name finds it, its mail among that.
func (s *Stores) CanRemove(ctx context.Context) error {
	if s.as != nil || !s.Running {
		return nil
	}
	return s.roles().CanRemove(ctx)
}

// Removed forgets what else is kept of accounts that the directory has just lost: the passwords
// go, sessions end, the mail is set aside. It returns where that is, below mail/.
func (s *Stores) Removed(ctx context.Context, accounts ...directory.Account) (paths []string, err error) {
	if s.as != nil {
		return nil, nil // the server has seen to it
	}
	if s.Running {
		return s.roles().Removed(ctx, s.Auth, accounts...)
	}
	return mailboxes.Remove{Passwords: s.Auth, Removals: s.removals, SetAside: s.setAside}.Accounts(ctx, accounts)
}

// setAside moves an account's mail away where no server runs.
func (s *Stores) setAside(_ context.Context, a directory.Account) (string, error) {
	t, err := s.mailboxes()
	if err != nil || t == nil {
		return "", err
	}
	return t.SetAside(a.Mailbox, a.ID)
}

// finishRemovals sees to what removers left that did not get to their end, where no server runs that would.
func (s *Stores) finishRemovals(ctx context.Context) error {
	list, err := s.removals.Removed(ctx)
	if err != nil {
		return err
	}
	var accounts []directory.Account
	for _, r := range list {
		accounts = append(accounts, directory.Account{ID: r.Account, Mailbox: r.Mailbox})
	}
	if accounts != nil {
		_, err = s.Removed(ctx, accounts...)
	}
	return err
}
