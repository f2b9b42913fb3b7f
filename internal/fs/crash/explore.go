package crashfs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/postilion/postilion/internal/fs"
)

// Scenario is a history of operations and the promise it must keep at every cut. A
// is what the history acknowledges: a message, a key, a removal.
type Scenario[A any] struct {
	Options Options
	Seed    uint64
	// Cuts is how many times power is cut in all, spread evenly over the journal,
	// with several survivals at one place if there are more cuts than operations.
	// 0 cuts four times after each operation.
	Cuts int
	// Prepare makes what is there, and durable, before the journal begins.
	Prepare func(fsys fs.FS) error
	// Run is the history, run once; it may use goroutines, which must end with it. ack
	// tells what was acknowledged, at the moment it is. A cut knows those
	// acknowledgements that came before it.
	Run func(fsys fs.FS, ack func(A)) error
	// Check starts the program again on what survived and tells what promise is broken.
	Check func(fsys fs.FS, acked []A) error
	// Twice cuts power a second time at a random operation of each Check that made any,
	// and checks again: starting again must be safe too.
	Twice bool
	// Wrap, if any, lies between the file system and Run: plant.Wrap for instance.
	Wrap func(fs.FS) fs.FS
	// Inject, if any, is called before Run to make operations fail.
	Inject func(*FS)
}

// Failure tells at which cut a check failed first.
type Failure struct {
	Cut   int // power was cut after this operation
	Ops   int // of this many
	Again int // the operation of the second cut, 0 if there was none
	Seed  uint64
	Acked int      // how many acknowledgements the cut knew
	Last  []string // the last operations before the cut
	Err   error    // what Check said
}

func (f *Failure) Error() string {
	var s strings.Builder
	fmt.Fprintf(&s, "power cut after operation %d of %d, %d acknowledged (seed %d)", f.Cut, f.Ops, f.Acked, f.Seed)
	if f.Again > 0 {
		fmt.Fprintf(&s, ", and again after operation %d of starting again", f.Again)
	}
	fmt.Fprintf(&s, ":\n\t%v\nlast operations:", f.Err)
	for _, op := range f.Last {
		s.WriteString("\n\t" + op)
	}
	return s.String()
}

// Unwrap returns Check's error.
func (f *Failure) Unwrap() error { return f.Err }

// Explore runs a scenario and fails the test at the smallest cut whose check fails.
func Explore[A any](t testing.TB, s Scenario[A]) {
	t.Helper()
	if err := Find(s); err != nil {
		t.Fatal(err)
	}
}

// mustFailTries is how many runs a bug has to be found in. In which order goroutines come to the disk is the machine's
// affair: one's sync may happen to cover what another left out, and such a run shows nothing, whatever is cut.
const mustFailTries = 10

// MustFail runs a scenario with a bug in it and fails the test if no cut of any of several runs, each by a seed of its
// own, finds it: proof that the check can fail. It returns what was found.
func MustFail[A any](t testing.TB, s Scenario[A]) *Failure {
	t.Helper()
	var err error
	for range mustFailTries {
		var found *Failure
		if err = Find(s); errors.As(err, &found) {
			return found
		}
		s.Seed++
	}
	t.Fatalf("no cut finds the planted bug: %v", err)
	return nil
}

// Find runs a scenario and returns a *Failure, or an error of Prepare or Run, or nil.
func Find[A any](s Scenario[A]) error {
	e, err := start(s)
	if err != nil {
		return err
	}
	before := -1
	for i, cut := range e.cuts() {
		err := e.try(cut, i)
		if err == nil {
			before = cut
			continue
		}
		// Cuts may have been left out before this one.
		for earlier := before + 1; earlier < cut; earlier++ {
			if err := e.try(earlier, i); err != nil {
				return err
			}
		}
		return err
	}
	return nil
}

// ExploreFaults runs a scenario again and again, each time with another operation
// that fails with fault (nil is EIO), until each operation of an undisturbed run has
// failed once. Run may return an error then, but what it acknowledged must survive a
// cut at its end, and one cut earlier. Cuts is how many operations fail, spread
// evenly; 0 is all of them.
func ExploreFaults[A any](t testing.TB, s Scenario[A], fault error) {
	t.Helper()
	if err := FindFault(s, fault); err != nil {
		t.Fatal(err)
	}
}

// FindFault is ExploreFaults that returns what Find does.
func FindFault[A any](s Scenario[A], fault error) error {
	undisturbed, err := start(s)
	if err != nil {
		return err
	}
	failing := s.Cuts
	if failing == 0 || failing > undisturbed.ops {
		failing = undisturbed.ops
	}
	for i := range failing {
		n := 1 + i*undisturbed.ops/failing
		again := s
		again.Inject = func(f *FS) {
			if s.Inject != nil {
				s.Inject(f)
			}
			f.FailAt(n, fault)
		}
		e, err := start(again)
		if e == nil {
			return err
		}
		for _, cut := range []int{e.ops, rand.New(rand.NewPCG(s.Seed, uint64(n))).IntN(e.ops + 1)} {
			for survivor := range 4 {
				if err := e.try(cut, survivor); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// explorer is a scenario after its run.
type explorer[A any] struct {
	Scenario[A]
	fs    *FS
	ops   int
	acked []A
	ackAt []int // the length of the journal at each acknowledgement, ascending
}

// start runs the scenario. An error of Run comes with what was run until then.
func start[A any](s Scenario[A]) (*explorer[A], error) {
	e := &explorer[A]{Scenario: s, fs: NewWith(s.Seed, s.Options)}
	if s.Prepare != nil {
		if err := s.Prepare(e.fs); err != nil {
			return nil, fmt.Errorf("preparing: %w", err)
		}
		if err := e.fs.SyncAll(); err != nil {
			return nil, fmt.Errorf("preparing: %w", err)
		}
		e.fs = e.fs.CrashAt(e.fs.Ops(), e.fs.NewRand(0))
	}
	if s.Inject != nil {
		s.Inject(e.fs)
	}
	var under fs.FS = e.fs
	if s.Wrap != nil {
		under = s.Wrap(under)
	}
	var mu sync.Mutex
	err := s.Run(under, func(a A) {
		mu.Lock()
		defer mu.Unlock()
		e.acked, e.ackAt = append(e.acked, a), append(e.ackAt, e.fs.Ops())
	})
	e.ops = e.fs.Ops()
	if err != nil {
		return e, fmt.Errorf("running the scenario: %w", err)
	}
	return e, nil
}

// cuts returns the places at which to cut, ascending, some of them more than once.
func (e *explorer[A]) cuts() []int {
	places := e.ops + 1
	n := e.Cuts
	if n == 0 {
		n = 4 * places
	}
	cuts := make([]int, n)
	for i := range cuts {
		// The first and the last place are among them.
		cuts[i] = int(int64(i) * int64(places) / int64(n))
	}
	if n > 1 {
		cuts[n-1] = e.ops
	}
	return cuts
}

// try cuts once. The number i of the cut decides what survives.
func (e *explorer[A]) try(cut, i int) error {
	rng := rand.New(rand.NewPCG(e.Seed, uint64(cut)<<32|uint64(i)))
	survivor := e.fs.CrashAt(cut, rng)
	known := 0
	for known < len(e.ackAt) && e.ackAt[known] <= cut {
		known++
	}
	acked := e.acked[:known:known]
	failure := &Failure{Cut: cut, Ops: e.ops, Seed: e.Seed, Acked: known}
	if failure.Err = e.Check(survivor, acked); failure.Err != nil {
		failure.Last = last(e.fs, cut)
		return failure
	}
	if ops := survivor.Ops(); e.Twice && ops > 0 {
		failure.Again = rng.IntN(ops + 1)
		if failure.Err = e.Check(survivor.CrashAt(failure.Again, rng), acked); failure.Err != nil {
			failure.Last = append(last(e.fs, cut), last(survivor, failure.Again)...)
			return failure
		}
	}
	return nil
}

// last describes the operations before a cut.
func last(f *FS, cut int) []string {
	const shown = 20
	var ops []string
	for n := max(1, cut-shown+1); n <= cut; n++ {
		ops = append(ops, fmt.Sprintf("%d %s", n, f.Op(n)))
	}
	return ops
}
