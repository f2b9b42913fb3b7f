package submit

import (
	"bytes"
	"context"
	"strconv"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/policy"
	"github.com/postilion/postilion/internal/policy/headers"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/smtp"
	"github.com/postilion/postilion/internal/trace"
)

// Transaction is one message on its way in: Begin, Rcpt for each recipient, Open, Write for the
// body, Commit. It is used by one goroutine and ends with Commit or Abort.
type Transaction struct {
	s        *Submitter
	src      *Source
	client   policy.Client
	env      mail.Envelope
	limits   []int64 // the largest message that each recipient takes, 0 without limit; nil while all are 0
	declared int64   // SIZE
	maxSize  int64
	countsLF bool          // maxSize is meant for LF line ends: DATABYTES
	late     *reason.Error // why every recipient is refused: the sender, told at RCPT

	draft  queue.Draft
	header headerScanner
	err    *reason.Error // the first trouble with the body
	lines  int64         // LFs written
	ended  bool          // the last byte written was LF
	traced int64         // bytes of the trace fields with CRLF, which no limit counts
	bare   int64         // the same with LF

	boxes map[int]*directory.Account // of the recipients whose mailbox has a quota, by number; nil for none

	check   *headers.Check // nil where no rules look at the content
	checked bool           // the check has seen the header
}

// ID returns the message's identifier.
func (t *Transaction) ID() id.ID { return t.env.ID }

// Size returns the size of the message in bytes with LF, once Commit has returned.
func (t *Transaction) Size() int64 { return t.env.Size }

// Recipients returns how many recipients were taken.
func (t *Transaction) Recipients() int { return len(t.env.Recipients) }

// Sender gives a message that began with BeginBody its reverse-path, or returns the *reason.Error that
// refuses it. m.Size is not looked at.
func (t *Transaction) Sender(ctx context.Context, m smtp.Mail) error {
	t.env.From, t.env.Body, t.env.UTF8 = m.From, m.Body, m.UTF8
	if err := t.sender(ctx, m); err != nil {
		t.refused(err, m.From, mail.Address{})
		return err
	}
	return nil
}

// Rcpt adds a recipient, or returns the *reason.Error that refuses it.
func (t *Transaction) Rcpt(ctx context.Context, r smtp.Rcpt) error {
	if g := t.src.Grant; g != nil {
		r.To = g.Recipient(r.To)
	}
	limit, err := t.rcpt(ctx, r)
	if err != nil && t.later(err) {
		return t.takeLate(r, err)
	}
	if err != nil {
		t.refused(err, t.env.From, r.To)
		return err
	}
	if limit > 0 || t.limits != nil {
		for len(t.limits) < len(t.env.Recipients) {
			t.limits = append(t.limits, 0)
		}
		t.limits = append(t.limits, limit)
	}
	t.env.Recipients = append(t.env.Recipients, mail.Recipient{To: r.To, ORcpt: r.ORcpt, Notify: r.Notify})
	return nil
}

// later reports whether a recipient's trouble is left to its delivery.
func (t *Transaction) later(err *reason.Error) bool {
	return t.src.Late && err.Reason != reason.TooManyRecipients.Reason
}

// takeLate adds a recipient that is in trouble: for good, then dispatch bounces it, or for now, then
// dispatch looks again. The error returned is for the caller to tell, and nil for the latter.
func (t *Transaction) takeLate(r smtp.Rcpt, err *reason.Error) error {
	to := mail.Recipient{To: r.To, ORcpt: r.ORcpt, Notify: r.Notify}
	if err.Class == reason.Permanent {
		to.Refused = err
	}
	if t.limits != nil {
		t.limits = append(t.limits, 0)
	}
	t.env.Recipients = append(t.env.Recipients, to)
	if to.Refused == nil {
		return nil
	}
	return err
}

// Refused records that the caller refuses a recipient by itself.
func (t *Transaction) Refused(e *reason.Error, to mail.Address) { t.refused(e, t.env.From, to) }

// Keep takes a recipient along that Rcpt refused, for senders who are answered once for all (QMQP):
// dispatch bounces it, when others take the message.
func (t *Transaction) Keep(r smtp.Rcpt, e *reason.Error) {
	if t.limits != nil {
		t.limits = append(t.limits, 0)
	}
	t.env.Recipients = append(t.env.Recipients, mail.Recipient{To: r.To, Refused: e})
}

// rcpt decides about a recipient and returns the largest message it takes.
func (t *Transaction) rcpt(ctx context.Context, r smtp.Rcpt) (int64, *reason.Error) {
	most := t.s.d.Policy.MaxRecipients(t.client)
	if t.src.Late && t.src.MaxRecipients > 0 {
		most = t.src.MaxRecipients
	}
	if len(t.env.Recipients) >= most {
		return 0, reason.TooManyRecipients.With(strconv.Itoa(most))
	}
	if t.late != nil {
		return 0, t.late
	}
	rt, err := t.s.d.Router.Route(ctx, r.To)
	if err != nil {
		return 0, reason.As(err)
	}
	if t.src.LocalOnly && rt.Kind == route.Remote {
		return 0, reason.RelayDenied.With(smtp.Text(r.To.Domain, 200))
	}
	if err := t.s.d.Policy.Recipient(t.client, r.To, &rt, t.declared); err != nil {
		return 0, err
	}
	if rt.Kind == route.Mailbox && t.s.d.Quota != nil {
		if err := t.s.d.Quota(ctx, rt.Account, t.declared); err != nil {
			return 0, reason.As(err)
		}
	}
	if rt.Kind == route.SystemUser && t.s.d.Exists != nil {
		if err := t.s.d.Exists(ctx, *rt.User); err != nil {
			return 0, reason.As(err)
		}
	}
	if a := t.client.Account; a != nil && t.s.d.Rate != nil {
		if err := t.s.d.Rate(a.ID, t.s.d.Clock.Now()); err != nil {
			return 0, err
		}
	}
	t.limited(&rt)
	return policy.RecipientMaxSize(&rt), nil
}

// Open begins the body. Without recipients it is an error. After an error the transaction goes on.
func (t *Transaction) Open(ctx context.Context) error {
	if len(t.env.Recipients) == 0 {
		return reason.NoRecipients
	}
	return t.open(ctx)
}

func (t *Transaction) open(ctx context.Context) error {
	draft, err := t.beginDraft(ctx)
	if err != nil {
		e := reason.As(err)
		t.refused(e, t.env.From, mail.Address{})
		return e
	}
	t.draft = draft
	t.header = headerScanner{complete: t.src.Complete}
	if t.client.Account != nil && t.s.d.Policy.CheckSender() {
		t.header.authors = new(authorScanner)
	}
	t.beginCheck()
	var buf [1024]byte
	t.append(t.received(buf[:0]))
	t.traced, t.bare = t.env.Size+t.lines, t.env.Size
	return nil
}

// Write appends content with LF line ends. It always takes all of p: trouble is told by Commit, and
// by Err for those who can stop early.
func (t *Transaction) Write(p []byte) (int, error) {
	n := len(p)
	if n == 0 || t.err != nil {
		return n, nil
	}
	if !t.header.over {
		p = t.writeHeader(p)
	} else if t.check != nil {
		t.check.Body(p)
	}
	t.append(p)
	return n, nil
}

// writeHeader writes what of p belongs to the header and returns the rest.
func (t *Transaction) writeHeader(p []byte) []byte {
	if t.header.complete && !t.header.begun && !maybeField(p) {
		t.append(t.missing(nil))
		t.append([]byte{'\n'})
		t.header.over = true
		t.endCheckedHeader()
		return p
	}
	end := t.header.scan(p)
	if t.check != nil {
		t.check.Header(p[:end])
	}
	if t.header.over && (t.header.complete || t.check != nil) {
		t.append(p[:end])
		if t.header.complete {
			t.append(t.missing(nil))
		}
		t.append(t.endCheckedHeader())
		if p = p[end:]; t.check != nil {
			t.check.Body(p)
		}
	}
	if most := t.s.d.Policy.MaxHops(); t.header.hops > most {
		t.fail(reason.TooManyHops)
	}
	return p
}

// append writes to the queue and keeps count.
func (t *Transaction) append(p []byte) {
	if len(p) == 0 || t.err != nil {
		return
	}
	if _, err := t.draft.Write(p); err != nil {
		t.fail(reason.As(err))
		return
	}
	t.env.Size += int64(len(p))
	t.lines += int64(bytes.Count(p, []byte{'\n'}))
	t.ended = p[len(p)-1] == '\n'
	size := t.env.Size + t.lines - t.traced
	if t.countsLF {
		size = t.env.Size - t.bare
	}
	if size > t.maxSize && t.traced > 0 {
		t.fail(reason.MessageTooBig.With(strconv.FormatInt(t.maxSize, 10)))
	}
}

// fail remembers the first trouble and lets go of what was written.
func (t *Transaction) fail(err *reason.Error) {
	t.err = err
	t.draft.Abort()
}

// Err returns the trouble that Commit is going to tell, nil while there is none.
func (t *Transaction) Err() error {
	if t.err == nil {
		return nil
	}
	return t.err
}

// Commit ends the body. With a nil error the message is durable for all recipients whose verdict is
// nil; verdicts is nil when there is none to tell. After an error nothing was taken: verdicts then
// holds the error of each recipient, or is nil when all have the same.
func (t *Transaction) Commit(ctx context.Context) (verdicts []*reason.Error, err error) {
	if t.draft == nil {
		return nil, reason.NoRecipients // never opened
	}
	if !t.ended {
		t.append([]byte{'\n'})
	}
	if !t.header.over && t.header.complete {
		// A message of a header alone, whose last line may have lacked its end.
		t.header.field()
		t.append(t.missing(nil))
	}
	if !t.header.over {
		t.append(t.endCheckedHeader())
	}
	t.env.Accepted = t.s.d.Clock.Now()
	t.env.CRLFSize = t.env.Size + t.lines
	if t.err == nil && len(t.env.Recipients) == 0 {
		t.fail(reason.NoRecipients)
	}
	if refused := t.endCheck(); refused != nil && t.err == nil {
		t.err = refused
	}
	if t.err == nil {
		t.err = t.authors(ctx)
	}
	if t.err == nil {
		t.err = t.full(ctx)
	}
	if t.err == nil {
		verdicts = t.judge()
	}
	if t.err == nil {
		if t.filter() == "" { // what a filter hands on comes here again
			t.s.d.Archive.Add(&t.env)
		}
		if err := t.draft.Commit(ctx); err != nil {
			t.err, verdicts = reason.As(err), nil
		}
	} else {
		t.draft.Abort()
	}
	if t.err != nil {
		t.refused(t.err, t.env.From, mail.Address{})
		return verdicts, t.err
	}
	return verdicts, nil
}

// judge finds the recipients whose own limit the message exceeds. When all are refused so is the
// message.
func (t *Transaction) judge() []*reason.Error {
	var verdicts []*reason.Error
	refused := 0
	for i, most := range t.limits {
		if most == 0 || t.env.CRLFSize-t.traced <= most {
			continue
		}
		if verdicts == nil {
			verdicts = make([]*reason.Error, len(t.env.Recipients))
		}
		verdicts[i] = reason.MailboxTooBig.With(strconv.FormatInt(most, 10))
		t.env.Recipients[i].Refused = verdicts[i]
		t.refused(verdicts[i], t.env.From, t.env.Recipients[i].To)
		refused++
	}
	if refused == len(t.env.Recipients) {
		t.err = verdicts[0]
	}
	return verdicts
}

// Abort drops the message. After Commit it does nothing.
func (t *Transaction) Abort() {
	t.dropCheck()
	if t.draft != nil {
		t.draft.Abort()
	}
}

// Refuse drops the message for a reason of the caller's, and records it.
func (t *Transaction) Refuse(e *reason.Error) {
	t.Abort()
	t.refused(e, t.env.From, mail.Address{})
}

func (t *Transaction) event(kind trace.Kind) trace.Event {
	e := trace.Event{
		Time: t.s.d.Clock.Now(), Kind: kind, Role: t.src.Role, Session: t.src.Session, Message: t.env.ID, Tenant: t.env.Tenant,
		Account: t.src.Account, Helo: t.src.HELO, TLS: t.src.TLS,
	}
	if t.src.Client.IsValid() {
		e.Client = t.src.Client.String()
	}
	return e
}

func (t *Transaction) refused(err *reason.Error, from, to mail.Address) {
	e := t.event(trace.Refused)
	e.From, e.To = from.String(), to.String()
	e.Code, e.Status, e.Reason = err.Code, err.Enhanced, string(err.Reason)
	e.Text = err.Text(reason.English)
	if err.Cause != nil {
		e.Text += ": " + err.Cause.Error()
	}
	t.s.d.Events.Record(e)
}
