package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMessagesAreHeldAgainstRulesThatAreNotInForceYet(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	rules := file("rules", "Subject: \"ILOVEYOU\" REJECT 501 no worms\nattachment /vbs$/ REJECT\nSubject: /later/ DEFER\nSubject: /odd/ HOLD\nSubject: /tag/ PREPEND X-Tag: $0\nSubject: /test/ TEST REJECT\n")
	cf := file("sendmail.cf", "HSubject: $>x\nSx\nRILOVEYOU\t$#error $: 501 no worms\n")
	worm := file("worm", "Subject: ILOVEYOU\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: a/b; name=x.vbs\r\n\r\nx\r\n--b--\r\n")
	empty := file("postilion.toml", "host = \"mail.example.test\"\n")
	configured := file("configured.toml", "host = \"mail.example.test\"\n[content_rules]\nfiles = [\""+rules+"\"]\n")
	wrong := file("wrong.toml", "host = \"mail.example.test\"\n[content_rules]\nfiles = [\""+file("bad", "/x\n/y/ OOPS\n")+"\"]\n")
	for _, c := range []struct {
		args []string
		in   string
		code int
		says string
	}{
		{[]string{"--rules", rules, worm}, "", exitFailure, worm + ": refused with 501 5.0.0 no worms\n  " + rules + ":1  REJECT: Subject: ILOVEYOU\n  " + rules + ":2  REJECT: attachment x.vbs (part 1)\n"},
		{[]string{"--config", configured, worm}, "", exitFailure, "501 5.0.0 no worms"},
		{[]string{"--rules", rules}, "Subject: hello\n\nSubject: ILOVEYOU\n", 0, "standard input: taken\n"},
		{[]string{"--rules", rules, "--header", "Subject: later"}, "", exitTemporary, "Subject: later: refused with 451 4.7.1 message content rejected\n"},
		{[]string{"--rules", rules, "--header", "Subject: odd", "--header", "Subject: a tag"}, "", 0, "Subject: odd: taken and held\n  " + rules + ":4  HOLD: Subject: odd\nSubject: a tag: taken with a field added\n  " + rules + ":5  PREPEND: Subject: a tag: X-Tag: tag\n"},
		{[]string{"--rules", rules, "--header", "Subject: a test"}, "", 0, "Subject: a test: taken\n  " + rules + ":6  would REJECT: Subject: a test\n"},
		{[]string{"--rules", "sendmail:" + cf, "--header", "Subject: ILOVEYOU"}, "", exitFailure, "501 5.0.0 no worms"},
		{[]string{"--json", "--rules", rules}, "Subject: x", 0, `[{"message":"standard input","hits":[]}]`},
		{[]string{"--rules", rules, "--whose", "all"}, "", exitUsage, `--whose "all": want network, accounts or programs`},
		{[]string{"--rules", rules, "--header", "a: b", worm}, "", exitUsage, "want files of messages or --header, not both"},
		{[]string{"--config", empty}, "", exitFailure, "there are no content rules: set content_rules.files, or name a file with --rules"},
		{[]string{"--config", wrong, worm}, "", exitConfig, "bad:1: \"/x\": the pattern has no / at its end"},
		{[]string{"--rules", filepath.Join(dir, "none")}, "", exitFailure, "none: there is no such file"},
	} {
		var out, errOut bytes.Buffer
		code := run(append([]string{"message", "test"}, c.args...), strings.NewReader(c.in), &out, &errOut)
		if all := out.String() + errOut.String(); code != c.code || !strings.Contains(all, c.says) {
			t.Errorf("%v: exit code %d, want %d and %q: %s", c.args, code, c.code, c.says, all)
		}
	}
	// What checks the configuration checks the rules, each mistake with its line.
	var out, errOut bytes.Buffer
	code := run([]string{"--config", wrong, "config", "check"}, strings.NewReader(""), &out, &errOut)
	for _, want := range []string{"bad:1: \"/x\": the pattern has no / at its end", "bad:2: action \"OOPS\": want REJECT"} {
		if all := out.String() + errOut.String(); code != exitConfig || !strings.Contains(all, want) {
			t.Errorf("config check: exit code %d, want %q: %s", code, want, all)
		}
	}
}
