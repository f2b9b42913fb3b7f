package admin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/tools/tooltest"
)

// host makes a qmail folder of the files given.
func host(t *testing.T, files map[string]string) (dir string, env []string) {
	t.Helper()
	dir = t.TempDir()
	for _, d := range []string{"control", "users"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir, []string{"POSTILION_QMAIL=" + dir}
}

func run(t *testing.T, name string, env []string, args ...string) tooltest.Result {
	t.Helper()
	return tooltest.Run(t, Programs(), name, tooltest.Call{Args: args, Env: env})
}

func TestShowctlTellsEachFileInItsWords(t *testing.T) {
	t.Parallel()
	dir, env := host(t, map[string]string{
		"control/me": "mx.test \n", "control/locals": "#c\nmx.test\n x\x1by\n", "control/databytes": "no number\n",
		"control/concurrencylocal": "33\n", "control/rcpthosts": "", "control/morercpthosts": "big.test\n",
		"control/virtualdomains": "v.test:joe\n", "control/badmailfrom": "@c.test\n", "control/odd": "", "control/concurrencyincoming": "5\n",
	})
	r := run(t, "qmail-showctl", env)
	if r.Code != 0 {
		t.Errorf("exit %d", r.Code)
	}
	for _, want := range []string{
		"qmail home directory: " + dir + ".\nuser-ext delimiter: -.\npaternalism (in decimal): 2.\nsilent concurrency limit: 120.\nsubdirectory split: 23.\nuser ids: ",
		"\nbadmailfrom: \n@c.test not accepted in MAIL FROM.\n\nbouncefrom: (Default.) Bounce user name is MAILER-DAEMON.\n\nbouncehost: (Default.) Bounce host name is mx.test.\n",
		"\nconcurrencylocal: Local concurrency is 33.\n",
		"\ndatabytes: (Default.) SMTP DATA limit is 0 bytes.\n",
		"\nlocals: \nMessages for mx.test are delivered locally.\nMessages for  x?y are delivered locally.\n",
		"\nme: My name is mx.test.\n",
		"\nrcpthosts: \n\nmorercpthosts: \nSMTP clients may send messages to recipients at big.test.\n\n" +
			"morercpthosts.cdb: Oops! morercpthosts exists but morercpthosts.cdb doesn't.\n\nsmtpgreeting: (Default.) SMTP greeting: 220 mx.test.\n",
		"\nsmtproutes: (Default.) No artificial SMTP routes.\n",
		"\nvirtualdomains: \nVirtual domain: v.test:joe\n\nconcurrencyincoming: I have no idea what this file does.\n\nodd: I have no idea what this file does.\n",
	} {
		if !strings.Contains(r.Out, want) {
			t.Errorf("%q is missing in\n%s", want, r.Out)
		}
	}
}

func TestShowctlTellsOriginsWhenAsked(t *testing.T) {
	t.Parallel()
	_, env := host(t, map[string]string{"control/me": "mx.test\n", "control/concurrencyincoming": "5\n", "control/locals": "#\na.test\n"})
	r := run(t, "qmail-showctl", env, "-o")
	for _, want := range []string{
		"\nbouncefrom: (Default.) Bounce user name is MAILER-DAEMON. [built in]\n", "\nhelohost: (Default.) SMTP client HELO host name is mx.test. [control/me]\n",
		"\nconcurrencyincoming: SMTP sessions at one time: 5. [control/concurrencyincoming]\n", "\nMessages for a.test are delivered locally. [control/locals:2]\n",
		"\nmorercpthosts: (Default.) No rcpthosts; morercpthosts is irrelevant. [built in]\n",
	} {
		if !strings.Contains(r.Out, want) {
			t.Errorf("%q is missing in\n%s", want, r.Out)
		}
	}
	r = run(t, "qmail-showctl", []string{"POSTILION_QMAIL=/no/such/folder"})
	if r.Code != 111 || !strings.HasSuffix(r.Out, "Oops! Unable to chdir to /no/such/folder.\n") {
		t.Errorf("without a folder: %+v", r)
	}
}

func TestNewuLeavesTheOldTableWhenTheNewOneIsBroken(t *testing.T) {
	t.Parallel()
	dir, env := host(t, map[string]string{"users/assign": "=joe:joe:507:100:/home/joe:::\n.\n"})
	if r := run(t, "qmail-newu", env); r != (tooltest.Result{}) {
		t.Fatalf("got %+v", r)
	}
	old, err := os.ReadFile(dir + "/users/cdb")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/users/assign", []byte("=joe:joe:507:100:/home/joe:::\nbad\n.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := run(t, "qmail-newu", env)
	if r.Code != 111 || !strings.HasPrefix(r.Err, "qmail-newu: warning: users/assign:2: ") || !strings.HasSuffix(r.Err, "qmail-newu: fatal: bad format in users/assign\n") {
		t.Errorf("got %+v", r)
	}
	if now, err := os.ReadFile(dir + "/users/cdb"); err != nil || string(now) != string(old) {
		t.Errorf("the table has changed, %v", err)
	}
	_, none := host(t, nil)
	if r := run(t, "qmail-newu", none); r.Code != 111 || r.Err != "qmail-newu: fatal: unable to open users/assign\n" {
		t.Errorf("without users/assign: %+v", r)
	}
}

func TestNewmrhSaysWhatItCannotRead(t *testing.T) {
	t.Parallel()
	dir, env := host(t, map[string]string{"control/morercpthosts": "A.test\n"})
	if r := run(t, "qmail-newmrh", env); r != (tooltest.Result{}) {
		t.Errorf("got %+v", r)
	}
	if b, err := os.ReadFile(dir + "/control/morercpthosts.cdb"); err != nil || !strings.Contains(string(b), "a.test") {
		t.Errorf("%v", err)
	}
	_, none := host(t, nil)
	if r := run(t, "qmail-newmrh", none); r.Code != 111 || r.Err != "qmail-newmrh: fatal: unable to read control/morercpthosts: file does not exist\n" {
		t.Errorf("got %+v", r)
	}
}

func TestPw2uReadsItsFiles(t *testing.T) {
	t.Parallel()
	_, env := host(t, map[string]string{"users/exclude": "amy\n", "users/append": "+list-:joe:507:100:/home/joe:-:l-:\n"})
	in := "root:x:0:0::/root:/bin/sh\njoe:x:507:100::/home/joe:/bin/sh\namy:x:508:100::/home/amy:/bin/sh\nalias:x:7790:2108::/var/qmail/alias:/bin/false\n"
	r := tooltest.Run(t, Programs(), "qmail-pw2u", tooltest.Call{Args: []string{"-H", "-c", "+"}, In: in, Env: env})
	want := "=joe:joe:507:100:/home/joe:::\n+joe+:joe:507:100:/home/joe:-::\n+:alias:7790:2108:/var/qmail/alias:-::\n" +
		"=alias:alias:7790:2108:/var/qmail/alias:::\n+alias+:alias:7790:2108:/var/qmail/alias:-::\n+list-:joe:507:100:/home/joe:-:l-:\n.\n"
	if d := cmp.Diff(want, r.Out); d != "" || r.Code != 0 {
		t.Errorf("%d %s (-want +got):\n%s", r.Code, r.Err, d)
	}
	r = tooltest.Run(t, Programs(), "qmail-pw2u", tooltest.Call{Args: []string{"-H"}, In: "joe:x:507:100::/home/joe:/bin/sh\n", Env: env})
	if r.Code != 111 || r.Err != "qmail-pw2u: fatal: unable to find alias user\n" {
		t.Errorf("without alias: %+v", r)
	}
}

var rules = []string{
	"127.:allow,RELAYCLIENT=\"\"\n10.2-3.:deny\n192.0.2.37-39:allow,A=/b/,C=\"d\"\n:allow\n",
	"# only a comment\n\njoe@192.0.2.1:deny\n=host.test:allow\n=.test:deny\n=:allow\n",
	":allow,X=\"a\n", "a:foo\n", "x\n", "", "127.0.0.1:deny", ":allow,X",
}

func TestTcprulesAsTheOriginal(t *testing.T) {
	t.Parallel()
	original, check := tooltest.Original(t, "tcprules", "ucspi-tcp"), tooltest.Original(t, "tcprulescheck", "ucspi-tcp")
	dir := t.TempDir()
	for i, src := range rules {
		ours := tooltest.Run(t, Programs(), "tcprules", tooltest.Call{Args: []string{"our.cdb", "our.tmp"}, In: src, Dir: dir})
		theirs := tooltest.RunOriginal(t, original, tooltest.Call{Args: []string{"their.cdb", "their.tmp"}, In: src, Dir: dir})
		if ours != theirs {
			t.Errorf("%q: got %+v, the original %+v", src, ours, theirs)
		}
		a, aErr := os.ReadFile(dir + "/our.cdb")
		b, bErr := os.ReadFile(dir + "/their.cdb")
		if string(a) != string(b) || (aErr == nil) != (bErr == nil) {
			t.Errorf("rules %d: the databases differ, %v, %v", i, aErr, bErr)
		}
		for _, client := range [][]string{
			nil, {"TCPREMOTEIP=127.0.0.1"}, {"TCPREMOTEIP=10.3.1.1"}, {"TCPREMOTEIP=192.0.2.38"},
			{"TCPREMOTEIP=192.0.2.1", "TCPREMOTEINFO=joe"}, {"TCPREMOTEIP=192.0.2.1", "TCPREMOTEHOST=a.b.test"}, {"TCPREMOTEIP=9.9.9.9", "TCPREMOTEHOST=x.y"},
		} {
			ours := tooltest.Run(t, Programs(), "tcprulescheck", tooltest.Call{Args: []string{dir + "/their.cdb"}, Env: client})
			theirs := tooltest.RunOriginal(t, check, tooltest.Call{Args: []string{dir + "/their.cdb"}, Env: client})
			if ours != theirs {
				t.Errorf("rules %d, client %q: got %+v, the original %+v", i, client, ours, theirs)
			}
		}
	}
}

func TestTcprulesKeepsTheOldDatabaseWhenALineIsWrong(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := func(in string) tooltest.Result {
		return tooltest.Run(t, Programs(), "tcprules", tooltest.Call{Args: []string{"a.cdb", "a.tmp"}, In: in, Dir: dir})
	}
	if r := run(":allow\n"); r.Code != 0 {
		t.Fatalf("got %+v", r)
	}
	if r := run("127.:what\n"); r.Code != 100 || r.Err != "tcprules: fatal: unable to parse this line: 127.:what\n" {
		t.Errorf("got %+v", r)
	}
	r := tooltest.Run(t, Programs(), "tcprulescheck", tooltest.Call{Args: []string{"a.cdb"}, Dir: dir, Env: []string{"TCPREMOTEIP=192.0.2.1"}})
	if r.Out != "rule :\nallow connection\n" {
		t.Errorf("got %+v", r)
	}
	r = tooltest.Run(t, Programs(), "tcprulescheck", tooltest.Call{Args: []string{"/etc/passwd"}})
	if r.Code != 111 || !strings.HasPrefix(r.Err, "tcprulescheck: fatal: unable to read /etc/passwd: ") {
		t.Errorf("of no database: %+v", r)
	}
}
