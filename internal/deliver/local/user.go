package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/deliver/runas"
	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/mailbox/maildir"
	"github.com/postilion/postilion/internal/mailbox/mbox"
	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/qmail/dotqmail"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
)

// This file carries out what a system user's instructions say, as qmail-local does (qmail reference
// 9): line after line, the first failure ends it, and what is sent on goes last. Whoever runs
// it has no rights of its own in it: files and programs are the user's, by the runas service.

// maxHops is the number of Received and Delivered-To fields above which nothing is sent on: mail
// that goes round under ever other addresses (qmail reference A.3).
const maxHops = 100

// maxForward is the longest address that is sent on to, in bytes (qmail reference 5.1).
const maxForward = 1002

// users is what deliveries for system users work with.
type users struct {
	opts    Options
	service runas.Service // nil: there are none
	boxes   *maildir.Store
	mboxes  *mbox.Store
	clock   clock.Clock
	spool   string
	trees   homes
	memory  *memory
}

func newUsers(o Options, d Deps, ages *clock.Steady) *users {
	u := &users{opts: o, service: d.Runas, clock: d.Clock, spool: d.Spool, memory: &memory{}}
	if d.Runas == nil {
		return u
	}
	u.trees = homes{d.Runas}
	files, barrier := u.trees, &fs.Barrier{FS: u.trees}
	u.boxes = maildir.New(o.Maildir, maildir.Deps{FS: files, Barrier: barrier, Clock: d.Clock, Files: ages})
	u.mboxes = &mbox.Store{FS: files, Barrier: barrier, Clock: ages, Self: mbox.ThisProcess(), Patient: max(o.Places/5, 1)}
	return u
}

// delivery is one message for one user.
type delivery struct {
	*users
	job     *deliver.Job
	rcpt    *deliver.Recipient
	user    *route.User
	who     runas.User
	content *content
	again   bool
	plan    *Plan

	env      []string // of programs; nil until one runs
	report   report
	files    int
	forwards int
	programs int
	hops     int
	to       []mail.Address // of forwards
	parts    map[string]int // deliveries so far into each Maildir
	replay   bool
	likely   *guess
}

// deliver makes one delivery.
func (u *users) deliver(ctx context.Context, job *deliver.Job, rcpt *deliver.Recipient, again bool) deliver.Verdict {
	if rcpt.User.Local == "" {
		return deliver.Verdict{} // as qmail-lspawn does with an empty box (qmail reference 8.2)
	}
	d := &delivery{
		users: u, job: job, rcpt: rcpt, user: rcpt.User, who: become(rcpt.User), again: again,
		content: &content{job: job, spool: u.spool},
	}
	defer d.content.close()
	err := d.run(ctx)
	if err != nil && ctx.Err() != nil && err.Class == reason.Temporary && errors.Is(err, ctx.Err()) && err.Reason != reason.MaildirTimeout.Reason {
		err = reason.AttemptInterrupted.Because(err)
	}
	return d.verdict(err)
}

func become(u *route.User) runas.User {
	return runas.User{Name: u.Name, UID: u.UID, GID: u.GID, Home: u.Home}
}

// run looks and then does, in the order of qmail reference 9.1.
func (d *delivery) run(ctx context.Context) *reason.Error {
	d.likely = d.guess()
	defer d.drop(d.likely)
	loops := sync.OnceValue(func() *reason.Error { return d.checkLoop(ctx) })
	if d.likely.known != nil && loops() != nil {
		d.likely.known = nil // nothing is to be made
	}
	plan, err := d.look(ctx, d.user, d.rcpt.From, loops, d.likely)
	if err != nil {
		return err
	}
	d.plan = plan
	for i := range plan.Instructions {
		if ctx.Err() != nil {
			return reason.AttemptInterrupted.Because(ctx.Err())
		}
		stop, err := d.do(ctx, &plan.Instructions[i])
		if err != nil {
			return err
		}
		if stop {
			break
		}
	}
	if len(d.to) > 0 && d.hops > maxHops {
		return reason.TooManyHops.Because(fmt.Errorf("%d hops", d.hops))
	}
	return nil
}

// checkLoop is step 4 of qmail reference 9.1.
func (d *delivery) checkLoop(ctx context.Context) *reason.Error {
	loops, hops, err := d.content.scan(ctx, d.user.DeliveredTo())
	d.hops = hops
	switch {
	case err != nil:
		return reason.MessageUnreadable.Because(err)
	case loops:
		return reason.DeliveredToLoop
	}
	return nil
}

// do carries out one instruction. stop ends the file (exit code 99).
func (d *delivery) do(ctx context.Context, i *Instruction) (stop bool, err *reason.Error) {
	switch i.Kind {
	case dotqmail.Maildir:
		d.files++
		return false, d.maildir(ctx, i)
	case dotqmail.Mbox:
		d.files++
		return false, d.mbox(ctx, i)
	case dotqmail.Program:
		d.programs++
		return d.program(ctx, i)
	}
	d.forwards++
	if i.Text != "" { // an empty address is nobody's, as in qmail
		d.to = append(d.to, mail.ParseAddress(i.Text))
	}
	return false, nil
}

// maildir delivers into a Maildir. One that an instruction of the user's own names is not made.
func (d *delivery) maildir(ctx context.Context, i *Instruction) *reason.Error {
	box := place(d.who, i.Text)
	part := d.parts[box]
	if d.parts == nil {
		d.parts = make(map[string]int, 1)
	}
	d.parts[box]++
	env := d.job.Envelope
	o := d.boxes.Deliver(ctx, d.content.open, []maildir.Delivery{{
		Mailbox: box, Message: env.ID, N: d.rcpt.N, Part: part, Size: env.Size, Again: d.again, MustExist: !d.plan.Default,
		Tmp:    d.likely.take(box),
		Prefix: []byte(returnPath(d.rcpt.From) + d.user.DeliveredTo() + "\n"),
	}})[0]
	d.replay = d.replay || o.Replay
	return maildirError(o.Err)
}

// maildirError words the trouble of a Maildir as qmail-local does (qmail reference 9.7).
func maildirError(err error) *reason.Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*reason.Error](err); ok {
		return e
	}
	_, reading := errors.AsType[readError](err)
	switch {
	case reading:
		return reason.MessageUnreadable.Because(err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return reason.MaildirAbsent.Because(err)
	case errors.Is(err, context.DeadlineExceeded):
		return reason.MaildirTimeout.Because(err)
	}
	return reason.MaildirTrouble.Because(err)
}

// sized is a message that knows how long it is about.
type sized struct {
	io.Reader
	size int64
}

func (s sized) Size() int64 { return s.size }

// mbox appends to a mailbox file.
func (d *delivery) mbox(ctx context.Context, i *Instruction) *reason.Error {
	body, err := d.content.open()
	if err != nil {
		return reason.MessageUnreadable.Because(err)
	}
	defer body.Close()
	head := dotqmail.UFLine(d.rcpt.From.String(), d.clock.Now()) + returnPath(d.rcpt.From) + d.user.DeliveredTo() + "\n"
	err = d.mboxes.Append(ctx, place(d.who, i.Text), []byte(head), sized{body, d.job.Envelope.Size})
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*reason.Error](err); ok {
		return e
	}
	e, ok := errors.AsType[*mbox.Error](err)
	if !ok {
		return reason.AttemptInterrupted.Because(err)
	}
	switch e.Op {
	case "open":
		return reason.MailboxUnopened.With(i.Text, errnoText(err)).Because(err)
	case "lock":
		if errors.Is(err, mbox.ErrBusy) {
			return reason.MailboxBusy.Because(err)
		}
		return reason.MailboxLocked.Because(err)
	case "read":
		return reason.MessageUnreadable.Because(err)
	}
	return reason.MailboxUnwritten.With(i.Text, errnoText(err)).Because(err)
}

// program runs a line of /bin/sh (qmail reference 9.5).
func (d *delivery) program(ctx context.Context, i *Instruction) (stop bool, err *reason.Error) {
	if d.env == nil {
		d.env = d.environment()
	}
	head := ""
	if i.Preline {
		head = dotqmail.UFLine(d.rcpt.From.String(), d.clock.Now()) + returnPath(d.rcpt.From) + d.user.DeliveredTo() + "\n"
	}
	stdin, ferr := d.content.stdin(head)
	if ferr != nil {
		return false, reason.MessageUnreadable.Because(ferr)
	}
	defer stdin.Close()
	result, rerr := d.service.Run(ctx, d.who, runas.Command{
		Args: []string{"/bin/sh", "-c", i.Text}, Env: d.env, Stdin: stdin, MaxOutput: reportMost,
	})
	if rerr != nil {
		if e, ok := errors.AsType[*reason.Error](rerr); ok {
			return false, e
		}
		return false, reason.ProgramNotRun.With(errnoText(rerr)).Because(rerr)
	}
	d.report.add(result.Output, result.Cut)
	switch {
	case result.TimedOut:
		return false, reason.ProgramTimeout.With(i.Text)
	case result.Signal != "":
		return false, reason.ProgramCrashed.Because(errors.New("killed by " + result.Signal))
	}
	switch dotqmail.Exit(result.Exit) {
	case dotqmail.Success:
		return false, nil
	case dotqmail.Stop:
		return true, nil
	case dotqmail.Bounce:
		return false, d.report.status(reason.ProgramRefused.With(d.report.String()).Because(exitCause(result.Exit)))
	}
	return false, d.report.status(reason.ProgramDeferred.With(d.report.String()).Because(exitCause(result.Exit)))
}

func exitCause(n int) error { return errors.New("exit status " + strconv.Itoa(n)) }

// environment is all that programs get: table 9.2, and where programs are.
func (d *delivery) environment() []string {
	u := d.user
	env := dotqmail.Delivery{
		User: u.Name, Home: u.Home, Local: u.Local, Host: u.Host, Ext: u.Ext, Name: d.plan.found,
		Sender: d.rcpt.From.String(), NewSender: d.plan.Sender, Time: d.clock.Now(),
	}.Env()
	for i, v := range env { // a NUL would end the variables; nothing takes one in, see mail.Address
		env[i] = strings.ReplaceAll(v, "\x00", "_")
	}
	env = append(env, d.opts.Environ...)
	return append(env, "PATH="+d.opts.programPath(), "LOGNAME="+u.Name, "SHELL=/bin/sh", "POSTILION_MESSAGE="+d.job.Envelope.ID.String())
}

// verdict words the outcome: what programs said, then qmail-local's own word (qmail reference
// 9.4).
func (d *delivery) verdict(err *reason.Error) deliver.Verdict {
	if err != nil {
		if _, said := err.Report(); said {
			return deliver.Verdict{Err: err, Text: d.report.String()}
		}
		d.report.line(err.Line())
		return deliver.Verdict{Err: err, Text: d.report.String()}
	}
	d.report.line("did " + didText(d.files, d.forwards, d.programs))
	v := deliver.Verdict{Text: d.report.String(), Replay: d.replay}
	if len(d.to) > 0 {
		v.Forward = &deliver.Forward{From: mail.ParseAddress(d.plan.Sender), To: d.to}
		if d.files+d.programs == 0 && !d.plan.Default {
			v.Forward.Standing = d.plan.standing
		}
	}
	return v
}

// errnoText words a system's error as qmail does: "access denied", without names.
func errnoText(err error) string {
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		if s, ok := qmail.ErrorText(e); ok {
			return s
		}
		return e.Error()
	}
	if e, ok := errors.AsType[*iofs.PathError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}
