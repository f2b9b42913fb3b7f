package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postilion/postilion/internal/explain"
	"github.com/postilion/postilion/internal/reason"
)

// explanation is one thing that was found in what was asked about.
type explanation struct {
	Line    string   `json:"line"` // of the input
	Kind    string   `json:"kind"`
	Program string   `json:"program"` // who says it; the name of a reason or code for those
	Text    string   `json:"text"`    // "*" stands for what differs from case to case
	Args    []string `json:"args"`
	Class   string   `json:"class"`
	Cause   string   `json:"cause"`
	Remedy  string   `json:"remedy"`
	Near    bool     `json:"near"` // it only resembles the line
}

func (a *app) explainCommand() *cobra.Command {
	var language string
	var list bool
	c := &cobra.Command{
		Use: "explain [TEXT...]", Short: "Tell cause and remedy of a bounce, reply, log line, reason or code",
		Long: "Tell what is known of TEXT: the reasons of this server and the lines of its log, what qmail's programs and other\n" +
			"mail servers say in bounces, replies and logs, status codes such as 5.1.1, reply codes, and exit codes (\"exit 111\").\n" +
			"Each with why it comes and what to do. Where nothing fits, what resembles TEXT is told. Without TEXT the standard\n" +
			"input is read, line by line: a bounce, or a log.",
		RunE: func(c *cobra.Command, args []string) error {
			lang, err := chosenLanguage(language)
			if err != nil {
				return err
			}
			found, err := explainer{explain.New(), lang}.asked(args, list, a.in)
			if err != nil {
				return err
			}
			if len(found) == 0 && !a.json && len(args) == 0 {
				return errors.New("no line of that has a text of this server's, of qmail's programs or of other servers', or a code; a single text is looked for more widely: postilion explain TEXT")
			}
			if len(found) == 0 && !a.json {
				return errors.New("nothing is known of that: it is no text of this server's or of qmail's programs, and none resembles it; try fewer words, or a code such as 5.1.1")
			}
			if found == nil {
				found = []explanation{}
			}
			return a.show(found, func(w io.Writer) { tellExplanations(w, found, lang) })
		},
	}
	c.Flags().StringVar(&language, "language", "", "`language` to answer in: en, ko or ja (default that of the environment)")
	c.Flags().BoolVar(&list, "list", false, "tell everything that is known")
	return c
}

// chosenLanguage is the one that was asked for, or the environment's.
func chosenLanguage(asked string) (reason.Language, error) {
	if asked != "" {
		lang, ok := reason.LanguageOf(asked)
		if !ok {
			return lang, usageError{fmt.Errorf("--language %q: want en, ko or ja", asked)}
		}
		return lang, nil
	}
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} { // as locale(7) has them
		if v := os.Getenv(name); v != "" {
			lang, _ := reason.LanguageOf(v)
			return lang, nil
		}
	}
	return reason.English, nil
}

// maxExplainLine bounds a line of the input, in bytes.
const maxExplainLine = 1 << 20

// explainer explains lines in a language.
type explainer struct {
	known *explain.Catalogue
	lang  reason.Language
}

// asked explains everything, some words, or an input.
func (x explainer) asked(args []string, list bool, in io.Reader) ([]explanation, error) {
	switch {
	case list:
		return x.list(), nil
	case len(args) > 0:
		return x.line(strings.Join(args, " "), true), nil
	}
	return x.all(in)
}

// all explains each line of an input. What resembles is not looked for: most lines of a log need no
// explanation.
func (x explainer) all(in io.Reader) (found []explanation, err error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxExplainLine)
	for lines.Scan() {
		found = append(found, x.line(lines.Text(), false)...)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading the standard input: %w", err)
	}
	return found, nil
}

// line explains one line; near also looks for what resembles it.
func (x explainer) line(line string, near bool) (found []explanation) {
	entries := x.known.Find(line, x.lang)
	if len(entries) == 0 && near {
		entries = x.known.Near(line, x.lang)
	}
	for _, e := range entries {
		found = append(found, explanationOf(line, e))
	}
	return found
}

// list tells all that is known.
func (x explainer) list() (found []explanation) {
	for _, e := range x.known.All(x.lang) {
		found = append(found, explanationOf("", e))
	}
	return found
}

func explanationOf(line string, e explain.Entry) explanation {
	x := explanation{Line: line, Kind: string(e.Kind), Program: e.Name, Text: e.Words, Args: e.Args, Class: e.Class, Cause: e.Cause, Remedy: e.Remedy, Near: e.Near}
	if x.Args == nil {
		x.Args = []string{}
	}
	return x
}

// labels are what stands around causes and remedies.
type labels struct {
	cause, remedy, near     string
	says, logs              string // %[1]s is who, %[2]s a class in brackets or nothing, %[3]s what
	status, reply, exit     string // the same, without what
	temporary, perm, notice string
}

// labelsIn are those of each language.
var labelsIn = [...]labels{
	reason.English: {"cause:  ", "remedy: ", "nothing known is exactly that; this resembles it:",
		"%[1]s says%[2]s: %[3]s", "%[1]s logs: %[3]s", "status %[1]s%[2]s", "reply %[1]s%[2]s", "exit code %[1]s", ", temporary", ", permanent", ", notice"},
	reason.Korean: {"원인: ", "조치: ", "꼭 맞는 것은 없습니다. 비슷한 것입니다:",
		"%[1]s의 문구%[2]s: %[3]s", "%[1]s의 로그: %[3]s", "상태 코드 %[1]s%[2]s", "응답 코드 %[1]s%[2]s", "종료 코드 %[1]s", " (일시적)", " (영구적)", " (알림)"},
	reason.Japanese: {"原因: ", "対処: ", "一致するものはありません。似ているものです:",
		"%[1]s の文%[2]s: %[3]s", "%[1]s のログ: %[3]s", "状態コード %[1]s%[2]s", "応答コード %[1]s%[2]s", "終了コード %[1]s", " (一時的)", " (恒久的)", " (通知)"},
}

func tellExplanations(w io.Writer, found []explanation, lang reason.Language) {
	line := ""
	l := &labelsIn[lang]
	for i, x := range found {
		if (x.Line != line || i == 0) && x.Line != "" {
			line = x.Line
			if i > 0 {
				fmt.Fprintln(w)
			}
			fmt.Fprintln(w, escape(line))
			if x.Near {
				fmt.Fprintln(w, l.near)
			}
		}
		fmt.Fprintf(w, "  %s\n  %s%s\n  %s%s\n", l.headline(&x), l.cause, x.Cause, l.remedy, x.Remedy)
	}
}

// headline tells who says what.
func (l *labels) headline(x *explanation) string {
	class := map[string]string{"temporary": l.temporary, "permanent": l.perm, "notice": l.notice}[x.Class]
	text := strings.ReplaceAll(x.Text, "\n", " ") // words may be of two lines
	form, who := l.says, x.Program
	switch explain.Kind(x.Kind) {
	case explain.Reason:
		who, text = "postilion", text+" ["+x.Program+"]"
	case explain.Log:
		form = l.logs
	case explain.Status:
		form = l.status
	case explain.Reply:
		form = l.reply
	case explain.Exit:
		form = l.exit
	}
	if !strings.Contains(form, "%[3]s") {
		return fmt.Sprintf(strings.ReplaceAll(form, "%[2]s", class), who)
	}
	return fmt.Sprintf(form, who, class, text)
}
