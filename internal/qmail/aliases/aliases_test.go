package aliases_test

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/qmail/aliases"
	"github.com/postilion/postilion/internal/qmail/cdb"
	"github.com/postilion/postilion/internal/qmail/cdb/cdbtest"
)

const etcAliases = `# system
postmaster: root
Root: joe, \jim,
	"|/usr/bin/prog -x \"a, b\"", |/bin/cat > /tmp/x
 , :include:/etc/list , "/var/mail/all"
staff: Joe Doe <joe@a.test> (the, first), "a b"@c.test, \
kim@a.test
"quo ted" : x
jo\,e: x (of \) us), y
a@b.test: y
@b.test: /dev/null
owner-staff: boss
owner-postmaster: one, two
`

// show gives aliases one a line, without their faults.
func show(list []aliases.Alias) string {
	var b strings.Builder
	for _, a := range list {
		fmt.Fprintf(&b, "%d %s:", a.Line, a.Name)
		for _, t := range a.Targets {
			fmt.Fprintf(&b, " %d %s %q", t.Line, t.Kind, t.Text)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestAliases(t *testing.T) {
	t.Parallel()
	list, faults := aliases.Parse("/etc/aliases", []byte(etcAliases))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	const want = `2 postmaster: 2 address "root"
3 Root: 3 address "joe" 3 exact "jim" 4 program "/usr/bin/prog -x \"a, b\"" 4 program "/bin/cat > /tmp/x" 5 include "/etc/list" 5 file "/var/mail/all"
6 staff: 6 address "joe@a.test" 6 address "a b@c.test" 7 address "kim@a.test"
8 quo ted: 8 address "x"
9 jo,e: 9 address "x" 9 address "y"
10 a@b.test: 10 address "y"
11 @b.test: 11 file "/dev/null"
12 owner-staff: 12 address "boss"
13 owner-postmaster: 13 address "one" 13 address "two"
`
	if d := cmp.Diff(want, show(list)); d != "" {
		t.Error(d)
	}
	table := aliases.NewTable(list)
	if a, ok := table.Lookup("ROOT"); !ok || a.String() != "/etc/aliases:3" {
		t.Errorf("%+v, %v", a, ok)
	}
}

func TestForwardFiles(t *testing.T) {
	t.Parallel()
	list, faults := aliases.ParseList(".forward", []byte(" # c\n\\joe, \"|vacation joe\"\n  kim@a.test (Kim) , <lee@a.test>\n:include:/x\n"))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	if d := cmp.Diff("0 :"+` 2 exact "joe" 2 program "vacation joe" 3 address "kim@a.test" 3 address "lee@a.test" 4 include "/x"`+"\n", show([]aliases.Alias{{Targets: list}})); d != "" {
		t.Error(d)
	}
}

func TestBrokenFilesAreTold(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ in, want string }{
		{"nocolon\n", `f:1: "nocolon", want name: target, target`},
		{": b\n", `f:1: ": b", want a name before the colon`},
		{"a b: c\n", `f:1: "a b: c", want one name without blanks before the colon`},
		{"a:\n", `f:1: alias "a" has no targets`},
		{"a: ,\n\nb: c\n", `f:1: alias "a" has no targets`},
		{"a: b c\n", `f:1: "b c", want one address, or commas between several`},
		{"a: \"x\n", `f:1: " \"x": a quote does not end`},
		{"\"a: x\n", `f:1: "\"a: x": a quote does not end`},
		{"a: b,\n c (x\n", `f:2: " c (x": a comment does not end`},
		{"a: <b\n", `f:1: "<b": < without >`},
		{"a: <b> c\n", `f:1: "<b> c", want one address, or commas between several`},
		{"a: b@c; d@e\n", `f:1: "b@c; d@e", want one address, or commas between several`},
		{"a: |\n", `f:1: "|", want a command behind the bar`},
		{"a: :include:x\n", `f:1: ":include:x", want :include: and a path that begins with /`},
		{"a: b\nA: c\n", `f:2: "A" stands at f:1 already`},
		{"a: b\x00c\n", `f:1: a NUL byte in a target`},
	} {
		_, faults := aliases.Parse("f", []byte(tc.in))
		if len(faults) != 1 || faults[0].Error() != tc.want {
			t.Errorf("%q: %v; want %s", tc.in, faults, tc.want)
		}
	}
}

func TestAnAliasWithAFaultIsStillFound(t *testing.T) {
	t.Parallel()
	list, _ := aliases.Parse("f", []byte("a: b c\nd: e\n"))
	table := aliases.NewTable(list)
	if a, ok := table.Lookup("a"); !ok || a.Fault == nil {
		t.Errorf("%+v, %v: mail for it must wait, not be refused", a, ok)
	}
	if a, ok := table.Lookup("d"); !ok || a.Fault != nil {
		t.Errorf("%+v, %v", a, ok)
	}
}

const source = "# c\njoe@A.test: &x@y.test, jim , \"q\"@z, \\,odd@z, |cat foo, |cat\\ foo, !prog\\ x, /etc/list.bin, ?owner@x ;\n" +
	"JOE2@ : a;\n@b.test: postmaster ;\nx:;\ny: ?o@x;\ny: z@z;a: *what,,ok # d; e\n;"

func compile(t testing.TB, table []aliases.Forward) (*cdb.Reader, []byte) {
	t.Helper()
	var f cdb.Buffer
	if err := aliases.CompileForward(table, &f); err != nil {
		t.Fatal(err)
	}
	r, err := cdb.FromBytes(f.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return r, f.Bytes()
}

func TestSetforward(t *testing.T) {
	t.Parallel()
	table, err := aliases.ParseForward("f", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	db, file := compile(t, table)
	var text strings.Builder
	if err := aliases.PrintForward(&text, db); err != nil {
		t.Fatal(err)
	}
	const want = "joe@a.test: ?owner@x;\njoe@a.test:\n, &x@y.test\n, &jim\n, &\"q\"@z\n, &\\,odd@z\n, |catfoo\n, |cat\\ foo\n, !prog\\ x\n, /etc/list.bin\n;\n" +
		"joe2@:\n, &a\n;\n@b.test:\n, &postmaster\n;\ny: ?o@x;\ny:\n, &z@z\n;\na:\n, &*what\n, &ok\n;\n"
	if d := cmp.Diff(want, text.String()); d != "" {
		t.Error(d)
	}
	find := aliases.NewForwardDB("f.cdb", db)
	for _, tc := range []struct{ user, host, want string }{
		{"Joe", "a.TEST", "joe@a.test"}, {"joe2", "any.test", "joe2@"}, {"x", "b.test", "@b.test"}, {"y", "c.test", ""},
	} {
		f, ok, err := find.Find(tc.user, tc.host)
		if err != nil || ok != (tc.want != "") || ok && f.Target != tc.want {
			t.Errorf("%s@%s: %+v, %v, %v", tc.user, tc.host, f, ok, err)
		}
	}
	if program, err := exec.LookPath("setforward"); err == nil {
		if _, got := cdbtest.Compile(t, program, source); !bytes.Equal(got, file) {
			t.Errorf("setforward writes %d other bytes, ours are %d", len(got), len(file))
		}
	}
}

func TestAnOwnerMayBeNobodyAndTheFirstCounts(t *testing.T) {
	t.Parallel()
	table, err := aliases.ParseForward("f", []byte("quiet@a.test: ?, x@y.test;\ntwice@a.test: ?one@a.test, ?two@a.test, x@y.test;\nplain@a.test: x@y.test;\n"))
	if err != nil {
		t.Fatal(err)
	}
	db, _ := compile(t, table)
	find := aliases.NewForwardDB("f.cdb", db)
	for user, want := range map[string]string{"quiet": "owner <>", "twice": "owner <one@a.test>", "plain": "no owner"} {
		f, _, err := find.Find(user, "a.test")
		got := "no owner"
		if f.Owned {
			got = "owner <" + f.Owner + ">"
		}
		if err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", user, got, err, want)
		}
	}
}

func TestBrokenSourcesOfSetforward(t *testing.T) {
	t.Parallel()
	program, _ := exec.LookPath("setforward")
	for _, tc := range []struct{ in, want string }{
		{"a b;", "f:1: commas are not permitted before colons"},
		{"a: b", "f:1: final instruction must end with semicolon"},
		{"\na", "f:2: final instruction must end with semicolon"},
		{"a:b:c;", "f:1: double colons are not permitted"},
		{"a: b;\n;", "f:2: commas are not permitted before colons"},
		{"a: " + strings.Repeat("x", 801) + ";", "f:1: an address of 801 bytes, want at most 800"},
	} {
		if _, err := aliases.ParseForward("f", []byte(tc.in)); err == nil || err.Error() != tc.want {
			t.Errorf("%q: %v; want %s", tc.in, err, tc.want)
		}
		if program != "" && len(tc.in) < 100 {
			if code, _ := cdbtest.Compile(t, program, tc.in); code != 100 {
				t.Errorf("%q: setforward exits %d", tc.in, code)
			}
		}
	}
}

func TestNewaliases(t *testing.T) {
	t.Parallel()
	h := aliases.Hosts{Default: "me.test", Plus: "plus.test", Domain: "dom.test"}
	list, _ := aliases.Parse("f", []byte("joe: jim, \"|prog arg\", bob@x, al@h+, :include:/tmp/l\nowner-joe: boss\na@b.test: c@[1.2.3.4]\n@q.test: All\n"))
	table, err := h.Forwards(list)
	if err != nil {
		t.Fatal(err)
	}
	db, _ := compile(t, table)
	var text strings.Builder
	if err := aliases.PrintForward(&text, db); err != nil {
		t.Fatal(err)
	}
	const want = "joe@: ?owner-joe@me.test;\njoe@:\n, &jim@me.test\n, !prog\\ arg\n, &bob@x.dom.test\n, &al@h.plus.test\n, /tmp/l.bin\n;\nowner-joe@:\n, &boss@me.test\n;\na@b.test:\n, &c@[1.2.3.4]\n;\n@q.test:\n, &All@me.test\n;\n"
	if d := cmp.Diff(want, text.String()); d != "" {
		t.Error(d)
	}
	list, _ = aliases.Parse("f", []byte("a: /var/mail/x\n"))
	if _, err := h.Forwards(list); err == nil || err.Error() != "file delivery /var/mail/x not supported" {
		t.Error(err)
	}
}

func TestMaillists(t *testing.T) {
	t.Parallel()
	list := aliases.ParseMaillist([]byte("# x\njoe@a.test\n\n&z@z \n/f.bin\n|x\n"))
	b := aliases.AppendMaillist(nil, list)
	if string(b) != "&joe@a.test\x00&z@z\x00/f.bin\x00&|x\x00" {
		t.Errorf("%q", b)
	}
	if d := cmp.Diff(list, aliases.ReadMaillist(b)); d != "" {
		t.Error(d)
	}
}

func FuzzAliases(f *testing.F) {
	f.Add([]byte(etcAliases))
	f.Add([]byte(source))
	f.Add([]byte("a: (((\\\n b\\"))
	f.Add([]byte("a\\:b: <x>,\"|y\",:include:/z\n\tc"))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, faults := aliases.Parse("f", data)
		for _, a := range list {
			if a.Fault == nil && len(a.Targets) == 0 {
				t.Fatalf("%+v has neither targets nor a fault", a)
			}
			for _, target := range a.Targets {
				if target.Text == "" && target.Kind == aliases.Program || strings.ContainsAny(target.Text, "\n\x00") {
					t.Fatalf("%+v", target)
				}
			}
		}
		for _, fault := range faults {
			if strings.ContainsAny(fault.Error(), "\n\x00\x1b") {
				t.Fatalf("%q", fault.Error())
			}
		}
		aliases.ParseList("f", data)
		aliases.ReadMaillist(aliases.AppendMaillist(nil, aliases.ParseMaillist(data)))
		table, err := aliases.ParseForward("f", data)
		if err != nil {
			return
		}
		db, _ := compile(t, table)
		var text bytes.Buffer
		if err := aliases.PrintForward(&text, db); err != nil {
			t.Fatal(err)
		}
		again, err := aliases.ParseForward("f", text.Bytes())
		if err != nil {
			t.Fatalf("%v in what was printed: %q", err, text.String())
		}
		_ = again
	})
}
