package local_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/deliver/local"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
)

// TestInstructionsEndAsQmailLocalSays: what is reported, with K, Z or D before it, and what is
// sent on.
func TestInstructionsEndAsQmailLocalSays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		files   map[string]string
		ext     string
		report  string
		forward string
	}{
		{name: "vector 24: a forward before exit 99 is sent, lines after are not",
			files:  map[string]string{".qmail": "&a@b.test\n|exit 99\n&c@d.test\n./Mailbox\n"},
			report: "Kdid 0+1+1\n", forward: "sender@a.test > a@b.test"},
		{name: "forwards go as one message, last", files: map[string]string{".qmail": "&a@b.test\nc\n./Mailbox\n"},
			report: "Kdid 1+2+0\n", forward: "sender@a.test > a@b.test c"},
		{name: "vector 25: exit 111", files: map[string]string{".qmail": "&a@b.test\n|echo one\n|echo two; exit 111\n"}, report: "Zone\ntwo\n"},
		{name: "other exit codes are temporary", files: map[string]string{".qmail": "|exit 3\n"}, report: "Z"},
		{name: "exit 100", files: map[string]string{".qmail": "|echo no >&2; exit 100\n"}, report: "Dno\n"},
		{name: "vector 29: exit 64 without a word", files: map[string]string{".qmail": "|exit 64\n"}, report: "D"},
		{name: "killed", files: map[string]string{".qmail": "|echo x; kill -9 $$\n"}, report: "Zx\nAack, child crashed. (#4.3.0)\n"},
		{name: "NUL ends the report", files: map[string]string{".qmail": "|printf 'a\\0b'; exit 100\n"}, report: "Da"},
		{name: "vector 26: first line empty", files: map[string]string{".qmail": "\n./Mailbox\n"},
			report: "ZUh-oh: first line of .qmail file is blank. (#4.2.1)\n"},
		{name: "vector 26: only comments", files: map[string]string{".qmail": "# nothing\n"}, report: "Kdid 0+0+0\n"},
		{name: "vector 26: zero bytes", files: map[string]string{".qmail": ""}, report: "Kdid 1+0+0\n"},
		{name: "zero bytes with x bit", files: map[string]string{".qmail-x": "0700 "}, ext: "x", report: "Kdid 1+0+0\n"},
		{name: "vector 27: x bit and a file", files: map[string]string{".qmail": "0700 ./Mailbox\n"},
			report: "ZUh-oh: .qmail has file delivery but has x bit set. (#4.7.0)\n"},
		{name: "vector 27: x bit and a program", files: map[string]string{".qmail": "0700 |touch ran\n"},
			report: "ZUh-oh: .qmail has prog delivery but has x bit set. (#4.7.0)\n"},
		{name: "vector 27: +list and a program", files: map[string]string{".qmail": "+list\n&a@b.test\n|touch ran\n"},
			report: "ZUh-oh: .qmail has prog delivery but has x bit set. (#4.7.0)\n"},
		{name: "+list and forwards", files: map[string]string{".qmail": "+list\n&a@b.test\n"}, report: "Kdid 0+1+0\n", forward: "sender@a.test > a@b.test"},
		{name: "vector 28: .qmail writable", files: map[string]string{".qmail": "0602 ./Mailbox\n"}, report: "ZUh-oh: .qmail file is writable. (#4.7.0)\n"},
		{name: "no such extension", ext: "none", report: "DSorry, no mailbox here by that name. (#5.1.1)\n"},
		{name: "no Maildir", files: map[string]string{".qmail": "./Mail/\n"}, report: "ZUnable to chdir to maildir. (#4.2.1)\n"},
		{name: "no folder of an mbox", files: map[string]string{".qmail": "./none/box\n"}, report: "ZUnable to open ./none/box: file does not exist. (#4.2.1)\n"},
		{name: "an mbox that is a folder", files: map[string]string{".qmail": "./Mail\n", "Mail/": ""}, report: "ZUnable to open ./Mail: is a directory. (#4.2.1)\n"},
		{name: "a forward with a line end of another system", files: map[string]string{".qmail": "&a@b.test\r\n"},
			report: "ZUh-oh: .qmail:1 forwards to an address with a control character. (#4.2.1)\n"},
		{name: "what stands before such a forward is not carried out at each attempt", files: map[string]string{".qmail": "|touch ran\n./Mailbox\n&a@b.test\r\n"},
			report: "ZUh-oh: .qmail:3 forwards to an address with a control character. (#4.2.1)\n"},
		{name: "a forward that no queue takes", files: map[string]string{".qmail": "#\n\n&" + strings.Repeat("a", 2000) + "@b.test\n"},
			report: "ZUh-oh: .qmail:3 forwards to an address of more than 1002 bytes. (#4.2.1)\n"},
		{name: "a leading blank makes a forward", files: map[string]string{".qmail": " ./Maildir/\n"}, report: "Kdid 0+1+0\n", forward: "sender@a.test >  ./Maildir/"},
		{name: "vector 32: -owner", files: map[string]string{".qmail-list": "&a@b.test\n", ".qmail-list-owner": "&joe\n"}, ext: "list",
			report: "Kdid 0+1+0\n", forward: "joe-list-owner@mx.test > a@b.test"},
		{name: "vector 32: -owner-default", files: map[string]string{".qmail-list": "&a@b.test\n", ".qmail-list-owner": "&joe\n", ".qmail-list-owner-default": "&joe\n"}, ext: "list",
			report: "Kdid 0+1+0\n", forward: "joe-list-owner-@mx.test-@[] > a@b.test"},
		{name: "-owner-default without -owner", files: map[string]string{".qmail-list": "&a@b.test\n", ".qmail-list-owner-default": "&joe\n"}, ext: "list",
			report: "Kdid 0+1+0\n", forward: "sender@a.test > a@b.test"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHome(t, local.Options{}, c.files)
			v := h.deliver(c.ext)
			if got := said(v); got != c.report {
				t.Errorf("%q, want %q", got, c.report)
			}
			if got := forwarded(v); got != c.forward {
				t.Errorf("sent on %q, want %q", got, c.forward)
			}
			if _, err := os.Lstat(filepath.Join(h.dir, "ran")); err == nil {
				t.Error("a program ran")
			}
		})
	}
}

func TestVector23CaseAndDotsOfAnExtension(t *testing.T) {
	t.Parallel()
	h := newHome(t, local.Options{}, map[string]string{".qmail-a:b-default": "|echo $EXT $DEFAULT $EXT2 $LOCAL\n", ".qmail-default": "|exit 100\n"})
	if got := said(h.deliver("A.B-C")); got != "KA.B-C C C joe-A.B-C\ndid 0+0+1\n" {
		t.Errorf("%q", got)
	}
}

// TestVector25EarlierProgramsRunAgain: and what lies in a Maildir already is not delivered twice.
func TestVector25EarlierProgramsRunAgain(t *testing.T) {
	t.Parallel()
	h := newHome(t, local.Options{}, map[string]string{".qmail": "./Maildir/\n./Maildir/\n|echo x >>ran\n|test -e ok || exit 111\n", "Maildir/": ""})
	j := h.to("", letter)
	if v := h.Deliver(t.Context(), j)[0]; said(v) != "Z" {
		t.Errorf("%q", said(v))
	}
	h.write("ok", "")
	j.Recipients[0].Again = true
	if v := h.Deliver(t.Context(), j)[0]; said(v) != "Kdid 2+0+2\n" || !v.Replay {
		t.Errorf("%q, replay %v", said(v), v.Replay)
	}
	if got := h.read("ran"); got != "x\nx\n" {
		t.Errorf("the program ran %q", got)
	}
	if n := len(h.mails("Maildir")); n != 2 {
		t.Errorf("%d messages for two lines", n)
	}
}

func TestVector28HomesThatAreRefused(t *testing.T) {
	t.Parallel()
	for mode, want := range map[os.FileMode]string{
		0o702:                  "ZUh-oh: home directory is writable. (#4.7.0)\n",
		0o700 | os.ModeSticky:  "ZHome directory is sticky: user is editing his .qmail file. (#4.2.1)\n",
		0o1702 | os.ModeSticky: "ZUh-oh: home directory is writable. (#4.7.0)\n",
	} {
		h := newHome(t, local.Options{}, map[string]string{".qmail": "./Mailbox\n"})
		if err := os.Chmod(h.dir, mode); err != nil {
			t.Fatal(err)
		}
		if got := said(h.deliver("")); got != want {
			t.Errorf("%v: %q, want %q", mode, got, want)
		}
	}
	h := newHome(t, local.Options{}, nil)
	h.dir += "/gone"
	if got, want := said(h.deliver("")), "ZUnable to switch to "+h.dir+": file does not exist. (#4.3.0)\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestVector30AnEmptyLocalPartIsSilentlyDelivered(t *testing.T) {
	t.Parallel()
	h := newHome(t, local.Options{}, nil)
	j := h.to("", letter)
	j.Recipients[0].User.Local = ""
	if v := h.Deliver(t.Context(), j)[0]; said(v) != "K" || len(h.mails("Maildir")) != 0 {
		t.Errorf("%q", said(v))
	}
}

func TestVector31DeliveredToIsComparedByBytes(t *testing.T) {
	t.Parallel()
	h := newHome(t, local.Options{}, map[string]string{".qmail-default": "./Mailbox\n"})
	for line, want := range map[string]string{
		"Delivered-To: joe-X@mx.test":   "DThis message is looping: it already has my Delivered-To line. (#5.4.6)\n",
		"Delivered-To: Joe-X@mx.test":   "Kdid 1+0+0\n",
		"Delivered-To: joe-X@MX.test":   "Kdid 1+0+0\n",
		"Subject: x":                    "Kdid 1+0+0\n",
		"\nDelivered-To: joe-X@mx.test": "Kdid 1+0+0\n",
	} {
		if got := said(h.Deliver(t.Context(), h.to("X", line+"\n\nbody\n"))[0]); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func TestNobodyIsServedAsRootAndNobodyWithoutTheService(t *testing.T) {
	t.Parallel()
	h := newHome(t, local.Options{}, nil)
	j := h.to("", letter)
	j.Recipients[0].User.UID = 0
	if got := said(h.Deliver(t.Context(), j)[0]); got != "ZNot allowed to perform deliveries as root.\n" {
		t.Errorf("%q", got)
	}
	j.Recipients[0].User.UID, j.Recipients[0].User.Home = 1, "home"
	if got := said(h.Deliver(t.Context(), j)[0]); got != "ZThe home directory is not an absolute path. (#4.3.5)\n" {
		t.Errorf("%q", got)
	}
	w := newWorld(t, local.Options{}, accounts{}, nil)
	if got := said(w.Deliver(t.Context(), h.to("", letter))[0]); got != "ZDeliveries for users of this system are switched off. (#4.3.5)\n" {
		t.Errorf("%q", got)
	}
}

func TestProgramsGetTheMessageAndTable92(t *testing.T) {
	t.Parallel()
	h := newHome(t, local.Options{ProgramPath: "/nowhere:/usr/bin:/bin"}, map[string]string{
		".qmail-env-default": "|env >env\n|cat >first; pwd >>first\n|cat >second\n|cat /dev/stdin >third\n",
	})
	h.deliver("env-Foo.Bar-baz")
	env := map[string]bool{}
	for line := range strings.SplitSeq(h.read("env"), "\n") {
		env[line] = true
	}
	for _, want := range []string{
		"SENDER=sender@a.test", "NEWSENDER=sender@a.test", "RECIPIENT=joe-env-Foo.Bar-baz@mx.test", "USER=joe", "HOME=" + h.dir, "LOCAL=joe-env-Foo.Bar-baz",
		"HOST=mx.test", "HOST2=mx", "HOST3=mx", "HOST4=mx", "EXT=env-Foo.Bar-baz", "EXT2=Foo.Bar-baz", "EXT3=baz", "EXT4=", "DEFAULT=Foo.Bar-baz",
		"DTLINE=Delivered-To: joe-env-Foo.Bar-baz@mx.test", "RPLINE=Return-Path: <sender@a.test>", "UFLINE=From sender@a.test Sun Mar  1 12:00:00 2026",
		"PATH=/nowhere:/usr/bin:/bin",
	} {
		if !env[want] && !env[strings.Replace(want, "Mar  1", "Mar 01", 1)] {
			t.Errorf("no %q among %v", want, slices.Collect(func(yield func(string) bool) {
				for k := range env {
					if !yield(k) {
						return
					}
				}
			}))
		}
	}
	if got := h.read("first"); got != letter+h.dir+"\n" {
		t.Errorf("the first got %q", got)
	}
	for _, name := range []string{"second", "third"} {
		if got := h.read(name); got != letter {
			t.Errorf("the %s got %q", name, got)
		}
	}
}

func TestALargeMessageReachesAllOfItsReaders(t *testing.T) {
	t.Parallel()
	body := letter + strings.Repeat("x\n", 1<<20)
	h := newHome(t, local.Options{}, map[string]string{".qmail": "|cat >first\n./Mailbox\n|cat >second\n./Maildir/\n", "Maildir/": ""})
	if got := said(h.Deliver(t.Context(), h.to("", body))[0]); got != "Kdid 2+0+2\n" {
		t.Fatalf("%.200q", got)
	}
	if h.read("first") != body || h.read("second") != body || !strings.HasSuffix(h.read("Mailbox"), body+"\n") || !strings.HasSuffix(h.mails("Maildir")[0], body) {
		t.Error("the copies differ")
	}
}

func TestAReportIsBoundedAsQmailLspawnBoundsIt(t *testing.T) {
	t.Parallel()
	h := newHome(t, local.Options{}, map[string]string{".qmail": "|yes | head -c 100000; exit 100\n"})
	v := h.deliver("")
	if len(v.Text) > 3000 || !strings.HasSuffix(v.Text, "\nError report too long, sorry.\n") {
		t.Errorf("%d bytes, ends with %q", len(v.Text), v.Text[len(v.Text)-40:])
	}
	h.write(".qmail", "|echo 'No such list. (#5.7.1)'; exit 100\n")
	if v := h.deliver(""); v.Err == nil || v.Err.Enhanced != "5.7.1" {
		t.Errorf("%+v", v.Err)
	}
	if v, _ := h.deliver("").Err.Report(); v != "No such list. (#5.7.1)\n" {
		t.Errorf("%q", v)
	}
}

func TestFilesGetTheirLinesAndTheirModes(t *testing.T) {
	t.Parallel()
	h := newHome(t, local.Options{}, map[string]string{".qmail": "./Mailbox\n./Maildir/\n", "Maildir/": ""})
	h.sent = mail.Address{Local: "a b", Domain: "c.test"}
	if got := said(h.deliver("")); got != "Kdid 2+0+0\n" {
		t.Fatal(got)
	}
	lines := "Return-Path: <\"a b\"@c.test>\nDelivered-To: joe@mx.test\n" + letter
	if got := h.read("Mailbox"); got != "From a-b@c.test Sun Mar  1 12:00:00 2026\n"+lines+"\n" && got != "From a-b@c.test Sun Mar 01 12:00:00 2026\n"+lines+"\n" {
		t.Errorf("%q", got)
	}
	if got := h.mails("Maildir"); !slices.Equal(got, []string{lines}) {
		t.Errorf("%q", got)
	}
	info, err := os.Stat(filepath.Join(h.dir, "Mailbox"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the mbox: %v %v", info.Mode(), err)
	}
}

func TestPathsOutsideTheHomeAreTheUsersMatter(t *testing.T) {
	t.Parallel()
	other := t.TempDir()
	h := newHome(t, local.Options{}, map[string]string{".qmail": other + "/box\n../" + filepath.Base(other) + "-x\n/dev/null\n"})
	if got := said(h.deliver("")); got != "Kdid 3+0+0\n" {
		t.Errorf("%q", got)
	}
	for _, path := range []string{other + "/box", filepath.Join(filepath.Dir(h.dir), filepath.Base(other)+"-x")} {
		if b, err := os.ReadFile(path); err != nil || !bytes.Contains(b, []byte(letter)) {
			t.Errorf("%s: %q, %v", path, b, err)
		}
	}
}

func TestDefaultDeliveriesByTheirWords(t *testing.T) {
	t.Parallel()
	spool := t.TempDir()
	for word, want := range map[string]string{
		"":        "maildir ./Maildir/",
		"maildir": "maildir ./Maildir/", "mbox": "mbox ./Mailbox", "spool": "mbox " + spool + "/joe",
		"procmail": "program preline procmail", "maildrop": "program preline maildrop",
		"|true\nspool\n":              "program true, mbox " + spool + "/joe",
		"|true\n./Mailbox\n&a@b.test": "program true, mbox ./Mailbox, forward a@b.test",
	} {
		h := newHome(t, local.Options{DefaultDelivery: word, MailSpool: spool}, nil)
		if err := h.opts.Validate(); err != nil {
			t.Error(err)
		}
		steps, err := h.Plan(t.Context(), *h.to("", "").Recipients[0].User)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range steps[1 : len(steps)-1] {
			got = append(got, s.What)
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
		if !strings.HasPrefix(want, "program") {
			if got := said(h.deliver("")); got != "Kdid 1+0+0\n" {
				t.Errorf("%q: %q", word, got)
			}
		}
	}
	if info, err := os.Stat(spool + "/joe"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the spool: %v, %v", info, err)
	}
	for text, want := range map[string]string{
		"procmial": `would send everybody's mail to one address`,
		"\n./Box":  "first line of .qmail file is blank",
	} {
		if err := (local.Options{DefaultDelivery: text}).Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Lines that are carried out as they stand, and are not what whoever wrote them meant.
func TestAPlanTellsLinesThatDoNotDoWhatTheyLookLike(t *testing.T) {
	t.Parallel()
	h := newHome(t, local.Options{}, map[string]string{".qmail": "& joe@a.test\n&Joe <joe@a.test>\n./Box #old\n|\n&joe@a.test\n"})
	steps, err := h.Plan(t.Context(), *h.to("", "").Recipients[0].User)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range steps[1:6] {
		got = append(got, s.What+": "+s.Result)
	}
	want := []string{
		"forward  joe@a.test: has a blank or a comma in a forward: want one bare address a line",
		"forward Joe <joe@a.test>: has < or > in a forward: want the bare address",
		"mbox ./Box #old: is one file name with a blank in it, not two files",
		"program : runs an empty command, which succeeds and keeps nothing",
		"forward joe@a.test: ",
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAPlanTellsWhatWouldBeDoneAndDoesNothing(t *testing.T) {
	t.Parallel()
	h := newHome(t, local.Options{}, map[string]string{".qmail-a-default": "# x\n./Mailbox\n|touch ran\n&b@c.test\n./Maildir/\n", ".qmail-a-x-owner": "&joe\n"})
	u := h.to("a-x", "").Recipients[0].User
	steps, err := h.Plan(t.Context(), *u)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(h.dir, ".qmail-a-default")
	want := []route.Step{
		{What: "instructions", Where: file, Result: `found, DEFAULT is "x"`},
		{What: "mbox ./Mailbox", Where: file + ":2"}, {What: "program touch ran", Where: file + ":3"},
		{What: "forward b@c.test", Where: file + ":4"}, {What: "maildir ./Maildir/", Where: file + ":5"},
		{What: "did 2+1+1", Result: "forwards have the sender joe-a-x-owner@mx.test"},
	}
	if diff := gocmp.Diff(want, steps); diff != "" {
		t.Error(diff)
	}
	if err := h.Exists(t.Context(), *u); err != nil {
		t.Error(err)
	}
	u.Ext = "none"
	if err := h.Exists(t.Context(), *u); !errors.Is(err, reason.As(err)) || reason.As(err).Reason != reason.NoDotQmail.Reason {
		t.Errorf("none: %v", err)
	}
	os.Chmod(h.dir, 0o707)
	if err := h.Exists(t.Context(), *u); reason.As(err).Class != reason.Temporary {
		t.Errorf("a writable home: %v", err)
	}
	list, _ := os.ReadDir(h.dir)
	if len(list) != 2 {
		t.Errorf("something was done: %v", list)
	}
}

func TestAPlanRefusesWhatADeliveryWould(t *testing.T) {
	t.Parallel()
	h := newHome(t, local.Options{}, map[string]string{".qmail": "./Maildir/\n&a@b.test\r\n"})
	if steps, err := h.Plan(t.Context(), *h.to("", "").Recipients[0].User); err == nil || reason.As(err).Reason != reason.DotQmailBadForward.Reason {
		t.Errorf("%v, %v", steps, err)
	}
}

func TestInstructionsOfAliasesNeedNoFile(t *testing.T) {
	t.Parallel()
	h := newHome(t, local.Options{}, map[string]string{".qmail": "|exit 100\n"})
	j := h.to("", letter)
	u := j.Recipients[0].User
	u.Owner = mail.Address{Local: "owner", Domain: "mx.test"}
	u.Instructions = []route.Instruction{
		{Line: "!cat >ran", Where: "/etc/aliases:3"}, {Line: h.dir + "/box", Where: "/etc/aliases:3"}, {Line: "&a@b.test", Where: "/etc/aliases:4"},
	}
	v := h.Deliver(t.Context(), j)[0]
	if said(v) != "Kdid 1+1+1\n" || forwarded(v) != "owner@mx.test > a@b.test" {
		t.Errorf("%q, %q", said(v), forwarded(v))
	}
	if got := h.read("ran"); !strings.HasPrefix(got, "From sender@a.test ") || !strings.HasSuffix(got, "\nReturn-Path: <sender@a.test>\nDelivered-To: joe@mx.test\n"+letter) {
		t.Errorf("the program got %q", got)
	}
	if got := h.read("box"); got != h.read("ran")+"\n" {
		t.Errorf("the file got %q", got)
	}
}

func TestMailThatWentRoundIsNotSentOn(t *testing.T) {
	t.Parallel()
	h := newHome(t, local.Options{}, map[string]string{".qmail": "&a@b.test\n"})
	for n, want := range map[int]string{100: "Kdid 0+1+0\n", 101: "DToo"} {
		if got := said(h.Deliver(t.Context(), h.to("", strings.Repeat("Received: x\n", n)+"\n"))[0]); !strings.HasPrefix(strings.ToLower(got), strings.ToLower(want)) {
			t.Errorf("%d hops: %q", n, got)
		}
	}
}

func TestAProgramEndsWithItsContext(t *testing.T) {
	t.Parallel()
	h := newHome(t, local.Options{}, map[string]string{".qmail": "|exec sleep 100\n"})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if v := h.Deliver(ctx, h.to("", letter))[0]; v.Err == nil || v.Err.Class != reason.Temporary {
		t.Errorf("%q", said(v))
	}
}

// TestTroubleWithTheMessageIsNotTheFiles: a body that cannot be read defers with its own words.
func TestTroubleWithTheMessageIsNotTheFiles(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"./Mailbox", "./Maildir/", "|cat"} {
		h := newHome(t, local.Options{}, map[string]string{".qmail": line + "\n", "Maildir/": ""})
		j := h.to("", letter)
		opened := 0
		j.Body = func() (io.ReadCloser, error) {
			if opened++; opened == 1 {
				return seekable{strings.NewReader(letter)}, nil
			}
			return nil, syscall.EIO
		}
		if got := said(h.Deliver(t.Context(), j)[0]); got != "ZUnable to read message. (#4.3.0)\n" {
			t.Errorf("%s: %q", line, got)
		}
	}
}
