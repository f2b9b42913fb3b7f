package smtp

import (
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/mail"
)

func TestCommandsAreSplit(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]struct {
		verb Verb
		arg  string
	}{
		"NOOP": {NOOP, ""}, "noop": {NOOP, ""}, "Mail From:<>": {MAIL, "From:<>"}, "RCPT  TO:<a@b.test> ": {RCPT, "TO:<a@b.test>"}, "QUIT\t": {QUIT, ""},
		"": {Unknown, ""}, " NOOP": {Unknown, "NOOP"}, "NO\x00OP": {Unknown, ""}, "NOOP\x7f": {Unknown, ""}, "STARTTLSX": {Unknown, ""}, "MAIL\tFROM": {Unknown, ""},
		"GET / HTTP/1.1": {HTTP, "/ HTTP/1.1"}, "\xff": {Unknown, ""}, "NOOP é": {NOOP, "é"},
	} {
		if verb, arg := ParseCommand(in); verb != want.verb || arg != want.arg {
			t.Errorf("%q: %v %q", in, verb, arg)
		}
	}
	for name, v := range verbs {
		if v != HTTP && v.String() != name {
			t.Errorf("%s is called %s", name, v)
		}
	}
}

// FuzzCommand: whatever comes, an argument that was taken has only what the protocol allows.
func FuzzCommand(f *testing.F) {
	for _, s := range []string{
		"MAIL FROM:<a@b.test> SIZE=1 BODY=8BITMIME RET=FULL ENVID=x+2B AUTH=<> SMTPUTF8 REQUIRETLS", "RCPT TO:<a@b.test> NOTIFY=NEVER ORCPT=rfc822;a@b.test",
		"RCPT TO:<\"a b\"@b.test> NOTIFY=SUCCESS,DELAY", "MAIL FROM:<> SIZE=1 SIZE=1", "MAIL FROM:<>=",
	} {
		f.Add(s)
	}
	all := Extensions{true, true, true, true, true, true, false}
	f.Fuzz(func(t *testing.T, line string) {
		verb, arg := ParseCommand(line)
		if len(verb.String()) > 8 {
			t.Fatal(verb)
		}
		if m, err := ParseMail(arg, all); err == nil {
			bad := strings.ContainsAny(m.EnvID+m.From.String(), "\r\n\x00")
			if bad || m.Size < -1 || len(m.EnvID) > MaxEnvID || !m.UTF8 && !m.From.IsASCII() || m.Body > mail.Body8Bit {
				t.Fatalf("%q gives %+v", line, m)
			}
			if _, err := ParseMail(arg, Extensions{}); err == nil && strings.Contains(arg, "> ") && strings.Contains(arg, "=") && m.Size >= 0 {
				t.Fatalf("%q: a parameter that was not offered is taken", line)
			}
		} else if err.Class != 1 || err.Code < 500 || err.Text(0) == "" {
			t.Fatalf("%q: %v", line, err)
		}
		if r, err := ParseRcpt(arg, all, false); err == nil && (strings.ContainsAny(r.ORcpt+r.To.String(), "\r\n\x00") || r.To.IsZero() || !r.To.IsASCII()) {
			t.Fatalf("%q gives %+v", line, r)
		}
	})
}

// Vector 3 of the qmail reference.
func TestADomainIsWantedUnlessTheListenerDoesWithout(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("return-", 20) + "joe=far.test"
	for arg, want := range map[string]string{
		"TO:<joe>": "joe", "TO:joe": "joe", "TO:<\"a b\">": "a b", "TO:<joe@example.test>": "joe@example.test",
		"TO:<a..b@example.test>": "a..b@example.test", "TO:<.a.@example.test>": ".a.@example.test",
		"TO:<" + long + "@example.test>": long + "@example.test", "TO:<>": "", "TO:<joe": "", "TO:joe>": "", "TO:<joe@>": "", "TO:<joe>x": "", "TO:<a b>": "",
	} {
		r, e := ParseRcpt(arg, Extensions{Bare: true}, false)
		if e != nil && want != "" || e == nil && r.To.String() != want {
			t.Errorf("%s: %q, %v, want %q", arg, r.To, e, want)
		}
	}
	if _, e := ParseRcpt("TO:<joe>", Extensions{}, false); e == nil {
		t.Error("without Bare: want an error")
	}
	for _, arg := range []string{"FROM:<root>", "FROM:<a..b@example.test>"} {
		if _, e := ParseMail(arg, Extensions{}); e == nil {
			t.Errorf("%s without Bare: want an error", arg)
		}
		if m, e := ParseMail(arg, Extensions{Bare: true}); e != nil || "FROM:<"+m.From.String()+">" != arg {
			t.Errorf("%s: %q, %v", arg, m.From, e)
		}
	}
}
