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

func TestParametersAreReadAsTheStandardsSay(t *testing.T) {
	t.Parallel()
	all := Extensions{Size: true, EightBit: true, UTF8: true, DSN: true, Auth: true, RequireTLS: true}
	for params, want := range map[string]Mail{
		"":                           {Size: -1},
		" SIZE=0":                    {},
		" size=1000 body=7bit":       {Size: 1000},
		" BODY=8BITMIME":             {Size: -1, Body: mail.Body8Bit},
		" SMTPUTF8 REQUIRETLS":       {Size: -1, UTF8: true, TLSOnly: true},
		" RET=FULL ENVID=a+2Bb":      {Size: -1, Ret: mail.RetFull, EnvID: "a+b"},
		" RET=HDRS AUTH=<>":          {Size: -1, Ret: mail.RetHeaders},
		" ENVID=" + long(100):        {Size: -1, EnvID: long(100)},
		" SIZE=9223372036854775807":  {Size: 1<<63 - 1},
		" SIZE=99999999999999999999": {Size: 1<<63 - 1},
	} {
		want.From = mail.Address{Local: "joe", Domain: "far.test"}
		if m, err := ParseMail("FROM:<joe@far.test>"+params, all); err != nil || m != want {
			t.Errorf("%q: %+v, %v", params, m, err)
		}
	}
	for _, params := range []string{
		"SIZE=1", " SIZE", " SIZE=", " SIZE=+1", " SIZE=" + strings.Repeat("9", 21), " SIZE=" + long(21), " SIZE=1 SIZE=1", " BODY=BINARYMIME",
		" SMTPUTF8=1", " REQUIRETLS=1", " RET=", " ENVID=", " ENVID=+", " ENVID=" + long(101), " ENVID=+80", " AUTH=", " NOTIFY=NEVER", " X=1",
		" SIZE=1 BODY=7BIT SMTPUTF8 REQUIRETLS RET=FULL ENVID=a AUTH=<> SIZE=1",
	} {
		if m, err := ParseMail("FROM:<joe@far.test>"+params, all); err == nil {
			t.Errorf("%q is taken as %+v", params, m)
		}
	}
	for params, want := range map[string]Rcpt{
		"":                                     {},
		" NOTIFY=NEVER":                        {Notify: mail.NotifyNever},
		" NOTIFY=SUCCESS,failure,DELAY":        {Notify: mail.NotifySuccess | mail.NotifyFailure | mail.NotifyDelay},
		" ORCPT=rfc822;a+2Bb@far.test":         {ORcpt: "rfc822;a+b@far.test"},
		` ORCPT=UTF-8;j\x{F6}\x{2b}\x{5C}\x@x`: {ORcpt: `UTF-8;jö+\\x@x`}, // RFC 6533 3
		` ORCPT=utf-8;jö+2B\x{1F600}@x`:        {ORcpt: "utf-8;jö+😀@x"},
		` ORCPT=rfc822;\x{F6}@x`:               {ORcpt: `rfc822;\x{F6}@x`},
		" ORCPT=rfc822;" + long(MaxORcpt-7):    {ORcpt: "rfc822;" + long(MaxORcpt-7)},
	} {
		want.To = mail.Address{Local: "joe", Domain: "far.test"}
		if r, err := ParseRcpt("TO:<joe@far.test>"+params, all, false); err != nil || r != want {
			t.Errorf("%q: %+v, %v", params, r, err)
		}
	}
	for _, params := range []string{
		" NOTIFY=", " NOTIFY=NEVER,DELAY", " NOTIFY=DELAY,NEVER", " NOTIFY=DELAY,DELAY", " NOTIFY=OFTEN", " ORCPT=", " ORCPT=rfc822", " ORCPT=rfc822;",
		` ORCPT=utf-8;a\x{D}`, ` ORCPT=utf-8;a\x{85}`, ` ORCPT=utf-8;a\x{D800}`, ` ORCPT=utf-8;a\x{}`, ` ORCPT=utf-8;a\x{6`, ` ORCPT=utf-8;a\x{110000}`,
		" ORCPT=;a", " ORCPT=rfc_822;a", " ORCPT=rfc822;+", " ORCPT=rfc822;" + long(MaxORcpt-6), " SIZE=1",
	} {
		if r, err := ParseRcpt("TO:<joe@far.test>"+params, all, false); err == nil {
			t.Errorf("%q is taken as %+v", params, r)
		}
	}
}

func TestParametersThatWereNotOfferedAreRefused(t *testing.T) {
	t.Parallel()
	for _, param := range []string{"SIZE=1", "BODY=7BIT", "SMTPUTF8", "REQUIRETLS", "RET=FULL", "ENVID=a", "AUTH=<>"} {
		if m, err := ParseMail("FROM:<joe@far.test> "+param, Extensions{}); err == nil {
			t.Errorf("%s is taken as %+v", param, m)
		}
	}
	for _, param := range []string{"NOTIFY=NEVER", "ORCPT=rfc822;a"} {
		if r, err := ParseRcpt("TO:<joe@far.test> "+param, Extensions{}, false); err == nil {
			t.Errorf("%s is taken as %+v", param, r)
		}
	}
}

func long(n int) string { return strings.Repeat("1", n) }

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
