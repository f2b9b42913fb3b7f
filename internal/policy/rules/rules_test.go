package rules

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func write(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// said writes a decision in a line.
func said(d Decision) string {
	var b strings.Builder
	switch {
	case d.Refusal != nil:
		fmt.Fprintf(&b, "%d %s %s", d.Refusal.Code, d.Refusal.Enhanced, d.Refusal.Args[0])
	case d.Deny:
		b.WriteString("deny")
	default:
		b.WriteString("allow")
	}
	if g := d.Grant; g != nil {
		if g.Relay {
			b.WriteString(" relay=" + g.Append)
		}
		if g.Sized {
			fmt.Fprintf(&b, " size=%d", g.Databytes)
		}
		if g.Filter != "" {
			b.WriteString(" filter=" + g.Filter)
		}
	}
	if d.Lists != nil {
		b.WriteString(" lists=" + *d.Lists)
	}
	return b.String()
}

func check(t *testing.T, entry, service string, cases map[string]string) {
	t.Helper()
	s, err := Open([]string{entry}, service, nil)
	if err != nil {
		t.Fatal(err)
	}
	for who, want := range cases {
		f := strings.Fields(who)
		c := Client{Addr: netip.MustParseAddr(f[0])}
		if len(f) > 1 && f[1] != "-" {
			c.Host = f[1]
		}
		if len(f) > 2 {
			c.Info = f[2]
		}
		if got := said(s.Decide(c)); got != want {
			t.Errorf("%s: %q, want %q", who, got, want)
		}
	}
}

func TestTCPRules(t *testing.T) {
	t.Parallel()
	check(t, write(t, "tcp.smtp", `# comment
127.:allow,RELAYCLIENT=""
192.0.2.7:deny
192.0.2.:allow,RELAYCLIENT="@fix.me",DATABYTES="8",QMAILQUEUE="bin/scan"
198.51.100.0/25:allow,RBLSMTPD=""
[2001:db8::/32]:allow,RBLSMTPD="-no spam here"
=mx.good.example:allow,RBLSMTPD="go away"
=.bad.example:deny
joe@203.0.113.9:deny
:allow
`), "smtp", map[string]string{
		"127.0.0.1": "allow relay=", "192.0.2.7": "deny", "192.0.2.8": "allow relay=@fix.me size=8 filter=bin/scan",
		"::ffff:192.0.2.7": "deny", "198.51.100.5": "allow lists=", "198.51.100.200": "allow",
		"2001:db8::5": "allow lists=-no spam here", "203.0.113.1 MX.good.example": "allow lists=go away",
		"203.0.113.1 a.bad.example": "deny", "203.0.113.9": "allow", "203.0.113.9 - joe": "deny", "203.0.113.9 - ann": "allow",
	})
	check(t, write(t, "closed", "192.0.2.:allow\n:deny\n"), "smtp", map[string]string{"192.0.2.1": "allow", "203.0.113.1": "deny"})
}

func TestAFilterIsToldTheVariablesOfTheRule(t *testing.T) {
	t.Parallel()
	s, err := Open([]string{write(t, "r", `192.0.2.:allow,RELAYCLIENT="@fix.me",OTHER="x y"`+"\n")}, "smtp", nil)
	if err != nil {
		t.Fatal(err)
	}
	d := s.Decide(Client{Addr: netip.MustParseAddr("192.0.2.1")})
	if want := []string{"RELAYCLIENT=@fix.me", "OTHER=x y"}; d.Grant == nil || !slices.Equal(d.Grant.Env, want) {
		t.Errorf("%+v, want %q", d.Grant, want)
	}
}

func TestSendmailsAccess(t *testing.T) {
	t.Parallel()
	check(t, "access:"+write(t, "access", `# comment
Connect:192.0.2.7	REJECT
192.0.2			RELAY
Connect:192.0.2.9	ERROR:5.7.0:551 go elsewhere
Connect:192.0.2.10	450 4.7.9 later
Connect:192.0.2.11	ERROR:"553 no thanks"
Connect:192.0.2.12	SKIP
Connect:192.0.2.13	DISCARD
198.51			OK
IPv6:2001:db8:0:0	REJECT
spam.example		REJECT
Connect:good.spam.example	OK
From:joe@spam.example	REJECT
To:joe@example.test	REJECT
joe@spam.example	REJECT
Spam:abuse@		FRIEND
ClientRate:192.0.2.1	10
AuthInfo:relay.example	"U:me" "P:secret"
`), "smtp", map[string]string{
		"192.0.2.7": "550 5.7.1 Access denied", "192.0.2.8": "allow relay= lists=", "192.0.2.9": "551 5.7.0 go elsewhere",
		"192.0.2.10": "450 4.7.9 later", "192.0.2.11": "553 5.7.1 no thanks", "192.0.2.12": "allow", "192.0.2.13": "550 5.7.1 Access denied",
		"198.51.100.1": "allow lists=", "203.0.113.1 mx.Spam.example": "550 5.7.1 Access denied", "203.0.113.1 good.spam.example": "allow lists=",
		"203.0.113.1 notspam.example": "allow", "203.0.113.1": "allow",
	})
}

func TestHostsAllowAndDeny(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"hosts.allow": `# comment
sshd : 203.0.113.66
qmail-smtpd, in.pop3d : 127. : setenv RELAYCLIENT
tcp-env: 198.18.0.4, 198.18.0.5: setenv = RELAYCLIENT
tcp-env: 198.18.0.6: setenv=RELAYCLIENT @fix.example: Deny
ALL EXCEPT in.ftpd : .good.example \
	EXCEPT bad.good.example
smtpd@mx.example.test : 198.51.100.0/255.255.255.128 [2001:db8::]/32
ALL : joe@192.0.2.9 : deny
ALL : LOCAL
`, "hosts.deny": `ALL : 192.0.2.0/24
sendmail : UNKNOWN
ALL EXCEPT in.ftpd sshd : 203.0.113.67
ALL EXCEPT smtpd : 203.0.113.68
ALL : m?.*.example : spawn (/bin/echo no)
`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check(t, "hosts:"+dir, "smtp", map[string]string{
		"198.18.0.5": "allow relay=", "198.18.0.6": "deny relay=@fix.example",
		"127.0.0.1": "allow relay=", "203.0.113.66 x.test": "allow", "203.0.113.67 x.test": "deny", "203.0.113.68 x.test": "allow", "192.0.2.7 a.good.example": "allow", "192.0.2.7 bad.good.example": "deny",
		"198.51.100.5 x.test": "allow", "198.51.100.200": "deny", "198.51.100.200 x.test": "allow", "2001:db8::9": "allow",
		"192.0.2.9 x.test joe": "deny", "192.0.2.9 x.test": "deny", "192.0.2.9 localname": "allow", "203.0.113.1 mx.any.example": "deny",
		"203.0.113.1 max.any.example": "allow",
	})
	check(t, "hosts:"+dir, "qmtp", map[string]string{"127.0.0.1": "allow", "198.51.100.200": "allow", "192.0.2.1": "deny"})
	check(t, "hosts:"+t.TempDir(), "smtp", map[string]string{"192.0.2.1": "allow"})
}

func TestTheFirstFileWithARuleDecides(t *testing.T) {
	t.Parallel()
	s, err := Open([]string{write(t, "a", "192.0.2.7:deny\n"), "access:" + write(t, "b", "192.0.2 RELAY\n")}, "smtp", nil)
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]string{"192.0.2.7": "deny", "192.0.2.8": "allow relay= lists=", "192.0.3.1": "allow"} {
		if got := said(s.Decide(Client{Addr: netip.MustParseAddr(addr)})); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
	if d := s.Decide(Client{Addr: netip.MustParseAddr("192.0.2.7")}); !strings.HasSuffix(d.Rule, "a:1 rule 192.0.2.7:") {
		t.Errorf("the rule is named: %q", d.Rule)
	}
	// Sendmail's SKIP decides nothing: the next file is asked.
	s, err = Open([]string{"access:" + write(t, "c", "192.0.2.7 SKIP\n192.0.2 RELAY\n"), write(t, "d", "192.0.2.:deny\n")}, "smtp", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := said(s.Decide(Client{Addr: netip.MustParseAddr("192.0.2.7")})); got != "deny" {
		t.Errorf("after SKIP: %s", got)
	}
	if d := (*Set)(nil).Decide(Client{}); d.Away() || d.Grant != nil {
		t.Error("no rules let everyone in and grant nothing")
	}
}

func TestNeedsTellsWhatToAsk(t *testing.T) {
	t.Parallel()
	needs := func(prefix string, texts map[string][2]bool) {
		for text, want := range texts {
			s, err := Open([]string{prefix + write(t, "r", text)}, "smtp", nil)
			if err != nil {
				t.Fatal(err)
			}
			if host, info := s.Needs(); host != want[0] || info != want[1] {
				t.Errorf("%s%q: host %v, info %v", prefix, text, host, info)
			}
		}
	}
	needs("", map[string][2]bool{"127.:allow\n": {}, "=x.test:allow\n": {true, false}, "joe@192.0.2.1:allow\n": {false, true}, "joe@=x.test:deny\n": {true, true}})
	needs("access:", map[string][2]bool{
		"127.0 OK\n": {}, "Connect:192.0.2.1 OK\n": {}, "IPv6:2001:db8:0:0 OK\n": {}, "x.test OK\n": {true, false}, "Connect:x.test OK\n": {true, false},
		"From:x.test REJECT\n": {},
	})
}

func TestBrokenFilesAreNamedWithTheirLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ format, text, want string }{
		{"tcprules", "127.:allow\n192.0.2.1:permit\n", `:2: unable to parse this line: "192.0.2.1:permit": want allow or deny behind the colon`},
		{"tcprules", "127.:allow,RELAYCLIENT=\"x y\"\n", `:1: RELAYCLIENT: "x y": want what is put behind an address`},
		{"tcprules", ":allow,DATABYTES=\"lots\"\n", `:1: DATABYTES: "lots": want a number of bytes, 0 for no limit`},
		{"cdb", "short", `: not a constant database`},
		{"access", "Connect:192.0.2.7\n", `:1: "Connect:192.0.2.7": want a key, blanks, and a value such as REJECT`},
		{"access", "\n192.0.2 MAYBE\n", `:2: key 192.0.2: value "MAYBE": want OK, RELAY, REJECT, SKIP, 550 TEXT or ERROR:5.7.1:550 TEXT`},
		{"access", "192.0.2 ERROR:4.7.1:550 x\n", `4.7.1 and 550 are of different classes`},
	} {
		path := write(t, "rules", c.text)
		if _, err := Open([]string{c.format + ":" + path}, "smtp", nil); err == nil || !strings.Contains(err.Error(), path+c.want) && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %q: %v, want %s", c.format, c.text, err, c.want)
		}
	}
	for text, want := range map[string]string{
		"smtpd\n": `hosts.allow:1: "smtpd": want DAEMONS : CLIENTS`, "\nALL :\n": `hosts.allow:2: want clients such as ALL behind the colon`,
		"ALL : @group\n": `"@group": netgroups are not known here`, "ALL : 192.0.2.0/33\n": `"192.0.2.0/33": want a network`,
		"ALL : /etc/list\n": `want an address, a range, a name or a word such as ALL`, "ALL : x.test \\": `hosts.allow:1: the last line ends in a backslash`,
		"ALL : ALL : setenv\n": `"setenv": want setenv NAME VALUE`, "ALL : 192.0.2.0/255.0.255.0\n": "want a network",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "hosts.allow"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open([]string{"hosts:" + dir}, "smtp", nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	for entry, want := range map[string]string{"rules": "want the absolute path", "x:/y": `format "x": want tcprules, cdb, access or hosts`, "/does/not/exist": "there is no such file"} {
		if _, err := Open([]string{entry}, "smtp", nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", entry, err, want)
		}
	}
}

// A file that turns bad while the server runs opens nothing.
func TestABrokenFileLeavesTheOldRulesInForce(t *testing.T) {
	t.Parallel()
	path := write(t, "tcp.smtp", "192.0.2.7:deny\n")
	told := make(chan error, 10)
	s, err := Open([]string{path}, "smtp", func(err error) { told <- err })
	if err != nil {
		t.Fatal(err)
	}
	client := Client{Addr: netip.MustParseAddr("192.0.2.7")}
	if err := os.WriteFile(path, []byte(":allow,RELAYCLIENT=\"\"\nwrong line:\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); len(s.Errors()) == 0 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if d := s.Decide(client); !d.Deny || len(s.Errors()) != 1 || !strings.Contains(s.Errors()[0], path+":2:") {
		t.Errorf("%+v, %q", d, s.Errors())
	}
	if err := <-told; !strings.Contains(err.Error(), path+":2:") {
		t.Errorf("told %v", err)
	}
}

func FuzzAccess(f *testing.F) {
	f.Add([]byte("Connect:192.0.2 REJECT\nIPv6:2001:db8 ERROR:5.7.1:550 x\nx.test OK\n"))
	f.Fuzz(func(t *testing.T, p []byte) {
		if tab, err := parseAccess("f", p); err == nil {
			tab.decide(&Client{Addr: netip.MustParseAddr("192.0.2.1"), Host: "a.x.test"})
			tab.decide(&Client{Addr: netip.MustParseAddr("2001:db8::1")})
		}
	})
}

func FuzzHosts(f *testing.F) {
	f.Add([]byte("ALL EXCEPT x : .a.test, 192.0.2. EXCEPT [2001:db8::]/32 : setenv A b : deny\n"))
	parse := hostsParser("smtp", true)
	f.Fuzz(func(t *testing.T, p []byte) {
		if tab, err := parse("f", p); err == nil {
			tab.decide(&Client{Addr: netip.MustParseAddr("192.0.2.1"), Host: "a.x.test", Info: "joe"})
		}
	})
}
