package remote

import (
	"context"
	"errors"
	"io"
	"strconv"

	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/smtp"
)

// letter is one transaction: a message for some of the pending recipients.
type letter struct {
	a     *attempt
	s     *session
	who   []int // recipients, by their place in the job
	from  mail.Address
	mail  smtp.MailParams
	seven bool // the content goes through the down-converter

	taken   []int      // recipients that RCPT took
	mailErr failure    // why MAIL did not succeed
	data    smtp.Reply // to DATA
	lost    error      // the connection died, or was closed by a 421
	lostAt  string     // during which command
}

// transaction sends the message to as many of the pending recipients as one transaction may
// hold. It reports whether the session can be used on. Recipients that are not settled
// then are to be tried in another transaction or on another connection.
func (a *attempt) transaction(ctx context.Context, s *session) bool {
	l := &letter{a: a, s: s}
	if !l.prepare() {
		return true // nothing was sent, and somebody was settled
	}
	defer s.watch(ctx)()
	if ctx.Err() != nil {
		a.settleAll(s.failed(reason.AttemptInterrupted.Because(ctx.Err()), ""))
		return true
	}
	l.envelope()
	if l.lost != nil {
		return l.gone()
	}
	s.reused = false
	if l.mailErr.err != nil {
		for _, i := range l.who {
			a.settle(i, l.mailErr.verdict())
		}
		return l.afterRefusal()
	}
	s.reset = true
	if len(l.taken) == 0 {
		return l.afterRefusal()
	}
	if !s.offer.Chunking || s.t.o.NoChunking {
		if l.data.Code != 354 {
			f := s.failed(refusal(reason.RemoteData, l.data, s.who()), "DATA")
			l.settleTaken(f)
			return true
		}
	}
	return l.content()
}

// afterRefusal ends a transaction that has nobody to send to. A server that asks for the content
// all the same gets an empty one (RFC 2920 3.1), and no further message.
func (l *letter) afterRefusal() bool {
	if l.data.Code != 354 {
		return true
	}
	l.s.out = append(l.s.out, ".\r\n"...)
	_, _ = l.s.reply(l.s.t.o.DataTimeout)
	l.a.fail(l.s.failed(reason.RemoteProtocol.With(l.s.who()), "DATA"))
	return false
}

// gone deals with a connection that was lost before any content was sent. Nothing of the message
// was accepted: what is pending is tried elsewhere, which counts as a failure
// only if the connection was a new one.
func (l *letter) gone() bool {
	l.a.fresh = true
	if l.s.reused && !errors.Is(l.lost, errInterrupted) {
		return false
	}
	if f := l.s.failed(l.lostError(), l.lostAt); errors.Is(l.lost, errInterrupted) {
		l.a.settleAll(f)
	} else {
		l.a.fail(f)
	}
	return false
}

func (l *letter) lostError() *reason.Error {
	if e, ok := errors.AsType[*reason.Error](l.lost); ok {
		return e
	}
	return lost(l.lost, l.s.who())
}

// settleTaken gives those whom RCPT took one failure, which is also what the rest is told if there
// is no other host to turn to.
func (l *letter) settleTaken(f failure) {
	l.a.fail(f)
	for _, i := range l.taken {
		l.a.settle(i, f.verdict())
	}
}

// prepare chooses the recipients and the parameters of MAIL. It reports false when
// recipients were settled instead, because what the other side offers cannot carry them.
func (l *letter) prepare() bool {
	a, s, env := l.a, l.s, l.a.job.Envelope
	refuse := func(e *reason.Error) bool {
		a.settleAll(s.failed(e, ""))
		return false
	}
	if most := s.offer.MaxSize; most > 0 && env.CRLFSize > most {
		return refuse(reason.RemoteSize.With(s.who(), strconv.FormatInt(env.CRLFSize, 10), strconv.FormatInt(most, 10)))
	}
	l.choose()
	if len(l.who) == 0 {
		return false
	}
	if s.offer.Size {
		l.mail.Size = env.CRLFSize
	}
	if s.offer.DSN {
		l.mail.Ret, l.mail.EnvID = env.Ret, env.EnvID
	}
	l.mail.RequireTLS = s.key.required
	if env.Eight {
		if e := l.eight(); e != nil {
			return refuse(e)
		}
	}
	return true
}

// choose fills l.who with pending recipients that share a reverse-path, and settles
// those whose addresses the other side cannot be given.
func (l *letter) choose() {
	a, s := l.a, l.s
	most := s.t.o.MaxRecipients
	if n := s.offer.MaxRecipients; n > 0 {
		most = min(most, n)
	}
	needs := a.job.Envelope.UTF8
	first := true
	var unfit []int
	for _, i := range a.pending {
		from := a.job.Recipients[i].From
		switch {
		case !s.offer.UTF8 && (!plainLocal(from) || !plainLocal(a.to(i))):
			unfit = append(unfit, i)
			continue
		case first:
			l.from, first = from, false
		case from != l.from:
			continue
		}
		if len(l.who) < most {
			l.who = append(l.who, i)
			needs = needs || !from.IsASCII() || !a.to(i).IsASCII()
		}
	}
	for _, i := range unfit {
		a.settle(i, s.failed(reason.SMTPUTF8Needed.With(s.who()), "").verdict())
	}
	l.mail.UTF8 = needs && s.offer.UTF8
	if !l.mail.UTF8 {
		l.from = l.ascii(l.from)
	}
}

// plainLocal reports whether an address can be written in ASCII, its domain in A-labels.
func plainLocal(a mail.Address) bool { return mail.Address{Local: a.Local}.IsASCII() }

// ascii puts an address's domain into A-labels where UTF-8 cannot be used.
func (l *letter) ascii(a mail.Address) mail.Address {
	if !l.mail.UTF8 && !a.IsASCII() {
		a.Domain = smtp.DomainKey(a.Domain)
	}
	return a
}

// eight decides how content with bytes above 127 goes: as it is, or converted. A header with such
// bytes needs SMTPUTF8 if the message declared it; otherwise an 8-bit path takes it as it came.
func (l *letter) eight() *reason.Error {
	a, s := l.a, l.s
	if s.offer.UTF8 && l.mail.UTF8 || s.offer.EightBit && !a.job.Envelope.UTF8 {
		l.mail.EightBit = s.offer.EightBit
		return nil
	}
	p, err := a.inspect()
	switch {
	case err != nil:
		return reason.LocalError.Because(err)
	case p.EightHeader && a.job.Envelope.UTF8:
		return reason.SMTPUTF8Needed.With(s.who())
	case s.offer.EightBit:
		l.mail.EightBit = true
		return nil
	case p.Refuse != nil:
		return reason.ConversionNeeded.With(s.who(), p.Refuse.Error())
	}
	l.seven, l.mail.Size = true, 0
	return nil
}

// envelope sends MAIL, RCPT and DATA, in one write where the other side can take that.
func (l *letter) envelope() {
	s, o := l.s, &l.s.t.o
	together := s.offer.Pipelining && !o.NoPipelining
	data := !s.offer.Chunking || o.NoChunking
	if s.reset {
		s.out = append(s.out, "RSET\r\n"...)
		if !together && !l.resetReply() {
			return
		}
	}
	s.out = smtp.AppendMail(s.out, l.from, l.mail)
	if together {
		for _, i := range l.who {
			s.out = l.appendRcpt(s.out, i)
		}
		if data {
			s.out = append(s.out, "DATA\r\n"...)
		}
		if s.reset && !l.resetReply() {
			return
		}
	}
	s.reset = false
	r, err := s.reply(o.MailTimeout)
	if l.died(r, err, "MAIL") {
		return
	}
	if r.Class() != 2 {
		l.mailErr = s.failed(refusal(reason.RemoteSender, r, s.who()), string(smtp.AppendMail(nil, l.from, l.mail)))
		if !together {
			return
		}
	}
	l.recipients(together)
	if l.lost != nil || !data || !together && len(l.taken) == 0 {
		return
	}
	if !together {
		s.out = append(s.out, "DATA\r\n"...)
	}
	l.data, err = s.reply(o.DataTimeout)
	l.died(l.data, err, "DATA")
}

func (l *letter) resetReply() bool {
	r, err := l.s.reply(l.s.t.o.MailTimeout)
	return !l.died(r, err, "RSET")
}

// recipients reads the replies to RCPT, sending each command before where it was not sent yet.
func (l *letter) recipients(together bool) {
	s := l.s
	var refused []int
	var replies []smtp.Reply
	for _, i := range l.who {
		if !together {
			s.out = l.appendRcpt(s.out, i)
		}
		r, err := s.reply(s.t.o.RcptTimeout)
		if l.died(r, err, "RCPT") {
			return
		}
		if l.mailErr.err != nil {
			continue
		}
		if r.Class() == 2 {
			l.taken = append(l.taken, i)
		} else {
			refused, replies = append(refused, i), append(replies, r)
		}
	}
	for n, i := range refused {
		if len(l.taken) > 0 && tooMany(replies[n]) {
			continue // stays pending: the next transaction has room
		}
		command := string(l.appendRcpt(nil, i))
		l.a.settle(i, s.failed(refusal(reason.RemoteRecipient, replies[n], s.who()), command).verdict())
	}
}

// tooMany reports whether a reply to RCPT says that this transaction is full (RFC 5321 4.5.3.1.10).
func tooMany(r smtp.Reply) bool {
	return r.Code == 452 && r.Enhanced == "" || r.Enhanced == "4.5.3" || r.Code == 552 && r.Enhanced == "5.5.3"
}

func (l *letter) appendRcpt(b []byte, i int) []byte {
	var p smtp.RcptParams
	if l.s.offer.DSN {
		r := &l.a.job.Recipients[i]
		p.Notify, p.ORcpt = r.Notify, r.ORcpt // RFC 3461 5.2.1
	}
	return smtp.AppendRcpt(b, l.ascii(l.a.to(i)), p)
}

// died notes that the session is over: I/O failed, or a 421 came.
func (l *letter) died(r smtp.Reply, err error, command string) bool {
	if err != nil {
		l.lost, l.lostAt = err, command
	} else if r.Code == 421 {
		id := reason.RemoteSender
		switch command {
		case "RCPT":
			id = reason.RemoteRecipient
		case "DATA":
			id = reason.RemoteData
		}
		l.lost, l.lostAt = refusal(id, r, l.s.who()), command
	}
	return l.lost != nil
}

// content sends the message and settles those whom RCPT took.
func (l *letter) content() bool {
	s := l.s
	body, err := l.a.job.Body()
	if err != nil {
		l.settleTaken(s.failed(reason.LocalError.Because(err), ""))
		return false // the other side waits for content: only hanging up tells it
	}
	defer body.Close()
	w := l.writer()
	if l.seven {
		err = l.a.plan.Convert(w, body)
	} else {
		err = copyBody(w, body)
	}
	last := w.finish(err == nil)
	switch {
	case w.refused != nil: // a chunk was refused: nothing else counts
		l.settleTaken(s.failed(refusal(reason.RemoteMessage, *w.refused, s.who()), w.name()))
		return false
	case w.broken != nil:
		return l.brokenContent(w)
	case err != nil:
		l.settleTaken(s.failed(reason.LocalError.Because(err), ""))
		return false
	}
	s.setSent(false)
	s.messages++
	if last.Class() != 2 {
		l.settleTaken(s.failed(refusal(reason.RemoteMessage, last, s.who()), w.name()))
		s.reset = w.bdat // after DATA there is nothing left to reset
		return last.Code != 421
	}
	s.reset = false
	v := s.success(last)
	for _, i := range l.taken {
		l.a.settle(i, v)
	}
	return true
}

// brokenContent settles after a connection died while content was sent or its reply awaited.
// A server that stopped reading may have told why.
func (l *letter) brokenContent(w *contentWriter) bool {
	s := l.s
	var f failure
	switch {
	case w.whole:
		f = s.failed(reason.PossibleDuplicate.With(s.who()).Because(w.broken), w.name())
	default:
		f = s.failed(lost(w.broken, s.who()), w.name())
		if r, ok := s.lastWords(w.broken); ok {
			f = s.failed(refusal(reason.RemoteMessage, r, s.who()), w.name())
		}
	}
	l.settleTaken(f)
	return false
}

// lastWords reads the reply of a server that closed while content was being sent.
func (s *session) lastWords(why error) (smtp.Reply, bool) {
	if isTimeout(why) || errors.Is(why, errInterrupted) {
		return smtp.Reply{}, false
	}
	s.arm(lateTimeout)
	r, err := smtp.ReadReply(s.in)
	return r, err == nil && r.Class() >= 4
}

// copyBody copies without a buffer of its own where the body can write itself.
func copyBody(w io.Writer, body io.Reader) error {
	if from, ok := body.(io.WriterTo); ok {
		_, err := from.WriteTo(w)
		return err
	}
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	_, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{body}, *buf)
	return err
}
