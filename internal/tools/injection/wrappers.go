package injection

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/tools/tool"
)

// This file holds the programs that put something before a message, or run a mail reader.

func itoa(n int) string { return strconv.Itoa(n) }

// mailsubj is mailsubj(1): the input is a message's body.
func mailsubj(ctx context.Context, e *tool.Env) int {
	if len(e.Args) < 2 {
		return e.UsageError("subject recip ...")
	}
	subject := strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' {
			return ' '
		}
		return r
	}, e.Args[1])
	head := "Subject: " + subject + "\nTo: " + strings.ReplaceAll(strings.Join(e.Args[2:], ", "), "\n", " ") + "\n\n"
	x := *e
	x.Stdin = io.MultiReader(strings.NewReader(head), e.In())
	x.Args = []string{"qmail-inject", "-h"}
	return qmailInject(ctx, &x)
}

// dateField is a Date field in local time (qmail reference 13).
func dateField(e *tool.Env) string {
	return "Date: " + e.Time().In(e.Local()).Format("2 Jan 2006 15:04:05 -0700") + "\n"
}

// predate is predate(1).
func predate(ctx context.Context, e *tool.Env) int {
	if len(e.Args) < 2 {
		return e.UsageError("program [ arg ... ]")
	}
	c, err := e.Command(ctx, e.Args[1:])
	if err != nil {
		return e.Fatal(tool.Temporary, "unable to run ", e.Args[1], ": ", err)
	}
	c.Stdin = io.MultiReader(strings.NewReader(dateField(e)), e.In())
	err = c.Run()
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		return e.Fatal(tool.Temporary, "unable to run ", e.Args[1], ": ", err)
	}
	code, crashed := tool.ExitCode(err)
	if crashed {
		return e.Fatal(tool.Temporary, "child crashed")
	}
	return code
}

// datemail is predate sendmail.
func datemail(ctx context.Context, e *tool.Env) int {
	x := *e
	x.Stdin = io.MultiReader(strings.NewReader(dateField(e)), e.In())
	x.Args = append([]string{"sendmail"}, e.Args[1:]...)
	return sendmail(ctx, &x)
}

// reader is elq(1), pinq(1), qail(1): maildir2mbox, then the reader. Where the mbox and its
// helpers are, the environment says: MAIL, MAILTMP, MAILDIR.
func reader(program string) func(context.Context, *tool.Env) int {
	return func(ctx context.Context, e *tool.Env) int {
		argv := append([]string{program}, e.Args[1:]...)
		c, err := e.Command(ctx, []string{"maildir2mbox"})
		if err != nil {
			return e.Fatal(tool.Temporary, "unable to run maildir2mbox: ", err)
		}
		if err := c.Run(); err != nil { // it has said why; reading goes on without the new mail
			e.Warn("maildir2mbox: ", err)
		}
		return e.Chain(argv, e.Environ)
	}
}
