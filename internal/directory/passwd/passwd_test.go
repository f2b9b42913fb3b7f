package passwd

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/directory/sysuser"
	"github.com/postilion/postilion/internal/mail"
)

// fixed are users of a test.
type fixed map[string]sysuser.User

var errTrouble = errors.New("trouble")

func (f fixed) Lookup(name string) (sysuser.User, bool, error) {
	if name == "trouble" {
		return sysuser.User{}, false, errTrouble
	}
	u, ok := f[name]
	return u, ok, nil
}

func TestAUserIsAnAccountWithTheMaildirOfTheHome(t *testing.T) {
	t.Parallel()
	s := &Source{Maildir: "Maildir", Domains: []string{"example.test", "mx.example.test"}, Users: fixed{
		"joe":  {Name: "joe", UID: 507, GID: 100, Gecos: "Joe,room 3", Home: "/home/joe/", Shell: "/bin/sh"},
		"root": {Name: "root", Home: "/root"}, "odd": {Name: "odd", UID: 9, Home: "home"},
	}}
	want := &directory.Account{ID: 1<<62 | 507, Address: mail.Address{Local: "joe", Domain: "example.test"}, Name: "Joe", Mailbox: "Maildir",
		System: &directory.SystemUser{Name: "joe", UID: 507, GID: 100, Home: "/home/joe"}}
	for _, domain := range []string{"", "example.test", "MX.example.TEST"} {
		have, ok, err := s.Find("joe", domain)
		if diff := cmp.Diff(want, have); diff != "" || !ok || err != nil {
			t.Errorf("%q: %v, %v, %s", domain, ok, err, diff)
		}
	}
	for _, c := range [][2]string{{"joe", "other.test"}, {"root", ""}, {"odd", ""}, {"nobody", ""}, {"", ""}, {"a:b", ""}} {
		if have, ok, err := s.Find(c[0], c[1]); ok || err != nil {
			t.Errorf("%v: have %+v, %v", c, have, err)
		}
	}
	if _, _, err := s.Find("trouble", ""); !errors.Is(err, errTrouble) {
		t.Errorf("have %v", err)
	}
}
