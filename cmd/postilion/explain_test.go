package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestWhatQmailsProgramsSayIsExplained(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		in   string
		code int
		says []string
	}{
		{args: []string{"explain", "Sorry, no mailbox here by that name. (#5.1.1)"},
			says: []string{"qmail-local says, permanent: Sorry, no mailbox here by that name. (#5.1.1)", "cause:  ", "remedy: "}},
		{args: []string{"explain"}, in: "@4000000067 delivery 4: deferral: Uh-oh:_home_directory_is_writable._(#4.7.0)/\nnothing of note\n",
			says: []string{"qmail-local says, temporary: Uh-oh: home directory is writable. (#4.7.0)"}},
		{args: []string{"explain", "--json", "hello"}, says: []string{"[]"}},
		{args: []string{"explain", "hello"}, code: exitFailure, says: []string{"no text of qmail's programs"}},
		{args: []string{"explain"}, in: "\x1b[31mUh-oh: home directory is writable. (#4.7.0)\n", says: []string{`\x1b[31mUh-oh`}},
		{args: []string{"explain"}, in: strings.Repeat("x", maxExplainLine+1), code: exitFailure, says: []string{"reading the standard input"}},
	} {
		var out, errOut bytes.Buffer
		code := run(c.args, strings.NewReader(c.in), &out, &errOut)
		all := out.String() + errOut.String()
		for _, want := range c.says {
			if code != c.code || !strings.Contains(all, want) {
				t.Errorf("%v: exit code %d, want %d and %q: %s", c.args, code, c.code, want, all)
			}
		}
	}
}
