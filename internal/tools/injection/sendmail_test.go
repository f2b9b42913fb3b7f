package injection

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/inject"
)

func TestSendmailTakesWhatProgramsSay(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args string
		want letter
		from string // the From field
	}{
		{"-t -oi", letter{from: "joe@mx.test", to: []string{"bob@mx.test"}}, "joe@mx.test"},
		{"-i x y@z", letter{from: "joe@mx.test", to: []string{"x@mx.test", "y@z.mx.test"}}, "joe@mx.test"},
		{"-oi -oem -odb -t x", letter{from: "joe@mx.test", to: []string{"x@mx.test", "bob@mx.test"}}, "joe@mx.test"},
		{"-f me@q.test -F My_Name x", letter{from: "me@q.test", to: []string{"x@mx.test"}}, `"My_Name" <me@q.test>`},
		{"-fme@q.test x", letter{from: "me@q.test", to: []string{"x@mx.test"}}, "me@q.test"},
		{"-r <me@q.test> x", letter{from: "me@q.test", to: []string{"x@mx.test"}}, "me@q.test"},
		{"-f <> x", letter{from: "", to: []string{"x@mx.test"}}, "joe@mx.test"},
		{"-i -f me@q.test -- -x", letter{from: "me@q.test", to: []string{"-x@mx.test"}}, "me@q.test"},
		{"-bm -em -eq -om -B8BITMIME -O Timeout.queuereturn=1d -o7 -L tag -G -U -n -m x", letter{from: "joe@mx.test", to: []string{"x@mx.test"}}, "joe@mx.test"},
		{"-Ac -A m -p esmtp:q -h 5 -C /etc/x -d0.1 -X /dev/null -J -E x", letter{from: "joe@mx.test", to: []string{"x@mx.test"}}, "joe@mx.test"},
		{"-i a,b@c.d", letter{from: "joe@mx.test", to: []string{"a@mx.test", "b@c.d"}}, "joe@mx.test"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if code := w.run("To: bob\n\n.\nmore\n", append([]string{"sendmail"}, strings.Fields(tt.args)...)...); code != 0 {
				t.Fatalf("exit %d: %s", code, w.errs.String())
			}
			l := w.one()
			if l.from != tt.want.from || !cmp.Equal(l.to, tt.want.to) {
				t.Errorf("from %q to %q", l.from, l.to)
			}
			if want := added() + "From: " + tt.from + "\nTo: bob@mx.test\n\n.\nmore\n"; l.content != want {
				t.Errorf("%q, want %q", l.content, want)
			}
		})
	}
}

func TestSendmailPassesDSNOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if code := w.run("x: y\n\n", "sendmail", "-N", "success,delay", "-R", "hdrs", "-V", "id 7", "a@b.c"); code != 0 {
		t.Fatal(w.errs.String())
	}
	l := w.one()
	if l.fields["ret"] != "HDRS" || l.fields["envid"] != "id 7" || l.tofield[0]["notify"] != "SUCCESS,DELAY" {
		t.Errorf("%v %v", l.fields, l.tofield)
	}
}

func TestSendmailShowsTheJourney(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.server.steps = []inject.Step{
		{Kind: "step", Time: "2026-11-21T19:34:36.001Z", Text: "queued"},
		{Kind: "dialogue", Time: "2026-11-21T19:34:36.020Z", Text: "<<< 220 hi\x1b[0m"},
		{Kind: "verdict", Time: "2026-11-21T19:34:36.300Z", To: "a@b.c", Text: "Sent (ok)", Code: 250},
	}
	if code := w.run("x: y\n\n", "sendmail", "-v", "--timeout", "10s", "a@b.c"); code != 0 || w.one().fields["watch"] != "1" {
		t.Fatal(w.errs.String())
	}
	if want := "14:34:36.001 queued\n14:34:36.020 <<< 220 hi?[0m\n14:34:36.300 a@b.c... Sent (ok)\n"; w.out.String() != want {
		t.Errorf("%q", w.out.String())
	}
}

func TestSendmailAsksTheServer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args          []string
		stdin, output string
		code          int
		out           string
		asked         string
	}{
		{[]string{"-bv", "root", "a@b.c"}, "", "root@mx.test... deliverable\n", 0, "root@mx.test... deliverable\n", "verify\nroot@mx.test\na@b.c\n"},
		{[]string{"-bv", "no"}, "", "no@mx.test... User unknown\n", 67, "no@mx.test... User unknown\n", "verify\nno@mx.test\n"},
		{[]string{"-bt"}, "3,0 joe@a.b\n", "yes\n", 0, testHead + "> yes\n> \n", "test\njoe@a.b\n"},
		{[]string{"-bt"}, "parse joe@a.b\n", "yes\n", 0, testHead + "> yes\n> \n", "test\njoe@a.b\n"},
		{[]string{"-bt"}, "/try esmtp joe@a.b\n", "yes\n", 0, testHead + "> yes\n> \n", "test\njoe@a.b\n"},
		{[]string{"-bt"}, "0\n", "", 0, testHead + "> No address!\n> \n", ""},
		{[]string{"-bt"}, "check_sircam Multipart message\n", "", 0, testHead + "> Undefined ruleset check_sircam\n> \n", ""},
		{[]string{"-bt"}, "$=w\n/mx a.b\n", "", 0, testHead + "> Unknown \"$\" command =w\n> Unknown \"/\" command mx\n> \n", ""},
		{[]string{"-q", "-v"}, "", "", 0, "the server tries what waits: 4\n", ""},
		{[]string{"-bs"}, "QUIT\r\n", "", 0, "220 hello\r\n", ""},
	} {
		w := newWorld(t)
		w.server.output, w.server.answer = tt.output, inject.Answer{Code: 250, Text: "4"}
		if code := w.run(tt.stdin, append([]string{"sendmail"}, tt.args...)...); code != tt.code || w.out.String() != tt.out {
			t.Errorf("%v: exit %d: %q %q", tt.args, code, w.out.String(), w.errs.String())
		}
		if tt.asked != "" && w.one().content != tt.asked {
			t.Errorf("asked %q", w.one().content)
		}
	}
}

const listing = `{"id":"06h01dfynw000016wm4b72tgvc","from":"a@mx.test","accepted":"2026-11-21T19:26:00Z","size":6,"recipients":[{"to":"x@[127.0.0.2]","state":"waiting","error":"Connection refused","destination":"d"},{"to":"done@b.c","state":"done","destination":"mailbox"}]}
{"id":"06h01dg02m0013gk444fky55s8","from":"","accepted":"2026-11-21T19:27:00Z","size":12345,"group":"bulk","held":true,"recipients":[{"to":"b\n@c.d","state":"running"}]}
`

func TestSendmailTriesSomeOfTheQueue(t *testing.T) {
	t.Parallel()
	const x, b = "06h01dfynw000016wm4b72tgvc", "06h01dg02m0013gk444fky55s8"
	for _, tt := range []struct {
		args []string
		want string // ids that the server is asked to try
	}{
		{[]string{"-qRX@[127"}, x}, {[]string{"-qRdone@"}, ""}, {[]string{"-q!RX@"}, b}, {[]string{"-qSA@MX"}, x}, {[]string{"-qI" + b}, b},
		{[]string{"-qI06H"}, ""}, {[]string{"-qI06h"}, x + "\n" + b}, {[]string{"-qGbulk"}, b}, {[]string{"-qGdefault"}, x}, {[]string{"-q!Gbulk"}, x},
		{[]string{"-qRx@", "-qRc.d"}, x + "\n" + b}, {[]string{"-qRx@", "-qI" + b}, ""}, {[]string{"-qRx@", "-qSa@"}, x},
	} {
		w := newWorld(t)
		w.server.output, w.server.answer = listing, inject.Answer{Code: 250, Text: "1"}
		says := "the server tries what waits: 1\n"
		if tt.want == "" {
			says = "the server tries what waits: 0\n"
		}
		if code := w.run("", append([]string{"sendmail", "-v"}, tt.args...)...); code != 0 || w.out.String() != says {
			t.Errorf("%v: exit %d: %q %q", tt.args, code, w.out.String(), w.errs.String())
		}
		var calls []string
		for _, l := range w.server.letters {
			calls = append(calls, l.call+" "+l.content)
		}
		want := []string{"queue "}
		if tt.want != "" {
			want = append(want, "flush "+tt.want)
		}
		if d := cmp.Diff(want, calls); d != "" {
			t.Errorf("%v: %s", tt.args, d)
		}
	}
	for _, args := range [][]string{{"-q"}, {"-qp"}, {"-qf"}, {"-q5m"}, {"-qp5m"}} {
		w := newWorld(t)
		w.server.answer = inject.Answer{Code: 250, Text: "4"}
		if code := w.run("", append([]string{"sendmail"}, args...)...); code != 0 || w.one().call != "flush" || w.one().content != "" {
			t.Errorf("%v: exit %d: %+v", args, code, w.server.letters)
		}
	}
	for args, want := range map[string]string{"-qX": "sendmail: fatal: option -q: want a time, or G, I, R or S and a text: -qRexample.test\n",
		"-q!": "sendmail: fatal: option -q: want a time, or G, I, R or S and a text: -qRexample.test\n"} {
		w := newWorld(t)
		if code := w.run("", "sendmail", args); code != 64 || w.errs.String() != want {
			t.Errorf("%s: exit %d: %q", args, code, w.errs.String())
		}
	}
	w := newWorld(t)
	w.server.answer = inject.Answer{Code: 510, Text: "You are not permitted to see the queue"}
	if code := w.run("", "sendmail", "-qRx"); code != 77 || w.errs.String() != "sendmail: fatal: You are not permitted to see the queue\n" {
		t.Errorf("exit %d: %q", code, w.errs.String())
	}
}
