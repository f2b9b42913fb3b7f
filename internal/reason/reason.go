// Package reason is the one error value that travels the whole path of a message:
// what class of failure, which SMTP and enhanced code, a stable identifier of the
// reason, and the private cause that only the operator sees.
//
// Texts are rendered last, from the identifier, in the reader's language; see
// Text. An Error is handled or returned, never both.
package reason

import (
	"errors"
	"fmt"
	"strings"
)

// Class tells whether trying again can help.
type Class uint8

const (
	Temporary Class = iota // try again later: 4xx
	Permanent              // do not try again: 5xx
)

// String returns "temporary" or "permanent".
func (c Class) String() string {
	if c == Permanent {
		return "permanent"
	}
	return "temporary"
}

// ID is the stable name of a reason, such as "mailbox-unknown". It is part of the
// program's interface: logs, events, filters (`queue list --reason`) and
// translations refer to it.
type ID string

// Error is a failure with everything its readers need.
type Error struct {
	Class    Class    `json:"class"`
	Code     int      `json:"code"`     // SMTP reply code, 400–599
	Enhanced string   `json:"enhanced"` // RFC 3463 status code, such as "5.1.1"
	Reason   ID       `json:"reason"`
	Args     []string `json:"args,omitempty"`   // what the reason's text speaks of, in the order of its text
	Remote   string   `json:"remote,omitempty"` // the other side's reply, verbatim, lines separated by LF, at most 5000 bytes
	Cause    error    `json:"-"`                // private: for logs only, never sent to a peer
}

// Error returns the English text with the private cause, for logs. A cause that says the text itself,
// as an error of our own that was wrapped again does, stands for it; one that the text ends with is not said twice.
func (e *Error) Error() string {
	s, more := e.Text(English), ""
	if e.Remote != "" {
		more = fmt.Sprintf(": %q", e.Remote)
	}
	if e.Cause != nil {
		switch cause := e.Cause.Error(); {
		case strings.Contains(cause, strings.TrimSuffix(s, ".")):
			s = cause
		case !strings.HasSuffix(strings.TrimSuffix(s, "."), " "+cause):
			more += ": " + cause
		}
	}
	if more == "" {
		return s
	}
	return strings.TrimSuffix(s, ".") + more
}

// Unwrap returns the private cause.
func (e *Error) Unwrap() error { return e.Cause }

// With returns a copy of e that speaks of args.
func (e *Error) With(args ...string) *Error {
	c := *e
	c.Args = args
	return &c
}

// Because returns a copy of e with a private cause.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.Cause = cause
	return &c
}

// As returns the Error in err's tree. Any other non-nil error becomes
// [LocalError] with err as its cause, so that no failure is without a code; nil
// gives nil.
func As(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return LocalError.Because(err)
}
