package policy

import (
	"strconv"
	"sync"
	"time"

	"github.com/postilion/postilion/internal/reason"
)

// Rates bounds how many recipients each account may send to in an hour: what a stolen password can do
// until somebody notices. A whole hour's worth may be sent at once; then it comes back evenly.
// What was sent is forgotten at a restart. The zero value bounds nothing; it is safe for concurrent use.
type Rates struct {
	mu       sync.Mutex
	hourly   int
	accounts map[uint64]*spent
}

// spent is what an account has used of its hour's worth, as of the time at.
type spent struct {
	recipients float64
	at         time.Time
}

// sweepAbove is how many accounts are remembered before those that have everything back are forgotten.
const sweepAbove = 10_000

// SetLimit sets the recipients an hour; 0 is no limit. What was sent still counts.
func (r *Rates) SetLimit(hourly int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hourly = hourly
}

// Take counts one more recipient of account, or refuses it.
func (r *Rates) Take(account uint64, now time.Time) *reason.Error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hourly <= 0 {
		return nil
	}
	s := r.accounts[account]
	if s == nil {
		if r.accounts == nil || len(r.accounts) >= sweepAbove {
			r.sweep(now)
		}
		s = &spent{at: now}
		r.accounts[account] = s
	}
	s.recover(r.hourly, now)
	if s.recipients+1 > float64(r.hourly) {
		return reason.RateExceeded.With(strconv.Itoa(r.hourly))
	}
	s.recipients++
	return nil
}

// recover gives back what has come back since s.at. A clock that jumped back gives nothing.
func (s *spent) recover(hourly int, now time.Time) {
	if gone := now.Sub(s.at); gone > 0 {
		s.recipients = max(0, s.recipients-gone.Hours()*float64(hourly))
	}
	s.at = now
}

func (r *Rates) sweep(now time.Time) {
	if r.accounts == nil {
		r.accounts = map[uint64]*spent{}
	}
	for account, s := range r.accounts {
		if s.recover(r.hourly, now); s.recipients == 0 {
			delete(r.accounts, account)
		}
	}
}
