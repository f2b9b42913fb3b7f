package seam

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/reason"
)

// box is a Room of a mailbox that has some bytes left.
type box struct {
	left, asked atomic.Int64
	hangs       bool
	err         error
}

func (b *box) room(ctx context.Context, a *directory.Account, size int64) error {
	b.asked.Add(1)
	if b.hangs {
		time.Sleep(time.Hour) // whatever its context says
	}
	if b.err == nil && size > b.left.Load() {
		return reason.QuotaExceeded
	}
	return b.err
}

func TestRoomCrossesTheSocket(t *testing.T) {
	t.Parallel()
	b := new(box)
	b.left.Store(100)
	cl, r := dial(t, RoomHandlers(b.room))
	c := &RoomCache{Room: NewRoom(cl)}
	a := &directory.Account{ID: 1, QuotaBytes: 1000}
	if err := c.Ask(context.Background(), a, 100); err != nil {
		t.Error(err)
	}
	if err := c.Ask(context.Background(), a, 101); reason.As(err).Reason != reason.QuotaExceeded.Reason || reason.As(err).Code != 452 {
		t.Errorf("have %v", err)
	}
	r.stop()
	defer r.start(t)
	if err := c.Ask(context.Background(), &directory.Account{ID: 2, QuotaBytes: 1}, 500); err != nil {
		t.Errorf("with the role away: %v", err)
	}
}

func TestRoomIsAskedSeldom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := new(box)
		b.left.Store(100)
		c, ctx := &RoomCache{Room: b.room}, context.Background()
		a := &directory.Account{ID: 1, QuotaBytes: 1000}
		for _, step := range []struct {
			size, asked int64
			full        bool
			wait        time.Duration
		}{
			{size: 50, asked: 1}, {size: 50, asked: 1}, {size: 10, asked: 1}, {size: 60, asked: 2},
			{size: 200, asked: 3, full: true}, {size: 300, asked: 3, full: true}, {size: 150, asked: 4, full: true}, {size: 60, asked: 5},
			{size: 60, asked: 6, wait: 3 * time.Second},
		} {
			time.Sleep(step.wait)
			if err := c.Ask(ctx, a, step.size); (err != nil) != step.full || b.asked.Load() != step.asked {
				t.Errorf("%+v: %v, asked %d times", step, err, b.asked.Load())
			}
		}
		wider := *a
		wider.QuotaBytes = 2000
		if c.Ask(ctx, &wider, 60); b.asked.Load() != 7 {
			t.Error("an answer about another quota is taken")
		}
		if c.Ask(ctx, &directory.Account{ID: 3}, 1<<40); b.asked.Load() != 7 {
			t.Error("asked without a quota")
		}
		for i := range uint64(3 * maxRoomsKept) {
			c.Ask(ctx, &directory.Account{ID: i, QuotaBytes: 1}, 0)
		}
		if len(c.kept) > maxRoomsKept {
			t.Errorf("%d answers are kept", len(c.kept))
		}
	})
}

func TestTroubleWithRoomLetsMailIn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &directory.Account{ID: 1, QuotaBytes: 1000}
		for name, room := range map[string]Room{
			"broken": (&box{err: reason.MailboxUnavailable}).room,
			"hangs":  (&box{hangs: true}).room,
			"away": NewRoom(NewClient(func(context.Context) (net.Conn, error) {
				return nil, errors.New("refused")
			})),
		} {
			c := &RoomCache{Room: room}
			began := time.Now()
			for range 2 * maxRoomsAsking {
				go c.Ask(context.Background(), a, 5)
			}
			if err := c.Ask(context.Background(), a, 5); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("%s: answered after %s", name, took)
			}
		}
		time.Sleep(2 * time.Hour) // what hung is over
	})
}
