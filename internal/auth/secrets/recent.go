package secrets

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"
)

// maxRecent bounds the passwords remembered.
const maxRecent = 20_000

// recent remembers passwords that were verified a short time ago, as a keyed digest
// whose key lives as long as the process: a client that polls costs no hash.
type recent struct {
	ttl   time.Duration
	key   [32]byte
	start time.Time

	mu     sync.Mutex
	seen   map[[sha256.Size]byte]verified
	epochs map[uint64]uint64 // counts an account's changes of password
}

type verified struct {
	epoch  uint64
	device string
	until  time.Duration // since start
}

func newRecent(ttl time.Duration) *recent {
	r := &recent{ttl: ttl, start: time.Now(), seen: map[[sha256.Size]byte]verified{}, epochs: map[uint64]uint64{}}
	rand.Read(r.key[:]) // never fails: crypto/rand.Read
	return r
}

func (r *recent) digest(account uint64, protocol, password string) (d [sha256.Size]byte) {
	m := hmac.New(sha256.New, r.key[:])
	var head [16]byte
	binary.BigEndian.PutUint64(head[:], account)
	binary.BigEndian.PutUint64(head[8:], uint64(len(protocol)))
	m.Write(head[:])
	m.Write([]byte(protocol))
	m.Write([]byte(password))
	m.Sum(d[:0])
	return d
}

// guess returns a digest that tells wrong passwords of one account apart.
func (r *recent) guess(account uint64, password string) uint64 {
	d := r.digest(account, "", password)
	return binary.BigEndian.Uint64(d[:])
}

// get reports whether the password was verified lately, with the app password's name.
func (r *recent) get(account uint64, protocol, password string) (device string, ok bool) {
	d := r.digest(account, protocol, password)
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok := r.seen[d]
	if !ok || v.epoch != r.epochs[account] || time.Since(r.start) >= v.until {
		return "", false
	}
	return v.device, true
}

// epoch is taken before a password is read from the store and handed to put, so that a
// change between the two is not overlooked.
func (r *recent) epoch(account uint64) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.epochs[account]
}

func (r *recent) put(account, epoch uint64, protocol, password, device string) {
	if r.ttl < 0 {
		return
	}
	d := r.digest(account, protocol, password)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.seen) >= maxRecent {
		r.prune()
	}
	r.seen[d] = verified{epoch, device, time.Since(r.start) + r.ttl}
}

// prune drops what is over; where all is fresh, some.
func (r *recent) prune() {
	now := time.Since(r.start)
	for d, v := range r.seen {
		if now >= v.until || len(r.seen) > maxRecent*9/10 {
			delete(r.seen, d)
		}
	}
}

// forget ends what is remembered of an account.
func (r *recent) forget(account uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.epochs[account]++
}
