package seam

import (
	"context"

	"github.com/postilion/postilion/internal/directory"
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

// NewRoom returns a Room over rpc.
func NewRoom(cl *Client) Room {
	return func(ctx context.Context, a *directory.Account, size int64) error {
		_, err := call[roomRequest, none](ctx, cl, "local.room", roomRequest{a, size})
		return err
	}
}
