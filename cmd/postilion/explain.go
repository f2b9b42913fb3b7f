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
			x := explainer{explain.New(), lang}
			var found []explanation
			switch {
			case list:
				found = x.list()
			case len(args) > 0:
				found = x.line(strings.Join(args, " "), true)
			default:
				found, err = x.all(a.in)
			}
			if err != nil {
				return err
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

// labels are what stands before cause and remedy.
var labels = [...][3]string{
	reason.English:  {"cause:  ", "remedy: ", "nothing known is exactly that; this resembles it:"},
	reason.Korean:   {"원인: ", "조치: ", "꼭 맞는 것은 없습니다. 비슷한 것입니다:"},
	reason.Japanese: {"原因: ", "対処: ", "一致するものはありません。似ているものです:"},
}

func tellExplanations(w io.Writer, found []explanation, lang reason.Language) {
	line := ""
	label := labels[lang]
	for i, x := range found {
		if (x.Line != line || i == 0) && x.Line != "" {
			line = x.Line
			if i > 0 {
				fmt.Fprintln(w)
			}
			fmt.Fprintln(w, escape(line))
			if x.Near {
				fmt.Fprintln(w, label[2])
			}
		}
		fmt.Fprintf(w, "  %s\n  %s%s\n  %s%s\n", x.headline(), label[0], x.Cause, label[1], x.Remedy)
	}
}

// headline tells who says what.
func (x *explanation) headline() string {
	class := ""
	if x.Class != "" {
		class = ", " + x.Class
	}
	// Words may be of two lines.
	text := strings.ReplaceAll(x.Text, "\n", " ")
	switch explain.Kind(x.Kind) {
	case explain.Reason:
		return "postilion says: " + text + " [" + x.Program + "]"
	case explain.Log:
		return "postilion logs: " + text
	case explain.Status:
		return "status " + x.Program + class
	case explain.Reply:
		return "reply " + x.Program + class
	case explain.Exit:
		return "exit code " + x.Program
	}
	return x.Program + " says" + class + ": " + text
}
