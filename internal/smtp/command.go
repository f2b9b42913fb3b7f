package smtp

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
)

// Verb is a command's verb.
type Verb uint8

// The verbs that are known. Unknown is any other word.
const (
	Unknown Verb = iota
	HELO
	EHLO
	LHLO
	MAIL
	RCPT
	DATA
	BDAT
	RSET
	NOOP
	QUIT
	VRFY
	EXPN
	HELP
	STARTTLS
	AUTH
	ETRN
	HTTP // a verb of another protocol: this client is no mail client
)

var verbs = map[string]Verb{
	"HELO": HELO, "EHLO": EHLO, "LHLO": LHLO, "MAIL": MAIL, "RCPT": RCPT, "DATA": DATA, "BDAT": BDAT,
	"RSET": RSET, "NOOP": NOOP, "QUIT": QUIT, "VRFY": VRFY, "EXPN": EXPN, "HELP": HELP,
	"STARTTLS": STARTTLS, "AUTH": AUTH, "ETRN": ETRN,
	"GET": HTTP, "POST": HTTP, "PUT": HTTP, "HEAD": HTTP, "CONNECT": HTTP, "OPTIONS": HTTP, "DELETE": HTTP, "PATCH": HTTP,
	"TRACE": HTTP, "PRI": HTTP,
}

// String returns the verb in capitals.
func (v Verb) String() string {
	for name, x := range verbs {
		if x == v && v != HTTP {
			return name
		}
	}
	return "?"
}

// ParseCommand splits a command line, without its CRLF, into its verb and its argument.
// White space around both is dropped (RFC 5321 4.1.1). A line with control characters is Unknown.
func ParseCommand(line string) (Verb, string) {
	for i := range len(line) {
		if c := line[i]; c < ' ' && c != '\t' || c == 0x7f {
			return Unknown, ""
		}
	}
	line = strings.TrimRight(line, " \t")
	word, arg, _ := strings.Cut(line, " ")
	if len(word) > 8 {
		return Unknown, ""
	}
	var upper [8]byte
	for i := range len(word) {
		c := word[i]
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		upper[i] = c
	}
	return verbs[string(upper[:len(word)])], strings.Trim(arg, " \t")
}

// Extensions are those that a server offered in its last answer to EHLO or LHLO, as far as they
// allow parameters of MAIL and RCPT.
//
// Bare is none of theirs: it lets addresses do without a domain, have dots at any place and long
// local parts, as qmail does (its reference 28, vector 3).
type Extensions struct{ Size, EightBit, UTF8, DSN, Auth, RequireTLS, Bare bool }

// Mail is the argument of MAIL.
type Mail struct {
	From    mail.Address
	Size    int64 // as declared, RFC 1870; -1 when it was not
	Body    mail.BodyType
	UTF8    bool
	TLSOnly bool // REQUIRETLS, RFC 8689
	Ret     mail.Ret
	EnvID   string // decoded
}

// ParseMail reads "FROM:<path> parameters". A space after the colon is let through, as many
// clients send one. The error names what is wrong and has the right reply code.
func ParseMail(arg string, ext Extensions) (Mail, *reason.Error) {
	m := Mail{Size: -1}
	rest, ok := cutPrefixFold(arg, "FROM:")
	if !ok {
		return m, reason.CommandSyntax.With("want MAIL FROM:<address>")
	}
	parse := ParseReversePath
	if ext.Bare {
		parse = parseAsQmail
	}
	var err error
	if m.From, rest, err = parse(strings.TrimLeft(rest, " ")); err != nil {
		return m, reason.SenderSyntax.With(err.Error())
	}
	if e := params(rest, func(key, value string) *reason.Error { return m.param(ext, key, value) }); e != nil {
		return m, e
	}
	if !m.UTF8 && !m.From.IsASCII() {
		return m, reason.UTF8NotDeclared
	}
	return m, nil
}

func (m *Mail) param(ext Extensions, key, value string) *reason.Error {
	switch {
	case key == "SIZE" && ext.Size:
		if value == "" || len(value) > 20 || !isDigits(value) { // RFC 1870 3: 1*20DIGIT
			return badParam("SIZE", "want a number of bytes")
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			n = math.MaxInt64 // more than anything takes
		}
		m.Size = n
	case key == "BODY" && ext.EightBit:
		switch strings.ToUpper(value) {
		case "7BIT":
			m.Body = mail.Body7Bit
		case "8BITMIME":
			m.Body = mail.Body8Bit
		default:
			return badParam("BODY", "want 7BIT or 8BITMIME")
		}
	case key == "SMTPUTF8" && ext.UTF8 && value == "":
		m.UTF8 = true
	case key == "REQUIRETLS" && ext.RequireTLS && value == "":
		m.TLSOnly = true
	case key == "RET" && ext.DSN:
		switch strings.ToUpper(value) {
		case "FULL":
			m.Ret = mail.RetFull
		case "HDRS":
			m.Ret = mail.RetHeaders
		default:
			return badParam("RET", "want FULL or HDRS")
		}
	case key == "ENVID" && ext.DSN:
		id, err := DecodeXtext(value)
		if err != nil || value == "" || len(value) > MaxEnvID || !mail.IsASCII(id) {
			return badParam("ENVID", "want xtext of 1 to 100 characters")
		}
		m.EnvID = id
	case key == "AUTH" && ext.Auth:
		// RFC 4954 5: taken from anyone, and believed of nobody.
		if _, err := DecodeXtext(value); err != nil || value == "" {
			return badParam("AUTH", "want xtext")
		}
	default:
		return reason.ParameterUnknown.With(Text(key, 40))
	}
	return nil
}

// Rcpt is the argument of RCPT.
type Rcpt struct {
	To     mail.Address
	Notify mail.Notify
	ORcpt  string // with its type, decoded
}

// ParseRcpt reads "TO:<path> parameters". utf8 tells that MAIL declared SMTPUTF8.
func ParseRcpt(arg string, ext Extensions, utf8 bool) (Rcpt, *reason.Error) {
	var r Rcpt
	rest, ok := cutPrefixFold(arg, "TO:")
	if !ok {
		return r, reason.CommandSyntax.With("want RCPT TO:<address>")
	}
	parse := ParsePath
	if ext.Bare {
		parse = parseAsQmail
	}
	var err error
	if r.To, rest, err = parse(strings.TrimLeft(rest, " ")); err != nil {
		return r, reason.RecipientSyntax.With(err.Error())
	}
	if r.To.IsZero() {
		return r, reason.RecipientSyntax.With("want an address that is not empty")
	}
	if e := params(rest, func(key, value string) *reason.Error { return r.param(ext, key, value) }); e != nil {
		return r, e
	}
	if !utf8 && !r.To.IsASCII() {
		return r, reason.UTF8NotDeclared
	}
	return r, nil
}

func (r *Rcpt) param(ext Extensions, key, value string) (e *reason.Error) {
	switch {
	case key == "NOTIFY" && ext.DSN:
		r.Notify, e = parseNotify(value)
		return e
	case key == "ORCPT" && ext.DSN:
		kind, address, ok := strings.Cut(value, ";")
		decode := DecodeXtext
		if strings.EqualFold(kind, "utf-8") {
			decode = decodeUTF8Xtext
		}
		address, err := decode(address)
		if !ok || err != nil || address == "" || len(value) > MaxORcpt || !isAtom(kind) {
			return badParam("ORCPT", "want type;xtext of at most 500 characters")
		}
		r.ORcpt = kind + ";" + address
		return nil
	}
	return reason.ParameterUnknown.With(Text(key, 40))
}

// parseNotify is RFC 3461 4.1: NEVER stands alone.
func parseNotify(value string) (mail.Notify, *reason.Error) {
	var n mail.Notify
	for word := range strings.SplitSeq(strings.ToUpper(value), ",") {
		var bit mail.Notify
		switch word {
		case "NEVER":
			bit = mail.NotifyNever
		case "SUCCESS":
			bit = mail.NotifySuccess
		case "FAILURE":
			bit = mail.NotifyFailure
		case "DELAY":
			bit = mail.NotifyDelay
		}
		if bit == 0 || n&bit != 0 || n&mail.NotifyNever != 0 || bit == mail.NotifyNever && n != 0 {
			return 0, badParam("NOTIFY", "want NEVER, or some of SUCCESS,FAILURE,DELAY")
		}
		n |= bit
	}
	return n, nil
}

func isAtom(s string) bool {
	for i := range len(s) {
		if !isLetDig(s[i]) && s[i] != '-' {
			return false
		}
	}
	return s != ""
}

func isLetDig(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func badParam(name, want string) *reason.Error {
	return reason.CommandSyntax.With(name + ": " + want)
}

// params reads " KEY=value KEY …" and calls take for each, once per key, keys in capitals.
func params(s string, take func(key, value string) *reason.Error) *reason.Error {
	if s == "" {
		return nil
	}
	if s[0] != ' ' {
		return reason.CommandSyntax.With("want a space after the address")
	}
	var buf [8]string // room for all that are known: take refuses any other
	seen := buf[:0]
	for word := range strings.FieldsSeq(s) {
		key, value, _ := strings.Cut(word, "=")
		key = strings.ToUpper(key)
		if slices.Contains(seen, key) {
			return badParam(Text(key, 40), "want it once")
		}
		seen = append(seen, key)
		if e := take(key, value); e != nil {
			return e
		}
	}
	return nil
}

func cutPrefixFold(s, prefix string) (rest string, ok bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}
