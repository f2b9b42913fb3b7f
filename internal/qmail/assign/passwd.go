package assign

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/qmail"
)

// Account is a line of passwd(5).
type Account struct {
	qmail.Place
	Name     string
	UID, GID uint32
	Home     string
	Shell    string
}

// ParsePasswd reads passwd(5). Lines that are no accounts are left out, comments and the
// "+" lines of NIS among them.
func ParsePasswd(file string, data []byte) []Account {
	var out []Account
	for n, line := range qmail.Lines(data) {
		f := strings.Split(line, ":")
		if len(f) < 7 || f[0] == "" || line[0] == '#' || line[0] == '+' || line[0] == '-' {
			continue
		}
		uid, err1 := strconv.ParseUint(f[2], 10, 32)
		gid, err2 := strconv.ParseUint(f[3], 10, 32)
		if err1 != nil || err2 != nil {
			continue
		}
		out = append(out, Account{qmail.Place{File: file, Line: n}, f[0], uint32(uid), uint32(gid), f[5], f[6]})
	}
	return out
}

// maxName is the longest user name that is looked up, in bytes.
const maxName = 31

// Getpw is qmail-getpw's rule (qmail reference 8.5): who is asked for a local part that
// users/assign does not know.
type Getpw struct {
	// Account looks a user of the system up by name. An error means that the answer is not
	// known now.
	Account func(name string) (Account, bool, error)
	// Owner returns who owns a folder; ok is false where it does not exist. An error means
	// that the answer is not known now, as on a file server that does not answer.
	Owner func(dir string) (uid uint32, ok bool, err error)
	Break byte   // what ends a name; 0 means "-"
	Alias string // the user of all other addresses; "" means "alias"
}

// Skip is a user whose name fits but who gets no mail, and why.
type Skip struct {
	Account Account
	Why     string
}

// ErrNoAlias: not even the user alias exists. qmail-lspawn says "Unable to find alias user!".
var ErrNoAlias = fmt.Errorf("no user of the system has this name, and the user alias does not exist")

// User returns the user of a local part, from the longest name on, and the users that were
// passed over: root, those without a home, those whose home is another's. Names are looked
// up in lower case, so users with capitals are never found. In the end it is the user
// alias, with the whole local part as its extension.
func (g Getpw) User(local string) (User, []Skip, error) {
	sep, alias := g.Break, g.Alias
	sep = cmp.Or(sep, '-')
	alias = cmp.Or(alias, "alias")
	var skips []Skip
	for i := len(local); i > 0; i-- {
		if i > maxName || i < len(local) && local[i] != sep || strings.IndexByte(local[:i], 0) >= 0 {
			continue
		}
		a, ok, err := g.Account(qmail.Lower(local[:i]))
		if err != nil {
			return User{}, skips, err
		}
		if !ok {
			continue
		}
		why, err := g.refuse(a)
		if err != nil {
			return User{}, skips, err
		}
		if why != "" {
			skips = append(skips, Skip{a, why})
			continue
		}
		u := User{Place: a.Place, Name: a.Name, UID: a.UID, GID: a.GID, Home: a.Home}
		if i < len(local) {
			u.Dash, u.Ext = "-", local[i+1:]
		}
		return u, skips, nil
	}
	a, ok, err := g.Account(alias)
	if err == nil && !ok {
		err = ErrNoAlias
	}
	if err != nil {
		return User{}, skips, err
	}
	return User{a.Place, a.Name, a.UID, a.GID, a.Home, "-", local}, skips, nil
}

// refuse tells why an account gets no mail of its own; "" where it does.
func (g Getpw) refuse(a Account) (string, error) {
	if a.UID == 0 {
		return "has uid 0, and nothing is delivered as root", nil
	}
	owner, ok, err := g.Owner(a.Home)
	switch {
	case err != nil:
		return "", err
	case !ok:
		return fmt.Sprintf("its home %q does not exist", a.Home), nil
	case owner != a.UID:
		return fmt.Sprintf("its home %q belongs to uid %d, not to uid %d", a.Home, owner, a.UID), nil
	}
	return "", nil
}
