package mess

import (
	"bufio"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/qmail/mess822"
)

func modern() *Modern {
	h := Hosts{DefaultHost: "mx.test", DefaultDomain: "mx.test", PlusDomain: "mx.test"}
	return &Modern{Rules: h.DefaultRules(), IDHost: "mx.test", ID: "24612", User: "joe", Now: time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)}
}

func complete(t *testing.T, m *Modern, in string) *Complete {
	t.Helper()
	fields, _, err := mess822.ReadHeader(bufio.NewReader(strings.NewReader(in)))
	if err != nil {
		t.Fatal(err)
	}
	return m.Complete(fields)
}

func TestNewInjectOrdersAndCompletes(t *testing.T) {
	t.Parallel()
	in := "Subject: Hello there\nTo: e@f+ (cmt)\nReceived: by a\nX-B: 1\nDate: Thu, 1 Jan 70 00:00:00 GMT\nDate: Fri, 20 Nov 98 10:11:12 EST\n" +
		"Bcc: hid@x.y\nTo: bob\nResent-To: q@r\nReturn-Path: <me@here>\n"
	want := &Complete{
		Text: "Received: by a\nResent-To: q@r\nDate: 20 Nov 1998 10:11:12 -0500\nMessage-ID: <19981120151112.24612.qmail@mx.test>\n" +
			"From: joe@mx.test\nTo: \"cmt\" <e@f.mx.test>,\n  bob@mx.test\nSubject: Hello there\nX-B: 1\n",
		Sender: "me@here.mx.test", HasSender: true, To: []string{"e@f.mx.test", "hid@x.y", "bob@mx.test"},
	}
	if d := cmp.Diff(want, complete(t, modern(), in)); d != "" {
		t.Error(d)
	}
}

func TestEnvelopeFieldsGoBeforeTheHeader(t *testing.T) {
	t.Parallel()
	got := complete(t, modern(), "To: a@b.c\nEnvelope-Sender: <x@y.z>\nReturn-Path: <q@r.s>\nEnvelope-Recipients: one, two@z.\n")
	if got.Sender != "x@y.z" || !cmp.Equal(got.To, []string{"one@mx.test", "two@z.mx.test"}) {
		t.Errorf("%+v", got)
	}
}

func TestAGroupOfNobodyStaysOne(t *testing.T) {
	t.Parallel()
	got := complete(t, modern(), "To: undisclosed-recipients:;\nDate: 1 Jan 2000 00:00:00 +0000\nBcc: a@b.c\n")
	want := "Date: 1 Jan 2000 00:00:00 +0000\nMessage-ID: <20000101000000.24612.qmail@mx.test>\nFrom: joe@mx.test\nTo: \"undisclosed-recipients\": ;\n"
	if got.Text != want || !cmp.Equal(got.To, []string{"a@b.c"}) {
		t.Errorf("%+v, want %q", got, want)
	}
}

func TestTheLastFieldThatNamesASenderCounts(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]Complete{
		"Return-Path:\nSubject: x\n":                            {},
		"Return-Path: (nobody)\nEnvelope-Sender: \n":            {},
		"Return-Path: <>\n":                                     {HasSender: true},
		"Return-Path: a@b.c\nReturn-Path: <d@e.f>\n":            {Sender: "d@e.f", HasSender: true},
		"Envelope-Sender: a@b.c, d@e.f\nReturn-Path: <g@h.i>\n": {Sender: "d@e.f", HasSender: true},
		"Envelope-Sender: a@b.c\nEnvelope-Sender:\nCc: x@y.z\n": {Sender: "a@b.c", HasSender: true},
	} {
		if got := complete(t, modern(), in); got.Sender != want.Sender || got.HasSender != want.HasSender {
			t.Errorf("%q: %q, %v, want %q, %v", in, got.Sender, got.HasSender, want.Sender, want.HasSender)
		}
	}
}

func TestHostsAreRewrittenByRules(t *testing.T) {
	t.Parallel()
	h := Hosts{DefaultHost: "dh", DefaultDomain: "dd.test", PlusDomain: "pd.test"}
	rules, faults := ParseRules("rewrite", []byte("# comment\n \r\n=old:new.test \r\n*.b:.a\n?x:y\n-.gone.test:here.test\nwrong\n?nocolon\n"))
	if len(rules) != 4 || len(faults) != 2 || faults[1].Error() != "rewrite:8: want =post:new, *post:new, ?post:new or -post:new" {
		t.Fatalf("%v %v", rules, faults)
	}
	for _, tt := range []struct {
		rules    Rules
		in, want string
	}{
		{h.DefaultRules(), "", "dh.dd.test"}, {h.DefaultRules(), "a+", "a.pd.test"}, {h.DefaultRules(), "a", "a.dd.test"},
		{h.DefaultRules(), "a.b.", "a.b"}, {h.DefaultRules(), "[1.2.3.4]", "[1.2.3.4]"}, {h.DefaultRules(), "a.b", "a.b"},
		{rules, "old", "new.test"}, {rules, "c.b", "c.a"}, {rules, "fox", "foy"}, {rules, "f.ox", "f.ox"}, {rules, "any.gone.test", "here.test"},
	} {
		if got := tt.rules.Host(tt.in); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.in, got, tt.want)
		}
	}
	if got := (VERP{Message: true, Recipient: true}).Sender("joe@mx.test", time.Unix(1795291639, 0), 24612); got != "joe-1795291639.24612-@mx.test-@[]" {
		t.Error(got)
	}
}

func FuzzModern(f *testing.F) {
	f.Add("To: e@f+ (cmt)\nDate: Fri, 20 Nov 98 10:11:12 EST\nFrom: @r1:g@h.i\n")
	f.Add("From: \"a\\\nb\" <x\ny>\nCc: ((\n\n")
	f.Fuzz(func(t *testing.T, in string) {
		fields, _, err := mess822.ReadHeader(bufio.NewReader(strings.NewReader(in)))
		if err != nil {
			return
		}
		text := modern().Complete(fields).Text
		again, end, err := mess822.ReadHeader(bufio.NewReader(strings.NewReader(text + "\n")))
		if err != nil || end != "\n" || len(again) < 3 {
			t.Fatalf("%q does not read back: %d fields, %q, %v", text, len(again), end, err)
		}
	})
}
