package smtpd

import (
	"strconv"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/smtp"
)

// This file is what a server says: its refusals, which package reason words, and its answers when all is
// well, in our words or in qmail-smtpd's (qmail reference 4.3), as Options.Replies has it.

// words are the answers of a server.
type words struct {
	voice                      reason.Voice
	reset, vrfy, quit, welcome string
	data                       string // with its code and CRLF
}

func newWords(o *Options) words {
	if o.Replies == "qmail" {
		return words{reason.Qmail, "flushed", "send some mail, i'll try my best", o.Host, "ok, go ahead (#2.0.0)", "354 go ahead\r\n"}
	}
	return words{reason.Own, "ok", "send some mail, it will be told at RCPT", o.Host + " closing connection", "welcome", "354 go ahead, end with CRLF.CRLF\r\n"}
}

// appendAccepted appends the answer to a message that was taken. Its id stands where qmail has the number
// of a process, since it is what log, header and bounce have.
func (w *words) appendAccepted(b []byte, message id.ID, c clock.Clock) []byte {
	if w.voice == reason.Own {
		b = append(b, "250 2.0.0 ok "...)
	} else {
		b = append(b, "250 ok "...)
		b = strconv.AppendInt(b, c.Now().Unix(), 10)
		b = append(b, " qp "...)
	}
	b = append(b, message.String()...)
	return append(b, '\r', '\n')
}

// appendRefusal appends a refusal.
func (s *Server) appendRefusal(b []byte, e *reason.Error) []byte {
	r := e.Reply(s.words.voice)
	text := smtp.Text(r.Text, 400)
	if r.Code == 421 && !r.Family {
		text = s.o.Host + " " + text // RFC 5321 4.2.3: 421 begins with the host's name
	}
	return smtp.AppendReply(b, r.Code, r.Enhanced, text)
}
