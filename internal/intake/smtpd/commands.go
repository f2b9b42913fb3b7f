package smtpd

import (
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/policy"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/smtp"
)

// hello is HELO, EHLO and LHLO.
func (s *session) hello(verb smtp.Verb, arg string) {
	lmtp := s.srv.o.Mode == LMTP
	switch {
	case lmtp != (verb == smtp.LHLO):
		s.refuse(reason.CommandUnknown)
		return
	}
	name, _, _ := strings.Cut(arg, " ")
	if name == "" || len(name) > smtp.MaxDomain {
		s.refuse(reason.CommandSyntax.With("want " + verb.String() + " and your host name"))
		return
	}
	s.reset()
	s.greeted, s.extended = true, verb != smtp.HELO
	s.src.HELO = name
	s.protocol()
	s.ext = smtp.Extensions{}
	if !s.extended {
		s.say(250, "", s.srv.o.Host)
		return
	}
	s.c.SetState("greeted")
	s.ext = smtp.Extensions{Size: true, EightBit: true, UTF8: true, DSN: true, Auth: s.offersAuth(), RequireTLS: s.src.TLS != ""}
	s.offer()
}

// offer lists the extensions.
func (s *session) offer() {
	o := &s.srv.o
	b := s.reply()
	line := func(words ...string) {
		b = append(b, "250-"...)
		for _, w := range words {
			b = append(b, w...)
		}
		b = append(b, '\r', '\n')
	}
	line(o.Host)
	if !o.NoPipelining {
		line("PIPELINING")
	}
	if most := s.srv.d.Submit.MaxSize(&s.src); most == policy.NoLimit {
		line("SIZE 0") // RFC 1870 4: no fixed limit
	} else {
		line("SIZE ", strconv.FormatInt(most, 10))
	}
	line("8BITMIME")
	line("SMTPUTF8")
	line("CHUNKING")
	line("DSN")
	if s.offersETRN() {
		line("ETRN")
	}
	if s.srv.d.TLS != nil && s.src.TLS == "" {
		line("STARTTLS")
	}
	if s.ext.Auth {
		if m := s.mechanisms(); len(m) > 0 {
			line("AUTH ", strings.Join(m, " "))
		}
	}
	if s.ext.RequireTLS {
		line("REQUIRETLS")
	}
	// RFC 9422
	limits := "LIMITS RCPTMAX=" + strconv.Itoa(s.srv.d.Submit.MaxRecipients())
	if o.MaxMessages > 0 {
		limits += " MAILMAX=" + strconv.Itoa(o.MaxMessages)
	}
	if s.srv.words.voice == reason.Own {
		line(limits)
		limits = "ENHANCEDSTATUSCODES"
	}
	b = append(append(b, "250 "...), limits...)
	s.said(append(b, '\r', '\n'))
}

// protocol sets the word of the Received field, RFC 3848.
func (s *session) protocol() {
	p := "ESMTP"
	switch {
	case s.srv.o.Mode == LMTP:
		p = "LMTP"
	case !s.extended:
		p = "SMTP"
	}
	if s.extended && s.src.TLS != "" {
		p += "S"
	}
	if s.extended && s.src.AccountID != 0 {
		p += "A"
	}
	s.src.Protocol = p
}

// mail is MAIL.
func (s *session) mail(arg string) {
	o := &s.srv.o
	switch {
	case !s.greeted && !o.HeloOptional:
		s.refuse(reason.CommandOrder.With("send " + s.helloVerb() + " first"))
		return
	case s.tx != nil:
		s.refuse(reason.CommandOrder.With("a message is under way, send RSET to drop it"))
		return
	case (o.RequireTLS || o.Mode == Submission && !s.mayAuth()) && s.src.TLS == "" && s.srv.d.TLS != nil:
		s.refuse(reason.TLSRequired)
		return
	case o.Mode == Submission && s.src.AccountID == 0:
		s.refuse(reason.AuthRequired)
		return
	case o.MaxMessages > 0 && s.messages >= o.MaxMessages:
		s.fatal(reason.OverLimit.With("too many messages in one connection"))
		return
	case !s.settle():
		return
	}
	if s.src.Protocol == "" {
		s.protocol()
	}
	m, e := smtp.ParseMail(arg, s.extensions())
	if e != nil {
		s.refuse(e)
		return
	}
	tx, err := s.srv.d.Submit.Begin(s.ctx, &s.src, m)
	if err != nil {
		s.refused(reason.As(err))
		return
	}
	s.tx, s.utf8 = tx, m.UTF8
	s.say(250, "2.1.0", "ok")
}

// extensions are those that the client may use now.
func (s *session) extensions() smtp.Extensions {
	ext := s.ext
	ext.Bare = s.srv.o.BareAddresses
	return ext
}

func (s *session) helloVerb() string {
	if s.srv.o.Mode == LMTP {
		return "LHLO"
	}
	return "EHLO"
}

// refused answers what submit refused and has recorded. What is temporary is not the client's error.
func (s *session) refused(e *reason.Error) {
	s.refusals++
	if e.Class == reason.Permanent {
		s.errors++
	}
	s.tell(e)
	if e.Code == 421 {
		s.quit, s.end = true, string(e.Reason)
	}
}

// rcpt is RCPT.
func (s *session) rcpt(arg string) {
	switch {
	case s.tx == nil:
		s.refuse(reason.CommandOrder.With(reason.MailFirst))
		return
	case s.body != nil:
		s.refuse(reason.CommandOrder.With("the message has begun"))
		return
	}
	r, e := smtp.ParseRcpt(arg, s.extensions(), s.utf8)
	if e != nil {
		s.refuse(e)
		return
	}
	if s.tap != nil {
		s.tap.To(r.To.String())
	}
	if e := s.check.Recipient(s.ctx, &s.src); e != nil {
		s.tx.Refused(e, r.To)
		s.refused(e)
		return
	}
	if err := s.tx.Rcpt(s.ctx, r); err != nil {
		s.refused(reason.As(err))
		return
	}
	s.say(250, "2.1.5", "ok")
}

// vrfy is VRFY: a polite answer that tells nothing (RFC 5321 7.3).
func (s *session) vrfy(arg string) {
	if arg == "" {
		s.refuse(reason.CommandSyntax.With("want VRFY and a user name"))
		return
	}
	s.say(252, "2.1.5", s.srv.words.vrfy)
}

func (s *session) help() string {
	words := "MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY EXPN HELP"
	if s.srv.o.Mode == LMTP {
		words = "LHLO " + words
	} else {
		words = "HELO EHLO " + words
	}
	if s.srv.d.TLS != nil && s.src.TLS == "" {
		words += " STARTTLS"
	}
	if s.offersAuth() {
		words += " AUTH"
	}
	if s.offersETRN() {
		words += " ETRN"
	}
	return words
}

func (s *session) offersETRN() bool { return s.srv.d.ETRN != nil && s.srv.o.Mode == Receive }

// etrn is ETRN, RFC 1985.
func (s *session) etrn(arg string) {
	if !s.offersETRN() {
		s.refuse(reason.CommandNotOffered)
		return
	}
	domain := strings.TrimLeft(arg, "@#")
	switch {
	case !s.extended:
		s.refuse(reason.CommandOrder.With("send EHLO first"))
	case s.tx != nil:
		s.refuse(reason.CommandOrder.With("a message is under way"))
	case smtp.CheckDomain(domain) != nil:
		s.refuse(reason.CommandSyntax.With("want ETRN and a domain"))
	case !s.settle():
	default:
		waiting, err := s.srv.d.ETRN(s.ctx, &s.src, smtp.DomainKey(domain))
		switch {
		case err != nil:
			e := reason.As(err)
			if e.Class == reason.Temporary {
				e = e.With(e.Args...)
				e.Code = 458 // RFC 1985 5.2
			}
			s.refused(e)
		case waiting < 0:
			s.say(250, "2.0.0", "queuing for node "+domain+" started")
		case waiting == 0:
			s.say(251, "2.0.0", "no messages waiting for node "+domain)
		default:
			s.say(253, "2.0.0", strconv.Itoa(waiting)+" pending messages for node "+domain+" started")
		}
	}
}

// starttls is STARTTLS, RFC 3207: everything known of the client is forgotten, and so is what it sent
// behind the command.
func (s *session) starttls(arg string) {
	switch {
	case s.srv.d.TLS == nil:
		s.refuse(reason.CommandNotOffered)
		return
	case s.src.TLS != "":
		s.refuse(reason.CommandOrder.With("TLS is active"))
		return
	case arg != "":
		s.refuse(reason.CommandSyntax.With("want STARTTLS alone"))
		return
	}
	config := s.srv.d.TLS()
	if config == nil {
		s.refused(reason.TLSUnavailable)
		return
	}
	s.say(220, "2.0.0", "ready to start TLS")
	s.flush()
	s.reset()
	if s.buffered() > 0 {
		// What came in plain text behind the command is not answered, now or under TLS.
		s.event(reason.EarlyPipelining.With("STARTTLS"))
		s.discard()
	}
	if err := s.c.StartTLS(s.ctx, config, s.srv.o.TLSTimeout); err != nil {
		s.quit, s.end = true, "TLS handshake failed: "+err.Error()
		s.werr = err // nothing can be said any more
		return
	}
	s.greeted, s.extended, s.ext = false, false, smtp.Extensions{}
	s.src.HELO, s.src.Account, s.src.AccountID = "", "", 0
	s.c.SetAccount(0, "")
	s.src.TLS = describeTLS(s.c.TLS())
}
