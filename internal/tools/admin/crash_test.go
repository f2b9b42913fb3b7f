package admin

import (
	"errors"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/postilion/postilion/internal/fs"
	crashfs "github.com/postilion/postilion/internal/fs/crash"
	"github.com/postilion/postilion/internal/fs/crash/plant"
)

// replacing writes a compiled file three times over.
func replacing() crashfs.Scenario[int] {
	put := func(fsys fs.FS, n int) error {
		return replace(fsys, "etc/aliases.tmp", "etc/aliases.cdb", func(w io.WriteSeeker) error {
			_, err := fmt.Fprintf(w, "table %d, whole", n)
			return err
		})
	}
	return crashfs.Scenario[int]{
		Seed: 1,
		Prepare: func(fsys fs.FS) error {
			return errors.Join(fsys.Mkdir("etc", 0o755), fsys.SyncDir("."), put(fsys, 0), fsys.SyncAll())
		},
		Run: func(fsys fs.FS, ack func(int)) error {
			for n := 1; n < 4; n++ {
				if err := put(fsys, n); err != nil {
					return err
				}
				ack(n)
			}
			return nil
		},
		Check: func(fsys fs.FS, acked []int) error {
			f, err := fsys.OpenFile("etc/aliases.cdb", os.O_RDONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			p, err := io.ReadAll(f)
			if err != nil {
				return err
			}
			for n := len(acked); n < 4; n++ {
				if string(p) == fmt.Sprintf("table %d, whole", n) {
					return nil
				}
			}
			return fmt.Errorf("have %q after %d were written", p, len(acked))
		},
	}
}

func TestACompiledFileIsTheOldOrTheNewOneAfterAPowerCut(t *testing.T) {
	t.Parallel()
	crashfs.Explore(t, replacing())
}

func TestAMissingSyncOfACompiledFileIsFound(t *testing.T) {
	t.Parallel()
	for name, bug := range map[string]plant.Bug{"no sync of the file": plant.NoFileSync, "no sync of the folder": plant.NoDirSync} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := replacing()
			s.Wrap = func(fsys fs.FS) fs.FS { return plant.Wrap(fsys, bug) }
			crashfs.MustFail(t, s)
		})
	}
}
