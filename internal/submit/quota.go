package submit

import (
	"context"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
)

// This file asks again about full mailboxes once a message's size is known: at RCPT it was what the client declared, if
// anything. A client that hears of it now tells its sender at once, where a delivery would have to bounce.

// limited remembers the next recipient as one whose mailbox has a quota.
func (t *Transaction) limited(rt *route.Route) {
	a := rt.Account
	if rt.Kind != route.Mailbox || t.s.d.Quota == nil || a.QuotaBytes == 0 || t.src.Late {
		return
	}
	if t.boxes == nil {
		t.boxes = map[int]*directory.Account{}
	}
	t.boxes[len(t.env.Recipients)] = a
}

// full returns why no recipient's mailbox has room for the message; nil when one has, or may have. Where only some are full
// their deliveries decide.
func (t *Transaction) full(ctx context.Context) *reason.Error {
	if len(t.boxes) == 0 || len(t.boxes) < len(t.env.Recipients) || t.env.CRLFSize-t.traced <= t.declared {
		return nil
	}
	var first *reason.Error
	for i := range t.env.Recipients {
		a := t.boxes[i]
		if a == nil {
			return nil
		}
		err := reason.As(t.s.d.Quota(ctx, a, t.env.Size))
		if err == nil {
			return nil
		}
		if first == nil || err.Class == reason.Temporary {
			first = err
		}
	}
	return first
}
