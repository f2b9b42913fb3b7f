package bounce

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"io"
	stdmime "mime"
	"mime/quotedprintable"
	"strings"

	"github.com/postilion/postilion/internal/smtp"
)

// Report is what a bounce of any system tells, as it was written there.
type Report struct {
	Format       string      `json:"format"` // "dsn" for RFC 3464, "qsbmf" for qmail's
	ReportingMTA string      `json:"reporting_mta,omitempty"`
	EnvelopeID   string      `json:"envelope_id,omitempty"`
	Arrival      string      `json:"arrival,omitempty"`
	Recipients   []Recipient `json:"recipients"`
	// MessageID and Sender are of the message that comes back, where one does.
	MessageID string `json:"message_id,omitempty"`
	Sender    string `json:"sender,omitempty"`
}

// Recipient is one recipient of a Report. Texts may hold any bytes but line ends.
type Recipient struct {
	Final       string `json:"final"`              // the address
	Original    string `json:"original,omitempty"` // the address that the sender knew
	Action      string `json:"action"`             // lower case
	Status      string `json:"status,omitempty"`   // RFC 3463; "" where none is told
	RemoteMTA   string `json:"remote_mta,omitempty"`
	Diagnostic  string `json:"diagnostic,omitempty"`
	LastAttempt string `json:"last_attempt,omitempty"`
	RetryUntil  string `json:"retry_until,omitempty"`
}

// ErrNotABounce is returned for messages that are neither.
var ErrNotABounce = errors.New("neither a delivery status notification (RFC 3464) nor a qmail bounce (QSBMF)")

// Bounds of what Parse looks at.
const (
	maxParse      = 1 << 20 // bytes of the message
	maxRecipients = 1000
	maxDepth      = 5 // nested multiparts
)

// Parse reads a bounce, with LF or CRLF line ends. It looks at the first MiB. The
// error is ErrNotABounce or the reader's.
func Parse(r io.Reader) (Report, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxParse))
	if err != nil {
		return Report{}, err
	}
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	if strings.HasPrefix(text, "From ") { // an mbox line
		_, text, _ = strings.Cut(text, "\n")
	}
	head, body := splitHeader(text)
	var rep Report
	parts := leaves(head, body, 0)
	for i, p := range parts {
		if strings.HasSuffix(p.kind, "delivery-status") {
			if rep = parseStatus(p.body); len(rep.Recipients) > 0 {
				rep.original(parts[i+1:])
				return rep, nil
			}
		}
	}
	if i := strings.Index(body, "Hi. This is the"); i >= 0 && (i == 0 || body[i-1] == '\n') {
		if rep = parseQSBMF(body[i:]); len(rep.Recipients) > 0 {
			return rep, nil
		}
	}
	if rep = parseStatus(looseStatus(body)); len(rep.Recipients) > 0 {
		return rep, nil
	}
	return Report{}, ErrNotABounce
}

// looseStatus returns the paragraphs of a status report out of a text whose MIME
// structure some gateway took away.
func looseStatus(body string) string {
	if !strings.Contains(body, "Final-Recipient:") {
		return ""
	}
	var out []string
	for _, block := range paragraphs(body) {
		switch {
		case strings.HasPrefix(block, "Reporting-MTA:") && len(out) == 0:
			out = append(out, block)
		case strings.HasPrefix(block, "Final-Recipient:"), strings.HasPrefix(block, "Original-Recipient:"), strings.Contains(block, "\nFinal-Recipient:") && len(out) > 0:
			out = append(out, block)
		}
	}
	return strings.Join(out, "\n\n")
}

// headerFields is a header as name and unfolded value.
type headerFields [][2]string

func (h headerFields) get(name string) string {
	for _, f := range h {
		if strings.EqualFold(f[0], name) {
			return f[1]
		}
	}
	return ""
}

// splitHeader cuts at the first blank line.
func splitHeader(s string) (headerFields, string) {
	head, body, found := s, "", false
	if strings.HasPrefix(s, "\n") {
		return nil, s[1:]
	}
	if head, body, found = strings.Cut(s, "\n\n"); !found {
		head = s
	}
	return fields(head), body
}

// fields reads header fields; lines that are none are passed over.
func fields(head string) (h headerFields) {
	for line := range strings.SplitSeq(head, "\n") {
		if line != "" && (line[0] == ' ' || line[0] == '\t') {
			if len(h) > 0 {
				last := &h[len(h)-1]
				last[1] = strings.TrimSpace(last[1] + " " + strings.TrimSpace(line))
			}
			continue
		}
		if name, value, ok := strings.Cut(line, ":"); ok {
			h = append(h, [2]string{strings.TrimSpace(name), strings.TrimSpace(value)})
		}
	}
	return h
}

// leaf is a part that holds no others.
type leaf struct{ kind, body string }

// leaves walks the parts of a message.
func leaves(head headerFields, body string, depth int) []leaf {
	kind, params, err := stdmime.ParseMediaType(head.get("Content-Type"))
	if err != nil && kind == "" {
		kind = "text/plain"
	}
	boundary := params["boundary"]
	if !strings.HasPrefix(kind, "multipart/") || boundary == "" || depth >= maxDepth {
		return []leaf{{kind, decoded(head.get("Content-Transfer-Encoding"), body)}}
	}
	var out []leaf
	for _, p := range splitParts(body, boundary) {
		h, b := splitHeader(p)
		out = append(out, leaves(h, b, depth+1)...)
	}
	return out
}

// decoded undoes a transfer encoding as far as it goes.
func decoded(encoding, body string) string {
	var r io.Reader
	switch strings.ToLower(encoding) {
	case "quoted-printable":
		r = quotedprintable.NewReader(strings.NewReader(body))
	case "base64":
		r = base64.NewDecoder(base64.StdEncoding, strings.NewReader(strings.ReplaceAll(body, "\n", "")))
	default:
		return body
	}
	out, _ := io.ReadAll(r) // what is broken ends there
	return strings.ReplaceAll(string(out), "\r\n", "\n")
}

// splitParts cuts a multipart body at its boundary lines (RFC 2046 5.1.1).
func splitParts(body, boundary string) (parts []string) {
	start, at := -1, 0
	for line := range strings.SplitAfterSeq(body, "\n") {
		if rest, ok := strings.CutPrefix(line, "--"+boundary); ok {
			rest = strings.TrimRight(rest, " \t\n")
			if rest == "" || rest == "--" {
				if start >= 0 && start <= at {
					parts = append(parts, strings.TrimSuffix(body[start:at], "\n"))
				}
				if start = at + len(line); rest == "--" || len(parts) > maxRecipients {
					return parts
				}
			}
		}
		at += len(line)
	}
	if start >= 0 && start < len(body) {
		parts = append(parts, body[start:])
	}
	return parts
}

// parseStatus reads a delivery-status part: groups of fields, the first about the message
// (RFC 3464 2.1).
func parseStatus(body string) Report {
	rep := Report{Format: "dsn"}
	for _, block := range paragraphs(body) {
		h := fields(block)
		if h.get("Final-Recipient") == "" && h.get("Action") == "" && h.get("Status") == "" {
			if rep.ReportingMTA == "" {
				rep.ReportingMTA = untype(h.get("Reporting-MTA"))
				rep.EnvelopeID = h.get("Original-Envelope-Id")
				rep.Arrival = h.get("Arrival-Date")
			}
			continue
		}
		// Some systems leave out the blank line after the message's fields.
		if m := h.get("Reporting-MTA"); m != "" {
			rep.ReportingMTA = untype(m)
		}
		x := Recipient{
			Final:       bare(untype(h.get("Final-Recipient"))),
			Original:    bare(untype(h.get("Original-Recipient"))),
			Action:      strings.ToLower(firstWord(h.get("Action"))),
			Status:      firstWord(h.get("Status")),
			RemoteMTA:   untype(h.get("Remote-MTA")),
			Diagnostic:  untype(h.get("Diagnostic-Code")),
			LastAttempt: h.get("Last-Attempt-Date"),
			RetryUntil:  h.get("Will-Retry-Until"),
		}
		x.Final = cmp.Or(x.Final, x.Original)
		if !smtp.IsEnhanced(x.Status) {
			x.Status = findStatus(x.Diagnostic)
		}
		if len(rep.Recipients) < maxRecipients {
			rep.Recipients = append(rep.Recipients, x)
		}
	}
	return rep
}

// original looks at the message that comes back.
func (rep *Report) original(parts []leaf) {
	for _, p := range parts {
		switch p.kind {
		case "message/rfc822", "text/rfc822-headers", "message/global", "message/global-headers":
			h, _ := splitHeader(strings.TrimLeft(p.body, "\n"))
			rep.MessageID = h.get("Message-ID")
			rep.Sender = bare(h.get("Return-Path"))
			return
		}
	}
}

// parseQSBMF reads a qmail bounce from its first words on (qmail reference 7.5).
func parseQSBMF(body string) Report {
	rep := Report{Format: "qsbmf"}
	if _, host, ok := strings.Cut(firstLine(body), " program at "); ok {
		rep.ReportingMTA = strings.TrimRight(host, ". ")
	}
	blocks := paragraphs(body)
	if len(blocks) > 0 { // some leave out the blank line after the introduction
		if i := strings.Index(blocks[0], "\n<"); i >= 0 {
			blocks = append([]string{blocks[0][:i], blocks[0][i+1:]}, blocks[1:]...)
		}
	}
	for i, block := range blocks {
		switch block[0] {
		case '-':
			if i+1 < len(blocks) {
				h := fields(blocks[i+1])
				rep.MessageID, rep.Sender = h.get("Message-ID"), bare(h.get("Return-Path"))
			}
			return rep
		case '<':
			line, text, _ := strings.Cut(block, "\n")
			address, ok := strings.CutSuffix(strings.TrimRight(line, " \t"), ">:")
			if !ok || len(rep.Recipients) >= maxRecipients {
				continue
			}
			text = strings.Join(strings.Fields(text), " ")
			rep.Recipients = append(rep.Recipients, Recipient{
				Final: address[1:], Action: string(Failed), Status: findStatus(text), Diagnostic: text,
			})
		}
	}
	return rep
}

// paragraphs cuts at blank lines; none is empty.
func paragraphs(s string) (out []string) {
	var block []byte
	for line := range strings.SplitSeq(s, "\n") {
		if strings.TrimSpace(line) != "" {
			block = append(append(block, line...), '\n')
			continue
		}
		if len(block) > 0 {
			out, block = append(out, string(bytes.TrimSuffix(block, []byte("\n")))), nil
		}
	}
	if len(block) > 0 {
		out = append(out, string(bytes.TrimSuffix(block, []byte("\n"))))
	}
	return out
}

// untype takes the type off "rfc822; joe@example.test".
func untype(s string) string {
	if kind, rest, ok := strings.Cut(s, ";"); ok && !strings.ContainsAny(strings.TrimSpace(kind), " @<") {
		return strings.TrimSpace(rest)
	}
	return s
}

// bare takes angle brackets off.
func bare(s string) string {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "<") && strings.HasSuffix(s, ">") && len(s) >= 2 {
		return s[1 : len(s)-1]
	}
	return s
}

func firstLine(s string) string { line, _, _ := strings.Cut(s, "\n"); return line }

func firstWord(s string) string {
	if f := strings.Fields(s); len(f) > 0 {
		return f[0]
	}
	return ""
}

// findStatus returns the first RFC 3463 code in a text, such as the (#5.1.1) of qmail.
func findStatus(s string) string {
	for i := 0; i+5 <= len(s); i++ {
		if (s[i] != '4' && s[i] != '5' && s[i] != '2') || s[i+1] != '.' || i > 0 && (isDigit(s[i-1]) || s[i-1] == '.') {
			continue
		}
		end := i
		for end < len(s) && (isDigit(s[end]) || s[end] == '.') {
			end++
		}
		if code := strings.TrimRight(s[i:end], "."); smtp.IsEnhanced(code) {
			return code
		}
	}
	return ""
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
