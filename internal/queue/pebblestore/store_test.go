package pebblestore_test

import (
	"context"
	"testing"

	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/pebblex"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/queue/pebblestore"
	"github.com/postilion/postilion/internal/queue/queuetest"
)

const limit = 64 << 10

// open opens a store in the folder, as the running program does.
func open(t testing.TB, dir string) *pebblestore.Store {
	t.Helper()
	s, err := tryOpen(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func tryOpen(t testing.TB, dir string) (*pebblestore.Store, error) {
	t.Helper()
	fsys, err := osfs.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	// With little room a short test sees what a long run does: flushes, and a log that comes round.
	o := pebblestore.Options{FS: fsys, VFS: pebblex.System(), Path: dir, ReserveBytes: 1 << 20, MemTable: 4 << 20, LogBytes: 4 << 20}
	return pebblestore.Open(context.Background(), o)
}

// located is a store that knows its folder.
type located struct {
	*pebblestore.Store
	dir string
}

func TestContract(t *testing.T) {
	t.Parallel()
	queuetest.Run(t, queuetest.Maker{
		Open: func(t *testing.T) queue.Store {
			dir := t.TempDir()
			return located{open(t, dir), dir}
		},
		Reopen: func(t *testing.T, s queue.Store) queue.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			dir := s.(located).dir
			return located{open(t, dir), dir}
		},
		Limit: limit,
	})
}
