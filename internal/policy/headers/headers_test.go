package headers

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"

	"github.com/postilion/postilion/internal/reason"
)

func write(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// look holds rules against a message that comes in pieces of step bytes.
func look(t testing.TB, s *Set, message string, step int) (string, *Verdict) {
	t.Helper()
	c := s.Begin(Network)
	if c == nil {
		t.Fatal("nothing is looked at")
	}
	head, body, _ := strings.Cut(message, "\n\n")
	feed := func(s string, f func([]byte)) {
		for s != "" {
			n := min(step, len(s))
			f([]byte(s[:n]))
			s = s[n:]
		}
	}
	feed(head+"\n", c.Header)
	added, _ := c.EndHeader()
	feed("\n"+body, c.Body)
	return string(added), c.End()
}

func open1(t testing.TB, o Options, format, rules string) *Set {
	t.Helper()
	path := write(t, rules)
	o.Files = append(o.Files, format+path)
	s, err := Open(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// outcome is what a test expects: hits as lines "number of the rule's line VERB: what (part): text", and the reply.
func outcome(added string, v *Verdict) string {
	var b strings.Builder
	for i := range v.Hits {
		h := &v.Hits[i]
		fmt.Fprintf(&b, "%s %s\n", h.Rule[strings.LastIndexByte(h.Rule, ':')+1:], h)
	}
	if added != "" {
		b.WriteString("+" + added)
	}
	if v.Hold {
		b.WriteString("held\n")
	}
	if v.Complex != "" {
		b.WriteString("too many " + v.Complex + "\n")
	}
	if e := v.Refused; e != nil {
		fmt.Fprintf(&b, "%d %s %s\n", e.Code, e.Enhanced, e.Text(reason.English))
	}
	return b.String()
}

const worm = "From: a@x.example\nSubject: ILOVEYOU\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nkindly check the attached LOVELETTER coming from me.\n--b\n" +
	"Content-Type: application/octet-stream;\n\tname=\"LOVE-LETTER-FOR-YOU.TXT.vbs\"\nContent-Transfer-Encoding: base64\n\nAAAA\n--b--\n"

func TestRulesDecide(t *testing.T) {
	t.Parallel()
	plain := "From: Joe <joe@x.example>\nSubject: Re:  iloveyou \nTo: ann@here.test\n\nx\n"
	forwarded := "Subject: FYI\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\n" + worm + "\n--b--\n"
	for _, tt := range []struct{ name, rules, message, want string }{
		{"an exact value", "Subject: \"ILOVEYOU\" REJECT 501 This message may contain a virus.", worm, "1 REJECT: Subject: ILOVEYOU\n501 5.0.0 This message may contain a virus.\n"},
		{"an exact value is the whole", "Subject: \"ILOVEYOU\" REJECT", "Subject: ILOVEYOU from me\n\n", ""},
		{"case and blanks do not matter", "Subject: \"re: ILOVEYOU\" REJECT", plain, "1 REJECT: Subject: Re:  iloveyou\n550 5.7.1 message content rejected\n"},
		{"not that value", "To: !\"ann@here.test\" REJECT", plain, ""},
		{"Postfix's form", "/^Subject: .*iloveyou/ REJECT 5.7.0 no worms", plain, "1 REJECT: Subject: Re:  iloveyou\n550 5.7.0 no worms\n"},
		{"case where the flag i says so", "/^Subject: .*iLoveYou/i REJECT", plain, ""},
		{"a field's pattern", "from: /joe@(.*)>/ WARN mail of $1 ($$1)", plain, "1 WARN: From: Joe <joe@x.example>: mail of x.example ($1)\n"},
		{"defer", "Subject: /love/ DEFER later", plain, "1 DEFER: Subject: Re:  iloveyou\n451 4.7.1 later\n"},
		{"a status alone", "Subject: /love/ REJECT 4.7.0 later", plain, "1 DEFER: Subject: Re:  iloveyou\n451 4.7.0 later\n"},
		{"code and status", "Subject: /love/ 554 5.6.0 go away", plain, "1 REJECT: Subject: Re:  iloveyou\n554 5.6.0 go away\n"},
		{"what is to vanish is refused", "Subject: /love/ DISCARD worm", plain, "1 REJECT: Subject: Re:  iloveyou\n550 5.7.1 worm\n"},
		{"hold and add", "Subject: /love/ HOLD look at it\n/^To: (.*)/ PREPEND X-Was-To: <$1>", plain, "1 HOLD: Subject: Re:  iloveyou: look at it\n2 PREPEND: To: ann@here.test: X-Was-To: <ann@here.test>\n+X-Was-To: <ann@here.test>\nheld\n"},
		{"the first of a file decides about a field", "/^Subject:/ DUNNO\n/love/ REJECT", plain, ""},
		{"a rule on test changes nothing", "Subject: /love/ TEST REJECT 550 x\nSubject: /you/ WARN", plain, "1 would REJECT: Subject: Re:  iloveyou\n2 WARN: Subject: Re:  iloveyou\n"},
		{"conditions", "if /^Subject:/\nif !/^Subject: Re:/\n/love/ REJECT\nendif\n/love/ WARN re\nendif\n/love/ REJECT", plain, "5 WARN: Subject: Re:  iloveyou: re\n"},
		{"an attachment", "attachment /\\.(exe|vbs)$/ REJECT 554 5.7.1 no .$1 here", worm, "1 REJECT: attachment LOVE-LETTER-FOR-YOU.TXT.vbs (part 2)\n554 5.7.1 no .vbs here\n"},
		{"an attachment's exact name", "attachment \"love-letter-for-you.txt.VBS\" REJECT", worm, "1 REJECT: attachment LOVE-LETTER-FOR-YOU.TXT.vbs (part 2)\n550 5.7.1 message content rejected\n"},
		{"fields of parts", "/^Content-Type:.*name=\"?love/ REJECT", worm, "1 REJECT: Content-Type: application/octet-stream;\tname=\"LOVE-LETTER-FOR-YOU.TXT.vbs\" (part 2)\n550 5.7.1 message content rejected\n"},
		{"messages within", "Subject: \"ILOVEYOU\" REJECT\nattachment /vbs$/ WARN", forwarded, "1 REJECT: Subject: ILOVEYOU (message in part 1)\n2 WARN: attachment LOVE-LETTER-FOR-YOU.TXT.vbs (part 1.2)\n550 5.7.1 message content rejected\n"},
		{"a permanent refusal goes before a temporary", "From: /x/ DEFER\nSubject: /love/ REJECT", worm, "1 DEFER: From: a@x.example\n2 REJECT: Subject: ILOVEYOU\n550 5.7.1 message content rejected\n"},
		{"lines go on, comments do not matter", "# worms\n/^Subject:.*love/\n\t# yes\n\tREJECT\n\t501\n", plain, "2 REJECT: Subject: Re:  iloveyou\n501 5.0.0 message content rejected\n"},
		{"another delimiter", "~^From:.*joe@x\\.example~ WARN", plain, "1 WARN: From: Joe <joe@x.example>\n"},
		{"Nimda's boundary", "Content-Type: /boundary=\"====_ABC1?2?3?4567890DEF_====\"/ REJECT I guess NIMDA.WORM!!!", "Content-Type: multipart/related;\n\ttype=\"multipart/alternative\";\n\tboundary=\"====_ABC1234567890DEF_====\"\n\n--====_ABC1234567890DEF_====\n\nx\n",
			"1 REJECT: Content-Type: multipart/related;\ttype=\"multipart/alternative\";\tboundary=\"====_ABC1234567890DEF_====\"\n550 5.7.1 I guess NIMDA.WORM!!!\n"},
		{"Sircam", "Content-Disposition: \"Multipart message\" REJECT 550 Warning: I Guess Sircam.worm Virus", "Content-Disposition: Multipart message\n\nx\n", "1 REJECT: Content-Disposition: Multipart message\n550 5.0.0 Warning: I Guess Sircam.worm Virus\n"},
		{"a header alone", "Subject: /x/ REJECT", "Subject: x", "1 REJECT: Subject: x\n550 5.7.1 message content rejected\n"},
		{"what a peer says is made fit for a reply", "Subject: /(.*)/ REJECT \"$1\"", "Subject: a\x07b\xff\n\n", "1 REJECT: Subject: a\ab?\n550 5.7.1 \"a?b?\"\n"},
	} {
		s := open1(t, Options{}, "", tt.rules)
		for _, step := range []int{1, 7, 1 << 20} {
			if got := outcome(look(t, s, tt.message, step)); got != tt.want {
				t.Errorf("%s, in pieces of %d: -want +got:\n%s", tt.name, step, cmp.Diff(tt.want, got))
			}
		}
	}
}

func TestATestedFileChangesNothing(t *testing.T) {
	t.Parallel()
	s := open1(t, Options{Test: true}, "", "Subject: /love/ REJECT\n/^Subject:/ HOLD\n/^From:/ PREPEND X-A: b\nattachment /vbs/ DEFER")
	want := "3 would PREPEND: From: a@x.example: X-A: b\n1 would REJECT: Subject: ILOVEYOU\n2 would HOLD: Subject: ILOVEYOU\n4 would DEFER: attachment LOVE-LETTER-FOR-YOU.TXT.vbs (part 2)\n"
	if got := outcome(look(t, s, worm, 100)); got != want {
		t.Errorf("-want +got:\n%s", cmp.Diff(want, got))
	}
}

func TestScopesAreThoseOfPostfix(t *testing.T) {
	t.Parallel()
	message := "Subject: outer\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\nX-Of-Part: 1\n\nSubject: inner\nContent-Type: text/x\n\nx\n--b--\n"
	for format, want := range map[string]string{
		"header:": "Subject: outer", "mime:": "Content-Type: multipart/mixed; boundary=b|Content-Type: message/rfc822|X-Of-Part: 1|Content-Type: text/x", "nested:": "Subject: inner",
		"regexp:": "Subject: outer|Content-Type: multipart/mixed; boundary=b|Content-Type: message/rfc822|X-Of-Part: 1|Subject: inner|Content-Type: text/x",
	} {
		_, v := look(t, open1(t, Options{}, format, "/./ WARN"), message, 100)
		var got []string
		for _, h := range v.Hits {
			got = append(got, h.What)
		}
		if d := cmp.Diff(want, strings.Join(got, "|")); d != "" {
			t.Errorf("%s -want +got:\n%s", format, d)
		}
	}
}

func TestTextIsFoundInEveryFormThatReadersSee(t *testing.T) {
	t.Parallel()
	as := func(e encoding.Encoding, s string) string {
		out, err := e.NewEncoder().String(s)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	s := open1(t, Options{}, "", "Subject: /광고|広告/ REJECT\nSubject: \"공짜 여행\" REJECT\nattachment /(청구서|請求書)\\.exe$/ REJECT\n")
	attach := func(params string) string { return "Content-Disposition: attachment; " + params + "\n\n" }
	for name, message := range map[string]string{
		"UTF-8": "Subject: (광고) x\n\n", "encoded words": "Subject: =?euc-kr?B?vLG5sCCxpLDt?=\n\n", "EUC-KR": "Subject: " + as(korean.EUCKR, "(광고) 세일") + "\n\n",
		"Shift_JIS": "Subject: " + as(japanese.ShiftJIS, "未承諾広告※") + "\n\n", "EUC-JP": "Subject: " + as(japanese.EUCJP, "未承諾広告") + "\n\n",
		"ISO-2022-KR": "Subject: \x1b$)C(\x0e1$0m\x0f)\n\n", "an encoded ISO-2022-KR": "Subject: =?ISO-2022-KR?B?GyQpQw4xJDBtDw==?=\n\n",
		"ISO-2022-JP": "Subject: " + as(japanese.ISO2022JP, "未承諾広告") + "\n\n", "an encoded ISO-2022-JP": "Subject: =?ISO-2022-JP?B?GyRCOS05cBsoQg==?=\n\n",
		"words split within a character": "Subject: =?utf-8?B?6rSR6rM=?=\n =?utf-8?B?oA==?=\n\n", "an exact value in EUC-KR": "Subject: " + as(korean.EUCKR, "공짜 여행") + "\n\n",
		"taken apart": "Subject: \u1100\u116a\u11bc\u1100\u1169\n\n", "an attachment": attach(`filename="청구서.exe"`), "RFC 2231": attach(`filename*0*=utf-8''%EC%B2%AD%EA%B5%AC; filename*1*=%EC%84%9C.exe`),
		"an attachment in EUC-KR": attach(`filename="` + as(korean.EUCKR, "청구서") + `.exe"`), "an attachment in Shift_JIS": attach(`filename="` + as(japanese.ShiftJIS, "請求書") + `.exe"`),
		"an attachment in encoded words": attach(`filename="=?iso-2022-jp?B?GyRCQEE1YT1xGyhCLmV4ZQ==?="`), "dots at its end": attach(`filename="청구서.exe. ."`),
		"a second name": attach(`filename=x.txt; filename="청구서.exe"`),
	} {
		if _, v := look(t, s, message, 10); v.Refused == nil {
			t.Errorf("%s: %q is not found", name, message)
		}
	}
	if _, v := look(t, s, "Subject: \xff\xfe\x1b$B\xff\n\n", 10); v.Refused != nil {
		t.Errorf("%+v", v.Hits)
	}
}

func TestWhoseMailIsLookedAt(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		whose                       []string
		network, accounts, programs bool
	}{{nil, true, true, false}, {[]string{"programs"}, false, false, true}, {[]string{"network", "programs"}, true, false, true}} {
		s := open1(t, Options{Whose: tt.whose}, "", "/x/ WARN")
		for w, want := range map[Whose]bool{Network: tt.network, Accounts: tt.accounts, Programs: tt.programs} {
			if got := s.Begin(w) != nil; got != want {
				t.Errorf("%q looks at %s: %v", tt.whose, w, got)
			}
		}
	}
	if s, err := Open(Options{}, nil); s != nil || err != nil || s.Begin(Network) != nil || s.Errors() != nil {
		t.Error("without files something is looked at")
	}
	if open1(t, Options{}, "", "# nothing\n").Begin(Network) != nil {
		t.Error("without rules something is looked at")
	}
}

func TestBrokenFilesAreNamedWithTheirLine(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("if /a/\n", maxDepth+1) + strings.Repeat("endif\n", maxDepth+1)
	for text, want := range map[string]string{
		"/a REJECT":                     `RULES:1: "/a REJECT": the pattern has no / at its end`,
		"//":                            `RULES:1: want a pattern that is not empty`,
		"/a/":                           `RULES:1: the rule does nothing: want REJECT, DEFER, HOLD, PREPEND, WARN, INFO, DUNNO or DISCARD, or TEST before one of them`,
		"# x\n\n/a/ REPLACE b":          `RULES:3: action "REPLACE": want REJECT, DEFER, HOLD, PREPEND, WARN, INFO, DUNNO or DISCARD, or TEST before one of them`,
		"/a/x REJECT":                   `RULES:1: flag 'x' behind the pattern: want i, m, s or U`,
		"/(a/ REJECT":                   "RULES:1: the pattern cannot be used: missing closing ): \"(?is)(a\" (patterns are those of RE2, without look-ahead and back-references)",
		"/(?!a)b/ REJECT":               "RULES:1: the pattern cannot be used: invalid or unsupported Perl syntax: \"(?!\" (patterns are those of RE2, without look-ahead and back-references)",
		"/(a)\\1/ REJECT":               "RULES:1: the pattern cannot be used: invalid escape sequence: \"\\\\1\" (patterns are those of RE2, without look-ahead and back-references)",
		"/((a{100}){100}){100}/ REJECT": "RULES:1: the pattern cannot be used: invalid repeat count: \"{100}\" (patterns are those of RE2, without look-ahead and back-references)",
		"/(a{1000}){1}b{999}.{999}[a-z]{999}.{999}x{999}/ REJECT": `RULES:1: the pattern is too costly: it has 5999 steps, want at most 5000`,
		"/" + strings.Repeat("a", 2001) + "/ REJECT":              `RULES:1: the pattern has 2001 bytes: want at most 2000`,
		"/a/ REJECT 501 4.7.1 b":                                  `RULES:1: 4.7.1 and 501 are of different classes`,
		"/a/ REJECT 2.0.0 b":                                      `RULES:1: 2.0.0 is no status of a refusal: want 4.X.X or 5.X.X`,
		"/a/ DEFER 550 b":                                         `RULES:1: DEFER with 550 5.0.0: want codes that begin with 4`,
		"/a/ REJECT 광고":                                           `RULES:1: "광고": want ASCII: that is all that every client can be told`,
		"/a/ REJECT $1":                                           `RULES:1: the text speaks of $1, and the pattern has 0 groups in parentheses (write $$ for a dollar)`,
		"!/(a)/ REJECT $1":                                        `RULES:1: the text speaks of $1, and the pattern has 0 groups in parentheses (write $$ for a dollar)`,
		"/a/ REJECT " + strings.Repeat("b", 401):                  `RULES:1: the text has 401 bytes: want at most 400`,
		"/a/ PREPEND x":                                           `RULES:1: "x": want a field behind PREPEND, as in X-Checked: yes`,
		"attachment /a/ PREPEND X: y":                             `RULES:1: PREPEND adds to the header, which has gone by when attachments are seen: want a rule for header fields`,
		"Subject:/a/ REJECT":                                      `RULES:1: "Subject:/a/": want a blank behind the colon, as in Subject: /pattern/ REJECT`,
		"Subject /a/ REJECT":                                      `RULES:1: "Subject": want /pattern/, Field: /pattern/, Field: "value", attachment /pattern/, if or endif`,
		"Subject: a REJECT":                                       `RULES:1: "a REJECT": want a pattern in slashes, or a value in quotes`,
		"Subject: \"a REJECT":                                     `RULES:1: "\"a REJECT": the value has no quote at its end`,
		"Subject: \"\" REJECT":                                    `RULES:1: want a value that is not empty`,
		"\"a\" REJECT":                                            `RULES:1: want the name of a field before an exact value, as in Subject: "ILOVEYOU"`,
		"endif":                                                   `RULES:1: no if stands before this endif`,
		"if /a/\n/b/ REJECT":                                      `RULES:1: no endif follows this if`,
		"if /a/ REJECT\nendif":                                    `RULES:1: " REJECT": want the end of the line behind the pattern of an if`,
		"if\nendif":                                               `RULES:1: want a pattern, as in /^Subject: ILOVEYOU/`,
		"if /a/\nattachment /b/ WARN\nendif":                      `RULES:2: if looks at header fields: want rules for attachments outside of it`,
		deep:                                                      `RULES:21: want at most 20 if inside one another`,
		"/\xb1\xa4\xb0\xed/ REJECT":                               `RULES:1: want UTF-8: rules are compared with text in whatever character set`,
		"/a\x00b/ REJECT":                                         `RULES:1: want a text file: the line has a NUL byte`,
		"/a REJECT\n/b/ OOPS":                                     "RULES:1: \"/a REJECT\": the pattern has no / at its end\nRULES:2: action \"OOPS\": want REJECT, DEFER, HOLD, PREPEND, WARN, INFO, DUNNO or DISCARD, or TEST before one of them",
	} {
		path := write(t, text)
		_, err := Open(Options{Files: []string{path}}, nil)
		if err == nil || strings.ReplaceAll(err.Error(), path, "RULES") != want {
			t.Errorf("%.60q:\nhave %v\nwant %s", text, err, want)
		}
	}
	for _, tt := range []struct {
		o    Options
		want string
	}{
		{Options{Files: []string{"rules"}}, `files: "rules": want the absolute path of a file`},
		{Options{Files: []string{"milter:/x"}}, `files: "milter:/x": format "milter": want header, mime, nested or sendmail`},
		{Options{Files: []string{"/does/not/exist"}}, `/does/not/exist: there is no such file`},
		{Options{Whose: []string{"all"}}, `whose: "all": want network, accounts or programs`},
		{Options{Complex: "drop"}, `too_complex: "drop": want refuse or accept`},
	} {
		if err := tt.o.Validate(); err == nil || err.Error() != tt.want {
			t.Errorf("%+v: %v, want %s", tt.o, err, tt.want)
		}
	}
}

// A file that turns bad while the server runs takes nothing out of force.
func TestABrokenFileLeavesTheOldRulesInForce(t *testing.T) {
	t.Parallel()
	path := write(t, "Subject: \"ILOVEYOU\" REJECT\n")
	told := make(chan error, 10)
	s, err := Open(Options{Files: []string{path}}, func(err error) { told <- err })
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("/oops\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); len(s.Errors()) == 0 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if _, v := look(t, s, worm, 100); v.Refused == nil || len(s.Errors()) != 1 {
		t.Errorf("%+v, %q", v, s.Errors())
	}
	if err := <-told; !strings.Contains(err.Error(), path+":1:") {
		t.Errorf("told %v", err)
	}
}
