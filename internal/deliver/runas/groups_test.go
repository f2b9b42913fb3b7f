package runas

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/directory/sysuser"
	"github.com/postilion/postilion/internal/reason"
)

const groupFile = `root:x:0:
disk:x:6:joe
broken
shadow:x:forty
shadow:x:42:
disk:x:7:
docker:x:998:
users:x:100:
staff:x:50:
`

const passwdFile = `root:x:0:0::/root:/bin/sh
joe:x:1001:100::/home/joe:/bin/sh
kim:x:1002:50::/home/kim:/bin/sh
ops:x:1003:0::/home/ops:/bin/sh
`

// testGroups are groups of files of the test's own.
func testGroups(t *testing.T, list string) *groups {
	t.Helper()
	g, err := newGroups(list)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	g.file.Path = filepath.Join(dir, "group")
	if err := errors.Join(os.WriteFile(g.file.Path, []byte(groupFile), 0o600), os.WriteFile(filepath.Join(dir, "passwd"), []byte(passwdFile), 0o600)); err != nil {
		t.Fatal(err)
	}
	g.users = sysuser.New(sysuser.Options{Passwd: filepath.Join(dir, "passwd")})
	g.reserved[64120] = true
	return g
}

func TestGroupsOfPowerAreNotGiven(t *testing.T) {
	t.Parallel()
	joe := func(gid uint32) User { return User{Name: "joe", UID: 1001, GID: gid, Home: "/home/joe"} }
	for _, c := range []struct {
		list string
		user User
		want string
	}{
		{"", joe(100), ""},
		{"", joe(7), ""}, // the second of two disks
		{"", joe(89), ""},
		{"", joe(6), `User joe would be served with group disk, which gives power over the machine.`},
		{"", joe(42), `User joe would be served with group shadow, which gives power over the machine.`},
		{"", joe(998), `User joe would be served with group docker, which gives power over the machine.`},
		{"", joe(0), `User joe would be served with group root, which gives power over the machine.`},
		{"", joe(64120), `User joe is one of the server's own and gets no deliveries.`},
		{"", User{Name: "kim", UID: 1002, GID: 50, Home: "/"}, ""}, // her own
		{"", User{Name: "kim", UID: 1001, GID: 50, Home: "/"}, `User kim would be served with group staff, which gives power over the machine.`},
		{"", User{Name: "joe", UID: 1002, GID: 50, Home: "/"}, `User joe would be served with group staff, which gives power over the machine.`},
		{"", User{Name: "ops", UID: 1003, GID: 0, Home: "/"}, `User ops would be served with group root, which gives power over the machine.`},
		{"disk 100", joe(100), ""}, // his own
		{"disk 89", joe(89), `User joe would be served with group 89, which gives power over the machine.`},
		{"disk 89", joe(42), ""},
		{"disk 89", joe(0), ""},
		{"root", joe(0), `User joe would be served with group root, which gives power over the machine.`},
		{"none", joe(0), ""},
		{"none", joe(64120), `User joe is one of the server's own and gets no deliveries.`},
	} {
		err := testGroups(t, c.list).check(c.user)
		if have := textOf(err); have != c.want {
			t.Errorf("%q, %+v: have %q, want %q", c.list, c.user, have, c.want)
		}
	}
}

func textOf(err *reason.Error) string {
	if err == nil {
		return ""
	}
	return err.Text(reason.English)
}

func TestAHostWithoutAFileOfGroupsRefusesRootsAlone(t *testing.T) {
	t.Parallel()
	g := testGroups(t, "")
	g.file.Path += ".gone"
	for gid, want := range map[uint32]bool{0: true, 6: false} {
		if err := g.check(User{Name: "joe", UID: 1001, GID: gid, Home: "/"}); (err != nil) != want {
			t.Errorf("gid %d: have %v", gid, err)
		}
	}
}

func TestTheListOfGroupsIsThatOfTheDocumentation(t *testing.T) {
	t.Parallel()
	f, _ := reflect.TypeFor[Options]().FieldByName("RefusedGroups")
	if have := f.Tag.Get("default"); have != strings.Join(powerful, " ") {
		t.Errorf("have %s", have)
	}
	for _, list := range []string{"disk,shadow", "none disk", "a:b"} {
		if err := (Options{RefusedGroups: list}).Validate(); err == nil || !strings.Contains(err.Error(), "want names or numbers of groups") {
			t.Errorf("%q: have %v", list, err)
		}
	}
}

// A role that does not keep to the rule itself is refused by the one that has root.
func TestAServerGivesNobodyAGroupOfPower(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.GID = 0
	c := newClient(t, Options{})
	check := func(want reason.ID) {
		t.Helper()
		_, err1 := c.Search(context.Background(), u, Search{Names: []string{".qmail"}})
		_, err2 := c.Run(context.Background(), u, Command{Args: []string{"/bin/true"}})
		for _, err := range []error{err1, err2} {
			if err == nil || want != "" && reason.As(err).Reason != want {
				t.Errorf("have %v", err)
			}
		}
	}
	check(reason.RunasGroup.Reason)
	c.rule = rule{}
	check("")
	c.Close() // the server hangs up on who asks for such things, at any moment now
	u.GID = u.UID
	if _, err := c.Search(context.Background(), u, Search{Names: []string{".qmail"}}); err != nil {
		t.Error(err)
	}
}
