package ezmlm_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// olderFolders are lists as other versions of ezmlm left them, with two subscribers, twelve messages
// sent and the twelfth in the archive.
var olderFolders = map[string]map[string]string{
	// ezmlm 0.53 on a 32-bit system: addresses within texts and fields, no settings of ezmlm-idx.
	"ezmlm 0.53": {
		"inlocal": "joe-joe-lst", "inhost": "mx.test", "mailinglist": "contact joe-lst-help@mx.test; run by ezmlm\n", "public": "", "archived": "",
		"headeradd": "X-No-Archive: yes\nPrecedence: bulk\n", "headerremove": "return-path\nreturn-receipt-to\ncontent-length\nprecedence\n",
		"num": "12\n", "subscribers/S": "Tjoe@mx.test\x00", "subscribers/k": "Tbad@far.test\x00",
		"text/sub-confirm": "To confirm, answer to\n\n!R\n\nfor\n\n!A\n", "text/top": "Hi! This is the ezmlm program.\n",
	},
	// ezmlm-idx 0.40 on a 64-bit system: an index without authors before it was updated, config with flags.
	"ezmlm-idx 0.40": {
		"config": "F:-aBCDeFGHIJKLMNOpqRSTUVWXYZ\nX:\nD:/anywhere\nL:joe-lst\nH:mx.test\n", "public": "", "archived": "", "indexed": "",
		"headeradd": "Precedence: bulk\n", "headerremove": "return-path\nprecedence\n", "num": "12:345\n",
		"subscribers/r": "Tjoe@mx.test\x00", "subscribers/n": "Tbad@far.test\x00",
		"archive/0/index": "11 aaaaaaaaaaaaaaaaaaaa An old one\n12: bbbbbbbbbbbbbbbbbbbb Newer\n\t1 Jan 2001 00:00:00 -0000;cccccccccccccccccccc joe.mx.test\n",
	},
	// ezmlm-idx 7 where the settings of all lists stand behind the list's own.
	"ezmlm-idx 7": {
		"flags": "apU", "ezmlmrc": "/nowhere/lang\n", "archived": "", "indexed": "", "num": "12:345\n", "charset": "utf-8",
		"subscribers/r": "TJoe@mx.test\x00", "subscribers/n": "Tbad@far.test\x00", "listid": "<lst.mx.test>\n",
	},
}

// Lists of other versions go on where they were: subscribers are found and removed, posts get the next
// number, answers come with the list's own texts, bounces and the archive are read.
func TestFoldersOfOtherVersionsAreServedAsTheyAre(t *testing.T) {
	t.Parallel()
	for version, files := range olderFolders {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			l := &listTest{t: t, dir: t.TempDir(), now: start}
			for _, dir := range []string{"archive/0", "bounce", "text", "subscribers", "deny/subscribers"} {
				if err := os.MkdirAll(filepath.Join(l.dir, dir), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for name, text := range files {
				if name == "ezmlmrc" {
					text = l.dir + "\n"
				}
				l.write(name, text)
			}
			for name, text := range map[string]string{"key": "\x01\x02binary\xff", "outlocal": "joe-lst\n", "outhost": "mx.test\n", "lock": "", "lockbounce": "", "Log": "900000000 + joe@mx.test\n"} {
				l.write(name, text)
			}
			l.write("archive/0/12", "Return-Path: <joe@mx.test>\nSubject: Newer\n\nThe twelfth.\n")
			if err := os.Chmod(l.dir+"/archive/0/12", 0o744); err != nil {
				t.Fatal(err)
			}
			l.checkOlder()
		})
	}
}

func (l *listTest) checkOlder() {
	t := l.t
	t.Helper()
	for _, args := range [][]string{{l.dir}, {l.dir, l.dir}, {l.dir, "."}, {l.dir, l.dir + "/"}} {
		l.want(l.run("ezmlm-issubn", "", []string{"SENDER=JOE@mx.test"}, args...), 0, "")
	}
	l.want(l.run("ezmlm-issubn", "", []string{"SENDER=joe@mx.test"}, "-n", l.dir, l.dir+"/deny"), 0, "")
	l.want(l.run("ezmlm-issubn", "", []string{"SENDER=joe@mx.test"}, l.dir, "/elsewhere"), 100, "outside of the list's folder")
	l.want(l.run("ezmlm-send", post("joe@mx.test", "Next"), []string{"SENDER=joe@mx.test"}, l.dir), 0, "")
	if got := l.sent(); got.From != "joe-lst-return-13-@mx.test-@[]" || len(got.To) != 2 || field(got.Content, "Mailing-List") != "contact joe-lst-help@mx.test; run by ezmlm" {
		t.Errorf("%+v", got)
	}
	l.want(l.mail("ezmlm-manage", "new@far.test", "subscribe", request), 0, "")
	ask := l.sent()
	l.want(l.mail("ezmlm-manage", "new@far.test", action(field(ask.Content, "Reply-To")), request), 0, "")
	l.sent()
	l.want(l.mail("ezmlm-manage", "joe@mx.test", "get.12", request), 0, "")
	if got := l.sent(); !strings.Contains(got.Content, "The twelfth.") {
		t.Errorf("%+v", got)
	}
	l.want(l.run("ezmlm-return", "Subject: no\n\n", []string{"SENDER=", "DEFAULT=13-bad=far.test"}, l.dir), 99, "")
	if files, err := filepath.Glob(l.dir + "/bounce/d/*/d*"); err != nil || len(files) != 1 {
		t.Errorf("%q, %v", files, err)
	}
	l.now = l.now.Add(12 * 24 * time.Hour)
	l.want(l.run("ezmlm-warn", "", nil, l.dir), 0, "")
	if got := l.sent(); !strings.Contains(got.Content, "\n   13\n") {
		t.Errorf("%+v", got)
	}
	l.want(l.run("ezmlm-clean", "", nil, l.dir), 0, "")
	l.want(l.run("ezmlm-unsub", "", nil, l.dir, "bad@far.test"), 0, "")
	if got := strings.Fields(strings.ToLower(l.members())); len(got) != 2 || strings.Contains(strings.Join(got, " "), "bad@") {
		t.Errorf("%q", got)
	}
	if _, err := os.Stat(l.dir + "/indexed"); err == nil {
		l.want(l.mail("ezmlm-get", "joe@mx.test", "index", request), 99, "")
		if got := l.sent(); !strings.Contains(got.Content, "13: Next\n\t21 Nov 2026 19:55:00 -0000 joe.mx.test\n") {
			t.Errorf("%+v", got)
		}
	}
}

// What ezmlm-make writes is what a shell can read, whatever the folder is called.
func TestInstructionsAreReadByTheShell(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	l := &listTest{t: t, dir: home + "/a $(list) \"of mine", now: start}
	l.want(l.run("ezmlm-make", "", nil, "-dmuy", l.dir, home+"/.qmail-lst", "joe-lst", "mx.test"), 0, "")
	for _, name := range []string{"editor", "manager", "bouncer", "digest/bouncer", "moderator", "confirmer"} {
		for line := range strings.Lines(l.file(name)) {
			command, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "|")
			if !ok || strings.Count(command, "'"+l.dir) == 0 && !strings.HasSuffix(command, "ezmlm-weed") {
				t.Errorf("%s: %s", name, line)
			}
			if out, err := exec.Command("/bin/sh", "-nc", command).CombinedOutput(); err != nil {
				t.Errorf("%s: %s: %s", name, line, out)
			}
		}
	}
}
