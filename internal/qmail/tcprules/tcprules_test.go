package tcprules_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/postilion/postilion/internal/qmail/cdb"
	"github.com/postilion/postilion/internal/qmail/cdb/cdbtest"
	"github.com/postilion/postilion/internal/qmail/tcprules"
)

const rules = `# clients
127.:allow,RELAYCLIENT=""
10.2-3.:allow,A="x",B='y"z'
1.2.3.37-53:deny
=.example.org:allow
=mx.example.org:deny
Joe@1.2.3.4:deny,X="1"
jim@=mx.example.org:allow,JIM=/yes/
=:allow,Y=/q/
:deny
1.2.3.40:allow
`

// compiled returns the database of entries.
func compiled(t testing.TB, entries []tcprules.Entry) (*tcprules.DB, []byte) {
	t.Helper()
	var f cdb.Buffer
	if err := tcprules.Compile(entries, &f); err != nil {
		t.Fatal(err)
	}
	r, err := cdb.FromBytes(f.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	db, err := tcprules.NewDB("tcp.smtp.cdb", r)
	if err != nil {
		t.Fatal(err)
	}
	return db, f.Bytes()
}

// client reads "ip name ident", with - for what is not known.
func client(s string) tcprules.Client {
	f := append(strings.Fields(s), "-", "-")
	for i := range f {
		f[i] = strings.TrimPrefix(f[i], "-")
	}
	return tcprules.Client{IP: netip.MustParseAddr(f[0]), Host: f[1], Info: f[2]}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	entries, err := tcprules.Parse("tcp.smtp", []byte(rules))
	if err != nil {
		t.Fatal(err)
	}
	db, _ := compiled(t, entries)
	for in, want := range map[string]string{
		"127.0.0.1":                     "rule 127.:\nset environment variable RELAYCLIENT=\nallow connection\n",
		"10.2.9.9":                      "rule 10.2.:\nset environment variable A=x\nset environment variable B=y\"z\nallow connection\n",
		"10.4.9.9":                      "rule :\ndeny connection\n",
		"1.2.3.40":                      "rule 1.2.3.40:\ndeny connection\n", // the first line for an address counts
		"1.2.3.4 - Joe":                 "rule Joe@1.2.3.4:\ndeny connection\n",
		"1.2.3.4 - joe":                 "rule :\ndeny connection\n",
		"5.5.5.5 A.Example.ORG":         "rule =.example.org:\nallow connection\n",
		"5.5.5.5 mx.example.org":        "rule =mx.example.org:\ndeny connection\n",
		"5.5.5.5 mx.example.org jim":    "rule jim@=mx.example.org:\nset environment variable JIM=yes\nallow connection\n",
		"5.5.5.5 elsewhere.test":        "rule =:\nset environment variable Y=q\nallow connection\n",
		"::ffff:127.0.0.1":              "rule 127.:\nset environment variable RELAYCLIENT=\nallow connection\n",
		"2001:db8::1":                   "rule :\ndeny connection\n",
		"127.0.0.1 some.where.test joe": "rule 127.:\nset environment variable RELAYCLIENT=\nallow connection\n",
	} {
		for _, l := range []tcprules.Lookup{tcprules.NewTable(entries), db} {
			r, ok, err := l.Lookup(client(in))
			if got := tcprules.Report(r, ok); err != nil || got != want {
				t.Errorf("%s: %q, %v; want %q", in, got, err, want)
			}
		}
	}
	r, _, _ := tcprules.NewTable(entries).Lookup(client("127.0.0.1"))
	if r.String() != "tcp.smtp:2" {
		t.Errorf("the line that decided: %s", r)
	}
	if got := tcprules.Report(tcprules.Rule{}, false); got != "default:\nallow connection\n" {
		t.Errorf("no rule: %q", got)
	}
}

func TestNetworks(t *testing.T) {
	t.Parallel()
	entries, err := tcprules.Parse("f", []byte("192.0.2.0/24:deny,N=\"24\"\n192.0.0.0/20:deny,N=\"20\"\n192.0.2.64/26:deny,N=\"26\"\n192.0.2.5:deny,N=\"32\"\n"+
		"0.0.0.0/0:deny,N=\"v4\"\n[2001:db8::/32]:deny,N=\"v6\"\n[2001:db8:1::/48]:deny,N=\"48\"\n[2001:DB8::0:1]:deny,N=\"128\"\njoe@[2001:db8::2]:deny,N=\"joe\"\n192.0.2.:deny,N=\"prefix\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	db, _ := compiled(t, entries)
	for in, want := range map[string]string{
		"192.0.2.5": "32", "192.0.2.65": "26", "192.0.2.128": "prefix", "192.0.15.1": "20", "192.0.16.1": "v4", "9.9.9.9": "v4",
		"2001:db8::1": "128", "2001:db8::2": "v6", "2001:db8::2 - joe": "joe", "2001:db8:1::5": "48", "2001:db9::1": "",
	} {
		for _, l := range []tcprules.Lookup{tcprules.NewTable(entries), db} {
			r, ok, err := l.Lookup(client(in))
			if got := strings.TrimPrefix(strings.Join(r.Env, ""), "N="); err != nil || got != want || ok != (want != "") {
				t.Errorf("%s: %q, %v, %v; want %q", in, got, ok, err, want)
			}
		}
	}
}

// Each line is refused with the reason; where tcprules of the distribution is at hand it
// refuses the same lines.
func TestBrokenLinesAreTold(t *testing.T) {
	t.Parallel()
	program, _ := exec.LookPath("tcprules")
	for _, tc := range []struct{ in, want string }{
		{`1:allowx`, `f:1: unable to parse this line: "1:allowx": "x", want a comma and NAME="value"`},
		{`1:alow`, `f:1: unable to parse this line: "1:alow": want allow or deny behind the colon`},
		{`1:allow,`, `f:1: unable to parse this line: "1:allow,": "", want NAME="value"`},
		{`1:allow,A`, `f:1: unable to parse this line: "1:allow,A": "A", want NAME="value"`},
		{`1:allow,A=`, `f:1: unable to parse this line: "1:allow,A=": nothing behind "A=", want a value in quotes`},
		{`1:allow,A="x`, `f:1: unable to parse this line: "1:allow,A=\"x": the value of "A" does not end, want another " behind it`},
		{`1:allow,A="x"y`, `f:1: unable to parse this line: "1:allow,A=\"x\"y": "y", want a comma and NAME="value"`},
		{`a-b.1:allow`, `f:1: unable to parse this line: "a-b.1:allow": "a-b", want a range of numbers such as 37-53`},
		{`1.2.3.4/33:allow`, `f:1: unable to parse this line: "1.2.3.4/33:allow": "1.2.3.4/33" is no network, want one such as 192.0.2.0/24 or [2001:db8::/32]`},
		{`1.2.3.4/24:allow`, `f:1: unable to parse this line: "1.2.3.4/24:allow": "1.2.3.4/24" has bits behind its length, want "1.2.3.0/24"`},
		{`[::ffff:1.2.3.0/120]:allow`, `f:1: unable to parse this line: "[::ffff:1.2.3.0/120]:allow": "::ffff:1.2.3.0/120" is IPv4 in the clothes of IPv6, want it as IPv4`},
		{`[1.2.3]:allow`, `f:1: unable to parse this line: "[1.2.3]:allow": "1.2.3" is no address`},
		{`joe@[::/0]:allow`, `f:1: unable to parse this line: "joe@[::/0]:allow": a user before a network, want an address`},
		{`2001:db8::1:allow`, `f:1: unable to parse this line: "2001:db8::1:allow": want allow or deny behind the colon`},
	} {
		_, err := tcprules.Parse("f", []byte(tc.in))
		if syntax := (*tcprules.SyntaxError)(nil); !errors.As(err, &syntax) || err.Error() != tc.want || syntax.Raw != tc.in {
			t.Errorf("%s: %v\nwant %s", tc.in, err, tc.want)
		}
		if program == "" || strings.ContainsAny(tc.in, "/[") {
			continue
		}
		if code, _ := cdbtest.Compile(t, program, tc.in); code != 100 {
			t.Errorf("%s: tcprules exits %d", tc.in, code)
		}
	}
}

func TestDoubtfulLinesAreTold(t *testing.T) {
	t.Parallel()
	const file = "1.2.3.4\n 127.:allow\n=Mx.test:allow\n=*.test:allow\n10.1:allow\n10.1.:allow\n:allow\n=.test:allow\n1.2.3.4-5:deny\n"
	const want = `f:1: "1.2.3.4" has no colon, so it is ignored
f:2: " 127.:allow" has a blank in the address, which never matches
f:3: "=Mx.test:allow" has capitals in the name, and names are looked up in lower case
f:4: "=*.test:allow" has a * in the name: want =.domain for all names of a domain
f:5: "10.1:allow" is a whole address, which no client has: a prefix ends with a dot
`
	var got strings.Builder
	for _, f := range tcprules.Check("f", []byte(file)) {
		fmt.Fprintln(&got, f)
	}
	if d := cmp.Diff(want, got.String()); d != "" {
		t.Error(d)
	}
}

func TestCompiledAsTcprulesCompiles(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("tcprules")
	if err != nil {
		t.Skip("tcprules is not installed (Debian package ucspi-tcp)")
	}
	for _, text := range []string{rules, "", "1.2-999:deny\n", "1-:allow\n-1:allow\n 1.2.3.4\nnocolon\n", "=X.Y:allow,A=aba,B=cc\n", "a@1-2:allow\n"} {
		entries, err := tcprules.Parse("f", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		_, got := compiled(t, entries)
		if code, want := cdbtest.Compile(t, program, text); code != 0 || !bytes.Equal(got, want) {
			t.Errorf("%q: exit %d, %d bytes, ours %d", text, code, len(want), len(got))
		}
	}
}

func TestTextAndDatabaseAgree(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		address := rapid.SampledFrom([]string{"", "1.", "1.2.", "1.2.3.4", "1.0.0.0/8", "1.2.3.0/25", "1.2.3.4/30", "[2001:db8::/32]", "[2001::/16]", "=a.test", "=.test", "=", "u@1.2.3.4", "1.2.3.3-9"})
		var text strings.Builder
		for i := range rapid.IntRange(0, 10).Draw(rt, "lines") {
			fmt.Fprintf(&text, "%s:deny,N=\"%d\"\n", address.Draw(rt, "address"), i)
		}
		entries, err := tcprules.Parse("f", []byte(text.String()))
		if err != nil {
			rt.Fatal(err)
		}
		db, _ := compiled(t, entries)
		c := client(rapid.SampledFrom([]string{"1.2.3.4", "1.2.3.4 a.test", "1.2.9.9 b.test u", "1.2.3.4 - u", "2001:db8::1", "9.9.9.9"}).Draw(rt, "client"))
		a, okA, _ := tcprules.NewTable(entries).Lookup(c)
		b, okB, err := db.Lookup(c)
		if a.Place = b.Place; okA != okB || err != nil || !cmp.Equal(a, b) {
			rt.Fatalf("%+v in\n%s: %+v %v, %+v %v %v", c, text.String(), a, okA, b, okB, err)
		}
	})
}

func FuzzRules(f *testing.F) {
	f.Add([]byte(rules), "127.0.0.1", "a.test", "joe")
	f.Add([]byte("[::/1]:deny\n0.0.0.0/0:allow\n-9-:allow"), "::1", "", "")
	f.Fuzz(func(t *testing.T, data []byte, ip, host, info string) {
		tcprules.Check("f", data)
		entries, err := tcprules.Parse("f", data)
		if err != nil {
			return
		}
		c := tcprules.Client{Host: host, Info: info}
		c.IP, _ = netip.ParseAddr(ip)
		db, file := compiled(t, entries)
		a, okA, _ := tcprules.NewTable(entries).Lookup(c)
		b, okB, err := db.Lookup(c)
		if a.Place = b.Place; okA != okB || err != nil || a.Key != b.Key || a.Deny != b.Deny {
			t.Fatalf("%+v %v, %+v %v %v in %d bytes", a, okA, b, okB, err, len(file))
		}
	})
}
