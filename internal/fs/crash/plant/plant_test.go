package plant

import (
	"errors"
	"os"
	"testing"

	"github.com/postilion/postilion/internal/fs"
	crashfs "github.com/postilion/postilion/internal/fs/crash"
	"github.com/postilion/postilion/internal/fs/fstest"
)

// A file system without bugs, or with bugs elsewhere, keeps the contract: what a
// planted test finds is the bug and nothing else.
func TestWithoutBugsTheContractHolds(t *testing.T) {
	t.Parallel()
	for _, bugs := range []Bug{0, NoSync, SyncAfterRename, SyncAtClose} {
		fstest.Contract(t, func(*testing.T) fs.FS { return Wrap(crashfs.New(1), bugs) })
	}
	fstest.Contract(t, func(*testing.T) fs.FS {
		return WrapWhere(crashfs.New(1), NoSync|NotExclusive|LinkReplaces, func(string) bool { return false })
	})
}

// each history makes x durable by one kind of sync; its bugs take that away.
func TestEachBugTakesItsSyncAway(t *testing.T) {
	t.Parallel()
	open := func(f fs.FS) (fs.File, error) {
		file, err := f.OpenFile("x", os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		_, err = file.Write([]byte("content"))
		return file, err
	}
	byFile := func(f fs.FS) error {
		file, err := open(f)
		return errors.Join(err, file.Sync(), f.SyncDir("."))
	}
	byData := func(f fs.FS) error {
		file, err := open(f)
		return errors.Join(err, file.SyncData(), f.SyncDir("."))
	}
	byAll := func(f fs.FS) error {
		_, err := open(f)
		return errors.Join(err, f.SyncAll())
	}
	for name, c := range map[string]struct {
		run  func(fs.FS) error
		bugs []Bug
	}{
		"file sync": {byFile, []Bug{NoFileSync, NoDirSync, SyncAfterRename, SyncAtClose, NoSync}},
		"data sync": {byData, []Bug{NoFileSync, NoDirSync, SyncAfterRename, SyncAtClose, NoSync}},
		"sync all":  {byAll, []Bug{NoSyncAll, NoSync}},
	} {
		for _, bug := range append(c.bugs, 0) {
			disk := crashfs.New(1)
			wrapped := Wrap(disk, bug)
			if err := c.run(wrapped); err != nil {
				t.Fatal(err)
			}
			if planted := wrapped.Planted() > 0; planted != (bug != 0) {
				t.Errorf("%s: bug %b acted: %v", name, bug, planted)
			}
			if lost := losable(disk); lost != (bug != 0) {
				t.Errorf("%s: with bug %b the file may be lost: %v", name, bug, lost)
			}
		}
	}
}

// losable tells whether a power cut now may lose x or its content.
func losable(disk *crashfs.FS) bool {
	for i := range uint64(100) {
		survivor := disk.CrashAt(disk.Ops(), disk.NewRand(i))
		file, err := survivor.OpenFile("x", os.O_RDONLY, 0)
		if err != nil {
			return true
		}
		got := make([]byte, 7)
		if n, _ := file.ReadAt(got, 0); string(got[:n]) != "content" {
			return true
		}
	}
	return false
}

func TestBugsGoBySubsNames(t *testing.T) {
	t.Parallel()
	disk := crashfs.New(1)
	wrapped := WrapWhere(disk, NoDirSync, func(name string) bool { return name == "a/b" })
	if err := wrapped.MkdirAll("a/b", 0o700); err != nil {
		t.Fatal(err)
	}
	sub, err := wrapped.Sub("a")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(sub.SyncDir("."), sub.SyncDir("b")); err != nil {
		t.Fatal(err)
	}
	if n := wrapped.Planted(); n != 1 {
		t.Errorf("the bug acted %d times, want once", n)
	}
}

func TestExclusionIsTakenAway(t *testing.T) {
	t.Parallel()
	wrapped := Wrap(crashfs.New(1), NotExclusive|LinkReplaces)
	fstest.Write(t, wrapped, "a", "a")
	fstest.Write(t, wrapped, "b", "b")
	if err := wrapped.Link("a", "b"); err != nil {
		t.Errorf("linking over a file: %v", err)
	}
	if got := fstest.Read(t, wrapped, "b"); got != "a" {
		t.Errorf("after linking over it b holds %q", got)
	}
	file, err := wrapped.OpenFile("a", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		t.Fatalf("creating over a file: %v", err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if got := fstest.Read(t, wrapped, "a"); got != "" {
		t.Errorf("after creating over it a holds %q", got)
	}
}
