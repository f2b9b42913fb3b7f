package pebblex_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/fs"
	crashfs "github.com/postilion/postilion/internal/fs/crash"
	"github.com/postilion/postilion/internal/fs/crash/plant"
	"github.com/postilion/postilion/internal/fs/fstest"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/pebblex"
)

// eachFS runs a test on the system's files and on the crash model.
func eachFS(t *testing.T, test func(t *testing.T, f fs.FS)) {
	t.Run("os", func(t *testing.T) {
		t.Parallel()
		f, err := osfs.New(t.TempDir())
		check(t, err)
		test(t, f)
	})
	t.Run("crash", func(t *testing.T) {
		t.Parallel()
		test(t, crashfs.New(1))
	})
}

func check(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, f vfs.File, content string) {
	t.Helper()
	_, err := f.Write([]byte(content))
	check(t, err)
}

func TestVFSKeepsPebblesContract(t *testing.T) {
	t.Parallel()
	eachFS(t, func(t *testing.T, under fs.FS) {
		f := pebblex.VFS(under)
		check(t, f.MkdirAll("d/e", 0o755))
		name := f.PathJoin("d", "e", "1.log")
		if f.PathBase(name) != "1.log" || f.PathDir(name) != "d/e" {
			t.Errorf("%q is %q in %q", name, f.PathBase(name), f.PathDir(name))
		}

		// Create gives a new file: a checkpoint's link to the old one keeps its content.
		a, err := f.Create(name, vfs.WriteCategoryUnspecified)
		check(t, err)
		write(t, a, "old")
		check(t, a.Sync(), a.Close(), f.Link(name, "checkpoint"))
		a, err = f.Create(name, vfs.WriteCategoryUnspecified)
		check(t, err)
		write(t, a, "new")
		if full, err := a.SyncTo(1); !full || err != nil {
			t.Errorf("SyncTo synced in full: %v, %v", full, err)
		}
		check(t, a.SyncData(), a.Preallocate(0, 100), a.Prefetch(0, 3), a.Close())
		if got := fstest.Read(t, under, "checkpoint"); got != "old" {
			t.Errorf("the linked file holds %q", got)
		}
		info, err := f.Stat(name)
		check(t, err)
		if info.Size() != 3 || info.DeviceID() != (vfs.DeviceID{}) {
			t.Errorf("%s has %d bytes", name, info.Size())
		}

		// ReuseForWrite keeps what is there.
		b, err := f.ReuseForWrite(name, "d/e/2.log", vfs.WriteCategoryUnspecified)
		check(t, err)
		write(t, b, "N")
		check(t, b.Close())
		if got := fstest.Read(t, under, "d/e/2.log"); got != "New" {
			t.Errorf("the reused file holds %q", got)
		}
		if _, err := f.Stat(name); !os.IsNotExist(err) {
			t.Errorf("the old name gives %v", err)
		}
		if _, err := f.ReuseForWrite(name, "d/e/3.log", vfs.WriteCategoryUnspecified); err == nil {
			t.Error("a missing file was reused")
		}

		c, err := f.OpenReadWrite("d/e/0.sst", vfs.WriteCategoryUnspecified)
		check(t, err)
		_, err = c.WriteAt([]byte("x"), 1)
		check(t, err, c.Close())
		r, err := f.Open("d/e/0.sst", vfs.SequentialReadsOption)
		check(t, err)
		got, err := io.ReadAll(r)
		check(t, err, r.Close())
		if string(got) != "\x00x" || r.Fd() != vfs.InvalidFd {
			t.Errorf("read %q", got)
		}
		names, err := f.List("d/e")
		check(t, err)
		if !slices.Equal(names, []string{"0.sst", "2.log"}) {
			t.Errorf("the folder lists %q", names)
		}
		dir, err := f.OpenDir("d/e")
		check(t, err, dir.Sync(), dir.SyncData())
		if full, err := dir.SyncTo(1); full || err != nil {
			t.Errorf("SyncTo of a folder: %v, %v", full, err)
		}
		check(t, dir.Close())
		usage, err := f.GetDiskUsage("d")
		check(t, err)
		if usage.TotalBytes == 0 || usage.TotalBytes != usage.UsedBytes+usage.AvailBytes {
			t.Errorf("disk usage %+v", usage)
		}
		lock, err := f.Lock("d/LOCK")
		check(t, err)
		if _, err := f.Lock("d/LOCK"); !errors.Is(err, fs.ErrLocked) {
			t.Errorf("the second lock gave %v", err)
		}
		check(t, lock.Close(), f.Remove("checkpoint"), f.RemoveAll("d"))
		if _, err := f.Open("../outside"); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("a name outside the root gave %v", err)
		}
	})
}

// quiet is Pebble's logger: what it has to tell, it tells by errors too.
type quiet struct{ testing.TB }

func (quiet) Infof(string, ...any)             {}
func (quiet) Errorf(string, ...any)            {}
func (q quiet) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }

// open opens a store with memtables so small that it flushes, compacts and uses its
// logs again within a short history.
func open(t testing.TB, f fs.FS) (*pebble.DB, error) {
	return pebble.Open("store", &pebble.Options{
		FS:                          pebblex.VFS(f),
		Logger:                      quiet{t},
		MemTableSize:                16 << 10,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       2,
		FormatMajorVersion:          pebble.FormatNewest,
		CacheSize:                   1 << 20,
		MaxOpenFiles:                50,
	})
}

func key(i int) string { return fmt.Sprintf("k%03d", i) }

// Some keys are written again and some removed, so that old files held other truths.
func want(acked []int) map[string]string {
	state := map[string]string{}
	for _, i := range acked {
		if i%7 == 6 {
			delete(state, key(i-6))
		} else {
			state[key(i%70)] = value(i)
		}
	}
	return state
}

func value(i int) string { return fmt.Sprint(i, strings.Repeat("v", i*37%1500)) }

func commit(db *pebble.DB, i int) error {
	if i%7 == 6 {
		return db.Delete([]byte(key(i-6)), pebble.Sync)
	}
	return db.Set([]byte(key(i%70)), []byte(value(i)), pebble.Sync)
}

// contents reads the whole store.
func contents(db *pebble.DB) (map[string]string, error) {
	it, err := db.NewIter(nil)
	if err != nil {
		return nil, err
	}
	got := map[string]string{}
	for it.First(); it.Valid(); it.Next() {
		got[string(it.Key())] = string(it.Value())
	}
	return got, it.Close()
}

func TestPebbleRunsOnBoth(t *testing.T) {
	t.Parallel()
	eachFS(t, func(t *testing.T, f fs.FS) {
		var done []int
		for range 2 {
			db, err := open(t, f)
			check(t, err)
			for range 5 {
				check(t, commit(db, len(done)))
				done = append(done, len(done))
			}
			if _, err := open(t, f); !errors.Is(err, fs.ErrLocked) {
				t.Errorf("opened twice: %v", err)
			}
			check(t, db.Close(), checkStore(t, f, done))
		}
	})
}

func pebbleScenario(t testing.TB, wrap func(fs.FS) fs.FS) crashfs.Scenario[int] {
	const commits = 140
	return crashfs.Scenario[int]{
		Run: func(f fs.FS, ack func(int)) error {
			db, err := open(t, f)
			if err != nil {
				return err
			}
			for i := range commits {
				if err := commit(db, i); err != nil {
					return err
				}
				ack(i)
			}
			return db.Close()
		},
		Check: func(f fs.FS, acked []int) error { return checkStore(t, f, acked) },
		Cuts:  500,
		Twice: true,
		Wrap:  wrap,
	}
}

// checkStore opens what survived: it holds what was acknowledged, and perhaps the
// one commit more that was under way.
func checkStore(t testing.TB, f fs.FS, acked []int) (err error) {
	db, err := open(t, f)
	if err != nil {
		return fmt.Errorf("the store does not open: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	got, err := contents(db)
	if err != nil {
		return err
	}
	exact := cmp.Diff(want(acked), got)
	if exact == "" || cmp.Equal(want(append(slices.Clone(acked), len(acked))), got) {
		return nil
	}
	return fmt.Errorf("after %d commits (-want +got):\n%s", len(acked), exact)
}

func TestPebbleKeepsSyncedCommitsThroughPowerCuts(t *testing.T) {
	t.Parallel()
	crashfs.Explore(t, pebbleScenario(t, nil))
}

func TestPebbleWithoutSyncsIsFoundOut(t *testing.T) {
	t.Parallel()
	for name, bug := range map[string]plant.Bug{"file": plant.NoFileSync, "folder": plant.NoDirSync} {
		found := crashfs.MustFail(t, pebbleScenario(t, func(f fs.FS) fs.FS { return plant.Wrap(f, bug) }))
		t.Logf("without %s syncs: cut %d of %d: %.200v", name, found.Cut, found.Ops, found.Err)
	}
}
