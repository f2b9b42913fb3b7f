package bounce

import (
	"bytes"
	"mime"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/jhillyerd/enmime/v2"

	addresses "github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
)

func TestTheLanguageIsTheReaders(t *testing.T) {
	t.Parallel()
	b := &Builder{Name: "mx.here.test", Options: Options{Language: "ja", Languages: []string{"here.test ko", ".here.test en", ".test ja", "한국.test ko"}}}
	for to, want := range map[string]reason.Language{
		"a@here.test": reason.Korean, "a@HERE.test": reason.Korean, "a@sub.here.test": reason.English, "a@x.test": reason.Japanese,
		"a@other.example": reason.Japanese, "a@한국.test": reason.Korean, "": reason.Japanese,
	} {
		if got := b.languageFor(addresses.ParseAddress(to)); got != want {
			t.Errorf("%q reads %s, want %s", to, got.Tag(), want.Tag())
		}
	}
	if got := (&Builder{}).languageFor(addresses.ParseAddress("a@b.test")); got != reason.English {
		t.Errorf("the zero value speaks %s", got.Tag())
	}
}

// qsbmf returns the text part of a notice.
func qsbmf(raw []byte) string {
	_, text, _ := strings.Cut(string(raw), "\nHi. This is the")
	text, _, _ = strings.Cut("Hi. This is the"+text, "\n--postilion-")
	return text
}

// What programs read is the same in every language: the first paragraph, each recipient with the code
// of its failure, the end of the list, and the machine's part.
func TestProgramsReadEveryLanguageAlike(t *testing.T) {
	t.Parallel()
	var english Report
	var status string
	for _, language := range []string{"en", "ko", "ja"} {
		b := &Builder{Name: "mx.here.test", Options: Options{Language: language}}
		late := reason.QueueLifetime.With("x", "connect-failed", reason.ConnectFailed.With("far.test").Line())
		env, raw := write(t, b, notice(Failure, "sender@here.test", failed("joe@far.test"), Outcome{To: addresses.ParseAddress("ann@far.test"), Action: Failed, Err: late, Last: noticed},
			Outcome{To: addresses.ParseAddress("prog@here.test"), Action: Failed, Err: reason.ProgramRefused.With("no (#5.7.1)")}))
		text := qsbmf(raw)
		first, _, _ := strings.Cut(text, "\n\n")
		if first != "Hi. This is the postilion program at mx.here.test.\nI'm afraid I wasn't able to deliver your message to the following addresses.\nThis is a permanent error; I've given up. Sorry it didn't work out." {
			t.Errorf("%s: the first paragraph is %q", language, first)
		}
		got, err := Parse(strings.NewReader("Subject: failure notice\n\n" + text))
		if err != nil || len(got.Recipients) != 3 {
			t.Fatalf("%s: %+v, %v", language, got, err)
		}
		_, machine := secondPart(string(raw))
		if language == "en" {
			english, status = got, machine
		}
		for i := range english.Recipients {
			if !strings.HasPrefix(got.Recipients[i].Diagnostic, english.Recipients[i].Diagnostic) {
				t.Errorf("%s: %q does not begin with %q", language, got.Recipients[i].Diagnostic, english.Recipients[i].Diagnostic)
			}
			got.Recipients[i].Diagnostic = english.Recipients[i].Diagnostic
			if got.Recipients[i] != english.Recipients[i] {
				t.Errorf("%s: %+v, in English %+v", language, got.Recipients[i], english.Recipients[i])
			}
		}
		if machine != status {
			t.Errorf("%s: the machine's part is\n%s\nin English\n%s", language, machine, status)
		}
		if (env.Body == addresses.Body8Bit) != (language != "en") || env.UTF8 {
			t.Errorf("%s: body %d", language, env.Body)
		}
		parsed, err := enmime.ReadEnvelope(bytes.NewReader(raw))
		if err != nil || len(parsed.Errors) > 0 {
			t.Errorf("%s: %v %v", language, err, parsed.Errors)
		}
	}
}

func TestTheOperatorsOwnWordsAreUsed(t *testing.T) {
	t.Parallel()
	b := &Builder{Name: "mx.here.test", Options: Options{Subject: "배달하지 못한 메일을 알려 드립니다: 자세한 내용은 본문을 읽어 주십시오", DoubleSubject: "bounced bounce",
		Message: []string{"메일을 배달하지 못했습니다.", "도움말: https://help.example/"}, DoubleMessage: []string{"A bounce bounced."}}}
	env, raw := write(t, b, notice(Failure, "sender@here.test", failed("joe@far.test")))
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); err != nil || s != b.Subject {
		t.Errorf("the subject is %q, %v", s, err)
	}
	if !strings.Contains(string(raw), "\nHi. This is the postilion program at mx.here.test.\n메일을 배달하지 못했습니다.\n도움말: https://help.example/\n\n<joe@far.test>:\n") || env.Body != addresses.Body8Bit {
		t.Errorf("body %d:\n%s", env.Body, raw)
	}
	env, raw = write(t, b, notice(Failure, "", failed("joe@far.test")))
	if text := string(raw); !strings.Contains(text, "\nSubject: bounced bounce\n") || !strings.Contains(text, "mx.here.test.\nA bounce bounced.\n\n") || env.Body == addresses.Body8Bit {
		t.Errorf("body %d:\n%s", env.Body, raw)
	}
	_, raw = write(t, b, notice(Delay, "sender@here.test", Outcome{To: addresses.ParseAddress("a@far.test"), Action: Delayed, Err: late, RetryUntil: noticed.Add(time.Hour)}))
	if text := string(raw); !strings.Contains(text, "\nSubject: delay notice\n") {
		t.Error("a delay has a bounce's subject")
	}
}

func TestWrongOptionsAreTold(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Language: "de"}, `language: "de": want en, ko or ja`},
		{Options{Languages: []string{"example.test"}}, `languages: "example.test": want a domain, or .suffix for all below it, and en, ko or ja`},
		{Options{Languages: []string{"exa mple.test ko"}}, `languages: "exa mple.test ko": want a domain, or .suffix for all below it, and en, ko or ja`},
		{Options{Subject: "a\r\nBcc: x@y.test"}, `bouncesubject: "a\r\nBcc: x@y.test": want one line of at most 200 bytes`},
		{Options{Message: []string{"<x@y.test>:"}}, `bouncemessage: "<x@y.test>:": want lines of up to 900 bytes, none empty and none that begins with < or -, after which programs look`},
		{Options{DoubleMessage: []string{""}}, `doublebouncemessage: "": want lines of up to 900 bytes, none empty and none that begins with < or -, after which programs look`},
		{Options{Message: make([]string, 51)}, `bouncemessage: want at most 50 lines`},
	} {
		err := c.o.Validate()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	if err := (&Options{Language: "ko", Languages: []string{".jp ja"}, Message: []string{"x"}}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestEveryPhraseIsThereInEachLanguage(t *testing.T) {
	t.Parallel()
	for lang, p := range phrasesIn {
		for _, list := range [][]string{p.failure, p.double, p.delay, p.success} {
			for _, line := range list {
				if len(list) < 2 || line == "" || line[0] == '<' || line[0] == '-' || asciiOnly(line) == line {
					t.Errorf("%s: %q", lang.Tag(), list)
				}
			}
		}
		for _, s := range []string{p.why, p.todo, p.delivered, p.relayed, p.expanded, p.until, p.transcript, p.late} {
			if s == "" || asciiOnly(s) == s {
				t.Errorf("%s: %q", lang.Tag(), s)
			}
		}
	}
}
