package service

import (
	"context"
	"sync/atomic"

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
