package pebblex_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/fs"
	crashfs "github.com/postilion/postilion/internal/fs/crash"
	"github.com/postilion/postilion/internal/pebblex"
)

const (
	spareFiles = 3
	spareBytes = 64 << 10
)

func withLogFiles(disk *crashfs.FS) pebblex.Options {
	o := engineOptions(disk)
	o.LogAhead = spareFiles
	return o
}

// databaseFiles returns the sizes of the files of the database whose names ok likes.
func databaseFiles(t *testing.T, disk fs.FS, ok func(name string) bool) map[string]int64 {
	t.Helper()
	entries, err := disk.ReadDir("log")
	check(t, err)
	found := map[string]int64{}
	for _, e := range entries {
		if ok(e.Name()) {
			info, err := disk.Stat("log/" + e.Name())
			if errors.Is(err, fs.ErrNotExist) {
				continue // it has another name now
			}
			check(t, err)
			found[e.Name()] = info.Size()
		}
	}
	return found
}

func isSpare(name string) bool { return strings.HasPrefix(name, "spare.") }
func isLog(name string) bool   { return strings.HasPrefix(name, "log.") }

// untilSpares waits for n whole spare files or more.
func untilSpares(t *testing.T, disk fs.FS, n int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		entries, err := disk.ReadDir("log")
		check(t, err)
		whole := 0
		for _, e := range entries {
			if isSpare(e.Name()) && !strings.HasSuffix(e.Name(), ".new") {
				whole++
			}
		}
		if whole >= n {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d spare files, want %d", whole, n)
		}
	}
}

// fill commits enough for some memtables.
func fill(t *testing.T, e *pebblex.Engine, round int) {
	t.Helper()
	for i := range 100 {
		check(t, set(e, fmt.Sprintf("k%d.%d", round, i), strings.Repeat("v", 4<<10)))
	}
}

func TestNewLogsBeginInFilesWrittenBefore(t *testing.T) {
	t.Parallel()
	disk := crashfs.New(1)
	e := mustEngine(t, withLogFiles(disk))
	defer e.Close()
	untilSpares(t, disk, spareFiles)
	fill(t, e, 0)
	whole := 0
	for _, size := range databaseFiles(t, disk, isLog) {
		if size >= spareBytes {
			whole++
		}
	}
	if whole < spareFiles {
		t.Errorf("%d segments began in files written before, want %d", whole, spareFiles)
	}
}

func TestLogsOfAnEarlierRunAreUsedAgain(t *testing.T) {
	t.Parallel()
	disk := crashfs.New(1)
	for round := range 3 {
		e := mustEngine(t, withLogFiles(disk))
		untilSpares(t, disk, spareFiles)
		fill(t, e, round)
		check(t, e.Close())
	}
	for _, name := range []string{"log/spare.900", "log/spare.901.new", "log/spare.x"} { // too short, unfinished, no number
		f, err := disk.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		check(t, err, f.Close())
	}
	e := mustEngine(t, withLogFiles(disk))
	untilSpares(t, disk, spareFiles)
	check(t, e.Close()) // nothing is being written
	for name, size := range databaseFiles(t, disk, isSpare) {
		if size < spareBytes || slices.Contains([]string{"spare.900", "spare.901.new", "spare.x"}, name) {
			t.Errorf("%s of %d bytes was kept", name, size)
		}
	}
	e = mustEngine(t, withLogFiles(disk))
	defer e.Close()
	for round := range 3 {
		for _, i := range []int{0, 99} {
			v, err := get(e, fmt.Sprintf("k%d.%d", round, i))
			check(t, err)
			if len(v) != 4<<10 {
				t.Errorf("key %d of round %d has %d bytes", i, round, len(v))
			}
		}
	}
}

func TestADiskWithLittleRoomGetsNoSpareFiles(t *testing.T) {
	t.Parallel()
	disk := crashfs.New(1)
	disk.SetCapacity(5 * spareBytes)
	e := mustEngine(t, withLogFiles(disk))
	check(t, set(e, "k", "v"), e.Close())
	if found := databaseFiles(t, disk, isSpare); len(found) > 0 {
		t.Errorf("spare files on a disk with room for five: %v", found)
	}
}
