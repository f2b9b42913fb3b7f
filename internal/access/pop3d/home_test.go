package pop3d

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/postilion/postilion/internal/access/session"
	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/fs"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/mailbox/maildir"
)

// tim is a user of the system.
var tim = &directory.SystemUser{Name: "tim", UID: 507, GID: 100, Home: "/home/tim"}

// systemAuth lets tim in.
type systemAuth struct{ users }

func (systemAuth) Password(context.Context, auth.Attempt, string, string) (auth.Identity, error) {
	return auth.Identity{Account: directory.SystemID(tim.UID), Address: "tim@host.test", User: "tim"}, nil
}

func TestAUserOfTheSystemReadsTheMaildirInTheHome(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{Plaintext: true})
	home := t.TempDir()
	if err := errors.Join(os.MkdirAll(filepath.Join(home, "Maildir", "new"), 0o700),
		os.WriteFile(filepath.Join(home, "Maildir", "new", "1.a"), []byte("Subject: at home\n\nx\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	account := &directory.Account{ID: directory.SystemID(tim.UID), Address: mail.Address{Local: "tim", Domain: "host.test"}, Mailbox: "Maildir", System: tim}
	w.Logins = &session.Logins{Auth: systemAuth{}, Directory: users{}, System: func(name string) (*directory.Account, bool, error) {
		return account, name == "tim", nil
	}}
	var asked *directory.SystemUser
	w.Homes = func(_ context.Context, u *directory.SystemUser) (*maildir.Store, error) {
		asked = u
		files, err := osfs.New(home)
		return maildir.New(maildir.Options{}, maildir.Deps{FS: files, Barrier: &fs.Barrier{FS: files}, Clock: w.clock}), err
	}
	c := w.local(t)
	c.line()
	for _, line := range []string{"USER tim", "PASS x", "STAT", "DELE 1", "QUIT"} {
		c.want(line, "+OK")
	}
	if asked != tim {
		t.Errorf("asked for %+v", asked)
	}
	if list, err := os.ReadDir(filepath.Join(home, "Maildir", "new")); err != nil || len(list) != 0 {
		t.Errorf("have %v, %v", list, err)
	}

	// A home that cannot be reached is trouble of the moment; without homes nobody is let in.
	for name, homes := range map[string]func(context.Context, *directory.SystemUser) (*maildir.Store, error){
		"hangs": func(context.Context, *directory.SystemUser) (*maildir.Store, error) { return nil, errors.New("hangs") }, "none": nil,
	} {
		w.Homes = homes
		c := w.local(t)
		c.line()
		c.want("USER tim", "+OK")
		if said := c.want("PASS x", "-ERR [SYS/TEMP]"); said == "" {
			t.Errorf("%s: no answer", name)
		}
	}
}
