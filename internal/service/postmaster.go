package service

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/seam"
)

// This file keeps watch over the one address that every host must have (RFC 5321 4.5.1).
// Where nobody takes its mail, double bounces and the world's complaints are lost.

const (
	postmasterFirst = 5 * time.Second // after the start, when the directory is up
	postmasterEvery = 10 * time.Minute
)

// postmaster tells whether somebody takes postmaster's mail.
type postmaster struct {
	router  route.Router
	exists  seam.Exists // nil takes all users of the system for somebody
	log     *slog.Logger
	trouble atomic.Pointer[string]
}

// run looks again and again until ctx ends. It logs a change for the worse.
func (w *postmaster) run(ctx context.Context) error {
	for wait := postmasterFirst; ; wait = postmasterEvery {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		w.look(ctx)
	}
}

func (w *postmaster) look(ctx context.Context) {
	found, err := w.router.Route(ctx, mail.Address{Local: "postmaster"})
	if err != nil {
		return // trouble with asking says nothing of the answer
	}
	if found.Kind == route.SystemUser && w.exists != nil {
		if e, ok := errors.AsType[*reason.Error](w.exists(ctx, *found.User)); ok && e.Class == reason.Permanent {
			found.Kind, found.Err = route.Refused, e
		}
	}
	if found.Kind != route.Refused {
		w.trouble.Store(nil)
		return
	}
	text := found.Err.Text(reason.English)
	if w.trouble.Swap(&text) == nil {
		w.log.Warn("nobody takes postmaster's mail: give route.postmaster an address that exists, or add an account, an alias or a .qmail file of the user alias for postmaster", "error", text)
	}
}

// facts adds the trouble to what status shows of the role.
func (w *postmaster) facts(facts map[string]any) map[string]any {
	if text := w.trouble.Load(); text != nil {
		facts["postmaster"] = *text
	}
	return facts
}
