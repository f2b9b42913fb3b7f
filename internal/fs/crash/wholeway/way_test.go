package wholeway

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/fs"
	crashfs "github.com/postilion/postilion/internal/fs/crash"
	"github.com/postilion/postilion/internal/fs/crash/plant"
)

// rounds is how often each test runs; what happens at the same time happens in another order each time. SOAK in the
// environment makes it twenty.
var rounds = flag.Int("rounds", map[bool]int{false: 1, true: 20}[strings.Trim(os.Getenv("SOAK"), "0") != ""], "how often each test runs")

// scenario hands one parcel of each kind in. A client whose session ends without an answer to a parcel tries again, under
// another key: what becomes of the parcel without an answer is not promised, but that it comes at most once.
func scenario(cuts int) crashfs.Scenario[fact] { return scenarioBy(cuts, clock.System{}) }

// scenarioBy is scenario by another clock.
func scenarioBy(cuts int, c clock.Clock) crashfs.Scenario[fact] {
	return crashfs.Scenario[fact]{
		Cuts: cuts, Prepare: prepare, Check: check,
		Run: func(files fs.FS, ack func(fact)) error {
			h := &house{files: files, tell: ack, clock: c}
			if err := h.start(); err != nil {
				return err
			}
			for try, done := 0, 0; done < len(parcels("")); try++ {
				if try > 2000 {
					return errors.Join(errors.New("the server takes no mail again"), h.close())
				}
				done += h.session(parcels(fmt.Sprint("-", try))[done:])
				h.pause(try)
			}
			err := h.drain()
			h.close() // may fail as a crash does: no promise hangs on it
			return err
		},
	}
}

// start opens the house; the operator, or what looks after services, starts it again when a failure of the disk keeps it
// from starting.
func (h *house) start() (err error) {
	for range 40 {
		if err = h.open(); err == nil {
			return nil
		}
	}
	return err
}

// check starts the house again, lets it finish, and holds what is there against what was promised.
func check(files fs.FS, known []fact) error { return checkBy(files, known, clock.System{}) }

func checkBy(files fs.FS, known []fact, c clock.Clock) error {
	seen := &facts{list: append([]fact(nil), known...)}
	if err := finish(files, seen, c); err != nil {
		return err
	}
	return judge(files, seen.list)
}

func finish(files fs.FS, seen *facts, c clock.Clock) error {
	for n := 1; n > 0; {
		h := &house{files: files, tell: seen.add, clock: c}
		if err := h.open(); err != nil {
			return err
		}
		if err := errors.Join(h.drain(), h.close()); err != nil {
			return err
		}
		var err error
		// What was made with the last record may not have been seen before the end.
		if n, err = left(files); err != nil {
			return err
		}
	}
	return nil
}

// judge is the promise of docs/durability.md.
func judge(files fs.FS, seen []fact) error {
	joes, _, err1 := inMaildir(files, "home/Maildir")
	anns, bounces, err2 := inMaildir(files, "mail/ann")
	mbox, err3 := inMbox(files, "home/Mailbox")
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	ran, far, copies, accepted := found{}, found{}, map[fact]bool{}, found{}
	for _, f := range seen {
		switch {
		case strings.HasSuffix(f.key, "in pieces"):
			return fmt.Errorf("%s went out as %s", f.what, f.key)
		case f.what == "accepted":
			accepted[f.key]++
		case f.what == "ran":
			ran[f.key]++
		case !copies[f]: // the same message may go to a host twice, by a window; two messages may not
			copies[f] = true
			far[f.key]++
		}
	}
	var problems []error
	// exactly once where that is promised, and at most once without an acknowledgement
	ways := func(kind string, once, atLeast []found) {
		keys := found{}
		for _, f := range append(append([]found{accepted}, once...), atLeast...) {
			for key := range f {
				if strings.HasPrefix(key, kind+"-") {
					keys[key]++
				}
			}
		}
		for key := range keys {
			for i, f := range once {
				if n := f[key]; n > 1 || n == 0 && accepted[key] > 0 {
					problems = append(problems, fmt.Errorf("%s, acknowledged %d times, came %d times by way %d", key, accepted[key], n, i))
				}
			}
			for i, f := range atLeast {
				if f[key] == 0 && accepted[key] > 0 {
					problems = append(problems, fmt.Errorf("%s was acknowledged and did not come by way %d of those that may repeat", key, i))
				}
			}
		}
	}
	ways("maildir", []found{joes}, nil)
	ways("mbox", nil, []found{mbox})
	ways("all", []found{joes, far}, []found{mbox, ran})
	ways("large", []found{anns, far}, nil)
	ways("bounce", []found{bounces}, nil)
	ways("alias", []found{anns, far}, nil)
	return errors.Join(problems...)
}

func TestAPowerCutAnywhereOnTheWholeWayBreaksNoPromise(t *testing.T) {
	t.Parallel()
	for round := range *rounds {
		s := scenario(700)
		s.Seed = uint64(round)
		crashfs.Explore(t, s)
	}
}

// Nothing is repeated where nothing fails.
func TestTheWholeWayIsGoneOnce(t *testing.T) {
	t.Parallel()
	files := crashfs.New(1)
	seen := &facts{}
	s := scenario(0)
	if err := errors.Join(s.Prepare(files), s.Run(files, seen.add), finish(files, seen, clock.System{}), judge(files, seen.list)); err != nil {
		t.Fatal(err)
	}
	mbox, err := inMbox(files, "home/Mailbox")
	if err != nil || mbox["mbox-0"] != 1 || mbox["all-0"] != 1 {
		t.Errorf("the mailbox holds %v, %v", mbox, err)
	}
	runs := 0
	for _, f := range seen.list {
		if f.what == "ran" {
			runs++
		}
	}
	if runs != 1 {
		t.Errorf("the program ran %d times", runs)
	}
}

func TestThatTestFindsPlantedBugs(t *testing.T) {
	t.Parallel()
	for name, where := range map[string]string{"home": "home", "mail": "mail", "queue": "queue"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := scenario(120)
			s.Wrap = func(files fs.FS) fs.FS {
				return plant.WrapWhere(files, plant.NoSync, func(name string) bool { return strings.HasPrefix(name, where) })
			}
			crashfs.MustFail(t, s)
		})
	}
}

// failures of a disk: each operation of a kind fails, one a run.
func TestAFailureAnywhereOnTheWholeWayBreaksNoPromise(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]crashfs.Fault{
		"an I/O error":              {Kinds: crashfs.OpChanging | crashfs.OpOpen | crashfs.OpLock, Err: syscall.EIO},
		"a full disk":               {Kinds: crashfs.OpCreate | crashfs.OpWrite | crashfs.OpMkdir | crashfs.OpRename | crashfs.OpLink, Err: syscall.ENOSPC},
		"a full disk, for a while":  {Kinds: crashfs.OpCreate | crashfs.OpWrite | crashfs.OpMkdir, Err: syscall.ENOSPC, Times: 12},
		"a failed sync":             {Kinds: crashfs.OpSync | crashfs.OpSyncDir | crashfs.OpSyncAll, Err: syscall.EIO},
		"an I/O error of reading":   {Kinds: crashfs.OpRead | crashfs.OpReadDir | crashfs.OpStat, Err: syscall.EIO},
		"failed syncs, for a while": {Kinds: crashfs.OpSync | crashfs.OpSyncDir | crashfs.OpSyncAll, Err: syscall.EIO, Times: 6},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for round := range *rounds {
				failEach(t, fault, round)
			}
		})
	}
}

// failEach runs the scenario with the fault at one operation after the other, and cuts the power at the end and before.
func failEach(t *testing.T, fault crashfs.Fault, round int) {
	n := operations(t, fault)
	for i := range n {
		fault.Skip = i
		s := scenario(4)
		s.Seed = uint64(round*n + i)
		s.Inject = func(f *crashfs.FS) { f.Inject(fault) }
		if err := crashfs.Find(s); err != nil {
			t.Fatalf("at operation %d of %d: %v", i+1, n, err)
		}
	}
	t.Logf("each of %d operations failed once", n)
}

// operations counts those that a fault would meet.
func operations(t *testing.T, fault crashfs.Fault) (n int) {
	t.Helper()
	s := scenario(1)
	s.Inject = func(f *crashfs.FS) {
		f.Inject(crashfs.Fault{Kinds: fault.Kinds, Match: func(crashfs.Call) bool { n++; return false }})
	}
	if err := crashfs.Find(s); err != nil {
		t.Fatal(err)
	}
	return n
}
