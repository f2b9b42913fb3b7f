package smtp

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/postilion/postilion/internal/mail"
)

func TestPathsAreReadAsTheStandardSays(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 64)
	domain := strings.Repeat("a.", 125) + "com" // 253 bytes, what DNS can hold
	for _, c := range []struct {
		in, local, domain, rest string
	}{
		{"<>", "", "", ""},
		{"<joe@example.test>", "joe", "example.test", ""},
		{"<joe@example.test> SIZE=1", "joe", "example.test", " SIZE=1"},
		{"<postmaster>", "postmaster", "", ""},
		{"<PostMaster>", "PostMaster", "", ""},
		{"<@a.test,@b.test:c@d.test>", "c", "d.test", ""},
		{"<a%b@c.test>", "a%b", "c.test", ""},
		{"<a!b@c.test>", "a!b", "c.test", ""},
		{"<a@[IPv6:::1]>", "a", "[IPv6:::1]", ""},
		{"<a@[127.0.0.1]>", "a", "[127.0.0.1]", ""},
		{`<"a b"@c.test>`, "a b", "c.test", ""},
		{`<"a@b"@c.test>`, "a@b", "c.test", ""},
		{`<"a>b"@c.test>`, "a>b", "c.test", ""},
		{`<"a\"\\b"@c.test>`, `a"\b`, "c.test", ""},
		{`<"..a."@c.test>`, "..a.", "c.test", ""},
		{"<" + long + "@" + domain + ">", long, domain, ""},
		{"<jörg@exämple.test>", "jörg", "exämple.test", ""},
		{"<用户@例え.test>", "用户", "例え.test", ""},
		{"<a@xn--exmple-cua.test>", "a", "xn--exmple-cua.test", ""},
		{"<a@under_score.test>", "a", "under_score.test", ""},
		{"joe@example.test", "joe", "example.test", ""},
		{"joe@example.test SIZE=1", "joe", "example.test", " SIZE=1"},
		{"Postmaster", "Postmaster", "", ""},
		{"<$(id)a@x.test>", "", "", "!"},
	} {
		a, rest, err := ParsePath(c.in)
		if c.rest == "!" {
			if err == nil {
				t.Errorf("%q is taken as %+v", c.in, a)
			}
			continue
		}
		if err != nil || a != (mail.Address{Local: c.local, Domain: c.domain}) || rest != c.rest {
			t.Errorf("%q: %+v, rest %q, %v", c.in, a, rest, err)
		}
	}
}

func TestHostilePathsAreRefused(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"", " ", ">", "a@b.test>", "a<b@c.test>", "a", `"a b"@c.test`, "a@b.test,c@d.test", "a@b.test\r\nX", "<", "<a", "<a@", "<a@b.test", "<a@>", "<@b.test>", "<a>", "<root>", `<"">`, `<""@x.test>`,
		"<a@b@c.test>", "<@a,@b>", "<@a:b:c@d.test>", "<@a b:c@d.test>", "<,@a:b@c.test>",
		"<\"a\r\nX: y\"@d.test>", "<\"a\x00\"@d.test>", "<\"a\\\r\"@d.test>", "<\"a\tb\"@d.test>", `<"a@d.test>`, `<"a"b@d.test>`,
		"<a\x00@d.test>", "<a b@d.test>", "<a..b@d.test>", "<.a@d.test>", "<a.@d.test>", "<a@d.test.>", "<a@.d.test>", "<a@d..test>",
		"<" + strings.Repeat("a", 65) + "@d.test>", "<a@" + strings.Repeat("a.", 127) + "co>", "<a@" + strings.Repeat("a", 64) + ".test>",
		"<a@-d.test>", "<a@d-.test>", "<a@d.test:25>", "<a@d/test>", "<a@xn--\xff>", "<a@xn--a>", "<a@xn--zzzzzz99999999999>", "<\xff@d.test>", "<a@\xff.test>",
		"<a@[127.0.0.1>", "<a@[127.0.0]>", "<a@[::1]>", "<a@[IPv6:127.0.0.1]>", "<a@[IPv6:fe80::1%eth0]>", "<a@[x:y]>", "<a@[]>",
		"<;id;@x.test>", "<${run{/bin/sh -c id}}@x.test>", "<a@`id`.test>", "<a@$(id).test>", "<joe@example.test\r\nRCPT TO:<x>", "<a\n@d.test>",
	} {
		if a, _, err := ParsePath(in); err == nil {
			t.Errorf("%q is taken as %+v", in, a)
		}
	}
}

func TestALongReversePathIsTaken(t *testing.T) {
	t.Parallel()
	for n, ok := range map[int]bool{65: true, 250: true, 251: false} {
		path := "<" + strings.Repeat("a", n) + "@d.test>"
		if _, _, err := ParseReversePath(path); (err == nil) != ok {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestQmailsOwnReversePathsAreTakenForMAILAlone(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]mail.Address{
		"<#@[]>":                         {Local: "#", Domain: "[]"},
		"<owner-list-@host.test-@[]>":    {Local: "owner-list-@host.test-", Domain: "[]"},
		`<"a b-"@host.test-@[]>`:         {Local: "a b-@host.test-", Domain: "[]"},
		"<list-@[127.0.0.1]-@[]> SIZE=1": {Local: "list-@[127.0.0.1]-", Domain: "[]"},
	} {
		a, _, err := ParseReversePath(in)
		if err != nil || a != want {
			t.Errorf("%q: %+v, %v", in, a, err)
		}
		if _, _, err := ParsePath(in); err == nil {
			t.Errorf("%q is taken for RCPT", in)
		}
	}
	for _, in := range []string{"<a@[]>", "<a-@[]>", "<@[]>", "<a-@-@[]>", "<a@b@c.test-@[]>", "<a@b\r.test-@[]>", "<a@b..test-@[]>", "<#@[].test>", "<a-@b.test-@[]@c.test>"} {
		if a, _, err := ParseReversePath(in); err == nil {
			t.Errorf("%q is taken as %+v", in, a)
		}
	}
}

func TestAWrittenPathIsReadBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := mail.Address{
			Local:  rapid.StringMatching(`[ -~äé用]{1,20}`).Draw(t, "local"),
			Domain: rapid.SampledFrom([]string{"example.test", "[192.0.2.1]", "exämple.test"}).Draw(t, "domain"),
		}
		wire := string(AppendPath(nil, a))
		got, rest, err := ParsePath(wire + " X")
		if err != nil || got != a || rest != " X" {
			t.Fatalf("%q: %+v, rest %q, %v; want %+v", wire, got, rest, err, a)
		}
	})
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"<>", "<a@b.test>", `<"a\"b"@[IPv6:::1]>`, "<@a,@b:c@d>", "<postmaster>", "<é@xn--exmple-cua.test>", "a@b.test X"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, _, err := ParsePath(s)
		if err != nil {
			return
		}
		if strings.ContainsAny(a.Local+a.Domain, "\x00\r\n") || len(a.Local) > MaxLocalPart || len(a.Domain) > MaxDomain {
			t.Fatalf("%q gives %+v", s, a)
		}
		again, rest, err := ParsePath(string(AppendPath(nil, a)))
		if err != nil || again != a || rest != "" {
			t.Fatalf("%+v is written so that it reads %+v, %q, %v", a, again, rest, err)
		}
	})
}
