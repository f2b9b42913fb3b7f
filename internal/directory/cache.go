package directory

// A bounded memory of answers, for roles that ask over a socket. It never hands out
// an answer older than its time to live, and none of a former generation where the
// directory's generation can be read.

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// CacheOptions say how long and how much is remembered.
type CacheOptions struct {
	// TTL is how old an answer may be; 0 means 2 s. It is measured by the monotonic clock.
	TTL time.Duration
	// Max is the number of answers kept; 0 means 10,000 (about 5 MB).
	Max int
	// Generation, where set, tells the directory's generation cheaply: an answer is forgotten
	// as soon as it changes.
	Generation func() uint64
}

// Cached returns r with a memory. Failures are not remembered, but unknown domains and
// accounts are. Each answer is a copy of its own.
func Cached(r Reader, o CacheOptions) Reader {
	o.TTL = cmp.Or(o.TTL, 2*time.Second)
	o.Max = cmp.Or(o.Max, 10_000)
	return &cache{reader: r, o: o, start: time.Now(), entries: map[string]*list.Element{}}
}

type cache struct {
	reader Reader
	o      CacheOptions
	start  time.Time

	mu      sync.Mutex
	entries map[string]*list.Element
	recent  list.List // of *answer, the last used in front
}

// answer is what Find or Account said.
type answer struct {
	key        string
	at         time.Duration // since start
	generation uint64
	found      Found
	account    *Account
	err        error
}

// maxCacheKey bounds what one remembered question may hold: longer ones cannot be of
// an address of ours.
const maxCacheKey = 1024

func (c *cache) Find(ctx context.Context, domain string, locals []string) (Found, error) {
	key, ok := findKey(domain, locals)
	if !ok {
		return c.reader.Find(ctx, domain, locals)
	}
	a := c.ask(key, func(a *answer) {
		a.found, a.err = c.reader.Find(ctx, domain, locals)
	})
	f := a.found
	f.Account = copyAccount(f.Account)
	if f.Alias != nil {
		alias := *f.Alias
		alias.Targets = slices.Clone(alias.Targets)
		f.Alias = &alias
	}
	return f, a.err
}

// findKey returns a key that no other question has, or false where it would be too
// long or ambiguous.
func findKey(domain string, locals []string) (string, bool) {
	n := len(domain)
	for _, l := range locals {
		n += len(l) + 1
	}
	if n > maxCacheKey {
		return "", false
	}
	var b strings.Builder
	b.WriteByte('f')
	b.WriteString(domain)
	for _, l := range locals {
		b.WriteByte(0)
		b.WriteString(l)
	}
	return b.String(), strings.Count(b.String(), "\x00") == len(locals)
}

func (c *cache) Account(ctx context.Context, account uint64) (*Account, error) {
	a := c.ask("a"+strconv.FormatUint(account, 36), func(a *answer) {
		a.account, a.err = c.reader.Account(ctx, account)
	})
	return copyAccount(a.account), a.err
}

func copyAccount(a *Account) *Account {
	if a == nil {
		return nil
	}
	c := *a
	return &c
}

// ask returns the remembered answer, or that of fill.
func (c *cache) ask(key string, fill func(*answer)) *answer {
	now, generation := time.Since(c.start), c.generation()
	c.mu.Lock()
	if e := c.entries[key]; e != nil {
		a := e.Value.(*answer)
		if now-a.at < c.o.TTL && a.generation == generation {
			c.recent.MoveToFront(e)
			c.mu.Unlock()
			return a
		}
	}
	c.mu.Unlock()
	// The age and generation are those of before the question, so that a change
	// meanwhile is not missed.
	a := &answer{key: key, at: now, generation: generation}
	fill(a)
	if a.err == nil || errors.Is(a.err, ErrNotFound) {
		c.keep(a)
	}
	return a
}

func (c *cache) generation() uint64 {
	if c.o.Generation == nil {
		return 0
	}
	return c.o.Generation()
}

func (c *cache) keep(a *answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[a.key]; e != nil {
		e.Value = a
		c.recent.MoveToFront(e)
		return
	}
	c.entries[a.key] = c.recent.PushFront(a)
	if c.recent.Len() > c.o.Max {
		last := c.recent.Back()
		delete(c.entries, c.recent.Remove(last).(*answer).key)
	}
}
