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

// blockedFor returns auth.Blocked with the seconds to wait, rounded up; nil for none.
func blockedFor(wait time.Duration) error {
	if wait <= 0 {
		return nil
	}
	return auth.Blocked.With(strconv.Itoa(int(math.Ceil(wait.Seconds()))))
}

// blocks is the operator's blocks, read when the directory has changed, and once a second.
type blocks struct {
	list       func(ctx context.Context) ([]directory.Block, error)
	generation func() uint64
	log        *slog.Logger

	mu       sync.Mutex
	read     time.Time                  // monotonic; zero: never
	at       uint64                     // the generation at that time
	prefixes map[netip.Prefix]time.Time // until; zero: for ever
	lengths  []netip.Prefix             // one of each family and length that occurs
	names    map[string]time.Time
}

func newBlocks(list func(ctx context.Context) ([]directory.Block, error), generation func() uint64, log *slog.Logger) *blocks {
	if generation == nil {
		generation = func() uint64 { return 0 }
	}
	return &blocks{list: list, generation: generation, log: log}
}

// refresh reads the list where it is old. While one caller reads, the others go on
// with what is known; after a failure it stays.
func (b *blocks) refresh(ctx context.Context) {
	if b.list == nil {
		return
	}
	generation := b.generation()
	b.mu.Lock()
	if !b.read.IsZero() && time.Since(b.read) < time.Second && b.at == generation {
		b.mu.Unlock()
		return
	}
	b.read, b.at = time.Now(), generation
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

// client tells whether the operator keeps a client out.
func (b *blocks) client(ctx context.Context, client netip.Addr, now time.Time) bool {
	b.refresh(ctx)
	client = client.Unmap().WithZone("")
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.lengths {
		if l.Addr().BitLen() != client.BitLen() {
			continue
		}
		if p, err := client.Prefix(l.Bits()); err == nil {
			if until, ok := b.prefixes[p]; ok && lasts(until, now) {
				return true
			}
		}
	}
	return false
}

// name tells whether the operator keeps an account out.
func (b *blocks) name(name string, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	until, ok := b.names[name]
	return ok && lasts(until, now)
}

func lasts(until, now time.Time) bool { return until.IsZero() || until.After(now) }
