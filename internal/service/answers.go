package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/rpc"
	"github.com/postilion/postilion/internal/seam"
)

// patience is how long a verb waits for a role that may hang, before it names it. A role
// that starts anew is up within less.
const patience = 10 * time.Second

// answers asks a role something small before a verb relies on it, so that one that hangs is
// named instead of waited for. Other errors are for the verb itself to meet and tell.
func answers(ctx context.Context, r Role, ask func(context.Context) error) error {
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := ask(within); err != nil && within.Err() != nil && ctx.Err() == nil {
		return hungError{r}
	}
	return nil
}

// stillAnswers is answers in the middle of a call, which should not end for a moment's trouble: it asks once more where
// there was no answer. While a whole host stands still the time passes for who waits, too.
func stillAnswers(ctx context.Context, r Role, ask func(context.Context) error) error {
	if answers(ctx, r, ask) == nil {
		return nil
	}
	return answers(ctx, r, ask)
}

// watched has the calls of a client of role r's socket end once the role does not answer any more. A call on a
// store takes as long as there is much in it, so that no time says when to give up, but who works on one answers others.
func watched(cl *rpc.Client, data, socket string, r Role) *rpc.Client {
	cl.Watch = func(ctx context.Context) error {
		return stillAnswers(ctx, r, func(ctx context.Context) error { return alive(ctx, data, socket) })
	}
	return cl
}

// alive asks a role, on a connection of its own, whether what it keeps answers.
func alive(ctx context.Context, data, socket string) error {
	cl := control.Client(data, socket)
	defer cl.Close()
	_, err := rpc.Do[none, none](ctx, cl, methodAlive, none{})
	return err
}

// watchedClient is a client of a role's socket for calls of any length.
func watchedClient(data, socket string, r Role) *rpc.Client {
	return watched(control.Client(data, socket), data, socket, r)
}

// watchedSeam is a seam's client of a role's socket for calls of any length.
func watchedSeam(data, socket string, r Role) *seam.Client {
	cl := seam.NewClient(func(ctx context.Context) (net.Conn, error) { return control.Dial(ctx, data, socket) })
	watched(cl.Client, data, socket, r)
	return cl
}

// errHung is every hungError, also one that another role told.
var errHung = errors.New("a role does not answer")

// hungError names a role that does not answer.
type hungError struct{ role Role }

// Unwrap returns errHung.
func (e hungError) Unwrap() error { return errHung }

// Error says what to do about it.
func (e hungError) Error() string {
	return fmt.Sprintf("role %[1]s does not answer: `postilion status` tells how it is, `postilion restart %[1]s` starts it anew", e.role)
}

// IsHung reports whether err is of a role that does not answer.
func IsHung(err error) bool { return errors.Is(err, errHung) }

// about says which role an error is of, where it does not say so itself.
func about(r Role, err error) error {
	if IsHung(err) {
		return err
	}
	return fmt.Errorf("role %s: %w", r, err)
}
