package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postilion/postilion/internal/qmail/texts"
)

// explanation is one text that was found in what was asked about.
type explanation struct {
	Line    string   `json:"line"` // of the input
	Program string   `json:"program"`
	Text    string   `json:"text"` // "*" stands for what differs from case to case
	Args    []string `json:"args"`
	Class   string   `json:"class"`
	Cause   string   `json:"cause"`
	Remedy  string   `json:"remedy"`
}

func (a *app) explainCommand() *cobra.Command {
	return &cobra.Command{
		Use: "explain [TEXT...]", Short: "Tell cause and remedy of what qmail's programs say when something fails",
		Long: "Tell which of the texts that qmail's programs use in bounces, replies and logs occur in TEXT, and for each\n" +
			"what it means, why it comes, and what to do. Without TEXT the standard input is read, line by line: a\n" +
			"bounce, or qmail-send's log.",
		RunE: func(_ *cobra.Command, args []string) error {
			found := []explanation{}
			var err error
			if len(args) > 0 {
				found = explain(found, strings.Join(args, " "))
			} else {
				found, err = explainAll(a.in)
			}
			if err != nil {
				return err
			}
			if len(found) == 0 && !a.json {
				return errors.New("no text of qmail's programs is in that")
			}
			return a.show(found, func(w io.Writer) { tellExplanations(w, found) })
		},
	}
}

// maxExplainLine bounds a line of the input, in bytes.
const maxExplainLine = 1 << 20

func explainAll(in io.Reader) (found []explanation, err error) {
	found = []explanation{}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxExplainLine)
	for lines.Scan() {
		found = explain(found, lines.Text())
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading the standard input: %w", err)
	}
	return found, nil
}

func explain(found []explanation, line string) []explanation {
	for _, m := range texts.Find(line) {
		x := explanation{Line: line, Program: m.Program, Text: m.Words, Args: m.Args, Class: m.Class.String(), Cause: m.Cause, Remedy: m.Remedy}
		if x.Args == nil {
			x.Args = []string{}
		}
		found = append(found, x)
	}
	return found
}

func tellExplanations(w io.Writer, found []explanation) {
	line := ""
	for i, x := range found {
		if x.Line != line || i == 0 {
			line = x.Line
			if i > 0 {
				fmt.Fprintln(w)
			}
			fmt.Fprintln(w, escape(line))
		}
		fmt.Fprintf(w, "  %s says, %s: %s\n  cause:  %s\n  remedy: %s\n", x.Program, x.Class, x.Text, x.Cause, x.Remedy)
	}
}
