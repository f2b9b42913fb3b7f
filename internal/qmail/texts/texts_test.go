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
			found := false
			for _, m := range texts.Find(s) {
				found = found || m.Words == x.Words
			}
			if !found {
				t.Errorf("%s %q is not found in %q: %+v", x.Program, x.Words, s, texts.Find(s))
			}
		}
	}
}

func TestFindTellsThePartsThatDiffer(t *testing.T) {
	t.Parallel()
	found := texts.Find("delivery 22: failure: Sorry,_I_couldn't_find_any_host_named_kebi.net._(#5.1.2)/")
	if len(found) != 1 || found[0].Program != "qmail-remote" || found[0].Status != "5.1.2" || found[0].Class != texts.Permanent || found[0].Args[0] != "kebi.net" {
		t.Errorf("%+v", found)
	}
	found = texts.Find("127.0.0.3 does not like recipient.\nRemote host said: 550 5.1.1 no such user\nGiving up on 127.0.0.3.")
	if len(found) != 3 {
		t.Errorf("%+v", found)
	}
	if found := texts.Find("all is well"); len(found) != 0 {
		t.Errorf("%+v", found)
	}
}

func FuzzFind(f *testing.F) {
	f.Add("Unable to open x: y. (#4.2.1)")
	f.Add("delivery_1: ***")
	f.Fuzz(func(t *testing.T, s string) {
		for _, m := range texts.Find(s) {
			if strings.Count(m.Words, "*") != len(m.Args) {
				t.Fatalf("%+v", m)
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
