package netx

import "time"

// CacheLen returns the number of answers kept.
func (r *Resolver) CacheLen() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.cache)
}

// CacheBytes returns about what memory they take.
func (r *Resolver) CacheBytes() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cached
}

// SetNow replaces the clock of times to live.
func (r *Resolver) SetNow(now func() time.Time) { r.now = now }

// Servers returns the servers that are asked.
func (r *Resolver) Servers() ([]string, error) {
	list, _, err := r.servers()
	return list, err
}

// SetServers replaces the servers that are asked.
func (r *Resolver) SetServers(servers ...string) {
	r.conf.servers, r.conf.checked = servers, r.now()
}

// TwoFamilies is twoFamilies, and ResolutionDelay what DialAddrs gives it.
var TwoFamilies = twoFamilies

const ResolutionDelay = resolutionDelay

// IsLoopback is isLoopback.
var IsLoopback = isLoopback

// Trusted reports whether servers are believed wherever they are.
func (r *Resolver) Trusted() (bool, error) {
	_, trusted, err := r.servers()
	return trusted, err
}
