package injection

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/inject"
	"github.com/postilion/postilion/internal/tools/tool"
)

// header is what is added to a message of joe's.
var pid = os.Getpid()

func added() string {
	return fmt.Sprintf("Date: 21 Nov 2026 19:34:36 -0000\nMessage-ID: <20261121193436.%d.qmail@mx.test>\n", pid)
}

func TestInjectTakesRecipientsAsItsOptionsSay(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args []string
		to   string
	}{
		{nil, "bob@mx.test hid@mx.test"},
		{[]string{"x", "y z@q"}, "x@mx.test y z@q.mx.test"},
		{[]string{"-a", "x"}, "x@mx.test"},
		{[]string{"-a"}, ""},
		{[]string{"-h", "x"}, "bob@mx.test hid@mx.test"},
		{[]string{"-H", "x"}, "x@mx.test bob@mx.test hid@mx.test"},
		{[]string{"-A", "--", "-x"}, "-x@mx.test"},
	} {
		w := newWorld(t)
		if code := w.run("To: bob\nBcc: hid\n\nbody\r\nmore\r\n", append([]string{"qmail-inject"}, tt.args...)...); code != 0 {
			t.Fatalf("%v: exit %d: %s", tt.args, code, w.errs.String())
		}
		l := w.one()
		if got := strings.Join(l.to, " "); got != tt.to || l.from != "joe@mx.test" {
			t.Errorf("%v: to %q from %q", tt.args, got, l.from)
		}
		if want := added() + "From: joe@mx.test\nTo: bob@mx.test\n\nbody\nmore\n"; l.content != want {
			t.Errorf("%q, want %q", l.content, want)
		}
	}
}

func TestInjectFindsTheSender(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args []string
		env  []string
		head string
		want string
	}{
		{nil, nil, "", "joe@mx.test"},
		{[]string{"-fme@x"}, nil, "Return-Path: <other@y>\n", "me@x.mx.test"},
		{[]string{"-f", ""}, nil, "", ""},
		{nil, nil, "Return-Path: <other@y.z>\nReturn-Path: <second@y.z>\n", "other@y.z"},
		{nil, []string{"QMAILINJECT=s"}, "Return-Path: <other@y.z>\n", "joe@mx.test"},
		{nil, []string{"QMAILSUSER=su", "QMAILSHOST=sh.test", "QMAILUSER=u"}, "", "su@sh.test"},
		{nil, []string{"QMAILINJECT=r"}, "", "joe-@mx.test-@[]"},
		{nil, []string{"QMAILINJECT=m"}, "", fmt.Sprintf("joe-%d.%d@mx.test", noon.Unix(), pid)},
		{nil, []string{"USER=", "LOGNAME=log"}, "", "anonymous@mx.test"},
		{nil, []string{"MAILUSER=mu", "MAILHOST=mh.test"}, "", "mu@mh.test"},
		{nil, []string{"QMAILDEFAULTHOST=dh+", "QMAILPLUSDOMAIN=pd.test"}, "", "joe@dh.pd.test"},
	} {
		w := newWorld(t)
		w.env = append(w.env, tt.env...)
		if code := w.run(tt.head+"To: bob@x.y\n\n", append([]string{"qmail-inject"}, tt.args...)...); code != 0 {
			t.Fatalf("exit %d: %s", code, w.errs.String())
		}
		if got := w.one().from; got != tt.want {
			t.Errorf("%v %v: %q, want %q", tt.args, tt.env, got, tt.want)
		}
	}
}

func TestInjectPrints(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env = append(w.env, `NAME=Joe "D" O`, "QMAILINJECT=r")
	if code := w.run("To: bob\n", "qmail-inject", "-n"); code != 0 {
		t.Fatal(w.errs.String())
	}
	want := "Return-Path: <\"joe-@mx.test-\"@[]>\n" + added() + "From: \"Joe \\\"D\\\" O\" <joe@mx.test>\nTo: bob@mx.test\n\n"
	if d := cmp.Diff(want, w.out.String()); d != "" || len(w.server.letters) > 0 {
		t.Error(d)
	}
}

func TestInjectReadsControlFilesAndLists(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, text := range map[string]string{"defaulthost": "dh", "defaultdomain": "dd.test ", "plusdomain": "pd.test", "idhost": "id.test"} {
		w.write("control/"+name, text+"\nsecond line\n")
	}
	w.env = append(w.env, "QMAILMFTFILE="+w.write("lists", "# lists\nlist@x.y\n"))
	if code := w.run("To: a, b@c+, list@X.y\n\n", "qmail-inject"); code != 0 {
		t.Fatal(w.errs.String())
	}
	want := strings.Replace(added(), "mx.test", "id.test", 1) + "From: joe@dh.dd.test\nMail-Followup-To: a@dh.dd.test,\n  b@c.pd.test,\n  list@X.y\nTo: a@dh.dd.test, b@c.pd.test, list@X.y\n\n"
	if d := cmp.Diff(want, w.one().content); d != "" {
		t.Error(d)
	}
}

func TestWithoutQmailTheServerTellsTheNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	os.RemoveAll(filepath.Join(w.dir, "control"))
	if code := w.run("To: bob\n\n", "qmail-inject"); code != 0 || w.one().to[0] != "bob@mx.test" {
		t.Error(code, w.errs.String())
	}
}

func TestWhatProgramsSayWhenNothingWasQueued(t *testing.T) {
	t.Parallel()
	refused := inject.Answer{Code: 552, Enhanced: "5.3.4", Text: "message is too large"}
	busy := inject.Answer{Code: 451, Enhanced: "4.3.2", Text: "too busy"}
	for _, tt := range []struct {
		name   string
		args   []string
		stdin  string
		answer inject.Answer
		down   bool
		code   int
		errs   string
	}{
		{"an unknown option", []string{"qmail-inject", "-x"}, "", inject.Answer{}, false, 100, "qmail-inject: usage: qmail-inject [ -nNaAhH ] [ -f sender ] [ recip ... ]\n"},
		{"an author that cannot be parsed", []string{"qmail-inject"}, "From: (a\nTo: c\n", inject.Answer{}, false, 100, "qmail-inject: fatal: unable to parse this line:\nFrom: (a\n"},
		{"an argument that is no address", []string{"qmail-inject", "a@b )"}, "", inject.Answer{}, false, 100, "qmail-inject: fatal: unable to parse address: a@b )\n"},
		{"refused for good", []string{"qmail-inject", "a"}, "", refused, false, 100, "qmail-inject: fatal: message is too large (#5.3.4)\n"},
		{"refused for now", []string{"qmail-inject", "a"}, "", busy, false, 111, "qmail-inject: fatal: too busy (#4.3.2)\n"},
		{"no server", []string{"qmail-inject", "a"}, "", inject.Answer{}, true, 111, "qmail-inject: fatal: connection to mail server rejected (#4.4.1): the mail server is not running: nobody listens on SOCKET\n"},
		{"sendmail, no server", []string{"sendmail", "a"}, "", inject.Answer{}, true, 75, "sendmail: fatal: connection to mail server rejected (#4.4.1): the mail server is not running: nobody listens on SOCKET\n"},
		{"sendmail, refused", []string{"sendmail", "a"}, "", refused, false, 69, "sendmail: fatal: message is too large (#5.3.4)\n"},
		{"sendmail, nobody", []string{"sendmail"}, "", inject.Answer{}, false, 64, "sendmail: fatal: Recipient names must be specified\n"},
		{"sendmail, an empty argument", []string{"sendmail", ""}, "x\n", inject.Answer{}, false, 64, "sendmail: fatal: Recipient names must be specified\n"},
		{"sendmail, nobody in the header", []string{"sendmail", "-t"}, "Subject: x\nTo: (nobody\n\nx\n", inject.Answer{}, false, 64, "sendmail: fatal: No recipient addresses found in header\n"},
		{"sendmail, an unknown flag", []string{"sendmail", "-tZ"}, "", inject.Answer{}, false, 64, "sendmail: fatal: there is no option -Z\n"},
		{"sendmail, an unknown mode", []string{"sendmail", "-bz"}, "", inject.Answer{}, false, 64, "sendmail: fatal: option -b: there is no mode z\n"},
		{"sendmail as a server", []string{"sendmail", "-bd", "-q30m"}, "", inject.Answer{}, false, 64, "sendmail: fatal: this program is no server: run `postilion serve`\n"},
		{"sendmail, bad DSN", []string{"sendmail", "-N", "often", "a"}, "", inject.Answer{}, false, 64, "sendmail: fatal: option -N: want never, or some of success, failure and delay\n"},
		{"sendmail, a broken header", []string{"sendmail", "-t"}, "From: (a\n", inject.Answer{}, false, 65, "sendmail: fatal: unable to parse this line:\nFrom: (a\n"},
		{"mailq, not allowed", []string{"mailq"}, "", inject.Answer{Code: 510, Text: "You are not permitted to see the queue"}, false, 100, "mailq: fatal: You are not permitted to see the queue\n"},
		{"mailq, not allowed, sendmail's", []string{"sendmail", "-bp"}, "", inject.Answer{Code: 510, Text: "You are not permitted to see the queue"}, false, 77, "510 You are not permitted to see the queue\n"},
		{"condredirect without its variables, when nothing is sent on", []string{"condredirect", "a", "false"}, "", inject.Answer{}, false, 0, ""},
		{"forward without its variables", []string{"forward", "a"}, "", inject.Answer{}, false, 100, "forward: fatal: NEWSENDER not set\n"},
		{"new-inject, refused", []string{"new-inject", "a"}, "", refused, false, 100, "new-inject: fatal: message is too large (#5.3.4)\n"},
		{"bouncesaying alone", []string{"bouncesaying"}, "", inject.Answer{}, false, 100, "bouncesaying: usage: bouncesaying error [ program [ arg ... ] ]\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.server.answer = tt.answer
			if tt.down {
				w.socket += ".none"
				w.env = append(w.env, "POSTILION_INJECT="+w.socket)
			}
			code := w.run(tt.stdin, tt.args...)
			if got := strings.ReplaceAll(w.errs.String(), w.socket, "SOCKET"); code != tt.code || got != tt.errs {
				t.Errorf("exit %d, %q; want %d, %q", code, got, tt.code, tt.errs)
			}
		})
	}
}

func TestQmailQueueSpeaksItsProtocol(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1003)
	for _, tt := range []struct {
		name, envelope string
		answer         inject.Answer
		code           int
	}{
		{"taken", "Fa@b\x00Tc@d\x00Te@f\x00\x00behind", inject.Answer{Code: 250}, 0},
		{"nobody", "F\x00\x00", inject.Answer{Code: 250}, 0},
		{"cut short", "Fa@b\x00Tc@d\x00", inject.Answer{}, 54},
		{"empty", "", inject.Answer{}, 54},
		{"no F", "Ta@b\x00\x00", inject.Answer{}, 91},
		{"no T", "Fa@b\x00Xc@d\x00\x00", inject.Answer{}, 91},
		{"an address too long", "Fa@b\x00T" + long + "\x00\x00", inject.Answer{}, 11},
		{"refused", "Fa@b\x00Tc@d\x00\x00", inject.Answer{Code: 554}, 31},
		{"refused for now", "Fa@b\x00Tc@d\x00\x00", inject.Answer{Code: 451}, 71},
		{"no room", "Fa@b\x00Tc@d\x00\x00", inject.Answer{Code: 452}, 53},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.server.answer = tt.answer
			list, err := os.Open(w.write("envelope", tt.envelope))
			if err != nil {
				t.Fatal(err)
			}
			defer list.Close()
			w.fd = func(n int) *os.File { return map[int]*os.File{1: list}[n] }
			content := "Subject: x\r\n\n" + strings.Repeat("all bytes \x00\xff\r\n", 150_000) // over what is kept in memory
			if code := w.run(content, "qmail-queue"); code != tt.code {
				t.Errorf("exit %d, want %d: %s", code, tt.code, w.errs.String())
			}
			if tt.name == "taken" {
				if l := w.one(); l.content != content || l.from != "a@b" || strings.Join(l.to, " ") != "c@d e@f" {
					t.Errorf("%q %q, content %v", l.from, l.to, l.content == content)
				}
			}
		})
	}
}

func TestQmailQueueWithoutAServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	list, err := os.Open(w.write("envelope", "Fa@b\x00Tc@d\x00\x00"))
	if err != nil {
		t.Fatal(err)
	}
	defer list.Close()
	w.fd = func(int) *os.File { return list }
	w.env = append(w.env, "POSTILION_INJECT=/nonexistent/s")
	if code := w.run("x\n", "qmail-queue"); code != 73 || w.errs.String() != "qmail-queue: fatal: the mail server is not running: nobody listens on /nonexistent/s\n" {
		t.Errorf("exit %d: %s", code, w.errs.String())
	}
}

func TestQMAILQUEUEReplacesTheServer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		script string
		code   int
		errs   string
	}{
		{"cat >$OUT; tr '\\0' '!' <&1 >>$OUT; exit 0", 0, ""},
		{"exit 31", 100, "qmail-inject: fatal: mail server permanently rejected message (#5.3.0)"},
		{"exit 71", 111, "qmail-inject: fatal: mail server temporarily rejected message (#4.3.0)"},
		{"printf 'Dgo away' >&6; exit 82", 100, "qmail-inject: fatal: go away"},
		{"kill -9 $$", 111, "qmail-inject: fatal: qq crashed (#4.3.0)"},
	} {
		w := newWorld(t)
		w.write("bin/filter", "#!/bin/sh\n"+tt.script+"\n")
		w.env = append(w.env, "QMAILQUEUE=bin/filter", "OUT="+w.dir+"/out")
		code := w.run("From: a@b.c\nTo: c@d.e\n\nbody", "qmail-inject")
		if code != tt.code || !strings.HasPrefix(w.errs.String(), tt.errs) || len(w.server.letters) > 0 {
			t.Errorf("%s: exit %d: %s", tt.script, code, w.errs.String())
		}
		if tt.code == 0 {
			p, _ := os.ReadFile(w.dir + "/out")
			if want := added() + "From: a@b.c\nTo: c@d.e\n\nbody\nFjoe@mx.test!Tc@d.e!!"; string(p) != want {
				t.Errorf("%q, want %q", p, want)
			}
		}
	}
}

// What no delivery has looked at yet is local or remote by the control files.
func TestQreadTellsByTheControlFilesWhatIsNotRoutedYet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("control/locals", "Here.test\n# no\n")
	w.write("control/virtualdomains", "virt.test:joe-v\n.wild.test:ann\nout.wild.test:\njoe@one.test:joe\n")
	here := localByControl(&tool.Env{Environ: w.env})
	for address, want := range map[string]bool{
		"joe@here.test": true, "joe@HERE.test": true, "joe": true, "joe@mx.test": false, "a@virt.test": true, "a@x.virt.test": false, "a@b.wild.test": true,
		"a@b.c.wild.test": true, "a@wild.test": false, "a@out.wild.test": false, "Joe@one.test": true, "ann@one.test": false, "a@far.test": false, "a@": false, "@": false,
	} {
		if got := here(address); got != want {
			t.Errorf("%s: local %v, want %v", address, got, want)
		}
	}
}

func TestQreadKnowsTheChannelOfWhatIsFinished(t *testing.T) {
	t.Parallel()
	here := func(address string) bool { return address == "joe@here.test" }
	for _, tt := range []struct {
		r    Awaited
		want string
	}{
		{Awaited{To: "joe@accounts.test", State: "delivered"}, "local"},
		{Awaited{To: "joe@accounts.test", State: "done"}, "local"},
		{Awaited{To: "x@far.test", State: "delivered", Host: "mx.far.test [192.0.2.1]"}, "remote"},
		{Awaited{To: "joe@here.test", State: "failed", Host: "hub.test [192.0.2.1]", Status: "5.1.1"}, "remote"},
		{Awaited{To: "nobody@accounts.test", State: "failed", Status: "5.1.1"}, "local"},
		{Awaited{To: "x@nowhere.test", State: "failed", Status: "5.1.2"}, "remote"},
		{Awaited{To: "x@nowhere.test", State: "failed", Status: "5.4.4"}, "remote"},
		{Awaited{To: "x@nomail.test", State: "failed", Status: "5.1.10"}, "remote"},
		{Awaited{To: "joe@here.test", State: "waiting"}, "local"},
		{Awaited{To: "x@far.test", State: "waiting"}, "remote"},
		{Awaited{To: "x@far.test", State: "waiting", Dest: "far.test"}, "remote"},
		{Awaited{To: "x@far.test", State: "running", Dest: "user 7"}, "local"},
	} {
		if got := tt.r.channel(here); got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.r, got, tt.want)
		}
	}
}

func TestTheQueueIsListedInBothForms(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"mailq"}, "21 Nov 2026 19:26:00 GMT  #1882517150833004763  6  <a@mx.test> \n\tremote\tx@[127.0.0.2]\n  done\tlocal\tdone@b.c\n" +
			"21 Nov 2026 19:27:00 GMT  #1882517151208220106  12345  <> \n\tremote\tb_@c.d\n"},
		{[]string{"sendmail", "-bp"}, "\t\tdefault (1 request)\n-----Q-ID----- --Size-- -----Q-Time----- ------------Sender/Recipient-----------\n" +
			"06h01dfynw000016wm4b72tgvc        6 Sat Nov 21 14:26 a@mx.test\n                 (Deferred: Connection refused)\n\t\t\t\t\t x@[127.0.0.2]\n" +
			"\t\tbulk (1 request)\n-----Q-ID----- --Size-- -----Q-Time----- ------------Sender/Recipient-----------\n" +
			"06h01dg02m0013gk444fky55s8*   12345 Sat Nov 21 14:27 \n\t\t\t\t\t b @c.d\n\t\tTotal requests: 2\n"},
		{[]string{"mailq", "-qRx@"}, "\t\tdefault (1 request)\n-----Q-ID----- --Size-- -----Q-Time----- ------------Sender/Recipient-----------\n" +
			"06h01dfynw000016wm4b72tgvc        6 Sat Nov 21 14:26 a@mx.test\n                 (Deferred: Connection refused)\n\t\t\t\t\t x@[127.0.0.2]\n\t\tTotal requests: 1\n"},
		{[]string{"mailq", "-q!I06h", "--sendmail"}, "the queue is empty\n\t\tTotal requests: 0\n"},
		{[]string{"mailq", "-v", "-qSa@"}, "\t\tdefault (1 request)\n-----Q-ID----- --Size-- -Priority- ---Q-Time--- --------Sender/Recipient--------\n" +
			"06h01dfynw000016wm4b72tgvc        6          0 Nov 21 14:26 a@mx.test\n\t\t\t\t\t x@[127.0.0.2]\n\t\t (Deferred: Connection refused)\n\t\tTotal requests: 1\n"},
	} {
		w := newWorld(t)
		w.server.output = listing
		if code := w.run("", tt.args...); code != 0 {
			t.Errorf("%v: exit %d: %s", tt.args, code, w.errs.String())
		}
		if d := cmp.Diff(tt.want, w.out.String()); d != "" {
			t.Errorf("%v: %s", tt.args, d)
		}
	}
}

// Vectors 53 and 54: X for what is only queued while the load is high, and in the verbose form + for
// what its sender was warned of.
func TestVectors53And54FlagsOfTheListing(t *testing.T) {
	t.Parallel()
	const listing = `{"id":"06h01dfynw000016wm4b72tgvc","from":"a@mx.test","accepted":"2026-11-21T19:26:00Z","size":6,"queue_only":true,"recipients":[{"to":"x@[127.0.0.2]","state":"waiting","delayed":true}]}
`
	for arg, want := range map[string]string{
		"-bp": "06h01dfynw000016wm4b72tgvcX       6 Sat Nov 21 14:26 a@mx.test\n",
		"-v":  "06h01dfynw000016wm4b72tgvcX       6          0+Nov 21 14:26 a@mx.test\n",
	} {
		w := newWorld(t)
		w.server.output = listing
		if code := w.run("", "sendmail", "-bp", arg); code != 0 || !strings.Contains(w.out.String(), want) {
			t.Errorf("%s: exit %d: %q, want %q", arg, code, w.out.String(), want)
		}
	}
}

func TestDeliveriesSendOnOrAnswer(t *testing.T) {
	t.Parallel()
	vars := []string{"NEWSENDER=new@s.test", "SENDER=old@s.test", "DTLINE=Delivered-To: joe@mx.test\n"}
	for _, tt := range []struct {
		args      []string
		code      int
		sent      string // sender and recipients
		out, errs string
	}{
		{[]string{"forward", "a@b", "c"}, 0, "new@s.test: a@b c", "", fmt.Sprintf("forward: qp %d\n", pid)},
		{[]string{"condredirect", "a@b", "true"}, 99, "old@s.test: a@b", "", fmt.Sprintf("condredirect: qp %d\n", pid)},
		{[]string{"condredirect", "a@b", "false"}, 0, "", "", ""},
		{[]string{"condredirect", "a@b", "sh", "-c", "exit 111"}, 111, "", "", "condredirect: fatal: temporary child error\n"},
		{[]string{"condredirect", "a@b", "grep", "-q", "Subject: x"}, 99, "old@s.test: a@b", "", fmt.Sprintf("condredirect: qp %d\n", pid)},
		{[]string{"condredirect", "a@b", "/nonexistent"}, 0, "", "", "condredirect: warning: unable to run /nonexistent: file does not exist\n"},
		{[]string{"except", "/nonexistent"}, 0, "", "", "except: warning: unable to run /nonexistent: file does not exist\n"},
		{[]string{"bouncesaying", "No such list."}, 100, "", "", "No such list.\n"},
		{[]string{"bouncesaying", "No.", "true"}, 100, "", "", "No.\n"},
		{[]string{"bouncesaying", "No.", "false"}, 0, "", "", ""},
		{[]string{"bouncesaying", "No.", "sh", "-c", "exit 111"}, 111, "", "", "bouncesaying: fatal: temporary child error\n"},
		{[]string{"bouncesaying", "No.", "sh", "-c", "kill -9 $$"}, 111, "", "", "bouncesaying: fatal: child crashed\n"},
		{[]string{"except", "true"}, 100, "", "", ""},
		{[]string{"except", "false"}, 0, "", "", ""},
		{[]string{"except", "sh", "-c", "exit 111"}, 111, "", "", "except: fatal: temporary child error\n"},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.env = append(w.env, vars...)
			if code := w.run("Subject: x\n\nbody\n", tt.args...); code != tt.code {
				t.Errorf("exit %d: %s", code, w.errs.String())
			}
			if w.out.String() != tt.out || w.errs.String() != tt.errs {
				t.Errorf("%q %q", w.out.String(), w.errs.String())
			}
			if tt.sent == "" {
				if len(w.server.letters) > 0 {
					t.Error("something was sent")
				}
				return
			}
			l := w.one()
			if got := l.from + ": " + strings.Join(l.to, " "); got != tt.sent || !strings.HasPrefix(l.content, "Delivered-To: joe@mx.test\n") {
				t.Errorf("%q %q", got, l.content)
			}
		})
	}
}

const testHead = "ADDRESS TEST MODE (ruleset 3 NOT automatically invoked)\nEnter <ruleset> <address>\n"

func TestReceiptsAreSentWhereTheyAreAskedFor(t *testing.T) {
	t.Parallel()
	message := "Return-Path: <joe@s.test>\nNotice-Requested-Upon-Delivery-To: x@y, Me@h.test\nMessage-ID: <1@s>\n\nbody\n"
	w := newWorld(t)
	if code := w.run(message, "qreceipt", "me@h.test"); code != 0 {
		t.Fatal(w.errs.String())
	}
	l := w.one()
	if l.from != "" || strings.Join(l.to, " ") != "joe@s.test" || !strings.HasPrefix(l.content, "From: DELIVERY NOTICE SYSTEM <joe@s.test>\nTo: <joe@s.test>\nSubject: success notice\n\n") ||
		!strings.Contains(l.content, "me@h.test") || !strings.HasSuffix(l.content, "Your Message-ID: <1@s>\n") {
		t.Errorf("%+v", l)
	}
	for _, silent := range []string{strings.Replace(message, "joe@s.test", "", 1), strings.Replace(message, "Me@h", "other@h", 1), strings.Replace(message, "Return-Path", "X", 1), strings.Replace(message, "<joe@s.test>", "<#@[]>", 1)} {
		w := newWorld(t)
		if code := w.run(silent, "qreceipt", "me@h.test"); code != 0 || len(w.server.letters) > 0 {
			t.Errorf("%q: exit %d, %d letters", silent, code, len(w.server.letters))
		}
	}
}

func TestReceiptsGoToTheEnvelopesSenderInADelivery(t *testing.T) {
	t.Parallel()
	message := "Notice-Requested-Upon-Delivery-To: me@h.test\nMessage-ID: <1@s>\n\nbody\n"
	w := newWorld(t)
	w.env = append(w.env, "SENDER=joe@s.test") // "|qreceipt me@h.test" in a .qmail file: no Return-Path field is there
	if code := w.run(message, "qreceipt", "me@h.test"); code != 0 {
		t.Fatal(w.errs.String())
	}
	if l := w.one(); l.from != "" || strings.Join(l.to, " ") != "joe@s.test" || !strings.HasPrefix(l.content, "From: DELIVERY NOTICE SYSTEM <joe@s.test>\nTo: <joe@s.test>\n") {
		t.Errorf("%+v", l)
	}
	for _, sender := range []string{"", "#@[]"} {
		w := newWorld(t)
		w.env = append(w.env, "SENDER="+sender)
		if code := w.run("Return-Path: <joe@s.test>\n"+message, "qreceipt", "me@h.test"); code != 0 || len(w.server.letters) > 0 {
			t.Errorf("%q: exit %d, %d letters", sender, code, len(w.server.letters))
		}
	}
}

func TestSubjectsAndDatesArePutBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if code := w.run("the body\n", "mailsubj", "Hello\nyou", "bob", "eve@x.y"); code != 0 {
		t.Fatal(w.errs.String())
	}
	if l := w.one(); strings.Join(l.to, " ") != "bob@mx.test eve@x.y" || !strings.HasSuffix(l.content, "Subject: Hello you\nTo: bob@mx.test, eve@x.y\n\nthe body\n") {
		t.Errorf("%+v", l)
	}
	w = newWorld(t)
	if code := w.run("To: bob\n\nx\n", "datemail", "-t"); code != 0 || !strings.HasSuffix(w.one().content, "Date: 21 Nov 2026 14:34:36 -0500\nTo: bob@mx.test\n\nx\n") {
		t.Error(code, w.errs.String(), w.one().content)
	}
	w = newWorld(t)
	if code := w.run("x\n", "predate", "cat"); code != 0 || w.out.String() != "Date: 21 Nov 2026 14:34:36 -0500\nx\n" {
		t.Error(code, w.out.String())
	}
	if code := w.run("x\n", "predate", "sh", "-c", "exit 7"); code != 7 {
		t.Error(code)
	}
}

func TestAliasesAreCheckedAndCompiled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env = append(w.env, "POSTILION_ROOT="+w.dir)
	w.write("etc/aliases", "root: joe\n")
	if code := w.run("", "newaliases"); code != 0 || !regexp.MustCompile(`^.*/etc/aliases: 1 aliases, longest \d+ bytes, \d+ bytes total\n$`).MatchString(w.out.String()) {
		t.Errorf("exit %d: %q %q", code, w.out.String(), w.errs.String())
	}
	if _, err := os.Stat(w.dir + "/etc/aliases.cdb"); err != nil {
		t.Error(err)
	}
	w.write("etc/aliases", "root joe\n")
	if code := w.run("", "newaliases"); code != 100 || !strings.Contains(w.errs.String(), "/etc/aliases:1: ") {
		t.Errorf("exit %d: %q", code, w.errs.String())
	}
}
