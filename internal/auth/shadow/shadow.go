// Package shadow checks the passwords of the system's users against shadow(5). It is the process
// that may read that file, role runas, that does it: no hash leaves it.
//
// What a password costs to check is bounded in number; who may guess how often is the
// caller's to decide.
package shadow

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/fs/reread"
)

// Options are where passwords are, and how they are compared. Match is needed.
type Options struct {
	Path string // "" is /etc/shadow
	// Match reports whether a password is the one of a crypt(3) form. The error says that the form
	// cannot be checked.
	Match func(form, password string) (bool, error)
	Now   func() time.Time // nil is the system's
	// Helpers are programs that check what Match cannot, as unix_chkpwd(8) does; nil is that of the system
	// where Path is "", and else none: it knows the system's own file only.
	Helpers []string
}

// atOnce bounds the passwords that are checked at the same time.
const atOnce = 4

// Passwords is the file. It is safe for concurrent use.
type Passwords struct {
	file    reread.File[map[string]entry]
	match   func(form, password string) (bool, error)
	now     func() time.Time
	helpers []string
	slots   chan struct{}
}

// entry is one line: the form of the password, and the day on which the account ends.
type entry struct {
	form    string
	expires int64 // days since 1970; below 0 never
}

// New returns the passwords that o says.
func New(o Options) *Passwords {
	if o.Path == "" {
		o.Path = "/etc/shadow"
		if o.Helpers == nil {
			o.Helpers = helpers
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	p := &Passwords{match: o.Match, now: o.Now, helpers: o.Helpers, slots: make(chan struct{}, atOnce)}
	p.file.Path, p.file.Parse, p.file.Now = o.Path, parse, o.Now
	return p
}

// parse reads shadow(5): name, form, dates. As in the C library a line that is none is passed over.
func parse(data []byte) (map[string]entry, error) {
	all := map[string]entry{}
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimRight(line, "\r\n"), ":")
		if len(f) < 2 || f[0] == "" {
			continue
		}
		e := entry{form: f[1], expires: -1}
		if len(f) > 7 && f[7] != "" {
			days, err := strconv.ParseInt(f[7], 10, 32)
			if err != nil {
				continue
			}
			e.expires = days
		}
		if _, twice := all[f[0]]; !twice {
			all[f[0]] = e
		}
	}
	return all, nil
}

// Check reports whether the password is the user's. Nobody has an empty one. The error is trouble
// in finding out.
func (p *Passwords) Check(ctx context.Context, user, password string) (bool, error) {
	all, err := p.file.Get()
	if err != nil {
		return false, err
	}
	e, ok := all[user]
	// "!" and "*" begin what no password matches.
	if !ok || password == "" || strings.IndexByte(password, 0) >= 0 || e.form == "" || strings.ContainsAny(e.form[:1], "!*") || e.form == "x" {
		return false, nil
	}
	if e.expires >= 0 && p.now().Unix()/86400 >= e.expires {
		return false, nil
	}
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	right, err := p.match(e.form, password)
	if err != nil {
		if right, known, err := p.ask(ctx, user, password); known {
			return right, err
		}
		return false, fmt.Errorf("the password of %s in %s: %w", user, p.file.Path, err)
	}
	return right, nil
}
