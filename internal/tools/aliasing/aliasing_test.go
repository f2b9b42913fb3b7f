package aliasing

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/tools/tool"
	"github.com/postilion/postilion/internal/tools/tooltest"
)

func programs(o *tooltest.Outbox) []tool.Program {
	return Programs(o.Queue, func(context.Context, *tool.Env) (Hosts, error) {
		return Hosts{Default: "me", Plus: "plus.me", Domain: "me"}, nil
	})
}

const table = `joe@h.test: &bob@z.test, amy, |echo\ hi\ \>\>ran, !cat\ \>cat, ./list, ?owner-joe@h.test;
amy: deep@h.test;
deep@h.test: final@q.test, joe@h.test, ?owner-deep@h.test;
loop: loop, loop@x, end@x.test;
@wild.test: loop, catch@x.test;
bob@z.test: nested@w.test;
post@: admin@a.test, /dir/list2;
bad@h.test: |exit\ 100, never@x.test;
later@h.test: ok@x.test, |exit\ 1;
quiet@h.test: ?, nobounces@x.test;
alone@h.test: |true;
empty@h.test: ?own@x.test;
`

// world compiles the table in a folder with a list.
func world(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	o := &tooltest.Outbox{}
	src := strings.ReplaceAll(table, "/dir", dir)
	for _, c := range []struct {
		name, in string
		args     []string
	}{
		{"setforward", src, []string{"f.cdb", "f.tmp"}},
		{"setmaillist", "l1@x.test\n# c\nbob@z.test\n&l2@x.test\n" + dir + "/list2\n", []string{"list", "list.tmp"}},
		{"setmaillist", "m1@x.test\n|prog\n", []string{"list2", "list2.tmp"}},
	} {
		if r := tooltest.Run(t, programs(o), c.name, tooltest.Call{Args: c.args, In: c.in, Dir: dir}); r.Code != 0 {
			t.Fatalf("%s: %+v", c.name, r)
		}
	}
	return dir
}

func envOf(recipient, sender string) []string {
	local, host, _ := strings.Cut(recipient, "@")
	return []string{
		"PATH=/usr/bin:/bin", "RECIPIENT=" + recipient, "SENDER=" + sender, "NEWSENDER=" + sender, "LOCAL=" + local, "HOST=" + host,
		"EXT=" + local, "USER=joe", "DTLINE=Delivered-To: " + recipient + "\n", "UFLINE=From x\n", "RPLINE=Return-Path: <x>\n",
	}
}

var cases = []struct {
	recipient, sender string
	args              []string
	env               []string
}{
	{recipient: "joe@h.test", sender: "s@s"}, {recipient: "JOE@H.test", sender: ""}, {recipient: "any@wild.test", sender: "#@[]"},
	{recipient: "post@foo.test", sender: "s@s"}, {recipient: "none@foo.test", sender: "s@s"}, {recipient: "none@foo.test", sender: "s@s", args: []string{"-p"}},
	{recipient: "x@h.test", sender: "s@s", args: []string{"-d"}, env: []string{"DEFAULT=joe"}}, {recipient: "joe@h.test", sender: "s@s", args: []string{"-p"}},
	{recipient: "amy@h.test", sender: "s@s"}, {recipient: "bad@h.test", sender: "s@s", args: []string{"-P"}}, {recipient: "post", sender: "s@s"},
	{recipient: "quiet@h.test", sender: "s@s"}, {recipient: "alone@h.test", sender: "s@s"}, {recipient: "empty@h.test", sender: "s@s"},
}

func TestFastforwardDoesWhatTheOriginalWould(t *testing.T) {
	t.Parallel()
	original := tooltest.Original(t, "fastforward", "fastforward")
	dir := world(t)
	for _, c := range cases {
		call := tooltest.Call{Args: append(c.args, "-n", "f.cdb"), Dir: dir, Env: append(envOf(c.recipient, c.sender), c.env...)}
		ours := tooltest.Run(t, programs(&tooltest.Outbox{}), "fastforward", call)
		theirs := tooltest.RunOriginal(t, original, call)
		if d := cmp.Diff(theirs, ours); d != "" {
			t.Errorf("%+v (-original +ours):\n%s", c, d)
		}
	}
}

func TestFastforwardRunsProgramsThenSendsOnce(t *testing.T) {
	t.Parallel()
	dir, o := world(t), &tooltest.Outbox{}
	r := tooltest.Run(t, programs(o), "fastforward", tooltest.Call{Args: []string{"f.cdb"}, In: "Subject: x\n\nb\n", Dir: dir, Env: envOf("Joe@h.test", "s@s")})
	if r.Code != 0 || r.Out != "fastforward: qp 300\n" {
		t.Fatalf("got %+v", r)
	}
	want := []tooltest.Sent{{From: "owner-joe@h.test", To: []string{"deep@h.test", "l1@x.test", "nested@w.test", "l2@x.test", "m1@x.test", "|prog"}, Content: "Delivered-To: Joe@h.test\nSubject: x\n\nb\n"}}
	if d := cmp.Diff(want, o.Sent); d != "" {
		t.Errorf("sent (-want +got):\n%s", d)
	}
	for name, want := range map[string]string{"ran": "hi\n", "cat": "From x\nReturn-Path: <x>\nDelivered-To: Joe@h.test\nSubject: x\n\nb\n"} {
		if b, err := os.ReadFile(dir + "/" + name); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

func TestFastforwardSendsNothingWhenAProgramFails(t *testing.T) {
	t.Parallel()
	dir := world(t)
	for recipient, want := range map[string]int{"bad@h.test": 100, "later@h.test": 111} {
		o := &tooltest.Outbox{}
		r := tooltest.Run(t, programs(o), "fastforward", tooltest.Call{Args: []string{"f.cdb"}, Dir: dir, Env: envOf(recipient, "s@s")})
		if r.Code != want || len(o.Sent) > 0 {
			t.Errorf("%s: %+v, sent %v", recipient, r, o.Sent)
		}
	}
	for fail, want := range map[string]int{"Zno room": 111, "Dtoo large": 100} {
		o := &tooltest.Outbox{Fail: fail}
		r := tooltest.Run(t, programs(o), "fastforward", tooltest.Call{Args: []string{"f.cdb"}, Dir: dir, Env: envOf("bob@z.test", "s@s")})
		if r.Code != want || r.Err != "fastforward: fatal: unable to forward message: "+fail[1:]+"\n" {
			t.Errorf("%s: %+v", fail, r)
		}
	}
}

func TestAMessageThatCannotBeReadIsNotSentOn(t *testing.T) {
	t.Parallel()
	dir, o := world(t), &tooltest.Outbox{}
	half := io.MultiReader(strings.NewReader("Subject: half\n"), iotest.ErrReader(errors.New("the pipe broke")))
	r := tooltest.Run(t, programs(o), "fastforward", tooltest.Call{Args: []string{"f.cdb"}, From: half, Dir: dir, Env: envOf("bob@z.test", "s@s")})
	if r.Code != 111 || r.Err != "fastforward: fatal: unable to read message: the pipe broke\n" || len(o.Sent) > 0 {
		t.Errorf("got %+v, sent %v", r, o.Sent)
	}
}

func TestBrokenTablesAndListsDefer(t *testing.T) {
	t.Parallel()
	dir := world(t)
	if err := os.WriteFile(dir+"/broken", []byte("no table"), 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(db, recipient string) tooltest.Result {
		return tooltest.Run(t, programs(&tooltest.Outbox{}), "fastforward", tooltest.Call{Args: []string{db}, Dir: dir, Env: envOf(recipient, "s@s")})
	}
	check := func(what string, r tooltest.Result, want string) {
		if r.Code != 111 || !strings.HasPrefix(r.Err, "fastforward: fatal: "+want) {
			t.Errorf("%s: %+v", what, r)
		}
	}
	check("a broken table", run("broken", "x@y"), "unable to read broken: ")
	check("a missing table", run("gone", "x@y"), "unable to read gone: file does not exist\n")
	if err := os.Chmod(dir+"/list2", 0o640); err != nil {
		t.Fatal(err)
	}
	check("a private list", run("f.cdb", "post@a"), dir+"/list2 is not world-readable\n")
	for _, bad := range []string{"&a@b", "|rm -rf\x00"} {
		if err := os.WriteFile(dir+"/list2", []byte(bad), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir+"/list2", 0o644); err != nil {
			t.Fatal(err)
		}
		check("a list that is none", run("f.cdb", "post@a"), "unable to read "+dir+"/list2: not a compiled list\n")
	}
	if err := os.Remove(dir + "/list2"); err != nil {
		t.Fatal(err)
	}
	check("a missing list", run("f.cdb", "post@a"), "unable to read "+dir+"/list2: file does not exist\n")
}

func TestCompilersAsTheOriginals(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, c := range []struct{ name, out, print, in string }{
		{"setforward", "a.cdb", "printforward", table}, {"setforward", "a.cdb", "printforward", "foo: bar"},
		{"setforward", "a.cdb", "printforward", "foo: b*ar;"}, {"setforward", "a.cdb", "printforward", "foo; bar;"},
		{"setmaillist", "a.bin", "printmaillist", "a@b\n# c\n  x@y \n./l\n|p x\n&q\n"}, {"setmaillist", "a.bin", "printmaillist", "x\x00y\n"},
	} {
		original := tooltest.Original(t, c.name, "fastforward")
		printer := tooltest.Original(t, c.print, "fastforward")
		call := tooltest.Call{Args: []string{c.out, "a.tmp"}, In: c.in, Dir: dir}
		theirs := tooltest.RunOriginal(t, original, call)
		want, _ := os.ReadFile(dir + "/" + c.out)
		os.Remove(dir + "/" + c.out)
		list := programs(&tooltest.Outbox{})
		ours := tooltest.Run(t, list, c.name, call)
		got, _ := os.ReadFile(dir + "/" + c.out)
		os.Remove(dir + "/" + c.out)
		if ours != theirs || string(got) != string(want) {
			t.Errorf("%s of %q: got %+v, the original %+v; equal: %v", c.name, c.in, ours, theirs, string(got) == string(want))
		}
		call = tooltest.Call{In: string(want)}
		ours, theirs = tooltest.Run(t, list, c.print, call), tooltest.RunOriginal(t, printer, call)
		// The original's printforward calls itself printmaillist.
		theirs.Err = strings.Replace(theirs.Err, "printmaillist:", c.print+":", 1)
		if ours != theirs {
			t.Errorf("%s: got %+v, the original %+v", c.print, ours, theirs)
		}
	}
}

func TestDotForwardTakesTheFirstFileThatSaysAnything(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		code int
		to   []string
	}{
		{"a@b.test, plain, x@y+\n", 99, []string{"a@b.test", "plain@me.me", "x@y.plus.me"}},
		{"", 0, nil}, {"\n# c\n", 0, nil}, {"joe\n", 0, nil}, {"\\joe, a@b.test\n", 0, []string{"a@b.test"}}, {"JOE@H.test\n", 0, nil},
		{"joe@other.test\n", 99, []string{"joe@other.test"}}, {"|true\n", 99, nil}, {"\"|exit 3\", a@b.test\n", 111, nil}, {"|exit 100\n", 100, nil},
		{"/file\n", 111, nil}, {":include:/x\n", 111, nil}, {"a@b c@d <\n", 111, nil},
	} {
		dir, o := t.TempDir(), &tooltest.Outbox{}
		if err := os.WriteFile(dir+"/fw", []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		r := tooltest.Run(t, programs(o), "dot-forward", tooltest.Call{Args: []string{"gone", "fw"}, In: "m", Dir: dir, Env: append(envOf("joe@h.test", "s@s"), "NEWSENDER=n@s")})
		var to []string
		if len(o.Sent) > 0 {
			to = o.Sent[0].To
			if o.Sent[0].From != "n@s" || o.Sent[0].Content != "Delivered-To: joe@h.test\nm" {
				t.Errorf("%q: sent %+v", c.text, o.Sent)
			}
		}
		if d := cmp.Diff(c.to, to); d != "" || r.Code != c.code {
			t.Errorf("%q: %+v (-want +got):\n%s", c.text, r, d)
		}
	}
}

func TestDotForwardTellsWhatItWouldDo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/fw", []byte("a@b.test\n|cat\njoe\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, env := range [][]string{append(envOf("joe@h.test", "s@s"), "NEWSENDER=n@s"), {"USER=joe"}} { // in a delivery, and by hand
		call := tooltest.Call{Args: []string{"-n", "fw"}, In: "m", Dir: dir, Env: env}
		o := &tooltest.Outbox{}
		r := tooltest.Run(t, programs(o), "dot-forward", call)
		if want := (tooltest.Result{Err: "forward a@b.test\npipe through cat\ndirect delivery\n"}); r != want || len(o.Sent) > 0 {
			t.Errorf("%q: got %+v, want %+v", env, r, want)
		}
		if theirs := tooltest.RunOriginal(t, tooltest.Original(t, "dot-forward", "dot-forward"), call); r != theirs {
			t.Errorf("%q: got %+v, the original %+v", env, r, theirs)
		}
	}
}

func TestNewincludeCompilesAddressesAlone(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"a@b.test, Joe <c@d.test>\n# c\nplain\n": "&a@b.test\x00&c@d.test\x00&plain@me.me\x00",
		"|prog x\n":                              "newinclude: fatal: program delivery |prog x not supported\n",
		"/file\n":                                "newinclude: fatal: file delivery /file not supported\n",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(dir+"/l", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r := tooltest.Run(t, programs(&tooltest.Outbox{}), "newinclude", tooltest.Call{Args: []string{"l"}, Dir: dir})
		got := r.Err
		if r.Code == 0 {
			b, err := os.ReadFile(dir + "/l.bin")
			if err != nil {
				t.Error(err)
			}
			got = string(b)
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
