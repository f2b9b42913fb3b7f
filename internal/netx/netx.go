// Package netx is the network as the rest of the program sees it: domain names,
// DNS, dialling, and this host's own addresses.
//
// Every failure to find out tells whether asking again can help (ErrTemporary) or
// the answer is that there is none (ErrNoName, ErrNoData): a destination is given up
// only for the latter.
package netx

import (
	"cmp"
	"net"
	"net/netip"
	"sync"
	"time"
)

// OwnAddrs tells the addresses of this host's interfaces that are up, asked from
// the system at most once each Every. The zero value works. It is safe for
// concurrent use.
type OwnAddrs struct {
	Every time.Duration // 0 means a minute
	// List replaces net.InterfaceAddrs in tests.
	List func() ([]net.Addr, error)

	mu    sync.Mutex
	asked time.Time
	addrs map[netip.Addr]struct{}
}

// Contains reports whether a is this host's: an interface's address, any loopback
// address, or the unspecified one. When the system cannot tell, the last answer counts.
func (o *OwnAddrs) Contains(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if a.IsLoopback() || a.IsUnspecified() {
		return true
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	every := cmp.Or(o.Every, time.Minute)
	if o.addrs == nil || time.Since(o.asked) > every {
		o.refresh()
	}
	_, own := o.addrs[a]
	return own
}

// refresh is called with the lock held.
func (o *OwnAddrs) refresh() {
	list := o.List
	if list == nil {
		list = net.InterfaceAddrs
	}
	o.asked = time.Now()
	found, err := list()
	if err != nil {
		return
	}
	o.addrs = make(map[netip.Addr]struct{}, len(found))
	for _, f := range found {
		if p, err := netip.ParsePrefix(f.String()); err == nil {
			o.addrs[p.Addr().Unmap().WithZone("")] = struct{}{}
		} else if ip, err := netip.ParseAddr(f.String()); err == nil {
			o.addrs[ip.Unmap().WithZone("")] = struct{}{}
		}
	}
}
