package logs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/trace"
)

// journey is the events of one message with a remote failure and its bounce.
func journey() []trace.Event {
	msg, bounce := id.Source{Node: 1}.New(), id.Source{Node: 2}.New()
	return []trace.Event{
		{Kind: trace.Accepted, Message: msg, From: "df@mx.test", Size: 230},
		{Kind: trace.Routed, Message: msg, To: "ok@far.test"},
		{Kind: trace.Attempt, Role: "remote", Message: msg, To: "ok@far.test"},
		{Kind: trace.Failed, Role: "remote", Message: msg, To: "ok@far.test", Text: "127.0.0.3 failed after I sent the message.\nRemote host said: 554 5.7.1 go away"},
		{Kind: trace.Bounced, Message: bounce, Parent: msg, Text: "failure notice"},
		{Kind: trace.Finished, Message: msg},
		{Kind: trace.Accepted, Message: bounce, From: "", Size: 763},
		{Kind: trace.Attempt, Role: "local", Message: bounce, To: "df@mx.test"},
		{Kind: trace.Deferred, Role: "local", Message: bounce, To: "df@mx.test", Text: "no room (#4.3.1)"},
	}
}

func TestQmailsOwnLines(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l, err := Open(Options{Format: "qmail"}, "queue", "", &out)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range journey() {
		l.Events.Record(e)
	}
	l.Close()
	stamp := regexp.MustCompile(`(?m)^@[0-9a-f]{24} `)
	if n := len(stamp.FindAllString(out.String(), -1)); n != strings.Count(out.String(), "\n") {
		t.Errorf("%d of the lines have a stamp:\n%s", n, &out)
	}
	got := stamp.ReplaceAllString(out.String(), "")
	if numbers := regexp.MustCompile(`(?:info|bounce|end) msg (\d+)`).FindAllStringSubmatch(got, 3); numbers[0][1] != numbers[1][1] || numbers[1][1] != numbers[2][1] {
		t.Errorf("the first message goes by several numbers: %v", numbers)
	}
	got = regexp.MustCompile(`msg \d{10,19}`).ReplaceAllString(got, "msg N")
	got = regexp.MustCompile(`qp \d+`).ReplaceAllString(got, "qp P")
	got = regexp.MustCompile(`uid \d+`).ReplaceAllString(got, "uid U")
	want := `new msg N
info msg N: bytes 230 from <df@mx.test> qp P uid U
starting delivery 1: msg N to remote ok@far.test
status: local 0/10 remote 1/20
delivery 1: failure: 127.0.0.3_failed_after_I_sent_the_message./Remote_host_said:_554_5.7.1_go_away/
status: local 0/10 remote 0/20
bounce msg N qp P
end msg N
new msg N
info msg N: bytes 763 from <> qp P uid U
starting delivery 2: msg N to local df@mx.test
status: local 1/10 remote 0/20
delivery 2: deferral: no_room_(#4.3.1)/
status: local 0/10 remote 0/20
`
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestNoFormatLetsControlCharactersThrough(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"text", "json", "qmail"} {
		var out bytes.Buffer
		l, err := Open(Options{Format: format, Level: "debug"}, "queue", "", &out)
		if err != nil {
			t.Fatal(err)
		}
		evil := "x\x1b[2J\r\nFAKE line\x00\x9b"
		for _, k := range []trace.Kind{trace.Accepted, trace.Attempt, trace.Failed, trace.Refused, trace.Login} {
			l.Events.Record(trace.Event{Kind: k, From: evil, To: evil, Text: evil, Helo: evil, Host: evil})
		}
		l.Info("x", "peer", evil)
		l.Close()
		for line := range strings.Lines(out.String()) {
			if i := strings.IndexFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }); i >= 0 {
				t.Errorf("%s: control character at %d of %q", format, i, line)
			}
			if strings.HasPrefix(line, "FAKE") {
				t.Errorf("%s: a forged line: %q", format, line)
			}
		}
	}
}

func TestTheFileRotatesBySize(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "log", "postilion.log")
	r, err := openRotating(name, 100, 2)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		line := strings.Repeat(string(rune('0'+i)), 39) + "\n" // two fit in a file
		if _, err := r.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{name: "89", name + ".1": "67", name + ".2": "45"} {
		got, err := os.ReadFile(file)
		if err != nil || len(got) != 80 || got[0] != want[0] || got[40] != want[1] {
			t.Errorf("%s: %.2q…, %v; want lines of %s", file, got, err, want)
		}
	}
	if _, err := os.Stat(name + ".3"); err == nil {
		t.Error("more files are kept than asked for")
	}
}

func TestWrongOptionsAreNamed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		o    Options
		want string
	}{
		{Options{To: "printer"}, `log.to "printer"`},
		{Options{Format: "xml"}, `log.format "xml"`},
		{Options{Level: "loud"}, `log.level "loud"`},
		{Options{Facility: "kern"}, `log.facility "kern"`},
	} {
		if _, err := Open(tt.o, "queue", "", &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want it to name %s", tt.o, err, tt.want)
		}
	}
}

// stuck is a destination that takes nothing until it is let go.
type stuck struct {
	let  chan struct{}
	got  bytes.Buffer
	once bool
}

func (s *stuck) Write(p []byte) (int, error) {
	if !s.once {
		<-s.let
		s.once = true
	}
	return s.got.Write(p)
}

func TestASlowDestinationHoldsUpNobodyAndLossIsTold(t *testing.T) {
	t.Parallel()
	s := &stuck{let: make(chan struct{})}
	a := newAsync(s, false)
	written := strings.Repeat("x", 1023) + "\n"
	for range 3000 { // far more than may wait; a Write that blocked would hang the test
		a.Write([]byte(written))
	}
	close(s.let)
	a.Close()
	kept, lost := 0, 0 // the loss is told with each batch, of which the first may be taken half-way
	for line := range strings.Lines(s.got.String()) {
		var n int
		if _, err := fmt.Sscanf(line, "%d lines of the log were lost", &n); err == nil {
			lost += n
		} else if line == written {
			kept++
		}
	}
	if kept+lost != 3000 || kept < 1024 || lost == 0 {
		t.Errorf("%d lines were kept and %d told as lost, of 3000; the end is %q", kept, lost, s.got.String()[s.got.Len()-80:])
	}
}

// A program whose clock is moved stamps its log by that clock.
func TestStampsAreOfTheProgramsClock(t *testing.T) {
	t.Parallel()
	now := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)
	for format, want := range map[string]string{"text": "time=2031-05-06T07:08:09.000Z ", "json": `{"time":"2031-05-06T07:08:09Z",`, "qmail": "@4000000073623be300000000 "} {
		var out bytes.Buffer
		l, err := Open(Options{Format: format, Now: func() time.Time { return now }}, "queue", "", &out)
		if err != nil {
			t.Fatal(err)
		}
		l.Info("x")
		l.Close()
		if !strings.HasPrefix(out.String(), want) {
			t.Errorf("%s: %s", format, &out)
		}
	}
}

// What a process without a log of its own tells is of the same form as the rest.
func TestDirectLinesAreInTheLogsForm(t *testing.T) {
	t.Parallel()
	now := func() time.Time { return time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC) }
	for o, want := range map[*Options]string{
		{}:                               "time=2031-05-06T07:08:09.000Z level=INFO msg=x role=supervisor\n",
		{Format: "json"}:                 `{"time":"2031-05-06T07:08:09Z","level":"INFO","msg":"x","role":"supervisor"}` + "\n",
		{Format: "qmail"}:                "@4000000073623be300000000 level=INFO msg=x role=supervisor\n",
		{Format: "qmail", Level: "warn"}: "",
	} {
		o.Now = now
		var out bytes.Buffer
		Direct(*o, "supervisor", &out).Info("x")
		if out.String() != want {
			t.Errorf("%s: %q, want %q", o.Format, &out, want)
		}
	}
}
