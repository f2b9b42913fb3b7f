package pebblestore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/pebblex"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/reason"
)

// Store is the embedded queue. It implements queue.Store.
type Store struct {
	opts    Options
	vfs     vfs.FS
	dir     string // the queue's folder in vfs
	lock    io.Closer
	eng     *pebblex.Engine
	spool   *spool
	reserve *reserve
	noRoom  atomic.Int64 // bytes of the last message whose spool file found no room; 0 for none, or when there is room again
	buffers buffers

	// restored counts how often the queue was copied by Backup and opened again. A message whose
	// header names an earlier generation is held.
	restored uint64
	opens    uint64
	fence    atomic.Uint64 // of the present Claim
	closed   atomic.Bool
	rows     rowLocks

	mu       sync.Mutex
	hot      hotList
	pending  map[*commit]struct{} // on their way to the disk, or in doubt until the database is open again
	hidden   map[id.ID]struct{}   // new messages of pending
	removing map[id.ID]*hot       // finished messages whose rows are not yet durably gone
	removals []*hot               // those of removing that are to be deleted next
	claim    *claim               // the present one
	scanned  bool                 // a Claim has seen all messages since Open
	deleted  int64                // bytes of bodies deleted since the last shrink
	shrinks  bool                 // a shrink is under way
}

var _ queue.Store = (*Store)(nil)

const (
	dbDir        = "db"
	logDir       = "log"
	spoolDir     = "spool"
	lockFile     = "lock"
	restoredFile = "restored"
	probeFile    = "probe"
)

// Open opens the queue, making it if the folder is empty. The error wraps
// fs.ErrLocked when another process has it.
func Open(_ context.Context, opts Options) (*Store, error) {
	opts.defaults()
	s := &Store{
		opts: opts, vfs: opts.VFS, dir: opts.Path,
		pending: map[*commit]struct{}{}, hidden: map[id.ID]struct{}{}, removing: map[id.ID]*hot{},
	}
	if s.vfs == nil {
		s.vfs, s.dir = pebblex.VFS(opts.FS), "."
	}
	s.hot.init(opts.CacheBytes, s.buffers.release)
	s.rows.init()
	lock, err := opts.FS.Lock(lockFile)
	if err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	s.lock = lock
	if err := s.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("queue: %w", err), lock.Close())
	}
	s.fence.Store(s.opens << 32)
	return s, nil
}

func (s *Store) open() error {
	for _, dir := range []string{dbDir, logDir, spoolDir} {
		if err := s.opts.FS.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if err := s.opts.FS.SyncDir("."); err != nil {
		return err
	}
	sub, err := s.opts.FS.Sub(spoolDir)
	if err != nil {
		return err
	}
	if s.spool, err = openSpool(sub, s.opts.FreeFiles, s.opts.FreeBytes); err != nil {
		return err
	}
	if s.restored, err = readRestored(s.opts.FS); err != nil {
		return err
	}
	s.reserve = &reserve{fs: s.opts.FS, size: s.opts.ReserveBytes, every: s.opts.RetryMax / 6}
	open := func() error {
		s.eng, err = pebblex.Open(pebblex.Options{
			FS: s.vfs, Dir: s.vfs.PathJoin(s.dir, dbDir), Log: s.opts.Log, CacheBytes: s.opts.BlockCache, Tune: s.tune,
			LogDir: s.vfs.PathJoin(s.dir, logDir), LogBytes: s.opts.LogBytes, LogAhead: max(s.opts.LogFiles, 0),
			Settle: s.settle, Lazy: s.lazy, Broken: s.broken, Probe: s.probe, Tight: s.reserve.gone.Load,
			RetryMin: s.opts.RetryMin, RetryMax: s.opts.RetryMax,
		})
		return err
	}
	err = open()
	if isFull(err) {
		s.reserve.giveUp()
		err = open()
	}
	if err != nil {
		return err
	}
	s.reserve.restore()
	return nil
}

// Close ends the Store. Calls under way end first; Claim returns.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.mu.Lock()
	if s.claim != nil {
		close(s.claim.over)
		s.claim = nil
	}
	s.mu.Unlock()
	return errors.Join(s.eng.Close(), s.lock.Close())
}

// settle makes a newly opened database ready: the first of this process is checked and
// counted; in later ones every commit whose fate was in doubt is forgotten.
func (s *Store) settle(db *pebble.DB, first bool, b *pebble.Batch) (durable func(), err error) {
	if first {
		return nil, s.first(db, b)
	}
	if s.reserve.gone.Load() {
		if err := db.Compact(context.Background(), bodiesFrom, bodiesTo, false); err != nil {
			return nil, err
		}
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for c := range s.pending {
			s.dropped(c)
		}
		s.removals = s.removals[:0]
		for _, h := range s.removing {
			s.removals = append(s.removals, h)
		}
	}, nil
}

func (s *Store) first(db *pebble.DB, b *pebble.Batch) error {
	v, found, err := readNumber(db, formatKey)
	if err != nil {
		return err
	}
	if found && v > format {
		return fmt.Errorf("the folder's format is %d, this program knows %d: it was written by a newer version", v, format)
	}
	opens, _, err := readNumber(db, opensKey)
	if err != nil {
		return err
	}
	s.opens = opens + 1
	return errors.Join(
		b.Set(formatKey, binary.AppendUvarint(nil, format), nil),
		b.Set(opensKey, binary.AppendUvarint(nil, s.opens), nil),
	)
}

func readNumber(db *pebble.DB, key []byte) (v uint64, found bool, err error) {
	value, closer, err := db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	defer closer.Close()
	v, n := binary.Uvarint(value)
	if n <= 0 {
		return 0, false, fmt.Errorf("%w: %q is %q", queue.ErrFormat, key, value)
	}
	return v, true, nil
}

// broken is told why the database froze or cannot be opened.
func (s *Store) broken(cause error) {
	if isFull(cause) {
		s.reserve.giveUp()
	}
}

// probe tells whether the disk takes a write again.
func (s *Store) probe() error {
	err := writeSynced(s.opts.FS, probeFile, 4<<10)
	return errors.Join(err, removeIfThere(s.opts.FS, probeFile))
}

func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// failure turns an error of the disk or the engine into what callers of the queue see.
func failure(err error) error {
	var known *reason.Error
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.Is(err, pebblex.ErrInDoubt):
		err = fmt.Errorf("%w: %w", queue.ErrInDoubt, err)
	case errors.Is(err, queue.ErrNotFound), errors.Is(err, queue.ErrLeaseLost):
		return err
	}
	if isFull(err) {
		return reason.DiskFull.Because(err)
	}
	return reason.QueueUnavailable.Because(err)
}

func notFound(message id.ID) error { return fmt.Errorf("message %s: %w", message, queue.ErrNotFound) }

func removeIfThere(fsys fs.FS, name string) error {
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
