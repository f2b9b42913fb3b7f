// Package injection holds the programs that hand messages to the server, or run another program
// to learn whether they should: qmail-queue, qmail-inject, sendmail and their kin (qmail reference
// 5, 12, 13, 17). What they exit 0 for is on the server's disk.
package injection

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/inject"
	"github.com/postilion/postilion/internal/qmail/qq"
	"github.com/postilion/postilion/internal/tools/tool"
)

// Programs returns this family's programs.
func Programs() []tool.Program {
	return []tool.Program{
		{Name: "qmail-queue", Short: "queue a message: content on descriptor 0, envelope on 1", Run: qmailQueue},
		{Name: "qmail-inject", Short: "complete a message's header and queue it", Usage: injectUsage, Run: qmailInject},
		{Name: "sendmail", Short: "queue a message as programs know it from sendmail", Usage: sendmailUsage, Run: sendmail},
		{Name: "mailq", Short: "list the queue", Run: mailq},
		{Name: "newaliases", Short: "check /etc/aliases and compile it", Run: newaliases},
		{Name: "forward", Short: "send the message at hand on to addresses", Usage: "newaddress ...", Run: forward},
		{Name: "condredirect", Short: "send the message at hand on if a program says so", Usage: "newaddress program [ arg ... ]", Run: condredirect},
		{Name: "bouncesaying", Short: "bounce the message at hand with a text, if a program says so", Usage: "error [ program [ arg ... ] ]", Run: bouncesaying},
		{Name: "except", Short: "turn a program's answer around", Usage: "program [ arg ... ]", Run: except},
		{Name: "qreceipt", Short: "answer requests for a notice upon delivery", Usage: "deliveryaddress", Run: qreceipt},
		{Name: "mailsubj", Short: "send the input with a subject", Usage: "subject recip ...", Run: mailsubj},
		{Name: "predate", Short: "put a Date field before the input of a program", Usage: "program [ arg ... ]", Run: predate},
		{Name: "datemail", Short: "sendmail with a Date field in local time", Run: datemail},
		{Name: "elq", Short: "move the Maildir's mail to the mbox and run elm", Run: reader("elm")},
		{Name: "pinq", Short: "move the Maildir's mail to the mbox and run pine", Run: reader("pine")},
		{Name: "qail", Short: "move the Maildir's mail to the mbox and run Mail", Run: reader("Mail")},
		{Name: "new-inject", Short: "complete a message's header as mess822 does and queue it", Usage: newInjectUsage, Run: newInject},
		{Name: "ofmipd", Short: "serve outgoing mail on descriptors 0 and 1, completing headers", Usage: "[ name.cdb ]", Run: ofmipd},
		{Name: "ofmipname", Short: "make the table of ofmipd", Usage: "cdb tmp", Run: ofmipname},
	}
}

// waitVariable says how long programs wait for a server that is silent.
const waitVariable = "POSTILION_WAIT"

// client returns the way to the server. A wait that cannot be read stops no mail: it is told, and the default holds.
func client(e *tool.Env) *inject.Client {
	c := &inject.Client{Socket: inject.Locate(e.Getenv)}
	if s := e.Getenv(waitVariable); s != "" {
		wait, problem := parseWait(s)
		if problem != "" {
			e.Warn(waitVariable+": "+problem+"; ", inject.DefaultTimeout, " is taken")
		}
		c.Timeout = wait
	}
	return c
}

// parseWait reads a duration that is waited for.
func parseWait(s string) (d time.Duration, problem string) {
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, "want a duration such as 30s or 5m"
	}
	return d, ""
}

// outcome is what became of a message.
type outcome struct {
	ID      string           // the server's
	QP      int              // the process that queued it
	Exit    int              // as qmail-queue exits
	Text    string           // "" when it was queued, else D or Z and why (qmail reference 5.3)
	Detail  string           // why, at length
	Refused []inject.Refusal // of a queued message
}

// ok reports whether the message was queued.
func (o *outcome) ok() bool { return o.Text == "" }

// family is the exit code of programs that use qmail-queue.
func (o *outcome) family() int {
	switch {
	case o.ok():
		return tool.OK
	case o.Text[0] == 'D':
		return tool.Permanent
	}
	return tool.Temporary
}

// handOff queues a message: by the program of QMAILQUEUE where that is set (qmail reference 5.4),
// else at the server.
func handOff(ctx context.Context, e *tool.Env, env *inject.Envelope, content io.Reader, steps func(inject.Step)) outcome {
	if name := e.Getenv("QMAILQUEUE"); name != "" {
		return handToProgram(ctx, e, name, env, content)
	}
	env.Ticket = e.Getenv(inject.TicketVariable)
	a, err := client(e).Send(ctx, env, content, steps)
	o := outcome{ID: a.ID, QP: os.Getpid(), Refused: a.Refused}
	switch {
	case err != nil:
		o.Exit, o.Detail = exitOf(err), err.Error()
		o.Text = qq.Text(o.Exit, "")
	case !a.OK():
		o.Exit = exitOfAnswer(&a)
		o.Detail = a.Text
		o.Text = "Z" + a.Text + " (#" + a.Enhanced + ")"
		if a.Permanent() {
			o.Text = "D" + o.Text[1:]
		}
	}
	return o
}

// exitOf maps a call that got no answer to qmail-queue's exit codes.
func exitOf(err error) int {
	e, ok := errors.AsType[*inject.Error](err)
	switch {
	case !ok:
		return qq.Bug
	case errors.Is(err, context.DeadlineExceeded):
		return qq.Timeout
	case e.Input:
		return qq.ReadError
	case e.Refused:
		return qq.NoServer
	case e.Slow:
		return qq.NoAnswer
	}
	return qq.Broken
}

func exitOfAnswer(a *inject.Answer) int {
	switch {
	case a.Permanent():
		return qq.Refused
	case a.Code == 452: // no room
		return qq.WriteError
	}
	return qq.TryLater
}

// handToProgram runs a program that speaks qmail-queue's protocol.
func handToProgram(ctx context.Context, e *tool.Env, name string, env *inject.Envelope, content io.Reader) outcome {
	failed := func(exit int, detail string) outcome {
		return outcome{Exit: exit, Text: qq.Text(exit, ""), Detail: detail}
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(e.QmailHome(), name)
	}
	c, err := e.Command(ctx, []string{name})
	if err != nil {
		return failed(qq.NoProgram, err.Error())
	}
	p, err := startQueueProgram(c)
	if err != nil {
		return failed(qq.NoProgram, err.Error())
	}
	_, rerr := io.Copy(reading{p.content}, content)
	p.content.Close()
	list := qq.AppendEnvelope(nil, env.From)
	for i := range env.To {
		list = qq.AppendRecipient(list, env.To[i].To)
	}
	if rerr == nil {
		list = append(list, 0) // without it nothing is queued
	}
	p.envelope.Write(list) // a program that has decided does not read
	p.envelope.Close()
	custom, _ := io.ReadAll(io.LimitReader(p.custom, qq.MaxCustom+1))
	p.custom.Close()
	exit, crashed := tool.ExitCode(c.Wait())
	switch {
	case rerr != nil:
		return failed(qq.ReadError, rerr.Error())
	case crashed:
		exit = -1
	}
	return outcome{QP: c.Process.Pid, Exit: exit, Text: qq.Text(exit, string(custom)), Detail: name + " did not take the message"}
}

// reading passes content on to a program until that stops reading, which is its right.
type reading struct{ w io.Writer }

// Write implements io.Writer.
func (r reading) Write(p []byte) (int, error) {
	r.w.Write(p)
	return len(p), nil
}

// input returns the program's standard input with LF line ends: what programs of other systems
// write with CRLF would reach recipients as CR CR LF.
func input(e *tool.Env) io.Reader { return &unixLines{r: bufio.NewReaderSize(e.In(), 32<<10)} }

// unixLines turns CRLF into LF.
type unixLines struct{ r *bufio.Reader }

// Read implements io.Reader.
func (u *unixLines) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if _, err := u.r.Peek(1); err != nil {
		return 0, err
	}
	have, _ := u.r.Peek(min(u.r.Buffered(), len(p)))
	i := bytes.IndexByte(have, '\r')
	switch {
	case i < 0:
		return u.r.Read(p[:len(have)])
	case i > 0:
		return u.r.Read(p[:i])
	}
	u.r.Discard(1)
	p[0] = '\r'
	if next, err := u.r.Peek(1); err == nil && next[0] == '\n' {
		u.r.Discard(1)
		p[0] = '\n'
	}
	return 1, nil
}

// fatal writes a program's last words about a message that was not queued, without the letter.
func (o *outcome) fatal(e *tool.Env) int {
	text := o.Text[1:]
	if o.Detail != "" && !strings.Contains(text, o.Detail) {
		text += ": " + o.Detail
	}
	return e.Fatal(o.family(), text)
}

// stopAfter is qmail-queue's life (qmail reference 5.2).
const stopAfter = 24 * time.Hour
