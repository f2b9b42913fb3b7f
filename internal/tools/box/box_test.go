package box

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/postilion/postilion/internal/tools/tool"
	"github.com/postilion/postilion/internal/tools/tooltest"
)

// maildirIn makes a Maildir with messages whose times are a minute apart, long past.
func maildirIn(t *testing.T, dir string, messages ...string) {
	t.Helper()
	if r := tooltest.Run(t, Programs(), "maildirmake", tooltest.Call{Args: []string{dir}}); r.Code != 0 {
		t.Fatalf("maildirmake: %+v", r)
	}
	at := time.Date(2026, 11, 21, 19, 33, 33, 0, time.UTC)
	for i, m := range messages {
		name := filepath.Join(dir, "new", string(rune('z'-i))) // names in another order than times
		if err := os.WriteFile(name, []byte(m), 0o600); err != nil {
			t.Fatal(err)
		}
		when := at.Add(time.Duration(i) * time.Minute)
		if err := os.Chtimes(name, when, when); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMaildirmakeMakesPrivateFolders(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := func(args ...string) tooltest.Result {
		return tooltest.Run(t, Programs(), "maildirmake", tooltest.Call{Args: args, Dir: dir})
	}
	if r := run("Maildir"); r != (tooltest.Result{}) {
		t.Errorf("got %+v", r)
	}
	for _, sub := range []string{"", "/tmp", "/new", "/cur"} {
		if st, err := os.Stat(dir + "/Maildir" + sub); err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", sub, st, err)
		}
	}
	if r := run("Maildir"); r.Code != 111 || r.Err != "maildirmake: fatal: unable to mkdir Maildir: file already exists\n" {
		t.Errorf("again: %+v", r)
	}
	if r := run(); r.Code != 100 {
		t.Errorf("without a name: %+v", r)
	}
	if r := run("-f", "Sent", "Maildir"); r.Code != 0 {
		t.Errorf("a folder: %+v", r)
	}
	if _, err := os.Stat(dir + "/Maildir/.Sent/maildirfolder"); err != nil {
		t.Error(err)
	}
	if r := run("-q", "1000S,5C", "Maildir"); r.Code != 0 {
		t.Errorf("a quota: %+v", r)
	}
	if b, err := os.ReadFile(dir + "/Maildir/maildirsize"); err != nil || string(b) != "1000S,5C\n" {
		t.Errorf("maildirsize: %q, %v", b, err)
	}
	for _, bad := range [][]string{{"-f", "../x", "Maildir"}, {"-f", "a/b", "Maildir"}, {"-q", "5X", "Maildir"}, {"-q", "", "-f", "", "Maildir"}} {
		if r := run(bad...); r.Code != 100 {
			t.Errorf("%q: %+v", bad, r)
		}
	}
}

func TestVector33Maildir2mboxQuotesFromAndKeepsTheOrder(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	maildirIn(t, home+"/Maildir",
		"Return-Path: <sender@s.test>\nDelivered-To: joe@mx.test\nSubject: 1\n\nFrom here\n>From there\n>>Fromage\n From no\n",
		"Return-Path: <>\nSubject: 2\n\nno end",
		"Return-Path: <a b\tc@d>\n\n",
		"Subject: no delivery's\n")
	if err := os.WriteFile(home+"/mbox", []byte("From old\n\nx\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"MAILDIR=" + home + "/Maildir", "MAIL=" + home + "/mbox", "MAILTMP=" + home + "/mbox.tmp"}
	if r := tooltest.Run(t, Programs(), "maildir2mbox", tooltest.Call{Env: env}); r != (tooltest.Result{}) {
		t.Fatalf("got %+v", r)
	}
	const want = "From old\n\nx\n\n" +
		"From sender@s.test Sat Nov 21 19:33:33 2026\nReturn-Path: <sender@s.test>\nDelivered-To: joe@mx.test\nSubject: 1\n\n>From here\n>>From there\n>>Fromage\n From no\n\n" +
		"From MAILER-DAEMON Sat Nov 21 19:34:33 2026\nReturn-Path: <>\nSubject: 2\n\nno end\n\n" +
		"From a-b-c@d Sat Nov 21 19:35:33 2026\nReturn-Path: <a b\tc@d>\n\n\n" +
		"From XXX Sat Nov 21 19:36:33 2026\nSubject: no delivery's\n\n"
	b, err := os.ReadFile(home + "/mbox")
	if err != nil || string(b) != want {
		t.Errorf("got\n%s\nwant\n%s%v", b, want, err)
	}
	if left, err := os.ReadDir(home + "/Maildir/new"); len(left) > 0 || err != nil {
		t.Errorf("left %v, %v", left, err)
	}
	if r := tooltest.Run(t, Programs(), "maildir2mbox", tooltest.Call{Env: env[1:]}); r.Err != "maildir2mbox: fatal: MAILDIR not set\n" || r.Code != 111 {
		t.Errorf("got %+v", r)
	}
}

func TestAMessageThatCannotBeReadStaysWhereItIs(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	maildirIn(t, home+"/Maildir", "Subject: 1\n\n")
	// A folder in a message's place cannot be copied.
	if err := os.Mkdir(home+"/Maildir/cur/folder", 0o700); err != nil {
		t.Fatal(err)
	}
	past := time.Unix(1, 0)
	if err := os.Chtimes(home+"/Maildir/cur/folder", past, past); err != nil {
		t.Fatal(err)
	}
	env := []string{"MAILDIR=" + home + "/Maildir", "MAIL=" + home + "/mbox", "MAILTMP=" + home + "/mbox.tmp"}
	r := tooltest.Run(t, Programs(), "maildir2mbox", tooltest.Call{Env: env})
	if r.Code != 111 || r.Err != "maildir2mbox: fatal: unable to read $MAILDIR/cur/folder: is a directory\n" {
		t.Errorf("got %+v", r)
	}
	if b, err := os.ReadFile(home + "/mbox"); err != nil || len(b) > 0 {
		t.Errorf("the mbox holds %q, %v", b, err)
	}
	if _, err := os.Stat(home + "/Maildir/new/z"); err != nil {
		t.Errorf("the message is gone: %v", err)
	}
}

func TestWhatCameThisSecondWaits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/Maildir"
	maildirIn(t, dir, "Subject: 1\n\n")
	at := time.Date(2026, 11, 21, 19, 33, 33, 0, time.UTC)
	if list, err := Scan(dir, at, "new"); len(list) != 0 || err != nil {
		t.Errorf("the same second: %v, %v", list, err)
	}
	if list, err := Scan(dir, at.Add(time.Second), "new"); len(list) != 1 || err != nil {
		t.Errorf("a second later: %v, %v", list, err)
	}
}

func TestSafecatNamesWhatItStored(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/Maildir"
	maildirIn(t, dir)
	r := tooltest.Run(t, Programs(), "safecat", tooltest.Call{Args: []string{dir + "/tmp", dir + "/new"}, In: "hello", Now: time.Unix(1000000000, 123456789)})
	name := strings.TrimSuffix(r.Out, "\n")
	if r.Code != 0 || !regexp.MustCompile(`^1000000010\.M123456P\d+\.[^/]+$`).MatchString(name) {
		t.Fatalf("got %+v", r)
	}
	if b, err := os.ReadFile(dir + "/new/" + name); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
	if left, err := os.ReadDir(dir + "/tmp"); len(left) > 0 || err != nil {
		t.Errorf("left in tmp: %v, %v", left, err)
	}
	if r := tooltest.Run(t, Programs(), "maildir", tooltest.Call{Args: []string{dir}, In: "x"}); r.Code != 0 {
		t.Errorf("maildir: %+v", r)
	}
}

func TestSafecatStoresNothingWhenAnythingFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/Maildir"
	maildirIn(t, dir)
	broken := io.MultiReader(strings.NewReader("half"), iotest.ErrReader(errors.New("the pipe broke")))
	for _, c := range []struct {
		call tooltest.Call
		code int
		text string
	}{
		{tooltest.Call{Args: []string{dir + "/tmp", dir + "/new"}, From: broken}, 111, "unable to copy standard input: the pipe broke"},
		{tooltest.Call{Args: []string{dir + "/no", dir + "/new"}}, 111, "could not stat directory: file does not exist"},
		{tooltest.Call{Args: []string{dir + "/tmp", "/dev/null"}}, 111, "not a directory: /dev/null"},
	} {
		r := tooltest.Run(t, Programs(), "safecat", c.call)
		if want := "safecat: fatal: " + c.text + "\n"; r.Code != c.code || r.Err != want || r.Out != "" {
			t.Errorf("%q: got %+v, want %q", c.call.Args, r, want)
		}
	}
	if r := tooltest.Run(t, Programs(), "safecat", tooltest.Call{}); r.Code != 100 || r.Err != "safecat: usage: safecat <tempdir> <destdir>\n" {
		t.Errorf("without arguments: %+v", r)
	}
	for _, sub := range []string{"tmp", "new"} {
		if left, err := os.ReadDir(dir + "/" + sub); len(left) > 0 || err != nil {
			t.Errorf("left in %s: %v, %v", sub, left, err)
		}
	}
}

func TestSafecatGivesUpAfterFiveTakenNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := time.Unix(1000000000, 0)
	host, err := os.Hostname()
	if err != nil {
		t.Skip(err)
	}
	waits := 0
	e := &tool.Env{Args: []string{"safecat"}, Now: func() time.Time { return now }, Wait: func(context.Context, time.Duration) error { waits++; return nil }}
	name := dir + "/1000000010.M0P" + itoa(os.Getpid()) + "." + fileName(host)
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := freeName(t.Context(), e, dir); err == nil || waits != 4 {
		t.Errorf("got %v after %d waits", err, waits)
	}
}

func itoa(n int) string {
	s := ""
	for ; n > 0; n /= 10 {
		s = string(rune('0'+n%10)) + s
	}
	return s
}

func TestMaildirwatchShowsNewMailWithoutItsControlBytes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/Maildir"
	maildirIn(t, dir, "Return-Path: <s@s.test>\nDelivered-To: joe@mx.test\nFrom: \x1b[31mMe\n <me@s.test>\nSubject: Hi\n\nText of it\n"+strings.Repeat("x", 200))
	var out strings.Builder
	e := &tool.Env{
		Args: []string{"maildirwatch"}, Environ: []string{"MAILDIR=" + dir}, Stdout: &out,
		Wait: func(context.Context, time.Duration) error { return context.Canceled },
	}
	if code := maildirwatch(t.Context(), e); code != 0 {
		t.Errorf("exit %d", code)
	}
	want := "\x1b[;H\x1b[;JFROM <s@s.test> TO <joe@mx.test>\n\x1b[1mFrom: /[31mMe/ <me@s.test>\x1b[0m\nHi/Text of it/" + strings.Repeat("x", 144) + "\n\n"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestCleanRemovesWhatDeliveriesLeftLongAgo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/Maildir"
	maildirIn(t, dir)
	now := time.Now()
	for name, age := range map[string]time.Duration{"old": 37 * time.Hour, "young": 35 * time.Hour} {
		if err := os.WriteFile(dir+"/tmp/"+name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(dir+"/tmp/"+name, now.Add(-age), now); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(dir+"/tmp/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	Clean(dir, now)
	left, err := os.ReadDir(dir + "/tmp")
	if err != nil || len(left) != 2 || left[0].Name() != "fifo" || left[1].Name() != "young" {
		t.Errorf("left %v, %v", left, err)
	}
}
