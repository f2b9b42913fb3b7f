package ezmlm_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestSubscribingAndLeavingIsConfirmed(t *testing.T) {
	t.Parallel()
	l := newListTest(t)
	for _, step := range []struct {
		sender, action string // "=" goes to the last answer's Reply-To
		to, subject    string
		members        string
	}{
		{"joe@mx.test", "unsubscribe", "joe@mx.test", "Not subscribed to joe-lst@mx.test", ""},
		{"joe@mx.test", "query", "joe@mx.test", "Subscription status on joe-lst@mx.test", ""},
		{"joe@mx.test", "subscribe-zoe=far.test", "zoe@far.test", "confirm subscribe to joe-lst@mx.test", ""},
		{"zoe@far.test", "=", "zoe@far.test", "WELCOME to joe-lst@mx.test", "zoe@far.test"},
		{"joe@mx.test", "SUBSCRIBE-Zoe=FAR.test", "Zoe@FAR.test", "Already subscribed to joe-lst@mx.test", "zoe@far.test"},
		{"joe@mx.test", "query-zoe=far.test", "zoe@far.test", "Subscription status on joe-lst@mx.test", "zoe@far.test"},
		{"zoe@far.test", "unsubscribe", "zoe@far.test", "confirm unsubscribe from joe-lst@mx.test", "zoe@far.test"},
		{"zoe@far.test", "=", "zoe@far.test", "GOODBYE from joe-lst@mx.test", ""},
		{"joe@mx.test", "digest-subscribe", "joe@mx.test", "confirm subscribe to joe-lst-digest@mx.test", ""},
		{"joe@mx.test", "=", "joe@mx.test", "WELCOME to joe-lst-digest@mx.test", ""},
		{"joe@mx.test", "help", "joe@mx.test", "Help for joe-lst@mx.test", ""},
		{"joe@mx.test", "info", "joe@mx.test", "Information for joe-lst@mx.test", ""},
		{"joe@mx.test", "faq", "joe@mx.test", "FAQ for joe-lst@mx.test", ""},
		{"joe@mx.test", "no-such-thing", "joe@mx.test", "Help for joe-lst@mx.test", ""},
		{"joe@mx.test", "", "joe@mx.test", "Help for joe-lst@mx.test", ""},
	} {
		if step.action == "=" {
			step.action = action(field(l.out.Sent[len(l.out.Sent)-1].Content, "Reply-To"))
		}
		l.want(l.mail("ezmlm-manage", step.sender, step.action, request), 0, "qp 300")
		got := l.sent()
		if got.To[0] != step.to || field(got.Content, "Subject") != step.subject || l.members() != step.members {
			t.Errorf("%s: to %q: %q; on the list: %q", step.action, got.To, field(got.Content, "Subject"), l.members())
		}
		if got.From != "joe-lst-return-@mx.test" {
			t.Errorf("%s: from %s", step.action, got.From)
		}
	}
	if got := l.members("digest"); got != "joe@mx.test" {
		t.Errorf("digest: %q", got)
	}
	l.want(l.mail("ezmlm-manage", "joe@mx.test", "allow-subscribe", request), 0, "qp 300")
	l.want(l.mail("ezmlm-manage", "joe@mx.test", action(field(l.sent().Content, "Reply-To")), request), 0, "joe@mx.test")
	l.sentNothing()
	if got := l.members("allow"); got != "joe@mx.test" {
		t.Errorf("allow: %q", got)
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	l := newListTest(t)
	for _, r := range []struct{ sender, action, message, want string }{
		{"", "subscribe", request, "I do not reply to bounce messages (#5.7.2)"},
		{"#@[]", "subscribe", request, "I do not reply to bounce messages (#5.7.2)"},
		{"joe", "subscribe", request, "I do not reply to senders without host names (#5.7.2)"},
		{"joe@mx.test", "subscribe", "Mailing-List: contact x\n" + request, "message already has a Mailing-List header (maybe I should be a sublist) (#5.7.2)"},
		{"joe@mx.test", "subscribe", "Delivered-To: responder for joe-lst@mx.test\n" + request, "#5.4.6"},
		{"joe@mx.test", "subscribe-..%2f..%2fetc", request, "address does not contain @"},
		{"joe@mx.test", "subscribe-../../x=y/../z\n", request, "address contains newline"},
		{"joe@mx.test", "subscribe-a\x1b[2J=far.test", request, "address contains a control character"},
		{"joe@mx.test", "subscribe-" + strings.Repeat("a", 400) + "=far.test", request, "address is too long"},
		{"joe@mx.test", "digestive", request, "I don't accept messages at this address (#5.1.1)"},
		{"joe@mx.test", "list", request, "Command not available (#5.1.1)"},
		{"joe@mx.test", "log.x", request, "Command not available (#5.1.1)"},
		{"joe@mx.test", "edit.info", request, "Command not available (#5.1.1)"},
		{"joe@mx.test", "ed.1795290850.info.aaaaaaaaaaaaaaaaaaaa", request, "Command not available (#5.1.1)"},
		{"joe@mx.test", "tc.1795290850.aaaaaaaaaaaaaaaaaaaa-joe=mx.test", request, "Illegal or outdated moderator request (#5.7.1)"},
		{"joe@mx.test", "deny-subscribe", request, "Command allowed only to moderators (#5.7.1)"},
		{"joe@mx.test", "help", strings.Repeat("X: y\n", 1<<18), "the header is longer than"},
	} {
		l.want(l.mail("ezmlm-manage", r.sender, r.action, r.message), 100, "ezmlm-manage: fatal: ")
		l.want(l.mail("ezmlm-manage", r.sender, r.action, r.message), 100, r.want)
		l.sentNothing()
	}
	l.want(l.run("ezmlm-manage", request, []string{"DEFAULT=help"}, l.dir), 100, "SENDER not set")
	l.want(l.run("ezmlm-manage", request, []string{"SENDER=joe@mx.test"}, l.dir), 100, "DEFAULT not set")
	l.want(l.run("ezmlm-manage", request, nil), 100, "usage")
	if l.members() != "" {
		t.Error("somebody got on the list")
	}
	if names, err := filepath.Glob(filepath.Dir(l.dir) + "/*"); err != nil || len(names) != 11 { // and the ten links
		t.Errorf("beside the list's folder: %q", names)
	}
	if err := os.Remove(l.dir + "/public"); err != nil {
		t.Fatal(err)
	}
	l.want(l.mail("ezmlm-manage", "joe@mx.test", "subscribe", request), 100, "Sorry, I've been told to reject all requests (#5.7.2)")
	l.want(l.mail("ezmlm-manage", "joe@mx.test", "help", request), 0, "")
}

// A cookie is for one address, one action and eleven days; what is wrong is answered by a fresh one.
func TestConfirmationsAreForOneAddressAndLastElevenDays(t *testing.T) {
	t.Parallel()
	l := newListTest(t)
	l.want(l.mail("ezmlm-manage", "bob@far.test", "subscribe", request), 0, "")
	good := action(field(l.sent().Content, "Reply-To"))
	letters := regexp.MustCompile(`\.([a-p]{20})-`).FindStringSubmatch(good)[1]
	for _, bad := range []string{
		strings.Replace(good, "bob=", "eve=", 1),
		strings.Replace(good, letters, strings.Repeat("a", 20), 1),
		strings.Replace(good, letters, letters[:19], 1),
		strings.Replace(good, letters, "", 1),
		strings.Replace(good, "1795290850", "1795290851", 1),
		strings.Replace(good, "1795290850", "99999999999999999999", 1),
		strings.Replace(good, "1795290850", "-1", 1),
		"sc.-bob=far.test", "sc.....-bob=far.test", "digest-" + good,
	} {
		l.want(l.mail("ezmlm-manage", "bob@far.test", bad, request), 0, "")
		if got := l.sent(); !strings.HasPrefix(field(got.Content, "Subject"), "confirm subscribe to joe-lst") && !strings.HasPrefix(field(got.Content, "Subject"), "Help for") {
			t.Errorf("%s: %s", bad, field(got.Content, "Subject"))
		}
	}
	l.now = start.Add(1_000_001 * time.Second)
	l.want(l.mail("ezmlm-manage", "bob@far.test", good, request), 0, "")
	if l.sent(); l.members()+l.members("digest") != "" {
		t.Error("an old or wrong cookie was taken")
	}
	l.now = start.Add(1_000_000 * time.Second)
	l.want(l.mail("ezmlm-manage", "bob@far.test", good, request), 0, "")
	if l.sent(); l.members() != "bob@far.test" {
		t.Error("a good cookie was not taken")
	}
}

func TestModeratorsDecideAndAdminister(t *testing.T) {
	t.Parallel()
	l := newListTest(t, "-srl")
	l.sub("mod", "Mod@mx.test", "mod2@mx.test")
	// A user asks, confirms, and a moderator decides.
	l.want(l.mail("ezmlm-manage", "bob@far.test", "subscribe", request), 0, "")
	l.want(l.mail("ezmlm-manage", "bob@far.test", action(field(l.sent().Content, "Reply-To")), request), 0, "")
	ask := l.sent()
	if len(ask.To) != 2 || field(ask.Content, "Subject") != "CONFIRM subscribe to joe-lst@mx.test" || field(ask.Content, "To") != "bob@far.test" || l.members() != "" {
		t.Errorf("%+v; on the list: %q", ask, l.members())
	}
	l.want(l.mail("ezmlm-manage", "mod2@mx.test", action(field(ask.Content, "Reply-To")), "Subject: secret\n\n"), 0, "")
	if got := l.sent(); got.To[0] != "bob@far.test" || strings.Contains(got.Content, "mod2@") || strings.Contains(got.Content, "secret") || l.members() != "bob@far.test" {
		t.Errorf("%+v", got)
	}
	l.want(l.mail("ezmlm-manage", "mod@mx.test", action(field(ask.Content, "Reply-To")), request), 0, "target is already a subscriber")
	// A moderator acts for others, and confirms.
	for _, step := range [][3]string{{"subscribe-eve=far.test", "CONFIRM subscribe to joe-lst@mx.test", "WELCOME to joe-lst@mx.test"},
		{"unsubscribe-eve=far.test", "CONFIRM unsubscribe from joe-lst@mx.test", "GOODBYE from joe-lst@mx.test"}} {
		l.want(l.mail("ezmlm-manage", "mod@mx.test", step[0], request), 0, "")
		ask := l.sent()
		if ask.To[0] != "Mod@mx.test" || field(ask.Content, "Subject") != step[1] {
			t.Errorf("%+v", ask)
		}
		l.want(l.mail("ezmlm-manage", "mod@mx.test", action(field(ask.Content, "Reply-To")), request), 0, "")
		if got := l.sent(); got.To[0] != "eve@far.test" || field(got.Content, "Subject") != step[2] {
			t.Errorf("%+v", got)
		}
	}
	if log := l.file("Log"); !strings.Contains(log, " + bob@far.test\n") || !strings.Contains(log, " +mod eve@far.test\n") || !strings.Contains(log, " -mod eve@far.test\n") {
		t.Errorf("%q", log)
	}
	l.want(l.mail("ezmlm-manage", "mod@mx.test", "list", request), 0, "")
	if got := l.sent(); got.To[0] != "Mod@mx.test" || !strings.Contains(got.Content, "\nbob@far.test\n\n  ======> 1\n") {
		t.Errorf("%+v", got)
	}
	l.want(l.mail("ezmlm-manage", "mod@mx.test", "log.eve", request), 0, "")
	if got := l.sent(); !strings.Contains(got.Content, "21 Nov 2026 19:54:10 -0000: 1795290850 +mod eve@far.test\n") || strings.Contains(got.Content, "+ bob") {
		t.Errorf("%+v", got)
	}
	l.want(l.mail("ezmlm-manage", "bob@far.test", "list", request), 100, "Command allowed only to moderators (#5.7.1)")
	l.want(l.mail("ezmlm-manage", "mod@mx.test", "deny-subscribe-eve=far.test", request), 0, "")
	l.want(l.mail("ezmlm-manage", "mod@mx.test", action(field(l.sent().Content, "Reply-To")), request), 0, "eve@far.test")
	l.sentNothing()
	l.want(l.run("ezmlm-checksub", "", []string{"SENDER=eve@far.test"}, "-n", l.dir, "deny"), 100,
		"Sorry, I've been told to reject your posts. Contact joe-lst-owner@mx.test if you have questions about this.")
	l.want(l.run("ezmlm-checksub", "", []string{"SENDER=bob@far.test"}, "-n", l.dir, "deny"), 0, "")
}

func TestMailToRequestGoesToTheCommandInItsSubject(t *testing.T) {
	t.Parallel()
	l := newListTest(t)
	for _, r := range []struct{ subject, body, want string }{
		{"subscribe", "", "joe-lst-subscribe-bob=far.test@mx.test"},
		{"SIGNOFF", "", "joe-lst-unsubscribe-bob=far.test@mx.test"},
		{"subscribe zoe@far.test", "", "joe-lst-subscribe-zoe=far.test@mx.test"},
		{"joe-lst-subscribe-zoe=far.test@mx.test", "", "joe-lst-subscribe-zoe=far.test@mx.test"},
		{"", "\n> x\nunsubscribe\n", "joe-lst-unsubscribe-bob=far.test@mx.test"},
		{"", "", "joe-lst-help-bob=far.test@mx.test"},
		{"who", "", "joe-lst-list-bob=far.test@mx.test"},
	} {
		l.want(l.mail("ezmlm-request", "bob@far.test", "request", "Subject: "+r.subject+"\n\n"+r.body), 99, "qp 300")
		if got := l.sent(); got.To[0] != r.want || got.From != "bob@far.test" || !strings.HasPrefix(got.Content, "Delivered-To: request processor for joe-lst@mx.test\n") {
			t.Errorf("%s: %+v", r.subject, got)
		}
	}
	for subject, want := range map[string]string{"subscribe $(id)@far.test": "Bad character", "x`id` y": "Bad character", "other@mx.test": "does not match"} {
		l.want(l.mail("ezmlm-request", "bob@far.test", "request", "Subject: "+subject+"\n\n"), 100, want)
	}
	l.want(l.mail("ezmlm-request", "bob@far.test", "subscribe", request), 0, "")
	l.want(l.mail("ezmlm-split", "bob@far.test", "subscribe", request), 0, "")
	l.write("split", "# domains\nedu.u:::lst-u@far.test\n::26:low\n")
	l.want(l.mail("ezmlm-split", "bob@far.test", "subscribe-a=x.u.edu", request), 99, "")
	if got := l.sent(); got.To[0] != "lst-u-subscribe-a=x.u.edu@far.test" {
		t.Errorf("%+v", got)
	}
	l.write("split", "edu\nedu:x:y\n")
	l.want(l.mail("ezmlm-split", "bob@far.test", "subscribe-a=x.u.edu", request), 111, l.dir+`/split: line 2: "x" is no number`)
}

func TestModeratorsChangeTextsByMail(t *testing.T) {
	t.Parallel()
	l := newListTest(t, "-rn")
	l.sub("mod", "mod@mx.test")
	l.want(l.mail("ezmlm-manage", "mod@mx.test", "edit", request), 0, "")
	if got := l.sent(); field(got.Content, "Subject") != "List of editable text files for joe-lst@mx.test" || !strings.Contains(got.Content, "\n   sub-ok\n") {
		t.Errorf("%+v", got)
	}
	ask := func() string {
		t.Helper()
		l.want(l.mail("ezmlm-manage", "mod@mx.test", "edit.sub_ok", request), 0, "")
		got := l.sent()
		if field(got.Content, "Subject") != "EDIT sub_ok for joe-lst@mx.test" || got.To[0] != "mod@mx.test" || !strings.Contains(got.Content, "%%% START OF TEXT FILE\nWelcome!") {
			t.Errorf("%+v", got)
		}
		return action(field(got.Content, "Reply-To"))
	}
	answer := ask()
	if !regexp.MustCompile(`^ed\.1795290850\.sub_ok\.[a-p]{20}$`).MatchString(answer) {
		t.Errorf("Reply-To: %s", answer)
	}
	for action, want := range map[string]string{
		"edit.sub%2fok": "only letters and underscore allowed in file name (#5.6.0)", "edit.key": "there is no text of that name (#5.1.1)",
		"edit...": "there is no", strings.Replace(answer, "sub_ok", "info", 1): "Illegal or outdated moderator request",
		strings.Replace(answer, "1795290850", "1795290849", 1): "Illegal or outdated", "ed.1": "Illegal or outdated", answer: "missing start-of-text or end-of-text mark (#5.6.0)",
	} {
		r := l.mail("ezmlm-manage", "mod@mx.test", action, request)
		if action == "edit..." && r.Code == 0 { // no name: all of them
			l.sent()
			continue
		}
		l.want(r, 100, want)
	}
	long := "Subject: Re\n\n%%% START OF TEXT FILE\n" + strings.Repeat("too long\n", 2000) + "%%% END OF TEXT FILE\n"
	l.want(l.mail("ezmlm-manage", "mod@mx.test", answer, long), 100, "the text is longer than 10240 bytes")
	l.want(l.mail("ezmlm-manage", "eve@far.test", "edit.sub_ok", request), 100, "Command allowed only to moderators (#5.7.1)")
	reply := "Subject: Re\nContent-Transfer-Encoding: quoted-printable\n\nbla\n> %%% START OF TEXT FILE\n> Hello =3D <#A#>!=\n!\n> %%% END OF TEXT FILE\nbla\n"
	l.want(l.mail("ezmlm-manage", "mod@mx.test", answer, reply), 0, "")
	if got := l.sent(); field(got.Content, "Subject") != "Success editing sub_ok for joe-lst@mx.test" || l.file("text/sub-ok") != "Hello = <#A#>!!\n" {
		t.Errorf("%+v; the text is %q", got, l.file("text/sub-ok"))
	}
	// The text is another one now: the address has done its work.
	l.want(l.mail("ezmlm-manage", "mod@mx.test", answer, reply), 100, "Illegal or outdated moderator request (#5.7.1)")
	l.now = l.now.Add(100_001 * time.Second)
	l.want(l.mail("ezmlm-manage", "mod@mx.test", answer, reply), 100, "Illegal or outdated moderator request (#5.7.1)")
}
