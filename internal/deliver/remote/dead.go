package remote

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Bounds of the memory of dead addresses (qmail reference 11.6).
const (
	maxDead   = 4096            // addresses remembered; qmail has 64
	deadGrace = 2 * time.Minute // time-outs this close together count once
)

// deadHosts remembers addresses whose connections timed out, so that a queue full of
// mail for one dead host does not wait a minute for each message. Only time-outs count;
// a refusal shows that somebody is there, and forgets the address.
type deadHosts struct {
	after int
	hold  time.Duration
	now   func() time.Time

	mu      sync.Mutex
	entries map[netip.Addr]deadEntry
}

type deadEntry struct {
	count int
	when  time.Time
	until time.Time
}

// Dead is one remembered address.
type Dead struct {
	Addr     netip.Addr `json:"address"`
	TimedOut time.Time  `json:"timed_out"`      // the last counted time-out
	Count    int        `json:"timeouts"`       // of time-outs in a row
	Until    time.Time  `json:"until,omitzero"` // not tried before; zero while it still is
}

// resting tells how much longer an address is to be left alone; 0 when it may be tried.
func (d *deadHosts) resting(a netip.Addr) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.entries) == 0 {
		return 0
	}
	e, ok := d.entries[a]
	if !ok || e.count < d.after {
		return 0
	}
	return max(0, e.until.Sub(d.now()))
}

// note counts how connecting to an address went.
func (d *deadHosts) note(a netip.Addr, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !isTimeout(err) {
		delete(d.entries, a)
		return
	}
	now := d.now()
	e := d.entries[a]
	if e.count > 0 && now.Sub(e.when) < deadGrace {
		return
	}
	if e.count == 0 && len(d.entries) >= maxDead {
		d.drop()
	}
	e.count = min(e.count+1, 10)
	e.when = now
	e.until = now.Add(d.hold + rand.N(d.hold/2+1))
	d.entries[a] = e
}

// drop makes room: the oldest of a few goes.
func (d *deadHosts) drop() {
	var oldest netip.Addr
	looked := 0
	for a, e := range d.entries {
		if !oldest.IsValid() || e.when.Before(d.entries[oldest].when) {
			oldest = a
		}
		if looked++; looked == 16 {
			break
		}
	}
	delete(d.entries, oldest)
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

// Dead lists the addresses whose connections timed out lately, as qmail-tcpto does.
func (t *Target) Dead() []Dead {
	d := &t.dead
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]Dead, 0, len(d.entries))
	for a, e := range d.entries {
		dead := Dead{Addr: a, TimedOut: e.when, Count: e.count}
		if e.count >= d.after {
			dead.Until = e.until
		}
		list = append(list, dead)
	}
	slices.SortFunc(list, func(x, y Dead) int { return x.Addr.Compare(y.Addr) })
	return list
}

// Forget makes the Target try all dead addresses again, as qmail-tcpok does.
func (t *Target) Forget() {
	t.dead.mu.Lock()
	defer t.dead.mu.Unlock()
	clear(t.dead.entries)
}
