package service

import (
	"context"
	"errors"
	"fmt"
	"time"
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

// hungError names a role that does not answer.
type hungError struct{ role Role }

// Error says what to do about it.
func (e hungError) Error() string {
	return fmt.Sprintf("role %[1]s does not answer: `postilion status` tells how it is, `postilion restart %[1]s` starts it anew", e.role)
}

// IsHung reports whether err is of a role that does not answer.
func IsHung(err error) bool {
	_, hung := errors.AsType[hungError](err)
	return hung
}

// about says which role an error is of, where it does not say so itself.
func about(r Role, err error) error {
	if _, named := errors.AsType[hungError](err); named {
		return err
	}
	return fmt.Errorf("role %s: %w", r, err)
}
