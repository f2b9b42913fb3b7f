package seam

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/rpc"
)

// *directory.InvalidError carries fields, and not only a text: it crosses the socket as
// a text with a mark.
const invalidMark = "invalid value: "

// wireInvalid is an InvalidError on the wire; the value may hold any bytes.
type wireInvalid struct {
	What  string `json:"what"`
	Value []byte `json:"value"`
	Want  string `json:"want"`
	Other string `json:"other,omitempty"`
	// NotFound tells that the error wraps directory.ErrNotFound too.
	NotFound bool `json:"not_found,omitempty"`
}

// Error is the marked text.
func (w *wireInvalid) Error() string {
	p, err := json.Marshal(w)
	if err != nil {
		return err.Error()
	}
	return invalidMark + string(p)
}

// withInvalid lets a set of handlers tell of InvalidErrors.
func withInvalid(set map[string]rpc.Handler) map[string]rpc.Handler {
	for name, h := range set {
		set[name] = func(ctx context.Context, c *rpc.Conn, request []byte) ([]byte, error) {
			reply, err := h(ctx, c, request)
			if e, ok := errors.AsType[*directory.InvalidError](err); ok {
				err = &wireInvalid{e.What, []byte(e.Value), e.Want, e.Other, errors.Is(err, directory.ErrNotFound)}
			}
			return reply, err
		}
	}
	return set
}

// restoreInvalid is the client's side of withInvalid.
func restoreInvalid(err error) error {
	e, ok := errors.AsType[*rpc.Error](err)
	if !ok {
		return err
	}
	text, ok := strings.CutPrefix(e.Text, invalidMark)
	if !ok {
		return err
	}
	var w wireInvalid
	if json.Unmarshal([]byte(text), &w) != nil {
		return err
	}
	invalid := &directory.InvalidError{What: w.What, Value: string(w.Value), Want: w.Want, Other: w.Other}
	if w.NotFound {
		return fmt.Errorf("%w: %w", directory.ErrNotFound, invalid)
	}
	return invalid
}
