package pebblex

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Format is the version of Pebble's files that every store of the program is
// pinned to: the first with value separation.
const Format = pebble.FormatValueSeparation

// Options configure an Engine.
type Options struct {
	FS  vfs.FS
	Dir string // the folder in FS that Pebble has for itself; its parent must exist
	Log *slog.Logger

	// LogDir is the folder in FS that the log has for itself; it must exist. LogBytes is what its files may come to
	// while the disk has room, 0 means 256 MiB, and LogAhead how many of its 16 files are written before the first commit,
	// which makes syncs cheaper from the start.
	LogDir   string
	LogBytes int64
	LogAhead int

	CacheBytes int64                 // of blocks read; 0 means 8 MiB
	Tune       func(*pebble.Options) // changes Pebble's own options at each opening; may be nil

	// Settle runs on each newly opened database before anybody uses it, first says whether
	// it is the first of this Engine. It adds to b what must be true. durable, if not nil, is called when it is; from then on
	// commits of an earlier opening that failed can never be found.
	Settle func(db *pebble.DB, first bool, b *pebble.Batch) (durable func(), err error)
	// Lazy adds to c what may become durable later; it is called before each group
	// of commits and soon after Nudge, by one goroutine. synced is called when that is durable; it is not
	// called when the database froze before. May be nil.
	Lazy func(c *Changes) (synced func())
	// Broken is told why a database froze, and each time why it cannot be opened again; Probe is asked before that: it
	// writes to the disk and returns nil when that works. Both may be nil.
	Broken func(cause error)
	Probe  func() error
	// Tight reports whether the disk has no room to lose: then no body is moved from the log into the database, which
	// needs room before it gives some. May be nil.
	Tight func() bool

	// RetryMin and RetryMax bound the back-off between openings after a failure.
	// 0 means 100 ms and 30 s.
	RetryMin, RetryMax time.Duration
}

// Errors of an Engine, tested for with errors.Is.
var (
	// ErrDown tells that there is no database at present; nothing was written.
	ErrDown = errors.New("the database is not open")
	// ErrInDoubt tells that the disk failed under a commit. It is not found when the Engine opens the database again,
	// but may be if the process ends before that.
	ErrInDoubt = errors.New("the database failed during the commit")
)

// Engine is a Pebble database that outlives the failures of its disk: it freezes
// the broken one (see gate), probes the disk, and opens it again. Commits at the
// same time share a sync. What they have attached lies in the log (see log) while it is young. It is
// safe for concurrent use.
type Engine struct {
	opts  Options
	cache *pebble.Cache
	told  atomic.Uint64 // number of the last record whose commits were acknowledged

	life sync.RWMutex // held for reading by every use of a database; Close takes it
	gen  atomic.Pointer[generation]

	mu      sync.Mutex
	cause   error // why gen is nil
	opened  time.Time
	wait    time.Duration // the present back-off
	closed  bool
	stop    chan struct{}
	revival sync.WaitGroup
}

// Open opens or makes the database.
func Open(opts Options) (*Engine, error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.LogBytes == 0 {
		opts.LogBytes = 256 << 20
	}
	if opts.CacheBytes == 0 {
		opts.CacheBytes = 8 << 20
	}
	if opts.RetryMin == 0 {
		opts.RetryMin = 100 * time.Millisecond
	}
	if opts.RetryMax == 0 {
		opts.RetryMax = 30 * time.Second
	}
	e := &Engine{opts: opts, cache: pebble.NewCache(opts.CacheBytes), stop: make(chan struct{}), wait: opts.RetryMin}
	if err := e.open(true); err != nil {
		e.cache.Unref()
		return nil, err
	}
	return e, nil
}

// The log's files: in so many the newest commits always are, and the others are spare or being freed.
const (
	segments      = 16
	youngSegments = 12
)

func (e *Engine) newLog(through *gate) *log {
	size := e.opts.LogBytes / segments
	return &log{
		fs: through, dir: e.opts.LogDir, out: e.opts.Log, size: size,
		spare: &spares{fs: e.opts.FS, dir: e.opts.LogDir, bytes: size, ahead: e.opts.LogAhead, most: segments, quit: make(chan struct{})},
	}
}

// View lets f read the database. f must not call the Engine.
func (e *Engine) View(f func(db *pebble.DB) error) error {
	return e.view(func(g *generation) error { return f(g.db) })
}

func (e *Engine) view(f func(g *generation) error) error {
	e.life.RLock()
	defer e.life.RUnlock()
	g, err := e.current()
	if err != nil {
		return err
	}
	return g.view(func() error { return f(g) })
}

// Up returns nil while the database is open, or an error that wraps ErrDown.
func (e *Engine) Up() error {
	_, err := e.current()
	return err
}

func (e *Engine) current() (*generation, error) {
	if g := e.gen.Load(); g != nil {
		return g, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return nil, fmt.Errorf("%w: %w", ErrDown, e.cause)
}

// Batch is a set of changes for one opening of the database.
type Batch struct {
	*pebble.Batch
	// Bodies are made durable with the batch. Their memory is the Engine's until the batch's fate is told.
	Bodies []Attachment
	// Owner, if not nil, is told of the batch's fate.
	Owner    Owner
	detached []Held
	g        *generation
}

// Owner is told of a batch's fate, by one call of one method, which must neither block nor call the Engine.
type Owner interface {
	// Durable is called when the batch is durable. All are called by one goroutine, in the order of the commits.
	Durable()
	// Failed is called with what Commit returns.
	Failed(err error)
}

// Attachment is a body that is written once, beside the rows of a batch. Key names the row that it would be: no other row
// has this key, and it is read by Engine.Attached and deleted by Detach only.
type Attachment struct {
	Key, Data []byte
	place     place
}

// Held is what the log holds of a body; the zero value says that this is not known.
type Held struct {
	segment uint64
	size    uint32
}

// Held tells what the log holds, once the batch is durable.
func (a *Attachment) Held() Held { return Held{a.place.segment, a.place.size} }

// Detach deletes the body attached under key.
func (b *Batch) Detach(key []byte) error {
	return b.g.view(func() error {
		h, err := b.g.detach(b.Batch, key)
		b.detached = append(b.detached, h)
		return err
	})
}

// Changes are what Lazy adds.
type Changes struct {
	*pebble.Batch
	g        *generation
	detached []Held
}

// Detach deletes the body attached under key, which the log held as h when it was made durable.
func (c *Changes) Detach(key []byte, h Held) (err error) {
	if h.segment > c.g.log.swept {
		err = c.SingleDelete(placeKey(key), nil)
	} else {
		h, err = c.g.detach(c.Batch, key)
	}
	c.detached = append(c.detached, h)
	return err
}

// Attached reads the body attached under key into the memory that room returns for its size. The error wraps
// pebble.ErrNotFound when there is none.
func (e *Engine) Attached(key []byte, room func(size int) []byte) error {
	return e.view(func(g *generation) error {
		var before place
		for {
			p, found, err := g.place(key)
			if err != nil {
				return err
			}
			if !found {
				return g.copyRow(key, room)
			}
			if p == before {
				return fmt.Errorf("segment %d of the log is missing", p.segment)
			}
			if there, err := g.log.read(p, room(int(p.size))); there {
				return err
			}
			before = p // the log has come round since
		}
	})
}

// NewBatch returns an empty batch with room for size bytes. It ends with Commit or Close.
func (e *Engine) NewBatch(size int) (Batch, error) {
	e.life.RLock()
	defer e.life.RUnlock()
	g, err := e.current()
	if err != nil {
		return Batch{}, err
	}
	return Batch{Batch: g.db.NewBatchWithSize(size), g: g}, nil
}

// Commit applies b and returns when it is durable. The error wraps ErrDown or
// ErrInDoubt. b must not be used afterwards.
func (e *Engine) Commit(b Batch) error {
	w := waiters.Get().(*waiter)
	w.owner, b.Owner = b.Owner, w
	e.Start(b)
	err := <-w.fate
	w.owner = nil
	waiters.Put(w)
	return err
}

// waiter is the owner of a batch for whose fate somebody waits.
type waiter struct {
	owner Owner
	fate  chan error // holds one
}

var waiters = sync.Pool{New: func() any { return &waiter{fate: make(chan error, 1)} }}

// Durable implements Owner.
func (w *waiter) Durable() {
	if w.owner != nil {
		w.owner.Durable()
	}
	w.fate <- nil
}

// Failed implements Owner.
func (w *waiter) Failed(err error) {
	if w.owner != nil {
		w.owner.Failed(err)
	}
	w.fate <- err
}

// Start is Commit that does not wait: b's owner is told, perhaps before Start returns. It blocks while too many wait.
func (e *Engine) Start(b Batch) {
	e.life.RLock() // until the fate is told
	g := b.g
	r := requests.Get().(*request)
	r.batch, r.bodies, r.detached, r.owner = b.Batch, b.Bodies, b.detached, b.Owner
	if g.failed() || !g.begin(r) {
		g.refuse(r)
		return
	}
	select {
	case g.queue <- r:
	case <-g.dead:
		if g.end(r) {
			g.refuse(r)
		}
	}
}

// refuse tells the owner of a request that it was not taken.
func (g *generation) refuse(r *request) {
	r.fail(fmt.Errorf("%w: %w", ErrDown, g.err))
	g.release(r)
}

// Nudge lets Lazy be called soon, even if nothing is committed.
func (e *Engine) Nudge() {
	if g := e.gen.Load(); g != nil {
		g.nudge()
	}
}

// Checkpoint writes a copy of the database into the folder dir of FS, which must not exist, and one of what its log holds
// into logDir, which must be empty.
func (e *Engine) Checkpoint(dir, logDir string) error {
	return e.apart(func(g *generation) error {
		defer g.log.pin()()
		var last end
		err := g.after(&request{work: func(e end) error {
			last = e
			return errors.Join(g.db.Flush(), g.db.Checkpoint(dir))
		}})
		if err != nil {
			return err
		}
		return g.log.copyTo(e.opts.FS, logDir, last)
	})
}

// Compact compacts the keys from start to end, so that the room of deleted values comes free.
func (e *Engine) Compact(start, end []byte) error {
	return e.apart(func(g *generation) error { return g.db.Compact(context.Background(), start, end, false) })
}

// apart runs what writes on a goroutine of its own, because it does not come back from
// a database that freezes.
func (e *Engine) apart(f func(g *generation) error) error {
	e.life.RLock()
	defer e.life.RUnlock()
	g, err := e.current()
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- f(g) }()
	select {
	case err := <-done:
		return err
	case <-g.dead:
		return fmt.Errorf("%w: %w", ErrDown, g.err)
	}
}

// Close ends the Engine when the calls under way have returned.
func (e *Engine) Close() error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	close(e.stop)
	e.mu.Unlock()
	e.revival.Wait()

	e.life.Lock()
	defer e.life.Unlock()
	e.mu.Lock()
	g := e.gen.Swap(nil)
	e.cause = errors.New("closed")
	e.mu.Unlock()
	if g == nil {
		return nil
	}
	err := g.close()
	e.cache.Unref()
	return err
}
