package maildir_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/fs"
	crashfs "github.com/postilion/postilion/internal/fs/crash"
	"github.com/postilion/postilion/internal/fs/crash/plant"
	"github.com/postilion/postilion/internal/mailbox/maildir"
)

// The scenario: four writers deliver messages to two recipients each, one of them a
// folder, while a reader removes what it has read. Acknowledged deliveries are there,
// whole and once; acknowledged removals are gone; nothing half is ever visible; and
// delivering everything again makes no second copy.

const (
	crashWriters  = 4
	crashMessages = 3
	removed       = crashMessages - 1 // each writer's last message is removed again
)

// fact is what was acknowledged: message m of a writer delivered to N, or removed.
type fact struct {
	writer, m, n int
	removed      bool
}

// crashBody is the content of a message: longer than a block, and told apart from any other.
func crashBody(writer, m int) string { return crashBodies[writer][m] }

var crashBodies = func() (all [crashWriters][crashMessages]string) {
	for w := range all {
		for m := range all[w] {
			all[w][m] = "Subject: x\n\n" + strings.Repeat(fmt.Sprintf("message %d of writer %d\n", m, w), 180+w*30)
		}
	}
	return all
}()

func crashDeliveries(writer, m int, again bool) []maildir.Delivery {
	id := message(byte(writer*16 + m))
	box := fmt.Sprintf("example.test/user%d", writer%2)
	return []maildir.Delivery{
		{Mailbox: box, Message: id, N: 0, Again: again, Prefix: []byte("Delivered-To: 0\n")},
		{Mailbox: "example.test/shared", Folder: "Lists", Message: id, N: 1, Again: again, Prefix: []byte("Delivered-To: 1\n")},
	}
}

// crashBoxes are the folders of the scenario.
var crashBoxes = []string{"example.test/user0", "example.test/user1", "example.test/shared", "example.test/shared/.Lists"}

func crashStore(files fs.FS, link bool, each int) *maildir.Store {
	return maildir.New(maildir.Options{Host: "h", Link: link},
		maildir.Deps{FS: files, Barrier: &fs.Barrier{FS: files, EachUpTo: each}, Clock: clock.NewFake(noon)})
}

func crashScenario(seed uint64, cuts int, link bool, each int) crashfs.Scenario[fact] {
	return crashfs.Scenario[fact]{
		Seed: seed, Cuts: cuts, Twice: true, Wrap: func(files fs.FS) fs.FS { return yielding{files} },
		Prepare: func(files fs.FS) error {
			return errors.Join(crashStore(files, link, each).Create("example.test/shared", "Lists"), files.SyncAll())
		},
		Run: func(files fs.FS, ack func(fact)) error {
			s := crashStore(files, link, each)
			errs := make([]error, crashWriters)
			var wg sync.WaitGroup
			for w := range crashWriters {
				wg.Go(func() { errs[w] = crashWriter(s, w, ack) })
			}
			wg.Wait()
			return errors.Join(errs...)
		},
		Check: func(files fs.FS, acked []fact) error {
			s := crashStore(files, link, each)
			found, err := survey(files)
			if err != nil {
				return err
			}
			gone := map[fact]bool{}
			for _, f := range acked {
				f.removed, gone[fact{f.writer, f.m, f.n, false}] = false, f.removed || gone[fact{f.writer, f.m, f.n, false}]
				if f.m != removed && found[f] != 1 {
					return fmt.Errorf("%+v was acknowledged and is there %d times", f, found[f])
				}
				if gone[f] && found[f] != 0 {
					return fmt.Errorf("%+v was removed and is there again", f)
				}
			}
			return redeliver(s, files)
		},
	}
}

// yielding lets the writers take turns at each operation.
type yielding struct{ fs.FS }

func (y yielding) OpenFile(name string, flag int, perm fs.FileMode) (fs.File, error) {
	runtime.Gosched()
	return y.FS.OpenFile(name, flag, perm)
}

func (y yielding) Rename(from, to string) error { runtime.Gosched(); return y.FS.Rename(from, to) }
func (y yielding) Link(from, to string) error   { runtime.Gosched(); return y.FS.Link(from, to) }
func (y yielding) SyncDir(name string) error    { runtime.Gosched(); return y.FS.SyncDir(name) }
func (y yielding) SyncAll() error               { runtime.Gosched(); return y.FS.SyncAll() }

func crashWriter(s *maildir.Store, w int, ack func(fact)) error {
	for m := range crashMessages {
		for i, o := range s.Deliver(context.Background(), text(crashBody(w, m)), crashDeliveries(w, m, false)) {
			if o.Err != nil {
				return o.Err
			}
			ack(fact{w, m, i, false})
		}
	}
	box := fmt.Sprintf("example.test/user%d", w%2)
	list, err := s.Scan(box)
	if err != nil {
		return err
	}
	var c maildir.Change
	for i := range list {
		switch list[i].MessageID() {
		case message(byte(w*16 + removed)):
			c.Remove = append(c.Remove, &list[i])
		case message(byte(w * 16)):
			c.Seen = append(c.Seen, &list[i])
		}
	}
	if _, err := s.Apply(box, c); err != nil {
		return err
	}
	ack(fact{w, removed, 0, true})
	return nil
}

// survey counts the messages that are visible, and fails on one that is not whole.
func survey(files fs.FS) (map[fact]int, error) {
	found := map[fact]int{}
	for _, box := range crashBoxes {
		unique := map[string]bool{} // a message may have both names of a move: readers list it once
		for _, sub := range []string{"new", "cur"} {
			list, err := files.ReadDir(path.Join(box, sub))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			for _, e := range list {
				f, err := whole(files, path.Join(box, sub, e.Name()))
				if err != nil {
					return nil, err
				}
				if u := maildir.Unique(e.Name()); !unique[u] {
					unique[u] = true
					found[f]++
				}
			}
		}
	}
	return found, nil
}

// whole tells which message a file holds.
func whole(files fs.FS, name string) (fact, error) {
	f, err := files.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return fact{}, err
	}
	defer f.Close()
	buf := make([]byte, 16<<10)
	n, err := io.ReadFull(f, buf)
	if err != io.ErrUnexpectedEOF && err != io.EOF {
		return fact{}, fmt.Errorf("%s: %d bytes read, %w", name, n, err)
	}
	content := string(buf[:n])
	for w := range crashWriters {
		for m := range crashMessages {
			rest, ok := strings.CutSuffix(content, crashBody(w, m))
			if number := strings.TrimSuffix(strings.TrimPrefix(rest, "Delivered-To: "), "\n"); ok && (number == "0" || number == "1") {
				return fact{w, m, int(number[0] - '0'), false}, nil
			}
		}
	}
	return fact{}, fmt.Errorf("%s is visible and not whole: %d bytes", name, n)
}

// redeliver tries every delivery again, as after a restart.
func redeliver(s *maildir.Store, files fs.FS) error {
	for w := range crashWriters {
		for m := range removed {
			for _, o := range s.Deliver(context.Background(), text(crashBody(w, m)), crashDeliveries(w, m, true)) {
				if o.Err != nil {
					return fmt.Errorf("delivered again: %w", o.Err)
				}
			}
		}
	}
	found, err := survey(files)
	if err != nil {
		return err
	}
	for w := range crashWriters {
		for m := range removed {
			for n := range 2 {
				if got := found[fact{w, m, n, false}]; got != 1 {
					return fmt.Errorf("message %d of writer %d for recipient %d is there %d times after delivering again", m, w, n, got)
				}
			}
		}
	}
	return nil
}

func TestAPowerCutAnywhereLosesNothingAndDuplicatesNothing(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]struct {
		link bool
		each int
	}{
		"one sync for all":  {false, 1},
		"a sync for each":   {false, 1000},
		"by link, one sync": {true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			crashfs.Explore(t, crashScenario(1, 1000, v.link, v.each))
		})
	}
}

func TestTheCrashTestFindsPlantedBugs(t *testing.T) {
	t.Parallel()
	for name, bug := range map[string]plant.Bug{
		"no sync of files":    plant.NoFileSync,
		"no sync of folders":  plant.NoDirSync,
		"rename before sync":  plant.SyncAfterRename,
		"no sync of anything": plant.NoSync,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := crashScenario(2, 1000, false, 1000)
			s.Wrap = func(files fs.FS) fs.FS { return yielding{plant.Wrap(files, bug)} }
			crashfs.MustFail(t, s)
		})
	}
}

func TestADiskThatFailsOnceLosesAndDuplicatesNothing(t *testing.T) {
	t.Parallel()
	for at := 0; ; at++ {
		files := crashfs.New(uint64(at))
		s := crashStore(files, false, 1)
		if err := errors.Join(s.Create("example.test/shared", "Lists"), files.SyncAll()); err != nil {
			t.Fatal(err)
		}
		began := files.Ops()
		files.FailAt(began+at, nil)
		for w := range crashWriters {
			out := s.Deliver(context.Background(), text(crashBody(w, 0)), crashDeliveries(w, 0, false))
			found, err := survey(files)
			if err != nil {
				t.Fatalf("operation %d failed: %v", at, err)
			}
			for n, o := range out {
				if o.Err == nil && found[fact{w, 0, n, false}] != 1 {
					t.Fatalf("operation %d failed: message of writer %d for %d was acknowledged and is not there", at, w, n)
				}
			}
		}
		if at >= files.Ops()-began {
			return // all were tried
		}
		if err := redeliver(s, files); err != nil {
			t.Fatalf("operation %d failed: %v", at, err)
		}
	}
}
