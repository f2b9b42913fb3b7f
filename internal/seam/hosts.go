package seam

import (
	"context"

	"github.com/postilion/postilion/internal/deliver/remote"
	"github.com/postilion/postilion/internal/rpc"
)

// Hosts is what role remote remembers of hosts that do not answer; *remote.Target is one.
type Hosts interface {
	Dead() []remote.Dead
	Forget()
}

// Methods of Hosts, on both sockets of role remote.
const (
	MethodDead   = "remote.dead"
	MethodForget = "remote.forget"
	maxDeadTold  = 1000 // that one frame holds
)

// HostsHandlers serves Hosts.
func HostsHandlers(h Hosts) map[string]rpc.Handler {
	return map[string]rpc.Handler{
		MethodDead: rpc.Handle(func(context.Context, none) ([]remote.Dead, error) {
			list := h.Dead()
			return list[:min(len(list), maxDeadTold)], nil
		}),
		MethodForget: rpc.Handle(func(context.Context, none) (none, error) { h.Forget(); return none{}, nil }),
	}
}

// ForgetHosts returns Hosts.Forget over rpc.
func ForgetHosts(cl *Client) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := once[none, none](ctx, cl, MethodForget, none{})
		return err
	}
}

// DeadHosts returns Hosts.Dead over rpc. Errors are those of rpc.Client.Call.
func DeadHosts(ctx context.Context, cl *rpc.Client) ([]remote.Dead, error) {
	return rpc.Do[none, []remote.Dead](ctx, cl, MethodDead, none{})
}
