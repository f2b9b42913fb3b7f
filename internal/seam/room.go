package seam

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/rpc"
)

// Room tells whether a message of size bytes fits into an account's mailbox: nil, or the
// *reason.Error that its sender is to be told.
type Room func(ctx context.Context, a *directory.Account, size int64) error

type roomRequest struct {
	Account *directory.Account
	Size    int64
}

// RoomHandlers serves a Room.
func RoomHandlers(room Room) map[string]rpc.Handler {
	return map[string]rpc.Handler{
		"local.room": rpc.Handle(func(ctx context.Context, r roomRequest) (none, error) { return none{}, room(ctx, r.Account, r.Size) }),
	}
}

// NewRoom returns a Room over rpc. It does not wait for a role that is being restarted.
func NewRoom(cl *Client) Room {
	return func(ctx context.Context, a *directory.Account, size int64) error {
		_, err := once[roomRequest, none](ctx, cl, "local.room", roomRequest{a, size})
		return err
	}
}

// RoomCache is how a Room is asked at RCPT: seldom, and never for long. A full mailbox is
// refused; any trouble in finding out lets the message in, since its delivery looks again.
type RoomCache struct {
	Room Room
	Log  *slog.Logger
	// TTL is how long an answer holds; 0 means 3 s.
	TTL time.Duration
	// Timeout is how long one question may take; 0 means 2 s.
	Timeout time.Duration

	cautious
	kept map[uint64]roomAnswer // by account
}

const (
	maxRoomsKept   = 10_000
	maxRoomsAsking = 256
	tellRoomEvery  = time.Minute
)

// roomAnswer is what was said of an account at a time.
type roomAnswer struct {
	at              time.Time
	bytes, messages int64 // the quota that it was said of
	size            int64
	err             error
}

// holds reports whether the answer is one about size too: what fits does so with less, what does
// not neither does with more.
func (r *roomAnswer) holds(a *directory.Account, size int64) bool {
	if r.bytes != a.QuotaBytes || r.messages != a.QuotaMessages {
		return false
	}
	return r.err == nil && size <= r.size || r.err != nil && size >= r.size
}

// Ask is a Room.
func (c *RoomCache) Ask(ctx context.Context, a *directory.Account, size int64) error {
	if a.QuotaBytes == 0 && a.QuotaMessages == 0 {
		return nil
	}
	now := time.Now()
	c.mu.Lock()
	r, ok := c.kept[a.ID]
	if ok && now.Sub(r.at) < cmp.Or(c.TTL, 3*time.Second) && r.holds(a, size) {
		c.mu.Unlock()
		return r.err
	}
	c.mu.Unlock()
	account := *a
	err := c.ask(ctx, c.Timeout, func(ctx context.Context) error { return c.Room(ctx, &account, size) })
	if err != nil && !isFull(err) {
		if c.seldom() && c.Log != nil {
			c.Log.Warn("quota is not checked at RCPT for now, but at delivery", "account", a.Address.String(), "error", err)
		}
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept == nil || len(c.kept) >= maxRoomsKept {
		c.kept = map[uint64]roomAnswer{}
	}
	c.kept[a.ID] = roomAnswer{now, a.QuotaBytes, a.QuotaMessages, size, err}
	return err
}

func isFull(err error) bool {
	e, ok := errors.AsType[*reason.Error](err)
	return ok && (e.Reason == reason.QuotaExceeded.Reason || e.Reason == reason.QuotaTooSmall.Reason)
}
