package config

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func problems(t *testing.T, src string, flags ...string) []string {
	t.Helper()
	_, err := Parse("postilion.toml", []byte(src), flags)
	var ps Problems
	if err != nil && !errors.As(err, &ps) {
		t.Fatal(err)
	}
	var lines []string
	for _, p := range ps {
		lines = append(lines, p.Error())
	}
	return lines
}

func TestAHostNameIsEnough(t *testing.T) {
	t.Parallel()
	f, err := Parse("/etc/postilion/postilion.toml", []byte(`host = "mail.example.test"`), nil)
	if err != nil {
		t.Fatal(err)
	}
	if f.Data != "/etc/postilion" || f.Route.Host != "mail.example.test" || f.Process.UIDBase != 64100 {
		t.Errorf("data %q, route host %q, uid base %d", f.Data, f.Route.Host, f.Process.UIDBase)
	}
}

func TestEveryMistakeIsToldAtOnceWithItsLine(t *testing.T) {
	t.Parallel()
	got := problems(t, `
hots = "mail.example.test"
data = 5
[smpt]
whatever = 1
[smtp]
listen = [":25", "mail.example.test:25"]
max_conections = 10
tls_timeout = "soon"
tls_timeout = "5s"
[tls]
acme = true
cert = "/x"
min_version = "1.1"
[routes]
host = "x"
[[routes]]
domain = "a.example"
prot = 26
`)
	want := []string{
		`postilion.toml: key host: want this server's name, such as "mail.example.test"`,
		`postilion.toml:2: there is no key hots; did you mean host?`,
		`postilion.toml:3: key data: want a text in quotes, have 5`,
		`postilion.toml:4: there is no group [smpt]; did you mean smtp?`,
		`postilion.toml:7: key smtp.listen: "mail.example.test:25": want an IP address before the port, not the name "mail.example.test"`,
		`postilion.toml:8: there is no key smtp.max_conections; did you mean smtp.max_connections?`,
		`postilion.toml:9: key smtp.tls_timeout: want a duration such as "5m", "1h30m" or "7d", have "soon"`,
		`postilion.toml:10: key smtp.tls_timeout is given twice, first in line 9`,
		`postilion.toml:12: key tls.acme: it contradicts tls.cert and tls.key: the certificate comes from one place`,
		`postilion.toml:14: key tls.min_version: want "1.2" or "1.3", have "1.1"`,
		`postilion.toml:15: write [[routes]] with two brackets: it can be given several times`,
		`postilion.toml:19: there is no key routes.prot; did you mean routes.port?`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestTheHostsNameIsOneThatOthersTake(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"mail.example.test": "", "mail_1.example.test": "", "MX.XN--9CA.test": "",
		"é.test":   `want the name in ASCII, as DNS has it: "xn--9ca.test"`,
		"-mx.test": `want no hyphen at the ends of a label of the domain`,
		"mx-.test": `want no hyphen at the ends of a label of the domain`,
		"mx.test.": `each label of a domain name has 1 to 63 characters`,
		"[::1]":    `a domain name holds letters, digits, hyphens and dots`,
		"mx test":  `a domain name holds letters, digits, hyphens and dots`,
	} {
		var wants []string
		if want != "" {
			wants = []string{"postilion.toml:1: key host: " + want}
		}
		if diff := cmp.Diff(wants, problems(t, "host = \""+name+"\"\n")); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
}

func TestWhatIsWrittenIsWhatCounts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ line, want string }{
		{`dispatch.lifetime = "-1h"`, `postilion.toml:2: key dispatch.lifetime: -1h: want a duration that is not negative`},
		{`dispatch.lifetime = "0s"`, `postilion.toml:2: key dispatch.lifetime: 0s is not taken: leave the key out for the default, 7d`},
		{`smtp.max_connections = -5`, `postilion.toml:2: key smtp.max_connections: -5: want a number that is not negative`},
		{`smtp.max_connections = 0`, `postilion.toml:2: key smtp.max_connections: 0 is not taken: leave the key out for the default, 20000`},
		{`floors.free_bytes = -2`, `postilion.toml:2: key floors.free_bytes: -2: want -1 or more`},
		{`runas.program_cpu = "-2s"`, `postilion.toml:2: key runas.program_cpu: -2s: want -1s or more`},
		{`process.uid_base = 5000000000`, `postilion.toml:2: key process.uid_base: 5000000000: want at most 4294900000`},
		{`log.keep = 1.5`, `postilion.toml:2: key log.keep: want a number of files, have 1.5`},
		{`remote.helo = "mx one"`, `postilion.toml:2: key remote.helo: "mx one": a domain name holds letters, digits, hyphens and dots`},
		{`pop3.host = "a>b"`, `postilion.toml:2: key pop3.host: "a>b": a domain name holds letters, digits, hyphens and dots`},
		{`remote.helo = "[192.0.2.1]"`, ""},
		{`floors.free_bytes = -1`, ""},
		{`dispatch.delay_notice = "0s"`, ""},
		{`smtp.connection_rate = 0`, ""},
		{`tls = {acme = true, acme_ca = "acme.example.test"}`, `postilion.toml:2: key tls.acme_ca: "acme.example.test": want the https:// address of an ACME directory`},
		{`tls = {acme = true, acme_ca = "http://acme.example.test/dir"}`, `postilion.toml:2: key tls.acme_ca: "http://acme.example.test/dir": want the https:// address of an ACME directory`},
		{`tls = {acme = true, acme_ca = "http://ca.internal/dir", acme_email = "a@example.test"}`, ""},
		{`tls = {acme = true, acme_ca = "http://127.0.0.1:14000/dir"}`, ""},
		{`tls = {acme = true, acme_http = "challenges"}`, `postilion.toml:2: key tls.acme_http: "challenges": want address:port, such as 127.0.0.1:25, [::1]:25 or :25`},
		{`tls = {acme = true, acme_email = "the postmaster"}`, `postilion.toml:2: key tls.acme_email: "the postmaster": want an address, such as postmaster@example.test`},
		{`tls = {acme = true, acme_roots = "/nonexistent/ca.pem"}`, `postilion.toml:2: key tls.acme_roots: open /nonexistent/ca.pem: no such file or directory`},
		{`tls = {acme = true, acme_roots = "/dev/null"}`, `postilion.toml:2: key tls.acme_roots: /dev/null: want certificates in PEM form`},
		{`tls = {acme_ca = "not in use"}`, ""},
	} {
		want := []string{c.want}
		if c.want == "" {
			want = nil
		}
		if diff := cmp.Diff(want, problems(t, "host = \"mail.example.test\"\n"+c.line+"\n")); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", c.line, diff)
		}
	}
	text := []byte("host = \"mail.example.test\"\ndispatch.lifetime = \"0s\"\n")
	if _, err := Decode("handover", text); err != nil {
		t.Errorf("what was encoded, with a value that a qmail gave, is not taken: %v", err)
	}
	// A role that does not use the file may not read it.
	text = []byte("host = \"mail.example.test\"\nsmtp.access_rules = [\"/nonexistent/rules\"]\n")
	if _, err := Decode("handover", text); err != nil {
		t.Errorf("the files of another role's keys were looked at: %v", err)
	}
}

func TestABrokenFileIsToldByItsFirstWrongLineAlone(t *testing.T) {
	t.Parallel()
	got := problems(t, "smtp.max_errors = \"x\"\nhost = \"mail.example.test\n")
	want := []string{
		`postilion.toml:1: key smtp.max_errors: want a number, have the text "x"`,
		`postilion.toml:2: this is not TOML: basic strings cannot have new lines`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := problems(t, "\xef\xbb\xbfhost = \"mail.example.test\"\n"); got != nil {
		t.Errorf("a byte order mark is told: %q", got)
	}
}

func TestAGroupIsNoKeyAndAnAddressNoName(t *testing.T) {
	t.Parallel()
	got := problems(t, "host = \"192.0.2.1\"\nsmtp = 25\n")
	want := []string{
		`postilion.toml:1: key host: want a name, such as "mail.example.test", not an address`,
		`postilion.toml:2: smtp is a group: write [smtp] in a line of its own, and its keys below`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestTwoServicesCannotHaveOneAddress(t *testing.T) {
	t.Parallel()
	got := problems(t, "host = \"mail.example.test\"\nsmtp.listen = [\":25\", \":0\"]\n[submission]\nlisten = [\":0\", \":25\"]\n")
	want := []string{`postilion.toml:4: key submission.listen: :25 is smtp.listen's already`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	got = problems(t, `host = "mail.example.test"
[smtp]
listen = [":25", "127.0.0.1:26"]
[submission]
listen = ["127.0.0.1:25", "127.0.0.1:587", "[::1]:26"]
[pop3]
listen = ["[::]:26", "0.0.0.0:25", "127.0.0.2:587"]
`)
	want = []string{
		`postilion.toml:5: key submission.listen: 127.0.0.1:25 is among all addresses that smtp.listen has with :25`,
		`postilion.toml:7: key pop3.listen: [::]:26 would take 127.0.0.1:26, which is smtp.listen's already`,
		`postilion.toml:7: key pop3.listen: 0.0.0.0:25 is smtp.listen's already`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestWhatAPartWouldNotTakeIsToldAtOnceWithItsLine(t *testing.T) {
	t.Parallel()
	got := problems(t, `host = "a.example"
[policy]
max_size = -1
own_senders = "perhaps"
bad_senders = ["joe"]
[auth]
hash_passes = 99
trusted = ["x"]
[local]
over_quota = "sometimes"
[log]
to = "paper"
format = "verse"
level = "loud"
[smtp]
greeting = "hé"
bare_newline = "keep"
exempt = ["y"]
[pop3]
language = "xx"
proxy_from = ["z"]
[dispatch]
schedules = ["a.test sometimes"]
[dns]
server = "nowhere"
[bounce]
bouncefrom = "a\r\nBcc: b@c.test"
[route]
routes = ["nonsense here"]
tls = "maybe"
`)
	want := []string{
		`postilion.toml:3: key policy.max_size: -1: want a size that is not negative`,
		`postilion.toml:4: key policy.own_senders: "perhaps": want accept or refuse`,
		`postilion.toml:5: key policy.bad_senders: "joe": want user@host or @host, or the path of a file of them`,
		`postilion.toml:7: key auth.hash_passes: 99: want 1 to 32`,
		`postilion.toml:8: key auth.trusted: "x": want a network such as 10.0.0.0/8`,
		`postilion.toml:10: key local.over_quota: "sometimes": want temporary or permanent`,
		`postilion.toml:12: key log.to: "paper": want one of stderr, file, syslog`,
		`postilion.toml:13: key log.format: "verse": want one of text, json, qmail`,
		`postilion.toml:14: key log.level: "loud": want debug, info, warn or error`,
		`postilion.toml:16: key smtp.greeting: "hé": want at most 200 printable ASCII characters`,
		`postilion.toml:17: key smtp.bare_newline: "keep": want reject, normalise or defer`,
		`postilion.toml:18: key smtp.exempt: "y": want an IP address such as 192.0.2.1 or a range such as 192.0.2.0/24`,
		`postilion.toml:20: key pop3.language: "xx": want en, ko or ja`,
		`postilion.toml:21: key pop3.proxy_from: "z": want an IP address such as 192.0.2.1 or a range such as 192.0.2.0/24`,
		`postilion.toml:23: key dispatch.schedules: "a.test sometimes": "sometimes": want quadratic, every, doubling, lifetime or parallel`,
		`postilion.toml:25: key dns.server: "nowhere": want address:port, such as 127.0.0.1:53`,
		`postilion.toml:27: key bounce.bouncefrom: want text without control characters`,
		`postilion.toml:29: key route.routes: [0]: "nonsense here": want KEY:RELAY[:PORT]`,
		`postilion.toml:30: key route.tls: tls policy "maybe": want one of opportunistic, none, encrypt, verify, implicit`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestTextThatIsNotTOMLNamesItsLine(t *testing.T) {
	t.Parallel()
	got := problems(t, "host = \"a.example\"\n[smtp\nlisten = 1\n")
	if len(got) != 1 || !strings.HasPrefix(got[0], "postilion.toml:2: this is not TOML") {
		t.Errorf("have %q", got)
	}
}

func TestFlagsWinAndSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	f, err := Parse("p.toml", []byte("host = \"a.example\"\n[smtp]\nmax_connections = 5\n"),
		[]string{"smtp.max_connections=7", "smtp.listen=127.0.0.1:1, [::1]:1"})
	if err != nil {
		t.Fatal(err)
	}
	if f.SMTP.MaxConnections != 7 || len(f.SMTP.Listen) != 2 || f.Origins["smtp.max_connections"].From != "flag" {
		t.Errorf("have %d, %q, %v", f.SMTP.MaxConnections, f.SMTP.Listen, f.Origins["smtp.max_connections"])
	}
	got := problems(t, `host = "a.example"`, "smtp.max_connections=x", "nonsense")
	want := []string{`key smtp.max_connections: want a number, have "x"`, `--set "nonsense": want key=value`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestRoutesBecomeNextHops(t *testing.T) {
	t.Parallel()
	f, err := Parse("p.toml", []byte(`
host = "a.example"
[[routes]]
domain = "b.example"
host = "relay.example"
port = 587
user = "me"
password = "a b"
tls = "verify"
[[routes]]
host = "2001:db8::1"
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"b.example:relay.example:587 tls=verify user=me password=a%20b", ":[IPv6:2001:db8::1]:25 tls=opportunistic"}
	if diff := cmp.Diff(want, f.Route.Routes); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestWhatIsEncodedIsReadBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := Config{Host: "a.example", Data: "/d"}
		c.SMTP.Listen = rapid.SliceOfN(rapid.SampledFrom([]string{"127.0.0.1:25", "[::1]:0", ":25"}), 1, 3).Draw(t, "listen")
		c.SMTP.TLSTimeout = time.Duration(rapid.Int64Range(1, 1e15).Draw(t, "timeout"))
		c.Process.MaxMemory = rapid.Int64Range(0, 1<<50).Draw(t, "memory")
		c.TLS.ACMEEmail = rapid.String().Draw(t, "text")
		src, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		// The struct has zeros where defaults are not: read them back as they were.
		f, err := Parse("p.toml", src, nil)
		if err != nil {
			var ps Problems
			if errors.As(err, &ps) && strings.Contains(ps.Error(), "min_version") {
				return
			}
			t.Fatalf("%s\n%v", src, err)
		}
		if !cmp.Equal(f.SMTP.Listen, c.SMTP.Listen) || f.SMTP.TLSTimeout != c.SMTP.TLSTimeout ||
			f.Process.MaxMemory != c.Process.MaxMemory {
			t.Fatalf("%s\nread back %+v", src, f.Config)
		}
	})
}

func TestDurationsAndSizesAreReadAsWritten(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]time.Duration{"7d": 168 * time.Hour, "1w": 168 * time.Hour, "1d12h": 36 * time.Hour, "90s": 90 * time.Second} {
		if got, err := ParseDuration(s); err != nil || got != want {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "d", "5", "1x", "1e99d"} {
		if d, err := ParseDuration(s); err == nil {
			t.Errorf("%q was read as %v", s, d)
		}
	}
	for s, want := range map[string]int64{"64KiB": 65536, "10MB": 1e7, "512": 512, "1.5K": 1536} {
		if got, err := ParseSize(s); err != nil || got != want {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "KiB", "x", "1e30", "NaN"} {
		if n, err := ParseSize(s); err == nil {
			t.Errorf("%q was read as %v", s, n)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64().Draw(t, "d"))
		if got, err := ParseDuration(FormatDuration(d)); err != nil || got != d {
			t.Fatalf("%v became %q and then %v, %v", d, FormatDuration(d), got, err)
		}
		n := rapid.Int64Range(0, 1<<50).Draw(t, "n")
		if got, err := ParseSize(FormatSize(n)); err != nil || got != n {
			t.Fatalf("%v became %q and then %v, %v", n, FormatSize(n), got, err)
		}
	})
}

// Every example of the reference page must be something that its key takes.
func TestEveryExampleIsValid(t *testing.T) {
	t.Parallel()
	s, err := theSchema()
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.keys {
		k := &s.keys[i]
		if k.Example == "" {
			continue
		}
		src := k.Name + " = " + k.exampleLiteral() + "\n"
		if k.Repeated {
			g := groupOf(k.Name)
			src = "[[" + g + "]]\n" + k.Name[len(g)+1:] + " = " + k.exampleLiteral() + "\n"
		}
		if k.Name != "host" {
			src = "host = \"a.example\"\n" + src
		}
		_, err := Parse("p.toml", []byte(src), nil)
		var ps Problems
		errors.As(err, &ps)
		for _, p := range ps {
			if p.Key == k.Name && !strings.Contains(p.Text, "together") && !strings.Contains(p.Text, "need") &&
				!strings.Contains(p.Text, "no such file") && !strings.Contains(p.Text, " too, ") {
				t.Errorf("%s: %s", src, p)
			}
			if strings.Contains(p.Text, "not TOML") {
				t.Errorf("%s: %s", src, p)
			}
		}
	}
}

// Two parts of a listener may have the same key, such as its time-outs: one line in the file is for both.
func TestAKeyOfTwoPartsCountsForBoth(t *testing.T) {
	t.Parallel()
	s, err := theSchema()
	if err != nil {
		t.Fatal(err)
	}
	shared := 0
	for i := range s.keys {
		k := &s.keys[i]
		if k.also == nil {
			continue
		}
		shared++
		example := strings.Trim(k.Example, `"`)
		f, err := Parse("p.toml", []byte("host = \"mx.example.test\"\n"), []string{k.Name + "=" + example})
		if err != nil {
			t.Errorf("%s = %s: %v", k.Name, example, err)
			continue
		}
		root := reflect.ValueOf(f.Config).Elem()
		one, other := root.FieldByIndex(k.path), root.FieldByIndex(k.also)
		if format(one, k) != format(other, k) || format(one, k) == k.Default {
			t.Errorf("%s = %s: %v here, %v there", k.Name, example, one, other)
		}
	}
	if shared == 0 {
		t.Error("no key is shared: the test looks in the wrong place")
	}
}

func TestTheReferenceNamesEveryKey(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := Reference(&b); err != nil {
		t.Fatal(err)
	}
	_, keys, _ := Schema()
	for _, k := range keys {
		if !strings.Contains(b.String(), "| `"+k.Name[strings.LastIndexByte(k.Name, '.')+1:]+"` |") {
			t.Errorf("%s is missing", k.Name)
		}
		var e bytes.Buffer
		if err := Explain(&e, k.Name, nil, nil); err != nil || !strings.Contains(e.String(), k.Doc) {
			t.Errorf("%s: %v", k.Name, err)
		}
	}
	if err := Explain(&b, "smtp.lisen", nil, nil); err == nil || !strings.Contains(err.Error(), "smtp.listen") {
		t.Errorf("have %v", err)
	}
}

func TestShowTellsOriginsAndKeepsSecrets(t *testing.T) {
	t.Parallel()
	f, err := Parse("p.toml", []byte("host = \"a.example\"\n"), []string{"metrics.listen="})
	if err != nil {
		t.Fatal(err)
	}
	list, err := f.Settings(false)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, s := range list {
		got[s.Key] = s.Value + " from " + s.Origin.String()
	}
	for key, want := range map[string]string{
		"host": "a.example from p.toml:1", "metrics.listen": " from flag", "process.uid_base": "64100 from default",
	} {
		if got[key] != want {
			t.Errorf("%s: have %q, want %q", key, got[key], want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("host = \"a.example\"\n[smtp]\nlisten = [\":25\"]\n[[routes]]\ndomain = \"x\"\n")
	f.Add("smtp = {listen = []}\nhost = 1")
	f.Add("[a.b.c]\n[[routes]]\n[routes.x]\n")
	f.Fuzz(func(t *testing.T, src string) {
		if c, err := Parse("p.toml", []byte(src), nil); err == nil && c.Host == "" {
			t.Error("a configuration without a host was taken")
		}
	})
}

func TestATrialListensOnOtherPorts(t *testing.T) {
	t.Parallel()
	f, err := Parse("p.toml", []byte("host = \"a.example\"\n"), []string{"trial.enabled=true"})
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]string{":25": ":10025", "127.0.0.1:25": "127.0.0.1:10025", "[::1]:110": "[::1]:10110", "127.0.0.1:0": "127.0.0.1:0"} {
		if have := f.Trial.Address(addr); have != want {
			t.Errorf("%s becomes %s, want %s", addr, have, want)
		}
	}
	if f.Trial.Enabled = false; f.Trial.Address(":25") != ":25" {
		t.Error("without a trial the port changes")
	}
	for _, bad := range []string{"0", "65530"} {
		_, err := Parse("p.toml", []byte("host = \"a.example\"\n"), []string{"trial.enabled=true", "trial.ports_offset=" + bad})
		if err == nil || !strings.Contains(err.Error(), "trial.ports_offset") {
			t.Errorf("ports_offset = %s: %v", bad, err)
		}
	}
	_, err = Parse("p.toml", []byte("host = \"a.example\"\n"), []string{"trial.enabled=true", "trial.ports_offset=65000"})
	if err == nil || !strings.Contains(err.Error(), "would be port") {
		t.Errorf("error %v", err)
	}
}

// A key that says what a negative number means takes one, and no other does.
func TestKeysThatTakeNegativeNumbersSayWhatTheyMean(t *testing.T) {
	t.Parallel()
	_, keys, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if says := strings.Contains(k.Doc, "; -1") || strings.Contains(k.Doc, "negative"); says != strings.HasPrefix(k.min, "-") {
			t.Errorf("%s: its least value is %q, and its meaning reads %q", k.Name, k.min, k.Doc)
		}
	}
}
