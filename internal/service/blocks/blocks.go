// Package blocks is the operator's list of blocked clients and accounts, held against connections: new ones are refused, and those that
// a new block meets end.
package blocks

import (
	"context"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/serve"
)

// Blocks is the operator's list of blocked clients as listeners ask it, read again whenever the
// directory has changed. While the directory cannot be reached the last list counts.
type Blocks struct {
	list    func(ctx context.Context) ([]directory.Block, error)
	changes *directory.Generations
	now     func() time.Time
	// end ends the connections that match.
	end  func(match func(serve.Connection) bool) int
	nets atomic.Pointer[[]blockedNet]
	last []directory.Block
	read chan struct{} // closed when the list has been read for the first time
}

// New returns Blocks that read by list whenever changes tells of one, and end connections by end.
func New(list func(ctx context.Context) ([]directory.Block, error), changes *directory.Generations, now func() time.Time,
	end func(match func(serve.Connection) bool) int) *Blocks {
	return &Blocks{list: list, changes: changes, now: now, end: end, read: make(chan struct{})}
}

// firstRead bounds how long listeners wait for the list before they take clients without it.
const firstRead = time.Second

// Wait returns when the list is known, or does not come.
func (b *Blocks) Wait(ctx context.Context) {
	t := time.NewTimer(firstRead)
	defer t.Stop()
	select {
	case <-b.read:
	case <-ctx.Done():
	case <-t.C:
	}
}

type blockedNet struct {
	prefix  netip.Prefix
	why     string
	expires time.Time
}

// The pauses between two readings of the list: however fast the directory changes, where the list
// could not be read, and where no change was told.
const (
	soonest = time.Millisecond
	again   = time.Second
	anyway  = time.Minute
)

// Watch refreshes the list until ctx ends.
func (b *Blocks) Watch(ctx context.Context) error {
	for first := true; ; first = false {
		known := b.changes.Now()
		err := b.refresh(ctx)
		if first {
			close(b.read)
		}
		pause := soonest
		if err != nil {
			pause = again
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		if err == nil {
			wait, cancel := context.WithTimeout(ctx, anyway)
			b.changes.Changed(wait, known)
			cancel()
		}
	}
}

func (b *Blocks) refresh(ctx context.Context) error {
	list, err := b.list(ctx)
	if err != nil {
		return err
	}
	var nets []blockedNet
	accounts := map[string]bool{}
	for _, x := range list {
		if x.Expires.IsZero() || b.now().Before(x.Expires) {
			accounts[x.What] = true // blocked at login
		}
		if p, err := serve.ParsePrefix(x.What); err == nil {
			why := "your address is blocked"
			if x.Reason != "" {
				why += ": " + x.Reason
			}
			nets = append(nets, blockedNet{p, why, x.Expires})
		}
	}
	b.nets.Store(&nets)
	if len(list) > 0 && !slices.Equal(list, b.last) {
		b.end(func(c serve.Connection) bool {
			if b.Admit(c.Client.Addr()) != "" {
				return true
			}
			what, err := directory.BlockKey(c.Account)
			return c.Account != "" && err == nil && accounts[what]
		})
	}
	b.last = list
	return nil
}

// Admit is serve.Server's Admit.
func (b *Blocks) Admit(client netip.Addr) string {
	nets := b.nets.Load()
	if nets == nil || len(*nets) == 0 {
		return ""
	}
	client = client.Unmap().WithZone("")
	for _, n := range *nets {
		if n.prefix.Contains(client) && (n.expires.IsZero() || b.now().Before(n.expires)) {
			return n.why
		}
	}
	return ""
}
