package archive_test

import (
	"strings"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/mail/archive"
)

func envelope(from string, to ...string) *mail.Envelope {
	env := &mail.Envelope{From: mail.ParseAddress(from)}
	for _, a := range to {
		env.Recipients = append(env.Recipients, mail.Recipient{To: mail.ParseAddress(a)})
	}
	return env
}

func TestCopiesGoToTheArchivesOfAllDomainsAndUsers(t *testing.T) {
	t.Parallel()
	rules, err := archive.Parse([]string{
		"* log@x.test", "a.test both@x.test whole", "from:a.test from@x.test header:Message-ID,Date", "to:Joe@B.test joe@x.test digest", "* log@x.test",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ from, to, want string }{
		{"x@c.test", "y@c.test", "log@x.test/"},
		{"x@A.test", "y@c.test", "log@x.test/ both@x.test/ from@x.test/header:Message-ID,Date"},
		{"x@c.test", "y@a.test", "log@x.test/ both@x.test/"},
		{"x@c.test", "joe@b.test", "log@x.test/ joe@x.test/digest"},
		{"joe@b.test", "x@c.test", "log@x.test/"},
		{"", "log@x.test", ""}, // who gets it anyway gets it once
		{"", "LOG@x.test", ""},
		{"x@sub.a.test", "y@c.test", "log@x.test/"},
	} {
		env := envelope(c.from, c.to)
		rules.Add(env)
		var got []string
		for _, r := range env.Recipients[1:] {
			if r.Notify != mail.NotifyNever {
				t.Errorf("%s would be bounced", r.To)
			}
			got = append(got, r.To.String()+"/"+r.Copy)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("from %s to %s: %q, want %q", c.from, c.to, got, c.want)
		}
		rules.Add(env) // a second time changes nothing
		if len(env.Recipients) != 1+len(got) {
			t.Error("copies were added twice")
		}
	}
}

func TestWrongLinesAreToldWithWhatWasExpected(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"*":                    `copies: "*": want whose messages, the archive's address, and perhaps whole, header:NAME,… or digest`,
		"* a@b c d":            `want whose messages`,
		"* joe":                `"joe": want the archive's address, as log@example.test`,
		"from: a@b.test":       `want *, a domain or an address first`,
		"* a@b.test half":      `"half": want whole, header:NAME,… or digest`,
		"* a@b.test header:":   `want names of header fields, as header:Message-ID,Date`,
		"* a@b.test header:a:": `want names of header fields`,
	} {
		if err := (archive.Options{Copies: []string{line}}).Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", line, err, want)
		}
	}
}

func TestWhatArchivesGetInPlaceOfAMessage(t *testing.T) {
	t.Parallel()
	const body = "Received: x\n\ty\nMessage-Id: <1@a.test>\n folded\nSubject: secret\nDATE: today\n\nMessage-ID: not this\n"
	var b strings.Builder
	env := envelope("a@b.test", "c@d.test")
	if err := archive.Write(&b, "header:Message-ID,Date", env, "mx.test", time.Now(), strings.NewReader(body)); err != nil {
		t.Fatal(err)
	}
	if want := "Message-Id: <1@a.test>\n folded\nDATE: today\n\n"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
	b.Reset()
	if err := archive.Write(&b, "digest", env, "mx.test", time.Unix(0, 0), strings.NewReader("abc")); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(b.String(), "\nbytes 3\nsha256 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n") || strings.Contains(b.String(), "abc") {
		t.Errorf("%q", b.String())
	}
}

func FuzzCopies(f *testing.F) {
	f.Add("to:example.test archive@example.org header:Message-ID,Date")
	f.Fuzz(func(t *testing.T, line string) {
		if rules, err := archive.Parse([]string{line}); err == nil {
			rules.Add(envelope("a@b.test", "c@d.test"))
		}
	})
}
