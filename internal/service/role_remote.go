package service

import (
	"context"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/datafolder"
	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/deliver/remote"
	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/seam"
)

func (p *process) startRemote(_ context.Context, part *part) error {
	resolver, err := netx.NewResolver(p.cfg.DNS)
	if err != nil {
		return err
	}
	book, err := p.newBook(part)
	if err != nil {
		return err
	}
	policies, err := p.folder(datafolder.Policies)
	if err != nil {
		return err
	}
	deps := remote.Deps{Resolver: resolver, Policies: policies, Clock: p.clock, Own: comesBack(p.cfg, new(netx.OwnAddrs)), Record: book, Dialogue: dialogue(part.watch, p.clock)}
	target := new(swapRemote)
	part.prepare = func(c *config.Config) (func(), error) { return target.prepare(c.Remote, deps) }
	if err := prepareNow(part, p.cfg); err != nil {
		return err
	}
	part.close = append(part.close, target.Close)
	p.here.remote, p.here.hosts = p.remoteTarget(target), target
	part.seam = seam.Handlers(seam.TargetHandlers(methodRemote, p.here.remote), seam.HostsHandlers(target), watchHandlers(part.watch))
	part.admin = seam.Handlers(part.admin, seam.HostsHandlers(target))
	return nil
}

// comesBack returns what tells whether mail that is sent to an address would come back to this host: at
// port 25, whoever listens there, or at a port of ours for mail from other hosts.
func comesBack(c *config.Config, own *netx.OwnAddrs) func(netip.AddrPort) bool {
	var ours []netip.AddrPort
	for _, listen := range c.SMTP.Listen {
		host, port, err := net.SplitHostPort(c.Trial.Address(listen))
		n, bad := strconv.ParseUint(port, 10, 16)
		if err != nil || bad != nil || n == 0 {
			continue // a port that only the system knows
		}
		a, err := netip.ParseAddr(host)
		if err != nil {
			a = netip.IPv6Unspecified()
		}
		ours = append(ours, netip.AddrPortFrom(a.Unmap().WithZone(""), uint16(n)))
	}
	return func(to netip.AddrPort) bool {
		if !own.Contains(to.Addr()) {
			return false
		}
		return to.Port() == 25 || slices.ContainsFunc(ours, func(l netip.AddrPort) bool {
			return l.Port() == to.Port() && (l.Addr().IsUnspecified() || l.Addr() == to.Addr().Unmap().WithZone(""))
		})
	}
}

// swapRemote is a remote.Target that a reload replaces. Deliveries keep the one that they began
// with; what is known of hosts that do not answer is forgotten with it.
type swapRemote struct {
	now     atomic.Pointer[remote.Target]
	options remote.Options // of now; touched by one prepare at a time
}

var _ seam.Hosts = (*swapRemote)(nil)

// prepare checks options and returns what brings them into force. The same ones change nothing.
func (s *swapRemote) prepare(o remote.Options, d remote.Deps) (func(), error) {
	if s.now.Load() != nil && reflect.DeepEqual(o, s.options) {
		return func() {}, nil
	}
	t, err := remote.New(o, d)
	if err != nil {
		return nil, err
	}
	return func() {
		s.options = o
		if old := s.now.Swap(t); old != nil {
			old.Close() // ends idle connections, and cannot fail
		}
	}, nil
}

// Deliver implements deliver.Target.
func (s *swapRemote) Deliver(ctx context.Context, job *deliver.Job) []deliver.Verdict {
	return s.now.Load().Deliver(ctx, job)
}

// Dead implements seam.Hosts.
func (s *swapRemote) Dead() []remote.Dead { return s.now.Load().Dead() }

// Forget implements seam.Hosts.
func (s *swapRemote) Forget() { s.now.Load().Forget() }

// Close ends the idle connections.
func (s *swapRemote) Close() error { return s.now.Load().Close() }
