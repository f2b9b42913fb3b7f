package secrets

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/trace"
)

// Bounds of what a client may say, in bytes.
const (
	maxUser     = 320
	maxPassword = 1024
)

// errPassword is what checkPassword wants.
var errPassword = errors.New("want 1 to 1024 bytes without NUL")

func checkPassword(p string) error {
	if p == "" || len(p) > maxPassword || strings.IndexByte(p, 0) >= 0 {
		return errPassword
	}
	return nil
}

// who is what a user name turned out to mean.
type who struct {
	subject
	usable  bool // there is such an account, and it is not disabled
	address string
	tenant  uint64
	system  string // the name of the user of this system that it is; "" for accounts of the directory
}

// resolve finds a user name's account. The error is temporary; an unknown user is none.
func (s *Service) resolve(ctx context.Context, user string) (who, error) {
	w := who{subject: subject{name: cut(strings.ToLower(user))}}
	if user == "" || len(user) > maxUser || !utf8.ValidString(user) || strings.ContainsFunc(user, unicode.IsControl) {
		return w, nil
	}
	a := mail.ParseAddress(user)
	said := a.Domain
	if !strings.Contains(user, "@") {
		a.Local, a.Domain, said = user, s.o.DefaultDomain, ""
	}
	if a.Local == "" {
		return w, nil
	}
	if a.Domain != "" {
		found, err := s.inDirectory(ctx, w, a)
		if err != nil || found.account != 0 {
			return found, err
		}
	}
	return s.inSystem(w, a.Local, said)
}

// inSystem looks for a user of this system.
func (s *Service) inSystem(w who, name, domain string) (who, error) {
	if s.system == nil {
		return w, nil
	}
	account, ok, err := s.system.Find(name, domain)
	if err != nil {
		return w, reason.DirectoryUnavailable.Because(err)
	}
	if !ok {
		return w, nil
	}
	w.account, w.address, w.system, w.usable = account.ID, account.Address.String(), name, true
	w.name = strings.ToLower(w.address)
	return w, nil
}

// inDirectory looks for an account of the directory.
func (s *Service) inDirectory(ctx context.Context, w who, a mail.Address) (who, error) {
	f, err := s.directory.Find(ctx, a.Domain, []string{a.Local})
	if errors.Is(err, directory.ErrNotFound) {
		return w, nil
	}
	if err != nil {
		return w, reason.DirectoryUnavailable.Because(err)
	}
	if f.Account == nil || f.CatchAll {
		return w, nil
	}
	w.account, w.address, w.tenant = f.Account.ID, f.Account.Address.String(), f.Account.Tenant
	w.name = directory.LocalKey(f.Account.Address.Local, f.Domain.CaseSensitive) + "@" + f.Account.Address.Domain
	w.usable = !f.Account.Disabled && !f.Domain.Disabled
	return w, nil
}

// cut bounds a name that is kept or recorded.
func cut(user string) string {
	if len(user) > maxUser {
		user = user[:maxUser]
	}
	return strings.ToValidUTF8(user, "?")
}

// attempt is one login under way.
type attempt struct {
	auth.Attempt
	s         *Service
	mechanism string
	user      string // as the client said it
	began     time.Time
	who       who
	guess     uint64 // the password's digest, where one was said
	epoch     uint64 // of what the account logs in with, see recent
	end       func() // of the guard
}

// begin finds who is meant and asks whether the attempt may go on.
func (s *Service) begin(ctx context.Context, a auth.Attempt, mechanism, user string) (*attempt, error) {
	at := &attempt{Attempt: a, s: s, mechanism: mechanism, user: user, began: time.Now(), end: func() {}}
	now := s.clock.Now()
	barred := s.blocks.client(ctx, a.Client, now)
	var err error
	if at.who, err = s.resolve(ctx, user); err != nil {
		return at, err
	}
	at.epoch = s.recent.epoch(at.who.account)
	if barred || s.blocks.name(strings.ToLower(at.who.name), now) {
		return at, auth.Barred
	}
	wait, end := s.guard.begin(a.Client, at.who.subject, now)
	if wait == 0 {
		at.end = end
	}
	return at, blockedFor(wait)
}

// finish counts and records how the attempt ended, and holds a failure's answer back.
func (at *attempt) finish(ctx context.Context, device string, err error) (auth.Identity, error) {
	s, now := at.s, at.s.clock.Now()
	if err == nil && s.recent.epoch(at.who.account) != at.epoch {
		err = reason.LocalError // the password was changed meanwhile: which of the two this was nobody knows
	}
	var id auth.Identity
	failed := false
	if err == nil {
		id = auth.Identity{Account: at.who.account, Address: at.who.address, Device: device, User: at.who.system}
		s.guard.succeeded(at.Client, at.who.subject, now)
		if device != "" {
			s.mu.Lock()
			s.used[appKey{id.Account, device}] = use{now, at.Client.String(), at.Protocol}
			s.mu.Unlock()
		}
	} else if failed = reason.As(err).Reason == auth.Failed.Reason; failed {
		s.guard.failed(at.Client, at.who.subject, at.guess, now)
	}
	at.end() // not before the failure counts
	at.record(id, err, now)
	if failed {
		s.pace(ctx, at.began)
	}
	return id, err
}

// record tells of the attempt: Text is the mechanism, with the app password's name or
// the seconds a blocked client must wait.
func (at *attempt) record(id auth.Identity, err error, now time.Time) {
	e := trace.Event{
		Time: now, Kind: trace.Login, Role: at.Protocol, Session: at.Session, Tenant: at.who.tenant, Account: id.Address,
		Client: at.Client.String(), Code: 235, Text: at.mechanism, Took: time.Since(at.began),
	}
	if id.Device != "" {
		e.Text += " " + id.Device
	}
	if at.TLS {
		e.TLS = "yes"
	}
	if err != nil {
		r := reason.As(err)
		e.Account = cut(at.user)
		e.Code, e.Status, e.Reason = r.Code, r.Enhanced, string(r.Reason)
		if len(r.Args) > 0 {
			e.Text += " " + r.Args[0]
		}
	}
	at.s.recorder.Record(e)
}

// pace waits until a multiple of the delay has passed since began.
func (s *Service) pace(ctx context.Context, began time.Time) {
	q := s.o.FailureDelay
	t := time.NewTimer(q - time.Since(began)%q)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Password implements auth.Service.
func (s *Service) Password(ctx context.Context, a auth.Attempt, user, password string) (auth.Identity, error) {
	at, err := s.begin(ctx, a, "password", user)
	var device string
	if err == nil {
		device, err = s.verify(ctx, at, password)
	}
	return at.finish(ctx, device, err)
}

// verify checks a password. Every failure computes one argon2id hash.
func (s *Service) verify(ctx context.Context, at *attempt, password string) (device string, err error) {
	if checkPassword(password) != nil {
		return "", auth.Failed // says nothing about the user
	}
	account := at.who.account
	at.guess = s.recent.guess(account, password)
	if at.who.system != "" {
		return "", s.verifySystem(ctx, at.who.system, password)
	}
	var c credential
	var f *form
	var epoch uint64
	if at.who.usable {
		if device, ok := s.recent.get(account, at.Protocol, password); ok {
			return device, nil
		}
		epoch = s.recent.epoch(account)
		device, ok, err := s.matchApp(ctx, account, at.Protocol, password)
		if err != nil {
			return "", reason.LocalError.Because(err)
		}
		if ok {
			s.recent.put(account, epoch, at.Protocol, password, device)
			return device, nil
		}
		if c, err = s.store.load(ctx, account); err != nil {
			return "", reason.LocalError.Because(err)
		}
		f = s.stored(account, c)
	}
	if err := s.compare(ctx, account, c, f, password); err != nil {
		return "", err
	}
	s.recent.put(account, epoch, at.Protocol, password, "")
	return "", nil
}

// verifySystem checks the password of a user of this system. It is never remembered: who changes it need not
// tell us. A failure computes a hash besides, as every other does.
func (s *Service) verifySystem(ctx context.Context, name, password string) error {
	var right bool
	var trouble error
	err := s.hasher.run(ctx, s.hasher.memory, func() {
		if right, trouble = s.system.Check(ctx, name, password); !right {
			s.hasher.idle(password)
		}
	})
	switch {
	case err != nil:
		return err
	case trouble != nil:
		s.log.Error("auth: the password of a user of this system cannot be checked", "user", name, "err", trouble)
		return reason.As(trouble)
	case !right:
		return auth.Failed
	}
	return nil
}

// stored reads the form that is stored, nil for none.
func (s *Service) stored(account uint64, c credential) *form {
	if c.hash == "" {
		return nil
	}
	f, err := s.forms.parse(c.hash)
	if err != nil {
		s.log.Error("auth: a stored password cannot be read; set a new one", "account", account, "err", err)
		return nil
	}
	return f
}

// compare compares with a form, and stores a better one where it matches.
func (s *Service) compare(ctx context.Context, account uint64, c credential, f *form, password string) error {
	matched, upgrade := false, credential{}
	memory := s.hasher.memory
	if f != nil {
		memory = max(memory, f.memory)
	}
	err := s.hasher.run(ctx, memory, func() {
		var err error
		if f != nil {
			if matched, err = f.match(password); err != nil {
				s.log.Error("auth: a stored password cannot be checked; set a new one", "account", account, "err", err)
			}
		}
		switch {
		case matched:
			upgrade = s.better(c, f, password)
		case f != nil && strings.HasPrefix(c.hash, "$argon2id$"):
			s.hasher.ran.Add(1) // match was as dear as idle
		default:
			s.hasher.idle(password)
		}
	})
	if err != nil {
		return err
	}
	if !matched {
		return auth.Failed
	}
	if upgrade.hash != "" {
		if err := s.store.save(ctx, account, upgrade, c.hash); err != nil {
			s.log.Error("auth: a better form of a password could not be stored", "account", account, "err", err)
		}
	}
	return nil
}

// better returns what should be stored instead of c, now that the password is known.
func (s *Service) better(c credential, f *form, password string) credential {
	keep := s.hasher.current(c.hash) || s.o.KeepPlain && f.kind == "PLAIN"
	if keep && c.scram != nil {
		return credential{}
	}
	n := c
	if !keep {
		n.hash = s.hasher.hash(password)
	}
	if c.scram == nil {
		if keys, err := newSCRAM(password); err == nil {
			n.scram = keys
		} else if keep {
			return credential{} // SASLprep refuses the password: it has no keys
		}
	}
	return n
}

// matchApp compares with the app passwords that the protocol may use. They hold so much
// chance that one round of SHA-256 is enough.
func (s *Service) matchApp(ctx context.Context, account uint64, protocol, password string) (device string, ok bool, err error) {
	apps, err := s.store.loadApps(ctx, account)
	if err != nil {
		return "", false, err
	}
	sum := []byte(appSum(password))
	for _, a := range apps {
		if subtle.ConstantTimeCompare(sum, []byte(a.sum)) == 1 && opens(a.Protocols, protocol) {
			device, ok = a.Name, true
		}
	}
	return device, ok, nil
}

// opens reports whether an app password for these protocols is one for protocol.
func opens(protocols []string, protocol string) bool {
	return len(protocols) == 0 && protocol != auth.Administration || slices.Contains(protocols, protocol)
}

// appSum is the stored sum of an app password, however it is spaced.
func appSum(password string) string {
	password = strings.ToLower(strings.NewReplacer(" ", "", "-", "").Replace(password))
	sum := sha256.Sum256([]byte(password))
	return hex.EncodeToString(sum[:])
}
