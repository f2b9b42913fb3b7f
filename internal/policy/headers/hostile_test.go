package headers

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What is beyond the bounds is refused, or told where that is asked for, and costs no more than the bounds.
func TestHostileMessagesCostNoMoreThanTheBounds(t *testing.T) {
	t.Parallel()
	rules := "attachment /\\.exe$/ REJECT\n/x(a|b)*y.*z{1,50}$/ REJECT\nSubject: /(a+)+$/ REJECT\n" + strings.Repeat("/spam[0-9]+now/ WARN\n", 100)
	nestedParts := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
		}
		return b.String()
	}
	for name, tt := range map[string]struct{ message, want string }{
		"a header without an end":    {strings.Repeat("X: "+strings.Repeat("y", 1000)+"\n", 2000), "header fields"},
		"one long field":             {"X: " + strings.Repeat("xab", 1<<20) + "\n\n", "header fields"},
		"many fields":                {strings.Repeat("a:\n", 200_000) + "\n", "comparisons"},
		"encoded words":              {"Subject: " + strings.Repeat("=?euc-kr?b?!!!?=", 30_000) + "\n\n", "comparisons"},
		"many parts":                 {"Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\n", 10_000), "parts"},
		"deep parts":                 {nestedParts(200), "parts"},
		"headers of parts":           {"Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\nX: "+strings.Repeat("y", 1000)+"\n\n", 2000), "header fields"},
		"many names":                 {"Content-Disposition: a" + strings.Repeat("; filename=a.b", 1000) + "\n\n", ""},
		"messages within each other": {strings.Repeat("Content-Type: message/rfc822\n\n", 1000), "parts"},
		"no line ends":               {strings.Repeat("x", 5<<20), "header fields"},
		"a pattern's worst":          {"Subject: " + strings.Repeat("a", 100_000) + "!\n\n", ""},
	} {
		start := time.Now()
		_, v := look(t, open1(t, Options{}, "", rules), tt.message, 8<<10)
		if v.Complex != tt.want || (v.Refused != nil) != (tt.want != "") {
			t.Errorf("%s: too many %q, refused %v", name, v.Complex, v.Refused)
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%s took %v", name, took)
		}
	}
}

func TestWhatIsTooComplexIsTakenWhereAskedFor(t *testing.T) {
	t.Parallel()
	message := "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\n", 10_000)
	if _, v := look(t, open1(t, Options{Complex: "accept"}, "", "/nowhere/ REJECT"), message, 8<<10); v.Complex != "parts" || v.Refused != nil {
		t.Errorf("too many %q, refused %v", v.Complex, v.Refused)
	}
}

func TestHitsAreBounded(t *testing.T) {
	t.Parallel()
	s := open1(t, Options{}, "", "/^X/ WARN "+strings.Repeat("w", maxText))
	_, v := look(t, s, strings.Repeat("X: "+strings.Repeat("광", 1000)+"\n", 100)+"\n", 1000)
	if len(v.Hits) != maxHits || v.More != 100-maxHits || len(v.Hits[0].What) > maxShown+len("…") {
		t.Errorf("%d hits and %d more, the first of %d bytes", len(v.Hits), v.More, len(v.Hits[0].What))
	}
}

// A check that is given up leaves no parser behind.
func TestACheckThatIsClosedEnds(t *testing.T) {
	t.Parallel()
	s := open1(t, Options{}, "", "/x/ WARN")
	c := s.Begin(Network)
	c.Header([]byte("Content-Type: multipart/mixed; boundary=b\n"))
	c.EndHeader()
	c.Body([]byte("\n--b\nX: y\n"))
	c.Close()
	c.Close()
	c.Body([]byte("more"))
	if v := c.End(); len(v.Hits) != 1 || v.Hits[0].Part != "" {
		t.Errorf("%+v", v)
	}
}

func FuzzRules(f *testing.F) {
	f.Add([]byte("if /^Subject:/\n!/a(b)/iU TEST REJECT 550 5.7.1 $1\nendif\nSubject: \"x\" HOLD\nattachment ~\\.exe$~ PREPEND"), []byte(worm))
	f.Add([]byte("/^(.*): (.*)/ WARN ${2} $(1) $$\n/x/ PREPEND X-Y: $0\n"), []byte("Subject: =?iso-2022-jp?b?GyRC?=\nContent-Type: message/rfc822\n\nA: b\n\n"))
	f.Fuzz(func(t *testing.T, rules, message []byte) {
		if table, err := parseRules("/r", everywhere, rules); err == nil {
			try(t, table, message)
		}
	})
}

func FuzzSendmail(f *testing.F) {
	f.Add([]byte(cfText), []byte("Subject: ILOVEYOU\n\n"))
	f.Add([]byte("H*: $>+x\nSx\nR$* a $- b $+\t$#error $@ 5.7.1 $: \"550 ${m}\"\nD{m}text\n"), []byte("X: a b\n\n"))
	f.Fuzz(func(t *testing.T, cf, message []byte) {
		if table, err := parseSendmail("/c", cf); err == nil {
			try(t, table, message)
		}
	})
}

// try holds a fuzzed table against a fuzzed message; what becomes of it has to be fit for replies and headers.
func try(t *testing.T, rules *table, message []byte) {
	rules.seal()
	c := &Check{set: &Set{}, tables: []*table{rules}}
	head, body, _ := strings.Cut(string(message), "\n\n")
	c.Header([]byte(head + "\n"))
	added, _ := c.EndHeader()
	c.Body([]byte("\n" + body))
	v := c.End()
	for line := range strings.Lines(string(added)) {
		if !printable(strings.TrimSuffix(line, "\n")) || !strings.Contains(line, ": ") {
			t.Errorf("adds %q", added)
		}
	}
	if v.Refused != nil && (v.Refused.Code < 400 || v.Refused.Code > 599 || !printable(strings.Join(v.Refused.Args, ""))) {
		t.Errorf("refuses with %+v", v.Refused)
	}
}

func BenchmarkPlainMessage(b *testing.B) {
	header := strings.Repeat("Received: from a.example by b.example with ESMTP id 0123456789; Sun, 22 Nov 2026 10:00:00 +0900\n", 6) +
		"From: Joe <joe@x.example>\nTo: Ann <ann@here.test>\nSubject: =?utf-8?B?7JWI64WV?= there\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nDate: Sun, 22 Nov 2026 10:00:00 +0900\n"
	path := filepath.Join(b.TempDir(), "rules")
	rules := strings.Repeat("/^Subject: .*make money fast/ REJECT\n", 100) + strings.Repeat("attachment /\\.(exe|vbs|scr)$/ REJECT\n", 5)
	if err := os.WriteFile(path, []byte(rules), 0o600); err != nil {
		b.Fatal(err)
	}
	s, err := Open(Options{Files: []string{path}}, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		c := s.Begin(Network)
		c.Header([]byte(header))
		c.EndHeader()
		c.Body([]byte("\nhello\n"))
		if v := c.End(); v.Refused != nil {
			b.Fatal(v.Refused)
		}
	}
}
