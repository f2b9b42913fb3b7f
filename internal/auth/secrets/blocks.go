package secrets

import (
	"context"
	"log/slog"
	"math"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/directory"
)

// forever is the wait told for a block without an end.
const forever = 24 * time.Hour

// blockedFor returns auth.Blocked with the seconds to wait, rounded up; nil for none.
func blockedFor(wait time.Duration) error {
	if wait <= 0 {
		return nil
	}
	return auth.Blocked.With(strconv.Itoa(int(math.Ceil(wait.Seconds()))))
}

// blocks is the operator's blocks, read at most once a second.
type blocks struct {
	list func(ctx context.Context) ([]directory.Block, error)
	log  *slog.Logger

	mu       sync.Mutex
	read     time.Time                  // monotonic; zero: never
	prefixes map[netip.Prefix]time.Time // until; zero: for ever
	lengths  []netip.Prefix             // one of each family and length that occurs
	names    map[string]time.Time
}

func newBlocks(list func(ctx context.Context) ([]directory.Block, error), log *slog.Logger) *blocks {
	return &blocks{list: list, log: log}
}

// refresh reads the list where it is old. While one caller reads, the others go on
// with what is known; after a failure it stays.
func (b *blocks) refresh(ctx context.Context) {
	if b.list == nil {
		return
	}
	b.mu.Lock()
	if !b.read.IsZero() && time.Since(b.read) < time.Second {
		b.mu.Unlock()
		return
	}
	b.read = time.Now()
	b.mu.Unlock()
	// It is read for all, not for the client that happened to ask.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	all, err := b.list(ctx)
	if err != nil {
		b.log.Error("auth: the operator's blocks could not be read", "err", err)
		return
	}
	prefixes, names := map[netip.Prefix]time.Time{}, map[string]time.Time{}
	seen := map[[2]int]bool{}
	var lengths []netip.Prefix
	for _, block := range all {
		p, err := netip.ParsePrefix(block.What)
		if a, aerr := netip.ParseAddr(block.What); aerr == nil {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			names[block.What] = block.Expires
			continue
		}
		prefixes[p] = block.Expires
		if k := [2]int{p.Addr().BitLen(), p.Bits()}; !seen[k] {
			seen[k] = true
			lengths = append(lengths, p)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.prefixes, b.names, b.lengths = prefixes, names, lengths
}

// client returns how long the operator keeps a client out.
func (b *blocks) client(ctx context.Context, client netip.Addr, now time.Time) (wait time.Duration) {
	b.refresh(ctx)
	client = client.Unmap().WithZone("")
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.lengths {
		if l.Addr().BitLen() != client.BitLen() {
			continue
		}
		if p, err := client.Prefix(l.Bits()); err == nil {
			if until, ok := b.prefixes[p]; ok {
				wait = max(wait, left(until, now))
			}
		}
	}
	return wait
}

// name returns how long the operator keeps an account out.
func (b *blocks) name(name string, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	until, ok := b.names[name]
	if !ok {
		return 0
	}
	return left(until, now)
}

func left(until, now time.Time) time.Duration {
	if until.IsZero() {
		return forever
	}
	return max(0, until.Sub(now))
}
