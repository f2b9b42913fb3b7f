package seam

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"
)

// cautious is how a part that looks into files is asked on the way of a session: not too much at
// once, and never for long.
type cautious struct {
	mu     sync.Mutex // also the owner's
	asking int        // questions at work, those given up on a hanging disk included
	told   time.Time  // when trouble was last logged
}

// ask puts a question, and stops waiting at the time-out (0 means 2 s) even when a file system hangs.
func (c *cautious) ask(ctx context.Context, timeout time.Duration, question func(context.Context) error) error {
	c.mu.Lock()
	if c.asking >= maxRoomsAsking {
		c.mu.Unlock()
		return errors.New("too many questions are not answered")
	}
	c.asking++
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(timeout, 2*time.Second))
	said := make(chan error, 1)
	go func() {
		defer cancel()
		err := question(ctx)
		c.mu.Lock()
		c.asking--
		c.mu.Unlock()
		said <- err
	}()
	select {
	case err := <-said:
		return err
	case <-ctx.Done():
		select {
		case err := <-said:
			return err
		default:
			return ctx.Err()
		}
	}
}

// seldom reports whether trouble is to be logged: not more often than it helps.
func (c *cautious) seldom() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.told) < tellRoomEvery {
		return false
	}
	c.told = time.Now()
	return true
}
