package mess

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/qmail"
)

// Injector rewrites headers as qmail-inject does.
type Injector struct {
	Hosts
	IDHost string // the right side of Message-ID

	User, Host, Name       string // of the From field; Host may be "": the default host
	SenderUser, SenderHost string // of the envelope; "" are User and Host

	CommentName    bool // QMAILINJECT c: the name goes into a comment
	DropReturnPath bool // s
	DropFrom       bool // f
	DropMessageID  bool // i
	RecipientVERP  bool // r
	MessageVERP    bool // m

	Followup []string // the addresses of QMAILMFTFILE

	Now time.Time
	PID int
}

// Injected is a header after rewriting.
type Injected struct {
	Fields []string // each with its line end
	// Sender is what a Return-Path field said; Sent tells that there was one.
	Sender string
	Sent   bool
	To     []string // the recipients that the header names
}

// FieldError is a field that does not parse.
type FieldError struct{ Field string }

// Error is qmail-inject's text.
func (e *FieldError) Error() string { return "unable to parse this line:\n" + e.Field }

// What is done with fields (qmail reference 12.3).
type duty uint8

const (
	recipients duty = 1 << iota
	rewritten
	resent
	shown   // counts as telling recipients: To, Cc
	removed // does not go on
	lenient // one that cannot be parsed stays as it is
)

var duties = map[string]duty{
	"to":                recipients | rewritten | shown | lenient,
	"cc":                recipients | rewritten | shown | lenient,
	"bcc":               recipients | rewritten | removed | lenient,
	"apparently-to":     recipients | rewritten | lenient,
	"resent-to":         recipients | rewritten | resent | shown | lenient,
	"resent-cc":         recipients | rewritten | resent | shown | lenient,
	"resent-bcc":        recipients | rewritten | resent | removed | lenient,
	"sender":            rewritten,
	"from":              rewritten,
	"reply-to":          rewritten,
	"return-receipt-to": rewritten,
	"errors-to":         rewritten,
	"resent-sender":     rewritten | resent,
	"resent-from":       rewritten | resent,
	"resent-reply-to":   rewritten | resent,
	"resent-date":       resent,
	"resent-message-id": resent,
	"return-path":       rewritten | removed,
	"content-length":    removed,
}

// dutyOf is what is done with a field under the flags.
func (j *Injector) dutyOf(name string) duty {
	d := duties[name]
	switch {
	case name == "from" && j.DropFrom, name == "message-id" && j.DropMessageID:
		return removed
	case name == "return-path" && j.DropReturnPath:
		return removed
	}
	return d
}

// header is a header on its way through.
type header struct {
	j            *Injector
	seen         map[string]bool
	kept         []string
	resent       bool
	to, resentTo []string
	shown        []string // To and Cc, for Mail-Followup-To
	sender       string
	sent         bool
}

// Rewrite rewrites a header. The error is a *FieldError.
func (j *Injector) Rewrite(fields []string) (*Injected, error) {
	h := &header{j: j, seen: map[string]bool{}}
	for _, f := range fields {
		if err := h.field(f); err != nil {
			return nil, err
		}
	}
	to := h.to
	if h.resent {
		to = h.resentTo
	}
	return &Injected{Fields: append(h.missing(), h.kept...), Sender: h.sender, Sent: h.sent, To: to}, nil
}

// field takes one field.
func (h *header) field(f string) error {
	name, value := Name(f)
	d := h.j.dutyOf(name)
	if d&resent != 0 {
		h.resent = true
	}
	if d&removed == 0 {
		h.seen[name] = true
	}
	out := f
	if d&rewritten != 0 {
		tokens, addresses, err := h.j.list(value)
		switch {
		case err != nil && d&lenient == 0:
			return &FieldError{f}
		case err == nil:
			head, _, _ := strings.Cut(f, ":")
			out = Unparse(strings.TrimRight(head, " \t")+":", tokens) + "\n"
			h.take(name, d, addresses)
		}
	}
	if d&removed == 0 {
		h.kept = append(h.kept, out)
	}
	return nil
}

// take notes the addresses of a field.
func (h *header) take(name string, d duty, addresses []string) {
	switch {
	case name == "return-path" && !h.sent && len(addresses) > 0:
		h.sender, h.sent = addresses[len(addresses)-1], true // of a list the last, as the original reads from its end
		if h.j.RecipientVERP && h.sender != "" {
			h.sender += verpMark
		}
	case d&recipients != 0 && d&resent != 0:
		h.resentTo = append(h.resentTo, addresses...)
	case d&recipients != 0:
		h.to = append(h.to, addresses...)
	}
	if name == "to" || name == "cc" {
		h.shown = append(h.shown, addresses...)
	}
}

// list rewrites an address list and returns its addresses, empty ones too, in order.
func (j *Injector) list(value string) (tokens []Token, addresses []string, err error) {
	if tokens, err = Tokenize(value); err != nil {
		return nil, nil, err
	}
	tokens, err = List(tokens, func(a []Token) []Token {
		a = j.Hosts.Rewrite(a)
		addresses = append(addresses, Unquote(a))
		return a
	})
	slices.Reverse(addresses) // the list was read from its end
	return tokens, addresses, err
}

// Address rewrites one address that stands for itself: an argument. The box is quoted first
// where it has to be.
func (j *Injector) Address(s string) (address string, ok bool) {
	_, list, err := j.list(QuoteAddress(s))
	if err != nil || len(list) > 1 {
		return "", false
	}
	if len(list) == 0 {
		return "", true
	}
	return list[0], true
}

// List rewrites an address list that a user typed.
func (j *Injector) List(s string) (addresses []string, ok bool) {
	_, list, err := j.list(s)
	return list, err == nil
}

// missing makes the fields that are not there, in their order (qmail reference 12.3).
func (h *header) missing() (fields []string) {
	prefix := ""
	if h.resent {
		prefix = "resent-"
	}
	add := func(name, value string) {
		if !h.seen[prefix+lower(name)] {
			if prefix != "" {
				name = "Resent-" + name
			}
			fields = append(fields, name+": "+value+"\n")
		}
	}
	add("Date", string(qmail.AppendDate(nil, h.j.Now)))
	add("Message-ID", h.j.MessageID())
	add("From", strings.TrimPrefix(Unparse(":", h.j.from()), ": "))
	if !h.seen[prefix+"to"] && !h.seen[prefix+"cc"] {
		add("Cc", "recipient list not shown: ;")
	}
	if f := h.followup(); f != "" {
		fields = append(fields, f)
	}
	return fields
}

// MessageID makes an identifier (qmail reference 12.3).
func (j *Injector) MessageID() string {
	return "<" + j.Now.UTC().Format("20060102150405") + "." + strconv.Itoa(j.PID) + ".qmail@" + j.IDHost + ">"
}

// from is the author as tokens.
func (j *Injector) from() []Token {
	address := boxTokens(j.User)
	if j.Host != "" {
		address = append(append(address, Token{Kind: At}), hostTokens(j.Host)...)
	}
	address = j.Hosts.Rewrite(address)
	switch {
	case j.Name == "":
		return address
	case j.CommentName:
		return append(address, Token{Comment, j.Name})
	}
	return append(append([]Token{{Quote, j.Name}, {Kind: Left}}, address...), Token{Kind: Right})
}

// followup makes Mail-Followup-To where a list of QMAILMFTFILE is among the recipients (12.6).
func (h *header) followup() string {
	if len(h.j.Followup) == 0 || h.seen["mail-followup-to"] {
		return ""
	}
	known := map[string]bool{}
	for _, a := range h.j.Followup {
		known[lower(a)] = true
	}
	if !slices.ContainsFunc(h.shown, func(a string) bool { return known[lower(a)] }) {
		return ""
	}
	list := make([]string, len(h.shown))
	for i, a := range h.shown {
		list[i] = QuoteAddress(a)
	}
	return "Mail-Followup-To: " + strings.Join(list, ",\n  ") + "\n"
}

// verpMark behind a sender has qmail-send give each recipient a sender of its own (qmail reference 3.1).
const verpMark = "-@[]"

// DefaultSender is the reverse-path where nothing says another, with the VERP forms (12.5).
func (j *Injector) DefaultSender() string {
	user, host := j.SenderUser, j.SenderHost
	user = cmp.Or(user, j.User)
	host = cmp.Or(host, j.Host)
	if j.MessageVERP {
		user += "-" + strconv.FormatInt(j.Now.Unix(), 10) + "." + strconv.Itoa(j.PID)
	}
	if j.RecipientVERP {
		user += "-"
	}
	address := boxTokens(user)
	if host != "" {
		address = append(append(address, Token{Kind: At}), hostTokens(host)...)
	}
	sender := Unquote(j.Hosts.Rewrite(address))
	if j.RecipientVERP {
		sender += verpMark
	}
	return sender
}
