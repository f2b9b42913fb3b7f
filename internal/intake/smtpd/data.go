package smtpd

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/smtp"
)

// data is DATA.
func (s *session) data(arg string) {
	switch {
	case arg != "":
		s.refuse(reason.CommandSyntax.With("want DATA alone"))
		return
	case s.tx == nil:
		s.refuse(reason.CommandOrder.With(reason.MailFirst))
		return
	case s.body != nil:
		s.refuse(reason.CommandOrder.With("the message comes by BDAT"))
		return
	case s.tx.Recipients() == 0:
		s.refuse(reason.NoRecipients)
		return
	}
	if err := s.tx.Open(s.ctx); err != nil {
		s.reset()
		s.refused(reason.As(err))
		return
	}
	s.said(append(s.reply(), s.srv.words.data...))
	s.c.SetState("message")
	var body smtp.Decoder
	start, left := time.Now(), 0
	for done := false; !done; {
		p, err := s.block(left, s.srv.o.DataTimeout)
		if err == nil && s.expired(start) {
			err = errSlow
		}
		if err != nil {
			s.reset()
			s.lost(err)
			return
		}
		var came []byte
		if s.tap != nil {
			came = bytes.Clone(p) // decoding is done in place
		}
		out, n, end := body.Data(p)
		s.tx.Write(out)
		if s.tap != nil {
			s.tap.In(came[:n])
		}
		s.r += n
		left, done = len(p)-n, end
	}
	s.finish(&body)
}

// bdat is BDAT, RFC 3030.
func (s *session) bdat(arg string) {
	size, last, ok := parseChunk(arg)
	if !ok {
		// Where the next command begins cannot be known.
		s.fatal(reason.CommandSyntax.With("want BDAT, a number of bytes, and LAST with the last chunk"))
		return
	}
	if most := s.srv.d.Submit.MaxSize(&s.src); size/2 > most { // however it counts line ends
		s.fatal(reason.MessageTooBig.With(strconv.FormatInt(most, 10)))
		return
	}
	var trouble *reason.Error
	switch {
	case s.tx == nil:
		trouble = reason.CommandOrder.With(reason.MailFirst)
	case s.tx.Recipients() == 0:
		trouble = reason.NoRecipients
	case s.body == nil:
		s.body = new(smtp.Decoder)
		if err := s.tx.Open(s.ctx); err != nil {
			trouble = reason.As(err)
		}
	}
	if trouble != nil {
		s.reset()
	}
	if !s.chunk(size, trouble == nil) {
		return
	}
	switch {
	case trouble != nil:
		s.refuse(trouble)
	case last:
		s.body.End()
		s.finish(s.body)
	case s.tx.Err() != nil:
		// Nothing more of this message will be taken.
		e := reason.As(s.tx.Err())
		s.reset()
		s.refused(e)
	default:
		s.say(250, "2.0.0", strconv.FormatInt(size, 10)+" bytes taken")
	}
}

// parseChunk reads BDAT's argument.
func parseChunk(arg string) (size int64, last, ok bool) {
	number, word, more := strings.Cut(arg, " ")
	n, err := strconv.ParseUint(number, 10, 63)
	last = strings.EqualFold(strings.TrimSpace(word), "LAST")
	return int64(n), last, err == nil && more == last
}

// chunk reads size bytes of content, and drops them unless take is set. It returns false when the
// connection was lost.
func (s *session) chunk(size int64, take bool) bool {
	start := time.Now()
	for size > 0 {
		p, err := s.block(0, s.srv.o.DataTimeout)
		if err == nil && s.expired(start) {
			err = errSlow
		}
		if err != nil {
			s.reset()
			s.lost(err)
			return false
		}
		p = p[:min(int64(len(p)), size)]
		size -= int64(len(p))
		s.tap.In(p)
		s.r += len(p)
		for take && len(p) > 0 {
			out, n := s.body.Chunk(p)
			s.tx.Write(out)
			p = p[n:]
		}
	}
	return true
}

// finish commits the message and answers: once, or for each recipient in LMTP (RFC 2033 4.2).
func (s *session) finish(body *smtp.Decoder) {
	tx := s.tx
	s.tx, s.body, s.utf8 = nil, nil, false
	n := tx.Recipients()
	var verdicts []*reason.Error
	var err error
	if e := s.bare(body); e != nil {
		err = e
		tx.Refuse(e)
	} else {
		verdicts, err = tx.Commit(s.ctx)
	}
	s.c.SetState("")
	if err == nil {
		s.commands, s.idleCommands, s.errors = 0, 0, 0
		s.messages++
		s.recipients += n
		s.bytes += tx.Size()
	}
	answers := 1
	if s.srv.o.Mode == LMTP {
		answers = n
	}
	for i := range answers {
		e := reason.As(err)
		if s.srv.o.Mode == LMTP && verdicts != nil {
			e = verdicts[i]
		}
		if e != nil {
			s.refused(e)
			continue
		}
		s.said(s.srv.words.appendAccepted(s.reply(), tx.ID(), s.srv.d.Clock))
	}
	if err == error(reason.BareNewlineLater) {
		s.quit, s.end = true, string(reason.BareNewlineLater.Reason)
	}
}

// bare is what is said of a bare CR or LF, nil where it is let pass.
func (s *session) bare(body *smtp.Decoder) *reason.Error {
	switch {
	case !body.Bare, s.srv.o.BareNewline == "normalise":
		return nil
	case s.srv.o.BareNewline == "defer":
		return reason.BareNewlineLater
	}
	return reason.BareNewline
}
