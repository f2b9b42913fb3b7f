package crashfs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/fs"
)

// appendLines writes lines to one file, each by one operation and synced by a second.
func appendLines(n int) func(f fs.FS, ack func(int)) error {
	return func(f fs.FS, ack func(int)) error {
		file, err := f.OpenFile("log", os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		for i := range n {
			if _, err := fmt.Fprintf(file, "%04d\n", i); err != nil {
				return err
			}
			if err := file.Sync(); err != nil {
				return err
			}
			ack(i)
		}
		return file.Close()
	}
}

func makeLog(f fs.FS) error {
	file, err := f.OpenFile("log", os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return file.Close()
}

func checkLines(f fs.FS, acked []int) error {
	text := content(f.(*FS), "log")
	for _, i := range acked {
		if !strings.Contains(text, fmt.Sprintf("%04d\n", i)) {
			return fmt.Errorf("line %d is lost", i)
		}
	}
	return nil
}

func TestAcknowledgementsAreKnownFromTheirOperationOn(t *testing.T) {
	t.Parallel()
	known := map[int]int{} // by cut, which Check cannot see: the cuts come in order
	cut := 0
	Explore(t, Scenario[int]{
		Prepare: makeLog,
		Run:     appendLines(3),
		Cuts:    7, // after 0 to 6 operations
		Check: func(_ fs.FS, acked []int) error {
			known[cut] = len(acked)
			cut++
			return nil
		},
	})
	want := map[int]int{0: 0, 1: 0, 2: 1, 3: 1, 4: 2, 5: 2, 6: 3}
	for cut, n := range want {
		if known[cut] != n {
			t.Errorf("a cut after operation %d knows %d acknowledgements, want %d", cut, known[cut], n)
		}
	}
}

func TestTheSmallestFailingCutIsReported(t *testing.T) {
	t.Parallel()
	s := Scenario[int]{
		Prepare: makeLog,
		Run:     appendLines(500),
		Cuts:    10, // far apart
		Check: func(f fs.FS, acked []int) error {
			if len(acked) >= 123 {
				return errors.New("too many")
			}
			return checkLines(f, acked)
		},
	}
	found := MustFail(t, s)
	if found.Cut != 246 || found.Ops != 1000 || found.Acked != 123 {
		t.Errorf("found %v", found)
	}
	if last := found.Last; len(last) != 20 || last[19] != "246 sync log" || last[18] != "245 write log (5 bytes at 610)" {
		t.Errorf("the last operations are %q", last)
	}
	for _, part := range []string{"after operation 246 of 1000", "123 acknowledged", "too many", "246 sync log"} {
		if !strings.Contains(found.Error(), part) {
			t.Errorf("the report does not tell %q:\n%v", part, found)
		}
	}
}

func TestCutsAreSpreadOverTheWholeJournal(t *testing.T) {
	t.Parallel()
	for cuts, want := range map[int][]int{
		0:  {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3},
		1:  {0},
		2:  {0, 3},
		4:  {0, 1, 2, 3},
		10: {0, 0, 0, 1, 1, 2, 2, 2, 3, 3},
	} {
		e := &explorer[int]{Scenario: Scenario[int]{Cuts: cuts}, ops: 3}
		if got := e.cuts(); !slices.Equal(got, want) {
			t.Errorf("%d cuts of 3 operations are after %v, want %v", cuts, got, want)
		}
	}
}

// A program that is safe the first time may not survive a cut while it starts again.
func TestASecondCutFindsBugsOfStartingAgain(t *testing.T) {
	t.Parallel()
	s := Scenario[int]{
		Prepare: makeLog,
		Run:     appendLines(20),
		Check: func(f fs.FS, acked []int) error {
			if err := checkLines(f, acked); err != nil {
				return err
			}
			// "Compacts" the log by writing it again in its place.
			text := content(f.(*FS), "log")
			file, err := f.OpenFile("log", os.O_WRONLY|os.O_TRUNC, 0)
			if err != nil {
				return err
			}
			_, err = file.Write([]byte(text))
			return errors.Join(err, file.Sync(), file.Close())
		},
	}
	Explore(t, s)
	s.Twice = true
	if found := MustFail(t, s); found.Again == 0 {
		t.Errorf("found at the first cut: %v", found)
	}
}

func TestErrorsOfTheScenarioAreNoFindings(t *testing.T) {
	t.Parallel()
	s := Scenario[int]{Run: appendLines(1), Check: checkLines} // nobody made the log
	var found *Failure
	if err := Find(s); !errors.Is(err, fs.ErrNotExist) || errors.As(err, &found) {
		t.Errorf("a scenario that cannot run gives %v", err)
	}
	s.Prepare = makeLog
	s.Inject = func(f *FS) { f.FailAt(2, nil) }
	if err := Find(s); err == nil || errors.As(err, &found) {
		t.Errorf("a scenario whose sync fails gives %v", err)
	}
}

// Ten thousand cuts of a journal with a thousand files take less than a second. Work
// that grew with the square of the journal would take minutes.
func BenchmarkTenThousandCuts(b *testing.B) {
	f := New(1)
	body := []byte(strings.Repeat("x", 10_000))
	for i := range 2000 {
		name := fmt.Sprintf("%d", i%1000)
		file, err := f.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			b.Fatal(err)
		}
		_, err = file.Write(body)
		if err := errors.Join(err, file.Sync(), file.Close(), f.SyncDir(".")); err != nil {
			b.Fatal(err)
		}
		if i >= 1000 {
			if err := f.Rename(name, fmt.Sprintf("%d.moved", i)); err != nil {
				b.Fatal(err)
			}
		}
	}
	for b.Loop() {
		rng := rand.New(rand.NewPCG(1, 1))
		for i := range 10_000 {
			f.CrashAt(i*f.Ops()/10_000, rng)
		}
	}
	b.ReportMetric(float64(f.Ops()), "ops")
}
