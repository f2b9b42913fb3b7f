package pebblex_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	crashfs "github.com/postilion/postilion/internal/fs/crash"
	"github.com/postilion/postilion/internal/pebblex"
)

const smallSegment = 4 << 10

// withSmallLog is an engine whose log comes round every few commits.
func withSmallLog(disk *crashfs.FS) pebblex.Options {
	o := engineOptions(disk)
	o.LogBytes = 16 * smallSegment
	return o
}

func bodyKey(i int) []byte { return fmt.Appendf(nil, "b%04d", i) }

func bodyOf(i int) []byte { return bytes.Repeat(fmt.Append(nil, i, "."), 100+i%200) }

func attach(t *testing.T, e *pebblex.Engine, i int) {
	t.Helper()
	b, err := e.NewBatch(0)
	check(t, err, b.Set(fmt.Appendf(nil, "e%04d", i), nil, nil))
	b.Bodies = []pebblex.Attachment{{Key: bodyKey(i), Data: bodyOf(i)}}
	check(t, e.Commit(b))
}

func detach(t *testing.T, e *pebblex.Engine, i int) {
	t.Helper()
	b, err := e.NewBatch(0)
	check(t, err, b.Detach(bodyKey(i)), e.Commit(b))
}

func attached(e *pebblex.Engine, i int) (body []byte, err error) {
	err = e.Attached(bodyKey(i), func(size int) []byte {
		body = make([]byte, size)
		return body
	})
	return body, err
}

// holds holds the engine against the bodies that must be there, of the first n.
func holds(t *testing.T, e *pebblex.Engine, n int, there func(i int) bool) {
	t.Helper()
	for i := range n {
		body, err := attached(e, i)
		switch {
		case !there(i) && !errors.Is(err, pebble.ErrNotFound):
			t.Fatalf("body %d was deleted and has %d bytes, %v", i, len(body), err)
		case there(i) && (err != nil || !bytes.Equal(body, bodyOf(i))):
			t.Fatalf("body %d has %d bytes, want %d, or others: %v", i, len(body), len(bodyOf(i)), err)
		}
	}
}

func TestBodiesAreFoundWhereverTheyAre(t *testing.T) {
	t.Parallel()
	disk := crashfs.New(1)
	few := func(i int) bool { return i%10 == 0 } // so that what lives is moved
	e := mustEngine(t, withSmallLog(disk))
	const bodies = 400
	for i := range bodies {
		attach(t, e, i)
		if !few(i) {
			detach(t, e, i)
		}
		if i%50 == 0 {
			holds(t, e, i, few)
		}
	}
	holds(t, e, bodies, few)
	untilSegments(t, disk, 20)
	check(t, e.Close())
	e = mustEngine(t, withSmallLog(disk))
	defer e.Close()
	holds(t, e, bodies, few)
	for i := range bodies {
		if few(i) {
			detach(t, e, i)
		}
	}
	holds(t, e, bodies, func(int) bool { return false })
}

// untilSegments waits until the log has no more than most files in use.
func untilSegments(t *testing.T, disk *crashfs.FS, most int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		n := len(databaseFiles(t, disk, isLog))
		if n <= most {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the log has %d files in use, want %d at most", n, most)
		}
	}
}

// What nobody deletes stays where it is, within bounds, and is moved beyond them.
func TestALogOfLivingBodiesIsKeptWithinBounds(t *testing.T) {
	t.Parallel()
	disk := crashfs.New(1)
	e := mustEngine(t, withSmallLog(disk))
	all := func(int) bool { return true }
	const bodies = 700 // of some 800 bytes: 160 segments
	for i := range bodies {
		attach(t, e, i)
	}
	if n := len(databaseFiles(t, disk, isLog)); n < 40 {
		t.Errorf("%d files of the log are in use although all that they hold lives", n)
	}
	untilSegments(t, disk, 80)
	holds(t, e, bodies, all)
	check(t, e.Close())
	e = mustEngine(t, withSmallLog(disk))
	defer e.Close()
	holds(t, e, bodies, all)
	// An earlier run's segments are counted and freed as well.
	for i := range bodies {
		detach(t, e, i)
	}
	for i := range 60 {
		attach(t, e, bodies+i)
	}
	untilSegments(t, disk, 40)
}

// What lives is not moved while the disk is tight, and what dies is freed; later it is moved in steps: the disk need not
// have room for all of it twice.
func TestMovingBodiesDoesNotFillTheDisk(t *testing.T) {
	t.Parallel()
	disk := crashfs.New(1)
	var tight atomic.Bool
	tight.Store(true)
	o := withSmallLog(disk)
	o.Tight = tight.Load
	o.RetryMin, o.RetryMax = time.Hour, time.Hour // one that froze stays closed
	o.Tune = func(p *pebble.Options) {
		p.MemTableSize = 64 << 10
		p.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionNone })
		p.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy { // compactions copy no bodies
			return pebble.ValueSeparationPolicy{Enabled: true, MinimumSize: 100, MaxBlobReferenceDepth: 1 << 20, TargetGarbageRatio: 1}
		}
	}
	o.Broken = func(cause error) { t.Errorf("the database froze: %v", cause) }
	e := mustEngine(t, o)
	defer e.Close()
	const bodies = 4000 // of some 1000 bytes: 1200 segments
	dead := func(i int) bool { return i >= 1000 && i < 2500 }
	alive := func(i int) bool { return !dead(i) }
	for i := range bodies {
		attach(t, e, i)
	}
	for i := range bodies {
		if dead(i) {
			detach(t, e, i)
		}
	}
	for i := range 20 {
		attach(t, e, bodies+i)
	}
	untilSegments(t, disk, 900)
	if n := len(databaseFiles(t, disk, isLog)); n < 600 {
		t.Errorf("%d files of the log are left: what lives was moved on a tight disk", n)
	}
	space, err := disk.Space(".")
	check(t, err)
	disk.SetCapacity(int64(space.TotalBytes-space.FreeBytes) + 1<<20)
	tight.Store(false)
	for i := range 20 {
		attach(t, e, bodies+20+i)
	}
	untilSegments(t, disk, 80)
	holds(t, e, bodies, alive)
}

// openKilled opens the database of an engine that was left as a kill leaves it.
func openKilled(t *testing.T, disk *crashfs.FS) (e *pebblex.Engine, said *bytes.Buffer) {
	t.Helper()
	said = new(bytes.Buffer)
	o := withSmallLog(disk)
	o.Log = slog.New(slog.NewTextHandler(said, nil))
	e = mustEngine(t, o)
	t.Cleanup(func() { e.Close() })
	return e, said
}

// scribble writes what does not belong there into a file of the log, at a place that depends on the size of what it holds.
func scribble(t *testing.T, disk *crashfs.FS, segment int, at func(size int64) int64) {
	t.Helper()
	f, err := disk.OpenFile(fmt.Sprintf("log/log.%016d", segment), os.O_RDWR, 0)
	check(t, err)
	held, err := io.ReadAll(f)
	check(t, err)
	_, err = f.WriteAt([]byte("damage"), at(int64(len(bytes.TrimRight(held, "\x00"))))) // without what fills up a block
	check(t, err, f.Close())
}

func TestWhatIsTornAtTheEndIsNothing(t *testing.T) {
	t.Parallel()
	disk := crashfs.New(1)
	killed := mustEngine(t, withSmallLog(disk))
	defer killed.Close()
	for i := range 3 {
		attach(t, killed, i)
	}
	scribble(t, disk, 1, func(size int64) int64 { return size - 20 }) // in the third
	e, said := openKilled(t, disk)
	holds(t, e, 3, func(i int) bool { return i < 2 })
	if said.Len() > 0 {
		t.Errorf("the log says: %s", said)
	}
}

func TestDamageOfWhatWasAcknowledgedIsTold(t *testing.T) {
	t.Parallel()
	disk := crashfs.New(1)
	killed := mustEngine(t, withSmallLog(disk))
	defer killed.Close()
	for i := range 30 {
		attach(t, killed, i)
	}
	scribble(t, disk, 3, func(size int64) int64 { return size / 2 })
	e, said := openKilled(t, disk)
	if !strings.Contains(said.String(), "changes that were acknowledged are lost") {
		t.Errorf("the log says: %s", said)
	}
	lost := 0
	for i := range 30 {
		if _, err := attached(e, i); err != nil {
			lost++
		}
	}
	if lost == 0 || lost > 5 {
		t.Errorf("%d of 30 bodies are lost with one record of a segment", lost)
	}
}

func TestADamagedBodyIsNotHandedOut(t *testing.T) {
	t.Parallel()
	disk := crashfs.New(1)
	e := mustEngine(t, withSmallLog(disk))
	defer e.Close()
	attach(t, e, 1)
	scribble(t, disk, 1, func(size int64) int64 { return size / 2 })
	if body, err := attached(e, 1); err == nil || !strings.Contains(err.Error(), "is damaged at byte") {
		t.Errorf("a damaged body: %q, %v", body, err)
	}
}

// What cannot be read when its segment's turn comes stays where it is, and so does what lies behind it.
func TestWhatCannotBeReadIsNotGivenUp(t *testing.T) {
	t.Parallel()
	few := func(i int) bool { return i%10 == 0 }
	fill := func(t *testing.T, e *pebblex.Engine, from, to int) {
		for i := from; i < to; i++ {
			attach(t, e, i)
			if !few(i) {
				detach(t, e, i)
			}
		}
	}
	t.Run("a read that fails", func(t *testing.T) {
		t.Parallel()
		disk := crashfs.New(1)
		e := mustEngine(t, withSmallLog(disk))
		fill(t, e, 0, 30)
		heal := disk.Inject(crashfs.Fault{Kinds: crashfs.OpRead, Times: -1, Match: func(c crashfs.Call) bool {
			return strings.HasSuffix(c.Name, "log.0000000000000002")
		}})
		fill(t, e, 30, 400)
		untilSegments(t, disk, 20)
		heal()
		holds(t, e, 400, few)
		check(t, e.Close())
		e = mustEngine(t, withSmallLog(disk))
		defer e.Close()
		holds(t, e, 400, few)
	})
	t.Run("a damaged record", func(t *testing.T) {
		t.Parallel()
		disk := crashfs.New(1)
		e := mustEngine(t, withSmallLog(disk))
		defer e.Close()
		fill(t, e, 0, 30)
		scribble(t, disk, 2, func(int64) int64 { return 32 }) // the header of the first record
		fill(t, e, 30, 400)
		untilSegments(t, disk, 20)
		holds(t, e, 400, few)
	})
}

func TestALazyDeletionFindsABodyThatWasMoved(t *testing.T) {
	t.Parallel()
	disk := crashfs.New(1)
	held := make(chan pebblex.Held, 1)
	o := withSmallLog(disk)
	o.Lazy = func(c *pebblex.Changes) func() {
		select {
		case h := <-held:
			check(t, c.Detach(bodyKey(0), h))
		default:
		}
		return nil
	}
	e := mustEngine(t, o)
	defer e.Close()
	b, err := e.NewBatch(0)
	check(t, err, b.Set([]byte("e"), nil, nil))
	b.Bodies = []pebblex.Attachment{{Key: bodyKey(0), Data: bodyOf(0)}}
	bodies := b.Bodies
	check(t, e.Commit(b))
	for i := 1; i < 200; i++ {
		attach(t, e, i)
		detach(t, e, i)
	}
	untilSegments(t, disk, 20)
	if _, err := disk.Stat("log/log.0000000000000001"); err == nil {
		t.Fatal("the first segment is still in use")
	}
	held <- bodies[0].Held()
	check(t, set(e, "k", "v")) // what is lazy goes with it
	holds(t, e, 1, func(int) bool { return false })
}

func TestACopyHasTheBodiesOfAnEarlierRun(t *testing.T) {
	t.Parallel()
	disk := crashfs.New(1)
	e := mustEngine(t, withSmallLog(disk))
	const bodies = 30 // in some segments, none of them old
	for i := range bodies {
		attach(t, e, i)
	}
	check(t, e.Close())
	e = mustEngine(t, withSmallLog(disk))
	defer e.Close()
	check(t, disk.MkdirAll("copy/log", 0o700), e.Checkpoint("copy/db", "copy/log"))
	o := withSmallLog(disk)
	o.Dir, o.LogDir = "copy/db", "copy/log"
	restored := mustEngine(t, o)
	defer restored.Close()
	holds(t, restored, bodies, func(int) bool { return true })
}
