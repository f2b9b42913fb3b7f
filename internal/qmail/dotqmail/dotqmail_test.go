package dotqmail_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/qmail/dotqmail"
)

// show gives a file's instructions and its problem, one a line.
func show(in []dotqmail.Instruction, p *dotqmail.Problem) string {
	var b strings.Builder
	for _, i := range in {
		fmt.Fprintf(&b, "%d %s %q\n", i.Line, i.Kind, i.Text)
	}
	if p != nil {
		fmt.Fprintln(&b, p)
	}
	return b.String()
}

func TestLines(t *testing.T) {
	t.Parallel()
	const file = "# comment\n./Maildir/ \t\n./Mailbox\n/var/mail/joe\n|vacation joe\n&joe@a.test\njim@b.test\n\n+what\n ./Maildir/\n&\nlast"
	const want = `2 maildir "./Maildir/"
3 mbox "./Mailbox"
4 mbox "/var/mail/joe"
5 program "vacation joe"
6 forward "joe@a.test"
7 forward "jim@b.test"
10 forward " ./Maildir/"
11 forward ""
12 forward "last"
`
	if d := cmp.Diff(want, show(dotqmail.Parse(".qmail", []byte(file), false))); d != "" {
		t.Error(d)
	}
}

// The files of vectors 26 and 27, and others that are not obeyed.
func TestBrokenFilesAreTold(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, in    string
		forwardOnly bool
		want        string
	}{
		{"vector 26: first line blank", "\n./Maildir/\n", false, ".qmail:1: Uh-oh: first line of .qmail file is blank. (#4.2.1)\n"},
		{"vector 26: first line of blanks", " \t\n./Maildir/\n", false, ".qmail:1: Uh-oh: first line of .qmail file is blank. (#4.2.1)\n"},
		{"vector 26: comments alone", "# nothing\n\n#\n", false, ""},
		{"vector 27: x bit and a file", "&a@b.test\n./Maildir/\n", true, "1 forward \"a@b.test\"\n.qmail:2: Uh-oh: .qmail has file delivery but has x bit set. (#4.7.0)\n"},
		{"vector 27: x bit and a program", "|true\n", true, ".qmail:1: Uh-oh: .qmail has prog delivery but has x bit set. (#4.7.0)\n"},
		{"vector 27: +list and a program", "|one\n+list\n&a\n|two\n", false, "1 program \"one\"\n3 forward \"a\"\n.qmail:4: Uh-oh: .qmail has prog delivery but has x bit set. (#4.7.0)\n"},
		{"+list with something behind it is no +list", "+lists\n|true\n", false, "2 program \"true\"\n"},
		{"NUL", "&a@b.test\n&a\x00b\n", false, "1 forward \"a@b.test\"\n.qmail:2: Uh-oh: .qmail file has a NUL byte, it is no text file. (#4.2.1)\n"},
	} {
		if d := cmp.Diff(tc.want, show(dotqmail.Parse(".qmail", []byte(tc.in), tc.forwardOnly))); d != "" {
			t.Errorf("%s: %s", tc.name, d)
		}
	}
}

func TestDoubtfulLinesAreTold(t *testing.T) {
	t.Parallel()
	const file = "# <ok>\n./Maildir/\n|forward \"$X\" (yes) \n&joe@a.test\n ./Maildir/\n&Joe <joe@a.test>\njoe@a.test (Joe)\n&joe@a.test, jim@b.test\n\\joe\n&\n+liste\n./My Mail/\n./Maildir/\r\njoe@a.test\r\n|  \n"
	const want = `.qmail:5: " ./Maildir/" begins with a blank, so it is a forward to an address with a blank, and bounces
.qmail:6: "&Joe <joe@a.test>" has < or > in a forward: want the bare address
.qmail:7: "joe@a.test (Joe)" has a comment or quotes in a forward: want the bare address
.qmail:8: "&joe@a.test, jim@b.test" has a blank or a comma in a forward: want one bare address a line
.qmail:9: "\\joe" begins with a backslash, which is part of the address here: to keep a copy, name a file such as ./Maildir/
.qmail:10: "&" forwards to an empty address, which loses the message
.qmail:11: "+liste" is ignored: the only line with + is +list
.qmail:12: "./My Mail/" is one file name with a blank in it, not two files
.qmail:13: "./Maildir/\r" ends with a carriage return, which is part of the file name
.qmail:14: "joe@a.test\r" ends with a carriage return, which is part of the address
.qmail:15: "|" runs an empty command, which succeeds and keeps nothing
`
	var got strings.Builder
	for _, f := range dotqmail.Check(".qmail", []byte(file)) {
		fmt.Fprintln(&got, f)
	}
	if d := cmp.Diff(want, got.String()); d != "" {
		t.Error(d)
	}
}

func TestSearchOrder(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ dash, ext, want string }{
		{"", "", ".qmail; .qmaildefault="},
		{"-", "a-b-c", ".qmail-a-b-c; .qmail-a-b-default=c; .qmail-a-default=b-c; .qmail-default=a-b-c"},
		{"-", "", ".qmail-; .qmail-default="},
		{"-", "A.B-C", ".qmail-a:b-c; .qmail-a:b-default=C; .qmail-default=A.B-C"}, // vector 23
		{"-", "a-", ".qmail-a-; .qmail-a-default=; .qmail-default=a-"},
		{"-/", "a-b", ".qmail-/a-b; .qmail-/a-default=b; .qmail-/default=a-b"},
		{"-", "x-Default", ".qmail-x-default=Default; .qmail-x-default=Default; .qmail-default=x-Default"},
		{"-", "../x", ".qmail-::/x; .qmail-default=../x"},
	} {
		var got []string
		for _, n := range dotqmail.Search(tc.dash, tc.ext) {
			s := n.File
			if n.HasDefault {
				s += "=" + n.Default
			}
			got = append(got, s)
		}
		if s := strings.Join(got, "; "); s != tc.want {
			t.Errorf("%q %q: %s, want %s", tc.dash, tc.ext, s, tc.want)
		}
	}
}

func TestEnvironmentOfTable7(t *testing.T) {
	t.Parallel()
	d := dotqmail.Delivery{
		User: "joe", Home: "/home/joe", Local: "joe-env-Foo.Bar-baz", Host: "mx.test", Ext: "env-Foo.Bar-baz",
		Name: dotqmail.Name{File: ".qmail-env-default", Default: "Foo.Bar-baz", HasDefault: true}, Sender: "a b@c.test", NewSender: "n@c.test",
		Time: time.Date(2026, 11, 1, 19, 33, 32, 0, time.UTC),
	}
	want := []string{
		"SENDER=a b@c.test", "NEWSENDER=n@c.test", "RECIPIENT=joe-env-Foo.Bar-baz@mx.test", "USER=joe", "HOME=/home/joe",
		"LOCAL=joe-env-Foo.Bar-baz", "HOST=mx.test", "HOST2=mx", "HOST3=mx", "HOST4=mx",
		"EXT=env-Foo.Bar-baz", "EXT2=Foo.Bar-baz", "EXT3=baz", "EXT4=", "DEFAULT=Foo.Bar-baz",
		"DTLINE=Delivered-To: joe-env-Foo.Bar-baz@mx.test\n", "RPLINE=Return-Path: <\"a b\"@c.test>\n",
		"UFLINE=From a-b@c.test Sun Nov 01 19:33:32 2026\n",
	}
	if diff := cmp.Diff(want, d.Env()); diff != "" {
		t.Error(diff)
	}
	d = dotqmail.Delivery{Local: "a\nb", Host: "a.b.c.d.e"}
	env := strings.Join(d.Env(), "|")
	for _, s := range []string{"HOST2=a.b.c.d|HOST3=a.b.c|HOST4=a.b|", "DTLINE=Delivered-To: a_b@a.b.c.d.e\n", "RPLINE=Return-Path: <>\n", "UFLINE=From MAILER-DAEMON "} {
		if !strings.Contains(env, s) {
			t.Errorf("no %q in %q", s, env)
		}
	}
	if strings.Contains(env, "DEFAULT=") {
		t.Error("DEFAULT is set without a -default file")
	}
}

func TestVector32NewSender(t *testing.T) {
	t.Parallel()
	if a, b := dotqmail.Owners("-", "My.List"); a != ".qmail-my:list-owner" || b != ".qmail-my:list-owner-default" {
		t.Error(a, b)
	}
	for _, tc := range []struct {
		sender string
		exist  dotqmail.OwnerFiles
		want   string
	}{
		{"s@a.test", dotqmail.OwnerFiles{Default: true}, "s@a.test"},
		{"s@a.test", dotqmail.OwnerFiles{Owner: true}, "joe-list-owner@h"},
		{"s@a.test", dotqmail.OwnerFiles{Owner: true, Default: true}, "joe-list-owner-@h-@[]"},
		{"", dotqmail.OwnerFiles{Owner: true, Default: true}, ""},
		{"#@[]", dotqmail.OwnerFiles{Owner: true, Default: true}, "#@[]"},
	} {
		if got := dotqmail.NewSender(tc.sender, "joe-list", "h", tc.exist); got != tc.want {
			t.Errorf("%+v: %q", tc, got)
		}
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	bounce := map[int]bool{100: true, 64: true, 65: true, 70: true, 76: true, 77: true, 78: true, 112: true}
	for status := range 256 {
		want := dotqmail.TryAgain
		switch {
		case status == 0:
			want = dotqmail.Success
		case status == 99:
			want = dotqmail.Stop
		case bounce[status]:
			want = dotqmail.Bounce
		}
		if got := dotqmail.Exit(status); got != want {
			t.Errorf("%d: %v, want %v", status, got, want)
		}
	}
}

func FuzzDotQmail(f *testing.F) {
	for _, s := range []string{"./Maildir/\n", "|x\n+list\n&a", "\n", "&\n#", "a <b>\r\n", " \x00"} {
		f.Add([]byte(s), "a-B.c-default", true)
	}
	f.Fuzz(func(t *testing.T, data []byte, ext string, x bool) {
		in, p := dotqmail.Parse("f", data, x)
		for _, i := range in {
			if strings.ContainsAny(i.Text, "\n\x00") || x && (i.Kind == dotqmail.Program || i.Kind == dotqmail.Mbox || i.Kind == dotqmail.Maildir) {
				t.Fatalf("%+v, %v", i, p)
			}
		}
		dotqmail.Check("f", data)
		for _, n := range dotqmail.Search("-", ext) {
			if !strings.HasPrefix(n.File, ".qmail-") || strings.Contains(n.File[1:], ".") || n.HasDefault && !strings.HasSuffix(ext, n.Default) {
				t.Fatalf("%+v", n)
			}
		}
		(dotqmail.Delivery{Local: ext, Host: ext, Ext: ext, Sender: ext}).Env()
	})
}
