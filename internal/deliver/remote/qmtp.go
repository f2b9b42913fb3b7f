package remote

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/reason"
)

// Delivery by QMTP (qmail reference 15.1): message, reverse-path and recipients in one go, one answer for
// each recipient. Once a connection is made nobody else is tried: what it does not settle waits.

const (
	qmtpPort       = 209
	qmtpConnect    = 15 * time.Second // MXPS: a host that drops what comes to port 209 has SMTP
	maxQMTPAnswer  = 64 << 10         // bytes; more is no answer
	maxQMTPAddress = 1000             // bytes from which on qmail-qmtpd takes no address
)

// openQMTP connects to one of a host's addresses. The memory of dead hosts is for SMTP's port alone.
func (a *attempt) openQMTP(ctx context.Context, h *host, addrs []netip.AddrPort) (*session, failure) {
	h.addrs = nil
	if a.key.required {
		return nil, failure{err: reason.RequireTLS.With(h.name, "QMTP is in plain text"), host: h.name}
	}
	within, cancel := context.WithTimeout(ctx, min(qmtpConnect, a.t.o.ConnectTimeout))
	defer cancel()
	conn, to, failures, err := netx.HappyEyeballs(within, addrs, a.t.deps.Dial)
	switch {
	case conn != nil:
		a.hosts = nil // vector 22: no other host after this one
		s := a.recorded(a.t.newSession(a.key, conn, h, to))
		s.qmtp = true
		return s, failure{}
	case ctx.Err() != nil:
		return nil, failure{err: reason.AttemptInterrupted.Because(ctx.Err()), host: h.name}
	case err != nil || len(failures) == 0:
		return nil, failure{err: reason.ConnectFailed.With(h.name).Because(err), host: h.name}
	}
	return nil, failure{err: connectFailed(h, failures), host: h.name, addr: failures[len(failures)-1].To.Addr().String()}
}

// transactionQMTP sends the message to the pending recipients that share a reverse-path. It reports
// whether the session can be used on.
func (a *attempt) transactionQMTP(ctx context.Context, s *session) bool {
	if s.reused && !s.quiet() {
		a.fresh = true // closed, or talking out of turn: nothing was sent
		return false
	}
	s.reused = false
	from, who := a.chooseQMTP(s)
	if len(who) == 0 {
		return true
	}
	defer s.watch(ctx)()
	if err := s.sendQMTP(a.job, from, who, a.to); err != nil {
		f := s.failed(sendError(err, s.who()), "QMTP")
		a.fail(f)
		a.settleEach(who, f)
		return false
	}
	s.setSent(true)
	defer s.setSent(false)
	s.messages++
	for n, i := range who {
		v, err := s.answerQMTP()
		if err != nil {
			f := s.failed(reason.PossibleDuplicate.With(s.who()).Because(err), "QMTP")
			a.fail(f)
			a.settleEach(who[n:], f)
			return false
		}
		a.settle(i, v)
	}
	return true
}

func (a *attempt) settleEach(who []int, f failure) {
	for _, i := range who {
		a.settle(i, f.verdict())
	}
}

// quiet reports whether an idle connection is still open and has said nothing.
func (s *session) quiet() bool {
	s.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := s.in.Peek(1)
	s.conn.SetReadDeadline(time.Time{})
	return errors.Is(err, os.ErrDeadlineExceeded)
}

// chooseQMTP returns pending recipients of one reverse-path, and settles those who cannot be sent to.
func (a *attempt) chooseQMTP(s *session) (from mail.Address, who []int) {
	var unfit []int
	for _, i := range a.pending {
		f := a.job.Recipients[i].From
		switch {
		case len(f.String()) >= maxQMTPAddress || len(a.to(i).String()) >= maxQMTPAddress:
			unfit = append(unfit, i)
		case len(who) == 0:
			from, who = f, append(who, i)
		case f == from && len(who) < s.t.o.MaxRecipients:
			who = append(who, i)
		}
	}
	a.settleEach(unfit, s.failed(reason.BadAddress.With("an address of 1000 bytes or more"), ""))
	return from, who
}

// bodyError is trouble with the message on this side.
type bodyError struct{ cause error }

func (e *bodyError) Error() string { return e.cause.Error() }

// sendError words a message that could not be sent whole: the other side throws such a one away.
func sendError(err error, who string) *reason.Error {
	if local, ok := errors.AsType[*bodyError](err); ok {
		return reason.LocalError.Because(local.cause)
	}
	return lost(err, who)
}

// copyExactly copies size bytes of a message. Trouble with reading them is a *bodyError.
func copyExactly(w io.Writer, body io.Reader, size int64) error {
	r := &bodyReader{r: io.LimitReader(body, size)}
	n, err := io.Copy(struct{ io.Writer }{w}, r)
	switch {
	case r.err != nil:
		return &bodyError{r.err}
	case err == nil && n < size:
		return &bodyError{io.ErrUnexpectedEOF}
	}
	return err
}

// bodyReader remembers what was wrong with reading.
type bodyReader struct {
	r   io.Reader
	err error
}

// Read implements io.Reader.
func (b *bodyReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

// sendQMTP sends the three netstrings.
func (s *session) sendQMTP(job *deliver.Job, from mail.Address, who []int, to func(int) mail.Address) error {
	body, err := job.Body()
	if err != nil {
		return &bodyError{err}
	}
	defer body.Close()
	w := bufio.NewWriterSize(blocks{s}, 32<<10)
	size := job.Envelope.Size
	w.WriteString(strconv.FormatInt(size+1, 10) + ":\n") // LF form: lines as the queue keeps them
	if err := copyExactly(w, body, size); err != nil {
		return err
	}
	var list []byte
	for _, i := range who {
		list = qmail.AppendNetstring(list, to(i).String())
	}
	tail := append([]byte{','}, qmail.AppendNetstring(nil, from.String())...)
	if _, err := w.Write(qmail.AppendNetstring(tail, list)); err != nil {
		return err
	}
	return w.Flush()
}

// blocks writes within the time for one block.
type blocks struct{ s *session }

// Write implements io.Writer.
func (b blocks) Write(p []byte) (int, error) {
	b.s.arm(b.s.t.o.BlockTimeout)
	n, err := b.s.conn.Write(p)
	b.s.rec.Out(p[:n])
	if err != nil {
		return n, b.s.broken(err)
	}
	return n, nil
}

// answerQMTP reads the answer about one recipient.
func (s *session) answerQMTP() (v deliver.Verdict, err error) {
	s.arm(s.t.o.DotTimeout)
	p, err := qmail.ReadNetstring(s.in, maxQMTPAnswer)
	if err != nil {
		return v, s.broken(err)
	}
	s.rec.In(append(p[:len(p):len(p)], '\n'))
	return s.verdictQMTP(p)
}

// verdictQMTP is what an answer's content says.
func (s *session) verdictQMTP(p []byte) (v deliver.Verdict, err error) {
	if len(p) == 0 {
		return v, qmail.ErrNetstring
	}
	text := strings.ReplaceAll(string(p[1:min(len(p), maxRemote)]), "\x00", "?")
	var e *reason.Error
	switch p[0] {
	case 'K':
		return deliver.Verdict{Text: told(s.who()+" accepted message", text), Host: s.host, Addr: s.who()}, nil
	case 'D':
		e = reason.QMTPRefused.With(s.who())
	case 'Z':
		e = reason.QMTPDeferred.With(s.who())
	default:
		return v, qmail.ErrNetstring
	}
	if m := hcmssc.FindStringSubmatch(text); m != nil && m[1][0] == e.Enhanced[0] {
		e.Enhanced = m[1]
	}
	e.Remote = text
	return s.failed(e, "").verdict(), nil
}

// hcmssc is the status code that qmail's texts end with: "(#5.1.1)".
var hcmssc = regexp.MustCompile(`\(#([245]\.\d{1,3}\.\d{1,3})\)\s*$`)
