package route

// What is sent on to other hosts, and what comes back because of it: the Sender Rewriting Scheme.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/netx/names"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/srs"
)

// minSecret is the least length of srs_secret, in bytes.
const minSecret = 12

func newSRS(o Options, now func() time.Time) (*srs.Rewriter, error) {
	if o.SRS == "" {
		return nil, nil
	}
	domain, err := names.Domain(o.SRS)
	if err != nil {
		return nil, fmt.Errorf("srs %q: %w", o.SRS, err)
	}
	if len(o.SRSSecret) < minSecret {
		return nil, fmt.Errorf("srs_secret: want a text of at least %d characters that nobody knows", minSecret)
	}
	return &srs.Rewriter{Domain: domain, Secret: o.SRSSecret, Now: now}, nil
}

// back answers for an address that SRS has made: its mail, which is bounces, goes to the sender.
func (r *Resolver) back(rt Route) Route {
	rt.Local = true
	to, err := r.srs.Reverse(rt.Final)
	if err != nil {
		rt.step("address "+rt.Final.String(), "route.srs", err.Error())
		return rt.refuse(reason.MailboxUnknown.With(rt.Final.String()).Because(err))
	}
	rt.step("address "+rt.Final.String(), "route.srs", "the sender of a message that was sent on: "+to.String())
	rt.Kind, rt.Targets = Forward, []mail.Address{to}
	return rt
}

// Sender returns the reverse-path for a message that is sent on to another host: from, or where srs
// is configured and from is not of this host the address that stands for it.
func (r *Resolver) Sender(ctx context.Context, from mail.Address) (mail.Address, error) {
	if r.srs == nil || from.IsZero() {
		return from, nil
	}
	rt, err := r.Route(ctx, from)
	switch {
	case errors.Is(err, context.Canceled):
		return from, err
	case err != nil:
		return from, reason.As(err)
	case rt.Local:
		return from, nil
	}
	return r.srs.Forward(from), nil
}
