package fs_test

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postilion/postilion/internal/fs"
)

// slowFS counts syncs, each of which takes one second of the bubble's time.
type slowFS struct {
	fs.FS
	all, each, dirs atomic.Int32
	err             func() error // of every sync
	unsupported     bool
}

func (s *slowFS) wait() error {
	time.Sleep(time.Second)
	if s.err != nil {
		return s.err()
	}
	return nil
}

func (s *slowFS) SyncAll() error {
	if s.unsupported {
		return &os.PathError{Op: "syncfs", Path: ".", Err: errors.ErrUnsupported}
	}
	s.all.Add(1)
	return s.wait()
}

func (s *slowFS) SyncDir(string) error {
	s.dirs.Add(1)
	return s.wait()
}

type slowFile struct {
	fs.File
	fs *slowFS
}

func (f slowFile) Sync() error {
	f.fs.each.Add(1)
	return f.fs.wait()
}

// many calls do a hundred times at once and returns when all have returned.
func many(do func(i int)) {
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() { do(i) })
	}
	wg.Wait()
}

func TestBarrierSharesOneSync(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &slowFS{}
		b := &fs.Barrier{FS: s}
		start := time.Now()
		many(func(int) {
			if err := b.Files(slowFile{fs: s}, slowFile{fs: s}); err != nil {
				t.Error(err)
			}
		})
		// The first caller may sync alone, those who came meanwhile share one.
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("a hundred callers took %v", took)
		}
		if all := s.all.Load(); all > 2 {
			t.Errorf("a hundred callers took %d syncs of all", all)
		}
	})
}

// What is written after a sync began is not covered by it: a caller that arrives
// during a sync waits for the next.
func TestBarrierNeverJoinsASyncUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &slowFS{}
		b := &fs.Barrier{FS: s}
		go b.Dirs("a")
		time.Sleep(time.Second / 2)
		start := time.Now()
		if err := b.Dirs("b"); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 3*time.Second/2 {
			t.Errorf("returned after %v, before a sync of its own", took)
		}
		if n := s.dirs.Load(); n != 2 {
			t.Errorf("%d syncs of folders, want 2", n)
		}
	})
}

func TestBarrierServesNobodyForLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &slowFS{}
		b := &fs.Barrier{FS: s}
		var stop atomic.Bool
		go func() {
			time.Sleep(time.Minute)
			stop.Store(true)
		}()
		many(func(i int) {
			for !stop.Load() {
				start := time.Now()
				if err := b.Files(slowFile{fs: s}); err != nil {
					t.Error(err)
				}
				if took := time.Since(start); took > 2*time.Second {
					t.Errorf("caller %d waited %v for a sync of a second", i, took)
					return
				}
			}
		})
	})
}

func TestBarrierSyncsEachOfFew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &slowFS{}
		b := &fs.Barrier{FS: s, EachUpTo: 3}
		if err := b.Files(slowFile{fs: s}, slowFile{fs: s}, slowFile{fs: s}); err != nil {
			t.Fatal(err)
		}
		if err := b.Dirs("a", "b", "a"); err != nil {
			t.Fatal(err)
		}
		if all, each, dirs := s.all.Load(), s.each.Load(), s.dirs.Load(); all != 0 || each != 3 || dirs != 2 {
			t.Errorf("%d of all, %d files, %d folders; want 0, 3, 2", all, each, dirs)
		}
		if err := b.Files(); err != nil {
			t.Errorf("nothing to sync: %v", err)
		}
		b = &fs.Barrier{FS: s, EachUpTo: -1}
		if err := b.Files(slowFile{fs: s}); err != nil || s.all.Load() != 1 {
			t.Errorf("one file above a limit below 0: %d syncs of all, %v", s.all.Load(), err)
		}
	})
}

func TestBarrierTellsEverySharerOfAnError(t *testing.T) {
	t.Parallel()
	for _, unsupported := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var syncs atomic.Int32
			s := &slowFS{unsupported: unsupported}
			s.err = func() error { return fmt.Errorf("sync %d failed", syncs.Add(1)) }
			b := &fs.Barrier{FS: s}
			many(func(i int) {
				if err := b.Files(slowFile{fs: s}); err == nil {
					t.Errorf("unsupported %v: caller %d was not told", unsupported, i)
				}
			})
			s.err = nil
			if err := b.Files(slowFile{fs: s}); err != nil {
				t.Errorf("unsupported %v: an error stayed: %v", unsupported, err)
			}
		})
	}
}

func TestBarrierSyncsEachWhereAllCannotBe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &slowFS{unsupported: true}
		b := &fs.Barrier{FS: s}
		start := time.Now()
		many(func(i int) {
			if err := b.Files(slowFile{fs: s}); err != nil {
				t.Error(err)
			}
			if err := b.Dirs(fmt.Sprint("dir", i)); err != nil {
				t.Error(err)
			}
		})
		if each, dirs := s.each.Load(), s.dirs.Load(); each != 100 || dirs != 100 {
			t.Errorf("%d files and %d folders were synced of 100 and 100", each, dirs)
		}
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("two hundred syncs of a second took %v: they ran one after another", took)
		}
	})
}

// hangingFile syncs when it is let go.
type hangingFile struct {
	fs.File
	goOn chan struct{}
}

func (f hangingFile) Sync() error { <-f.goOn; return nil }

// hangingFS hangs as a whole while its file does.
type hangingFS struct {
	*slowFS
	goOn chan struct{}
}

func (h hangingFS) SyncAll() error { <-h.goOn; return h.slowFS.SyncAll() }

func TestAFileSystemThatHangsHoldsUpNoOthersForLong(t *testing.T) {
	t.Parallel()
	for _, eachUpTo := range []int{200, -1} {
		synctest.Test(t, func(t *testing.T) {
			s, goOn := &slowFS{}, make(chan struct{})
			b := &fs.Barrier{FS: hangingFS{s, goOn}, EachUpTo: eachUpTo, HangAfter: 10 * time.Second}
			var stuck sync.WaitGroup
			join := func(want error, file fs.File) {
				stuck.Go(func() {
					if err := b.Files(file); !errors.Is(err, want) {
						t.Errorf("each up to %d: have %v, want %v", eachUpTo, err, want)
					}
				})
				synctest.Wait()
			}
			start := time.Now()
			join(fs.ErrHangs, hangingFile{goOn: goOn})
			join(nil, slowFile{fs: s}) // waits for the next sync, which never begins
			stuck.Wait()
			if took := time.Since(start); took != 11*time.Second {
				t.Errorf("each up to %d: they waited %v, want 10 s and a sync of their own", eachUpTo, took)
			}
			start = time.Now()
			many(func(i int) {
				if err := errors.Join(b.Files(slowFile{fs: s}), b.Dirs(fmt.Sprint("dir", i))); err != nil {
					t.Error(err)
				}
			})
			if took, each, all := time.Since(start), s.each.Load(), s.all.Load(); took != 2*time.Second || each != 101 || all != 0 {
				t.Errorf("each up to %d: while it hung a hundred took %v, %d syncs of files and %d of all", eachUpTo, took, each, all)
			}
			close(goOn)
			synctest.Wait()
			time.Sleep(2 * time.Second)
			s.each.Store(0)
			many(func(int) {
				if err := b.Files(slowFile{fs: s}); err != nil {
					t.Error(err)
				}
			})
			if eachUpTo < 0 && s.each.Load() > 0 {
				t.Errorf("%d files were synced alone after it had gone on", s.each.Load())
			}
		})
	}
}

// Who left a sync that hung is never told that it went well, whatever came of it.
func TestWhoHasLeftASyncKnowsNothingOfIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, goOn := &slowFS{}, make(chan struct{})
		s.err = func() error { return errors.New("lost") }
		b := &fs.Barrier{FS: s, EachUpTo: 200, HangAfter: time.Second / 2}
		if err := b.Files(slowFile{fs: s}, hangingFile{goOn: goOn}); !errors.Is(err, fs.ErrHangs) {
			t.Errorf("have %v, want %v", err, fs.ErrHangs)
		}
		close(goOn)
		time.Sleep(2 * time.Second) // until all is over
	})
}
