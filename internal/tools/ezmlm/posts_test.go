package ezmlm_test

import (
	"context"
	"fmt"
	"io"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/tools/ezmlm"
	"github.com/postilion/postilion/internal/tools/tool"
	"github.com/postilion/postilion/internal/tools/tooltest"
)

func TestPostsThatAreNoMessagesAreRefused(t *testing.T) {
	t.Parallel()
	for _, r := range []struct {
		name, head, body, files string
		switches                []string
		code                    int
		want                    string
	}{
		{name: "fine", head: "To: joe-lst@mx.test\nSubject: x\n"},
		{name: "in Cc, with a name and upper case", head: "To: eve@far.test\nCc: The <JOE-LST@MX.test>, x@y\nSubject: x\n"},
		{name: "not to the list", head: "To: eve@far.test\nSubject: x\n", code: 100, want: "List address must be in To: or Cc: (#5.7.0)"},
		{name: "not to the list, quietly", head: "Subject: x\n", switches: []string{"-q"}, code: 99},
		{name: "not to the list, allowed", head: "Subject: x\n", switches: []string{"-T"}},
		{name: "no subject", head: "To: joe-lst@mx.test\n", code: 100, want: "Sorry, I don't accept message with empty Subject (#5.7.0)"},
		{name: "no subject in words", head: "To: joe-lst@mx.test\nSubject: (No Subject)\n", code: 100, want: "empty Subject"},
		{name: "no subject, allowed", head: "To: joe-lst@mx.test\n", switches: []string{"-S"}},
		{name: "a command", head: "To: joe-lst@mx.test\nSubject: Unsubscribe\n", code: 100, want: "Sorry, I don't accept commands in the subject line."},
		{name: "a command, allowed", head: "To: joe-lst@mx.test\nSubject: Unsubscribe\n", switches: []string{"-C"}},
		{name: "a command in the text", head: "To: joe-lst@mx.test\nSubject: x\n", body: "subscribe me\n", switches: []string{"-b"}, code: 100, want: "it looks like an administrative request"},
		{name: "bulk", head: "To: joe-lst@mx.test\nSubject: x\nPrecedence: bulk\n", code: 99},
		{name: "too long", head: "To: joe-lst@mx.test\nSubject: x\n", body: "12345\n12345\n", files: "msgsize=10:2", code: 100, want: "Sorry, I don't accept messages larger than 10 bytes (#5.2.3)"},
		{name: "too short", head: "To: joe-lst@mx.test\nSubject: x\n", files: "msgsize=10:2", code: 100, want: "Sorry, I don't accept messages shorter than 2 bytes (#5.2.3)"},
		{name: "a type", head: "To: joe-lst@mx.test\nSubject: x\nContent-Type: TEXT/html; x=y\n", files: "mimereject=text/html", code: 100, want: "Sorry, I don't accept messages of MIME Content-Type 'text/html' (#5.2.3)"},
		{name: "a part", head: "To: joe-lst@mx.test\nSubject: x\nContent-Type: multipart/mixed; boundary=b\n", body: "--b\nContent-Type: application/x-sh\n\nx\n--b--\n", files: "mimereject=application/x-sh", code: 100,
			want: "Sorry, a message part has an unacceptable MIME Content-Type: 'application/x-sh' (#5.2.3)"},
		{name: "a field", head: "To: joe-lst@mx.test\nSubject: x\nX-Spam-Flag: YES\n", files: "headerreject=x-spam-flag", code: 100, want: "message already has a Mailing-List header"},
		{name: "a broken setting", head: "To: joe-lst@mx.test\nSubject: x\n", files: "msgsize=ten", code: 111, want: `/msgsize: "ten" is not the most bytes of a message, and behind a colon the least`},
		{name: "a command, forwarded", head: "To: joe-lst@mx.test\nSubject: help\n", switches: []string{"-f"}, code: 99, want: "forward qp 300"},
	} {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			l := newListTest(t)
			if name, text, ok := strings.Cut(r.files, "="); ok {
				l.write(name, text+"\n")
			}
			l.want(l.run("ezmlm-reject", r.head+"\n"+r.body, []string{"SENDER=joe@mx.test"}, append(r.switches, l.dir)...), r.code, r.want)
		})
	}
}

func TestPostsAreChangedAsTheListWants(t *testing.T) {
	t.Parallel()
	const multipart = "Content-Type: multipart/mixed; boundary=\"b b\"\n"
	for _, r := range []struct {
		name, head, body string
		files            map[string]string
		has, hasNot      []string
		code             int
		want             string
	}{
		{name: "fields go", head: "Return-Receipt-To: x\nPRECEDENCE: junk\nX-Kept: 1\n continued\n", hasNot: []string{"Return-Receipt", "junk"}, has: []string{"\nX-Kept: 1\n continued\n"}},
		{name: "fields stay", files: map[string]string{"headerkeep": "from\nsubject\nto\n"}, head: "X-Gone: 1\n", hasNot: []string{"X-Gone", "Date:"}, has: []string{"\nFrom: joe@mx.test\n"}},
		{name: "numbered prefix", files: map[string]string{"prefix": "[<#l#> #]"}, has: []string{"\nSubject: [joe-lst 1] x\n"}},
		{name: "number", files: map[string]string{"sequence": "X-Number:"}, has: []string{"\nX-Number: 1\n"}},
		{name: "listid", files: map[string]string{"listid": "<lst.mx.test>"}, head: "List-ID: <other>\n", has: []string{"\nList-ID: <lst.mx.test>\n"}, hasNot: []string{"<other>"}},
		{name: "own contact", files: map[string]string{"mailinglist": "contact me"}, has: []string{"Mailing-List: contact me\n"}},
		{name: "replies to the list", files: map[string]string{"replytolist": ""}, head: "Reply-To: me@far.test\n", has: []string{"\nReply-To: <joe-lst@mx.test>\n"}, hasNot: []string{"me@far"}},
		{name: "From rewritten", files: map[string]string{"rewritefrom": ""}, has: []string{"\nFrom: \"joe.mx.test via joe-lst\" <joe-lst@mx.test>\nReply-To: joe@mx.test\n"}, hasNot: []string{"\nFrom: joe@mx.test"}},
		{name: "trailer", files: map[string]string{"addtrailer": "", "text/trailer": "-- <#n#> <#L#>"}, has: []string{"\n\nHello.\n\n-- 1 joe-lst\n"}},
		{name: "trailer of a multipart", files: map[string]string{"addtrailer": "", "text/trailer": "the end"}, head: multipart, body: "--b b\n\nfirst\n--b b--\n",
			has: []string{"first\n\n--b b\nContent-Type: text/plain; charset=us-ascii\n\nthe end\n--b b--\n"}},
		{name: "no trailer where none fits", files: map[string]string{"addtrailer": ""}, head: "Content-Type: multipart/signed; boundary=b\n", body: "--b\n\nx\n--b--\n", hasNot: []string{"To leave"}},
		{name: "parts go", files: map[string]string{"mimeremove": "text/html\n"}, head: multipart, body: "pre\n--b b\nContent-Type: text/plain\n\nfirst\n--b b\nX: y\nContent-Type:\n TEXT/HTML; a=b\n\n<secret>\n--b b\n\nlast\n--b b--\nepilogue\n",
			has: []string{"pre\n--b b\nContent-Type: text/plain\n\nfirst\n--b b\n\nlast\n--b b--\nepilogue\n"}, hasNot: []string{"secret"}},
		{name: "parts stay", files: map[string]string{"mimekeep": "text/plain\n"}, head: multipart, body: "--b b\nContent-Type: text/plain\n\nfirst\n--b b\nContent-Type: image/png\n\nsecret\n--b b--\n", has: []string{"first"}, hasNot: []string{"secret"}},
		{name: "nothing left", files: map[string]string{"mimeremove": "text/html\n"}, head: multipart, body: "--b b\nContent-Type: text/html\n\nx\n--b b--\n", code: 100,
			want: "Sorry, after removing unacceptable MIME parts from your message I was left with nothing (#5.7.0)"},
		{name: "no end", files: map[string]string{"mimeremove": "text/html\n"}, head: multipart, body: "--b b\n\nx", has: []string{"--b b\n\nx"}},
		{name: "a long line", files: map[string]string{"mimeremove": "text/html\n"}, head: multipart, body: "--b b\n\n" + strings.Repeat("x", 100_000) + "\n--b b--\n", has: []string{strings.Repeat("x", 100_000) + "\n--b b--\n"}},
		{name: "from another list", head: "Mailing-List: x\n", code: 100, want: "message already has a Mailing-List header (maybe I should be a sublist) (#5.7.2)"},
		{name: "a broken field", files: map[string]string{"headeradd": "no field"}, code: 111, want: `/headeradd: "no field" is no header field`},
		{name: "an unsafe field", files: map[string]string{"headeradd": "X: <#A#>"}, code: 111, want: "/headeradd: the address of a request may not be put into header fields"},
		{name: "a broken number", files: map[string]string{"num": "many\n"}, code: 111, want: `/num: "many" is not the number of messages, and behind a colon their size`},
		{name: "a broken index", files: map[string]string{"archive/0/index": "nonsense\n"}, code: 111, want: "/archive/0/index: line 1: want the message's number, a colon, 20 letters and the subject; ezmlm-idx -f makes the index anew"},
		{name: "a database", files: map[string]string{"subdb": "mysql:host:1:u:p:d:t"}, code: 111, want: "/subdb names a database: lists whose subscribers are in one are not served"},
	} {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			l := newListTest(t)
			if err := os.MkdirAll(l.dir+"/archive/0", 0o755); err != nil {
				t.Fatal(err)
			}
			for name, text := range r.files {
				l.write(name, text)
			}
			body := r.body
			if body == "" {
				body = "Hello.\n"
			}
			message := "Received: a; 21 Nov 2026 19:55:00 -0000\nDate: d\nFrom: joe@mx.test\nTo: joe-lst@mx.test\nSubject: x\n" + r.head + "\n" + body
			l.want(l.run("ezmlm-send", message, []string{"SENDER=joe@mx.test"}, l.dir), r.code, r.want)
			if r.code != 0 {
				l.sentNothing()
				return
			}
			got := l.sent().Content
			for _, text := range r.has {
				if !strings.Contains(got, text) {
					t.Errorf("%q is missing in\n%s", text, got)
				}
			}
			for _, text := range r.hasNot {
				if strings.Contains(got, text) {
					t.Errorf("%q is in\n%s", text, got)
				}
			}
		})
	}
}

func TestASublistSendsItsParentsPostsAlone(t *testing.T) {
	t.Parallel()
	l := newListTest(t, "-A", "-0", "main@far.test")
	l.sub("bob@far.test")
	message := "Mailing-List: contact main-help@far.test; run by ezmlm\n" + post("joe@mx.test", "x")
	l.want(l.run("ezmlm-send", message, []string{"SENDER=joe@mx.test"}, l.dir), 100, "this message is not from my parent list (#5.7.2)")
	l.want(l.run("ezmlm-send", post("joe@mx.test", "x"), []string{"SENDER=main-return-17-@far.test"}, l.dir), 100, "sublist messages must have a Mailing-List header (#5.7.2)")
	l.want(l.run("ezmlm-send", message, []string{"SENDER=main-return-17-joe-lst=mx.test@far.test"}, l.dir), 0, "")
	if got := l.sent(); got.From != "joe-lst-return-17-@mx.test-@[]" || strings.Count(got.Content, "Mailing-List:") != 1 {
		t.Errorf("%+v", got)
	}
}

func TestWhatIsNoBounceAndNoPersonsMailIsDropped(t *testing.T) {
	t.Parallel()
	report := func(action string) string {
		return "Auto-Submitted: auto-replied\nContent-Type: multipart/report; report-type=delivery-status;\n\tboundary=\"b\"\n\n--b\n\nHi.\n\n--b\n" +
			"Content-Type: message/delivery-status\n\nReporting-MTA: dns; x\n\nAction: " + action + "\n\n--b--\n"
	}
	l := newListTest(t)
	for message, want := range map[string]int{
		request: 0, "": 0, "no header\n": 0,
		"Subject: failure notice\n\nHi. This is the\n":      0,
		"Precedence: BULK\n\n":                              99,
		"Auto-Submitted: auto-replied (vacation)\n\n":       99,
		"Subject: success notice\n\n":                       99,
		"subject: Out of Office AutoReply: hello\n\n":       99,
		"List-Id: <x>\n\n":                                  99,
		"Mailing-List: x\n\n":                               99,
		report("failed"):                                    0,
		report("delayed"):                                   99,
		report("delivered"):                                 99,
		strings.Replace(report("failed"), "Action", "X", 1): 99,
		strings.Repeat("X: y\n", 1<<18):                     99,
		"From: Mail Delivery Subsystem <MAILER-DAEMON@x>\nSubject: Warning: could not send message for past 4 hours\n\n    **********\n    **      THIS IS A WARNING MESSAGE ONLY      **\n": 99,
	} {
		if r := l.run("ezmlm-weed", message, nil); r.Code != want || r.Err != "" {
			t.Errorf("%.60q: %+v, want %d", message, r, want)
		}
	}
}

// By hand, the message may come through a pipe.
func TestAMessageOutOfAPipeIsReadTwice(t *testing.T) {
	t.Parallel()
	l := newListTest(t)
	l.sub("bob@far.test")
	r := tooltest.Run(t, ezmlm.Programs(l.out.Queue), "ezmlm-send", tooltest.Call{Args: []string{l.dir}, From: io.MultiReader(strings.NewReader(post("joe@mx.test", "x"))), Now: start})
	l.want(r, 0, "qp 300")
	if got := l.sent(); !strings.HasSuffix(got.Content, "\nSubject: x\n\nHello.\n") || !strings.HasSuffix(l.file("archive/0/01"), "\n\nHello.\n") {
		t.Errorf("%+v", got)
	}
}

func TestABounceWithoutVERPIsReadForItsRecipients(t *testing.T) {
	t.Parallel()
	l := newListTest(t)
	l.sub("bad@far.test", "worse@far.test", "good@far.test")
	bounce := "From: MAILER-DAEMON@far.test\n\nHi. This is the qmail-send program at far.test.\nSorry.\n\n<bad@far.test>:\nno such user\n\n<stranger@far.test>:\nno\n\n<worse@far.test>:\nno\n\n--- Below this line\n\n<good@far.test>:\nx\n\n"
	l.want(l.run("ezmlm-return", bounce, []string{"SENDER=", "DEFAULT=5-"}, l.dir), 99, "")
	files, err := filepath.Glob(l.dir + "/bounce/d/*/d*")
	if err != nil || len(files) != 2 {
		t.Errorf("%q, %v", files, err)
	}
	for def, want := range map[string]struct {
		code int
		text string
	}{
		"": {99, "trash address"}, "x": {100, "Invalid bounce or receipt address format (#5.1.1)"}, "5": {100, "Invalid bounce"},
		"probe-": {99, "trash"}, "warn-1.aaaaaaaaaaaaaaaaaaaa-x=y": {99, "trash"}, "probe-99999999999999999999.x-": {99, "trash"},
		"5-../../x=y": {99, ""}, "5-a\nb=far.test": {99, ""}, "5-": {99, "trash"},
	} {
		l.want(l.run("ezmlm-return", "x\n", []string{"SENDER=", "DEFAULT=" + def}, l.dir), want.code, want.text)
	}
}

func TestModeratedPostsWaitForAModerator(t *testing.T) {
	t.Parallel()
	l := newListTest(t, "-m")
	l.sub("mod", "mod@mx.test", "mod2@mx.test")
	l.sub("bob@far.test")
	decide := func(what, address string, message string) (int, string) {
		t.Helper()
		def := strings.TrimPrefix(action(address), what+"-")
		r := l.run("ezmlm-moderate", message, []string{"SENDER=mod@mx.test", "LOCAL=joe-lst-" + what + "-" + def, "DEFAULT=" + def}, l.dir)
		return r.Code, r.Err
	}
	l.want(l.post("eve@far.test", "May I?"), 0, "ezmlm-store: info: qp 300")
	ask := l.sent()
	yes, no := field(ask.Content, "Reply-To"), field(ask.Content, "From")
	if len(ask.To) != 2 || field(ask.Content, "Subject") != "MODERATE for joe-lst@mx.test" || !strings.Contains(ask.Content, "Content-Type: message/rfc822\n") ||
		!strings.HasPrefix(yes, "joe-lst-accept-1795290850.") || !strings.HasPrefix(no, "joe-lst-reject-1795290850.") || !strings.Contains(ask.Content, "\nSubject: May I?\n") {
		t.Errorf("%+v", ask)
	}
	if _, err := mail.ReadMessage(strings.NewReader(ask.Content)); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"joe-lst-accept-../../key.1." + strings.Repeat("a", 20) + "@mx.test", strings.Replace(yes, "1795290850", "1795290851", 1), "joe-lst-accept-1@mx.test"} {
		if code, text := decide("accept", bad, request); code != 100 || !strings.Contains(text, "Illegal or outdated moderator request (#5.7.1)") {
			t.Errorf("%s: %d, %s", bad, code, text)
		}
	}
	if code, text := decide("accept", yes, request); code != 0 {
		t.Errorf("%d, %s", code, text)
	}
	if got := l.sent(); got.From != "joe-lst-return-1-@mx.test-@[]" || !strings.Contains(got.Content, "\nSubject: May I?\n") || strings.Contains(got.Content, "Return-Path") {
		t.Errorf("%+v", got)
	}
	if code, text := decide("accept", yes, request); code != 0 || !strings.Contains(text, "I've already accepted this message") {
		t.Errorf("%d, %s", code, text)
	}
	if code, text := decide("reject", no, request); code != 100 || !strings.Contains(text, "I've already accepted this message") {
		t.Errorf("%d, %s", code, text)
	}
	l.want(l.post("eve@far.test", "And now?"), 0, "")
	no = field(l.sent().Content, "From")
	if code, text := decide("reject", no, "Subject: Re\n\n> %%%\n> no ads here\n> %%%\nbye\n"); code != 0 {
		t.Errorf("%d, %s", code, text)
	}
	back := l.sent()
	if back.To[0] != "eve@far.test" || field(back.Content, "Subject") != "Returned post for joe-lst@mx.test" || !strings.Contains(back.Content, ">>>>> -------------------- >>>>>\nno ads here\n<<<<<") || !strings.Contains(back.Content, "And now?") {
		t.Errorf("%+v", back)
	}
	// A moderator's own post is shown to that moderator alone; a post that nobody decides about goes back.
	l.want(l.post("mod2@mx.test", "Mine"), 0, "")
	if ask := l.sent(); len(ask.To) != 1 || ask.To[0] != "mod2@mx.test" {
		t.Errorf("%+v", ask)
	}
	l.now = l.now.Add(119 * time.Hour)
	l.want(l.run("ezmlm-clean", "", nil, l.dir), 0, "")
	l.sentNothing()
	l.now = l.now.Add(2 * time.Hour)
	l.want(l.run("ezmlm-clean", "", nil, l.dir), 0, "qp 300")
	if got := l.sent(); got.To[0] != "mod2@mx.test" || !strings.Contains(got.Content, "Nobody decided in time") || !strings.Contains(got.Content, "Subject: Mine") {
		t.Errorf("%+v", got)
	}
	if files, err := filepath.Glob(l.dir + "/mod/*/[0-9.]*"); err != nil || len(files) != 0 {
		t.Errorf("%q, %v", files, err)
	}
	l.write("modpostonly", "")
	l.want(l.post("eve@far.test", "x"), 100, "I'm sorry, you are not allowed to post messages to this list (#5.7.2)")
}

func TestPostsOfKnownSendersPassTheGate(t *testing.T) {
	t.Parallel()
	l := newListTest(t, "-mu")
	l.sub("mod", "mod@mx.test")
	l.sub("bob@far.test")
	l.sub("allow", "@friends.test")
	gate := func(sender string) string {
		t.Helper()
		l.want(l.run("ezmlm-gate", post(sender, "x"), []string{"SENDER=" + sender}, l.dir, ".", "digest", "allow", "mod"), 0, "qp 300")
		return l.sent().From
	}
	for sender, want := range map[string]bool{"bob@far.test": true, "any@Friends.test": true, "SRS0=HH=TT=far.test=bob@relay.test": true, "prvs=123456789a=bob@far.test": true, "eve@far.test": false} {
		if from := gate(sender); strings.HasSuffix(from, "-@[]") != want {
			t.Errorf("%s: queued from %s", sender, from)
		}
	}
	l.want(l.run("ezmlm-checksub", "", []string{"SENDER=eve@far.test"}, l.dir, ".", "digest", "allow", "mod"), 100,
		"Sorry, only subscribers may post. If you are a subscriber, please forward this message to joe-lst-owner@mx.test to get your new address included.")
	for sender, want := range map[string]int{"bob@far.test": 0, "eve@far.test": 99} {
		l.want(l.run("ezmlm-issubn", "", []string{"SENDER=" + sender}, l.dir), want, "")
		l.want(l.run("ezmlm-issubn", "", []string{"SENDER=" + sender}, "-n", l.dir, l.dir), 99-want, "")
	}
}

func TestAuthorsConfirmTheirPosts(t *testing.T) {
	t.Parallel()
	l := newListTest(t, "-y")
	l.want(l.post("joe@mx.test", "mine"), 0, "")
	ask := l.sent()
	yes := field(ask.Content, "Reply-To")
	if ask.To[0] != "joe@mx.test" || field(ask.Content, "Subject") != "Confirm post to joe-lst@mx.test" || !strings.HasPrefix(ask.From, "joe-lst-discard-") {
		t.Errorf("%+v", ask)
	}
	def := strings.TrimPrefix(action(yes), "confirm-")
	env := []string{"SENDER=joe@mx.test", "LOCAL=joe-lst-confirm-" + def, "DEFAULT=" + def}
	l.want(l.run("ezmlm-confirm", request, env, l.dir, "/anywhere/ezmlm-store", "-Y", l.dir), 0, "post confirmed")
	if got := l.sent(); got.From != "joe-lst-return-1-@mx.test-@[]" {
		t.Errorf("%+v", got)
	}
	l.want(l.run("ezmlm-confirm", request, env, l.dir), 100, "I no longer have this message")
}

func TestTheArchiveAnswers(t *testing.T) {
	t.Parallel()
	l := newListTest(t)
	for _, subject := range []string{"one", "two", "Re: one", "three"} {
		l.want(l.post("joe@mx.test", subject), 0, "")
		l.sent()
	}
	for _, r := range []struct {
		action      string
		has, hasNot []string
	}{
		{"get.2", []string{"Result of: get.2", "\nSubject: two\n"}, []string{"\nSubject: one\n", "Return-Path: <joe"}},
		{"get.2_3", []string{"\nSubject: two\n", "\nSubject: Re: one\n", "Topics (messages 2 through 3)"}, []string{"\nSubject: three\n"}},
		{"get", []string{"\nSubject: one\n", "\nSubject: three\n"}, nil},
		{"getv.2", []string{"Return-Path: <joe@mx.test>"}, nil},
		{"getr-2", []string{"\nSubject: two\n"}, []string{"\nSubject: three\n"}},
		{"GET2-eve=far.test", []string{"\nSubject: two\n"}, []string{"\nSubject: three\n"}},
		{"get.99", []string{"\nSubject: one\n", "\nSubject: three\n"}, nil},
		{"index", []string{"1: one\n\t21 Nov 2026 19:55:00 -0000 joe.mx.test\n2: two\n", "3: Re: one\n"}, nil},
		{"thread.3", []string{"\nSubject: one\n", "\nSubject: Re: one\n"}, []string{"\nSubject: two\n", "\nSubject: three\n"}},
	} {
		l.want(l.mail("ezmlm-get", "bob@far.test", r.action, request), 99, "qp 300")
		got := l.sent()
		for _, text := range r.has {
			if !strings.Contains(got.Content, text) {
				t.Errorf("%s: %q is missing in\n%s", r.action, text, got.Content)
			}
		}
		for _, text := range r.hasNot {
			if strings.Contains(got.Content, text) {
				t.Errorf("%s: %q is in\n%s", r.action, text, got.Content)
			}
		}
		if m, err := mail.ReadMessage(strings.NewReader(got.Content)); err != nil {
			t.Error(err)
		} else if _, err := io.ReadAll(m.Body); err != nil {
			t.Error(err)
		}
	}
	for _, other := range []string{"subscribe", "gettysburg", "get.x", "getaway.1", ""} {
		l.want(l.mail("ezmlm-get", "bob@far.test", other, request), 0, "")
		l.sentNothing()
	}
	l.write("subgetonly", "")
	l.want(l.mail("ezmlm-get", "bob@far.test", "get.1", request), 100, "Sorry, only subscribers may read this archive (#5.7.1)")
	for _, other := range []string{"digest-get.1", "allow-get.1", "get.1"} { // ezmlm-get leaves these to the next program
		l.want(l.mail("ezmlm-manage", "bob@far.test", other, request), 100, "Sorry, only subscribers may read this archive (#5.7.1)")
	}
	l.sub("bob@far.test")
	l.want(l.mail("ezmlm-get", "bob@far.test", "get.1", request), 99, "")
	l.sent()
	l.want(l.mail("ezmlm-manage", "bob@far.test", "digest-get.1", request), 0, "")
	l.sent()
	for _, name := range []string{"indexed", "archived"} {
		if err := os.Remove(l.dir + "/" + name); err != nil {
			t.Fatal(err)
		}
		verb := map[string]string{"indexed": "index", "archived": "get"}[name]
		l.want(l.mail("ezmlm-get", "bob@far.test", verb, request), 100, "Sorry, this list is not "+name+" (#5.1.1)")
	}
}

func TestListsAreMadeAndChanged(t *testing.T) {
	t.Parallel()
	l := newListTest(t, "-u")
	home := filepath.Dir(l.dir)
	for link, target := range map[string]string{"": "editor", "-default": "manager", "-owner": "owner", "-return-default": "bouncer", "-accept-default": "moderator",
		"-reject-default": "moderator", "-confirm-default": "confirmer", "-discard-default": "confirmer", "-digest-owner": "owner", "-digest-return-default": "digest/bouncer"} {
		if to, err := os.Readlink(home + "/.qmail-lst" + link); err != nil || to != l.dir+"/"+target {
			t.Errorf("%s leads to %s: %v", link, to, err)
		}
		if text := l.file(target); text == "" {
			t.Errorf("%s is empty", target)
		}
	}
	for _, secret := range []string{"key", "digestcode"} {
		if info, err := os.Stat(l.dir + "/" + secret); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v: others of this host can forge what moderators decide", secret, info.Mode(), err)
		}
	}
	key := l.file("key")
	l.write("headeradd", "X-Mine: yes\n")
	l.want(l.run("ezmlm-make", "", nil, "-+", "-Ump", l.dir), 0, "")
	for name, want := range map[string]bool{"subpostonly": false, "modpost": true, "public": true, "archived": true} {
		if _, err := os.Stat(l.dir + "/" + name); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if l.file("key") != key || l.file("headeradd") != "X-Mine: yes\n" {
		t.Error("what was the owner's has changed")
	}
	for _, r := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"x"}, 100, "usage"},
		{[]string{"relative", "/dot", "l", "h"}, 100, "dir must start with a slash"},
		{[]string{"/it's", "/dot", "l", "h"}, 100, "quotes and newlines are not allowed in dir"},
		{[]string{home + "/new", "dot", "l", "h"}, 100, "dot must start with a slash"},
		{[]string{home + "/new", "/dot", "a b", "h"}, 100, "local is empty, or has blanks or control characters"},
		{[]string{"-c", home + "/new", "/dot", "l", "h"}, 100, "-c is not supported"},
		{[]string{"-6", "x", home + "/new", "/dot", "l", "h"}, 100, "-6 is not supported"},
		{[]string{l.dir, home + "/.qmail-lst", "l", "h"}, 111, "unable to create " + l.dir + ": file already exists"},
		{[]string{"-e", home}, 100, home + " is no list's folder"},
		{[]string{home + "/new", home + "/.qmail-lst", "l", "h"}, 111, "in the way, and left alone: " + home + "/.qmail-lst"},
	} {
		l.want(l.run("ezmlm-make", "", nil, r.args...), r.code, r.want)
	}
}

func TestBrokenFoldersAreToldAndMailWaits(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"key": "/key does not exist", "outlocal": "/outlocal does not exist, or is empty", "outhost": "/outhost does not exist, or is empty",
		"": "unable to change directory to ",
	} {
		l := newListTest(t)
		if err := os.RemoveAll(l.dir + "/" + name); err != nil {
			t.Fatal(err)
		}
		for _, program := range []string{"ezmlm-send", "ezmlm-manage", "ezmlm-return", "ezmlm-warn", "ezmlm-checksub", "ezmlm-reject", "ezmlm-store", "ezmlm-clean", "ezmlm-get"} {
			l.want(l.mail(program, "joe@mx.test", "help", request), 111, want)
		}
	}
	l := newListTest(t)
	l.write("outhost", "mx.test\x01\n")
	l.want(l.mail("ezmlm-manage", "joe@mx.test", "help", request), 111, `/outhost: a control character in "mx.test\x01"`)
}

// What a list says in its own words, with the tags of its texts, and what stands in the folder behind it.
func TestTextsOfTheListsOwn(t *testing.T) {
	t.Parallel()
	l := newListTest(t)
	behind := t.TempDir()
	if err := os.MkdirAll(behind+"/text", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(behind+"/text/top", []byte("From behind.\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	l.write("ezmlmrc", behind+"\n")
	l.write("charset", "utf-8:Q\n")
	l.write("text/info", "# a remark\n<#L#> <#l#> <#H#> <#A#> <#t#> <#n#> <#?#>|<# <#A# é\n<=a=>\narchived\n<=A=>\nnot archived\n<==>\nend")
	l.want(l.mail("ezmlm-manage", "bob@far.test", "info", request), 0, "")
	got := l.sent().Content
	for _, want := range []string{"Content-Type: multipart/mixed; boundary=", "Content-Transfer-Encoding: quoted-printable\n", "From behind.\n",
		"\njoe-lst joe-lst mx.test bob@far.test bob=3Dfar.test ????? |<# <#A# =C3=A9\narchived\nend\n", "\nContent-Type: message/rfc822\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
}

func TestDigestsAreSentWhenTheyAreDue(t *testing.T) {
	t.Parallel()
	l := newListTest(t, "-d")
	if text := l.file("editor"); !strings.Contains(text, "/digested' && ") || !strings.HasSuffix(text, "' || exit 0; fi\n") {
		t.Errorf("editor: %s", text)
	}
	l.sub("digest", "eve@far.test")
	l.write("digestcode", "secret\n")
	l.want(l.run("ezmlm-get", "", nil, l.dir), 0, "no new messages to digest")
	l.sentNothing()
	for _, subject := range []string{"one", "two"} {
		l.want(l.post("joe@mx.test", subject), 0, "")
		l.sent()
	}
	due := func(want int, args ...string) {
		t.Helper()
		l.want(l.run("ezmlm-tstdig", "", nil, append(args, l.dir)...), want, "")
	}
	due(0) // there has been none
	l.want(l.run("ezmlm-get", "", nil, l.dir), 0, "qp 300")
	got := l.sent()
	if got.From != "joe-lst-digest-return-1-@mx.test-@[]" || len(got.To) != 1 || got.To[0] != "eve@far.test" ||
		field(got.Content, "Subject") != "joe-lst Digest 21 Nov 2026 19:54:10 -0000 Issue 1" || field(got.Content, "Precedence") != "bulk" ||
		!strings.Contains(got.Content, "\nSubject: one\n") || !strings.Contains(got.Content, "\nSubject: two\n") || !strings.Contains(got.Content, "multipart/digest") {
		t.Errorf("%+v", got)
	}
	if got := l.file("dignum") + l.file("digissue"); got != "2:0:1795290850\n1\n" {
		t.Errorf("%q", got)
	}
	due(99)
	l.want(l.post("joe@mx.test", "three"), 0, "")
	l.sent()
	due(99)
	due(0, "-m", "1")
	l.now = l.now.Add(49 * time.Hour)
	due(0)
	l.want(l.mail("ezmlm-get", "cron@mx.test", "dig.wrong", request), 100, "incorrect digest code (#5.7.1)")
	l.out.Fail = "Zno room (#4.3.0)"
	l.want(l.mail("ezmlm-get", "cron@mx.test", "dig.secretr", request), 111, "no room")
	l.out.Fail = ""
	l.want(l.mail("ezmlm-get", "cron@mx.test", "dig.secretr", request), 99, "qp 300")
	if got := l.sent(); !strings.HasSuffix(field(got.Content, "Subject"), " Issue 2") || strings.Contains(got.Content, "Subject: two") || got.From != "joe-lst-digest-return-3-@mx.test-@[]" {
		t.Errorf("%+v", got)
	}
	l.want(l.run("ezmlm-return", "Subject: no\n\n", []string{"SENDER=", "DEFAULT=3-eve=far.test"}, "-d", l.dir), 99, "")
	l.now = l.now.Add(12 * 24 * time.Hour)
	l.want(l.run("ezmlm-warn", "", nil, l.dir), 0, "")
	if got := l.sent(); field(got.Content, "Subject") != "Warning from joe-lst-digest@mx.test" || !strings.HasPrefix(got.From, "joe-lst-digest-return-warn-") || !strings.Contains(got.Content, "\n   3\n") {
		t.Errorf("%+v", got)
	}
	l.write("dignum", "x\n")
	l.want(l.run("ezmlm-tstdig", "", nil, l.dir), 111, `/dignum: "x" is not the last message digested, the size of all and the time, with colons between`)
}

func TestAnIndexIsMadeAnew(t *testing.T) {
	t.Parallel()
	l := newListTest(t, "-f")
	for _, subject := range []string{"one", "=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Re: [joe-lst] one"} {
		l.want(l.post("Joe <joe@mx.test>", subject), 0, "")
		l.sent()
	}
	want := l.file("archive/0/index")
	for _, damage := range []string{"nonsense\n", ""} {
		l.write("archive/0/index", damage)
		for _, name := range []string{"indexed", "archived"} {
			if err := os.Remove(l.dir + "/" + name); err != nil {
				t.Fatal(err)
			}
		}
		if damage != "" {
			l.want(l.run("ezmlm-idx", "", nil, l.dir), 111, "/archive/0/index: line 1: want")
		}
		l.want(l.run("ezmlm-idx", "", nil, "-f", l.dir), 0, "")
		if got := l.file("archive/0/index"); got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
		l.file("indexed")
		l.file("archived")
	}
	first, _, _ := strings.Cut(want, "\n2: ")
	l.write("archive/0/index", first+"\n")
	l.want(l.run("ezmlm-idx", "", nil, l.dir), 0, "")
	if got := l.file("archive/0/index"); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

// Programs run beside each other: nobody's change is lost, and no two posts share a number.
func TestProgramsBesideEachOtherLoseNothing(t *testing.T) {
	t.Parallel()
	l := newListTest(t)
	var group sync.WaitGroup
	var mu sync.Mutex
	senders := map[string]bool{}
	queue := func(_ context.Context, _ *tool.Env, from string, _ []string, content io.Reader) (string, string) {
		if _, err := io.Copy(io.Discard, content); err != nil {
			return "", "Z" + err.Error()
		}
		mu.Lock()
		defer mu.Unlock()
		senders[from] = true
		return "1", ""
	}
	for i := range 8 {
		group.Go(func() {
			for j := range 4 {
				run := func(name, in string, env []string, args ...string) {
					if r := tooltest.Run(t, ezmlm.Programs(queue), name, tooltest.Call{Args: args, In: in, Env: env, Now: start}); r.Code != 0 {
						t.Errorf("%s: %+v", name, r)
					}
				}
				run("ezmlm-sub", "", nil, l.dir, fmt.Sprintf("sub%d-%d@far.test", i, j))
				run("ezmlm-send", post("joe@mx.test", "x"), []string{"SENDER=joe@mx.test"}, l.dir)
			}
		})
	}
	group.Wait()
	if n := len(strings.Fields(l.members())); n != 32 || len(senders) != 32 || l.file("num") != "32:0\n" {
		t.Errorf("%d subscribers, %d senders, num %q, want 32 of each", n, len(senders), l.file("num"))
	}
}
