// Package rolecall is how the program's verbs, the supervisor and role console call the roles of a running server. The rule it keeps: a
// role that hangs is named instead of waited for, and one that has much to do is waited for.
package rolecall

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/rpc"
	"github.com/postilion/postilion/internal/seam"
)

// Patience is how long a verb waits for a role that may hang, before it names it. A role
// that starts anew is up within less.
const Patience = 10 * time.Second

// Answers asks a role something small before a verb relies on it, so that one that hangs is
// named instead of waited for. Other errors are for the verb itself to meet and tell.
func Answers(ctx context.Context, r role.Role, ask func(context.Context) error) error {
	within, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	if err := ask(within); err != nil && within.Err() != nil && ctx.Err() == nil {
		return Hung{r}
	}
	return nil
}

// StillAnswers is Answers in the middle of a call, which should not end for a moment's trouble: it asks once more where
// there was no answer. While a whole host stands still the time passes for who waits, too.
func StillAnswers(ctx context.Context, r role.Role, ask func(context.Context) error) error {
	if Answers(ctx, r, ask) == nil {
		return nil
	}
	return Answers(ctx, r, ask)
}

// watched has the calls of a client of role r's socket end once the role does not answer any more. A call on a
// store takes as long as there is much in it, so that no time says when to give up, but who works on one answers others.
func watched(cl *rpc.Client, data, socket string, r role.Role) *rpc.Client {
	cl.Watch = func(ctx context.Context) error {
		return StillAnswers(ctx, r, func(ctx context.Context) error { return Alive(ctx, data, socket) })
	}
	return cl
}

// Alive asks a role, on a connection of its own, whether what it keeps answers.
func Alive(ctx context.Context, data, socket string) error {
	cl := control.Client(data, socket)
	defer cl.Close()
	_, err := rpc.Do[none, none](ctx, cl, MethodAlive, none{})
	return err
}

// Client is a client of a role's socket for calls of any length.
func Client(data, socket string, r role.Role) *rpc.Client {
	return watched(control.Client(data, socket), data, socket, r)
}

// Seam is a seam's client of a role's socket for calls of any length.
func Seam(data, socket string, r role.Role) *seam.Client {
	cl := seam.NewClient(func(ctx context.Context) (net.Conn, error) { return control.Dial(ctx, data, socket) })
	watched(cl.Client, data, socket, r)
	return cl
}

// errHung is every Hung, also one that another role told.
var errHung = errors.New("a role does not answer")

// Hung names a role that does not answer.
type Hung struct{ Role role.Role }

// Unwrap returns errHung.
func (e Hung) Unwrap() error { return errHung }

// Error says what to do about it.
func (e Hung) Error() string {
	return fmt.Sprintf("role %[1]s does not answer: `postilion status` tells how it is, `postilion restart %[1]s` starts it anew", e.Role)
}

// IsHung reports whether err is of a role that does not answer.
func IsHung(err error) bool { return errors.Is(err, errHung) }

// About says which role an error is of, where it does not say so itself.
func About(r role.Role, err error) error {
	if IsHung(err) {
		return err
	}
	return fmt.Errorf("role %s: %w", r, err)
}

// Ask calls a role's admin socket. What is asked there takes moments: a role that does not answer within Patience is named.
func Ask[Req, Resp any](ctx context.Context, data string, r role.Role, method string, req Req) (resp Resp, err error) {
	cl := control.Client(data, r.AdminSocket())
	defer cl.Close()
	hung := Answers(ctx, r, func(ctx context.Context) error {
		resp, err = rpc.Do[Req, Resp](ctx, cl, method, req)
		return err
	})
	return resp, cmp.Or(hung, err)
}

// none is the request or reply of calls without one.
type none struct{}
