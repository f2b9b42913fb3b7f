package mail

import (
	"net/netip"
	"time"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/reason"
)

// Envelope is all that is known of a message apart from its content. Postilion
// reads no address out of a header except at injection.
type Envelope struct {
	ID       id.ID     // the message
	Session  id.ID     // the session that brought it; zero for messages made here
	Parent   id.ID     // the message that a bounce or forward is about; zero for others
	Accepted time.Time // when the sender's last byte came in; age and schedule count from here

	From       Address // the reverse-path; zero is "<>"
	Recipients []Recipient

	Body     BodyType
	UTF8     bool   // SMTPUTF8, RFC 6531
	TLSOnly  bool   // REQUIRETLS, RFC 8689
	EnvID    string // ENVID, RFC 3461 4.4, decoded from xtext
	Ret      Ret    // RET, RFC 3461 4.3
	Priority int8   // 0 normal; higher goes first
	Group    string // the queue group; "" is the default one
	Held     bool   // it starts held: an operator lets it go
	Tenant   uint64 // the tenant that sends or receives; 0 the host's own
	Account  string // the authenticated account; "" without AUTH

	Client   netip.Addr // the peer; invalid for local injection
	HELO     string     // what it called itself, as it came
	Protocol string     // the Received field's "with" word: ESMTP, ESMTPSA, LMTP, … (RFC 3848)

	// Size and CRLFSize are the body's length in bytes with LF and with CRLF line
	// ends. Both are known once the body has been taken in.
	Size, CRLFSize int64
	Eight          bool // the body holds bytes above 127; the queue finds out
}

// Recipient is one RCPT, numbered by its place in Envelope.Recipients for life.
type Recipient struct {
	To     Address
	ORcpt  string // ORCPT with its type, RFC 3461 4.2, decoded: "rfc822;joe@example.test"
	Notify Notify
	// Refused is the verdict of a check that refused this recipient after the message
	// was accepted for others: dispatch bounces it without an attempt. nil for all others.
	Refused *reason.Error
	// Copy is what an archive gets in place of the message: "digest", or "header:" with names of
	// fields. "" is the message, as for everybody else.
	Copy string
}

// BodyType is the BODY parameter of MAIL.
type BodyType uint8

// The values of BODY.
const (
	Body7Bit   BodyType = iota
	Body8Bit            // 8BITMIME, RFC 6152
	BodyBinary          // BINARYMIME, RFC 3030; not offered
)

// Ret is the RET parameter of MAIL: how much of a message its bounce returns.
type Ret uint8

// The values of RET (RFC 3461 4.3).
const (
	RetDefault Ret = iota // by size
	RetFull
	RetHeaders
)

// Notify is the NOTIFY parameter of RCPT, RFC 3461 4.1. Zero means not given:
// failures and, where configured, delays are told.
type Notify uint8

// The values of NOTIFY, which may stand together but for NotifyNever.
const (
	NotifyNever Notify = 1 << iota
	NotifySuccess
	NotifyFailure
	NotifyDelay
)
