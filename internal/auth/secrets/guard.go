package secrets

// Brute force is slowed where it comes from and where it goes to. Failures of all
// protocols are counted by address, by network and by user name; past a number of
// them each further one doubles a wait. A client that the account logged in from
// before is not held up by the failures of others: it has a count of its own. One
// wrong password said again and again, as a device does whose owner changed it, counts
// once against the user name: who guesses does not repeat himself.

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/postilion/postilion/internal/auth"
)

const (
	maxStrikes   = 100_000             // entries in each table
	maxKnown     = 200_000             // pairs of account and network
	knownFor     = 90 * 24 * time.Hour // since the last login
	knownRefresh = 24 * time.Hour      // how old a pair's time may be before it is written anew
)

// strike is the failures of one network or user name.
type strike struct {
	n           int
	last, until time.Time
	guesses     [4]uint64 // digests of the latest wrong passwords
	next        int       // in guesses
}

// repeats reports whether a wrong password was said before, and notes it. 0 stands for
// one that is not known.
func (s *strike) repeats(guess uint64) bool {
	if guess == 0 {
		return false
	}
	if slices.Contains(s.guesses[:], guess) {
		return true
	}
	s.guesses[s.next] = guess
	s.next = (s.next + 1) % len(s.guesses)
	return false
}

// strikes is a bounded table of them.
type strikes struct {
	free       int           // failures without a wait
	first, max time.Duration // the waits
	by         map[string]*strike
}

type pair struct {
	account uint64
	client  netip.Prefix
}

// guard counts. It is safe for concurrent use.
type guard struct {
	forget  time.Duration
	trusted []netip.Prefix

	mu                         sync.Mutex
	addresses, networks, names strikes
	pairs                      strikes // of known clients
	pending                    map[netip.Prefix]int
	known                      map[pair]time.Time
	clients                    map[netip.Prefix]int // how many accounts a network is known by
	dirtyStrikes               map[string]struct{}
	dirtyKnown                 map[pair]struct{}
}

func newGuard(o Options, trusted []netip.Prefix) *guard {
	table := func(free int, max time.Duration) strikes {
		return strikes{free: free, first: o.BlockFirst, max: max, by: map[string]*strike{}}
	}
	return &guard{
		forget: o.Forget, trusted: trusted,
		addresses: table(o.AddressFailures, o.BlockMax), networks: table(o.NetworkFailures, o.BlockMax),
		names: table(o.AccountFailures, o.BlockMax/4), pairs: table(o.AddressFailures, o.BlockMax/4),
		pending: map[netip.Prefix]int{}, known: map[pair]time.Time{}, clients: map[netip.Prefix]int{},
		dirtyStrikes: map[string]struct{}{}, dirtyKnown: map[pair]struct{}{},
	}
}

// nets returns the two networks that a client is counted by.
func nets(client netip.Addr) (address, network netip.Prefix) {
	client = client.Unmap().WithZone("")
	narrow, wide := 32, 24
	if client.Is6() {
		narrow, wide = 64, 48
	}
	address, _ = client.Prefix(narrow) // the zero Prefix for the zero Addr
	network, _ = client.Prefix(wide)
	return address, network
}

func (g *guard) isTrusted(client netip.Addr) bool {
	for _, p := range g.trusted {
		if p.Contains(client.Unmap()) {
			return true
		}
	}
	return !client.IsValid() // local
}

// subject is who an attempt is for: a user name, and the account it means or 0.
type subject struct {
	account uint64
	name    string
}

// knows reports whether the account logged in from the client's network lately.
func (g *guard) knows(s subject, address netip.Prefix, now time.Time) bool {
	last, ok := g.known[pair{s.account, address}]
	return s.account != 0 && ok && now.Sub(last) < knownFor
}

// connect returns how long a client must wait before it may try at all.
func (g *guard) connect(client netip.Addr, now time.Time) time.Duration {
	if g.isTrusted(client) {
		return 0
	}
	address, network := nets(client)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.clients[address] > 0 {
		return 0 // some account's own client: the login decides
	}
	return max(g.addresses.wait(address.String(), now), g.networks.wait(network.String(), now))
}

// begin returns how long an attempt must wait; where it need not, it is pending until
// end is called.
func (g *guard) begin(client netip.Addr, s subject, now time.Time) (wait time.Duration, end func()) {
	trusted := g.isTrusted(client)
	address, network := nets(client)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.knows(s, address, now) {
		if wait = g.pairs.wait(pairKey(s, address), now); wait > 0 {
			return wait, nil
		}
		return 0, func() {}
	}
	wait = g.names.wait(s.name, now)
	if trusted {
		return wait, func() {}
	}
	wait = max(wait, g.addresses.wait(address.String(), now), g.networks.wait(network.String(), now))
	// Attempts under way count as failures, so that many at once do not slip through.
	if n := g.pending[address]; wait == 0 && n > 0 && n+g.addresses.count(address.String(), now, g.forget) >= g.addresses.free+1 {
		wait = time.Second
	}
	if wait > 0 {
		return wait, nil
	}
	g.pending[address]++
	return 0, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.pending[address]--; g.pending[address] == 0 {
			delete(g.pending, address)
		}
	}
}

func pairKey(s subject, address netip.Prefix) string { return s.name + " " + address.String() }

// cutPair takes a pairKey apart; only the name can hold spaces.
func cutPair(key string) (name, network string) {
	i := strings.LastIndexByte(key, ' ')
	return key[:i], key[i+1:]
}

// failed counts a failure. guess is the wrong password's digest, or 0.
func (g *guard) failed(client netip.Addr, s subject, guess uint64, now time.Time) {
	address, network := nets(client)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.knows(s, address, now) {
		g.pairs.add(pairKey(s, address), guess, now, g.forget) // not kept over a restart
		return
	}
	g.add(&g.names, "u "+s.name, s.name, guess, now)
	if g.isTrusted(client) {
		return
	}
	g.add(&g.addresses, "a "+address.String(), address.String(), 0, now)
	g.add(&g.networks, "n "+network.String(), network.String(), 0, now)
}

func (g *guard) add(t *strikes, row, key string, guess uint64, now time.Time) {
	t.add(key, guess, now, g.forget)
	g.dirtyStrikes[row] = struct{}{}
}

// succeeded makes the client one of the account's own.
func (g *guard) succeeded(client netip.Addr, s subject, now time.Time) {
	address, _ := nets(client)
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.pairs.by, pairKey(s, address))
	p := pair{s.account, address}
	last, ok := g.known[p]
	if ok && now.Sub(last) < knownRefresh || !address.IsValid() {
		return
	}
	if !ok {
		if len(g.known) >= maxKnown {
			return
		}
		g.clients[address]++
	}
	g.known[p] = now
	g.dirtyKnown[p] = struct{}{}
}

// wait returns how long key is blocked still. A clock set back does not prolong it.
func (t *strikes) wait(key string, now time.Time) time.Duration {
	s := t.by[key]
	if s == nil {
		return 0
	}
	return max(0, min(s.until.Sub(now), t.max))
}

// count returns the failures that still count.
func (t *strikes) count(key string, now time.Time, forget time.Duration) int {
	s := t.by[key]
	if s == nil || s.over(now, forget) {
		return 0
	}
	return s.n
}

func (s *strike) over(now time.Time, forget time.Duration) bool {
	return now.Sub(s.last) >= forget && !now.Before(s.until)
}

func (t *strikes) add(key string, guess uint64, now time.Time, forget time.Duration) {
	s := t.by[key]
	if s == nil {
		if len(t.by) >= maxStrikes {
			t.prune(now, forget)
		}
		s = new(strike)
		t.by[key] = s
	}
	if s.over(now, forget) {
		*s = strike{}
	}
	if s.repeats(guess) {
		return
	}
	s.n++
	s.last = now
	if over := s.n - t.free; over > 0 {
		wait := t.max
		if over <= 30 {
			wait = min(t.max, t.first<<(over-1))
		}
		s.until = now.Add(wait)
	}
}

// prune drops what is over; where all counts, a tenth of what blocks nobody, then of all.
func (t *strikes) prune(now time.Time, forget time.Duration) {
	for key, s := range t.by {
		if s.over(now, forget) {
			delete(t.by, key)
		}
	}
	for _, blocked := range []bool{false, true} {
		for key, s := range t.by {
			if len(t.by) <= maxStrikes*9/10 {
				return
			}
			if s.until.After(now) == blocked {
				delete(t.by, key)
			}
		}
	}
}

// blocked lists who must wait.
func (g *guard) blocked(now time.Time) []auth.BlockedBy {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []auth.BlockedBy
	for _, t := range []*strikes{&g.addresses, &g.networks, &g.names} {
		for key, s := range t.by {
			if s.until.After(now) {
				all = append(all, auth.BlockedBy{What: key, Failures: s.n, Until: s.until.UTC()})
			}
		}
	}
	for key, s := range g.pairs.by {
		if s.until.After(now) {
			name, network := cutPair(key)
			all = append(all, auth.BlockedBy{What: name, Client: network, Failures: s.n, Until: s.until.UTC()})
		}
	}
	return all
}

// unblock forgets the failures of a network, or of a user name, and reports whether there were any.
func (g *guard) unblock(what string) (found bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p, err := netip.ParsePrefix(what)
	if addr, aerr := netip.ParseAddr(what); aerr == nil {
		p, _ = nets(addr)
		_, network := nets(addr)
		found = g.drop(&g.networks, "n ", network.String())
		err = nil
	}
	within := func(network string) bool {
		q, perr := netip.ParsePrefix(network)
		return err == nil && perr == nil && p.Overlaps(q)
	}
	for key := range g.pairs.by {
		if name, network := cutPair(key); within(network) || err != nil && name == what {
			delete(g.pairs.by, key)
			found = true
		}
	}
	if err != nil {
		return g.drop(&g.names, "u ", what) || found
	}
	for prefix, t := range map[string]*strikes{"a ": &g.addresses, "n ": &g.networks} {
		for key := range t.by {
			if within(key) {
				found = g.drop(t, prefix, key) || found
			}
		}
	}
	return found
}

func (g *guard) drop(t *strikes, prefix, key string) (found bool) {
	if _, found = t.by[key]; found {
		delete(t.by, key)
		g.dirtyStrikes[prefix+key] = struct{}{}
	}
	return found
}

// table returns the table and key of a stored row's name.
func (g *guard) table(row string) (*strikes, string) {
	if len(row) < 2 {
		return nil, ""
	}
	switch row[:2] {
	case "a ":
		return &g.addresses, row[2:]
	case "n ":
		return &g.networks, row[2:]
	case "u ":
		return &g.names, row[2:]
	}
	return nil, ""
}
