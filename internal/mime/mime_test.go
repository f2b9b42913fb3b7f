package mime

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func parse(t *testing.T, s string) *Part {
	t.Helper()
	p, err := Parse(strings.NewReader(s), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// outline shows a tree in one line: type, body as it is, parts.
func outline(src string, p *Part) string {
	s := p.Type + "/" + p.Subtype
	switch {
	case p.Message != nil:
		return s + "{" + outline(src, p.Message) + "}"
	case p.IsMultipart():
		var parts []string
		for _, c := range p.Parts {
			parts = append(parts, outline(src, c))
		}
		return s + "(" + strings.Join(parts, " ") + ")"
	}
	return s + fmt.Sprintf("%q", src[p.Body.Offset:p.Body.Offset+p.Body.Size])
}

func TestTrees(t *testing.T) {
	t.Parallel()
	const mixed = "Content-Type: multipart/mixed; boundary=b\n\n"
	for _, tt := range []struct{ name, in, want string }{
		{"empty", "", `text/plain""`},
		{"header only", "Subject: x\n", `text/plain""`},
		{"body only", "\nhello\n", `text/plain"hello\n"`},
		{"two parts", mixed + "preamble\n--b\n\none\n--b\nContent-Type: text/html\n\ntwo\n\n--b--\nepilogue\n", `multipart/mixed(text/plain"one" text/html"two\n")`},
		{"CRLF", strings.ReplaceAll(mixed+"--b\n\none\n--b--\n", "\n", "\r\n"), `multipart/mixed(text/plain"one")`},
		{"never closed", mixed + "--b\n\none\n", `multipart/mixed(text/plain"one\n")`},
		{"blanks behind the boundary", mixed + "--b  \n\none\n--b-- \n", `multipart/mixed(text/plain"one")`},
		{"inner not closed", mixed + "--b\nContent-Type: multipart/alternative; boundary=c\n\n--c\n\none\n--b\n\ntwo\n--b--\n",
			`multipart/mixed(multipart/alternative(text/plain"one") text/plain"two")`},
		{"one boundary begins with the other", mixed + "--b\nContent-Type: multipart/alternative; boundary=bb\n\n--bb\n\none\n--bb--\n--b\n\ntwo\n--b--\n",
			`multipart/mixed(multipart/alternative(text/plain"one") text/plain"two")`},
		{"message", mixed + "--b\nContent-Type: message/rfc822\n\nSubject: in\n\ninside\n--b--\n", `multipart/mixed(message/rfc822{text/plain"inside"})`},
		{"digest", "Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: in\n\ninside\n--b--\n", `multipart/digest(message/rfc822{text/plain"inside"})`},
		{"encoded message is a leaf", "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdA==\n", `message/rfc822"U3ViamVjdA==\n"`},
		{"no boundary", "Content-Type: multipart/mixed\n\n--b\n\none\n", `multipart/mixed"--b\n\none\n"`},
		{"no parts", mixed, `multipart/mixed()`},
		{"boundary in a header", mixed + "--b\nSubject: x\n--b\n\ntwo\n--b--\n", `multipart/mixed(text/plain"" text/plain"two")`},
		{"boundary ends with --", "Content-Type: multipart/mixed; boundary=\"b--\"\n\n--b--\n\none\n--b----\n", `multipart/mixed(text/plain"one")`},
	} {
		if got := outline(tt.in, parse(t, tt.in)); got != tt.want {
			t.Errorf("%s:\nwant %s\nhave %s", tt.name, tt.want, got)
		}
	}
}

func TestSizesAreCountedAsOnTheWire(t *testing.T) {
	t.Parallel()
	lf := "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\none\ntwo\n--b\n\nthree\n--b--\n"
	a, b := parse(t, lf), parse(t, strings.ReplaceAll(lf, "\n", "\r\n"))
	var sizes [2][]string
	for i, root := range []*Part{a, b} {
		root.Walk(func(number string, p *Part) {
			sizes[i] = append(sizes[i], fmt.Sprintf("%s head %d body %d lines %d", number, p.Head.WireSize, p.Body.WireSize, p.Body.Lines))
		})
	}
	if d := cmp.Diff(sizes[1], sizes[0]); d != "" {
		t.Error(d)
	}
	if p := b.Parts[0].Body; p.Size != p.WireSize || p.WireSize != int64(len("one\r\ntwo")) || p.Lines != 1 {
		t.Errorf("%+v", p)
	}
}

func TestLimitsTurnTheRestIntoLeaves(t *testing.T) {
	t.Parallel()
	var deep strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&deep, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
	}
	wide := "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\nx\n", 100_000) + "--b--\n"
	nested := strings.Repeat("Content-Type: message/rfc822\n\n", 10_000)
	for name, in := range map[string]string{"deep": deep.String(), "wide": wide, "nested messages": nested} {
		n, depth, cut := 0, 0, false
		var visit func(p *Part, d int)
		visit = func(p *Part, d int) {
			n, depth, cut = n+1, max(depth, d), cut || p.Cut
			for _, c := range p.Parts {
				visit(c, d+1)
			}
			if p.Message != nil {
				visit(p.Message, d+1)
			}
		}
		visit(parse(t, in), 0)
		if n > 10_000 || depth > 100 || !cut {
			t.Errorf("%s: %d parts, depth %d, cut %v", name, n, depth, cut)
		}
	}
	huge := "X: " + strings.Repeat("a", 10<<20) + "\nSubject: after\n\n"
	p := parse(t, huge)
	if len(p.Header[0].Value) > 256<<10 || p.Header.Get("Subject") != "after" {
		t.Errorf("a huge field keeps %d bytes; the next is %q", len(p.Header[0].Value), p.Header.Get("Subject"))
	}
	many := strings.Repeat("X: "+strings.Repeat("a", 1000)+"\n", 10_000)
	kept := 0
	for _, f := range parse(t, many).Header {
		kept += len(f.Value)
	}
	if kept > 4<<20 {
		t.Errorf("%d bytes of headers are kept", kept)
	}
}

func TestParameters(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, name, want string }{
		{`text/plain; charset=utf-8`, "charset", "utf-8"},
		{`text/plain; charset="utf-8" (comment; x=y); name=a`, "name", "a"},
		{`text/plain; name="a\"b;c"`, "name", `a"b;c`},
		{`text/plain; name=a b; x=y`, "x", "y"},
		{`text/plain; name*=iso-8859-1'en'%A3%20rates`, "name", "£ rates"},
		{`text/plain; name*0="one "; name*1=two`, "name", "one two"},
		{`text/plain; name*1*=%62; name*0*=utf-8''%C3%A4`, "name", "äb"},
		{`text/plain; name="=?utf-8?q?=C3=A4?="`, "name", "ä"},
		{`text/plain; name*0*=utf-8''x.; name*1=ex; name*2=e; name=harmless.txt`, "name", "x.exe"},
		{`text/plain; =x; ;; name=a`, "name", "a"},
	} {
		_, _, params, ok := parseType(tt.in)
		if got := Decoded(params, tt.name); !ok || got != tt.want {
			t.Errorf("%s: %s is %q, want %q", tt.in, tt.name, got, tt.want)
		}
	}
}

func TestEncodedWords(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain":                                          "plain",
		"=?iso-8859-1?q?a_b=E4?= c":                      "a bä c",
		"=?utf-8?B?w6Q=?= =?utf-8?B?w7Y=?=":              "äö",
		"=?utf-8?Q?=C3?= =?utf-8?Q?=A4?=":                "ä", // a character split by the writer
		"=?euc-kr?B?x9GxuQ==?=":                          "한국",
		"=?ks_c_5601-1987?B?x9GxuQ==?=":                  "한국",
		"=?ISO-2022-JP?B?GyRCRnxLXBsoQg==?=":             "日本",
		"=?utf-8*en?q?x?=":                               "x",
		"=?utf-8?x?y?= =?":                               "=?utf-8?x?y?= =?",
		"=?unknown-charset?q?=E4?=":                      "\uFFFD",
		"a =?utf-8?q?b?= c =?utf-8?q?d?=":                "a b c d",
		"raw \xe4":                                       "raw \uFFFD",
		"=?x?q?" + strings.Repeat("a", 1<<20) + "?=":     strings.Repeat("a", 1<<20),
		"=?utf-8?q?a?==?utf-8?q?b?=":                     "ab",
		"=?utf-8?b?" + "w6Q" + "?= =?iso-8859-1?q?=E4?=": "ää",
		strings.Repeat("=?", 100_000):                    strings.Repeat("=?", 100_000),
	} {
		if got := DecodeWords(in); got != want {
			t.Errorf("%.80q: %.80q, want %.80q", in, got, want)
		}
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in   string
		want []Address
	}{
		{"", nil},
		{"a@x.test", []Address{{Local: "a", Domain: "x.test"}}},
		{"A B <a@x.test>, \"C, D\" <c@y.test>", []Address{{Name: "A B", Local: "a", Domain: "x.test"}, {Name: "C, D", Local: "c", Domain: "y.test"}}},
		{"a@x.test (A B)", []Address{{Name: "A B", Local: "a", Domain: "x.test"}}},
		{"<@r.test,@s.test:a@x.test>", []Address{{Route: "@r.test,@s.test", Local: "a", Domain: "x.test"}}},
		{`"a b"@x.test`, []Address{{Local: "a b", Domain: "x.test"}}},
		{"a . b @ x . test", []Address{{Local: "a.b", Domain: "x.test"}}},
		{"a@[192.0.2.1]", []Address{{Local: "a", Domain: "[192.0.2.1]"}}},
		{"g: a@x.test, b@x.test;, c@x.test", []Address{
			{Local: "a", Domain: "x.test", Group: "g", InGroup: true}, {Local: "b", Domain: "x.test", Group: "g", InGroup: true}, {Local: "c", Domain: "x.test"}}},
		{"undisclosed-recipients:;", []Address{{Group: "undisclosed-recipients", InGroup: true, Empty: true}}},
		{"nobody", []Address{{Local: "nobody", Invalid: "no @ in it"}}},
		{"<>", []Address{{Invalid: "empty"}}},
		{"A <a@x.test", []Address{{Name: "A", Local: "a", Domain: "x.test", Invalid: "no > where it should end"}}},
		{"a@x.test b@x.test", []Address{{Local: "a", Domain: "x.test", Invalid: "text behind it: b@x.test"}}},
		{",,a@x.test,,", []Address{{Local: "a", Domain: "x.test"}}},
		{"()))", []Address{{Local: "))", Invalid: "no address"}}},
	} {
		if d := cmp.Diff(tt.want, ParseAddresses(tt.in)); d != "" {
			t.Errorf("%q:\n%s", tt.in, d)
		}
	}
}

func TestHostileFieldsCostLittle(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		strings.Repeat("(", 1<<20), strings.Repeat("g:", 1<<18), strings.Repeat("a@b,", 1<<18), strings.Repeat("<", 1<<20),
		strings.Repeat(`"`, 1<<20), strings.Repeat("a ", 1<<19), strings.Repeat("=?a?q?b?= ", 1<<16),
	} {
		if got := len(ParseAddresses(s)); got > maxAddresses+1 {
			t.Errorf("%d addresses", got)
		}
		parseType("a/b;" + s)
		DecodeWords(s)
	}
	if _, _, p, _ := parseType("a/b" + strings.Repeat(";a*0*=x", 10_000)); len(p) > maxParams {
		t.Errorf("%d parameters are kept", len(p))
	}
}

// FuzzParse: every input ends in a tree whose spans lie inside it, in order.
func FuzzParse(f *testing.F) {
	f.Add("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\ny\r\n--b--\r\n")
	f.Add("From x\nA: b\n c\n\nbody")
	f.Fuzz(func(t *testing.T, s string) {
		root, err := Parse(strings.NewReader(s), Limits{Depth: 5, Parts: 50})
		if err != nil {
			t.Fatal(err)
		}
		root.Walk(func(number string, p *Part) {
			if p.Head.Offset+p.Head.Size != p.Body.Offset || p.Body.Size < 0 || p.Body.Offset+p.Body.Size > int64(len(s)) {
				t.Errorf("part %q: head %+v, body %+v of %d bytes", number, p.Head, p.Body, len(s))
			}
			body := s[p.Body.Offset : p.Body.Offset+p.Body.Size]
			if want := int64(len(body) + strings.Count(body, "\n") - strings.Count(body, "\r\n")); p.Body.WireSize != want {
				t.Errorf("part %q: %d on the wire, want %d for %q", number, p.Body.WireSize, want, body)
			}
		})
	})
}

func FuzzAddresses(f *testing.F) {
	f.Add("A B <a@x.test>, g: c@d;, (x) e@[1.2.3.4]")
	f.Fuzz(func(t *testing.T, s string) {
		ParseAddresses(s)
		if DecodeWords(s) != strings.ToValidUTF8(DecodeWords(s), "?") {
			t.Errorf("%q decodes to what is not UTF-8", s)
		}
	})
}

func TestReadErrorsAreTold(t *testing.T) {
	t.Parallel()
	want := io.ErrClosedPipe
	_, err := Parse(io.MultiReader(strings.NewReader("A: b\n\nxx"), failing{want}), Limits{})
	if err != want {
		t.Errorf("error %v, want %v", err, want)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func BenchmarkParse(b *testing.B) {
	msg := []byte("Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n" + strings.Repeat(strings.Repeat("x", 76)+"\n", 10_000) + "--b--\n")
	b.SetBytes(int64(len(msg)))
	for b.Loop() {
		if _, err := Parse(bytes.NewReader(msg), Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
