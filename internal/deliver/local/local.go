// Package local delivers into the mailboxes of this host: Return-Path and
// Delivered-To on top, the loop check, and mailbox/maildir for the rest; and for users of the
// system, whatever their .qmail files say, as qmail-local does.
//
// A success means that the message is durable in the mailbox. One mailbox's trouble
// is no other's, and a job ends soon after its context even when a disk hangs.
package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/deliver/runas"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/mailbox/maildir"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/trace"
)

// Options are what an operator may choose. The zero value works.
type Options struct {
	Maildir maildir.Options `toml:"maildir" doc:"how Maildir files are written"`
	// OverQuota is "temporary" (452 4.2.2, tried again) or "permanent" (552 5.2.2, bounced).
	OverQuota string `toml:"over_quota" default:"temporary" doc:"what a full mailbox answers: temporary or permanent" example:"permanent"`
	// Quota is about mailboxes that are nearly full, or full.
	Quota QuotaOptions `toml:"quota" doc:"warnings to owners of mailboxes that are nearly full, and soft quotas"`
	// MaxJobs bounds the jobs at work, those left behind on a hanging disk included.
	MaxJobs int `toml:"max_jobs" default:"1000" unit:"jobs" doc:"delivery jobs at work at once, jobs hanging on a disk included" example:"500"`
	// DefaultDelivery is for users of the system without a .qmail file, or with an empty one.
	DefaultDelivery string `toml:"default_delivery" default:"maildir" doc:"what is done for users of the system without a .qmail file: maildir (./Maildir/, made when it is missing), mbox (./Mailbox), spool (a file in mail_spool), procmail, maildrop, or lines as in a .qmail file, the last of which may be spool" example:"\"|dot-forward .forward\\n./Maildir/\""`
	MailSpool       string `toml:"mail_spool" default:"/var/mail" doc:"the folder of the mailboxes of default_delivery = spool, one file for each user, who must be allowed to write it" example:"\"/var/spool/mail\""`
	ProgramPath     string `toml:"program_path" default:"/var/qmail/bin:/usr/local/bin:/usr/bin:/bin" doc:"the variable PATH of programs in .qmail files" example:"\"/usr/lib/postilion/bin:/usr/bin:/bin\""`

	// Places is how many deliveries dispatch makes at once; 0 means 100.
	Places int `toml:"-"`
	// Environ is further variables of programs, as NAME=value: where the local socket is.
	Environ []string `toml:"-"`
	// Settle is how long a .qmail file and its home must not have been changed before what it says may stand
	// (deliver.Standing); 0 means 2 s, the longest step of a file system's clock.
	Settle time.Duration `toml:"-"`
}

func (o Options) settle() time.Duration { return cmp.Or(o.Settle, 2*time.Second) }

// Validate names what is wrong and what was expected.
func (o Options) Validate() error {
	var wrong error
	switch o.OverQuota {
	case "", "temporary", "permanent":
	default:
		wrong = fmt.Errorf("over_quota: %q: want temporary or permanent", o.OverQuota)
	}
	return errors.Join(wrong, o.Quota.Validate(), o.checkDefault())
}

// Deps is the world a Target works in.
type Deps struct {
	FS        fs.FS // rooted at the mail folder
	Barrier   *fs.Barrier
	Directory directory.Reader
	Clock     clock.Clock
	Recorder  trace.Recorder // told of deliveries that hang; nil forgets
	Runas     runas.Service  // reaches users of the system; nil where nobody is delivered to
	Spool     string         // folder for copies of large messages that programs read; "" is the system's
}

// Target is a deliver.Target for Mailbox and SystemUser recipients.
type Target struct {
	opts     Options
	dir      directory.Reader
	boxes    *maildir.Store
	users    *users
	warner   *warner
	recorder trace.Recorder
	clock    clock.Clock
	started  time.Time
	slots    chan struct{}
	hanging  *hanging
}

var _ deliver.Target = (*Target)(nil)

// New returns a Target; every field of d but Recorder, Runas and Spool is needed.
func New(o Options, d Deps) *Target {
	if o.MaxJobs <= 0 {
		o.MaxJobs = 1000
	}
	o.Places = cmp.Or(o.Places, 100)
	if d.Recorder == nil {
		d.Recorder = trace.Discard
	}
	ages := clock.NewSteady(clock.System{})
	boxes := maildir.New(o.Maildir, maildir.Deps{FS: d.FS, Barrier: d.Barrier, Clock: d.Clock, Files: ages})
	t := &Target{
		opts:     o,
		dir:      d.Directory,
		boxes:    boxes,
		warner:   newWarner(o.Quota, boxes, d),
		users:    newUsers(o, d, ages),
		recorder: d.Recorder,
		clock:    d.Clock,
		started:  d.Clock.Now(),
		slots:    make(chan struct{}, o.MaxJobs),
	}
	t.hanging = newHanging(func(mailbox string, n int) {
		t.recorder.Record(trace.Event{
			Time: t.clock.Now(), Kind: trace.Service, Role: "local", Count: int64(n), Reason: string(reason.MailboxHangs.Reason),
			Text: "deliveries hang in the file system; others into this mailbox are put off: " + mailbox,
		})
	})
	return t
}

// Room returns nil when size more bytes fit the account's mailbox, and else the error that
// a delivery would end with. Intake asks it at RCPT.
func (t *Target) Room(ctx context.Context, a *directory.Account, size int64) error {
	usage, err := t.boxes.Room(a.Mailbox, t.opts.Quota.quota(a), size)
	if err != nil {
		t.warner.look(ctx, a, usage) // refused mail leads to no delivery, which would warn
		return t.classify(err)
	}
	return nil
}

// SetAside renames the mailbox of an account that is removed; see maildir.Store.
func (t *Target) SetAside(mailbox string, account uint64) (string, error) {
	return t.boxes.SetAside(mailbox, account)
}

// Clean removes what deliveries abandoned in all mailboxes' tmp folders, once a day and slowly,
// until ctx ends: POP3 does it only for mailboxes that somebody reads.
func (t *Target) Clean(ctx context.Context) error {
	const (
		first = 10 * time.Minute // after the start, when there is other work
		every = 24 * time.Hour
		pause = 20 * time.Millisecond // after each mailbox
	)
	for wait := first; ; wait = every {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		n, err := t.boxes.Sweep(ctx, pause)
		if err != nil && ctx.Err() == nil {
			t.recorder.Record(trace.Event{
				Time: t.clock.Now(), Kind: trace.Service, Role: "local", Count: int64(n),
				Reason: string(reason.MailboxUnavailable.Reason), Text: "cleaning tmp folders: " + err.Error(),
			})
		}
	}
}

// Deliver implements deliver.Target.
func (t *Target) Deliver(ctx context.Context, job *deliver.Job) []deliver.Verdict {
	select {
	case t.slots <- struct{}{}:
	case <-ctx.Done():
		return interrupted(job, ctx.Err())
	}
	done := make(chan []deliver.Verdict, 1)
	go func() {
		defer func() { <-t.slots }()
		done <- t.deliver(ctx, job)
	}()
	select {
	case v := <-done:
		return v
	case <-ctx.Done():
	}
	// What is at the disk now may still be published; the next attempt looks for it.
	select {
	case v := <-done:
		return v
	case <-time.After(grace):
		t.recorder.Record(trace.Event{
			Time: t.clock.Now(), Kind: trace.Service, Role: "local", Message: job.Envelope.ID, Attempt: job.Attempt,
			Text: "a delivery hangs in the file system and was left behind", Count: int64(len(t.slots)),
		})
		return interrupted(job, ctx.Err())
	}
}

// grace is how long a job may take to notice the end of its context.
const grace = time.Second

func interrupted(job *deliver.Job, cause error) []deliver.Verdict {
	out := make([]deliver.Verdict, len(job.Recipients))
	for i := range out {
		out[i].Err = reason.AttemptInterrupted.Because(cause)
	}
	return out
}

func (t *Target) deliver(ctx context.Context, job *deliver.Job) []deliver.Verdict {
	out := make([]deliver.Verdict, len(job.Recipients))
	ds := make([]maildir.Delivery, 0, len(job.Recipients))
	at := make([]int, 0, len(job.Recipients)) // where in out
	accounts := make([]*directory.Account, 0, len(job.Recipients))
	loops := &loopCheck{wanted: map[string]bool{}}
	for i := range job.Recipients {
		rcpt := &job.Recipients[i]
		if rcpt.User != nil {
			out[i] = t.users.deliver(ctx, job, rcpt, t.again(job, rcpt))
			continue
		}
		account, err := t.account(ctx, rcpt)
		if err != nil {
			out[i].Err = err
			continue
		}
		if len(job.Recipients) > 1 {
			err = t.classify(t.hanging.check(account.Mailbox))
		} else {
			v, cause := t.hanging.enter(ctx, account.Mailbox)
			if cause == nil {
				defer v.leave()
			}
			err = t.classify(cause)
		}
		if err != nil {
			out[i].Err = err
			continue
		}
		ds = append(ds, t.delivery(job, rcpt, account, loops))
		at = append(at, i)
		accounts = append(accounts, account)
	}
	if len(ds) == 0 {
		return out
	}
	open := func() (io.ReadCloser, error) {
		body, err := job.Body()
		if err != nil {
			return nil, err
		}
		return loops.watch(body), nil
	}
	for k, o := range t.boxes.Deliver(ctx, open, ds) {
		out[at[k]] = deliver.Verdict{Text: told(&o), Replay: o.Replay, Err: t.classify(o.Err)}
		if o.Usage != (maildir.Usage{}) {
			t.warner.look(ctx, accounts[k], o.Usage)
		}
	}
	return out
}

// told says where the message lies, and when a crash had come between its delivery and
// the record of it.
func told(o *maildir.Outcome) string {
	if o.Replay {
		return o.Path + " (found there: delivered before a restart)"
	}
	return o.Path
}

func (t *Target) account(ctx context.Context, rcpt *deliver.Recipient) (*directory.Account, *reason.Error) {
	n, err := strconv.ParseUint(rcpt.Dest, 10, 64)
	if err != nil {
		return nil, reason.LocalError.Because(err)
	}
	account, err := t.dir.Account(ctx, n)
	switch {
	case errors.Is(err, directory.ErrNotFound):
		return nil, reason.MailboxUnknown.With(rcpt.Final.String())
	case err != nil:
		return nil, reason.DirectoryUnavailable.Because(err)
	case account.Mailbox == "":
		return nil, reason.MailboxUnavailable.Because(errors.New("account " + rcpt.Dest + " has no mailbox path"))
	}
	return account, nil
}

func (t *Target) delivery(job *deliver.Job, rcpt *deliver.Recipient, account *directory.Account, loops *loopCheck) maildir.Delivery {
	delivered := deliveredTo(rcpt.Final)
	loops.wanted[delivered] = false
	env := job.Envelope
	return maildir.Delivery{
		Mailbox: account.Mailbox,
		Folder:  rcpt.Folder,
		Message: env.ID,
		N:       rcpt.N,
		Prefix:  []byte(returnPath(rcpt.From) + delivered + "\n"),
		Size:    env.Size,
		Quota:   t.opts.Quota.quota(account),
		Again:   t.again(job, rcpt),
		Veto:    func() error { return loops.verdict(delivered) },
	}
}

// again reports whether the delivery may have been made before: a message older than this process
// may have been delivered by the one before it.
func (t *Target) again(job *deliver.Job, rcpt *deliver.Recipient) bool {
	return rcpt.Again || job.Envelope.Accepted.Before(t.started)
}

// returnPath and deliveredTo: qmail reference 9.2; line ends in addresses become "_".
func returnPath(from mail.Address) string { return "Return-Path: <" + oneLine(from.Quoted()) + ">\n" }

func deliveredTo(to mail.Address) string { return "Delivered-To: " + oneLine(to.String()) }

var lineEnds = strings.NewReplacer("\n", "_", "\r", "_", "\x00", "_")

func oneLine(s string) string { return lineEnds.Replace(s) }

// classify turns a delivery's error into the one value that travels on.
func (t *Target) classify(err error) *reason.Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*reason.Error](err); ok {
		if t.opts.OverQuota == "permanent" && (e.Reason == reason.QuotaExceeded.Reason || e.Reason == reason.QuotaTooSmall.Reason) {
			c := *e
			c.Class, c.Code, c.Enhanced = reason.Permanent, 552, "5.2.2"
			return &c
		}
		return e
	}
	switch {
	case errors.Is(err, errHanging), errors.Is(err, fs.ErrHangs):
		return reason.MailboxHangs.Because(err)
	case errors.Is(err, syscall.ENOSPC):
		return reason.DiskFull.Because(err)
	case errors.Is(err, syscall.EDQUOT):
		return reason.QuotaExceeded.Because(err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return reason.AttemptInterrupted.Because(err)
	}
	return reason.MailboxUnavailable.Because(err)
}
