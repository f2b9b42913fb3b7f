package remote

import (
	"errors"
	"strings"

	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/smtp"
)

// maxRemote bounds what is kept of a reply and of a transcript, in bytes (qmail reference 11.2).
const maxRemote = 5000

// refusal makes the error of a reply: its class and codes are the reply's. A reply that
// is neither success nor refusal where a success was due breaks the protocol.
func refusal(id reason.ID, r smtp.Reply, who string) *reason.Error {
	e := &reason.Error{Code: r.Code, Enhanced: r.Enhanced, Reason: id, Args: []string{who}, Remote: r.Verbatim(maxRemote)}
	switch r.Class() {
	case 5:
		e.Class = reason.Permanent
		if e.Enhanced == "" {
			e.Enhanced = "5.0.0"
		}
	case 4:
		e.Class = reason.Temporary
		if e.Enhanced == "" {
			e.Enhanced = "4.0.0"
		}
	default:
		p := reason.RemoteProtocol.With(who)
		p.Remote = e.Remote
		return p
	}
	return e
}

// passing makes a refusal temporary, whatever the reply's class: it is about us or about the
// hour, not about the message.
func passing(e *reason.Error) *reason.Error {
	c := *e
	if c.Class == reason.Permanent {
		c.Class, c.Code = reason.Temporary, 451
		c.Enhanced = "4" + strings.TrimPrefix(c.Enhanced, "5")
	}
	return &c
}

// lost makes the error of a connection that died or spoke no SMTP.
func lost(err error, who string) *reason.Error {
	switch {
	case errors.Is(err, errInterrupted):
		return reason.AttemptInterrupted
	case isProtocol(err):
		return reason.RemoteProtocol.With(who).Because(err)
	}
	return reason.ConnectionLost.With(who).Because(err)
}

func isProtocol(err error) bool {
	_, ok := errors.AsType[*smtp.ReplyError](err)
	return ok
}

// verdict is what a recipient is told of a failure.
func (f failure) verdict() deliver.Verdict {
	return deliver.Verdict{
		Err: f.err, Text: told(f.err.Line(), f.err.Remote), Host: f.host, Addr: f.addr,
		TLS: f.tls, Transcript: f.transcript, RetryAfter: f.retryAfter,
	}
}

// failed is a failure in this session. command is what was answered with the reply inside err.
func (s *session) failed(err *reason.Error, command string) failure {
	return failure{err: err, host: s.host, addr: s.who(), tls: s.tls, transcript: transcript(command, err.Remote)}
}

// who is the peer's address, as texts name it.
func (s *session) who() string { return s.addr.Addr().String() }

// success is the verdict of a recipient whose message was taken.
func (s *session) success(r smtp.Reply) deliver.Verdict {
	text := told(s.who()+" accepted message", r.Verbatim(maxRemote))
	if s.plain != "" {
		text += " (in plain text: " + s.plain + ")"
	}
	if s.remark != "" {
		text += " (" + s.remark + ")"
	}
	return deliver.Verdict{Text: text, Host: s.host, Addr: s.who(), TLS: s.tls, Relayed: s.offer.DSN}
}

// told puts a reply behind a text, in one line.
func told(text, remote string) string {
	if remote == "" {
		return text
	}
	return strings.TrimSuffix(text, ".") + ". Remote host said: " + strings.ReplaceAll(remote, "\n", " / ")
}

// transcript writes a command and its reply the way bounces show them. Control characters of
// the peer become "?", so that a line stays a line.
func transcript(command, remote string) string {
	var b strings.Builder
	if command != "" {
		b.WriteString(">>> " + clean(strings.TrimSuffix(command, "\r\n")) + "\n")
	}
	if remote != "" {
		for line := range strings.SplitSeq(remote, "\n") {
			b.WriteString("<<< " + clean(line) + "\n")
		}
	}
	s := b.String()
	if len(s) > maxRemote {
		s = s[:maxRemote]
	}
	return s
}

func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}
