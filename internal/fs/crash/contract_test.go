package crashfs

import (
	"testing"

	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/fs/fstest"
)

func TestContract(t *testing.T) {
	t.Parallel()
	fstest.Contract(t, func(*testing.T) fs.FS { return New(1) })
}

func TestContractAfterACut(t *testing.T) {
	t.Parallel()
	fstest.Contract(t, func(t *testing.T) fs.FS {
		f := New(1)
		if err := f.Mkdir("sub", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := f.SyncAll(); err != nil {
			t.Fatal(err)
		}
		sub, err := f.CrashAt(f.Ops(), f.NewRand(1)).Sub("sub")
		if err != nil {
			t.Fatal(err)
		}
		return sub
	})
}
