package pebblex_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	crashfs "github.com/postilion/postilion/internal/fs/crash"
	"github.com/postilion/postilion/internal/pebblex"
)

func engineOptions(disk *crashfs.FS) pebblex.Options {
	return pebblex.Options{
		FS: pebblex.VFS(disk), Dir: "db", LogDir: "log", LogBytes: 16 * spareBytes, CacheBytes: 1 << 20, RetryMin: time.Millisecond, RetryMax: 2 * time.Millisecond,
		Tune: func(o *pebble.Options) { o.MemTableSize = 64 << 10 },
	}
}

func mustEngine(t *testing.T, o pebblex.Options) *pebblex.Engine {
	t.Helper()
	check(t, o.FS.MkdirAll(o.LogDir, 0o700))
	e, err := pebblex.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func set(e *pebblex.Engine, key, value string) error {
	b, err := e.NewBatch(0)
	if err != nil {
		return err
	}
	if err := b.Set([]byte(key), []byte(value), nil); err != nil {
		return err
	}
	return e.Commit(b)
}

func get(e *pebblex.Engine, key string) (value string, err error) {
	err = e.View(func(db *pebble.DB) error {
		v, closer, err := db.Get([]byte(key))
		if err != nil {
			return err
		}
		value = string(v)
		return closer.Close()
	})
	return value, err
}

func TestCommitsAtTheSameTimeShareSyncs(t *testing.T) {
	t.Parallel()
	disk := crashfs.New(1)
	e := mustEngine(t, engineOptions(disk))
	defer e.Close()
	var syncs atomic.Int64
	disk.Inject(crashfs.Fault{Kinds: crashfs.OpSync, Times: -1, Match: func(crashfs.Call) bool {
		syncs.Add(1)
		time.Sleep(100 * time.Microsecond) // as a disk takes
		return false
	}})
	const commits = 400
	var wg sync.WaitGroup
	for i := range commits {
		wg.Go(func() {
			if err := set(e, fmt.Sprint("k", i), "v"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := syncs.Load(); n == 0 || n > commits/2 {
		t.Errorf("%d commits took %d syncs", commits, n)
	}
	for i := range commits {
		if _, err := get(e, fmt.Sprint("k", i)); err != nil {
			t.Errorf("key %d: %v", i, err)
		}
	}
}

func TestAFailedSyncIsInDoubtAndSettled(t *testing.T) {
	t.Parallel()
	disk := crashfs.New(1)
	o := engineOptions(disk)
	settled := make(chan bool, 10)
	var broken atomic.Bool
	o.Broken = func(error) { broken.Store(true) }
	o.Probe = func() error {
		f, err := disk.OpenFile("probe", syscall.O_CREAT|syscall.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	}
	o.Settle = func(_ *pebble.DB, first bool, b *pebble.Batch) (func(), error) {
		return func() { settled <- first }, b.Set([]byte("settled"), []byte(fmt.Sprint(first)), nil)
	}
	e := mustEngine(t, o)
	defer e.Close()
	<-settled
	if err := set(e, "before", "1"); err != nil {
		t.Fatal(err)
	}
	heal := disk.Inject(crashfs.Fault{Kinds: crashfs.OpSync, Times: -1})
	if err := set(e, "doubt", "1"); !errors.Is(err, pebblex.ErrInDoubt) || !errors.Is(err, syscall.EIO) {
		t.Errorf("a commit whose sync failed: %v", err)
	}
	for range 3 { // from now on nothing is in doubt: nothing is tried
		if err := set(e, "down", "1"); !errors.Is(err, pebblex.ErrDown) {
			t.Errorf("a commit on a broken disk: %v", err)
		}
	}
	heal()
	if <-settled {
		t.Error("the second opening is called the first")
	}
	limit := time.After(time.Minute)
	for e.Up() != nil {
		select {
		case <-time.After(time.Millisecond): // real time passes in the back-off
		case <-limit:
			t.Fatal(e.Up())
		}
	}
	if v, err := get(e, "before"); v != "1" || err != nil {
		t.Errorf("what was acknowledged: %q, %v", v, err)
	}
	if _, err := get(e, "doubt"); !errors.Is(err, pebble.ErrNotFound) {
		t.Errorf("what was in doubt: %v", err)
	}
	if err := set(e, "after", "1"); err != nil || !broken.Load() {
		t.Errorf("a commit after the disk healed: %v, told of the failure: %v", err, broken.Load())
	}
}

func TestLazyChangesAreAppliedWithoutCommits(t *testing.T) {
	t.Parallel()
	disk := crashfs.New(1)
	o := engineOptions(disk)
	var once sync.Once
	applied, durable := make(chan struct{}), make(chan struct{})
	o.Lazy = func(c *pebblex.Changes) (synced func()) {
		once.Do(func() {
			c.Set([]byte("lazy"), []byte("1"), nil)
			synced = func() { close(durable) }
			close(applied)
		})
		return synced
	}
	e := mustEngine(t, o)
	e.Nudge()
	<-applied
	<-durable
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := set(e, "k", "v"); !errors.Is(err, pebblex.ErrDown) {
		t.Errorf("a commit after Close: %v", err)
	}
	o.Lazy = nil
	e = mustEngine(t, o)
	defer e.Close()
	if v, err := get(e, "lazy"); v != "1" || err != nil {
		t.Errorf("the lazy change: %q, %v", v, err)
	}
}

func TestABrokenDatabaseCanBeClosed(t *testing.T) {
	t.Parallel()
	disk := crashfs.New(1)
	e := mustEngine(t, engineOptions(disk))
	disk.Inject(crashfs.Fault{Times: -1})
	if err := set(e, "k", "v"); err == nil {
		t.Error("committed on a broken disk")
	}
	// Whether Close still meets the failure depends on who was first.
	if err := e.Close(); err != nil && !errors.Is(err, syscall.EIO) {
		t.Error(err)
	}
	if err := e.View(func(*pebble.DB) error { return nil }); !errors.Is(err, pebblex.ErrDown) {
		t.Errorf("a view after Close: %v", err)
	}
}
