package injection

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/postilion/postilion/internal/inject"
	"github.com/postilion/postilion/internal/qmail/control"
	"github.com/postilion/postilion/internal/qmail/mess"
	"github.com/postilion/postilion/internal/tools/tool"
)

const injectUsage = "[ -nNaAhH ] [ -f sender ] [ recip ... ]"

// maxHeader bounds a header in bytes. Its fields may be of any length within.
const maxHeader = 64 << 20

// whose are the recipients of a message (qmail reference 12.1).
type whose uint8

const (
	argsElseHeader whose = iota // -A
	argsOnly                    // -a
	headerOnly                  // -h
	both                        // -H
)

// injection is one run of qmail-inject, or of a program that works like it.
type injection struct {
	whose   whose
	print   bool   // -n
	sender  string // -f
	hasFrom bool
	args    []string // recipients
	asList  bool     // they are address lists, as sendmail takes them
	env     inject.Envelope
	notify  string // of each recipient
	steps   func(inject.Step)
	// nobody says that there are no recipients, and returns the exit code; without it such a message is
	// taken and gone, as with qmail-inject.
	nobody func() int
}

// qmailInject is qmail-inject.
func qmailInject(ctx context.Context, e *tool.Env) int {
	opts, rest, ok := tool.GetOpt(e.Args[1:], "aAhHnNf:")
	if !ok {
		return e.UsageError(injectUsage)
	}
	in := &injection{args: rest, env: inject.Envelope{Program: "qmail-inject"}}
	for _, o := range opts {
		switch o.Name {
		case 'a':
			in.whose = argsOnly
		case 'A':
			in.whose = argsElseHeader
		case 'h':
			in.whose = headerOnly
		case 'H':
			in.whose = both
		case 'n':
			in.print = true
		case 'N':
			in.print = false
		case 'f':
			in.sender, in.hasFrom = o.Value, true
		}
	}
	o, code := in.run(ctx, e)
	if o != nil && !o.ok() {
		return o.fatal(e)
	}
	return code
}

// run completes the message and queues or prints it. The outcome is nil when it did not come to
// that; the code is then the program's, its message written.
func (in *injection) run(ctx context.Context, e *tool.Env) (*outcome, int) {
	j, err := injector(ctx, e)
	if err != nil {
		return nil, e.Fatal(tool.Temporary, "unable to read controls: ", err)
	}
	r := bufio.NewReaderSize(input(e), 32<<10)
	fields, start, err := mess.ReadHeader(r, maxHeader)
	if err != nil {
		return nil, e.Fatal(tool.Temporary, "read error: ", err)
	}
	h, err := j.Rewrite(fields)
	if err != nil {
		return nil, fatalLines(e, err.Error())
	}
	to, bad, ok := in.recipients(j, h)
	if !ok {
		return nil, e.Fatal(tool.Permanent, "unable to parse address: ", bad)
	}
	switch {
	case in.hasFrom:
		if in.env.From, ok = j.Address(in.sender); !ok {
			return nil, e.Fatal(tool.Permanent, "unable to parse address: ", in.sender)
		}
	case h.Sent:
		in.env.From = h.Sender
	default:
		in.env.From = j.DefaultSender()
	}
	content := io.Reader(&lineEnded{r: io.MultiReader(strings.NewReader(strings.Join(h.Fields, "")+"\n"), strings.NewReader(string(start)), r)})
	if in.print {
		return nil, printMessage(e, in.env.From, content)
	}
	if len(to) == 0 && in.nobody != nil {
		return nil, in.nobody()
	}
	for _, a := range to {
		in.env.To = append(in.env.To, inject.Recipient{To: a, Notify: in.notify})
	}
	o := handOff(ctx, e, &in.env, content, in.steps)
	return &o, o.family()
}

// lineEnded ends a message's last line when nothing else does, as qmail-inject does.
type lineEnded struct {
	r    io.Reader
	open bool // the last byte was no line end
}

// Read implements io.Reader.
func (l *lineEnded) Read(p []byte) (n int, err error) {
	n, err = l.r.Read(p)
	switch {
	case n > 0:
		l.open = p[n-1] != '\n'
	case err == io.EOF && l.open && len(p) > 0:
		l.open = false
		p[0] = '\n'
		return 1, nil
	}
	return n, err
}

// fatalLines is Fatal with a text of several lines, each made fit for a terminal.
func fatalLines(e *tool.Env, text string) int {
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if i == 0 {
			line = e.Name() + ": fatal: " + line
		}
		io.WriteString(e.Errs(), tool.Printable(line)+"\n")
	}
	return tool.Permanent
}

// printMessage is -n.
func printMessage(e *tool.Env, from string, content io.Reader) int {
	w := bufio.NewWriter(e.Out())
	w.WriteString("Return-Path: <" + mess.QuoteAddress(from) + ">\n")
	_, err := io.Copy(w, content)
	if err = errors.Join(err, w.Flush()); err != nil {
		return e.Fatal(tool.Temporary, "unable to write: ", err)
	}
	return tool.OK
}

// recipients chooses them; bad is an argument that is none.
func (in *injection) recipients(j *mess.Injector, h *mess.Injected) (to []string, bad string, ok bool) {
	if in.whose != headerOnly {
		for _, a := range in.args {
			list := make([]string, 1)
			if list[0], ok = j.Address(a); in.asList {
				list, ok = j.List(a)
			}
			if !ok {
				return nil, a, false
			}
			to = append(to, list...)
		}
	}
	if in.whose == headerOnly || in.whose == both || in.whose == argsElseHeader && len(in.args) == 0 {
		to = append(to, h.To...)
	}
	kept := to[:0]
	for _, a := range to {
		if a != "" { // "<>" is nobody
			kept = append(kept, a)
		}
	}
	return kept, "", true
}

// injector reads the controls and the environment (qmail reference 2.2, 12.6).
func injector(ctx context.Context, e *tool.Env) (*mess.Injector, error) {
	names, err := controls(ctx, e)
	if err != nil {
		return nil, err
	}
	j := &mess.Injector{
		Hosts: mess.Hosts{
			DefaultHost:   cmp.Or(e.Getenv("QMAILDEFAULTHOST"), names.DefaultHost),
			DefaultDomain: cmp.Or(e.Getenv("QMAILDEFAULTDOMAIN"), names.DefaultDomain),
			PlusDomain:    cmp.Or(e.Getenv("QMAILPLUSDOMAIN"), names.PlusDomain),
		},
		IDHost: cmp.Or(e.Getenv("QMAILIDHOST"), names.IDHost),
		User:   firstSet(e, "QMAILUSER", "MAILUSER", "USER", "LOGNAME"),
		Host:   firstSet(e, "QMAILHOST", "MAILHOST"), Name: firstSet(e, "QMAILNAME", "MAILNAME", "NAME"),
		SenderUser: e.Getenv("QMAILSUSER"), SenderHost: e.Getenv("QMAILSHOST"),
		Now: e.Time(), PID: os.Getpid(),
	}
	j.User = cmp.Or(j.User, "anonymous")
	for _, flag := range e.Getenv("QMAILINJECT") {
		switch flag {
		case 'c':
			j.CommentName = true
		case 's':
			j.DropReturnPath = true
		case 'f':
			j.DropFrom = true
		case 'i':
			j.DropMessageID = true
		case 'r':
			j.RecipientVERP = true
		case 'm':
			j.MessageVERP = true
		}
	}
	if name := e.Getenv("QMAILMFTFILE"); name != "" {
		p, err := tool.ReadAtMost(e.Path(name), maxHeader)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		for _, entry := range control.List(p) {
			j.Followup = append(j.Followup, entry.Text)
		}
	}
	return j, nil
}

// firstSet returns the first variable that is set.
func firstSet(e *tool.Env, names ...string) string {
	for _, n := range names {
		if v, ok := e.Lookup(n); ok {
			return v
		}
	}
	return ""
}

// controls are what addresses are completed with: from qmail's control files where this is a qmail
// host, else from the server.
func controls(ctx context.Context, e *tool.Env) (n inject.Names, err error) {
	read := func(name, otherwise string) string {
		p, rerr := tool.ReadAtMost(e.QmailHome()+"/control/"+name, maxControl)
		switch {
		case rerr == nil:
			return control.Value(p)
		case !errors.Is(rerr, os.ErrNotExist) && err == nil:
			err = rerr
		}
		return otherwise
	}
	if n.Me = read("me", ""); n.Me == "" && err == nil {
		if e.Getenv("QMAILDEFAULTHOST") != "" && e.Getenv("QMAILDEFAULTDOMAIN") != "" && e.Getenv("QMAILPLUSDOMAIN") != "" && e.Getenv("QMAILIDHOST") != "" {
			return n, nil
		}
		return client(e).Names(ctx)
	}
	n.DefaultDomain, n.DefaultHost = read("defaultdomain", n.Me), read("defaulthost", n.Me)
	n.PlusDomain, n.IDHost = read("plusdomain", n.Me), read("idhost", n.Me)
	return n, err
}

const maxControl = 64 << 10 // bytes of a control file of one line
