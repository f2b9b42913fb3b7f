package maildir

import (
	"errors"
	"fmt"
	"path"
	"strconv"

	"github.com/postilion/postilion/internal/fs"
)

// SetAside renames the mailbox of an account that is removed, durably, so that a new account of the
// same address begins with an empty one. It returns the new path below the root, "" when there
// was no mailbox. What is set aside is never overwritten. The error is of the system, or tells that there are a
// hundred already.
func (s *Store) SetAside(mailbox string, account uint64) (string, error) {
	if _, err := s.fs.Lstat(mailbox); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	for n := 1; n < 100; n++ {
		aside := mailbox + ".removed-" + strconv.FormatUint(account, 10)
		if n > 1 {
			aside += "." + strconv.Itoa(n)
		}
		if _, err := s.fs.Lstat(aside); !errors.Is(err, fs.ErrNotExist) {
			if err != nil {
				return "", err
			}
			continue
		}
		if err := s.fs.Rename(mailbox, aside); errors.Is(err, fs.ErrNotExist) {
			return "", nil // somebody else did so just now
		} else if err != nil {
			return "", err
		}
		return aside, s.fs.SyncDir(path.Dir(mailbox))
	}
	return "", fmt.Errorf("%s: %w", mailbox+".removed-"+strconv.FormatUint(account, 10), fs.ErrExist)
}
