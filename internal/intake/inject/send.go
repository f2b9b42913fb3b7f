package inject

import (
	"context"
	"strconv"
	"strings"

	wire "github.com/postilion/postilion/internal/inject"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/smtp"
	"github.com/postilion/postilion/internal/submit"
	"github.com/postilion/postilion/internal/trace"
)

// This file takes a message. After the first trouble the rest of it is read and dropped, so
// that the program gets the answer.

// letter is a message on its way in.
type letter struct {
	c       *session
	src     *submit.Source
	params  smtp.Mail
	begun   bool // the reverse-path came
	tx      *submit.Transaction
	opened  bool
	err     *reason.Error // the first trouble
	refused []wire.Refusal
	intent  bool // the program wants to know when the commit begins
	rcpts   int
	used    int64              // bytes of memory for recipients
	held    int64              // what of it was taken with Server.hold
	events  <-chan trace.Event // of a watched message
	unwatch context.CancelFunc
}

// send is VerbSend.
func (c *session) send(f wire.Fields) {
	l := &letter{c: c, unwatch: func() {}}
	defer func() {
		l.unwatch()
		c.s.held.Give(c.uid, l.held)
	}()
	l.intent = f[wire.FieldIntent] != ""
	l.err = l.prepare(f)
	for {
		kind, p, err := c.next()
		if err != nil {
			l.abort()
			return
		}
		if kind == wire.FrameEnd && len(p) > 0 { // no client ends a message so
			l.abort()
			return
		}
		switch kind {
		case wire.FrameFrom:
			l.from(string(p))
		case wire.FrameTo:
			l.to(p)
		case wire.FrameData:
			l.data(p)
		case wire.FrameEnd:
			l.end(f["watch"] != "")
			return
		default:
			l.abort()
			return
		}
	}
}

func (l *letter) abort() {
	if l.tx != nil {
		l.tx.Abort()
	}
}

// fail keeps the first trouble and gives the message up.
func (l *letter) fail(e *reason.Error) {
	if l.err == nil {
		l.err = e
		l.abort()
	}
}

// prepare settles who hands the message in, and its parameters.
func (l *letter) prepare(f wire.Fields) *reason.Error {
	c := l.c
	if e := c.s.pace(c.setup, c.uid); e != nil {
		return e
	}
	l.params = smtp.Mail{Size: -1, Body: mail.Body8Bit, EnvID: f["envid"]}
	switch strings.ToUpper(f["ret"]) {
	case "":
	case "FULL":
		l.params.Ret = mail.RetFull
	case "HDRS":
		l.params.Ret = mail.RetHeaders
	default:
		return reason.CommandSyntax.With("want FULL or HDRS for RET")
	}
	if len(l.params.EnvID) > smtp.MaxEnvID || !printable(l.params.EnvID) {
		return reason.CommandSyntax.With("want an ENVID of up to " + strconv.Itoa(smtp.MaxEnvID) + " printable characters")
	}
	l.src = c.source(f)
	return nil
}

// source is who hands messages in.
func (c *session) source(f wire.Fields) *submit.Source {
	if t := f["ticket"]; t != "" {
		if src, ok := c.d.Submit.Ticket(t); ok {
			src.PID, src.MaxRecipients = c.pid, c.o.MaxRecipients
			return src
		}
	}
	return &submit.Source{
		Role: "inject", Session: c.d.IDs.New(), Protocol: "local", HELO: "uid " + strconv.FormatUint(uint64(c.uid), 10) + " pid " + strconv.Itoa(c.pid),
		Local: true, Late: true, MaxRecipients: c.o.MaxRecipients, PID: c.pid, Invoked: c.invoked(),
	}
}

// invoked words who ran the program (qmail reference 5.2).
func (c *session) invoked() string {
	if alias, ok := c.d.Users.UID("alias"); ok && alias == c.uid {
		return "by alias"
	}
	return "by uid " + strconv.FormatUint(uint64(c.uid), 10)
}

// address reads an address of the envelope. Any byte may be in it but those that would break lines.
func address(s string) (mail.Address, *reason.Error) {
	if len(s) >= wire.MaxAddress {
		return mail.Address{}, reason.BadAddress.With("it is too long")
	}
	if strings.ContainsAny(s, "\r\n\x00") {
		return mail.Address{}, reason.BadAddress.With("a line end or NUL in an address")
	}
	return mail.ParseAddress(s), nil
}

// from takes the reverse-path.
func (l *letter) from(s string) {
	if l.err != nil {
		return
	}
	if l.begun {
		l.fail(reason.CommandOrder.With("one sender only"))
		return
	}
	l.begun = true
	a, e := address(s)
	if e != nil {
		l.fail(e)
		return
	}
	l.params.From, l.params.UTF8 = a, !a.IsASCII()
	tx, err := l.c.d.Submit.Begin(l.c.ctx, l.src, l.params)
	if err != nil {
		l.fail(reason.As(err))
		return
	}
	l.tx = tx
}

// to takes a recipient.
func (l *letter) to(p []byte) {
	if l.err != nil {
		return
	}
	if l.tx == nil || l.opened {
		l.fail(reason.CommandOrder.With("the sender first, then recipients, then the content"))
		return
	}
	to, f := wire.ParseFields(p)
	a, e := address(to)
	r := smtp.Rcpt{To: a, ORcpt: f["orcpt"]}
	if e == nil {
		r.Notify, e = notify(f["notify"])
	}
	if e == nil && (len(r.ORcpt) > smtp.MaxORcpt || !printable(r.ORcpt)) {
		e = reason.CommandSyntax.With("want an ORCPT of up to " + strconv.Itoa(smtp.MaxORcpt) + " printable characters")
	}
	if e == nil {
		e = l.room(int64(len(p)))
	}
	if e != nil {
		l.fail(e)
		return
	}
	l.rcpts++
	if err := l.tx.Rcpt(l.c.ctx, r); err != nil {
		if l.tx.Recipients() < l.rcpts { // it was not even taken to be bounced
			l.fail(reason.As(err))
			return
		}
		if len(l.refused) < maxRefusalsTold {
			e := reason.As(err)
			l.refused = append(l.refused, wire.Refusal{N: l.rcpts - 1, Code: e.Code, Enhanced: e.Enhanced, Text: e.Text(reason.English)})
		}
	}
}

// room sees that there is memory for a recipient of size bytes; it is taken in steps.
func (l *letter) room(size int64) *reason.Error {
	const step = 64 << 10
	l.used += size + recipientCost
	if l.used <= l.held {
		return nil
	}
	if e := l.c.s.hold(l.c.uid, step); e != nil {
		return e
	}
	l.held += step
	return nil
}

// maxRefusalsTold bounds what is kept of recipients that will be bounced, which the sender learns
// from the bounce.
const maxRefusalsTold = 1000

// notify reads a NOTIFY value (RFC 3461 4.1).
func notify(s string) (n mail.Notify, e *reason.Error) {
	if s == "" {
		return 0, nil
	}
	if !wire.Notifies(s) {
		return 0, reason.CommandSyntax.With("want NEVER, or some of SUCCESS, FAILURE and DELAY for NOTIFY")
	}
	for w := range strings.SplitSeq(strings.ToUpper(s), ",") {
		n |= map[string]mail.Notify{"NEVER": mail.NotifyNever, "SUCCESS": mail.NotifySuccess, "FAILURE": mail.NotifyFailure, "DELAY": mail.NotifyDelay}[w]
	}
	return n, nil
}

func printable(s string) bool { return smtp.Text(s, len(s)) == s }

// data takes a piece of the content.
func (l *letter) data(p []byte) {
	if !l.open() {
		return
	}
	l.tx.Write(p)
	if err := l.tx.Err(); err != nil {
		l.fail(reason.As(err))
	}
}

// open begins the content. A message without recipients has nowhere to go: it is read to its end
// and forgotten (qmail reference 5.1).
func (l *letter) open() bool {
	switch {
	case l.err != nil:
		return false
	case l.tx == nil:
		l.fail(reason.CommandOrder.With("the sender first"))
		return false
	case l.rcpts == 0:
		return false
	case l.opened:
		return true
	}
	l.opened = true
	if err := l.tx.Open(l.c.ctx); err != nil {
		l.fail(reason.As(err))
		return false
	}
	return true
}

// end commits the message and answers.
func (l *letter) end(watch bool) {
	c := l.c
	l.open()
	if l.err == nil && l.rcpts == 0 {
		l.abort()
		c.write(wire.AnswerFrame(&wire.Answer{Code: 250, Enhanced: "2.0.0", Text: "ok: no recipients, nothing to deliver"}))
		return
	}
	if l.err == nil && !l.announce() {
		l.abort()
		return
	}
	if l.err == nil && watch && c.d.Watch != nil {
		var ctx context.Context
		ctx, l.unwatch = context.WithTimeout(c.stopping, c.o.WatchTimeout)
		var err error
		if l.events, err = c.d.Watch(ctx, l.tx.ID()); err != nil {
			c.d.Log.Warn("a message cannot be watched", "error", err)
		}
	}
	if l.err == nil {
		l.commit()
	}
	if l.err != nil {
		c.refuse(l.err)
		return
	}
	var b []byte
	for i := range l.refused {
		b = append(b, wire.RefusalFrame(&l.refused[i])...)
	}
	id := l.tx.ID().String()
	b = append(b, wire.AnswerFrame(&wire.Answer{ID: id, Code: 250, Enhanced: "2.0.0", Text: "ok " + id})...)
	if c.write(b) == nil && l.events != nil {
		c.watch(l)
	}
}

// announce tells the program that its message is committed now; false is for one that has gone, having been told
// that nothing was taken.
func (l *letter) announce() bool {
	if !l.intent {
		return true
	}
	return l.c.write(wire.IntentFrame(&wire.Intent{ID: l.tx.ID().String(), Within: l.tx.Filtering()})) == nil
}

func (l *letter) commit() {
	verdicts, err := l.tx.Commit(l.c.ctx)
	if err != nil {
		l.err = reason.As(err)
		return
	}
	for i, v := range verdicts {
		if v != nil && len(l.refused) < maxRefusalsTold {
			l.refused = append(l.refused, wire.Refusal{N: i, Code: v.Code, Enhanced: v.Enhanced, Text: v.Text(reason.English)})
		}
	}
}
