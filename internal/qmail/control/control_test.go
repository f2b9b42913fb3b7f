package control_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/qmail/cdb"
	"github.com/postilion/postilion/internal/qmail/control"
)

func TestLineFiles(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                        "",
		"\n":                      "",
		"mx.test":                 "mx.test",
		"mx.test \t\nsecond\n":    "mx.test",
		" \tleading stays \t \n":  " \tleading stays",
		"# a comment is a value ": "# a comment is a value",
	} {
		if got := control.Line([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestIntegerFiles(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		in string
		n  int64
		ok bool
	}{
		{"", 0, false}, {"\n20", 0, false}, {" 20", 0, false}, {"-1", 0, false}, {"0", 0, true},
		{"20\n30\n", 20, true}, {"007x", 7, true}, {"99999999999999999999999", 1<<63 - 1, true},
	} {
		if n, ok := control.Int([]byte(tc.in)); n != tc.n || ok != tc.ok {
			t.Errorf("%q: %d, %v; want %d, %v", tc.in, n, ok, tc.n, tc.ok)
		}
	}
}

func TestListFiles(t *testing.T) {
	t.Parallel()
	got := control.List([]byte("# head\na.test \t\n\n #b\nc.test # d\n\t\nlast"))
	want := []control.Entry{{"a.test", 2}, {" #b", 4}, {"c.test # d", 5}, {"last", 7}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestTheLaterLineWins(t *testing.T) {
	t.Parallel()
	m := control.NewMap("f", []byte("A.test:one\nnocolon\na.TEST:two:three\n"))
	got, ok := m.Lookup("a.test")
	if want := (control.Match{Place: qmail.Place{File: "f", Line: 3}, Key: "a.TEST", Value: "two:three"}); !ok || got != want {
		t.Errorf("%+v", got)
	}
	if _, ok := m.Lookup("nocolon"); ok {
		t.Error("a line without a colon is an entry")
	}
	if _, ok := (*control.Table)(nil).Lookup("a"); ok {
		t.Error("a table that is missing has entries")
	}
}

// where gives a match as the line that decided.
func where(m control.Match, ok bool) string {
	if !ok {
		return "none"
	}
	return m.String()
}

func TestRcpthostsLooksAtSuffixesThenInTheDatabase(t *testing.T) {
	t.Parallel()
	var db cdb.Buffer
	if err := control.CompileRcpthosts([]byte("# more\nMORE.test \n.deep.test\n"), &db); err != nil {
		t.Fatal(err)
	}
	more, err := cdb.FromBytes(db.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	r := control.Rcpthosts{Hosts: control.NewSet("rcpthosts", []byte("a.test\n.b.test\n")), More: more, MoreFile: "morercpthosts.cdb"}
	for domain, want := range map[string]string{
		"A.Test": "rcpthosts:1", "x.a.test": "none", "b.test": "none", "x.y.b.test": "rcpthosts:2",
		"more.TEST": "morercpthosts.cdb", "x.deep.test": "morercpthosts.cdb", "deep.test": "none", "": "none",
	} {
		m, ok, err := r.Allows(domain)
		if err != nil || where(m, ok) != want {
			t.Errorf("%q: %s, %v; want %s", domain, where(m, ok), err, want)
		}
	}
}

func TestVector2MissingRcpthostsTakesEverything(t *testing.T) {
	t.Parallel()
	if _, ok, err := (control.Rcpthosts{}).Allows("anything.test"); !ok || err != nil {
		t.Error(ok, err)
	}
}

func TestBrokenMorercpthostsIsAnErrorNotARefusal(t *testing.T) {
	t.Parallel()
	bad, err := cdb.FromBytes(append(make([]byte, 2048), 1))
	if err != nil {
		t.Fatal(err)
	}
	r := control.Rcpthosts{Hosts: control.NewSet("f", nil), More: bad, MoreFile: "control/morercpthosts.cdb"}
	if _, ok, err := r.Allows("a.test"); ok || err != nil {
		t.Errorf("an empty table is no error: %v, %v", ok, err)
	}
	file := make([]byte, 2056)
	for i := range 256 {
		copy(file[i*8:], []byte{0, 0, 1, 0, 1, 0, 0, 0})
	}
	bad, _ = cdb.FromBytes(file)
	r.More = bad
	const want = "control/morercpthosts.cdb: not a constant database: a table of 1 slots at 65536 lies behind the end at 2056"
	if _, ok, err := r.Allows("a.test"); ok || !errors.Is(err, cdb.ErrBroken) || err.Error() != want {
		t.Errorf("%v, %v", ok, err)
	}
}

// in looks domains up in a table, for Unwind.
func in(t *control.Table) func(string) (control.Match, bool, error) {
	return func(domain string) (control.Match, bool, error) {
		m, ok := t.Lookup(domain)
		return m, ok, nil
	}
}

func TestVector16PercenthackUnwindsTheLastPercentWhileListed(t *testing.T) {
	t.Parallel()
	listed := in(control.NewSet("percenthack", []byte("ph.test\n")))
	for addr, want := range map[string]string{
		"p%q.test%virt.test@ph.test":       "p%q.test@virt.test",
		"p%q.test%PH.test@ph.test":         "p@q.test",
		"plain@ph.test":                    "plain@ph.test",
		"p%q.test@other.test":              "p%q.test@other.test",
		"a%ph.test%ph.test%ph.test@PH.tes": "a%ph.test%ph.test%ph.test@PH.tes",
		"%ph.test":                         "%ph.test",
	} {
		if got, _, err := control.Unwind(mail.ParseAddress(addr), listed); err != nil || got.String() != want {
			t.Errorf("%s: %s, %v, want %s", addr, got, err, want)
		}
	}
	if _, by, _ := control.Unwind(mail.ParseAddress("a%ph.test%ph.test@ph.test"), listed); len(by) != 2 || by[0].String() != "percenthack:1" {
		t.Errorf("the lines that decided: %v", by)
	}
}

func TestVirtualdomainsOrder(t *testing.T) {
	t.Parallel()
	v := control.Virtualdomains{Table: control.NewMap("vd", []byte("u@exact.test:joe-ex\nexc.wild.test:\n.wild.test:joe-wild\nvirt.test:joe-vv\n.test:tld\n"))}
	for in, want := range map[string]string{
		"U@EXACT.test":    "vd:1", // vector 13: that address alone
		"other@exact.tes": "none",
		"x@exc.wild.test": "vd:2", // vector 14: an exception under a wildcard
		"x@a.b.wild.test": "vd:3",
		"x@wild.test":     "vd:5",
		"x@Virt.Test":     "vd:4",
		"x@org.example":   "none",
		"x":               "none",
	} {
		if got := where(v.Find(mail.ParseAddress(in))); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	all := control.Virtualdomains{Table: control.NewMap("vd", []byte(":everything\n"))}
	if m, ok := all.Find(mail.ParseAddress("x@any.test")); !ok || m.Value != "everything" {
		t.Errorf("%+v, %v", m, ok)
	}
}

// What is said of a line ends up in logs.
func TestAWrongRelayIsQuotedWithoutItsPassword(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"[::1:25|joe|secret":      `relay "[::1:25|...": want ] behind the address`,
		"[::1]25|joe|secret":      `relay "[::1]25|...": want : and a port behind the address`,
		"gw.test joe secret":      `relay "gw.test ...": a blank in the host name`,
		" gw.test:25 joe secret":  `relay " gw.test:25 ...": a blank in the host name`,
		"gw.test:25|joe":          `relay "gw.test:25": want a user and a password behind the port`,
		"gw.test:smtp|joe|secret": `relay "gw.test": port "smtp", want a number from 1 to 65535`,
	} {
		if _, err := control.ParseRelay(value); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", value, err, want)
		}
	}
}

func TestVector17Smtproutes(t *testing.T) {
	t.Parallel()
	s := control.Smtproutes{Table: control.NewMap("smtproutes", []byte(
		"x.route.test:\n.route.test:gw.test\n:catch.test:2525\nv6.test:[2001:db8::1]:26\nlit.test:[192.0.2.1]\nauth.test:sub.test:587|joe|pa|ss\nblank.test:sub.test:465 joe pass\nbad.test:gw:0\n"))}
	for host, want := range map[string]control.Relay{
		"X.route.test":  {},
		"y.route.test":  {Host: "gw.test"},
		"route.test":    {Host: "catch.test", Port: 2525},
		"v6.test":       {Host: "2001:db8::1", Port: 26},
		"lit.test":      {Host: "192.0.2.1"},
		"auth.test":     {Host: "sub.test", Port: 587, User: "joe", Password: "pa|ss"},
		"blank.test":    {Host: "sub.test", Port: 465, User: "joe", Password: "pass"},
		"elsewhere.org": {Host: "catch.test", Port: 2525},
	} {
		got, _, ok, err := s.Find(host)
		if !ok || err != nil || got != want {
			t.Errorf("%s: %+v, %v, %v; want %+v", host, got, ok, err, want)
		}
	}
	const want = `smtproutes:8: relay "gw": port "0", want a number from 1 to 65535`
	if _, _, ok, err := s.Find("bad.test"); !ok || err == nil || err.Error() != want {
		t.Errorf("%v, %v", ok, err)
	}
}

func TestFilesAreInAlphabeticalOrderAndComplete(t *testing.T) {
	t.Parallel()
	last := ""
	for _, f := range control.Files() {
		if f.Name <= last || f.Meaning == "" || f.Readers == "" {
			t.Errorf("%+v behind %s", f, last)
		}
		last = f.Name
	}
	if f, ok := control.FileNamed("timeoutsmtpd"); !ok || f.Default != "1200" || f.Kind != control.KindInt {
		t.Errorf("%+v", f)
	}
}

func TestBrokenFilesAreTold(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ file, in, want string }{
		{"me", "mx.test\n", ""},
		{"me", " mx.test\n", `control/me:1: " mx.test" begins with a blank, which is part of the value`},
		{"me", "mx.test\r\n", `control/me:1: "mx.test\r" ends with a carriage return, which qmail takes for part of the value; here it is dropped`},
		{"me", "\nmx.test\n", `control/me:1: the value is empty, and an empty value is not the default
control/me:2: "mx.test" is not read: only the first line counts`},
		{"me", "mx\x00.test", `control/me:1: a NUL byte: this is no text file`},
		{"databytes", "100\n", ""},
		{"databytes", "10M\n", `control/databytes:1: "10M" is read as 10: want digits alone`},
		{"timeoutsmtpd", " 5\n", `control/timeoutsmtpd:1: " 5" does not begin with a digit, so the default 1200 holds`},
		{"locals", "# ok\na.test\n", ""},
		{"locals", "a.test\n b.test\nc.test # x\nA.TEST\nd.test\r\n", `control/locals:2: " b.test" begins with a blank, which is part of the entry, so it never matches
control/locals:3: "c.test # x" holds a blank, which is part of the entry
control/locals:4: "A.TEST" stands in line 1 already
control/locals:5: "d.test\r" ends with a carriage return, which is part of the entry`},
		{"rcpthosts", "a.test\n*.b.test\n", `control/rcpthosts:2: "*.b.test" holds *, which stands for nothing: all hosts below a domain are .DOMAIN`},
		{"badmailfrom", "*@b.test\n", ""},
		{"virtualdomains", "a.test:joe\n", ""},
		{"virtualdomains", "a.test\na.test: joe\na.test:jim\n", `control/virtualdomains:1: "a.test" has no colon, so it is ignored
control/virtualdomains:2: "a.test: joe" holds a blank, which is part of the entry
control/virtualdomains:2: "a.test" stands again in line 3, which is the one that counts`},
		{"smtproutes", "a.test:gw:99999\nb.test:[::1\nc.test:[::1]x\nd.test:gw:25|joe\ne.test: gw\n", `control/smtproutes:1: relay "gw": port "99999", want a number from 1 to 65535
control/smtproutes:2: relay "[::1": want ] behind the address
control/smtproutes:3: relay "[::1]x": want : and a port behind the address
control/smtproutes:4: relay "gw:25": want a user and a password behind the port
control/smtproutes:5: relay " gw": a blank in the host name`},
	} {
		f, ok := control.FileNamed(tc.file)
		if !ok {
			t.Fatal(tc.file)
		}
		got := ""
		for i, fault := range control.Check(f, "control/"+tc.file, []byte(tc.in)) {
			if i > 0 {
				got += "\n"
			}
			got += fault.Error()
		}
		if d := cmp.Diff(tc.want, got); d != "" {
			t.Errorf("%s %q: %s", tc.file, tc.in, d)
		}
	}
}

func FuzzControl(f *testing.F) {
	for _, s := range []string{"mx.test\n", "a.test:gw:25|u|p\n", ":x\n.b:\n", "#\n\n 12", "a%b@c", "v:[::1]:2"} {
		f.Add([]byte(s), "x.y@a.b.test")
	}
	f.Fuzz(func(t *testing.T, data []byte, address string) {
		a := mail.ParseAddress(address)
		for _, file := range control.Files() {
			control.Check(file, file.Name, data)
		}
		set, m := control.NewSet("f", data), control.NewMap("f", data)
		for _, e := range set.Entries() {
			if got, ok := set.Lookup(e.Key); !ok || got.Line < e.Line {
				t.Fatalf("%q of line %d is found in %+v", e.Key, e.Line, got)
			}
		}
		control.Virtualdomains{Table: m}.Find(a)
		control.Unwind(a, in(set))
		if r, _, ok, err := (control.Smtproutes{Table: m}).Find(a.Domain); ok && err == nil && (r.Port < 0 || r.Port > 65535) {
			t.Fatalf("%+v", r)
		}
		if _, _, err := (control.Rcpthosts{Hosts: set}).Allows(a.Domain); err != nil {
			t.Fatal(err)
		}
	})
}
