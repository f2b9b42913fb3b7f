package crashfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/postilion/postilion/internal/fs"
	crashfs "github.com/postilion/postilion/internal/fs/crash"
	"github.com/postilion/postilion/internal/fs/crash/plant"
)

// The toy is a mail store in small: a body goes to a file and a row into a log
// before it is acknowledged; a delivery goes to a Maildir before its row is
// finished; then the body's file is removed or used again.

// bug is a mistake that stores like this one make.
type bug string

const (
	none                bug = "none"
	noBodySync          bug = "missing body sync"
	noBodyFolderSync    bug = "missing folder sync of the body"
	noLogSync           bug = "acknowledged before the log is synced"
	commitBeforeBody    bug = "row before its body"
	unlinkBeforeCommit  bug = "unlink before commit"
	reuseBeforeRemoval  bug = "reuse of a file before its removal is durable"
	noDeliverySync      bug = "missing sync of the delivery"
	renameBeforeSync    bug = "rename before sync"
	noMaildirFolderSync bug = "missing folder sync of the Maildir"
	finishedTooSoon     bug = "row finished before the barrier"
	tmpRemovedTooSoon   bug = "tmp removed before new is durable"
	notExclusive        bug = "creation is not exclusive"
)

var bugs = []bug{
	noBodySync, noBodyFolderSync, noLogSync, commitBeforeBody, unlinkBeforeCommit, reuseBeforeRemoval, noDeliverySync,
	renameBeforeSync, noMaildirFolderSync, finishedTooSoon, tmpRemovedTooSoon, notExclusive,
}

type toy struct {
	fs   fs.FS
	bug  bug
	mu   sync.Mutex // of log, end and free
	log  fs.File
	end  int64
	free []string // bodies to use again
	sync *fs.Barrier
}

func prepareToy(fsys fs.FS) error {
	for _, dir := range []string{"body", "tmp", "new"} {
		if err := fsys.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	log, err := fsys.OpenFile("log", os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return log.Close()
}

func openToy(fsys fs.FS, b bug) (*toy, error) {
	log, err := fsys.OpenFile("log", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return &toy{fs: fsys, bug: b, log: log, sync: &fs.Barrier{FS: fsys}}, nil
}

// unless does something unless the toy has the bug.
func (t *toy) unless(b bug, do func() error) error {
	if t.bug == b {
		return nil
	}
	return do()
}

// messages keeps what makeMessage made.
var messages sync.Map

// message is the content of a message, which tells its number and whether it is whole.
func message(id int) []byte {
	m, ok := messages.Load(id)
	if !ok {
		m, _ = messages.LoadOrStore(id, makeMessage(id))
	}
	return m.([]byte)
}

func makeMessage(id int) []byte {
	body := fmt.Sprintf("%d\n%s", id, strings.Repeat(fmt.Sprintf("line of %d\n", id), 1+id*97%1000))
	return fmt.Appendf(nil, "%08x\n%s", crc32.ChecksumIEEE([]byte(body)), body)
}

func whole(content []byte, id int) bool { return bytes.Equal(content, message(id)) }

func body(id int) string { return fmt.Sprintf("body/%d", id) }

// enqueue returns when the message is safe.
func (t *toy) enqueue(id int) error {
	if t.bug == commitBeforeBody {
		if err := t.commit("add", id); err != nil {
			return err
		}
	}
	file, err := t.bodyFile(id)
	if err != nil {
		return err
	}
	if _, err := file.Write(message(id)); err != nil {
		return err
	}
	if err := file.Truncate(int64(len(message(id)))); err != nil {
		return err
	}
	if err := t.unless(noBodySync, func() error { return t.sync.Files(file) }); err != nil {
		return err
	}
	if err := t.unless(noBodyFolderSync, func() error { return t.sync.Dirs("body") }); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	return t.unless(commitBeforeBody, func() error { return t.commit("add", id) })
}

// bodyFile opens a new file or one that is free.
func (t *toy) bodyFile(id int) (fs.File, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.free) == 0 {
		return t.fs.OpenFile(body(id), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	}
	old := t.free[0]
	t.free = t.free[1:]
	if err := t.fs.Rename(old, body(id)); err != nil {
		return nil, err
	}
	return t.fs.OpenFile(body(id), os.O_WRONLY, 0)
}

// commit adds a row to the log.
func (t *toy) commit(what string, id int) error {
	t.mu.Lock()
	row := fmt.Sprintf("%s %d", what, id)
	n, err := t.log.WriteAt(fmt.Appendf(nil, "%08x %s\n", crc32.ChecksumIEEE([]byte(row)), row), t.end)
	t.end += int64(n)
	t.mu.Unlock()
	if err != nil {
		return err
	}
	return t.unless(noLogSync, func() error { return t.sync.Files(t.log) })
}

// deliver puts the message into the Maildir and finishes its row.
func (t *toy) deliver(id int) error {
	if t.bug == finishedTooSoon {
		if err := t.finish(id); err != nil {
			return err
		}
	}
	for try := range 100 {
		// Only four names are wished for, so that they meet.
		err := t.deliverAs(fmt.Sprintf("%d.%d", id%4, try), id)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		return t.unless(finishedTooSoon, func() error { return t.finish(id) })
	}
	return errors.New("no name is free")
}

func (t *toy) deliverAs(name string, id int) error {
	tmp, target := path.Join("tmp", name), path.Join("new", name)
	file, err := t.fs.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := file.Write(message(id)); err != nil {
		return err
	}
	if t.bug != noDeliverySync && t.bug != renameBeforeSync {
		if err := t.sync.Files(file); err != nil {
			return err
		}
	}
	move := t.fs.Link // fails where the name is taken
	if t.bug == notExclusive {
		move = t.fs.Rename
	}
	if err := move(tmp, target); err != nil {
		return errors.Join(err, file.Close(), t.fs.Remove(tmp))
	}
	if t.bug == renameBeforeSync {
		if err := t.sync.Files(file); err != nil {
			return err
		}
	}
	if t.bug == tmpRemovedTooSoon {
		return errors.Join(t.fs.Remove(tmp), file.Close())
	}
	if err := t.unless(noMaildirFolderSync, func() error { return t.sync.Dirs("new") }); err != nil {
		return err
	}
	return errors.Join(t.unless(notExclusive, func() error { return t.fs.Remove(tmp) }), file.Close())
}

// finish ends a row and frees its body: every other is removed, the rest used again.
func (t *toy) finish(id int) error {
	if id%2 == 0 {
		if t.bug == unlinkBeforeCommit {
			return errors.Join(t.fs.Remove(body(id)), t.commit("del", id))
		}
		if err := t.commit("del", id); err != nil {
			return err
		}
		return t.fs.Remove(body(id))
	}
	if err := t.unless(reuseBeforeRemoval, func() error { return t.commit("del", id) }); err != nil {
		return err
	}
	t.mu.Lock()
	t.free = append(t.free, body(id))
	t.mu.Unlock()
	if t.bug == reuseBeforeRemoval {
		// The row is finished with the next shared sync, the body is free now.
		return errors.Join(t.enqueue(id+1000), t.commit("del", id))
	}
	return nil
}

// checkToy starts again: every acknowledged message is in the queue or in the
// Maildir, and everything in either is whole.
func checkToy(fsys fs.FS, acked []int) error {
	added, deleted, err := readLog(fsys)
	if err != nil {
		return err
	}
	delivered, err := readMaildir(fsys)
	if err != nil {
		return err
	}
	for id := range added {
		if deleted[id] {
			continue
		}
		if content, err := readFile(fsys, body(id)); err != nil || !whole(content, id) {
			return fmt.Errorf("message %d is in the queue and its body is not whole (%v)", id, err)
		}
	}
	for _, id := range acked {
		if !added[id] {
			return fmt.Errorf("message %d was acknowledged and is not in the queue", id)
		}
		if deleted[id] && !delivered[id] {
			return fmt.Errorf("message %d left the queue and is not in the Maildir", id)
		}
	}
	return nil
}

func readLog(fsys fs.FS) (added, deleted map[int]bool, err error) {
	content, err := readFile(fsys, "log")
	if err != nil {
		return nil, nil, err
	}
	added, deleted = map[int]bool{}, map[int]bool{}
	for line := range strings.Lines(string(content)) {
		var sum uint32
		var what string
		var id int
		if _, err := fmt.Sscanf(line, "%08x %s %d\n", &sum, &what, &id); err != nil ||
			sum != crc32.ChecksumIEEE(fmt.Appendf(nil, "%s %d", what, id)) {
			break // the end, cut or not
		}
		if what == "add" {
			added[id] = true
		} else {
			deleted[id] = true
		}
	}
	return added, deleted, nil
}

func readMaildir(fsys fs.FS) (map[int]bool, error) {
	entries, err := fsys.ReadDir("new")
	if err != nil {
		return nil, err
	}
	delivered := map[int]bool{}
	for _, e := range entries {
		content, err := readFile(fsys, path.Join("new", e.Name()))
		if err != nil {
			return nil, err
		}
		var sum uint32
		var id int
		if _, err := fmt.Sscanf(string(content), "%08x\n%d\n", &sum, &id); err != nil || !whole(content, id) {
			return nil, fmt.Errorf("half a message is visible in the Maildir: %s", e.Name())
		}
		delivered[id] = true
	}
	return delivered, nil
}

func readFile(fsys fs.FS, name string) ([]byte, error) {
	file, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(file)
	return content, errors.Join(err, file.Close())
}

// toyScenario takes messages in, one after another, and delivers each some time later.
func toyScenario(b bug, messages, cuts int) crashfs.Scenario[int] {
	return crashfs.Scenario[int]{
		Prepare: prepareToy,
		Run: func(fsys fs.FS, ack func(int)) error {
			t, err := openToy(fsys, b)
			if err != nil {
				return err
			}
			const behind = 5
			for id := range messages + behind {
				if id < messages {
					if err := t.enqueue(id); err != nil {
						return err
					}
					ack(id)
				}
				if id >= behind {
					if err := t.deliver(id - behind); err != nil {
						return err
					}
				}
			}
			return nil
		},
		Check: checkToy,
		Cuts:  cuts,
		Seed:  1,
	}
}

func TestTheCorrectToyPassesTenThousandCuts(t *testing.T) {
	t.Parallel()
	crashfs.Explore(t, toyScenario(none, 30, 10_000))
}

func TestTheCorrectToyPassesOnExt4(t *testing.T) {
	t.Parallel()
	s := toyScenario(none, 20, 2000)
	s.Options.Ext4 = true
	crashfs.Explore(t, s)
}

func TestEachBugOfTheToyIsFound(t *testing.T) {
	t.Parallel()
	for _, b := range bugs {
		t.Run(string(b), func(t *testing.T) {
			t.Parallel()
			found := crashfs.MustFail(t, toyScenario(b, 20, 4000))
			t.Logf("cut %d of %d: %v", found.Cut, found.Ops, found.Err)
		})
	}
}

func TestEachPlantedBugIsFound(t *testing.T) {
	t.Parallel()
	in := func(dir string) func(string) bool {
		return func(name string) bool { return name == dir || path.Dir(name) == dir }
	}
	for name, wrap := range map[string]func(fs.FS) fs.FS{
		"no file sync":      func(f fs.FS) fs.FS { return plant.Wrap(f, plant.NoFileSync) },
		"no body sync":      func(f fs.FS) fs.FS { return plant.WrapWhere(f, plant.NoFileSync, in("body")) },
		"no delivery sync":  func(f fs.FS) fs.FS { return plant.WrapWhere(f, plant.NoFileSync, in("tmp")) },
		"no log sync":       func(f fs.FS) fs.FS { return plant.WrapWhere(f, plant.NoFileSync, in("log")) },
		"no folder sync":    func(f fs.FS) fs.FS { return plant.Wrap(f, plant.NoDirSync) },
		"body not synced":   func(f fs.FS) fs.FS { return plant.WrapWhere(f, plant.NoDirSync, in("body")) },
		"new not synced":    func(f fs.FS) fs.FS { return plant.WrapWhere(f, plant.NoDirSync, in("new")) },
		"sync after rename": func(f fs.FS) fs.FS { return plant.WrapWhere(f, plant.SyncAfterRename, in("tmp")) },
		"not exclusive":     func(f fs.FS) fs.FS { return plant.Wrap(f, plant.NotExclusive|plant.LinkReplaces) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := toyScenario(none, 20, 4000)
			s.Wrap = wrap
			found := crashfs.MustFail(t, s)
			t.Logf("cut %d of %d: %v", found.Cut, found.Ops, found.Err)
		})
	}
}

// concurrentToy takes messages in by many at once, who share their syncs.
func concurrentToy(eachUpTo int, wrap func(fs.FS) fs.FS) crashfs.Scenario[int] {
	return crashfs.Scenario[int]{
		Prepare: prepareToy,
		Run: func(fsys fs.FS, ack func(int)) error {
			t, err := openToy(fsys, none)
			if err != nil {
				return err
			}
			t.sync.EachUpTo = eachUpTo
			errs := make([]error, 40)
			var wg sync.WaitGroup
			for id := range errs {
				wg.Go(func() {
					if errs[id] = t.enqueue(id); errs[id] == nil {
						ack(id)
						errs[id] = t.deliver(id)
					}
				})
			}
			wg.Wait()
			return errors.Join(errs...)
		},
		Check: checkToy,
		Cuts:  1500,
		Wrap:  wrap,
	}
}

// An error is no promise: what was acknowledged before is safe, whichever operation
// fails, and a sync that failed is not asked again.
func TestTheCorrectToyPassesAnErrorAtEachOperation(t *testing.T) {
	t.Parallel()
	for _, err := range []error{syscall.EIO, syscall.ENOSPC} {
		crashfs.ExploreFaults(t, toyScenario(none, 12, 0), err)
	}
}

func TestAnErrorTakenForSuccessIsFound(t *testing.T) {
	t.Parallel()
	s := toyScenario(none, 12, 0)
	s.Wrap = func(f fs.FS) fs.FS { return deaf{f} }
	var found *crashfs.Failure
	if err := crashfs.FindFault(s, nil); !errors.As(err, &found) {
		t.Fatalf("a sync asked again until it succeeds is not found: %v", err)
	}
	t.Logf("cut %d of %d: %v", found.Cut, found.Ops, found.Err)
}

// deaf asks for each sync again when it failed, and takes the second answer.
type deaf struct{ fs.FS }

type deafFile struct{ fs.File }

func (d deaf) OpenFile(name string, flag int, perm fs.FileMode) (fs.File, error) {
	f, err := d.FS.OpenFile(name, flag, perm)
	return deafFile{f}, err
}

func (f deafFile) Sync() error {
	if f.File.Sync() == nil {
		return nil
	}
	return f.File.Sync()
}

func TestConcurrentHistoriesAreCutToo(t *testing.T) {
	t.Parallel()
	crashfs.Explore(t, concurrentToy(0, nil))
	crashfs.Explore(t, concurrentToy(-1, nil))
	nfs := concurrentToy(-1, nil)
	nfs.Inject = func(f *crashfs.FS) {
		f.Inject(crashfs.Fault{Kinds: crashfs.OpSyncAll, Times: -1, Err: errors.ErrUnsupported})
	}
	crashfs.Explore(t, nfs)
	crashfs.MustFail(t, concurrentToy(-1, func(f fs.FS) fs.FS { return plant.Wrap(f, plant.NoSyncAll) }))
}
