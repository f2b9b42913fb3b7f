package route

// Whose a local part is: users/assign or its compiled form, then the names of passwd, then the user
// alias, as qmail-lspawn and qmail-getpw decide (qmail reference 8.3 to 8.5).

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/postilion/postilion/internal/directory/sysuser"
	"github.com/postilion/postilion/internal/fs/reread"
	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/qmail/assign"
	"github.com/postilion/postilion/internal/qmail/cdb"
	"github.com/postilion/postilion/internal/reason"
)

// Users looks users of the system up by name. File names where User.Line counts. An error means that
// it cannot be told now.
type Users interface {
	Lookup(name string) (sysuser.User, bool, error)
	File() string
}

// users finds the user of a local part.
type users struct {
	passwd    Users
	owners    owners
	cdb, text *reread.File[assign.Lookup] // nil without a folder users
	alias     string
	aliasHome string // "" is the one of passwd
	breaks    byte
}

// systemPasswd is the default of Options.Passwd, which is this system's users and not the file alone.
const systemPasswd = "/etc/passwd"

func newUsers(o Options, d Deps) (*users, error) {
	u := &users{passwd: d.Users, alias: o.AliasUser, aliasHome: o.AliasHome, breaks: '-', owners: owners{stat: ownerOf}}
	if path := o.Passwd; u.passwd == nil {
		if path == systemPasswd {
			path = ""
		}
		u.passwd = sysuser.New(sysuser.Options{Passwd: path, Now: d.Now})
	}
	u.alias = cmp.Or(u.alias, "alias")
	var errs []error
	switch {
	case len(o.UserBreak) > 1:
		errs = append(errs, fmt.Errorf("user_break %q: want one character", o.UserBreak))
	case o.UserBreak != "":
		u.breaks = o.UserBreak[0]
	}
	if o.AliasHome != "" && !filepath.IsAbs(o.AliasHome) {
		errs = append(errs, fmt.Errorf("alias_home %q: want an absolute path", o.AliasHome))
	}
	if o.Users != "" {
		u.cdb = assigned(filepath.Join(o.Users, "cdb"), d.Now, func(file string, data []byte) (assign.Lookup, error) {
			db, err := cdb.FromBytes(data)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			return assign.NewDB(file, db)
		})
		u.text = assigned(filepath.Join(o.Users, "assign"), d.Now, func(file string, data []byte) (assign.Lookup, error) {
			entries, err := assign.Parse(file, data)
			if err != nil {
				return nil, err
			}
			return assign.NewTable(entries), nil
		})
	}
	return u, errors.Join(errs...)
}

func assigned(file string, now func() time.Time, parse func(string, []byte) (assign.Lookup, error)) *reread.File[assign.Lookup] {
	return &reread.File[assign.Lookup]{Path: file, Optional: true, Now: now, Parse: func(data []byte) (assign.Lookup, error) {
		return parse(file, data)
	}}
}

// route makes the answer for a local part of system users.
func (u *users) route(rt *Route, p place) error {
	user, err := u.find(rt, p.local)
	if err != nil {
		return err
	}
	what := "local part " + quoted(p.local)
	rt.step(what, user.Place.String(), fmt.Sprintf("user %s, uid %d, home %s, dash %s, extension %s",
		user.Name, user.UID, user.Home, quoted(user.Dash), quoted(user.Ext)))
	if user.UID == 0 {
		return reason.DeliverAsRoot.Because(errors.New(user.Place.String() + ": uid 0"))
	}
	if !filepath.IsAbs(user.Home) {
		return reason.HomeNotAbsolute.Because(fmt.Errorf("%s: home %q", user.Place, user.Home))
	}
	rt.Kind = SystemUser
	rt.User = &User{Name: user.Name, UID: user.UID, GID: user.GID, Home: user.Home, Dash: user.Dash, Ext: user.Ext, Local: cmp.Or(p.marked, p.local), Host: p.domain}
	return nil
}

// find asks users/cdb, or where that does not exist users/assign, then passwd.
func (u *users) find(rt *Route, local string) (assign.User, error) {
	for _, file := range [...]*reread.File[assign.Lookup]{u.cdb, u.text} {
		if file == nil {
			continue
		}
		table, err := file.Get()
		if err != nil {
			return assign.User{}, err
		}
		if table == nil {
			continue
		}
		user, ok, err := table.Lookup(local)
		if ok || err != nil {
			return user, err
		}
		break
	}
	getpw := assign.Getpw{Account: u.account, Owner: u.owners.of, Break: u.breaks, Alias: u.alias}
	user, skips, err := getpw.User(local)
	for _, s := range skips {
		rt.step("user "+s.Account.Name, s.Account.Place.String(), "passed over: "+s.Why)
	}
	switch {
	case errors.Is(err, assign.ErrNoAlias):
		return user, reason.AliasUserAbsent.Because(fmt.Errorf("%s: there is no user %s", u.passwd.File(), u.alias))
	case err != nil:
		return user, err
	}
	return user, nil
}

// account is passwd for qmail-getpw's rule. The user alias exists as the owner of alias_home where passwd has
// none of that name, as in a tree that came from another host.
func (u *users) account(name string) (assign.Account, bool, error) {
	found, ok, err := u.passwd.Lookup(name)
	if err != nil {
		return assign.Account{}, false, err
	}
	a := assign.Account{Place: qmail.Place{File: u.passwd.File(), Line: found.Line}, Name: found.Name, UID: found.UID, GID: found.GID, Home: found.Home, Shell: found.Shell}
	if ok && found.Line == 0 {
		a.Place.File = "getent passwd"
	}
	if name != u.alias || u.aliasHome == "" {
		return a, ok, nil
	}
	a.Home = u.aliasHome
	if !ok {
		uid, gid, there, err := ownerOf(u.aliasHome)
		if err != nil || !there {
			return a, false, err
		}
		a.Place, a.Name, a.UID, a.GID = qmail.Place{File: u.aliasHome}, name, uid, gid
	}
	return a, true, nil
}

// owners tells who owns users' homes. It remembers for a moment, and a home on a file server that
// does not answer holds those up who ask for it, for at most a few seconds, and nobody else.
type owners struct {
	stat func(dir string) (uid, gid uint32, ok bool, err error)

	mu   sync.Mutex
	kept map[string]*owner
}

// owner is who owns a folder: known once done is closed.
type owner struct {
	done chan struct{}
	at   time.Time
	uid  uint32
	ok   bool
	err  error
}

const (
	ownerTTL     = 2 * time.Second
	ownerTimeout = 5 * time.Second
	maxOwners    = 10_000
)

// of returns the owner of a folder; ok is false where there is none.
func (o *owners) of(dir string) (uid uint32, ok bool, err error) {
	now := time.Now()
	o.mu.Lock()
	known := o.kept[dir]
	if known == nil || known.over() && now.Sub(known.at) >= ownerTTL {
		if o.kept == nil || len(o.kept) >= maxOwners {
			o.kept = map[string]*owner{}
		}
		known = &owner{done: make(chan struct{}), at: now}
		o.kept[dir] = known
		go func() {
			defer close(known.done)
			known.uid, _, known.ok, known.err = o.stat(dir)
		}()
	}
	o.mu.Unlock()
	if known.over() {
		return known.uid, known.ok, known.err
	}
	late := time.NewTimer(ownerTimeout - now.Sub(known.at))
	defer late.Stop()
	select {
	case <-known.done:
		return known.uid, known.ok, known.err
	case <-late.C:
		return 0, false, fmt.Errorf("%s: the file system does not answer", dir)
	}
}

func (o *owner) over() bool {
	select {
	case <-o.done:
		return true
	default:
		return false
	}
}

// ownerOf looks at a folder. What cannot be there or be seen is not there, as for qmail-getpw; other
// trouble may pass.
func ownerOf(dir string) (uid, gid uint32, ok bool, err error) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ENOTDIR),
		errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, fs.ErrInvalid):
		return 0, 0, false, nil
	case err != nil:
		return 0, 0, false, err
	}
	sys, known := info.Sys().(*syscall.Stat_t)
	if !known {
		return 0, 0, false, errors.New(dir + ": this system does not tell owners, uid " + strconv.Itoa(os.Getuid()))
	}
	return sys.Uid, sys.Gid, true, nil
}
