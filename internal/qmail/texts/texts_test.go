package texts_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/qmail/texts"
)

var statusCode = regexp.MustCompile(`^[45]\.[0-9]\.[0-9]+$`)

func TestEveryTextIsWhole(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, x := range texts.All() {
		key := x.Program + "\x00" + x.Words
		if seen[key] || x.Program == "" || x.Words == "" || x.Cause == "" || x.Remedy == "" {
			t.Errorf("%+v: twice, or not whole", x)
		}
		seen[key] = true
		if x.Status != "" && !statusCode.MatchString(x.Status) {
			t.Errorf("%q: status %q", x.Words, x.Status)
		}
		if x.Class != texts.Notice && x.Status != "" && (x.Status[0] == '5') != (x.Class == texts.Permanent) {
			t.Errorf("%q: status %s, %s", x.Words, x.Status, x.Class)
		}
		if x.Reply != 0 && (x.Reply >= 500) != (x.Class == texts.Permanent) {
			t.Errorf("%q: reply %d, %s", x.Words, x.Reply, x.Class)
		}
	}
}

// Each text is found in the form of a bounce and in that of qmail-send's log.
func TestEveryTextIsFound(t *testing.T) {
	t.Parallel()
	for _, x := range texts.All() {
		said := strings.ReplaceAll(x.Words, "*", "192.0.2.1")
		for _, s := range []string{said, "<joe@a.test>:\n" + said + "\n", "delivery 7: failure: " + string(qmail.AppendLogSafe(nil, said))} {
			if _, ok := texts.MatchWords(texts.Plain(s), texts.Plain(x.Words)); !ok {
				t.Errorf("%s %q is not found in %q", x.Program, x.Words, s)
			}
		}
	}
}

func TestWhatStoodForTheStarsIsTold(t *testing.T) {
	t.Parallel()
	const none = "none"
	for _, c := range []struct{ s, words, want string }{
		{"delivery 22: failure: Sorry,_I_couldn't_find_any_host_named_kebi.net._(#5.1.2)/", "Sorry, I couldn't find any host named *. (#5.1.2)", "kebi.net"},
		{"<joe@a.test>:\n127.0.0.3 does not like recipient.\nRemote host said: 550", "* does not like recipient.\nRemote host said: *", "<joe@a.test>: 127.0.0.3|550"},
		{"Unable to open x: y: z. (#4.2.1)", "Unable to open *: *. (#4.2.1)", "x|y: z"},
		{"Unable to open x. (#4.2.1)", "Unable to open *: *. (#4.2.1)", none},
		{"all is well", "all is *", "well"},
		{"all was well", "all is *", none},
		{"all is well", "all is well", ""},
	} {
		args, ok := texts.MatchWords(texts.Plain(c.s), texts.Plain(c.words))
		got := strings.Join(args, "|")
		if !ok {
			got = none
		}
		if got != c.want {
			t.Errorf("%q in %q: %q, want %q", c.words, c.s, got, c.want)
		}
	}
}

func FuzzMatchWords(f *testing.F) {
	f.Add("Unable to open x: y. (#4.2.1)")
	f.Add("delivery_1: ***")
	all := texts.All()
	f.Fuzz(func(t *testing.T, s string) {
		s = texts.Plain(s)
		for _, x := range all {
			args, ok := texts.MatchWords(s, texts.Plain(x.Words))
			if ok && len(args) != strings.Count(x.Words, "*") {
				t.Fatalf("%q: %q", x.Words, args)
			}
		}
	})
}

// Every cause and remedy can be told in each language, and no translation is of something else.
func TestEveryTextIsExplainedInEachLanguage(t *testing.T) {
	t.Parallel()
	for _, x := range texts.All() {
		for _, language := range []string{"ko", "ja"} {
			cause, remedy := x.Told(language)
			for english, told := range map[string]string{x.Cause: cause, x.Remedy: remedy} {
				if told == "" || told == english || isASCII(told) || strings.ContainsAny(told, "\r\n") {
					t.Errorf("%s %q: %q in %s is %q", x.Program, x.Words, english, language, told)
				}
			}
		}
		if cause, remedy := x.Told("en"); cause != x.Cause || remedy != x.Remedy {
			t.Errorf("%q in English: %q, %q", x.Words, cause, remedy)
		}
	}
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > 0x7f })
}
