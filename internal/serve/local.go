package serve

// What the servers of Unix sockets share, to which any user of this host may talk: the kernel tells who that is, and no
// user takes from the others what there is of the server.

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// Each accepts connections until ctx ends and calls handle with each in a goroutine of its own. Then it closes l, and
// returns nil once every call has returned. The error is net.ErrClosed when another closed l.
func Each(ctx context.Context, l net.Listener, handle func(net.Conn)) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	var calls sync.WaitGroup
	defer calls.Wait()
	for {
		nc, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				nc.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // out of descriptors: others will be closed
			time.Sleep(10 * time.Millisecond)
			continue
		}
		calls.Go(func() { handle(nc) })
	}
}

// Errors of Shares.
var (
	ErrSpent     = errors.New("nothing is left")
	ErrUserSpent = errors.New("nothing is left for this user")
)

// Shares bounds what users of this host have at the same time, in all and each of them, root excepted: connections,
// bytes. The zero value has given nothing. It is safe for concurrent use.
type Shares struct {
	mu    sync.Mutex
	all   int64
	users map[uint32]int64
}

// Take gives a user n more unless all would then have more than most, or the user more than mostOfUser. The error is
// ErrSpent or ErrUserSpent.
func (s *Shares) Take(uid uint32, n, most, mostOfUser int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.all+n > most:
		return ErrSpent
	case uid != 0 && s.users[uid]+n > mostOfUser:
		return ErrUserSpent
	}
	if s.users == nil {
		s.users = map[uint32]int64{}
	}
	s.all += n
	s.users[uid] += n
	return nil
}

// Give takes back what Take gave; nothing of nothing, too.
func (s *Shares) Give(uid uint32, n int64) {
	if n == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all -= n
	if s.users[uid] -= n; s.users[uid] == 0 {
		delete(s.users, uid)
	}
}

// Taken returns what all have.
func (s *Shares) Taken() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all
}
