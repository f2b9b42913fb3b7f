package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postilion/postilion/internal/policy/headers"
	"github.com/postilion/postilion/internal/reason"
)

// messageTest is the flags of `message test`.
type messageTest struct {
	rules, fields []string
	whose         string
}

func (a *app) messageCommand() *cobra.Command {
	group := &cobra.Command{Use: "message", Short: "Find out what would be done with a message"}
	var t messageTest
	test := &cobra.Command{
		Use: "test [FILE...]", Short: "Hold messages against the content rules, without sending any", Args: cobra.ArbitraryArgs,
		Long: "Hold messages against the content rules of the configuration, or against files of rules that are not in force\n" +
			"yet, and tell each hit with the file and line of the rule. Messages are files, or the standard input; --header\n" +
			"tries single fields instead. The exit code is 1 when one of them is refused, 4 when one has to wait.",
		RunE: func(_ *cobra.Command, files []string) error { return a.testMessages(&t, files) },
	}
	test.Flags().StringArrayVar(&t.rules, "rules", nil, "a `file` of rules in place of the configured ones, as in content_rules.files; may be given many times")
	test.Flags().StringArrayVar(&t.fields, "header", nil, "a header `field` in place of a message, such as 'Subject: ILOVEYOU'; may be given many times")
	test.Flags().StringVar(&t.whose, "whose", "network", "whose mail it would be: network, accounts or programs")
	group.AddCommand(test)
	return group
}

// tried is what became of one message.
type tried struct {
	Message string `json:"message"`
	*headers.Verdict
	Added string `json:"added,omitempty"` // fields that rules add
}

func (a *app) testMessages(t *messageTest, files []string) error {
	set, err := a.rulesToTest(t)
	if err != nil {
		return err
	}
	all := []tried{}
	if len(t.fields) > 0 {
		if len(files) > 0 {
			return usageError{errors.New("want files of messages or --header, not both")}
		}
		for _, f := range t.fields {
			v, err := try(set, headers.Whose(t.whose), strings.NewReader(strings.ReplaceAll(f, "\n", " ")+"\n\n"))
			if err != nil {
				return err
			}
			v.Message = f
			all = append(all, v)
		}
	} else if all, err = a.tryFiles(set, headers.Whose(t.whose), files); err != nil {
		return err
	}
	if err := a.show(all, func(w io.Writer) { printTried(w, all) }); err != nil {
		return err
	}
	return triedVerdict(all)
}

// rulesToTest opens the rules. Those of the configuration are in force, so that one on test tests too.
func (a *app) rulesToTest(t *messageTest) (*headers.Set, error) {
	switch headers.Whose(t.whose) {
	case headers.Network, headers.Accounts, headers.Programs:
	default:
		return nil, usageError{fmt.Errorf("--whose %q: want network, accounts or programs", t.whose)}
	}
	var o headers.Options
	if len(t.rules) == 0 {
		f, err := a.readConfig()
		if err != nil {
			return nil, err
		}
		if o = f.Content; len(o.Files) == 0 {
			return nil, errors.New("there are no content rules: set content_rules.files, or name a file with --rules")
		}
	}
	for _, r := range t.rules {
		format, path, ok := strings.Cut(r, ":")
		if !ok {
			format, path = "", r
		} else {
			format += ":"
		}
		abs, err := filepath.Abs(path)
		if err != nil {
			return nil, err
		}
		o.Files = append(o.Files, format+abs)
		o.Whose = []string{t.whose}
	}
	return headers.Open(o, nil)
}

func (a *app) tryFiles(set *headers.Set, w headers.Whose, files []string) (all []tried, err error) {
	if len(files) == 0 {
		v, err := try(set, w, a.in)
		if err != nil {
			return nil, fmt.Errorf("reading the standard input: %w", err)
		}
		v.Message = "standard input"
		return []tried{v}, nil
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		v, err := try(set, w, f)
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		v.Message = name
		all = append(all, v)
	}
	return all, nil
}

// try holds one message against the rules, with line ends of either kind.
func try(set *headers.Set, w headers.Whose, message io.Reader) (tried, error) {
	c := set.Begin(w)
	if c == nil {
		return tried{Verdict: &headers.Verdict{Hits: []headers.Hit{}}}, nil
	}
	defer c.Close()
	var added []byte
	lines, over := bufio.NewReaderSize(io.LimitReader(message, maxMessage), 64<<10), false
	begin := true // of a line
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			return tried{}, err
		}
		if bytes.HasSuffix(line, []byte("\r\n")) {
			line = append(line[:len(line)-2:len(line)-2], '\n')
		}
		if !over && begin && string(line) == "\n" {
			over = true
			added, _ = c.EndHeader()
		}
		if over {
			c.Body(line)
		} else {
			c.Header(line)
		}
		if begin = err == nil; err == io.EOF {
			break
		}
	}
	if !over {
		added, _ = c.EndHeader()
	}
	v := c.End()
	if v.Hits == nil {
		v.Hits = []headers.Hit{}
	}
	return tried{Verdict: v, Added: string(added)}, nil
}

func printTried(w io.Writer, all []tried) {
	for _, t := range all {
		what := "taken"
		switch {
		case t.Refused != nil:
			what = fmt.Sprintf("refused with %d %s %s", t.Refused.Code, t.Refused.Enhanced, t.Refused.Text(reason.English))
		case t.Hold:
			what = "taken and held"
		case t.Added != "":
			what = "taken with a field added"
		}
		fmt.Fprintf(w, "%s: %s\n", escape(t.Message), escape(what))
		for i := range t.Hits {
			h := &t.Hits[i]
			fmt.Fprintf(w, "  %s  %s\n", escape(h.Rule), escape(h.String()))
		}
		if t.More > 0 {
			fmt.Fprintf(w, "  and %d more\n", t.More)
		}
		if t.Complex != "" {
			fmt.Fprintf(w, "  not all was looked at: too many %s\n", t.Complex)
		}
	}
}

// triedVerdict gives the exit code.
func triedVerdict(all []tried) error {
	var temporary *reason.Error
	for _, t := range all {
		switch {
		case t.Refused == nil:
		case t.Refused.Class == reason.Permanent:
			return errSilent
		default:
			temporary = t.Refused
		}
	}
	if temporary != nil {
		return fmt.Errorf("%w%w", errSilent, temporary)
	}
	return nil
}
