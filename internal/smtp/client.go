package smtp

import (
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/mail"
)

// Offer is what a server's reply to EHLO offers.
type Offer struct {
	Pipelining bool     // RFC 2920
	EightBit   bool     // 8BITMIME, RFC 6152
	UTF8       bool     // SMTPUTF8, RFC 6531
	Chunking   bool     // RFC 3030
	DSN        bool     // RFC 3461
	StartTLS   bool     // RFC 3207
	RequireTLS bool     // RFC 8689
	Size       bool     // RFC 1870
	MaxSize    int64    // with Size: bytes a message; 0 tells no limit
	Auth       []string // RFC 4954: mechanisms in upper case
	// MaxRecipients a message and MaxMessages a session, RFC 9422; 0 tells no limit.
	MaxRecipients, MaxMessages int
}

// ParseOffer reads a 250 reply to EHLO. The first line, the greeting, is skipped.
// What is unknown or malformed is as if it was not offered.
func ParseOffer(r Reply) Offer {
	var e Offer
	for i, line := range r.Lines {
		if i == 0 {
			continue
		}
		keyword, args, _ := strings.Cut(line, " ")
		switch keyword = strings.ToUpper(keyword); keyword {
		case "PIPELINING":
			e.Pipelining = true
		case "8BITMIME":
			e.EightBit = true
		case "SMTPUTF8":
			e.UTF8 = true
		case "CHUNKING":
			e.Chunking = true
		case "DSN":
			e.DSN = true
		case "STARTTLS":
			e.StartTLS = true
		case "REQUIRETLS":
			e.RequireTLS = true
		case "SIZE":
			e.Size = true
			if n, err := strconv.ParseInt(strings.TrimSpace(args), 10, 64); err == nil && n > 0 {
				e.MaxSize = n
			}
		case "AUTH":
			e.Auth = append(e.Auth, strings.Fields(strings.ToUpper(args))...)
		case "LIMITS":
			e.limits(args)
		default:
			// "AUTH=LOGIN PLAIN" of servers older than RFC 2554.
			if old, ok := strings.CutPrefix(keyword, "AUTH="); ok {
				e.Auth = append(e.Auth, strings.Fields(old+" "+strings.ToUpper(args))...)
			}
		}
	}
	return e
}

// limits reads the LIMITS keyword's values. RCPTDOMAINMAX concerns no client that sends to
// one destination a session.
func (e *Offer) limits(args string) {
	for f := range strings.FieldsSeq(args) {
		name, value, _ := strings.Cut(f, "=")
		n, err := strconv.Atoi(value)
		if err != nil || n <= 0 {
			continue
		}
		switch strings.ToUpper(name) {
		case "RCPTMAX":
			e.MaxRecipients = n
		case "MAILMAX":
			e.MaxMessages = n
		}
	}
}

// MailParams are the parameters of a MAIL command. The zero value has none.
type MailParams struct {
	Size       int64 // bytes with CRLF; 0 leaves it out
	EightBit   bool
	UTF8       bool
	RequireTLS bool
	Ret        mail.Ret
	EnvID      string
}

// AppendMail appends a MAIL command with its CRLF.
func AppendMail(b []byte, from mail.Address, p MailParams) []byte {
	b = AppendPath(append(b, "MAIL FROM:"...), from)
	if p.Size > 0 {
		b = strconv.AppendInt(append(b, " SIZE="...), p.Size, 10)
	}
	if p.EightBit {
		b = append(b, " BODY=8BITMIME"...)
	}
	if p.UTF8 {
		b = append(b, " SMTPUTF8"...)
	}
	if p.RequireTLS {
		b = append(b, " REQUIRETLS"...)
	}
	switch p.Ret {
	case mail.RetFull:
		b = append(b, " RET=FULL"...)
	case mail.RetHeaders:
		b = append(b, " RET=HDRS"...)
	}
	if p.EnvID != "" {
		b = append(append(b, " ENVID="...), EncodeXtext(p.EnvID)...)
	}
	return append(b, '\r', '\n')
}

// RcptParams are the parameters of a RCPT command. The zero value has none.
type RcptParams struct {
	Notify mail.Notify
	ORcpt  string // decoded, with its type
}

var notifyNames = [...]struct {
	bit  mail.Notify
	name string
}{{mail.NotifyNever, "NEVER"}, {mail.NotifySuccess, "SUCCESS"}, {mail.NotifyFailure, "FAILURE"}, {mail.NotifyDelay, "DELAY"}}

// AppendRcpt appends a RCPT command with its CRLF.
func AppendRcpt(b []byte, to mail.Address, p RcptParams) []byte {
	b = AppendPath(append(b, "RCPT TO:"...), to)
	separator := " NOTIFY="
	for _, n := range notifyNames {
		if p.Notify&n.bit != 0 {
			b = append(append(b, separator...), n.name...)
			separator = ","
		}
	}
	if kind, address, ok := strings.Cut(p.ORcpt, ";"); ok && isAtom(kind) {
		b = append(append(b, " ORCPT="...), kind...)
		b = append(b, ';')
		if strings.EqualFold(kind, "utf-8") {
			b = append(b, EncodeUTF8Xtext(address)...)
		} else {
			b = append(b, EncodeXtext(address)...)
		}
	}
	return append(b, '\r', '\n')
}
