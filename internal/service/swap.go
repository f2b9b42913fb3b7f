package service

import (
	"context"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/serve"
)

// swapHandler is a serve.Handler that a reload replaces. Sessions keep the one that
// they began with.
type swapHandler struct{ now atomic.Pointer[serve.Handler] }

func (s *swapHandler) set(h serve.Handler) { s.now.Store(&h) }

// Serve implements serve.Handler.
func (s *swapHandler) Serve(ctx context.Context, c *serve.Conn) { (*s.now.Load()).Serve(ctx, c) }

// Refuse implements serve.Handler.
func (s *swapHandler) Refuse(c *serve.Conn, why string) { (*s.now.Load()).Refuse(c, why) }

// swapRouter is a route.Router that a reload replaces.
type swapRouter struct {
	now atomic.Pointer[route.Resolver]
}

func (s *swapRouter) set(r *route.Resolver) { s.now.Store(r) }

// Route implements route.Router.
func (s *swapRouter) Route(ctx context.Context, to mail.Address) (route.Route, error) {
	return s.now.Load().Route(ctx, to)
}

// Sender is that of route.Resolver.
func (s *swapRouter) Sender(ctx context.Context, from mail.Address) (mail.Address, error) {
	return s.now.Load().Sender(ctx, from)
}

// blocks is the operator's list of blocked clients as listeners ask it, read again whenever the
// directory has changed. While the directory cannot be reached the last list counts.
type blocks struct {
	list    func(ctx context.Context) ([]directory.Block, error)
	changes *directory.Generations
	now     func() time.Time
	nets    atomic.Pointer[[]blockedNet]
	read    chan struct{} // closed when the list has been read for the first time
}

func newBlocks(list func(ctx context.Context) ([]directory.Block, error), changes *directory.Generations, now func() time.Time) *blocks {
	return &blocks{list: list, changes: changes, now: now, read: make(chan struct{})}
}

// firstRead bounds how long listeners wait for the list before they take clients without it.
const firstRead = time.Second

// wait returns when the list is known, or does not come.
func (b *blocks) wait(ctx context.Context) {
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
	blocksSoonest = time.Millisecond
	blocksAgain   = time.Second
	blocksAnyway  = time.Minute
)

// watch refreshes the list until ctx ends.
func (b *blocks) watch(ctx context.Context) error {
	for first := true; ; first = false {
		known := b.changes.Now()
		err := b.refresh(ctx)
		if first {
			close(b.read)
		}
		pause := blocksSoonest
		if err != nil {
			pause = blocksAgain
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		if err == nil {
			wait, cancel := context.WithTimeout(ctx, blocksAnyway)
			b.changes.Changed(wait, known)
			cancel()
		}
	}
}

func (b *blocks) refresh(ctx context.Context) error {
	list, err := b.list(ctx)
	if err != nil {
		return err
	}
	var nets []blockedNet
	for _, x := range list {
		// Accounts are blocked at login.
		if p, err := serve.ParsePrefix(x.What); err == nil {
			why := "your address is blocked"
			if x.Reason != "" {
				why += ": " + x.Reason
			}
			nets = append(nets, blockedNet{p, why, x.Expires})
		}
	}
	b.nets.Store(&nets)
	return nil
}

// admit is serve.Server's Admit.
func (b *blocks) admit(client netip.Addr) string {
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
