package service

import (
	"context"
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
		return fmt.Errorf("role %s does not answer: `postilion status` tells how it is, `postilion restart %s` starts it anew", r, r)
	}
	return nil
}
