package bounce

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/smtp"
)

// writer writes one notice; the first error stays.
type writer struct {
	*bufio.Writer
	b        *Builder
	n        *Notice
	env      *mail.Envelope
	boundary string
	global   bool
	returned part
	lang     reason.Language
}

func (w *writer) printf(format string, args ...any) { fmt.Fprintf(w.Writer, format, args...) }

// Write writes the notice n, with LF line ends, for the envelope that Envelope made.
// For the same arguments it writes the same bytes.
func (b *Builder) Write(ctx context.Context, to io.Writer, env *mail.Envelope, n *Notice) error {
	w := &writer{
		Writer: bufio.NewWriterSize(to, 8<<10), b: b, n: n, env: env,
		boundary: "postilion-" + env.ID.String(), global: global(n), returned: b.returned(n),
		lang: b.languageFor(env.Recipients[0].To),
	}
	w.header()
	w.printf("--%s\n", w.boundary)
	w.text()
	w.printf("--%s\n", w.boundary)
	w.status()
	w.printf("--%s\n", w.boundary)
	if err := w.original(ctx); err != nil {
		return err
	}
	w.printf("\n--%s--\n", w.boundary)
	return w.Flush()
}

// header writes the notice's own header.
func (w *writer) header() {
	b := w.b
	host := cmp.Or(b.Host, b.Name)
	from := mail.Address{Local: cmp.Or(b.From, "MAILER-DAEMON"), Domain: host}
	w.printf("Date: %s\n", w.env.Accepted.UTC().Format("2 Jan 2006 15:04:05 -0000")) // qmail reference 3.3
	w.printf("From: %s\n", clip(from.Quoted()))
	w.printf("To: %s\n", clip(w.env.Recipients[0].To.Quoted()))
	w.printf("Subject: %s\n", w.subject())
	w.printf("Message-ID: <%s@%s>\n", w.env.ID, clip(host))
	if !b.Unmarked || w.n.Kind != Failure {
		w.printf("Auto-Submitted: auto-replied\n") // RFC 3834 5
	}
	w.printf("MIME-Version: 1.0\n")
	w.printf("Content-Type: multipart/report; report-type=%sdelivery-status;\n\tboundary=\"%s\"\n", w.prefix(), w.boundary)
	if w.env.Body == mail.Body8Bit {
		w.printf("Content-Transfer-Encoding: 8bit\n")
	}
	w.printf("\n")
}

// prefix makes the media types those of RFC 6533.
func (w *writer) prefix() string {
	if w.global {
		return "global-"
	}
	return ""
}

// text writes the part for people. Of a failure it is QSBMF: it starts "Hi. This is
// the", recipients' paragraphs start with "<", the paragraph that starts with "-" ends them,
// and no paragraph holds a blank line. Other kinds start otherwise, so that no
// program takes them for failures.
func (w *writer) text() {
	if w.env.Body == mail.Body8Bit {
		w.printf("Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n")
	} else {
		w.printf("Content-Type: text/plain; charset=us-ascii\n\n")
	}
	w.opening(clip(cmp.Or(w.b.Host, w.b.Name)))
	for i := range w.n.Recipients {
		w.recipient(&w.n.Recipients[i])
	}
	w.transcripts()
	what := "a copy of the message"
	switch {
	case w.n.Kind == Failure && w.n.Of.From.IsZero():
		what = "the original bounce"
	case w.returned == header:
		what = "a copy of the message's header"
	}
	w.printf("--- Below this line is %s.\n\n", what)
}

// opening writes what comes before the recipients.
func (w *writer) opening(host string) {
	message := w.b.message(w.n)
	switch {
	case w.n.Kind == Delay:
		w.printf("Hello. This is the postilion program at %s.\n"+
			"Nothing has failed yet: your message is only late. It waits to be delivered to\n"+
			"the addresses below, and I keep trying. You need not send it again.\n\n", host)
	case w.n.Kind == Success:
		w.printf("Hello. This is the postilion program at %s.\n"+
			"You asked to hear of it: your message was handed over as told below.\n\n", host)
	case len(message) > 0:
		w.printf("Hi. This is the postilion program at %s.\n", host)
		w.paragraph(strings.Join(message, "\n"))
		w.printf("\n")
		return // the operator speaks for himself
	case w.n.Of.From.IsZero():
		w.printf("Hi. This is the postilion program at %s.\n"+
			"I tried to deliver a bounce message to this address, but the bounce bounced!\n\n", host)
	default:
		w.printf("Hi. This is the postilion program at %s.\n"+
			"I'm afraid I wasn't able to deliver your message to the following addresses.\n"+
			"This is a permanent error; I've given up. Sorry it didn't work out.\n\n", host)
	}
	w.intro(host)
}

// recipient writes one recipient's paragraph.
func (w *writer) recipient(o *Outcome) {
	w.printf("<%s>:\n", clip(o.To.String()))
	switch o.Action {
	case Delivered:
		w.printf("%s\n", w.say("Delivered.", func(p *phrases) string { return p.delivered }, ""))
	case Relayed:
		w.printf("%s\n", w.say("Handed on to a host that sends no such notices: %[1]s.", func(p *phrases) string { return p.relayed }, clip(cmp.Or(o.Host, "unknown"))))
	case Expanded:
		w.printf("%s\n", w.say("Sent on to several addresses.", func(p *phrases) string { return p.expanded }, ""))
	}
	if report, ok := reportOf(o.Err); ok {
		if report != "" { // qmail's paragraph is empty then
			w.paragraph(report)
		}
	} else if o.Err != nil {
		w.paragraph(o.Err.Paragraph())
	}
	w.told(o.Err)
	if !o.RetryUntil.IsZero() {
		until := o.RetryUntil.UTC().Format("2 Jan 2006 15:04:05 -0000")
		w.printf("%s\n", w.say("I keep trying until %[1]s.", func(p *phrases) string { return p.until }, until))
	}
	w.printf("\n")
}

// reportOf returns what a program said that refused the message.
func reportOf(e *reason.Error) (string, bool) {
	if e == nil {
		return "", false
	}
	return e.Report()
}

// transcripts writes each session's dialogue once.
func (w *writer) transcripts() {
	seen := make(map[string]bool)
	for i := range w.n.Recipients {
		o := &w.n.Recipients[i]
		if o.Transcript == "" || seen[o.Transcript] {
			continue
		}
		seen[o.Transcript] = true
		w.printf("%s\n", w.say("Transcript of the session with %[1]s:", func(p *phrases) string { return p.transcript }, clip(o.Host)))
		w.paragraph(o.Transcript)
		w.printf("\n")
	}
}

// paragraph writes text of any origin as lines of one paragraph: what would be a blank
// line becomes "/" (qmail reference 7.5).
func (w *writer) paragraph(text string) {
	for line := range strings.SplitSeq(strings.TrimRight(text, "\r\n"), "\n") {
		line = oneLine(strings.TrimSuffix(line, "\r"))
		if strings.TrimSpace(line) == "" {
			line = "/"
		}
		for len(line) > maxLine {
			cut := cutAt(line, maxLine)
			w.printf("%s\n", line[:cut])
			line = line[cut:]
		}
		w.printf("%s\n", line)
	}
}

// status writes the part for programs, RFC 3464 2.
func (w *writer) status() {
	w.printf("Content-Type: message/%sdelivery-status\n", w.prefix())
	if w.global {
		w.printf("Content-Transfer-Encoding: 8bit\n")
	}
	w.printf("\n")
	if w.n.Of.EnvID != "" {
		w.field("Original-Envelope-Id", w.n.Of.EnvID)
	}
	w.field("Reporting-MTA", "dns; "+cmp.Or(w.b.Host, w.b.Name))
	w.date("Arrival-Date", w.n.Of.Accepted)
	for i := range w.n.Recipients {
		o := &w.n.Recipients[i]
		w.printf("\n")
		if o.ORcpt != "" {
			kind, address, _ := strings.Cut(o.ORcpt, ";")
			if strings.EqualFold(kind, "utf-8") && !w.global {
				address = smtp.EncodeUTF8Xtext(address) // RFC 6533 4
			}
			w.field("Original-Recipient", kind+"; "+address)
		}
		kind := "rfc822"
		if !o.To.IsASCII() {
			kind = "utf-8" // RFC 6533 3
		}
		w.field("Final-Recipient", kind+"; "+o.To.Quoted())
		w.field("Action", string(o.Action))
		w.field("Status", o.status())
		if o.Host != "" {
			name, _, _ := strings.Cut(o.Host, " ")
			w.field("Remote-MTA", "dns; "+name)
		}
		if d := o.diagnostic(); d != "" {
			w.field("Diagnostic-Code", d)
		}
		w.date("Last-Attempt-Date", o.Last)
		w.date("Will-Retry-Until", o.RetryUntil)
	}
	w.printf("\n")
}

// status is the recipient's code of RFC 3463.
func (o *Outcome) status() string {
	switch {
	case o.Err == nil:
		return "2.0.0"
	case smtp.IsEnhanced(o.Err.Enhanced):
		return o.Err.Enhanced
	case o.Err.Class == reason.Permanent:
		return "5.0.0"
	}
	return "4.0.0"
}

// diagnostic is the other side's own words, or ours where there was none.
func (o *Outcome) diagnostic() string {
	switch {
	case o.Err == nil:
		return ""
	case o.Err.Remote != "":
		return "smtp; " + o.Err.Remote
	}
	return fmt.Sprintf("x-postilion; %d %s %s", o.Err.Code, o.status(), o.Err.Text(reason.English))
}

func (w *writer) date(name string, t time.Time) {
	if !t.IsZero() {
		w.field(name, t.UTC().Format("Mon, 2 Jan 2006 15:04:05 -0000"))
	}
}

// field writes one header field of the machine part, folded, with nothing in it that a
// line cannot carry. Where the part is ASCII other bytes become "?".
func (w *writer) field(name, value string) {
	value = strings.ReplaceAll(strings.TrimRight(value, "\r\n"), "\r\n", "\n")
	var out []string
	for line := range strings.SplitSeq(value, "\n") {
		line = oneLine(line)
		if !w.global {
			line = asciiOnly(line)
		}
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, fold(line)...)
		}
	}
	if len(out) == 0 {
		return
	}
	w.printf("%s: %s\n", name, strings.Join(out, "\n  "))
}

// original writes the third part: the message or its header.
func (w *writer) original(ctx context.Context) error {
	switch {
	case w.returned == whole && w.global:
		w.printf("Content-Type: message/global\nContent-Transfer-Encoding: 8bit\n\n")
	case w.returned == whole:
		w.printf("Content-Type: message/rfc822\n")
		if w.n.Of.Eight {
			w.printf("Content-Transfer-Encoding: 8bit\n")
		}
		w.printf("\n")
	case w.global:
		w.printf("Content-Type: message/global-headers\nContent-Transfer-Encoding: 8bit\n\n")
	case w.env.Body == mail.Body8Bit:
		w.printf("Content-Type: text/rfc822-headers\nContent-Transfer-Encoding: 8bit\n\n")
	default:
		w.printf("Content-Type: text/rfc822-headers\n\n")
	}
	w.printf("Return-Path: <%s>\n", clip(w.n.Of.From.Quoted()))
	body, err := w.n.Body(ctx)
	if err != nil {
		return err
	}
	defer body.Close()
	if w.returned == whole {
		_, err = io.Copy(w.Writer, body)
		return err
	}
	return w.copyHeader(body)
}

// maxHeader bounds how much of a header is returned.
const maxHeader = 64 << 10

// copyHeader copies up to the first blank line, or maxHeader.
func (w *writer) copyHeader(body io.Reader) error {
	in := bufio.NewReaderSize(io.LimitReader(body, maxHeader), 4096)
	start := true
	for {
		piece, err := in.ReadSlice('\n')
		if start && len(piece) == 1 && piece[0] == '\n' {
			return nil
		}
		if !w.global && w.env.Body != mail.Body8Bit {
			piece = []byte(asciiOnly(string(piece)))
		}
		w.Writer.Write(piece)
		start = err == nil
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}
