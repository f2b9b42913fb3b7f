package ezmlm_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/tools/ezmlm"
	"github.com/postilion/postilion/internal/tools/tooltest"
)

// start is when the tests begin.
var start = time.Date(2026, 11, 21, 19, 54, 10, 0, time.UTC)

// listTest is a list joe-lst@mx.test in a home, and the queue behind its programs.
type listTest struct {
	t      *testing.T
	dir    string
	out    tooltest.Outbox
	now    time.Time
	checks int
}

// newListTest makes a list by ezmlm-make.
func newListTest(t *testing.T, switches ...string) *listTest {
	t.Helper()
	home := t.TempDir()
	l := &listTest{t: t, dir: home + "/lst", now: start}
	args := append(switches, l.dir, home+"/.qmail-lst", "joe-lst", "mx.test")
	if r := l.run("ezmlm-make", "", nil, args...); r.Code != 0 {
		t.Fatalf("ezmlm-make: %+v", r)
	}
	return l
}

// run runs a program of the family.
func (l *listTest) run(name, in string, env []string, args ...string) tooltest.Result {
	l.t.Helper()
	return tooltest.Run(l.t, ezmlm.Programs(l.out.Queue), name, tooltest.Call{Args: args, In: in, Env: env, Now: l.now})
}

// mail delivers a message to joe-lst-ACTION@mx.test, the way the links of DOT-default do.
func (l *listTest) mail(program, sender, action, message string, switches ...string) tooltest.Result {
	l.t.Helper()
	local := "joe-lst-" + action
	env := []string{"SENDER=" + sender, "LOCAL=" + local, "HOST=mx.test", "DEFAULT=" + action, "DTLINE=Delivered-To: " + local + "@mx.test\n"}
	return l.run(program, message, env, append(switches, l.dir)...)
}

// want fails unless the program ended so.
func (l *listTest) want(r tooltest.Result, code int, text string) {
	l.t.Helper()
	if r.Code != code || !strings.Contains(r.Err+r.Out, text) {
		l.t.Errorf("exit %d, %q, want %d and %q", r.Code, r.Err+r.Out, code, text)
	}
}

// sent returns the one message that was queued since it was last asked.
func (l *listTest) sent() tooltest.Sent {
	l.t.Helper()
	if n := len(l.out.Sent); n != l.checks+1 {
		l.t.Fatalf("%d messages were queued, want one", n-l.checks)
	}
	l.checks++
	return l.out.Sent[l.checks-1]
}

func (l *listTest) sentNothing() {
	l.t.Helper()
	if n := len(l.out.Sent); n != l.checks {
		l.t.Fatalf("%d messages were queued, want none: %q", n-l.checks, l.out.Sent[l.checks:])
	}
}

// members returns who is on the list, or in a table of it.
func (l *listTest) members(table ...string) string {
	l.t.Helper()
	r := l.run("ezmlm-list", "", nil, append([]string{l.dir}, table...)...)
	if r.Code != 0 {
		l.t.Fatalf("ezmlm-list: %+v", r)
	}
	return strings.Join(strings.Fields(r.Out), " ")
}

func (l *listTest) sub(args ...string) {
	l.t.Helper()
	if r := l.run("ezmlm-sub", "", nil, append([]string{l.dir}, args...)...); r.Code != 0 {
		l.t.Fatalf("ezmlm-sub: %+v", r)
	}
}

func (l *listTest) file(name string) string {
	l.t.Helper()
	b, err := os.ReadFile(filepath.Join(l.dir, name))
	if err != nil {
		l.t.Fatal(err)
	}
	return string(b)
}

func (l *listTest) write(name, text string) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, name), []byte(text), 0o644); err != nil {
		l.t.Fatal(err)
	}
}

// field returns a header field of a message.
func field(message, name string) string {
	head, _, _ := strings.Cut(message, "\n\n")
	for line := range strings.Lines(head) {
		if value, ok := strings.CutPrefix(line, name+": "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// action returns what follows joe-lst- in an address of the list.
func action(address string) string {
	address = strings.ReplaceAll(strings.TrimSuffix(address, "@mx.test"), `"`, "")
	return strings.TrimPrefix(address, "joe-lst-")
}

const request = "Received: (qmail 1 invoked by uid 0); 21 Nov 2026 19:54:09 -0000\nFrom: Bob <bob@far.test>\nSubject: whatever\n\nplease\n"

// post is a message for the list.
func post(from, subject string) string {
	return "Received: (qmail 4054 invoked by uid 0); 21 Nov 2026 19:55:00 -0000\nReceived: from elsewhere; 21 Nov 2026 19:54:00 -0000\n" +
		"Date: 21 Nov 2026 19:54:00 -0000\nFrom: " + from + "\nTo: joe-lst@mx.test\nSubject: " + subject + "\n\nHello.\n"
}

func (l *listTest) post(from, subject string) tooltest.Result {
	l.t.Helper()
	return l.run("ezmlm-store", post(from, subject), []string{"SENDER=" + from}, l.dir)
}

// Vector 46 of the qmail reference: an address leaves after a message, the warning about it and the
// probe have come back, and not before; the bounce of the probe takes it off at once.
func TestVector46AnAddressLeavesAfterWarningAndProbeBounced(t *testing.T) {
	t.Parallel()
	l := newListTest(t)
	l.sub("bad@far.test", "good@far.test")
	bounce := "From: MAILER-DAEMON@far.test\nSubject: failure notice\n\nHi. This is the program.\n"
	for n := 1; n <= 3; n++ {
		l.want(l.post("good@far.test", "post"), 0, "qp 300")
		verp := strings.TrimSuffix(l.sent().From, "-@[]") // as the server sends it to each
		ret := strings.Replace(verp, "-@", "-bad=far.test@", 1)
		l.want(l.bounced(ret, bounce), 99, "")
	}
	l.want(l.bounced("joe-lst-return-3-stranger=far.test@mx.test", bounce), 99, "")
	warn := func() { l.t.Helper(); l.want(l.run("ezmlm-warn", "", nil, l.dir), 0, "") }

	l.now = l.now.Add(9 * 24 * time.Hour)
	warn()
	l.sentNothing()
	l.now = l.now.Add(30 * time.Hour)
	warn()
	letter := l.sent()
	if letter.To[0] != "bad@far.test" || field(letter.Content, "Subject") != "Warning from joe-lst@mx.test" ||
		!strings.Contains(letter.Content, "\n   1\n   2\n   3\n") || !strings.Contains(letter.Content, "Subject: failure notice") {
		t.Errorf("the warning: %+v", letter)
	}
	if !regexp.MustCompile(`^joe-lst-return-warn-[0-9]+\.[a-p]{20}-bad=far\.test@mx\.test$`).MatchString(letter.From) {
		t.Errorf("the warning is from %s", letter.From)
	}
	if got := l.members(); got != "bad@far.test good@far.test" && got != "good@far.test bad@far.test" {
		t.Errorf("after the warning: %s", got)
	}
	l.want(l.bounced(letter.From, bounce), 99, "")
	l.now = l.now.Add(11 * 24 * time.Hour)
	warn()
	probe := l.sent()
	if field(probe.Content, "Subject") != "Probe from joe-lst@mx.test" || strings.Contains(probe.Content, "   1\n") {
		t.Errorf("the probe: %+v", probe)
	}
	l.want(l.bounced(strings.Replace(probe.From, "bad=", "good=", 1), bounce), 99, "trash address")
	if got := l.members(); !strings.Contains(got, "bad@far.test") || !strings.Contains(got, "good@far.test") {
		t.Errorf("after the probe: %s", got)
	}
	l.want(l.bounced(probe.From, bounce), 99, "")
	if got := l.members(); got != "good@far.test" {
		t.Errorf("after the probe's bounce: %s", got)
	}
	if log := l.file("Log"); !strings.HasSuffix(log, " -probe bad@far.test\n") {
		t.Errorf("%q", log)
	}
	l.now = l.now.Add(40 * 24 * time.Hour)
	warn()
	l.sentNothing()
}

// bounced delivers a bounce to an address of the list, through the lines of DIR/bouncer.
func (l *listTest) bounced(to, bounce string) tooltest.Result {
	l.t.Helper()
	if r := l.run("ezmlm-weed", bounce, nil); r.Code != 0 {
		return r
	}
	def, ok := strings.CutPrefix(action(to), "return-")
	if !ok {
		l.t.Fatalf("%s is no address of bounces", to)
	}
	return l.run("ezmlm-return", bounce, []string{"SENDER=", "DEFAULT=" + def}, "-D", l.dir)
}

// One good delivery of the warning ends the matter.
func TestAnAddressThatGetsItsWarningStays(t *testing.T) {
	t.Parallel()
	l := newListTest(t)
	l.sub("bad@far.test")
	l.want(l.bounced("joe-lst-return-7-bad=far.test@mx.test", "Subject: x\n\nfirst\n"), 99, "")
	for range 5 {
		l.now = l.now.Add(12 * 24 * time.Hour)
		l.want(l.run("ezmlm-warn", "", nil, l.dir), 0, "")
	}
	if got := l.sent(); !strings.Contains(got.Content, "\n   7\n") {
		t.Errorf("%+v", got)
	}
	l.sentNothing()
	if l.members() != "bad@far.test" {
		t.Error("it has left")
	}
}

// Vector 47 of the qmail reference: bounces name the message's number, and confirmations are 20
// letters a to p.
func TestVector47VERPIsTheMessagesNumberAndCookiesAreLetters(t *testing.T) {
	t.Parallel()
	l := newListTest(t, "-f")
	l.want(l.mail("ezmlm-manage", "bob@far.test", "subscribe", request), 0, "ezmlm-manage: info: qp 300")
	confirm := l.sent()
	cookie := regexp.MustCompile(`^joe-lst-sc\.1795290850\.[a-p]{20}-bob=far\.test@mx\.test$`)
	if got := field(confirm.Content, "Reply-To"); !cookie.MatchString(got) {
		t.Errorf("Reply-To: %s", got)
	}
	for name, want := range map[string]string{
		"Mailing-List": "contact joe-lst-help@mx.test; run by ezmlm", "List-Help": "<mailto:joe-lst-help@mx.test>",
		"From": "joe-lst-help@mx.test", "To": "bob@far.test", "Delivered-To": "responder for joe-lst@mx.test",
		"Received": "(qmail 1 invoked by uid 0); 21 Nov 2026 19:54:09 -0000", "Subject": "confirm subscribe to joe-lst@mx.test",
		"Date": "21 Nov 2026 19:54:10 -0000",
	} {
		if got := field(confirm.Content, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if confirm.From != "joe-lst-return-@mx.test" || len(confirm.To) != 1 || confirm.To[0] != "bob@far.test" {
		t.Errorf("%+v", confirm)
	}
	l.want(l.mail("ezmlm-manage", "bob@far.test", action(field(confirm.Content, "Reply-To")), request), 0, "qp 300")
	if welcome := l.sent(); field(welcome.Content, "Subject") != "WELCOME to joe-lst@mx.test" ||
		field(welcome.Content, "List-Unsubscribe") != "<mailto:joe-lst-unsubscribe-bob=far.test@mx.test>" {
		t.Errorf("%+v", welcome)
	}
	if got := l.members() + " " + l.file("Log"); got != "bob@far.test 1795290850 + bob@far.test Bob <bob@far.test>\n" {
		t.Errorf("%q", got)
	}
	for n := 1; n <= 12; n++ {
		l.want(l.post("joe@mx.test", fmt.Sprint("Re: message ", n)), 0, "ezmlm-send: info: qp 300")
		if got, want := l.sent().From, fmt.Sprintf("joe-lst-return-%d-@mx.test-@[]", n); got != want {
			t.Errorf("message %d is from %s, want %s", n, got, want)
		}
	}
}

func TestAPostReachesSubscribersAsExistingListsSendIt(t *testing.T) {
	t.Parallel()
	l := newListTest(t, "-f")
	l.sub("joe@mx.test", "bob@far.test")
	l.want(l.run("ezmlm-reject", post("joe@mx.test", "First post"), []string{"SENDER=joe@mx.test"}, l.dir), 0, "")
	l.want(l.post("joe@mx.test", "First post"), 0, "qp 300")
	got := l.sent()
	want := `Mailing-List: contact joe-lst-help@mx.test; run by ezmlm
Sender: <joe-lst@mx.test>
Precedence: bulk
X-No-Archive: yes
List-Post: <mailto:joe-lst@mx.test>
List-Help: <mailto:joe-lst-help@mx.test>
List-Unsubscribe: <mailto:joe-lst-unsubscribe@mx.test>
List-Subscribe: <mailto:joe-lst-subscribe@mx.test>
Delivered-To: mailing list joe-lst@mx.test
Received: (qmail 4054 invoked by uid 0); 21 Nov 2026 19:55:00 -0000
Date: 21 Nov 2026 19:54:00 -0000
From: joe@mx.test
To: joe-lst@mx.test
Subject: [joe-lst] First post

Hello.
`
	if got.Content != want {
		t.Errorf("%s", got.Content)
	}
	if len(got.To) != 2 {
		t.Errorf("to %q", got.To)
	}
	l.want(l.post("joe@mx.test", "Re: [joe-lst] First post"), 0, "qp 300")
	if s := field(l.sent().Content, "Subject"); s != "Re: [joe-lst] First post" {
		t.Errorf("the prefix is repeated: %s", s)
	}
	if got, want := l.file("archive/0/index"), "1: iabppfbeleofbbfmgnao First post\n\t21 Nov 2026 19:55:00 -0000;ijhagfoddgcopchnnbpo joe.mx.test\n"+
		"2: iabppfbeleofbbfmgnao Re: First post\n\t21 Nov 2026 19:55:00 -0000;ijhagfoddgcopchnnbpo joe.mx.test\n"; got != want {
		t.Errorf("index: %q", got)
	}
	archived := l.file("archive/0/01")
	if !strings.HasPrefix(archived, "Return-Path: <joe@mx.test>\n") || !strings.Contains(archived, "\nSubject: First post\n") ||
		!strings.Contains(archived, "from elsewhere") || strings.Contains(archived, "X-No-Archive") {
		t.Errorf("archived: %s", archived)
	}
	if st, err := os.Stat(l.dir + "/archive/0/01"); err != nil || st.Mode()&0o100 == 0 {
		t.Errorf("%v, %v: the message is not marked as whole", st, err)
	}
	if got := l.file("num"); got != "2:0\n" {
		t.Errorf("num: %q", got)
	}
	// What has been through the list does not come back into it.
	l.want(l.run("ezmlm-send", got.Content, []string{"SENDER=joe@mx.test"}, l.dir), 100, "#5.4.6")
	l.sentNothing()
}

func TestAQueueThatRefusesGivesTheNumberBack(t *testing.T) {
	t.Parallel()
	l := newListTest(t)
	l.sub("joe@mx.test")
	l.out.Fail = "Zno room (#4.3.0)"
	l.want(l.post("joe@mx.test", "x"), 111, "ezmlm-send: fatal: temporary qmail-queue error: no room (#4.3.0)\n")
	l.out.Fail = "Drefused (#5.7.1)"
	l.want(l.post("joe@mx.test", "x"), 100, "ezmlm-send: fatal: refused (#5.7.1)\n")
	l.out.Fail = ""
	l.want(l.post("joe@mx.test", "x"), 0, "")
	if got := l.sent().From; got != "joe-lst-return-1-@mx.test-@[]" {
		t.Error(got)
	}
}
