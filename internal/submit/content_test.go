package submit

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/postilion/postilion/internal/policy"
	"github.com/postilion/postilion/internal/policy/headers"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/smtp"
	"github.com/postilion/postilion/internal/trace"
)

// withRules returns a submitter that holds messages against rules.
func withRules(t testing.TB, o headers.Options, rules string) (*Submitter, *memory, *recorder) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(path, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	o.Files = []string{path}
	q := new(memory)
	s, events := newSubmitter(t, q, policy.Options{})
	var err error
	if s.d.Content, err = headers.Open(o, nil); err != nil {
		t.Fatal(err)
	}
	return s, q, events
}

const twoParts = "Subject: hello\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nhi\n--b\nContent-Disposition: attachment; filename=x.exe\n\nMZ\n--b--\n"

func TestVector52ContentRulesAnswerAtTheEndOfTheMessage(t *testing.T) {
	t.Parallel()
	s, q, events := withRules(t, headers.Options{}, "Subject: \"ILOVEYOU\" REJECT 501 no worms\nattachment /exe$/ DEFER 450 4.7.1 wait\nSubject: /hello/ WARN seen\n")
	for _, tt := range []struct{ message, code, event string }{
		{"Subject: ILOVEYOU\n\nx\n", "501 5.0.0 no worms", "matched REJECT: Subject: ILOVEYOU|refused no worms: RULES:1: Subject: ILOVEYOU"},
		{"Subject: ILOVEYOU", "501 5.0.0 no worms", "matched REJECT: Subject: ILOVEYOU|refused no worms: RULES:1: Subject: ILOVEYOU"},
		{twoParts, "450 4.7.1 wait", "matched WARN: Subject: hello: seen|matched DEFER: attachment x.exe (part 2)|refused wait: RULES:2: attachment x.exe"},
		{"Subject: hello\n\nx\n", "", "matched WARN: Subject: hello: seen"},
		{"Subject: other\n\nx\n", "", ""},
		{"no header at all\n\nSubject: ILOVEYOU\n", "", ""},
	} {
		for _, step := range []int{1, 1 << 20} {
			events.events, q.committed = nil, false
			_, err := hand(t, s, &outside, tt.message, step)
			code := ""
			if err != nil {
				e := reason.As(err)
				code = e.Enhanced + " " + e.Text(reason.English)
				code = map[int]string{501: "501 ", 450: "450 "}[e.Code] + code
			}
			var told []string
			for _, e := range events.events {
				told = append(told, string(e.Kind)+" "+e.Text)
				if e.Kind == trace.Matched && (!strings.Contains(e.Rule, "/rules:") || e.Message.IsZero() || e.Client == "") {
					t.Errorf("%q: event %+v", tt.message, e)
				}
			}
			line := strings.ReplaceAll(strings.Join(told, "|"), s.rulesPath(), "RULES")
			if code != tt.code || line != tt.event || q.committed != (tt.code == "") {
				t.Errorf("%q: %q, committed %v, %s", tt.message, code, q.committed, line)
			}
		}
	}
}

func TestHitsThatAreNotToldAreCounted(t *testing.T) {
	t.Parallel()
	s, _, events := withRules(t, headers.Options{}, "Subject: /hello/ WARN seen\n")
	events.events = nil
	src := outside
	if _, err := hand(t, s, &src, strings.Repeat("Subject: hello\n", 100)+"\n", 1<<20); err != nil {
		t.Fatal(err)
	}
	told := 0
	for _, e := range events.events {
		if e.Kind == trace.Matched {
			told += max(1, int(e.Count))
		}
	}
	if n := len(events.events); told != 100 || n == 0 || events.events[n-1].Text != "further hits of rules are not told" {
		t.Errorf("%d of 100 hits in %d events", told, n)
	}
}

// rulesPath finds the file of the rules in an event's cause.
func (s *Submitter) rulesPath() string {
	c := s.d.Content.Begin(headers.Network)
	c.Header([]byte("Subject: hello\n"))
	c.EndHeader()
	rule := c.End().Hits[0].Rule
	return rule[:strings.LastIndexByte(rule, ':')]
}

func TestRulesAddFieldsAtTheEndOfTheHeaderAndHold(t *testing.T) {
	t.Parallel()
	s, q, _ := withRules(t, headers.Options{Whose: []string{"network", "programs"}}, "Subject: /hello/ PREPEND X-Tag: yes\nattachment /exe$/ HOLD\n")
	for _, tt := range []struct {
		src           Source
		message, want string
		held          bool
	}{
		{outside, "Subject: hello\n\nx\n", "Subject: hello\nX-Tag: yes\n\nx\n", false},
		{outside, "Subject: hello", "Subject: hello\nX-Tag: yes\n", false},
		{outside, "Subject: other\n\nx\n", "Subject: other\n\nx\n", false},
		{outside, twoParts, strings.Replace(twoParts, "b\n\n", "b\nX-Tag: yes\n\n", 1), true},
		{Source{Complete: true}, "Subject: hello\nDate: x\nMessage-ID: y\n\nx\n", "Subject: hello\nDate: x\nMessage-ID: y\nX-Tag: yes\n\nx\n", false},
		{Source{Client: outside.Client, Filtered: true}, "Subject: hello\n\nx\n", "Subject: hello\n\nx\n", false},
	} {
		for _, step := range []int{1, 5, 1 << 20} {
			if _, err := hand(t, s, &tt.src, tt.message, step); err != nil {
				t.Fatal(err)
			}
			if got := body(q.body.String()); got != tt.want || q.env.Held != tt.held {
				t.Errorf("%q is kept as %q, held %v", tt.message, got, q.env.Held)
			}
		}
	}
}

func TestRulesThatDoNotMatchLeaveContentAsItIs(t *testing.T) {
	t.Parallel()
	s, q, _ := withRules(t, headers.Options{}, "/never to be found/ REJECT\n/nor this/ PREPEND X: y\n")
	rapid.Check(t, func(t *rapid.T) {
		content := strings.Join(rapid.SliceOf(rapid.SampledFrom([]string{"a", "Subject: x\n", "\n", " y\n", "\xff", "Content-Type: multipart/x; boundary=b\n", "--b\n", "--b--", "date:", "Content-Type: message/rfc822\n"})).Draw(t, "content"), "")
		src := outside
		if _, err := hand(t, s, &src, content, rapid.IntRange(1, 9).Draw(t, "step")); err != nil {
			t.Fatal(err)
		}
		if content != "" && !strings.HasSuffix(content, "\n") {
			content += "\n"
		}
		if got := body(q.body.String()); got != content {
			t.Fatalf("%q is kept as %q", content, got)
		}
	})
}

// A message that is given up, or was refused for something else, leaves no parser behind.
func TestChecksEndWithTheirMessage(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s, _, _ := withRules(t, headers.Options{}, "Subject: /hello/ WARN\n")
	ctx := context.Background()
	for _, end := range []func(*Transaction){
		func(tx *Transaction) { tx.Abort() }, func(tx *Transaction) { tx.Refuse(reason.LocalError) },
		func(tx *Transaction) { tx.fail(reason.LocalError); tx.Commit(ctx) },
	} {
		src := outside
		tx, err := s.Begin(ctx, &src, smtp.Mail{Size: -1})
		if err != nil {
			t.Fatal(err)
		}
		if err := tx.Rcpt(ctx, smtp.Rcpt{To: joe.Address}); err != nil {
			t.Fatal(err)
		}
		if err := tx.Open(ctx); err != nil {
			t.Fatal(err)
		}
		tx.Write([]byte(twoParts[:80]))
		end(tx)
	}
}
