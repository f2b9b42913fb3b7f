// Package sysuser knows the users of this system, as getpwnam(3) does: from /etc/passwd, which is
// kept in memory and read again when it changes, and where /etc/nsswitch.conf names more than files
// from getent(1), whose answers are remembered for a minute.
//
// A question that /etc/passwd answers costs no system call. Trouble is an error, never "no such user".
package sysuser

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/postilion/postilion/internal/fs/reread"
	"github.com/postilion/postilion/internal/qmail"
)

// User is one line of passwd(5).
type User struct {
	Name        string
	UID, GID    uint32
	Gecos       string
	Home, Shell string
	Line        int // in the file; 0 where getent knows the user
}

// Options are where users are found. The zero value is this system's.
type Options struct {
	Passwd string // "" is /etc/passwd
	// NSSwitch is asked whether getent knows more; "" is /etc/nsswitch.conf where Passwd is "", and
	// else none: another system's users are in its file only.
	NSSwitch string
	Getent   string           // the program; "" is getent in the PATH
	Now      func() time.Time // nil is the system's
}

// Bounds on asking getent.
const (
	remember = time.Minute
	timeout  = 5 * time.Second
	maxKept  = 10_000
	maxAsked = 4   // at once
	maxName  = 256 // bytes
)

// Users is the system's users. It is safe for concurrent use.
type Users struct {
	passwd reread.File[map[string]User]
	nss    *reread.File[bool] // whether getent knows more; nil never
	getent string
	now    func() time.Time
	asking chan struct{}

	mu   sync.Mutex
	kept map[string]answer
}

// answer is what getent said.
type answer struct {
	user  User
	found bool
	at    time.Time
}

// New returns the users that o says.
func New(o Options) *Users {
	u := &Users{getent: o.Getent, now: o.Now, asking: make(chan struct{}, maxAsked), kept: map[string]answer{}}
	if o.Passwd == "" {
		o.Passwd = "/etc/passwd"
		o.NSSwitch = cmp.Or(o.NSSwitch, "/etc/nsswitch.conf")
	}
	u.getent = cmp.Or(u.getent, "getent")
	if u.now == nil {
		u.now = time.Now
	}
	u.passwd.Path, u.passwd.Parse, u.passwd.Now = o.Passwd, parsePasswd, o.Now
	if o.NSSwitch != "" {
		u.nss = &reread.File[bool]{Path: o.NSSwitch, Parse: parseNSSwitch, Optional: true, Now: o.Now}
	}
	return u
}

// File returns the path of the file, which User.Line counts in.
func (u *Users) File() string { return u.passwd.Path }

// Lookup finds a user by name.
func (u *Users) Lookup(name string) (User, bool, error) {
	known, err := u.passwd.Get()
	if err != nil {
		return User{}, false, err
	}
	if user, ok := known[name]; ok || u.nss == nil {
		return user, ok, nil
	}
	if more, err := u.nss.Get(); err != nil || !more {
		return User{}, false, err
	}
	return u.ask(name)
}

// parsePasswd reads passwd(5). As in the C library a line that is none is passed over, and the
// first of two with one name counts.
func parsePasswd(data []byte) (map[string]User, error) {
	users := make(map[string]User, bytes.Count(data, []byte{'\n'}))
	for n, line := range qmail.Lines(data) {
		if user, ok := parseLine(line); ok {
			user.Line = n
			if _, twice := users[user.Name]; !twice {
				users[user.Name] = user
			}
		}
	}
	return users, nil
}

func parseLine(line string) (User, bool) {
	f := strings.Split(line, ":")
	if len(f) != 7 || f[0] == "" || strings.ContainsAny(f[0][:1], "#+-") {
		return User{}, false
	}
	uid, err1 := strconv.ParseUint(f[2], 10, 32)
	gid, err2 := strconv.ParseUint(f[3], 10, 32)
	return User{Name: f[0], UID: uint32(uid), GID: uint32(gid), Gecos: f[4], Home: f[5], Shell: f[6]}, err1 == nil && err2 == nil
}

// parseNSSwitch reports whether the passwd line of nsswitch.conf(5) names a source that may know
// users that /etc/passwd does not. That of systemd has none who get mail.
func parseNSSwitch(data []byte) (bool, error) {
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		sources, ok := strings.CutPrefix(strings.TrimSpace(line), "passwd:")
		if !ok {
			continue
		}
		action := false // within [NOTFOUND=return]
		for s := range strings.FieldsSeq(sources) {
			begins, ends := strings.HasPrefix(s, "["), strings.HasSuffix(s, "]")
			if !action && !begins && s != "files" && s != "compat" && s != "systemd" {
				return true, nil
			}
			action = (action || begins) && !ends
		}
	}
	return false, nil
}

// ask asks getent, or remembers what it said.
func (u *Users) ask(name string) (User, bool, error) {
	if !askable(name) {
		return User{}, false, nil
	}
	u.mu.Lock()
	a, ok := u.kept[name]
	u.mu.Unlock()
	if ok && u.now().Sub(a.at) < remember {
		return a.user, a.found, nil
	}
	user, found, err := u.run(name)
	if err != nil {
		return User{}, false, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.kept) >= maxKept {
		clear(u.kept)
	}
	u.kept[name] = answer{user, found, u.now()}
	return user, found, nil
}

// askable reports whether a name can be a user's. getent takes one of digits for a uid.
func askable(name string) bool {
	if name == "" || len(name) > maxName || name[0] == '-' || strings.Trim(name, "0123456789") == "" {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == ':' || r == 0x7f })
}

func (u *Users) run(name string) (User, bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	select {
	case u.asking <- struct{}{}:
		defer func() { <-u.asking }()
	case <-ctx.Done():
		return User{}, false, fmt.Errorf("getent passwd: too many questions are not answered")
	}
	cmd := exec.CommandContext(ctx, u.getent, "passwd", "--", name)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 2 {
		return User{}, false, nil // getent(1): the key could not be found
	}
	if err != nil {
		return User{}, false, fmt.Errorf("getent passwd: %w", err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	user, ok := parseLine(line)
	return user, ok && user.Name == name, nil
}
