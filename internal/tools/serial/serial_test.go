package serial

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/tools/tool"
	"github.com/postilion/postilion/internal/tools/tooltest"
)

// letter writes a bounce as a line of its envelope, as qmail-queue takes it, and its content.
func letter(s tooltest.Sent) string {
	return "F" + s.From + " T" + strings.Join(s.To, " T") + "\n" + s.Content
}

func programs(o *tooltest.Outbox) []tool.Program {
	return Programs(o.Queue, func(_ context.Context, _ *tool.Env, name string) (string, error) {
		switch name {
		case "bouncefrom":
			return "MAILER-DAEMON", nil
		case "doublebounceto":
			return "postmaster", nil
		}
		return "mx.test", nil
	})
}

var delivered = time.Date(2026, 11, 21, 19, 33, 33, 0, time.UTC)

// maildirOf makes a Maildir of messages named 1, 2, 3, …, a minute apart.
func maildirOf(t *testing.T, messages ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, sub := range []string{"tmp", "new", "cur"} {
		if err := os.Mkdir(dir+"/"+sub, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for i, m := range messages {
		name := fmt.Sprintf("%s/new/%d", dir, i+1)
		if err := os.WriteFile(name, []byte(m), 0o600); err != nil {
			t.Fatal(err)
		}
		at := delivered.Add(time.Duration(i) * time.Minute)
		if err := os.Chtimes(name, at, at); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func left(t *testing.T, dir string) []string {
	t.Helper()
	d, err := os.ReadDir(dir + "/new")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range d {
		names = append(names, e.Name())
	}
	return names
}

func to(recipient, body string) string {
	return "Return-Path: <s@s.test>\nDelivered-To: alias-ppp-" + recipient + "\n" + body
}

// host is another host that answers each line by what answer says of it; "" is no answer. It
// records the dialogue.
func host(t *testing.T, greeting string, answer func(line string) string) (addr string, dialogue func() string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var heard strings.Builder
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, greeting)
			answerLines(c, &heard, answer)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String(), func() string { l.Close(); <-done; return heard.String() }
}

// answerLines has a dialogue with one client.
func answerLines(c net.Conn, heard *strings.Builder, answer func(string) string) {
	r := bufio.NewReader(c)
	for inData := false; ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		heard.WriteString(line)
		line = strings.TrimSuffix(line, "\r\n")
		if inData && line != "." {
			continue
		}
		a := answer(line)
		inData = strings.HasPrefix(a, "354")
		io.WriteString(c, a)
		if line == "QUIT" {
			return
		}
	}
}

// byRecipient is a server that judges recipients by their words.
func byRecipient(extensions string) func(string) string {
	refused := false
	return func(line string) string {
		switch {
		case strings.HasPrefix(line, "EHLO"):
			return extensions
		case strings.HasPrefix(line, "MAIL"):
			refused = false
		case strings.HasPrefix(line, "RCPT TO:<defer"):
			refused = true
			return "451 4.2.0 try later\r\n"
		case strings.HasPrefix(line, "RCPT TO:<fail"):
			refused = true
			return "550-first line\r\n550 5.1.1 nobody\r\n"
		case line == "DATA" && refused:
			refused = false
			return "503 no recipients\r\n"
		case line == "DATA":
			return "354 go\r\n"
		case line == ".":
			return "250 ok 1 qp 2\r\n"
		case line == "QUIT":
			return ""
		}
		return "250 ok\r\n"
	}
}

func TestMaildirsmtpSendsWhatThePrefixNames(t *testing.T) {
	t.Parallel()
	for name, extensions := range map[string]string{"pipelining": "250-h\r\n250-PIPELINING\r\n250 8BITMIME\r\n", "one by one": "250 h\r\n"} {
		addr, dialogue := host(t, "220 h ESMTP\r\n", byRecipient(extensions))
		dir := maildirOf(t, to("ok@far.test", "Subject: 1\n\n.dot\nno end"), to("defer@far.test", "x\n"), to("fail@far.test", "y\n"),
			"Return-Path: <s@s.test>\nDelivered-To: other@x\n\n", to("\"a b\"@far.test", "z\n"), "no delivery's\n")
		o := &tooltest.Outbox{}
		r := tooltest.Run(t, programs(o), "maildirsmtp", tooltest.Call{Args: []string{dir, "alias-ppp-", addr, "me.test"}, Now: delivered.Add(time.Hour)})
		want := "maildirsmtp: info: new/1 succeeded: 127.0.0.1 to: ok@far.test said: 250 ok 1 qp 2\n" +
			"maildirsmtp: info: new/2 failed temporarily: 127.0.0.1 to: defer@far.test said: 451 4.2.0 try later\n" +
			"maildirsmtp: info: new/3 bounced: 127.0.0.1 to: fail@far.test said: 550 5.1.1 nobody\n" +
			"maildirsmtp: info: returned new/3: qp 300\n" +
			"maildirsmtp: info: new/5 succeeded: 127.0.0.1 to: \"\\\"a b\\\"\"@far.test said: 250 ok 1 qp 2\n"
		if d := cmp.Diff(want, r.Err); d != "" || r.Code != 111 {
			t.Errorf("%s: exit %d (-want +got):\n%s", name, r.Code, d)
		}
		if got := left(t, dir); !slices.Equal(got, []string{"2", "4", "6"}) {
			t.Errorf("%s: left %v", name, got)
		}
		heard := dialogue()
		for _, want := range []string{
			"EHLO me.test\r\nMAIL FROM:<s@s.test>\r\nRCPT TO:<ok@far.test>\r\nDATA\r\nSubject: 1\r\n\r\n..dot\r\nno end\r\n.\r\nRSET\r\nMAIL FROM:",
			"\r\nQUIT\r\n",
		} {
			if !strings.Contains(heard, want) {
				t.Errorf("%s: %q is missing in\n%s", name, want, heard)
			}
		}
		if len(o.Sent) != 1 || !strings.HasPrefix(letter(o.Sent[0]), "F Ts@s.test\nDate: 21 Nov 2026 20:33:33 -0000\nFrom: MAILER-DAEMON@mx.test\nTo: s@s.test\nSubject: failure notice\n\n"+
			"Hi. This is the maildirbounce program at mx.test.\nI'm afraid I wasn't able to deliver your message to the following address.\n"+
			"This is a permanent error; I've given up. Sorry it didn't work out.\n\n<fail@far.test>:\n127.0.0.1 to: fail@far.test said: 550 5.1.1 nobody\n\n"+
			"--- Below this line is a copy of the message.\n\nReturn-Path: <s@s.test>\ny\n") {
			t.Errorf("%s: bounced %q", name, o.Sent)
		}
	}
}

// A host that takes a CR for a line's end must not find commands in a message.
func TestNoCRGoesOutAlone(t *testing.T) {
	t.Parallel()
	addr, dialogue := host(t, "220 h ESMTP\r\n", byRecipient("250 h\r\n"))
	dir := maildirOf(t, to("ok@far.test", "Subject: 1\r\n\r\na\r.\rMAIL FROM:<x@far.test>\n.\r\n\r.\r\nb\r"))
	r := tooltest.Run(t, programs(&tooltest.Outbox{}), "maildirsmtp", tooltest.Call{Args: []string{dir, "alias-ppp-", addr, "me.test"}, Now: delivered.Add(time.Hour)})
	if r.Code != 0 {
		t.Errorf("exit %d: %s", r.Code, r.Err)
	}
	if heard, want := dialogue(), "DATA\r\nSubject: 1\r\n\r\na . MAIL FROM:<x@far.test>\r\n..\r\n .\r\nb \r\n.\r\nQUIT\r\n"; !strings.HasSuffix(heard, want) {
		t.Errorf("%q, want %q", heard, want)
	}
}

// scripted is a client that reports what the test says, by name.
func scripted(results map[string]string) client {
	return func(_ context.Context, _ *tool.Env, in io.Reader, out io.Writer) (int, bool) {
		names, _ := io.ReadAll(in)
		for name := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
			if s, ok := results[name]; ok {
				fmt.Fprintf(out, "%s\x00%s\n", name, s)
			}
		}
		return 0, false
	}
}

func runWith(t *testing.T, r *run, dir string) (code int, errs string) {
	t.Helper()
	var out strings.Builder
	e := &tool.Env{Args: []string{"maildirserial"}, Stderr: &out, Now: func() time.Time { return delivered.Add(time.Hour) }}
	code = r.run(t.Context(), e, dir)
	return code, out.String()
}

func TestTooOldMessagesAndBouncesOfBounces(t *testing.T) {
	t.Parallel()
	dir := maildirOf(t, to("a@b", "old\n"), "Return-Path: <>\nDelivered-To: alias-ppp-c@d\nbounce\n", "Return-Path: <#@[]>\nDelivered-To: alias-ppp-e@f\nx\n")
	o := &tooltest.Outbox{}
	r := &run{
		suite: suite{o.Queue, func(context.Context, *tool.Env, string) (string, error) { return "c", nil }}, prefix: "alias-ppp-", bounce: true, lifetime: 30 * time.Minute,
		client: scripted(map[string]string{"new/1": "Zlater", "new/2": "Dno", "new/3": "Dno"}),
	}
	code, errs := runWith(t, r, dir)
	want := "maildirserial: info: new/1 bounced: later\nmaildirserial: info: returned new/1: qp 300\n" +
		"maildirserial: info: new/2 bounced: no\nmaildirserial: info: returned new/2: qp 300\n" +
		"maildirserial: info: new/3 bounced: no\nmaildirserial: info: discarding new/3: triple bounce\n"
	if d := cmp.Diff(want, errs); d != "" || code != 0 || len(left(t, dir)) > 0 {
		t.Errorf("exit %d, left %v (-want +got):\n%s", code, left(t, dir), d)
	}
	if len(o.Sent) != 2 || !strings.Contains(letter(o.Sent[0]), "later\nThis message is too old. Giving up.\n\n--- Below") {
		t.Errorf("bounced %q", o.Sent)
	}
	if len(o.Sent) == 2 && (!strings.HasPrefix(letter(o.Sent[1]), "F#@[] Tc@c\n") || !strings.Contains(letter(o.Sent[1]), "but the bounce bounced!\n\n<c@d>:\nno\n\n--- Below this line is the original bounce.\n\nReturn-Path: <>\nbounce\n")) {
		t.Errorf("double bounce %q", letter(o.Sent[1]))
	}
}

func TestABounceFindsAQuotedSender(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		`"a b"@c.test`: "a b@c.test", `"q\"\\"@c.test`: `q"\@c.test`, "plain.x@c.test": "plain.x@c.test", `"joe-@mx.test-"@[]`: "joe-@mx.test-@[]",
	} {
		dir := maildirOf(t, "Return-Path: <"+path+">\nDelivered-To: alias-ppp-c@d\n\nx\n")
		o := &tooltest.Outbox{}
		r := &run{
			suite: suite{o.Queue, func(context.Context, *tool.Env, string) (string, error) { return "c", nil }}, prefix: "alias-ppp-", bounce: true,
			client: scripted(map[string]string{"new/1": "Dno"}),
		}
		if code, errs := runWith(t, r, dir); code != 0 || len(o.Sent) != 1 || strings.Join(o.Sent[0].To, " ") != want ||
			!strings.Contains(letter(o.Sent[0]), "\nTo: "+path+"\n") || !strings.Contains(letter(o.Sent[0]), "\nReturn-Path: <"+path+">\n") {
			t.Errorf("%s: exit %d, %s, %+v", path, code, errs, o.Sent)
		}
	}
}

func TestNothingIsRemovedThatWasNotReportedOnOrCannotBeBounced(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		client client
		fail   string
		code   int
		last   string
	}{
		"silence":         {client: scripted(nil), code: 111, last: "maildirserial: fatal: making no progress, giving up\n"},
		"another's file":  {client: scripted2("../../etc/passwd\x00Kok\n"), code: 111, last: "maildirserial: fatal: making no progress, giving up\n"},
		"a cut report":    {client: scripted2("new/1\x00Kcut"), code: 111, last: "maildirserial: fatal: making no progress, giving up\n"},
		"a bounce fails":  {client: scripted(map[string]string{"new/1": "Dno"}), fail: "Zno room", code: 111, last: "unable to bounce new/1: qq failed: no room\n"},
		"a client dies":   {client: func(context.Context, *tool.Env, io.Reader, io.Writer) (int, bool) { return -1, true }, code: 111, last: "maildirserial: fatal: client crashed\n"},
		"a client's 100":  {client: func(context.Context, *tool.Env, io.Reader, io.Writer) (int, bool) { return 100, false }, code: 100},
		"an unknown word": {client: scripted(map[string]string{"new/1": "?what"}), code: 111, last: "maildirserial: info: new/1 failed temporarily: what\n"},
	} {
		dir := maildirOf(t, to("a@b", "x\n"))
		o := &tooltest.Outbox{Fail: c.fail}
		r := &run{suite: suite{o.Queue, func(context.Context, *tool.Env, string) (string, error) { return "c", nil }}, client: c.client, bounce: true}
		code, errs := runWith(t, r, dir)
		if code != c.code || !strings.HasSuffix(errs, c.last) || len(left(t, dir)) != 1 {
			t.Errorf("%s: exit %d, left %v, %q", name, code, left(t, dir), errs)
		}
	}
}

// scripted2 is a client that reports the same, whatever it is given.
func scripted2(report string) client {
	rounds := 0
	return func(_ context.Context, _ *tool.Env, _ io.Reader, out io.Writer) (int, bool) {
		if rounds++; rounds == 1 {
			io.WriteString(out, report)
		}
		return 0, false
	}
}

func TestMaildirserialRunsAnyClient(t *testing.T) {
	t.Parallel()
	dir := maildirOf(t, to("a@b", "x\n"), to("c@d", "y\n"))
	script := `tr '\0' '\n' | while read f; do case $f in new/1) printf '%s\0Kdone\n' $f;; *) printf '%s\0Dno\n' $f;; esac; done`
	r := tooltest.Run(t, programs(&tooltest.Outbox{}), "maildirserial", tooltest.Call{
		Args: []string{dir, "alias-ppp-", "sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin"}, Now: delivered.Add(time.Hour),
	})
	want := "maildirserial: info: new/1 succeeded: done\nmaildirserial: info: new/2 failed: no\n"
	if r.Err != want || r.Code != 111 || !slices.Equal(left(t, dir), []string{"2"}) {
		t.Errorf("got %+v, left %v", r, left(t, dir))
	}
	if r := tooltest.Run(t, programs(&tooltest.Outbox{}), "maildirserial", tooltest.Call{Args: []string{"-x"}}); r.Code != 100 {
		t.Errorf("got %+v", r)
	}
	r = tooltest.Run(t, programs(&tooltest.Outbox{}), "maildirserial", tooltest.Call{Args: []string{dir + "/gone", "", "true"}})
	if r.Code != 111 || r.Err != "maildirserial: fatal: unable to chdir to "+dir+"/gone: file does not exist\n" {
		t.Errorf("got %+v", r)
	}
}

func TestABrokenConversationLeavesEverything(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		greeting string
		answer   func(string) string
		want     string
	}{
		"no greeting":     {"554 no\r\n", func(string) string { return "" }, "serialsmtp: fatal: connected but greeting failed\n"},
		"name rejected":   {"220 x\r\n", func(string) string { return "550 no\r\n" }, "serialsmtp: fatal: connected but my name was rejected\n"},
		"not SMTP":        {"hello\r\n", func(string) string { return "" }, "serialsmtp: fatal: protocol violation\n"},
		"an endless line": {"220 " + strings.Repeat("x", 1<<16), func(string) string { return "" }, "serialsmtp: fatal: protocol violation\n"},
	} {
		addr, _ := host(t, c.greeting, c.answer)
		dir := maildirOf(t, to("a@b", "x\n"))
		r := tooltest.Run(t, programs(&tooltest.Outbox{}), "maildirsmtp", tooltest.Call{Args: []string{dir, "", addr, "me"}, Now: delivered.Add(time.Hour)})
		if r.Code != 111 || !strings.HasPrefix(r.Err, c.want) || len(left(t, dir)) != 1 {
			t.Errorf("%s: %+v, left %v", name, r, left(t, dir))
		}
	}
}

func TestMaildirqmtpSendsAllAndReadsTheAnswers(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	want := "10:\nline\nend\n,8:s@s.test,12:9:ok@far.te,,2:\nx,8:s@s.test,11:8:no@far.t,,"
	heard := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		b := make([]byte, len(want))
		n, _ := io.ReadFull(c, b)
		heard <- string(b[:n])
		io.WriteString(c, "8:Kok 1 qp,9:Znot now\n,")
	}()
	t.Cleanup(func() { l.Close() })
	dir := maildirOf(t, to("ok@far.te", "line\nend\n"), to("no@far.t", "x"))
	r := tooltest.Run(t, programs(&tooltest.Outbox{}), "maildirqmtp", tooltest.Call{Args: []string{dir, "alias-ppp-", l.Addr().String()}, Now: delivered.Add(time.Hour)})
	if got := <-heard; got != want {
		t.Errorf("heard %q, want %q", got, want)
	}
	wantErr := "maildirqmtp: info: new/1 succeeded: 127.0.0.1 said: ok 1 qp\nmaildirqmtp: info: new/2 failed temporarily: 127.0.0.1 said: not now?\n"
	if r.Err != wantErr || r.Code != 111 || !slices.Equal(left(t, dir), []string{"2"}) {
		t.Errorf("got %+v, left %v", r, left(t, dir))
	}
}

func TestSerialsmtpSpeaksOnDescriptors6And7(t *testing.T) {
	t.Parallel()
	addr, dialogue := host(t, "220 h\r\n", byRecipient("250-h\r\n250 PIPELINING\r\n"))
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	defer f.Close()
	dir := maildirOf(t, to("ok@x", "m\n"))
	var out, errs strings.Builder
	e := &tool.Env{
		Args: []string{"serialsmtp", "alias-ppp-", "me"}, Dir: dir, Stdin: strings.NewReader("new/1\x00"), Stdout: &out, Stderr: &errs,
		Environ: []string{"TCPREMOTEIP=192.0.2.9"}, FD: func(int) *os.File { return f },
	}
	if code := serialsmtp(t.Context(), e); code != 0 || out.String() != "new/1\x00K192.0.2.9 to: ok@x said: 250 ok 1 qp 2\n" {
		t.Errorf("exit %d, %q, %q", code, out.String(), errs.String())
	}
	dialogue()
}
