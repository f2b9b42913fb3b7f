package injection

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNewInjectPrintsAsItWasSeen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if code := w.run("Date: Fri, 20 Nov 98 10:11:12 EST\nTo: bob\nBcc: hid@x.y\nSubject: s\n\nbody\n", "new-inject", "-n"); code != 0 {
		t.Fatal(w.errs.String())
	}
	want := "Envelope-Sender: joe@mx.test\nEnvelope-Recipients:\n  bob@mx.test,\n  hid@x.y,\nDate: 20 Nov 1998 10:11:12 -0500\n" +
		fmt.Sprintf("Message-ID: <19981120151112.%d.qmail@mx.test>\n", pid) + "From: joe@mx.test\nTo: bob@mx.test\nSubject: s\n\nbody\n"
	if d := cmp.Diff(want, w.out.String()); d != "" {
		t.Error(d)
	}
	w = newWorld(t)
	w.write("control/rewrite", "=:own.test\n")
	if code := w.run("To: bob\n\n", "new-inject", "-RM"); code != 0 || w.one().from != fmt.Sprintf("joe-%d.%d-@own.test-@[]", noon.Unix(), pid) || w.one().to[0] != "bob@own.test" {
		t.Errorf("%d %+v %s", code, w.one(), w.errs.String())
	}
}

func TestOfmipdTakesAddressesAndAuthorsAsTheOriginal(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ from, to, wantFrom, wantTo, wantField string }{
		{"<a@b.c>", "<c@d+>", "a@b.c", "c@d.mx.test", "From: a@b.c\n"},
		{" a", " <\"x y\"@d.test>", "a@mx.test", "x y@d.test", "From: a@mx.test\n"},
		{"<@r,@s:\"q q\"@b.c> SIZE=5", "joe", "q q@b.c", "joe@mx.test", "From: \"q q\"@b.c\n"},
		{"<key@h>", "<j@d.test>", "new@d.test", "j@d.test", "From: \"Key N\" <new@d.test>\n"}, // the key is completed as senders are
		{"<raw@h>", "<j@d.test>", "raw2@d.test", "j@d.test", "From: \"Raw\" <raw2@d.test>\n"},
		{"<>", "<j@d.test>", "", "j@d.test", "From: joe@mx.test\n"},
	} {
		w := newWorld(t)
		table := filepath.Join(w.dir, "n.cdb")
		if code := w.run("key@h.mx.test:Key N:new@d.test:\nraw@h:Raw:raw2@d.test:\n", "ofmipname", table, table+".tmp"); code != 0 {
			t.Fatal(w.errs.String())
		}
		if code := w.run("MAIL FROM:"+tt.from+"\r\nRCPT TO:"+tt.to+"\r\nDATA\r\nTo: x@y.z\r\n\r\nb\r\n.\r\nQUIT\r\n", "ofmipd", table); code != 0 {
			t.Fatalf("%s: exit %d: %s %s", tt.from, code, w.out.String(), w.errs.String())
		}
		if l := w.one(); l.from != tt.wantFrom || strings.Join(l.to, " ") != tt.wantTo || !strings.Contains(l.content, "\n"+tt.wantField) {
			t.Errorf("%s: %+v", tt.from, l)
		}
	}
	w := newWorld(t)
	w.run("MAIL FROM:a\x01@b\r\nMAIL FROM:<a@b\r\nMAIL a@b\r\nMAIL FROM:<\"a@b>\r\nMAIL FROM:<"+strings.Repeat("a", 900)+"@b.c>\r\nQUIT\r\n", "ofmipd")
	if got := w.out.String(); got != "220 ofmipd.local ESMTP\r\n"+strings.Repeat("555 syntax error (#5.5.4)\r\n", 5)+"221 ofmipd.local\r\n" {
		t.Errorf("%q", got)
	}
}

func TestOfmipdServesItsDialogue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if code := w.run("joe@s:Joe Q:new@d.test:\n", "ofmipname", filepath.Join(w.dir, "names.cdb"), filepath.Join(w.dir, "names.tmp")); code != 0 {
		t.Fatal(w.errs.String())
	}
	w.env = append(w.env, "TCPREMOTEIP=10.1.1.1", "TCPREMOTEINFO=a b")
	in := "HELO x\r\nEHLO x\nRCPT TO:<a@b>\r\nDATA\r\nMAIL FROM:<joe@s>\r\nRCPT TO:bob\r\nRCPT TO:<eve@far>\nDATA\r\nFrom: old@x\r\nTo: bob\n\n..dot\r\nbody\n.\r\nDATA\r\nEXPN x\r\nNOOP\r\nVRFY q\r\nRSET\r\nQUIT\r\n"
	if code := w.run(in, "ofmipd", filepath.Join(w.dir, "names.cdb")); code != 0 {
		t.Fatal(code, w.errs.String())
	}
	want := "220 ofmipd.local ESMTP|250 ofmipd.local|250-ofmipd.local|250-PIPELINING|250 8BITMIME|503 MAIL first (#5.5.1)|503 MAIL first (#5.5.1)|250 ok|250 ok|250 ok|354 go ahead|250 ok|" +
		"503 MAIL first (#5.5.1)|502 unimplemented (#5.5.1)|250 ok|252 send some mail, i'll try my best|250 flushed|221 ofmipd.local|"
	if got := strings.ReplaceAll(w.out.String(), "\r\n", "|"); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	l := w.one()
	if l.from != "new@d.test" || strings.Join(l.to, " ") != "bob@mx.test eve@far.mx.test" {
		t.Errorf("%q %q", l.from, l.to)
	}
	wantContent := "Received: (ofmipd a?b@10.1.1.1); 21 Nov 2026 19:34:36 -0000\nDate: 21 Nov 2026 19:34:36 -0000\n" +
		fmt.Sprintf("Message-ID: <20261121193436.1.%d.qmail@mx.test>\n", pid) + "From: \"Joe Q\" <new@d.test>\nTo: bob@mx.test\n\n.dot\nbody\n"
	if d := cmp.Diff(wantContent, l.content); d != "" {
		t.Error(d)
	}
}

func TestOfmipdTakesNothingThatBreaksOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if code := w.run("MAIL FROM:<>\r\nRCPT TO:<a@b.c>\r\nDATA\r\nTo: x\r\n\r\nhalf a mess", "ofmipd"); code != 1 || len(w.server.letters) > 0 {
		t.Errorf("exit %d, %d letters", code, len(w.server.letters))
	}
}
