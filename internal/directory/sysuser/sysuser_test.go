package sysuser

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// write makes a file and returns its path.
func write(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

const passwd = "root:x:0:0:root:/root:/bin/sh\njoe:x:507:100:Joe,,,:/home/joe:/bin/sh\njoe:x:508:100::/home/other:/bin/sh\n" +
	"# comment\n+::::::\nbroken:x:50\nbad:x:-1:0::/:/\nlast:x:4294967294:1::/l:"

func TestAUserIsFoundAsInPasswd(t *testing.T) {
	t.Parallel()
	u := New(Options{Passwd: write(t, "passwd", passwd, 0o644)})
	want := User{Name: "joe", UID: 507, GID: 100, Gecos: "Joe,,,", Home: "/home/joe", Shell: "/bin/sh", Line: 2}
	if got, ok, err := u.Lookup("joe"); err != nil || !ok || got != want {
		t.Errorf("%+v %v %v: %s", got, ok, err, cmp.Diff(want, got))
	}
	if got, ok, _ := u.Lookup("last"); !ok || got.UID != 4294967294 {
		t.Errorf("the last line: %+v %v", got, ok)
	}
	for _, name := range []string{"", "nobody", "broken", "bad", "+", "Joe", "# comment"} {
		if got, ok, err := u.Lookup(name); ok || err != nil {
			t.Errorf("%q: %+v %v", name, got, err)
		}
	}
}

func TestAMissingPasswdIsTroubleNotNobody(t *testing.T) {
	t.Parallel()
	if _, ok, err := New(Options{Passwd: filepath.Join(t.TempDir(), "none")}).Lookup("joe"); ok || err == nil {
		t.Error(ok, err)
	}
}

func TestGetentIsAskedOnlyWhereItMayKnowMoreAndOnceAMinute(t *testing.T) {
	t.Parallel()
	asked := filepath.Join(t.TempDir(), "asked")
	getent := write(t, "getent", "#!/bin/sh\necho \"$3\" >>"+asked+`
case $3 in
  net) echo net:x:600:600::/home/net:/bin/sh;;
  other) echo another:x:601:601::/home/another:/bin/sh;;
  trouble) exit 3;;
  *) exit 2;;
esac
`, 0o755)
	now := time.Now()
	users := func(nss string) *Users {
		return New(Options{Passwd: write(t, "passwd", passwd, 0o644), NSSwitch: write(t, "nsswitch.conf", nss, 0o644), Getent: getent, Now: func() time.Time { return now }})
	}
	quiet := users("passwd: files systemd\ngroup: files ldap\n")
	if _, ok, err := quiet.Lookup("net"); ok || err != nil {
		t.Error("files alone:", ok, err)
	}
	u := users("passwd:\tfiles [NOTFOUND=continue UNAVAIL=return] ldap # directory\n")
	for range 3 {
		if got, ok, err := u.Lookup("net"); err != nil || !ok || got.UID != 600 {
			t.Error(got, ok, err)
		}
	}
	for _, name := range []string{"joe", "nobody", "nobody", "other", "1000", "-x", "a b", "a:b", ""} {
		if got, ok, err := u.Lookup(name); err != nil || ok != (name == "joe") {
			t.Errorf("%q: %+v %v %v", name, got, ok, err)
		}
	}
	for range 2 {
		if _, ok, err := u.Lookup("trouble"); ok || err == nil {
			t.Error("trouble:", ok, err)
		}
	}
	now = now.Add(time.Minute)
	u.Lookup("net")
	got, err := os.ReadFile(asked)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("net\nnobody\nother\ntrouble\ntrouble\nnet\n", string(got)); diff != "" {
		t.Error(diff)
	}
}
