package rpc

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/postilion/postilion/internal/reason"
)

// errMidStream is wrapped by a handler's error to say that the caller's stream was
// not read to its end, so that the connection is closed.
var errMidStream = errors.New("the request's stream was not read to its end")

// MidStream marks a handler's error as one that left the caller's stream unread. What it says stays the same.
func MidStream(err error) error { return midStream{err} }

type midStream struct{ error }

// Unwrap returns what went wrong.
func (e midStream) Unwrap() error { return e.error }

// Is implements what errors.Is asks.
func (e midStream) Is(target error) bool { return target == errMidStream }

// wireError is a failure on the wire.
type wireError struct {
	Reason *reason.Error `json:"reason,omitempty"`
	Text   string        `json:"text"`
	Name   string        `json:"name,omitempty"` // of a sentinel error, see Name
}

// Error is a failure that the other side told. Is matches it with the sentinel it came from.
type Error struct {
	Text, Name string
}

func (e *Error) Error() string { return e.Text }

// Is reports whether e came from the sentinel error target, known by its text.
func (e *Error) Is(target error) bool { return e.Name != "" && e.Name == target.Error() }

func encodeError(err error) []byte {
	w := wireError{Text: err.Error()}
	if r, ok := errors.AsType[*reason.Error](err); ok {
		w.Reason = r
		if r.Cause != nil {
			w.Text = r.Cause.Error()
		}
	}
	// The innermost error is the sentinel, where there is one.
	for e := err; e != nil; {
		w.Name = e.Error()
		if told, ok := e.(*Error); ok { // of another side, which is passed on
			w.Name = told.Name
		}
		u, ok := e.(interface{ Unwrap() error })
		if !ok {
			break
		}
		e = u.Unwrap()
	}
	const most = MaxFrame / 4
	if len(w.Text) > most {
		w.Text = w.Text[:most]
	}
	if len(w.Name) > 200 {
		w.Name = ""
	}
	p, err := json.Marshal(w)
	if err != nil || len(p) > MaxFrame {
		return []byte(`{"text":"an error that cannot be told"}`)
	}
	return p
}

func decodeError(p []byte) error {
	var w wireError
	if err := json.Unmarshal(p, &w); err != nil {
		return fmt.Errorf("rpc: unreadable error: %w", err)
	}
	e := &Error{w.Text, w.Name}
	if w.Reason != nil {
		return w.Reason.Because(e)
	}
	return e
}
