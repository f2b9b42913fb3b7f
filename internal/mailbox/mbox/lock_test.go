package mbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/fs"
	crashfs "github.com/postilion/postilion/internal/fs/crash"
	"github.com/postilion/postilion/internal/fs/crash/plant"
	osfs "github.com/postilion/postilion/internal/fs/os"
)

// strange is a tree as another file system has it: far is of a server's disk, hidden of locks that cannot be read.
type strange struct {
	fs.FS
	far, hidden, stuck bool
}

func (s strange) OpenFile(name string, flag int, perm fs.FileMode) (fs.File, error) {
	if s.hidden && flag&os.O_CREATE == 0 {
		return nil, &os.PathError{Op: "open", Path: name, Err: syscall.EACCES}
	}
	f, err := s.FS.OpenFile(name, flag, perm)
	if s.far && err == nil {
		f = struct{ fs.File }{f}
	}
	return f, err
}

func (s strange) Remove(name string) error {
	if s.stuck {
		return &os.PathError{Op: "remove", Path: name, Err: syscall.EPERM}
	}
	return s.FS.Remove(name)
}

func newTree(t *testing.T) (fs.FS, string) {
	t.Helper()
	dir := t.TempDir()
	f, err := osfs.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	return f, dir
}

func appendTo(s *Store) error {
	return s.Append(context.Background(), "box", []byte("From a\n"), strings.NewReader("x\n"))
}

// Every lock that may be found, and when it gives way: 0 is at once, below 0 not within the wait of 30 seconds.
func TestALockGivesWayWhenItsMakerIsKnownToBeGone(t *testing.T) {
	t.Parallel()
	const (
		never = time.Duration(-1)
		ours  = lockMode
	)
	self := Process{PID: 100, Boot: "boot", PIDs: "pid:[1]", Start: "500", Started: func(pid int) (string, bool) {
		start := map[int]string{100: "500", 200: "600"}[pid]
		return start, pid != 300
	}}
	for name, c := range map[string]struct {
		lock  string
		mode  os.FileMode
		tree  strange
		after time.Duration
	}{
		"ours and empty, from before this process":              {"", ours | os.ModeSticky, strange{}, 0},
		"ours and empty, from before this process, on NFS":      {"", ours | os.ModeSticky, strange{far: true}, emptyFor},
		"another program's and empty, from before this process": {"", 0o600 | os.ModeSticky, strange{}, never},
		"its maker has ended":                                   {"150 boot pid:[1] 600 x\n", ours, strange{}, 0},
		"its maker has ended, on a server's disk":               {"150 boot pid:[1] 600 x\n", ours, strange{far: true}, 0},
		"another process has its maker's pid":                   {"200 boot pid:[1] 599 x\n", ours, strange{}, 0},
		"its maker runs":                                        {"200 boot pid:[1] 600 x\n", ours, strange{}, never},
		"nobody can tell of its maker":                          {"300 boot pid:[1] 600 x\n", ours, strange{}, never},
		"its maker is this process, another store":              {"100 boot pid:[1] 500 x\n", ours, strange{}, never},
		"this store's, which could not remove it":               {"100 boot pid:[1] 500 mark\n", ours, strange{}, 0},
		"from before a reboot":                                  {"200 before pid:[1] 600 x\n", ours, strange{}, 0},
		"another host's, or from before, on NFS":                {"200 another pid:[1] 600 x\n", ours, strange{far: true}, never},
		"another container's":                                   {"150 boot pid:[2] 600 x\n", ours, strange{}, never},
		"ours and empty: its maker was killed":                  {"", ours, strange{}, emptyFor},
		"ours and zeros: what a power cut may leave":            {string(make([]byte, 80)), ours, strange{}, emptyFor},
		"ours and empty, on a server's disk":                    {"", ours, strange{far: true}, emptyFor},
		"ours, and unreadable":                                  {"", ours, strange{hidden: true}, never},
		"empty, another program's":                              {"", 0o444, strange{}, never},
		"empty, postfix's":                                      {"", 0, strange{}, never},
		"another program's with a pid":                          {"150\n", 0o644, strange{}, never},
		"procmail's":                                            {"0", 0o444, strange{}, never},
		"dovecot's":                                             {"150:mx.here.test", 0o600, strange{}, never},
		"a process group":                                       {"-1 boot pid:[1] 600 x\n", ours, strange{}, never},
		"no number":                                             {"x boot pid:[1] 600 x\n", ours, strange{}, never},
		"endless":                                               {strings.Repeat("1", 1000), ours, strange{}, never},
		"gone, and not ours to remove":                          {"150 boot pid:[1] 600 x\n", ours, strange{stuck: true}, 0},
	} {
		files, dir := newTree(t)
		if err := os.WriteFile(filepath.Join(dir, "box.lock"), []byte(c.lock), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, "box.lock"), c.mode.Perm()); err != nil {
			t.Fatal(err)
		}
		self := self
		if c.mode&os.ModeSticky != 0 { // in this table: this process is younger
			self.Since = time.Now().Add(time.Second)
		}
		c.tree.FS = files
		if probe, err := files.OpenFile("box.lock", os.O_RDONLY, 0); (strings.Contains(name, "before")) && !c.tree.far && (err != nil || !osfs.OnLocalDisk(probe)) {
			continue // the tests' own disk is none that is known to be local
		}
		synctest.Test(t, func(t *testing.T) {
			s := &Store{FS: c.tree, Self: self, mark: "mark", StaleLock: 100 * 365 * 24 * time.Hour}
			began := time.Now()
			err := appendTo(s)
			took := time.Since(began)
			switch {
			case c.after == never:
				if !errors.Is(err, fs.ErrLocked) {
					t.Errorf("%s: %v after %v", name, err, took)
				}
			case err != nil || took < c.after || took > c.after+time.Second:
				t.Errorf("%s: %v after %v", name, err, took)
			}
		})
		_, err := os.Lstat(filepath.Join(dir, "box.lock"))
		if left := err == nil; left != (c.after == never || c.tree.stuck) {
			t.Errorf("%s: the lock is there: %v", name, left)
		}
	}
}

// The system's own word, not a test's.
func TestALockOfAProcessThatWasKilledHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	self := ThisProcess()
	if self.Boot == "" {
		t.Skip("skipped: the system does not tell of its processes")
	}
	if m, ok := parseMaker(self.text("x")); !ok || !self.same(m) || self.fate(m, true) != alive {
		t.Errorf("%q is not known again", self.text("x"))
	}
	other := exec.Command("sleep", "600")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer other.Wait()
	defer other.Process.Kill()
	files, dir := newTree(t)
	maker := self
	maker.PID = other.Process.Pid
	maker.Start, _ = started(maker.PID)
	if err := os.WriteFile(filepath.Join(dir, "box.lock"), []byte(maker.text("x")), lockMode); err != nil {
		t.Fatal(err)
	}
	s := &Store{FS: files, Self: self, LockWait: 30 * time.Millisecond}
	if err := appendTo(s); !errors.Is(err, fs.ErrLocked) {
		t.Errorf("while its maker runs: %v", err)
	}
	other.Process.Kill()
	other.Wait()
	if err := appendTo(s); err != nil {
		t.Errorf("after its maker was killed: %v", err)
	}
}

// A clock that goes back makes locks that were left behind younger than nothing.
func TestALockFromTheFutureGivesWayWhenItHasBeenSeenForLong(t *testing.T) {
	t.Parallel()
	files, dir := newTree(t)
	name := filepath.Join(dir, "box.lock")
	future := time.Now().Add(1000 * time.Hour)
	if err := errors.Join(os.WriteFile(name, []byte("1\n"), 0o600), os.Chtimes(name, future, future)); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s := &Store{FS: files}
		began := time.Now()
		for errors.Is(appendTo(s), fs.ErrLocked) {
			time.Sleep(time.Minute)
		}
		if took := time.Since(began); took < 5*time.Minute || took > 8*time.Minute {
			t.Errorf("it gave way after %v", took)
		}
	})
}

// Nor does one that is set ahead make a lock old that another program has just made.
func TestAClockThatIsSetAheadMakesNoLockOld(t *testing.T) {
	t.Parallel()
	files, dir := newTree(t)
	name := filepath.Join(dir, "box.lock")
	synctest.Test(t, func(t *testing.T) {
		system := clock.NewFake(time.Now())
		s := &Store{FS: files, Clock: clock.NewSteady(system), LockWait: time.Minute}
		if err := errors.Join(os.WriteFile(name, []byte("1\n"), 0o600), os.Chtimes(name, system.Now(), system.Now())); err != nil {
			t.Fatal(err)
		}
		system.Advance(1000 * time.Hour)
		if err := appendTo(s); !errors.Is(err, fs.ErrLocked) {
			t.Errorf("the lock did not keep it away: %v", err)
		}
	})
}

// While a message is appended its lock is nobody's to take, this store's other deliveries among them.
func TestALockThatIsHeldIsNotTakenForLeftBehind(t *testing.T) {
	t.Parallel()
	files, dir := newTree(t)
	s := &Store{FS: files, Self: ThisProcess(), LockWait: 20 * time.Millisecond, StaleLock: time.Hour}
	looked := false
	err := s.Append(context.Background(), "box", []byte("From a\n"), readFunc(func([]byte) (int, error) {
		looked = true
		before, _ := os.ReadFile(filepath.Join(dir, "box.lock"))
		if err := appendTo(s); !errors.Is(err, fs.ErrLocked) {
			t.Errorf("a second delivery: %v", err)
		}
		if now, err := os.ReadFile(filepath.Join(dir, "box.lock")); err != nil || len(now) == 0 || string(now) != string(before) {
			t.Errorf("the lock became %q, %v", now, err)
		}
		return 0, io.EOF
	}))
	if err != nil || !looked {
		t.Error(err)
	}
	if list, _ := os.ReadDir(dir); len(list) != 1 {
		t.Errorf("left behind: %v", list)
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// A lock that cannot be made for another reason than its folder's rights is no leave to go without.
func TestALockThatCannotBeMadeDefersTheMessage(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{syscall.ENOSPC, syscall.EIO, syscall.EMFILE} {
		files := crashfs.New(1)
		s := &Store{FS: files}
		if err := appendTo(s); err != nil {
			t.Fatal(err)
		}
		files.Inject(crashfs.Fault{Kinds: crashfs.OpChanging | crashfs.OpOpen, Err: cause, Match: func(c crashfs.Call) bool { return c.Name == "box.lock" }})
		if e, ok := errors.AsType[*Error](appendTo(s)); !ok || e.Op != "write" || !errors.Is(e, cause) {
			t.Errorf("%v: %v", cause, e)
		}
	}
}

// A program that asks for no lock may append at the same time. What it wrote is not cut off with ours.
func TestAFailureCutsNobodyElsesMailOff(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]bool{"alone": true, "with another": false} {
		files, dir := newTree(t)
		box := filepath.Join(dir, "box")
		if err := os.WriteFile(box, []byte("From old\n\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		other := readFunc(func([]byte) (int, error) {
			if !cut {
				f, err := os.OpenFile(box, os.O_WRONLY|os.O_APPEND, 0)
				if err != nil {
					return 0, err
				}
				defer f.Close()
				fmt.Fprint(f, "From other\n\nits mail\n\n")
			}
			return 0, io.EOF
		})
		body := io.MultiReader(strings.NewReader(strings.Repeat("x", 200_000)), other, iotest.ErrReader(syscall.EIO))
		if err := (&Store{FS: files}).Append(t.Context(), "box", []byte("From a\n"), body); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v", name, err)
		}
		text, err := os.ReadFile(box)
		if err != nil || strings.Contains(string(text), "its mail") == cut || cut && string(text) != "From old\n\n" {
			t.Errorf("%s: %d bytes are left, %v", name, len(text), err)
		}
	}
}

// Whoever made the mailbox may have been killed between the sync of the file and that of its folder: the next
// delivery has no promise without the name.
func TestANameThatNobodySyncedIsSynced(t *testing.T) {
	t.Parallel()
	crashfs.Explore(t, crashfs.Scenario[int]{
		Cuts: 300,
		Run: func(files fs.FS, ack func(int)) error {
			killed := &Store{FS: plant.Wrap(files, plant.NoDirSync)}
			if err := appendTo(killed); err != nil {
				return err
			}
			s := &Store{FS: files}
			for i := range 2 {
				if err := s.Append(context.Background(), "box", []byte("From a\n"), strings.NewReader(fmt.Sprintf("number %d\n", i))); err != nil {
					return err
				}
				ack(i)
			}
			return nil
		},
		Check: func(files fs.FS, acked []int) error {
			text := []byte{}
			if f, err := files.OpenFile("box", os.O_RDONLY, 0); err == nil {
				text, _ = io.ReadAll(f)
				f.Close()
			}
			for _, i := range acked {
				if !strings.Contains(string(text), fmt.Sprintf("number %d\n", i)) {
					return fmt.Errorf("message %d is lost", i)
				}
			}
			return nil
		},
	})
}

// A caller that is gone, as when the queue was killed, has its message appended by nobody: it will come again.
func TestNothingIsAppendedForACallerThatIsGone(t *testing.T) {
	t.Parallel()
	files, dir := newTree(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 { // whether the turn or the end is seen first is left to chance
		if err := (&Store{FS: files}).Append(ctx, "box", []byte("From a\n"), strings.NewReader("x\n")); !errors.Is(err, context.Canceled) {
			t.Errorf("have %v", err)
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, "box")); len(text) > 0 {
		t.Errorf("the mailbox holds %q, %v", text, err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "box.lock")); err == nil {
		t.Error("its lock was left behind")
	}
}

// Deliveries of one process go in the order in which they came, and none looks for the locks of files meanwhile.
func TestDeliveriesIntoOneMailboxTakeTurns(t *testing.T) {
	t.Parallel()
	files, dir := newTree(t)
	synctest.Test(t, func(t *testing.T) { takeTurns(t, files, dir) })
}

func takeTurns(t *testing.T, files fs.FS, dir string) {
	s := &Store{FS: files}
	const many = 5
	first := make(chan struct{})
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			body := io.MultiReader(readFunc(func([]byte) (int, error) { <-first; return 0, io.EOF }), strings.NewReader(fmt.Sprintf("number %d\n", i)))
			if err := s.Append(context.Background(), "box", []byte("From a\n"), body); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
	}
	close(first)
	all.Wait()
	text, err := os.ReadFile(filepath.Join(dir, "box"))
	if err != nil {
		t.Fatal(err)
	}
	last := -1
	for i := range many {
		at := strings.Index(string(text), fmt.Sprintf("number %d\n", i))
		if at <= last {
			t.Errorf("number %d is at %d, after %d", i, at, last)
		}
		last = at
	}
	if len(s.turns) != 0 {
		t.Errorf("%d turns are remembered", len(s.turns))
	}
}
