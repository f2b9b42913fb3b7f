package secrets

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/directory"
)

// Bounds of app passwords.
const (
	maxApps    = 100
	maxAppName = 100 // bytes
)

// invalid names a password without showing it.
func invalid(what, want string) error {
	return &directory.InvalidError{What: what, Value: "(not shown)", Want: want}
}

// SetPassword implements auth.Admin.
func (s *Service) SetPassword(ctx context.Context, account uint64, password string) error {
	if _, err := s.directory.Account(ctx, account); err != nil {
		return err
	}
	// What a link in between made of other encodings (U+FFFD) would match any of them.
	if len(password) < s.o.MinPassword || checkPassword(password) != nil || !utf8.ValidString(password) || strings.ContainsRune(password, utf8.RuneError) {
		return invalid("password", fmt.Sprintf("%d to %d bytes of UTF-8 without NUL", s.o.MinPassword, maxPassword))
	}
	c := credential{changed: s.clock.Now()}
	if err := s.hasher.run(ctx, s.hasher.memory, func() {
		c.hash = s.hasher.hash(password)
		c.scram, _ = newSCRAM(password) // none where SASLprep refuses the password
	}); err != nil {
		return err
	}
	return s.change(ctx, account, c)
}

// SetHash implements auth.Admin.
func (s *Service) SetHash(ctx context.Context, account uint64, text string) error {
	if _, err := s.directory.Account(ctx, account); err != nil {
		return err
	}
	f, err := s.forms.parse(text)
	if err != nil {
		return invalid("stored password", strings.TrimPrefix(err.Error(), "want "))
	}
	return s.change(ctx, account, credential{hash: text, scram: f.scram, changed: s.clock.Now()})
}

// change stores a new password; the old one ends at once.
func (s *Service) change(ctx context.Context, account uint64, c credential) error {
	if err := s.store.save(ctx, account, c, ""); err != nil {
		return fmt.Errorf("auth: %w", err)
	}
	s.end(account)
	return nil
}

// end has what an account logged in with until now end: what is remembered of it, and its sessions.
func (s *Service) end(account uint64) {
	s.recent.forget(account)
	s.revoked.Add(account)
}

// Credentials implements auth.Admin.
func (s *Service) Credentials(ctx context.Context, account uint64) (auth.Credentials, error) {
	var out auth.Credentials
	if _, err := s.directory.Account(ctx, account); err != nil {
		return out, err
	}
	c, err := s.store.load(ctx, account)
	if err != nil {
		return out, fmt.Errorf("auth: %w", err)
	}
	apps, err := s.store.loadApps(ctx, account)
	if err != nil {
		return out, fmt.Errorf("auth: %w", err)
	}
	for _, a := range apps {
		out.Apps = append(out.Apps, a.AppPassword)
	}
	out.SCRAM, out.Changed = c.scram != nil, c.changed
	if c.hash != "" {
		out.Form = "unreadable"
		if f, err := s.forms.parse(c.hash); err == nil {
			out.Form, out.APOP = f.kind, f.plain != ""
		}
	}
	return out, nil
}

// AddAppPassword implements auth.Admin.
func (s *Service) AddAppPassword(ctx context.Context, account uint64, name string, protocols []string) (string, error) {
	if _, err := s.directory.Account(ctx, account); err != nil {
		return "", err
	}
	if name == "" || len(name) > maxAppName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return "", &directory.InvalidError{What: "name of an app password", Value: name, Want: "1 to 100 bytes without control characters"}
	}
	for _, p := range protocols {
		if p == "" || strings.ContainsFunc(p, func(r rune) bool { return r < 'a' || r > 'z' }) && p != "pop3" {
			return "", &directory.InvalidError{What: "protocol", Value: p, Want: "submission, pop3, imap, sieve, jmap, web or admin"}
		}
	}
	apps, err := s.store.loadApps(ctx, account)
	if err != nil {
		return "", fmt.Errorf("auth: %w", err)
	}
	if len(apps) >= maxApps {
		return "", &directory.InvalidError{What: "name of an app password", Value: name, Want: fmt.Sprintf("at most %d of one account; remove one first", maxApps)}
	}
	password := generate()
	added, err := s.store.addApp(ctx, account, app{auth.AppPassword{Name: name, Protocols: slices.Clone(protocols), Created: s.clock.Now()}, appSum(password)})
	if err != nil {
		return "", fmt.Errorf("auth: %w", err)
	}
	if !added {
		return "", fmt.Errorf("app password %q: %w", name, directory.ErrExists)
	}
	return password, nil
}

// generate returns 100 random bits as five groups of four letters and digits.
func generate() string {
	var b [13]byte
	rand.Read(b[:]) // never fails: crypto/rand.Read
	text := strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))[:20]
	return strings.Join([]string{text[:4], text[4:8], text[8:12], text[12:16], text[16:]}, "-")
}

// RemoveAppPassword implements auth.Admin.
func (s *Service) RemoveAppPassword(ctx context.Context, account uint64, name string) error {
	removed, err := s.store.removeApp(ctx, account, name)
	if err != nil {
		return fmt.Errorf("auth: %w", err)
	}
	if !removed {
		return fmt.Errorf("app password %q: %w", name, directory.ErrNotFound)
	}
	s.end(account)
	return nil
}

// EndSessions implements auth.Admin.
func (s *Service) EndSessions(_ context.Context, account uint64) error {
	s.revoked.Add(account)
	return nil
}

// Remove implements auth.Admin.
func (s *Service) Remove(ctx context.Context, account uint64) error {
	if err := s.store.remove(ctx, account); err != nil {
		return fmt.Errorf("auth: %w", err)
	}
	s.end(account)
	return nil
}

// Blocked implements auth.Admin.
func (s *Service) Blocked(context.Context) ([]auth.BlockedBy, error) {
	all := s.guard.blocked(s.clock.Now())
	slices.SortFunc(all, func(a, b auth.BlockedBy) int { return strings.Compare(a.What, b.What) })
	return all, nil
}

// Unblock implements auth.Admin.
func (s *Service) Unblock(_ context.Context, what string) error {
	key, err := directory.BlockKey(what)
	if err != nil {
		// A user name that never was an address can be blocked too.
		key = cut(strings.ToLower(what))
	}
	if !s.guard.unblock(key) {
		return fmt.Errorf("failed logins of %q: %w", what, directory.ErrNotFound)
	}
	return nil
}
