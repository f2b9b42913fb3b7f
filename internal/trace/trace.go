// Package trace records what happened: one event per session, acceptance, attempt
// and outcome. Log, statistics and `trace` are views of these events.
//
// Record never blocks and never fails the path of a message: events lost to a full buffer
// leave a gap marker that counts them.
package trace

import (
	"time"

	"github.com/postilion/postilion/internal/id"
)

// Recorder takes events. It is safe for concurrent use.
type Recorder interface {
	Record(e Event)
}

// Kind is what happened.
type Kind string

const (
	SessionEnd Kind = "session"   // a client's session ended: Text sums it up
	Refused    Kind = "refused"   // a command, recipient or message was refused in session
	Login      Kind = "login"     // a login succeeded or failed
	Accepted   Kind = "accepted"  // a message was committed to the queue
	Routed     Kind = "routed"    // an address was resolved
	Attempt    Kind = "attempt"   // a delivery began
	Delivered  Kind = "delivered" // a recipient is finished, successfully
	Deferred   Kind = "deferred"  // a recipient will be tried again
	Failed     Kind = "failed"    // a recipient was given up
	Bounced    Kind = "bounced"   // a bounce was queued for the recipients given up
	Finished   Kind = "finished"  // a message left the queue
	Operator   Kind = "operator"  // an operator changed something
	Retrieved  Kind = "retrieved" // a message was read by its owner's client
	Expunged   Kind = "expunged"  // a message was removed by its owner's client
	Service    Kind = "service"   // a role started, stopped, reached or left a limit
	Discarded  Kind = "discarded" // a message went nowhere by design, such as a triple bounce
	Matched    Kind = "matched"   // a rule of Rule met a message: Text says what it met and what it does
	Warned     Kind = "warned"    // an owner was warned that a mailbox is nearly full, or full
	Dialogue   Kind = "dialogue"  // a line of a session with another host; only for those who watch
	Gap        Kind = "gap"       // Count events were lost before this one
)

// Event is one thing that happened. Unused fields are zero. Strings may hold any
// bytes that a peer sent; whoever renders them escapes them.
type Event struct {
	Time    time.Time     `json:"time"`
	Kind    Kind          `json:"kind"`
	Role    string        `json:"role,omitempty"` // the protocol or part: smtp, submission, pop3, remote, …
	Session id.ID         `json:"session,omitzero"`
	Message id.ID         `json:"message,omitzero"`
	Attempt id.ID         `json:"attempt,omitzero"`
	Parent  id.ID         `json:"parent,omitzero"` // the message this one came from
	Tenant  uint64        `json:"tenant,omitempty"`
	Account string        `json:"account,omitempty"`
	Client  string        `json:"client,omitempty"` // the peer's IP address
	Helo    string        `json:"helo,omitempty"`
	TLS     string        `json:"tls,omitempty"`
	From    string        `json:"from,omitempty"`
	To      string        `json:"to,omitempty"`
	N       int           `json:"n,omitempty"`    // the recipient's number in its envelope
	Size    int64         `json:"size,omitempty"` // bytes
	Count   int64         `json:"count,omitempty"`
	Host    string        `json:"host,omitempty"` // the remote MTA and its address
	Code    int           `json:"code,omitempty"`
	Status  string        `json:"status,omitempty"` // RFC 3463
	Reason  string        `json:"reason,omitempty"` // a reason.ID
	Rule    string        `json:"rule,omitempty"`   // the file and line of an operator's rule
	Text    string        `json:"text,omitempty"`
	Took    time.Duration `json:"took,omitempty"` // nanoseconds
	Next    time.Time     `json:"next,omitzero"`  // of the next attempt
}

// Discard is a Recorder that forgets.
var Discard Recorder = discard{}

type discard struct{}

func (discard) Record(Event) {}
