package auth

import (
	"context"
	"sync"
	"time"
)

// Revoked tells whose credentials were changed or removed, to those who serve sessions that began with the old ones. It is
// safe for concurrent use.
type Revoked struct {
	epoch int64 // of this process's telling: what an earlier one told is over

	mu    sync.Mutex
	first uint64   // accounts that were told before list
	list  []uint64 // the last ones
	next  chan struct{}
}

// maxRevoked bounds the accounts that are remembered for those who were away.
const maxRevoked = 10_000

// Mark is how far somebody has been told. The zero value is of who begins.
type Mark struct {
	Epoch int64
	Told  uint64
}

// Revocation is whose credentials are not what they were at a Mark.
type Revocation struct {
	Accounts []uint64
	All      bool // more than are remembered: it may be anybody's
	Now      Mark
}

// NewRevoked returns an empty one.
func NewRevoked() *Revoked { return &Revoked{epoch: time.Now().UnixNano(), next: make(chan struct{})} }

// Add tells of an account.
func (r *Revoked) Add(account uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, account)
	if n := len(r.list) - maxRevoked; n > 0 {
		r.list = append(r.list[:0], r.list[n:]...)
		r.first += uint64(n)
	}
	close(r.next)
	r.next = make(chan struct{})
}

// Since tells what happened since a mark, as soon as there is something. To who begins, or has a mark of another epoch, it tells at
// once all that is remembered: a session may be older than that. At the end of ctx nothing has happened.
func (r *Revoked) Since(ctx context.Context, m Mark) Revocation {
	for {
		r.mu.Lock()
		told := m.Told
		if m.Epoch != r.epoch {
			told = 0
		}
		end := r.first + uint64(len(r.list))
		rev, next := Revocation{Now: Mark{r.epoch, end}}, r.next
		switch {
		case told < r.first:
			rev.All = true
		case told < end:
			rev.Accounts = append(rev.Accounts, r.list[told-r.first:]...)
		}
		news := rev.All || rev.Accounts != nil || m.Epoch != r.epoch
		r.mu.Unlock()
		if news {
			return rev
		}
		select {
		case <-next:
		case <-ctx.Done():
			return rev
		}
	}
}
