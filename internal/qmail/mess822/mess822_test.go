package mess822

import (
	"bufio"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestListsAreReadFromTheirEnd(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][]Address{
		"":                           nil,
		"joe":                        {{Addr: "joe@", IsAddress: true}},
		"joe@a.test":                 {{Addr: "joe@a.test", IsAddress: true}},
		"a@b.test c@d.test":          {{Addr: "a@b.test", IsAddress: true}, {Addr: "c@d.test", IsAddress: true}},
		"a@b.test,, c@d.test;":       {{Addr: "a@b.test", IsAddress: true}, {Addr: "c@d.test", IsAddress: true}},
		"Joe  Doe <joe@a.test>":      {{Addr: "joe@a.test", IsAddress: true, Comment: "Joe Doe"}},
		`"Doe, Joe" <joe@a.test>`:    {{Addr: "joe@a.test", IsAddress: true, Comment: "Doe, Joe"}},
		"joe@a.test (Joe (the) \\))": {{Addr: "joe@a.test", IsAddress: true, Comment: "Joe (the) )"}},
		"(Joe)":                      {{Comment: "Joe"}},
		"(Joe), ann@a.test":          {{Comment: "Joe"}, {Addr: "ann@a.test", IsAddress: true}},
		"ann@a.test (Ann), (Joe)":    {{Addr: "ann@a.test", IsAddress: true, Comment: "Ann"}, {Comment: "Joe"}},
		"<>":                         {{IsAddress: true}},
		"<@r1.test,@r2.test:g@h.i>":  {{Addr: "g@h.i", IsAddress: true, Comment: "@r1.test@r2.test"}},
		"list: a@b.test, c@d.test;":  {{Addr: "a@b.test", IsAddress: true, Comment: "list"}, {Addr: "c@d.test", IsAddress: true}},
		`"x y"@b.test`:               {{Addr: "x y@b.test", IsAddress: true}},
		`x\ y@b.test`:                {{Addr: "x y@b.test", IsAddress: true}},
		"joe@[192.0.2.1]":            {{Addr: "joe@[192.0.2.1]", IsAddress: true}},
		"joe . doe @ a . test":       {{Addr: "joe.doe@a.test", IsAddress: true}},
		"joe@a.test>":                {{Addr: "joe@a.test", IsAddress: true}},
		`joe\`:                       {{Addr: `joe\@`, IsAddress: true}},
	} {
		if d := cmp.Diff(want, Addresses(in)); d != "" {
			t.Errorf("%q: %s", in, d)
		}
	}
}

func TestDatesAreReadAsTheyAreFound(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"29 Aug 1996 14:04:52 CDT":                  "1996-08-29T19:04:52Z",
		"Fri, 20 Nov 98 10:11:12 EST":               "1998-11-20T15:11:12Z",
		"by x.test; Fri, 20 Nov 2026 10:11 +0130":   "2026-11-20T08:41:00Z",
		"(before) 1 JAN 49 (in) 00 : 00 : 01 -0000": "2049-01-01T00:00:01Z",
		"1 Jan 50 00:00:00 MET DST":                 "1949-12-31T22:00:00Z",
		"1 Jan 100 00:00:00 GMT":                    "2000-01-01T00:00:00Z",
		"1 Jan 1998 10:11:12":                       "",
		"1 Jan 1998 10:11:12 NOWHERE":               "",
		"1 Jax 1998 10:11:12 GMT":                   "",
		"1 anf 1998 10:11:12 GMT":                   "",
		"Jan 1 1998 10:11:12 GMT":                   "",
		"1 Jan 1998 10 11 12 GMT":                   "",
		"":                                          "",
	} {
		w, ok := ParseDate(in)
		got := ""
		if ok {
			got = w.Time().Format(time.RFC3339)
		}
		if got != want || w.NoZone != strings.HasSuffix(in, "-0000") {
			t.Errorf("%q: %s %+v, want %q", in, got, w, want)
		}
	}
}

func TestAHeaderEndsAtTheFirstLineThatIsNoField(t *testing.T) {
	t.Parallel()
	subject := Field{Name: "subject", Raw: "Subject: x\n\ty\n", Value: " x\ty"}
	for in, want := range map[string]struct {
		fields []Field
		end    string
		rest   string
	}{
		"":                               {},
		"Subject: x\n\ty\n\nbody\n":      {[]Field{subject}, "\n", "body\n"},
		"Subject: x\n\ty\nbody\nmore\n":  {[]Field{subject}, "body\n", "more\n"},
		"Subject: x\n\ty\n: no name\n":   {[]Field{subject}, ": no name\n", ""},
		"Subject: x\n\ty\nFrom joe: x\n": {[]Field{subject}, "From joe: x\n", ""},
		"Subject: x\n\ty\nT\x7fo: x\n":   {[]Field{subject}, "T\x7fo: x\n", ""},
		"To : a":                         {[]Field{{Name: "to", Raw: "To : a", Value: " a"}}, "", ""},
		" first\nTo:a\n":                 {[]Field{{Raw: " first\n", Value: "first"}, {Name: "to", Raw: "To:a\n", Value: "a"}}, "", ""},
	} {
		r := bufio.NewReaderSize(strings.NewReader(in), 16)
		fields, end, err := ReadHeader(r)
		if err != nil {
			t.Fatal(err)
		}
		var rest strings.Builder
		if _, err := r.WriteTo(&rest); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want.fields, fields); d != "" || end != want.end || rest.String() != want.rest {
			t.Errorf("%q: ends with %q, then %q: %s", in, end, rest.String(), d)
		}
	}
}

func TestAHeaderHasABound(t *testing.T) {
	t.Parallel()
	line := "X: " + strings.Repeat("x", 2*maxLine) + "\n"
	fields, _, err := ReadHeader(bufio.NewReader(strings.NewReader(strings.Repeat(line, maxHeader/maxLine+2))))
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for _, f := range fields {
		if size += len(f.Raw); len(f.Raw) > maxLine {
			t.Errorf("a line of %d bytes", len(f.Raw))
		}
	}
	if size != maxHeader {
		t.Errorf("%d bytes are kept, want %d", size, maxHeader)
	}
}
