package smtpd

import (
	"bufio"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/fs/fstest"
	"github.com/postilion/postilion/internal/qmail/texts"
	"github.com/postilion/postilion/internal/submit"
)

// This file holds our replies in qmail's words to the reference: each text that qmail-smtpd, its patches,
// rblsmtpd or a filter give is a line of a dialogue here, or it is said why it cannot come up.

// cannotBe are the replies that no dialogue has, and why.
var cannotBe = []struct {
	why   string
	texts []string
}{
	{"a server that cannot read its configuration does not start, and keeps the last good one while it runs", []string{"unable to read controls (#4.3.0)"}},
	{"memory is bounded before it is used; a client over a limit is told which", []string{"out of memory (#4.3.0)"}},
	{"this host's addresses are asked for again when needed, and no session depends on them", []string{"unable to figure out my IP addresses (#4.3.0)"}},
	{"1.03's form of the text that notqmail has with another address", []string{"See http://pobox.com/~djb/docs/smtplf.html."}},
	{"the name in HELO decides nothing here", []string{"sorry, your HELO host name has been denied (#5.7.1)"}},
	{"whether a sender's domain takes mail is not asked at RCPT", []string{"sorry, can't find a valid MX for sender domain (chkuser)"}},
	{"what a filter cannot end with: its parent waits for it and for nothing else", []string{"qq waitpid surprise (#4.3.0)"}},
}

// dialogueLines are what the server says in the dialogues of qmail's words.
func dialogueLines(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("testdata/replies_qmail*.txt")
	if err != nil || len(files) < 8 {
		t.Fatal("no dialogues", err)
	}
	lines := map[string]bool{}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if said, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), "s: "); ok {
				lines[said] = true
			}
		}
	}
	return lines
}

func TestEveryReplyOfTheFamilyIsGivenInItsCase(t *testing.T) {
	t.Parallel()
	lines := dialogueLines(t)
	walked := 0
	for _, x := range texts.All() {
		if x.Program != "qmail-smtpd" && x.Program != "rblsmtpd" {
			continue
		}
		walked++
		said := strconv.Itoa(x.Reply) + " "
		if x.Front != "" {
			said += x.Front + " "
		}
		said += x.Words
		why := slices.ContainsFunc(cannotBe, func(c struct {
			why   string
			texts []string
		}) bool {
			return slices.Contains(c.texts, x.Words)
		})
		if lines[said] == why {
			t.Errorf("%q: in a dialogue %v, said why not %v", said, lines[said], why)
		}
	}
	if walked < 25 {
		t.Errorf("only %d replies were looked at", walked)
	}
}

// filterScript ends as a field of the message says: Exit with a number or killed; Custom is told on descriptor 6.
const filterScript = `#!/bin/sh
while read -r field value; do
	case "$field" in
	Custom:) printf '%s' "$value" >&6; exit 82 ;;
	Exit:) [ "$value" = killed ] && kill -9 $$; exit "$value" ;;
	esac
done
`

func TestWhatAFilterEndsWithIsAnsweredInTheFamilysWords(t *testing.T) {
	t.Parallel()
	script := filepath.Join(t.TempDir(), "filter")
	if err := fstest.WriteProgram(script, filterScript); err != nil {
		t.Fatal(err)
	}
	x := &transcript{t: t, w: newWorld()}
	x.w.options.Replies, x.w.options.HeloOptional, x.w.options.MaxErrors = "qmail", true, 100
	x.w.submit.Filter, x.w.filters = script, new(submit.Filters)
	x.conn = x.w.session(context.Background(), t, x.w.server(t))
	x.conn.SetDeadline(time.Now().Add(time.Minute))
	x.in = bufio.NewReader(x.conn)
	run := func(lines ...string) {
		for _, line := range lines {
			if err := x.step(line); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
		}
	}
	run("s: 220 *")
	tell := func(field, reply string) {
		run("c: MAIL FROM:<a@far.test>", "s: 250 ok", "c: RCPT TO:<joe@example.test>", "s: 250 ok",
			"c: DATA", "s: 354 go ahead", "c: "+field, "c:", "c: .", "s: "+reply)
	}
	walked := 0
	for _, f := range texts.All() {
		exit := map[string]string{"qq permanent problem (#5.3.0)": "12", "qq temporary problem (#4.3.0)": "1", "qq crashed (#4.3.0)": "killed"}[f.Words]
		if f.Exit > 0 {
			exit = strconv.Itoa(f.Exit)
		}
		if f.Program != "qmail-queue" || exit == "" {
			continue
		}
		walked++
		tell("Exit: "+exit, strconv.Itoa(f.Reply)+" "+f.Words)
	}
	if walked < 19 {
		t.Errorf("only %d exit codes were looked at", walked)
	}
	// What a filter says itself is passed on as it is, with a code of its own or without.
	tell("Custom: Dsee http://mail.example/ (#5.7.1)", "554 see http://mail.example/ (#5.7.1)")
	tell("Custom: Zcome back later", "451 come back later")
	x.conn.Close()
}
