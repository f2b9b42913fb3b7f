package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The programs of notqmail are the oracle of ours, where its source is there: POSTILION_NOTQMAIL names
// the tree, which is copied and built with a folder of the test's own as its /var/qmail.

// notqmail is a tree of control files with notqmail's programs built for it.
type notqmail struct {
	home, bin string
}

func newNotqmail(t *testing.T, programs ...string) notqmail {
	t.Helper()
	source := os.Getenv("POSTILION_NOTQMAIL")
	if source == "" {
		t.Skip("skipped: POSTILION_NOTQMAIL names no source of notqmail")
	}
	n := notqmail{home: newFolder(t), bin: filepath.Join(newFolder(t), "source")}
	output(t, "cp", "-r", source, n.bin)
	check(t, os.WriteFile(filepath.Join(n.bin, "conf-qmail"), []byte(n.home+"\n"), 0o644),
		os.MkdirAll(filepath.Join(n.home, "control"), 0o755), os.MkdirAll(filepath.Join(n.home, "users"), 0o755))
	output(t, "make", append([]string{"-C", n.bin}, programs...)...)
	return n
}

// answer is what a program said; what differs from run to run is left out.
type answer struct {
	Code     int
	Out, Err string
}

var changing = regexp.MustCompile(`\d+ \w{3} 20\d\d \d\d:\d\d:\d\d -0000|<\d{14}\.\d+\.qmail@|anonymous-\d+\.\d+`)

func (n notqmail) run(t *testing.T, in string, env []string, name string, args ...string) answer {
	t.Helper()
	cmd := exec.Command(name, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(in), &out, &errs
	cmd.Env = append([]string{"PATH=/usr/bin:/bin", "POSTILION_QMAIL=" + n.home}, env...)
	_ = cmd.Run() // its exit code is compared
	return answer{cmd.ProcessState.ExitCode(), changing.ReplaceAllString(out.String(), "*"), changing.ReplaceAllString(errs.String(), "*")}
}

// both runs notqmail's program and ours, and compares what they said.
func (n notqmail) both(t *testing.T, in string, env []string, name string, args ...string) {
	t.Helper()
	theirs := n.run(t, in, env, filepath.Join(n.bin, name), args...)
	ours := n.run(t, in, env, tools(t), append([]string{name}, args...)...)
	if d := cmp.Diff(theirs, ours); d != "" {
		t.Errorf("%s %q %q of %q: notqmail (-), ours (+):\n%s", name, args, env, in, d)
	}
}

func TestHeadersAreRewrittenAsByNotqmail(t *testing.T) {
	t.Parallel()
	n := newNotqmail(t, "qmail-inject")
	for name, line := range map[string]string{"me": "mx.here.test", "defaulthost": "dh.test", "defaultdomain": "dd.test", "plusdomain": "pd.test", "idhost": "id.test"} {
		check(t, os.WriteFile(filepath.Join(n.home, "control", name), []byte(line+"\n"), 0o644))
	}
	headers := []string{
		"To: joe", `To: joe@a, bob@b.c, "Q Z" <q@z>, x+@y+`, "Cc: list: a, b; , c\nTo: :;", "Bcc: a@b", "From: (c) x (d) y@z", "To: a b c@d", "To: <a@b>, <@r:c@d>, <e@f",
		`To: "open`, "To: [1.2.3.4]", "To: a@[1.2.3.4]", "To: a@b.c.", "To: a@.b", "To: a..b@c", "To: a,,b", "To:", `To: "a\"b"@c`, "To: a@b\n\t, c@d", "Resent-To: a@b\nTo: x@y",
		"Resent-Date: x\nResent-Message-ID: <y>", "Return-Path: <x@y>\nTo: a", "Return-Path: <>\nTo: a", "Mail-Followup-To: a, b\nReply-To: d", "Content-Length: 5\nTo: a",
		"Sender: a, b", "X Y: z\nTo: a", "From a b c\nTo: a", "TO: a\nto: b", "no colon\nTo: a", "To: a . b @ c . d", `To: "a b" . c @ d`, `To: Joe "Q" <j>`, "To: <j> trailing",
		"To: a;b", "To: a;b;c", `To: g: a@b, "c d"@e;, h`, "Subject: only", "Cc: \xe4\xf6@x", "To: a)b, c]d", "To: a@+", "To: a@b@c", "To: @b", "To: <>", "To: a>b", "To: a:b",
		"To: " + strings.Repeat("user@host, ", 40) + "last@x", "From: <x>\nTo: <>",
	}
	for width := range 40 { // where lines are folded
		headers = append(headers, "To: "+strings.Repeat("u@"+strings.Repeat("h", width+1)+".x, ", 9)+"last@x.y")
	}
	for _, h := range headers {
		for _, args := range [][]string{{"-n"}, {"-n", "-a", "r1"}, {"-n", "-h"}, {"-n", "-f", "me@x+"}} {
			n.both(t, h+"\n\nbody", []string{"USER=us"}, "qmail-inject", args...)
		}
	}
	for _, env := range []string{"QMAILUSER=qu QMAILHOST=qh QMAILNAME=Q", "QMAILINJECT=fis", "QMAILINJECT=c QMAILNAME=N", "QMAILINJECT=m", "QMAILINJECT=r QMAILSUSER=s QMAILSHOST=sh",
		`MAILUSER=mu MAILHOST=mh MAILNAME="M"\`, "LOGNAME=lo NAME=n(m)", "QMAILDEFAULTHOST=a QMAILDEFAULTDOMAIN=b QMAILPLUSDOMAIN=c QMAILIDHOST=d"} {
		for _, h := range headers[:6] {
			n.both(t, h+"\n\nbody\n", strings.Fields(env), "qmail-inject", "-n")
		}
	}
}

func TestTablesAreCompiledAsByNotqmail(t *testing.T) {
	t.Parallel()
	n := newNotqmail(t, "qmail-newu", "qmail-newmrh")
	for _, c := range []struct{ program, source, cdb string }{
		{"qmail-newu", "users/assign", "users/cdb"}, {"qmail-newmrh", "control/morercpthosts", "control/morercpthosts.cdb"},
	} {
		for _, text := range []string{"=joe:joe:1001:1001:/home/joe:::\n+list-:ann:1002:1002:/home/ann:-:l-:\n+Caps=:ann:1:2:/h:=:x:\n.\n", "a.test\n.B.test\n# no\n\nc.test  \n"} {
			if strings.HasPrefix(text, "=") != (c.program == "qmail-newu") {
				continue
			}
			check(t, os.WriteFile(filepath.Join(n.home, c.source), []byte(text), 0o644))
			var made [2]string
			for i, argv := range [][]string{{filepath.Join(n.bin, c.program)}, {tools(t), c.program}} {
				if a := n.run(t, "", nil, argv[0], argv[1:]...); a.Code != 0 {
					t.Fatalf("%q: %+v", argv, a)
				}
				b, err := os.ReadFile(filepath.Join(n.home, c.cdb))
				check(t, err)
				made[i] = string(b)
			}
			if made[0] != made[1] {
				t.Errorf("%s: the cdb differs for %q", c.program, text)
			}
		}
	}
}
