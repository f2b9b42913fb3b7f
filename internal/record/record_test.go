package record

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/clock"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/id"
)

var epoch = time.Date(2026, 11, 21, 19, 31, 43, 0, time.UTC)

func newBook(t testing.TB) (b *Book, c *clock.Fake, read func(string) string) {
	t.Helper()
	dir := t.TempDir()
	root, err := osfs.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	c = clock.NewFake(epoch)
	b = New(root, c)
	t.Cleanup(func() { b.Close() })
	stamp := regexp.MustCompile(`(?m)^@[0-9a-f]{24} [0-9a-z]+ `)
	return b, c, func(name string) string {
		p, err := os.ReadFile(filepath.Join(dir, name+".txt"))
		if err != nil {
			t.Fatal(err)
		}
		return stamp.ReplaceAllString(string(p), "")
	}
}

func timed(r Rule) Rule {
	r.Until = epoch.Add(time.Minute)
	if r.MaxSize == 0 {
		r.MaxSize = 1 << 20
	}
	return r
}

func add(t testing.TB, b *Book, r Rule) {
	t.Helper()
	if err := b.Add(timed(r)); err != nil {
		t.Fatal(err)
	}
}

var client = netip.MustParseAddr("192.0.2.7")

func TestADialogueIsWrittenAsRecordioDoes(t *testing.T) {
	t.Parallel()
	b, c, read := newBook(t)
	if b.Begin("smtp", id.ID{1}, client) != nil {
		t.Error("without rules there is nothing to take")
	}
	add(t, b, Rule{ID: "r1", Client: "192.0.2.0/24"})
	add(t, b, Rule{ID: "r2", Client: "198.51.100.1"})
	x := b.Begin("smtp", id.ID{1}, client)
	x.Out([]byte("220 mx.example.test ESMTP\r\n"))
	x.In([]byte("EHLO x\r\nRCPT"))
	x.Out([]byte("250 ok\r\n"))
	x.In([]byte("MAIL FR"))
	x.In([]byte("OM:<\x1b[31m\xff>\r\n"))
	x.InCommand([]byte("AUTH PLAIN AGpvZQBzZWNyZXQ="))
	x.InSecret()
	x.In([]byte("QUIT\r\n"))
	x.End()
	want := "* smtp 192.0.2.7 \n> 220 mx.example.test ESMTP \n< EHLO x \n< RCPT+\n> 250 ok \n< MAIL FROM:<?[31m?> \n< AUTH PLAIN [not recorded] \n< [not recorded] \n< QUIT \n* [EOF] \n"
	if got := read("r1"); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if got := read("r2"); got != "" {
		t.Errorf("another client's: %q", got)
	}
	if l := b.List(); len(l) != 2 || l[0].Sessions != 1 || l[0].Size == 0 || l[1].Sessions != 0 {
		t.Errorf("%+v", l)
	}
	c.Advance(2 * time.Minute)
	if b.Begin("smtp", id.ID{2}, client) != nil || len(b.List()) != 0 {
		t.Error("the time is over")
	}
}

func TestTheBeginIsKeptUntilTheAccountOrRecipientIsKnown(t *testing.T) {
	t.Parallel()
	b, _, read := newBook(t)
	add(t, b, Rule{ID: "account", Account: "Joe@example.test"})
	add(t, b, Rule{ID: "to", To: "*@dest.test"})
	add(t, b, Rule{ID: "both", Account: "joe@example.test", To: "ann@other.test"})
	x := b.Begin("smtp", id.ID{1}, client)
	x.In([]byte("one\n"))
	x.Account("joe@example.test")
	x.In([]byte("two\n"))
	x.To("ann@DEST.test")
	x.In([]byte("three\n"))
	x.End()
	for name, want := range map[string]string{
		"account": "* smtp 192.0.2.7 \n< one \n< two \n< three \n* [EOF] \n", "to": "* smtp 192.0.2.7 \n< one \n< two \n< three \n* [EOF] \n", "both": "",
	} {
		if got := read(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestFilesAndMemoryHaveABound(t *testing.T) {
	t.Parallel()
	b, c, read := newBook(t)
	add(t, b, Rule{ID: "small", Client: "192.0.2.7", MaxSize: 500})
	add(t, b, Rule{ID: "never", To: "nobody@x.test"})
	x := b.Begin("smtp", id.ID{1}, client)
	for range 10_000 {
		x.In([]byte(strings.Repeat("y", 100) + "\n"))
	}
	if got := read("small"); len(got) > 600 || !strings.HasSuffix(got, "[the file is full]\n") {
		t.Errorf("%d bytes", len(got))
	}
	if len(x.pending) > maxPending+10 {
		t.Errorf("%d bytes wait", len(x.pending))
	}
	if l := b.List(); l[0].Trouble != "the file is full" {
		t.Errorf("%+v", l)
	}
	for i := range maxRules {
		err := b.Add(timed(Rule{ID: fmt.Sprint("n", i), Client: "192.0.2.9"}))
		if (err == nil) != (i < maxRules-2) {
			t.Errorf("rule %d: %v", i, err)
		}
	}
	if !b.Remove("small") || b.Remove("small") {
		t.Error("a removed one is gone")
	}
	x.In([]byte("after its removal\n"))
	c.Advance(2 * time.Minute)
	if err := b.Add(Rule{ID: "later", Client: "192.0.2.9", MaxSize: 1, Until: c.Now().Add(time.Minute)}); err != nil {
		t.Errorf("those whose time is over leave room: %v", err)
	}
}

func TestWrongRulesAreNamed(t *testing.T) {
	t.Parallel()
	b, _, _ := newBook(t)
	for _, r := range []Rule{{ID: "x"}, {ID: "../x", Client: "192.0.2.1"}, {Client: "192.0.2.1"}, {ID: "x", Client: "192.0.2"}} {
		if err := b.Add(timed(r)); err == nil {
			t.Errorf("%+v: want an error", r)
		}
	}
	if err := b.Add(Rule{ID: "x", Client: "192.0.2.1"}); err == nil {
		t.Error("without a size: want an error")
	}
	add(t, b, Rule{ID: "x", Client: "192.0.2.1"})
	if err := b.Add(timed(Rule{ID: "x", Client: "192.0.2.1"})); err == nil {
		t.Error("twice: want an error")
	}
}

// A password that a client or a person at a terminal sends in an odd way is one all the same.
func TestCommandsAreMaskedHoweverTheirWordsAreParted(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"AUTH PLAIN c2VjcmV0":      "AUTH PLAIN [not recorded]",
		"AUTH\tPLAIN\tc2VjcmV0":    "AUTH\tPLAIN [not recorded]",
		"auth  plain  c2VjcmV0 x":  "auth  plain [not recorded]",
		" PASS my secret":          " PASS [not recorded]",
		"pass\tsecret":             "pass [not recorded]",
		"PASS  secret":             "PASS [not recorded]",
		"\tAPOP joe c4c9334bac560": "\tAPOP joe [not recorded]",
		"AUTH PLAIN":               "AUTH PLAIN",
		"PASS":                     "PASS",
		"MAIL FROM:<joe@x.test>":   "MAIL FROM:<joe@x.test>",
		"":                         "",
	} {
		if got := string(Masked([]byte(line))); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func FuzzMasked(f *testing.F) {
	f.Add("AUTH PLAIN secret")
	f.Add("\tpass\tsecret")
	f.Add("pass my secret")
	f.Add("APOP joe secret")
	f.Fuzz(func(t *testing.T, line string) {
		got := string(Masked([]byte(line)))
		verb, rest, _ := strings.Cut(strings.ReplaceAll(strings.TrimLeft(line, " \t"), "\t", " "), " ")
		if strings.EqualFold(verb, "PASS") && strings.Contains(rest, "secret") && strings.Contains(got, "secret") {
			t.Errorf("%q: %q", line, got)
		}
	})
}
