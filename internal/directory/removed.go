package directory

import (
	"context"
	"time"
)

// Removed is an account that was removed, and of which something may still be kept: its passwords, its mail.
type Removed struct {
	Account uint64    `json:"account"`
	Mailbox string    `json:"mailbox"`
	At      time.Time `json:"at"`
}

// Removals remembers removed accounts, from the moment of their removal until somebody has seen to all that was kept of them.
// Meanwhile no other account gets the path of their mailbox.
type Removals interface {
	// Removed lists them, the first removed first, at most MaxRemoved.
	Removed(ctx context.Context) ([]Removed, error)
	// ForgetRemoved is told when nothing is kept of them any more.
	ForgetRemoved(ctx context.Context, accounts []uint64) error
}

// MaxRemoved bounds what Removed lists at once.
const MaxRemoved = 1000
