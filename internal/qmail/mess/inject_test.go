package mess

import (
	"bufio"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func injector() *Injector {
	return &Injector{
		Hosts: Hosts{DefaultHost: "mx.test", DefaultDomain: "dom.test", PlusDomain: "plus.test"}, IDHost: "mx.test",
		User: "joe", Now: time.Date(2026, 11, 21, 19, 34, 36, 0, time.UTC), PID: 23383,
	}
}

const added = "Date: 21 Nov 2026 19:34:36 -0000\nMessage-ID: <20261121193436.23383.qmail@mx.test>\n"

// cases are headers with what becomes of them. Where from is "-" the added fields are left out.
var cases = []struct {
	name, in, out string
	to            []string
	set           func(*Injector)
}{
	{name: "the example of 12.7", in: "To: bob\n", out: added + "From: \"Joe \\\"D\\\" O\" <joe@mx.test>\nTo: bob@mx.test\n",
		to: []string{"bob@mx.test"}, set: func(j *Injector) { j.Name = `Joe "D" O` }},
	{name: "vector 39: blanks become commas", in: "From: a@b.c\nTo: x y z\n", out: added + "From: a@b.c\nTo: x@mx.test, y@mx.test, z@mx.test\n",
		to: []string{"x@mx.test", "y@mx.test", "z@mx.test"}},
	{name: "vector 39: the three default domains", in: "From: a@b.c\nTo: joe@x+, joe, joe@x\n",
		out: added + "From: a@b.c\nTo: joe@x.plus.test, joe@mx.test, joe@x.dom.test\n", to: []string{"joe@x.plus.test", "joe@mx.test", "joe@x.dom.test"}},
	{name: "vector 39: what cannot be parsed stays and yields nobody", in: "From: a@b.c\nTo: (unclosed joe@x\nCc: bob\n",
		out: added + "From: a@b.c\nTo: (unclosed joe@x\nCc: bob@mx.test\n", to: []string{"bob@mx.test"}},
	{name: "vector 40: Resent-To goes before To and Cc", in: "From: a@b.c\nTo: x\nResent-To: y\nCc: z\n",
		out: "Resent-Date: 21 Nov 2026 19:34:36 -0000\nResent-Message-ID: <20261121193436.23383.qmail@mx.test>\nResent-From: joe@mx.test\n" +
			"From: a@b.c\nTo: x@mx.test\nResent-To: y@mx.test\nCc: z@mx.test\n", to: []string{"y@mx.test"}},
	{name: "nobody is shown", in: "From: a@b.c\nBcc: x\n", out: added + "Cc: recipient list not shown: ;\nFrom: a@b.c\n", to: []string{"x@mx.test"}},
	{name: "nobody of a resent message is shown", in: "From: a@b.c\nTo: q\nResent-Bcc: x\n",
		out: "Resent-Date: 21 Nov 2026 19:34:36 -0000\nResent-Message-ID: <20261121193436.23383.qmail@mx.test>\nResent-From: joe@mx.test\n" +
			"Resent-Cc: recipient list not shown: ;\nFrom: a@b.c\nTo: q@mx.test\n", to: []string{"x@mx.test"}},
	{name: "a plus in the box is no host", in: "From: a@b.c\nTo: joe+\n", out: added + "From: a@b.c\nTo: joe+@mx.test\n", to: []string{"joe+@mx.test"}},
	{name: "source routes go", in: "From: a@b.c\nTo: <@r1,@r2:joe@x.y>\n", out: added + "From: a@b.c\nTo: <joe@x.y>\n", to: []string{"joe@x.y"}},
	{name: "a route without brackets is no address", in: "From: a@b.c\nTo: @r1:g, h\n", out: added + "From: a@b.c\nTo: @r1:g, h\n"},
	{name: "a route address", in: "From: a@b.c\nTo: Joe <@r1:joe@x>\n", out: added + "From: a@b.c\nTo: Joe <joe@x.dom.test>\n", to: []string{"joe@x.dom.test"}},
	{name: "groups and comments stay", in: "From: a@b.c\nTo: friends: bob (Bob), \"a b\"@x.y;, eve (Eve (E))\n",
		out: added + "From: a@b.c\nTo: friends: bob@mx.test (Bob), \"a b\"@x.y;, eve@mx.test (Eve \\(E\\))\n", to: []string{"bob@mx.test", "a b@x.y", "eve@mx.test"}},
	{name: "literals stay", in: "From: a@b.c\nTo: joe@[10.0.0.1]\n", out: added + "From: a@b.c\nTo: joe@[10.0.0.1]\n", to: []string{"joe@[10.0.0.1]"}},
	{name: "ends of hosts are cleaned", in: "From: a@b.c\nTo: joe@x.y., joe@\n", out: added + "From: a@b.c\nTo: joe@x.y, joe@mx.test\n", to: []string{"joe@x.y", "joe@mx.test"}},
	{name: "the mbox line becomes a field", in: "From joe Sat Nov 21 1998\nFrom: a@b.c\nTo: b@c.d\n", out: added + "MBOX-Line: From joe Sat Nov 21 1998\nFrom: a@b.c\nTo: b@c.d\n", to: []string{"b@c.d"}},
	{name: "Return-Path is the sender and goes", in: "From: a@b.c\nTo: b@c.d\nReturn-Path: <me@x>\nContent-Length: 5\n", out: added + "From: a@b.c\nTo: b@c.d\n", to: []string{"b@c.d"}},
	{name: "the name in a comment", in: "To: b@c.d\n", out: added + "From: joe@mx.test (Joe)\nTo: b@c.d\n", to: []string{"b@c.d"},
		set: func(j *Injector) { j.Name, j.CommentName = "Joe", true }},
	{name: "From and Message-ID dropped", in: "From: x@y.z\nMessage-ID: <1@2>\nTo: b@c.d\n", out: added + "From: joe@host.test\nTo: b@c.d\n", to: []string{"b@c.d"},
		set: func(j *Injector) { j.DropFrom, j.DropMessageID, j.Host = true, true, "host.test" }},
	{name: "long lists are folded", in: "From: a@b.c\nTo: " + strings.Repeat("somebody@somewhere.example, ", 4) + "x@y.z\n",
		out: added + "From: a@b.c\nTo: somebody@somewhere.example, somebody@somewhere.example,\n  somebody@somewhere.example, somebody@somewhere.example, x@y.z\n",
		to:  []string{"somebody@somewhere.example", "somebody@somewhere.example", "somebody@somewhere.example", "somebody@somewhere.example", "x@y.z"}},
	{name: "a line of 79 bytes is folded, for qmail counts the break", in: "From: a@b.c\nTo: " + strings.Repeat("user@host.dd.test, ", 4) + "x@y.z\n",
		out: added + "From: a@b.c\nTo: user@host.dd.test, user@host.dd.test, user@host.dd.test,\n  user@host.dd.test, x@y.z\n",
		to:  []string{"user@host.dd.test", "user@host.dd.test", "user@host.dd.test", "user@host.dd.test", "x@y.z"}},
	{name: "a list wants answers", in: "From: a@b.c\nTo: List@x.y, bob\nCc: eve\n",
		out: added + "Mail-Followup-To: List@x.y,\n  bob@mx.test,\n  eve@mx.test\nFrom: a@b.c\nTo: List@x.y, bob@mx.test\nCc: eve@mx.test\n",
		to:  []string{"List@x.y", "bob@mx.test", "eve@mx.test"}, set: func(j *Injector) { j.Followup = []string{"list@X.y"} }},
	{name: "other fields pass", in: "X-A:  b\n\tc\nFrom: a@b.c\nSubject:\nTo: b@c.d\nDate: now\n", out: "Message-ID: <20261121193436.23383.qmail@mx.test>\nX-A:  b\n\tc\nFrom: a@b.c\nSubject:\nTo: b@c.d\nDate: now\n", to: []string{"b@c.d"}},
	{name: "one semicolon between addresses", in: "From: a@b.c\nTo: joe;bob@x.y\n", out: added + "From: a@b.c\nTo: joe@mx.test;, bob@x.y\n", to: []string{"joe@mx.test", "bob@x.y"}},
	{name: "an angle that nothing closes", in: "From: a@b.c\nTo: <joe>, <bob@x.y\n", out: added + "From: a@b.c\nTo: <joe@mx.test>, <bob@x.y\n", to: []string{"joe@mx.test", "<bob@x.y"}},
	{name: "what no atom may hold is quoted", in: "From: a@b.c\nTo: \xe4 <a)b@x.y>\n", out: added + "From: a@b.c\nTo: \"\xe4\" <\"a\\)b\"@x.y>\n", to: []string{"a)b@x.y"}},
	{name: "an address of no host stays", in: "From: a@b.c\nTo: #@[]\n", out: added + "From: a@b.c\nTo: #@[]\n", to: []string{"#@[]"}},
	{name: "an empty address", in: "From: a@b.c\nTo: nobody <>\n", out: added + "From: a@b.c\nTo: nobody <>\n", to: []string{""}},
}

func TestHeadersAreRewritten(t *testing.T) {
	t.Parallel()
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			j := injector()
			if tt.set != nil {
				tt.set(j)
			}
			fields, body, err := ReadHeader(bufio.NewReader(strings.NewReader(tt.in+"\nbody\n")), 1<<20)
			if err != nil || body != nil {
				t.Fatalf("body %q, %v", body, err)
			}
			got, err := j.Rewrite(fields)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.out, strings.Join(got.Fields, "")); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(tt.to, got.To); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestABrokenAuthorIsNamed(t *testing.T) {
	t.Parallel()
	for _, f := range []string{"From: a@b.c ) d\n", "Sender: a@b>\n", "Reply-To: \"open\n", "Errors-To: x: y\n", "Return-Path: [1.2\n"} {
		_, err := injector().Rewrite([]string{f})
		if err == nil || err.Error() != "unable to parse this line:\n"+f {
			t.Errorf("%q: %v", f, err)
		}
	}
}

func TestTheFirstLineThatIsNoFieldEndsTheHeader(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in     string
		fields []string
		body   string
	}{
		{"To: x\nhello there\nyou\n", []string{"To: x\n"}, "hello there\n"},
		{" blank first\nTo: x\n", nil, " blank first\n"},
		{"To: x", []string{"To: x\n"}, ""},
		{"", nil, ""},
		{"To: x\n y\n\tz\n\nbody", []string{"To: x\n y\n\tz\n"}, ""},
		{"To : x\n\n", []string{"To : x\n"}, ""},
		{": x\n", nil, ": x\n"},
	} {
		fields, body, err := ReadHeader(bufio.NewReaderSize(strings.NewReader(tt.in), 16), 1000)
		if err != nil || !cmp.Equal(fields, tt.fields) || string(body) != tt.body {
			t.Errorf("%q: %q, %q, %v", tt.in, fields, body, err)
		}
	}
	if _, _, err := ReadHeader(bufio.NewReader(strings.NewReader("To: "+strings.Repeat("x", 2000))), 1000); err != ErrHeaderTooLong {
		t.Error("a header over the bound:", err)
	}
}

func TestSendersAndTheirVERPForms(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		set  func(*Injector)
		want string
	}{
		{func(*Injector) {}, "joe@mx.test"},
		{func(j *Injector) { j.SenderUser, j.SenderHost = "bob", "x" }, "bob@x.dom.test"},
		{func(j *Injector) { j.RecipientVERP = true }, "joe-@mx.test-@[]"},
		{func(j *Injector) { j.MessageVERP = true }, "joe-1795289676.23383@mx.test"},
		{func(j *Injector) { j.MessageVERP, j.RecipientVERP = true, true }, "joe-1795289676.23383-@mx.test-@[]"},
	} {
		j := injector()
		tt.set(j)
		if got := j.DefaultSender(); got != tt.want {
			t.Errorf("%s, want %s", got, tt.want)
		}
	}
	for in, want := range map[string]string{"Return-Path: <list-@x.y>\n": "list-@x.y-@[]", "Return-Path: <>\n": ""} {
		j := injector()
		j.RecipientVERP = true
		fields, _, err := ReadHeader(bufio.NewReader(strings.NewReader(in+"\n")), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := j.Rewrite(fields); err != nil || got.Sender != want {
			t.Errorf("%q: %q, %v, want %q", in, got.Sender, err, want)
		}
	}
	if got := QuoteAddress("joe-@mx.test-@[]"); got != `"joe-@mx.test-"@[]` {
		t.Errorf("displayed %s", got)
	}
}

func TestArgumentsAreAddresses(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"joe": "joe@mx.test", "a b@x.y": "a b@x.y", "": "", "joe@x+": "joe@x.plus.test", `q"r@x.y`: `q"r@x.y`, "a@b@x.y": "a@b@x.y", "joe-@h-@[]": "joe-@h-@[]"} {
		if got, ok := injector().Address(in); !ok || got != want {
			t.Errorf("%q: %q %v, want %q", in, got, ok, want)
		}
	}
	if got, ok := injector().Address("joe@x )"); ok {
		t.Errorf("%q was taken", got)
	}
}

func FuzzRewrite(f *testing.F) {
	for _, tt := range cases {
		f.Add(tt.in)
	}
	f.Add("To: ((((\\\nCc: <<>>;:,\n")
	f.Fuzz(func(t *testing.T, in string) {
		fields, _, err := ReadHeader(bufio.NewReader(strings.NewReader(in)), 1<<20)
		if err != nil {
			return
		}
		j := injector()
		got, err := j.Rewrite(fields)
		if err != nil {
			return
		}
		// A rewritten header reads back, and rewriting it again changes nothing.
		text := strings.Join(got.Fields, "")
		again, body, err := ReadHeader(bufio.NewReader(strings.NewReader(text)), 4<<20)
		if err != nil || len(body) > 0 {
			t.Fatalf("%q does not read back: %q %v", text, body, err)
		}
		if _, err := j.Rewrite(again); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
	})
}

func TestTheWorkIsLinear(t *testing.T) {
	t.Parallel()
	const size = 256 << 10 // of which the square takes minutes
	for _, piece := range []string{"a ", "a,", "<", "(", ")", "@", ".", ":", ";", "a:;", "<a>", "\\", "\"", "a@b.c, ", "()"} {
		in := "To: " + strings.Repeat(piece, size/len(piece)) + "\n"
		start := time.Now()
		if _, err := injector().Rewrite([]string{in}); err != nil {
			t.Errorf("%q: %v", piece, err)
		}
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("%d bytes of %q took %v", size, piece, took)
		}
	}
}
