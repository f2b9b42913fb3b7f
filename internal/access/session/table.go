// Package session is what the protocols that read mailboxes share: logging in, and
// the table of who holds which mailbox.
//
// A mailbox is held in memory for as long as its session lives, and no longer: a
// session that ends, however it ends, frees it at once, and an operator can free it.
package session

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/postilion/postilion/internal/id"
)

// Holder is a session with a mailbox open.
type Holder struct {
	Account  uint64     `json:"account"`
	Address  string     `json:"address"`
	Session  id.ID      `json:"session"`
	Protocol string     `json:"protocol"`
	Client   netip.Addr `json:"client"`
	Since    time.Time  `json:"since"`
}

// Table is the mailboxes that are held. Its zero value is empty. It is safe for
// concurrent use.
type Table struct {
	mu     sync.Mutex
	holds  map[uint64][]*Hold
	logins map[uint64]time.Time // of the last login, for LOGIN-DELAY
}

// Hold is one session's hold on a mailbox.
type Hold struct {
	Holder
	table *Table
	end   func()
	lost  bool // the operator took it away
}

// Acquire holds a mailbox for h, when fewer than limit sessions of its protocol hold
// it already; 0 is without limit. Otherwise it returns the one that holds it longest. end is called,
// from another goroutine, when the operator frees the mailbox: it must end the session.
func (t *Table) Acquire(h Holder, limit int, end func()) (*Hold, *Holder) {
	t.mu.Lock()
	defer t.mu.Unlock()
	same := 0
	var first *Holder
	for _, other := range t.holds[h.Account] {
		if other.Protocol == h.Protocol {
			same++
			if first == nil {
				first = &other.Holder
			}
		}
	}
	if limit > 0 && same >= limit {
		held := *first
		return nil, &held
	}
	if t.holds == nil {
		t.holds = map[uint64][]*Hold{}
	}
	hold := &Hold{Holder: h, table: t, end: end}
	t.holds[h.Account] = append(t.holds[h.Account], hold)
	return hold, nil
}

// Release ends the hold; it may be called again.
func (h *Hold) Release() {
	h.table.mu.Lock()
	defer h.table.mu.Unlock()
	h.table.remove(h)
}

// Lost reports whether the operator took the mailbox away: the session must not
// change it any more.
func (h *Hold) Lost() bool {
	h.table.mu.Lock()
	defer h.table.mu.Unlock()
	return h.lost
}

// remove is called with mu held.
func (t *Table) remove(h *Hold) {
	rest := slices.DeleteFunc(t.holds[h.Account], func(o *Hold) bool { return o == h })
	if len(rest) == 0 {
		delete(t.holds, h.Account)
		return
	}
	t.holds[h.Account] = rest
}

// Holders lists all holds, the oldest first.
func (t *Table) Holders() []Holder {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := []Holder{}
	for _, holds := range t.holds {
		for _, h := range holds {
			list = append(list, h.Holder)
		}
	}
	slices.SortFunc(list, func(a, b Holder) int {
		return cmp.Or(a.Since.Compare(b.Since), slices.Compare(a.Session[:], b.Session[:]))
	})
	return list
}

// Free takes an account's mailbox from all who hold it, ends their sessions, and
// returns them.
func (t *Table) Free(account uint64) []Holder {
	t.mu.Lock()
	holds := t.holds[account]
	delete(t.holds, account)
	freed := make([]Holder, 0, len(holds))
	for _, h := range holds {
		h.lost = true
		freed = append(freed, h.Holder)
	}
	t.mu.Unlock()
	for _, h := range holds {
		h.end()
	}
	return freed
}

// maxLogins bounds the memory of login times; past it those over the delay are forgotten.
const maxLogins = 100_000

// TooSoon records a login and reports how long the account must still wait when its last
// one is less than delay ago (RFC 2449 6.5); then nothing is recorded.
func (t *Table) TooSoon(account uint64, now time.Time, delay time.Duration) time.Duration {
	if delay <= 0 {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if last, ok := t.logins[account]; ok {
		// A clock set back does not lock anybody out for longer than the delay.
		if wait := delay - now.Sub(last); wait > 0 && wait <= delay {
			return wait
		}
	}
	if t.logins == nil {
		t.logins = map[uint64]time.Time{}
	}
	if len(t.logins) >= maxLogins {
		for a, last := range t.logins {
			if now.Sub(last) >= delay || len(t.logins) >= maxLogins {
				delete(t.logins, a)
			}
		}
	}
	t.logins[account] = now
	return 0
}
