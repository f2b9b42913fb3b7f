package submit

import (
	"bytes"
	"cmp"
	"strconv"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/netx/names"
	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/smtp"
)

// headerScanner looks at the names of a message's header fields as they pass by.
type headerScanner struct {
	complete  bool // Date and Message-ID are to be added where missing
	begun     bool
	over      bool           // the empty line has been met
	hops      int            // fields that begin with Received or Delivered
	date, mid bool           // those fields are there
	authors   *authorScanner // nil where anyone may be the author

	line [16]byte // the start of the line at hand
	n    int      // how much of line is known
}

// scan looks at the next part of the content and returns where the header ends in it: the place of
// the empty line, or len(p).
func (h *headerScanner) scan(p []byte) int {
	h.begun = true
	for at := 0; at < len(p); {
		i := bytes.IndexByte(p[at:], '\n')
		part := p[at:]
		if i >= 0 {
			part = p[at : at+i]
		}
		h.n += copy(h.line[h.n:], part)
		if h.authors != nil {
			h.authors.part(part)
		}
		if i < 0 {
			return len(p)
		}
		if h.n == 0 {
			h.over = true
			return at
		}
		h.field()
		h.n = 0
		if h.authors != nil {
			h.authors.end()
		}
		at += i + 1
	}
	return len(p)
}

// field notes the name of one line. Hops are counted as qmail does, by the first bytes alone (qmail
// reference 4.5).
func (h *headerScanner) field() {
	line := bytes.ToLower(h.line[:h.n])
	switch {
	case bytes.HasPrefix(line, []byte("received")), bytes.HasPrefix(line, []byte("delivered")):
		h.hops++
	case isField(line, "date"):
		h.date = true
	case isField(line, "message-id"):
		h.mid = true
	}
}

func isField(line []byte, name string) bool {
	rest, ok := bytes.CutPrefix(line, []byte(name))
	return ok && bytes.HasPrefix(bytes.TrimLeft(rest, " \t"), []byte(":"))
}

// maybeField reports whether content may begin with a header field (RFC 5322 2.2, 4.5): what
// certainly does not is a body without a header.
func maybeField(p []byte) bool {
	for i, c := range p {
		switch {
		case c == ':':
			return i > 0
		case c == '\n':
			return i == 0 // an empty header
		case c == ' ' || c == '\t':
			rest := bytes.TrimLeft(p[i:], " \t")
			return i > 0 && (len(rest) == 0 || rest[0] == ':')
		case c < ' ' || c >= 0x7f:
			return false
		}
	}
	return true
}

// missing appends the fields that RFC 6409 8.2 and 8.3 let a submission server add.
func (t *Transaction) missing(b []byte) []byte {
	if !t.header.date {
		b = append(b, "Date: "...)
		b = appendDate(b, t.s.d.Clock.Now())
		b = append(b, '\n')
	}
	if !t.header.mid {
		b = append(b, "Message-ID: <"...)
		b = append(b, t.env.ID.String()...)
		b = append(b, '@')
		b = append(b, t.s.o.Host...)
		b = append(b, ">\n"...)
	}
	return b
}

// appendDate writes RFC 5322 3.3 in UTC.
func appendDate(b []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(b, "Mon, 02 Jan 2006 15:04:05 -0700")
}

// received appends the Received field: RFC 5321 4.4, the "with" words of RFC 3848 and 6531, folded
// between clauses. What the peer said goes through safe.
func (t *Transaction) received(b []byte) []byte {
	src, o := t.src, &t.s.o
	if src.Invoked != "" {
		return t.invoked(append(b, "Received: "...))
	}
	if o.Received == "qmail" && src.Client.IsValid() {
		return t.receivedQmail(b)
	}
	b = append(b, "Received: "...)
	switch {
	case !src.Client.IsValid() && src.HELO == "":
		b = append(b, "(by a program of this host)"...)
	case t.client.Account != nil && o.HideClient:
		b = append(b, "from [127.0.0.1] (client hidden)"...)
	default:
		b = append(b, "from "...)
		b = appendSafe(b, cmp.Or(src.HELO, "unknown"), 255)
		if src.Client.IsValid() {
			// RFC 5321 4.4 TCP-info, with the ident user before the name as sendmail has it.
			b = append(b, " ("...)
			if src.RemoteInfo != "" {
				b = append(appendSafe(b, src.RemoteInfo, 64), '@')
			}
			if src.RemoteHost != "" {
				b = append(appendSafe(b, src.RemoteHost, 255), ' ')
			}
			b = append(b, names.FormatLiteral(src.Client)...)
			b = append(b, ')')
		}
	}
	if src.TLS != "" {
		b = append(b, "\n\t("...)
		b = append(b, smtp.Text(src.TLS, 100)...)
		b = append(b, ')')
	}
	if t.client.Account != nil && o.TellAccount {
		b = append(b, "\n\t(authenticated as "...)
		b = appendSafe(b, src.Account, 255)
		b = append(b, ')')
	}
	b = append(b, "\n\tby "...)
	b = append(b, o.Host...)
	if t.env.Protocol != "" {
		b = append(b, " with "...)
		b = append(b, t.env.Protocol...)
	}
	b = append(b, " id "...)
	b = append(b, t.env.ID.String()...)
	if r := t.env.Recipients; len(r) == 1 {
		// Only for a single one: more would tell them of each other.
		if to := r[0].To; to.IsASCII() || t.env.UTF8 {
			b = append(b, "\n\tfor "...)
			b = smtp.AppendPath(b, to)
		}
	}
	b = append(b, "; "...)
	b = appendDate(b, t.s.d.Clock.Now())
	return append(b, '\n')
}

// invoked ends a Received field as qmail-queue writes it (qmail reference 5.2).
func (t *Transaction) invoked(b []byte) []byte {
	b = append(b, "(qmail "...)
	b = strconv.AppendInt(b, int64(t.src.PID), 10)
	b = append(b, " invoked "...)
	b = append(b, t.src.Invoked...)
	b = append(b, "); "...)
	b = qmail.AppendDate(b, t.s.d.Clock.Now())
	return append(b, '\n')
}

// receivedQmail writes the field as qmail-smtpd, qmail-qmtpd and qmail-qmqpd do (qmail reference 4.6).
func (t *Transaction) receivedQmail(b []byte) []byte {
	src := t.src
	host := cmp.Or(src.RemoteHost, "unknown")
	b = append(b, "Received: from "...)
	b = qmail.AppendReceivedSafe(b, clip(host, 255))
	if src.HELO != "" && !strings.EqualFold(src.HELO, host) {
		b = append(qmail.AppendReceivedSafe(append(b, " (HELO "...), clip(src.HELO, 255)), ')')
	}
	b = append(b, " ("...)
	if src.RemoteInfo != "" {
		b = append(qmail.AppendReceivedSafe(b, clip(src.RemoteInfo, 64)), '@')
	}
	b = qmail.AppendReceivedSafe(b, src.Client.Unmap().String())
	b = append(b, ")\n  by "...)
	b = append(b, t.s.o.Host...)
	if t.env.Protocol != "" {
		b = append(append(b, " with "...), t.env.Protocol...)
	}
	b = append(b, " id "...)
	b = append(b, t.env.ID.String()...)
	b = append(b, "; "...)
	b = qmail.AppendDate(b, t.s.d.Clock.Now())
	return append(b, '\n')
}

// appendSafe writes what a peer said, at most most bytes of it: in qmail's safe set, and with the underscores that
// names of hosts have.
func appendSafe(b []byte, s string, most int) []byte {
	s = clip(s, most)
	b = qmail.AppendReceivedSafe(b, s)
	written := b[len(b)-len(s):]
	for i := range len(s) {
		if s[i] == '_' {
			written[i] = '_'
		}
	}
	return b
}

func clip(s string, most int) string { return s[:min(len(s), most)] }
