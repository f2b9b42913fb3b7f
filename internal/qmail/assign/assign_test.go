package assign_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/qmail/assign"
	"github.com/postilion/postilion/internal/qmail/cdb"
)

const table = `=joe:joe:507:100:/home/joe:::
+joe-:joe:507:100:/home/joe:-::
=joe-Exact:jim:508:100:/home/jim:-:x:
+joe-list-:lists:509:100:/home/lists:-:joe-:
+dom.ain-:dom.ain:89:89:/home/vpopmail/domains/dom.ain:-::
=joe:second:1:1:/:::
+:alias:7790:2108:/var/qmail/alias:-::
.
this is not read
`

// both returns the table in text and compiled.
func both(t testing.TB, text string) (inText, compiled assign.Lookup) {
	t.Helper()
	entries, err := assign.Parse("users/assign", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var f cdb.Buffer
	if err := assign.Compile(entries, &f); err != nil {
		t.Fatal(err)
	}
	r, err := cdb.FromBytes(f.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	db, err := assign.NewDB("users/cdb", r)
	if err != nil {
		t.Fatal(err)
	}
	return assign.NewTable(entries), db
}

func TestLookup(t *testing.T) {
	t.Parallel()
	text, db := both(t, table)
	for local, want := range map[string]string{
		"joe":             "1 joe 507 /home/joe dash  ext ",
		"JOE":             "1 joe 507 /home/joe dash  ext ",
		"joe-Foo.Bar":     "2 joe 507 /home/joe dash - ext Foo.Bar",
		"Joe-EXACT":       "3 jim 508 /home/jim dash - ext x",
		"joe-exact-no":    "2 joe 507 /home/joe dash - ext exact-no",
		"joe-list-A-b":    "4 lists 509 /home/lists dash - ext joe-A-b",
		"joe-list-":       "4 lists 509 /home/lists dash - ext joe-",
		"joe-":            "2 joe 507 /home/joe dash - ext ",
		"dom.ain-Info":    "5 dom.ain 89 /home/vpopmail/domains/dom.ain dash - ext Info",
		"joey":            "7 alias 7790 /var/qmail/alias dash - ext joey",
		"Nobody-X":        "7 alias 7790 /var/qmail/alias dash - ext Nobody-X",
		"":                "7 alias 7790 /var/qmail/alias dash - ext ",
		"this is not rea": "7 alias 7790 /var/qmail/alias dash - ext this is not rea",
	} {
		for _, l := range []assign.Lookup{text, db} {
			u, ok, err := l.Lookup(local)
			if err != nil || !ok {
				t.Fatalf("%q: %v, %v", local, ok, err)
			}
			got := fmt.Sprintf("%d %s %d %s dash %s ext %s", u.Line, u.Name, u.UID, u.Home, u.Dash, u.Ext)
			w := want
			if l == db {
				w = "0" + want[1:]
			}
			if got != w {
				t.Errorf("%q: %s, want %s", local, got, w)
			}
		}
	}
}

func TestNoCatchAllFindsNobody(t *testing.T) {
	t.Parallel()
	for _, text := range []string{".\n", "+a-:a:1:1:/:-::\n."} {
		inText, db := both(t, text)
		for _, l := range []assign.Lookup{inText, db} {
			if u, ok, err := l.Lookup("nobody"); ok || err != nil {
				t.Errorf("%q: %+v, %v", text, u, err)
			}
		}
	}
}

func TestTextAndDatabaseAgree(t *testing.T) {
	t.Parallel()
	word := rapid.StringMatching(`[abA.\-]{0,4}`)
	rapid.Check(t, func(rt *rapid.T) {
		var text strings.Builder
		for i := range rapid.IntRange(0, 12).Draw(rt, "lines") {
			fmt.Fprintf(&text, "%s%s:u%d:%d:1:/h:-:%s:\n", rapid.SampledFrom([]string{"=", "+"}).Draw(rt, "kind"),
				word.Draw(rt, "key"), i, i+1, word.Draw(rt, "ext"))
		}
		inText, db := both(t, text.String()+".\n")
		local := word.Draw(rt, "local") + word.Draw(rt, "rest")
		a, okA, errA := inText.Lookup(local)
		b, okB, errB := db.Lookup(local)
		a.Place = b.Place
		if okA != okB || errA != nil || errB != nil || a != b {
			rt.Fatalf("%q in\n%s: %+v %v %v, %+v %v %v", local, text.String(), a, okA, errA, b, okB, errB)
		}
	})
}

func TestCompiledRecords(t *testing.T) {
	t.Parallel()
	entries, err := assign.Parse("f", []byte("=Joe:joe:507:100:/home/joe:::\n+Joe-:joe:507:100:/home/joe:-:pre:\n+x.Y:j:1:2:/h:-::ignored:too\n+:alias:3:4:/a:-::\n."))
	if err != nil {
		t.Fatal(err)
	}
	var f cdb.Buffer
	if err := assign.Compile(entries, &f); err != nil {
		t.Fatal(err)
	}
	r, _ := cdb.FromBytes(f.Bytes())
	var got []string
	for rec, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%q=%q", rec.Key, rec.Value))
	}
	want := []string{
		`"!joe\x00"="joe\x00507\x00100\x00/home/joe\x00\x00"`,
		`"!joe-"="joe\x00507\x00100\x00/home/joe\x00-\x00pre"`,
		`"!x.y"="j\x001\x002\x00/h\x00-\x00"`,
		`"!"="alias\x003\x004\x00/a\x00-\x00"`,
		`""="-Y"`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestBrokenFilesAreTold(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ in, want string }{
		{"", "users/assign:1: the file ends here, want a last line that is a dot: it may have been cut off"},
		{"=joe:joe:507:100:/home/joe:::\n", "users/assign:2: the file ends here, want a last line that is a dot: it may have been cut off"},
		{"=joe:joe:507:100:/home/joe::\n.\n", "users/assign:1: 6 colons, want 7 as in =local:user:uid:gid:home:dash:ext:"},
		{"=joe:joe:507:100:/home/joe:::\n\n.\n", "users/assign:2: an empty line, want =local:user:uid:gid:home:dash:ext: or +local:…"},
		{"# comment\n.\n", `users/assign:1: "# comment", want =local:user:uid:gid:home:dash:ext: or +local:…`},
		{":joe:507:100:/home/joe:::\n.\n", `users/assign:1: ":joe:507:100:/home/joe:::", want =local:user:uid:gid:home:dash:ext: or +local:…`},
		{"=joe:joe\x00:507:100:/home/joe:::\n.\n", "users/assign:1: a NUL byte, want =local:user:uid:gid:home:dash:ext: or +local:…"},
		{"=\x1b[2J\n.\n", `users/assign:1: "=\x1b[2J", want =local:user:uid:gid:home:dash:ext: or +local:…`},
	} {
		if _, err := assign.Parse("users/assign", []byte(tc.in)); err == nil || err.Error() != tc.want {
			t.Errorf("%q: %v; want %s", tc.in, err, tc.want)
		}
	}
}

func TestBadNumbersAreToldAtLookup(t *testing.T) {
	t.Parallel()
	text, db := both(t, "=joe:joe:x:100:/h:::\n=jim:jim:0:4294967296:/h:::\n.\n")
	for _, tc := range []struct {
		l           assign.Lookup
		local, want string
	}{
		{text, "joe", `users/assign:1: user "joe": uid "x", want a number up to 4294967295`},
		{db, "joe", `users/cdb: user "joe": uid "x", want a number up to 4294967295`},
		{db, "jim", `users/cdb: user "jim": gid "4294967296", want a number up to 4294967295`},
	} {
		if _, ok, err := tc.l.Lookup(tc.local); ok || err == nil || err.Error() != tc.want {
			t.Errorf("%s: %v, %v; want %s", tc.local, ok, err, tc.want)
		}
	}
}

func TestBrokenDatabases(t *testing.T) {
	t.Parallel()
	r, _ := cdb.FromBytes(make([]byte, 2048))
	const want = "users/cdb: a constant database, but none of qmail-newu: it has no list of wildcard characters"
	if _, err := assign.NewDB("users/cdb", r); err == nil || err.Error() != want {
		t.Error(err)
	}
	var f cdb.Buffer
	w := cdb.NewWriter(&f)
	_ = w.Put(nil, nil)
	_ = w.Put([]byte("!joe\x00"), []byte("joe\x00507"))
	_ = w.Close()
	r, _ = cdb.FromBytes(f.Bytes())
	db, err := assign.NewDB("users/cdb", r)
	if err != nil {
		t.Fatal(err)
	}
	const fields = `users/cdb: the record of "joe\x00" has 2 fields, want 6`
	if _, _, err := db.Lookup("joe"); err == nil || err.Error() != fields {
		t.Error(err)
	}
}

// getpw is qmail-getpw's rule on a system whose homes have these owners.
func getpw(owners map[string]uint32) assign.Getpw {
	accounts := assign.ParsePasswd("/etc/passwd", []byte(
		"root:x:0:0:root:/root:/bin/sh\nalias:x:7790:2108::/var/qmail/alias:/bin/sh\njoe:x:507:100::/home/joe:\nJim:x:508:100::/home/jim:\nnohome:x:509:100::/nohome:\nann-b:x:510:100::/home/annb:\nstolen:x:511:1::/home/joe:\n"))
	return assign.Getpw{
		Account: func(name string) (assign.Account, bool, error) {
			if name == "busy" {
				return assign.Account{}, false, errors.New("the directory does not answer")
			}
			for _, a := range accounts {
				if a.Name == name {
					return a, true, nil
				}
			}
			return assign.Account{}, false, nil
		},
		Owner: func(dir string) (uint32, bool, error) { u, ok := owners[dir]; return u, ok, nil },
	}
}

func TestLinesThatAreNoAccountsAreLeftOut(t *testing.T) {
	t.Parallel()
	got := assign.ParsePasswd("/etc/passwd", []byte("# c:x:1:1::/:\n+::::::\n-x:x:1:1::/:\n:x:1:1::/:\na:x:1:1::/\nb:x:one:1::/:\nc:x:1:-1::/:\nd:x:4294967296:1::/:\n\njoe:x:507:100::/home/joe:/bin/sh\n"))
	want := []assign.Account{{Place: qmail.Place{File: "/etc/passwd", Line: 10}, Name: "joe", UID: 507, GID: 100, Home: "/home/joe", Shell: "/bin/sh"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestGetpw(t *testing.T) {
	t.Parallel()
	g := getpw(map[string]uint32{"/home/joe": 507, "/root": 0, "/home/jim": 508, "/home/annb": 510})
	for local, want := range map[string]string{
		"joe":                             "joe/507 dash= ext= at /etc/passwd:3",
		"JOE-Foo.Bar":                     "joe/507 dash=- ext=Foo.Bar at /etc/passwd:3",
		"ann-b-c":                         "ann-b/510 dash=- ext=c at /etc/passwd:6",
		"ann-c":                           "alias/7790 dash=- ext=ann-c at /etc/passwd:2",
		"joe-":                            "joe/507 dash=- ext= at /etc/passwd:3",
		"jim":                             "alias/7790 dash=- ext=jim at /etc/passwd:2",
		"root":                            `alias/7790 dash=- ext=root at /etc/passwd:2; skipped root: has uid 0, and nothing is delivered as root`,
		"nohome-x":                        `alias/7790 dash=- ext=nohome-x at /etc/passwd:2; skipped nohome: its home "/nohome" does not exist`,
		"stolen":                          `alias/7790 dash=- ext=stolen at /etc/passwd:2; skipped stolen: its home "/home/joe" belongs to uid 507, not to uid 511`,
		"":                                "alias/7790 dash=- ext= at /etc/passwd:2",
		"-joe":                            "alias/7790 dash=- ext=-joe at /etc/passwd:2",
		"joe-" + strings.Repeat("x", 1e3): "joe/507 dash=- ext=" + strings.Repeat("x", 1e3) + " at /etc/passwd:3",
	} {
		u, skips, err := g.User(local)
		got := fmt.Sprintf("%s/%d dash=%s ext=%s at %s", u.Name, u.UID, u.Dash, u.Ext, u.Place)
		for _, s := range skips {
			got += "; skipped " + s.Account.Name + ": " + s.Why
		}
		if err != nil || got != want {
			t.Errorf("%q: %s, %v; want %s", local, got, err, want)
		}
	}
	if _, _, err := g.User("busy-x"); err == nil || err.Error() != "the directory does not answer" {
		t.Errorf("a directory that does not answer: %v", err)
	}
	g.Alias = "none"
	if _, _, err := g.User("nobody"); !errors.Is(err, assign.ErrNoAlias) {
		t.Errorf("without the user alias: %v", err)
	}
}

const accounts = `root:x:0:0::/root:/bin/sh
alias:x:7790:2108::/var/qmail/alias:/bin/sh
joe:x:507:100::/home/joe:/bin/sh
Cap:x:508:100::/home/cap:/bin/sh
none:x:509:100::/home/none:/bin/sh
broken:x:510
`

func TestPw2u(t *testing.T) {
	t.Parallel()
	owner := func(dir string) (uint32, bool, error) {
		u, ok := map[string]uint32{"/var/qmail/alias": 7790, "/home/joe": 507, "/home/cap": 508}[dir]
		if dir == "/home/err" {
			return 0, false, errors.New("no answer")
		}
		return u, ok, nil
	}
	const alias = "+:alias:7790:2108:/var/qmail/alias:-::\n=alias:alias:7790:2108:/var/qmail/alias:::\n+alias-:alias:7790:2108:/var/qmail/alias:-::\n"
	const joe = "=joe:joe:507:100:/home/joe:::\n+joe-:joe:507:100:/home/joe:-::\n"
	for _, tc := range []struct {
		name string
		o    assign.Pw2u
		want string
		err  string
	}{
		{"by default", assign.Pw2u{}, alias + joe + ".\n", ""},
		{"-u", assign.Pw2u{Capitals: true}, alias + joe + "=Cap:Cap:508:100:/home/cap:::\n+Cap-:Cap:508:100:/home/cap:-::\n.\n", ""},
		{"-h", assign.Pw2u{Homes: assign.HomesNeeded}, "", "unable to stat /home/none"},
		{"-H", assign.Pw2u{Homes: assign.HomesAny}, alias + joe + "=none:none:509:100:/home/none:::\n+none-:none:509:100:/home/none:-::\n.\n", ""},
		{"-C", assign.Pw2u{NoExt: true}, "+:alias:7790:2108:/var/qmail/alias:-::\n=alias:alias:7790:2108:/var/qmail/alias:::\n=joe:joe:507:100:/home/joe:::\n.\n", ""},
		{"-c+ -/", assign.Pw2u{Break: '+', Slash: true, Exclude: []byte("alias2\nJOE\n")}, "+:alias:7790:2108:/var/qmail/alias:-/::\n=alias:alias:7790:2108:/var/qmail/alias:::\n+alias+:alias:7790:2108:/var/qmail/alias:-/::\n.\n", ""},
		{"include without alias", assign.Pw2u{Include: []byte("joe\n")}, "", "unable to find alias user"},
		{"include", assign.Pw2u{Include: []byte("joe\nalias\n")}, alias + joe + ".\n", ""},
		{"mailnames", assign.Pw2u{Mailnames: []byte("joe:j:joseph.x\nalias::\n")}, "+:alias:7790:2108:/var/qmail/alias:-::\n" +
			"=j:joe:507:100:/home/joe:::\n+j-:joe:507:100:/home/joe:-::\n=joseph.x:joe:507:100:/home/joe:::\n+joseph.x-:joe:507:100:/home/joe:-::\n.\n", ""},
		{"subusers and append", assign.Pw2u{Subusers: []byte("nonsense\nsub:joe:pre:\n"), Append: []byte("+x-:joe:1:1:/x:-::")}, alias + joe +
			"=sub:joe:507:100:/home/joe:-:pre:\n+sub-:joe:507:100:/home/joe:-:pre-:\n+x-:joe:1:1:/x:-::\n.\n", ""},
		{"subuser of nobody", assign.Pw2u{Subusers: []byte("sub:jim:pre:\n")}, "", "unable to find jim user for subuser"},
	} {
		tc.o.Owner = owner
		var out bytes.Buffer
		err := tc.o.Convert([]byte(accounts), &out)
		if tc.err != "" {
			if err == nil || err.Error() != tc.err {
				t.Errorf("%s: %v, want %s", tc.name, err, tc.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		if d := cmp.Diff(tc.want, out.String()); d != "" {
			t.Errorf("%s: %s", tc.name, d)
		}
		if _, err := assign.Parse("users/assign", out.Bytes()); err != nil {
			t.Errorf("%s: what was written is no table: %v", tc.name, err)
		}
	}
	if err := (assign.Pw2u{Owner: owner}).Convert([]byte("x:x:1:1::/home/err:\n"), &bytes.Buffer{}); err == nil || err.Error() != "unable to stat /home/err" {
		t.Errorf("a home that cannot be looked at: %v", err)
	}
}

func FuzzAssign(f *testing.F) {
	f.Add([]byte(table), "joe-list-x")
	f.Add([]byte("+:a:1:1:/:-::\n."), "")
	f.Add([]byte("=a:::::::\n."), "a")
	f.Add([]byte("+A:b:1:2:/:-:e:\n+\x80:b:1:2:/:-:e:\n."), "a\x80")
	f.Fuzz(func(t *testing.T, data []byte, local string) {
		assign.ParsePasswd("f", data)
		_ = assign.Pw2u{Owner: func(string) (uint32, bool, error) { return 1, true, nil }, Mailnames: data, Subusers: data}.Convert(data, &bytes.Buffer{})
		entries, err := assign.Parse("f", data)
		if err != nil {
			return
		}
		var file cdb.Buffer
		if err := assign.Compile(entries, &file); err != nil {
			t.Fatal(err)
		}
		r, err := cdb.FromBytes(file.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		db, err := assign.NewDB("f", r)
		if err != nil {
			t.Fatal(err)
		}
		a, okA, errA := assign.NewTable(entries).Lookup(local)
		b, okB, errB := db.Lookup(local)
		a.Place = b.Place
		if okA != okB || (errA == nil) != (errB == nil) || a != b {
			t.Fatalf("text %+v %v %v, database %+v %v %v", a, okA, errA, b, okB, errB)
		}
	})
}
