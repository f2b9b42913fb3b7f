// Package deliver is the seam between dispatch and those who carry a message to
// where it goes: mailboxes, programs, lists, other hosts.
package deliver

import (
	"context"
	"io"
	"time"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
)

// A Target delivers messages of one kind. Deliver returns one Verdict for each of
// job.Recipients, in order; a success means that the delivery is durable where it
// was made. It returns when all are settled, or soon after ctx ends, then with
// temporary failures for the rest. It never returns early on the failure of one
// recipient. Implementations are safe for concurrent use; the caller bounds how
// many run at once.
type Target interface {
	Deliver(ctx context.Context, job *Job) []Verdict
}

// Job is one message for recipients that share a Target and a destination.
type Job struct {
	Attempt id.ID // this attempt, printed in logs and events
	// Envelope is the whole message's. Targets do not look at its Recipients, who may be a hundred thousand
	// of which the job has one: what they need of them is in the job's own.
	Envelope   *mail.Envelope
	Recipients []Recipient
	// Body opens the message's content at its start: LF line ends, as the queue
	// keeps it, with the Received fields of this host on top. The reader also
	// implements io.Seeker and io.WriterTo where it comes from this process.
	Body func() (io.ReadCloser, error)
	// Next says where a remote job goes; nil for others.
	Next *route.NextHop
	// Force is set when an operator wants it tried now: also hosts that did not answer lately.
	Force bool
}

// Recipient is one address to deliver to.
type Recipient struct {
	N    int          // its number in Envelope.Recipients: with the message's ID the delivery's identity
	To   mail.Address // the address of the envelope
	Dest string       // what route decided: for mailboxes the account's id in decimal, for remote jobs ""
	// Final is the address after routing: sub-address kept, alias and catch-all resolved.
	Final mail.Address
	// From is the reverse-path for this recipient, after VERP.
	From mail.Address
	// User is whose instructions decide, for recipients of route.SystemUser; nil for others.
	User *route.User
	// ORcpt and Notify are the sender's wishes for notices, which go on as they came (RFC 3461 5.2.1).
	ORcpt  string
	Notify mail.Notify
	// Folder is the mailbox folder asked for by a sub-address; "" is INBOX.
	Folder string
	// Again is set when an earlier attempt may have delivered it already: it was tried
	// before, or was found in the queue at start. The target then looks for its own work first.
	Again bool
}

// Verdict is what became of one recipient.
type Verdict struct {
	// Err is nil when delivered. Its Class decides between deferral and bounce.
	Err *reason.Error
	// Text says where it went in one line for log, trace and DSN: a mailbox path, or the
	// remote host and its reply. Verbatim bytes of a peer: escape before printing.
	Text string
	// Host is the remote MTA's name, Addr its address; empty for local deliveries.
	Host, Addr string
	// Replay is set when the delivery was found already made by an earlier attempt.
	Replay bool
	// TLS describes the session's protection ("TLS1.3 TLS_AES_128_GCM_SHA256 verified"); "" for none.
	TLS string
	// Transcript is the session's dialogue for the bounce, lines of "<<< " and ">>> "; at most 5000 bytes.
	Transcript string
	// RetryAfter is the least wait the other side asked for; 0 leaves it to the schedule.
	RetryAfter time.Duration
	// Forward is what the delivery sends on, of local ones; nil for nothing. Dispatch commits it
	// together with the record of the success, so that it is sent once.
	Forward *Forward
	// Relayed is set when the next hop took over the DSN duty (it offered DSN).
	Relayed bool
}

// Forward is a message that a delivery sends on: the delivered one below one more
// Delivered-To line (qmail reference 9.6).
type Forward struct {
	From mail.Address // the reverse-path: the original's, or that of an -owner file
	To   []mail.Address
	// Standing is what decided, where that decides the same for every message; nil where it may not.
	Standing *Standing
}

// Standing is a file of a user's instructions that does nothing but send on.
type Standing struct {
	File                string // in the user's home
	Owner, OwnerDefault bool   // which files decide on the reverse-path (qmail reference 9.6)
	Witness             string // how home and file were: runas.Found.Witness
}
