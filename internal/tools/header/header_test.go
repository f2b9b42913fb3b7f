package header

import (
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/tools/tooltest"
)

const message = `Received: (qmail 123 invoked by uid 0); 21 Nov 2026 19:33:42 -0000
Received: from a.test (HELO b) (192.0.2.4)
  by mx.test with SMTP; Sat, 1 Jan 2000 00:00:00 +0100
Date: 20 Nov 1998 10:11:12 -0500
From: "Joe Q. User" <joe@h.test>
Subject: Hello
	folded
To: A. Nobody <a@b.test> (cmt (nested)), bare, x.y@z.test
 , group: g1@a.test, g2@a.test;, <@r,@s:rt@q.test>, <>
Cc: (only comment) , "quo\"ted"@[192.0.2.1], zed@x.y.

Subject: not of the header
`

func TestFiltersLookAtTheHeaderAlone(t *testing.T) {
	t.Parallel()
	head, _, _ := strings.Cut(message, "\nSubject: not")
	for _, c := range []struct {
		name string
		args []string
		in   string
		want tooltest.Result
	}{
		{"822header", nil, message, tooltest.Result{Out: head}},
		{"822header", nil, "no header\nSubject: x\n", tooltest.Result{}},
		{"822field", nil, message, tooltest.Result{Out: " Hello\tfolded\n"}},
		{"822field", []string{"DATE"}, message, tooltest.Result{Out: " 20 Nov 1998 10:11:12 -0500\n"}},
		{"822field", []string{"x-none"}, message, tooltest.Result{Code: 100}},
		{"822date", nil, message, tooltest.Result{Out: "1998-11-20 10:11:12 -0500\n1998-11-20 15:11:12 +0000\nFri Nov 20 15:11:12 1998\n"}},
		{"822date", nil, "Date: 31 dec 99 23:59 (c) pst dst\n\n", tooltest.Result{Out: "1999-12-31 23:59:00 -0700\n2000-01-01 06:59:00 +0000\nSat Jan  1 06:59:00 2000\n"}},
		{"822date", nil, "Date: yesterday\n\n", tooltest.Result{Code: 100}},
		{"822received", nil, message, tooltest.Result{Out: "Fri Dec 31 23:00:00 1999 from a.test (HELO b) (192.0.2.4) \n\t\t\t by mx.test with SMTP\n" +
			"\t\t\t ; Sat, 1 Jan 2000 00:00:00 +0100\nSat Nov 21 19:33:42 2026 (qmail 123 invoked by uid 0)\n\t\t\t ; 21 Nov 2026 19:33:42 -0000\n"}},
	} {
		if got := tooltest.Run(t, Programs(), c.name, tooltest.Call{Args: c.args, In: c.in}); got != c.want {
			t.Errorf("%s %q: got %+v, want %+v", c.name, c.args, got, c.want)
		}
	}
}

func TestIftoccFindsAddressesAsWritten(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]int{
		"a@b.test": 0, "A@B.TEST": 0, "x.y@z.test": 0, "g2@a.test": 0, "rt@q.test": 0, `quo"ted@[192.0.2.1]`: 0, "zed@x.y.": 0, "bare@": 0,
		"zed@x.y": 100, "bare": 100, "joe@h.test": 100, "only": 100,
	} {
		if got := tooltest.Run(t, Programs(), "iftocc", tooltest.Call{In: message, Env: []string{"RECIPIENT=" + addr}}); got.Code != want {
			t.Errorf("%s: got %d, want %d", addr, got.Code, want)
		}
	}
	if got := tooltest.Run(t, Programs(), "iftocc", tooltest.Call{Args: []string{"no@one.test", "a@b.test"}, In: message, Env: []string{"RECIPIENT=x"}}); got.Code != 0 {
		t.Errorf("with arguments: %d", got.Code)
	}
	if got := tooltest.Run(t, Programs(), "iftocc", tooltest.Call{In: message}); got.Code != 100 {
		t.Errorf("without a recipient: %d", got.Code)
	}
}

func Test822printPutsPeopleFirstAndKeepsTheText(t *testing.T) {
	t.Parallel()
	got := tooltest.Run(t, Programs(), "822print", tooltest.Call{In: message}).Out
	plain := strings.NewReplacer("_\b", "").Replace(got)
	for _, want := range []string{
		"Subject:                                                          Hello folded\n",
		"Date: 20 Nov 1998 10:11:12 -0500                           1998-11-20 15:11:12\n",
		strings.Repeat("-", 78) + "\n", "\nSubject: not of the header\n",
	} {
		if !strings.Contains(plain, want) {
			t.Errorf("%q is missing in\n%s", want, plain)
		}
	}
	esc := tooltest.Run(t, Programs(), "822print", tooltest.Call{In: "Subject: \x1b[2J\n\n"}).Out
	if strings.Contains(esc, "\x1b") {
		t.Errorf("an escape sequence reached the terminal: %q", esc)
	}
}

func FuzzHeaders(f *testing.F) {
	f.Add(message)
	f.Add("To: \"a\\\n b\" <@x:\n,;:>(((\n\n")
	f.Fuzz(func(t *testing.T, in string) {
		for _, p := range Programs() {
			tooltest.Run(t, Programs(), p.Name, tooltest.Call{In: in, Env: []string{"RECIPIENT=a@b"}})
		}
	})
}
