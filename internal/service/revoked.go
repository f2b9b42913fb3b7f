package service

import (
	"context"
	"slices"

	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/seam"
	"github.com/postilion/postilion/internal/serve"
)

// A session goes on by what its client was let in by. When that ends, the session does: here role auth is
// followed; the operator's blocks are in package blocks.

// watchRevoked ends the sessions of accounts whose passwords are changed or removed, until ctx ends.
func (p *process) watchRevoked(ctx context.Context, end func(match func(serve.Connection) bool) int) error {
	since := seam.Auth{Client: p.client(role.Auth)}.Revoked
	if s := p.here.auth; s != nil {
		since = func(ctx context.Context, m auth.Mark) (auth.Revocation, error) {
			return s.Revoked().Since(ctx, m), ctx.Err()
		}
	}
	var told auth.Mark
	for {
		r, err := since(ctx, told)
		if err != nil {
			return nil
		}
		told = r.Now
		accounts := make(map[uint64]bool, len(r.Accounts))
		for _, a := range r.Accounts {
			accounts[a] = true
		}
		if r.All || len(accounts) > 0 {
			end(func(c serve.Connection) bool { return c.AccountID != 0 && (r.All || accounts[c.AccountID]) })
		}
	}
}

// endSessions ends the connections of a role's own services that match and returns how many there were.
func (p *process) endSessions(part *part, match func(serve.Connection) bool) int {
	n := p.table.Close(func(c serve.Connection) bool { return slices.Contains(part.services, c.Listener) && match(c) })
	if n > 0 {
		p.logger().Info("sessions ended: what they had logged in with does not count any more, or they are blocked", "count", n)
	}
	return n
}
