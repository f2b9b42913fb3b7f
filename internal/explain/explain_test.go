package explain_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/postilion/postilion/internal/explain"
	"github.com/postilion/postilion/internal/qmail/texts"
	"github.com/postilion/postilion/internal/reason"
)

var languages = []reason.Language{reason.English, reason.Korean, reason.Japanese}

func TestEverythingIsExplainedInEachLanguage(t *testing.T) {
	t.Parallel()
	c := explain.New()
	kinds := map[explain.Kind]int{}
	for _, lang := range languages {
		for _, e := range c.All(lang) {
			kinds[e.Kind]++
			for _, s := range []string{e.Cause, e.Remedy} {
				ascii := !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x1100 })
				if s == "" || !utf8.ValidString(s) || strings.ContainsAny(s, "\r\n") || ascii != (lang == reason.English) {
					t.Errorf("%s %s %q in %s: %q", e.Kind, e.Name, e.Words, lang.Tag(), s)
				}
			}
		}
	}
	for kind, least := range map[explain.Kind]int{explain.Program: 230, explain.Reason: 140, explain.Log: 50, explain.Status: 60, explain.Reply: 25, explain.Exit: 40} {
		if kinds[kind] < 3*least {
			t.Errorf("%s: only %d entries", kind, kinds[kind]/3)
		}
	}
}

// found tells whether a line is explained by something that wants accepts.
func found(list []explain.Entry, wants func(explain.Entry) bool) bool {
	return slices.ContainsFunc(list, wants)
}

// What guides for operators of sendmail and qmail hosts say to look for.
func TestTextsOfOperatorsGuidesAreFound(t *testing.T) {
	t.Parallel()
	c := explain.New()
	for line, want := range map[string]string{
		"550 5.1.1 <joe@a.test>... User unknown":                                    "User unknown",
		"Host unknown (Name server: a.test: host not found)":                        "Name server: *: host not found",
		"stat=Deferred: Name server: a.test: host not found":                        "Name server: *: host not found",
		"joe@a.test... Transient parse error -- message queued for future delivery": "Transient parse error -- message queued for future delivery",
		"Message could not be delivered for 5 days":                                 "Message could not be delivered for *",
		"Warning: could not send message for past 4 hours":                          "could not send message for past *",
		"(reason: can't create (user) output file)":                                 "can't create (user) output file",
		"550 5.0.0 <joe@a.test>... Can't create output":                             "Can't create output",
		"rejecting connections on daemon MTA: load average: 14":                     "rejecting connections",
		"-ERR Can't get lock. Mailbox in use":                                       "Can't get lock. Mailbox in use",
		"inetd[99]: pop3/tcp server failing (looping), service terminated":          "server failing (looping)",
		"The file setup.exe has been infected with the virus W32.Klez":              "has been infected with the virus *",
		"Fragmented emails are not permitted":                                       "Fragmented emails are not permit*",
		"procmail: Quota exceeded while writing \"/var/spool/mail/joe\"":            "Quota exceeded while writing *",
		"delivery 1: deferral: CNAME_lookup_failed_temporarily._(#4.4.3)/":          "CNAME lookup failed temporarily. (#4.4.3)",
		"Postfix: 550 5.1.1 <joe@a.test>: User unknown in local recipient table":    "User unknown in local recipient table",
	} {
		list := c.Find(line, reason.English)
		if !found(list, func(e explain.Entry) bool { return e.Words == want }) {
			t.Errorf("%q: %+v, want %q", line, list, want)
		}
	}
}

func TestEveryTextOfTheFamilyIsFound(t *testing.T) {
	t.Parallel()
	c := explain.New()
	for _, x := range texts.All() {
		line := "<joe@a.test>: " + strings.ReplaceAll(x.Words, "*", "192.0.2.1")
		if !found(c.Find(line, reason.Korean), func(e explain.Entry) bool { return e.Words == x.Words || e.Kind == explain.Reason }) && len(x.Words) >= 12 {
			t.Errorf("%s %q is not found: %+v", x.Program, x.Words, c.Find(line, reason.Korean))
		}
	}
}

// Each reason is found by its name, and by its text in any language where it says something by itself.
func TestEveryReasonIsFound(t *testing.T) {
	t.Parallel()
	c := explain.New()
	for _, id := range reason.IDs() {
		is := func(e explain.Entry) bool { return e.Kind == explain.Reason && e.Name == id }
		if !found(c.Find("level=INFO reason="+id+" to=joe", reason.English), is) {
			t.Errorf("%s is not found by its name", id)
		}
		for _, lang := range languages {
			text := (&reason.Error{Reason: reason.ID(id), Args: []string{"joe", "ann", "3"}}).Text(lang)
			if stars := strings.Trim(reason.Explained(reason.ID(id), lang), "* :."); utf8.RuneCountInString(stars) < 8 {
				continue
			}
			list := c.Find("550 5.7.1 "+text, lang)
			if !found(list, func(e explain.Entry) bool {
				return is(e) || e.Kind == explain.Program || e.Kind == explain.Reason && strings.Contains(text, strings.Trim(e.Words, "* ."))
			}) {
				t.Errorf("%s in %s: %q is not found: %+v", id, lang.Tag(), text, list)
			}
		}
	}
}

func TestCodesAreFound(t *testing.T) {
	t.Parallel()
	c := explain.New()
	for line, want := range map[string]string{
		"Status: 5.1.1": "status 5.1.1", "4.2.2": "status 4.2.2", "(#4.7.0)": "status 4.7.0", "x 5.1.10.": "status 5.1.10",
		"421": "reply 421", "550 no": "reply 550", "code 441": "status 4.4.1", "511": "status 5.1.1",
		"exit 99": "exit 99", "exit status 75": "exit 75", "exit code: 100": "exit 100", "exited 25600": "exit 100",
		"1.5.1.1": "", "192.0.2.1": "", "15501": "", "message=06h02yn7dr001aea456fpzz4x0": "", "size=550 took=451": "", "linux 5.4.0-generic": "", "smtp; 550 5.1.1 no": "status 5.1.1",
	} {
		got := []string{}
		for _, e := range c.Find(line, reason.English) {
			got = append(got, string(e.Kind)+" "+e.Name)
		}
		if want == "" && len(got) > 0 || want != "" && !slices.Contains(got, want) {
			t.Errorf("%q: %v, want %q", line, got, want)
		}
	}
}

func TestWhatResemblesIsOffered(t *testing.T) {
	t.Parallel()
	c := explain.New()
	for asked, want := range map[string]string{
		"relay denied not a domain": "relay-denied", "no mailbox by this nmae": "mailbox", "홈 디렉터리 쓸 수 있습니다": "home", "メールボックスが一杯": "full",
		"messge looping too many hops": "loop", "mailbox ful": "mailbox",
	} {
		lang := reason.English
		switch {
		case strings.Contains(asked, "홈"):
			lang = reason.Korean
		case strings.Contains(asked, "メ"):
			lang = reason.Japanese
		}
		list := c.Find(asked, lang)
		if list == nil {
			list = c.Near(asked, lang)
		}
		if !found(list, func(e explain.Entry) bool {
			return strings.Contains(e.Name+" "+e.Words+" "+e.Cause, want) || want == "home" && strings.Contains(e.Words, "홈") || want == "full" && strings.Contains(e.Words+e.Cause, "一杯")
		}) || len(list) > 12 {
			t.Errorf("%q: %+v", asked, list)
		}
	}
	if list := c.Near("zzzz qqqq", reason.English); len(list) > 0 {
		t.Errorf("%+v", list)
	}
}

// Errors that the server logs are known.
func TestEveryErrorThatIsLoggedIsExplained(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, e := range explain.New().All(reason.English) {
		known[e.Words] = e.Kind == explain.Log || known[e.Words]
	}
	logged := map[string]string{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasSuffix(d.Name(), "test") || d.Name() == "tools" || d.Name() == "loopdisk"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) < 2 { // messages come with what they are about
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			lit, isText := call.Args[0].(*ast.BasicLit)
			if ok && isText && sel.Sel.Name == "Error" && lit.Kind == token.STRING {
				if message, err := strconv.Unquote(lit.Value); err == nil {
					logged[message] = path
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for message, path := range logged {
		if !known[message] {
			t.Errorf("%s logs %q, which logLines does not explain", path, message)
		}
	}
	if len(logged) < 15 {
		t.Errorf("only %d messages were found: the test looks in the wrong place", len(logged))
	}
}

// A long line of anything is looked through in a bounded time.
func TestHostileLinesAreBounded(t *testing.T) {
	t.Parallel()
	c := explain.New()
	begun := time.Now()
	for _, s := range []string{strings.Repeat("a-", 1<<20), strings.Repeat("5.1.1 ", 1<<18), strings.Repeat("\x00\xff", 1<<20), strings.Repeat("Unable to ", 1<<17)} {
		c.Find(s, reason.English)
		c.Near(s, reason.Japanese)
	}
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}

func FuzzFind(f *testing.F) {
	c := explain.New()
	for _, s := range []string{"Sorry, no mailbox here by that name. (#5.1.1)", "exit 111", "5.1.1", "reason=relay-denied", "메일함", "\xff\x00*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, e := range append(c.Find(s, reason.Korean), c.Near(s, reason.English)...) {
			if e.Cause == "" || e.Remedy == "" {
				t.Fatalf("%+v", e)
			}
		}
	})
}
