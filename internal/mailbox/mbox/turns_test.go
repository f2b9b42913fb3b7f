package mbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postilion/postilion/internal/fs"
)

// outcomes are what deliveries came to, and when the last with each did.
type outcomes struct {
	mu    sync.Mutex
	began time.Time
	count map[string]int
	last  map[string]time.Duration
}

func (o *outcomes) add(err error) {
	what := "delivered"
	switch {
	case errors.Is(err, ErrBusy):
		what = "busy"
	case errors.Is(err, fs.ErrLocked):
		what = "locked"
	case err != nil:
		what = err.Error()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.count[what]++
	o.last[what] = time.Since(o.began)
}

func newOutcomes() *outcomes {
	return &outcomes{began: time.Now(), count: map[string]int{}, last: map[string]time.Duration{}}
}

// Four users whose mailboxes are locked, with twenty-five messages each, leave room for others.
func TestFewWaitLongForMailboxesThatAreLocked(t *testing.T) {
	t.Parallel()
	files, dir := newTree(t)
	for i := range 4 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("box%d.lock", i)), []byte("1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		s := &Store{FS: files, Patient: 16, StaleLock: 10000 * time.Hour}
		o := newOutcomes()
		var all sync.WaitGroup
		send := func(n int) {
			for i := range n {
				all.Go(func() {
					o.add(s.Append(context.Background(), fmt.Sprintf("box%d", i%4), []byte("From a\n"), strings.NewReader("x\n")))
				})
			}
		}
		send(100)
		time.Sleep(10 * time.Second)
		send(20) // they find it so
		time.Sleep(100 * time.Millisecond)
		all.Go(func() { o.add(appendTo(s)) }) // into another mailbox
		all.Wait()
		if o.count["locked"] != 16 || o.count["busy"] != 104 || o.count["delivered"] != 1 {
			t.Errorf("have %v, want 16 locked, 104 busy, 1 delivered", o.count)
		}
		if o.last["busy"] > 10100*time.Millisecond || o.last["locked"] < 29*time.Second || o.last["locked"] > 31*time.Second {
			t.Errorf("the last of them after %v", o.last)
		}
		if len(s.turns) != 0 || s.patient != 0 {
			t.Errorf("%d turns, %d patient are left", len(s.turns), s.patient)
		}
	})
}

// Programs that read mail hold locks for a moment.
func TestALockOfAMomentIsWaitedForByAll(t *testing.T) {
	t.Parallel()
	files, dir := newTree(t)
	lock := filepath.Join(dir, "box.lock")
	if err := os.WriteFile(lock, []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s := &Store{FS: files, Patient: 1, StaleLock: 10000 * time.Hour}
		o := newOutcomes()
		var all sync.WaitGroup
		for range 30 {
			all.Go(func() { o.add(appendTo(s)) })
		}
		time.Sleep(impatient - 500*time.Millisecond)
		if err := os.Remove(lock); err != nil {
			t.Error(err)
		}
		all.Wait()
		if o.count["delivered"] != 30 {
			t.Errorf("have %v", o.count)
		}
	})
}

// Deliveries of this process end: who stands in their queue is not turned away for a slow one.
func TestOwnDeliveriesAreWaitedForByAll(t *testing.T) {
	t.Parallel()
	files, _ := newTree(t)
	synctest.Test(t, func(t *testing.T) {
		s := &Store{FS: files, Patient: 1}
		o := newOutcomes()
		var all sync.WaitGroup
		slow := readFunc(func([]byte) (int, error) { time.Sleep(20 * time.Second); return 0, io.EOF })
		all.Go(func() { o.add(s.Append(context.Background(), "box", []byte("From a\n"), slow)) })
		synctest.Wait()
		for range 30 {
			all.Go(func() { o.add(appendTo(s)) })
		}
		all.Wait()
		if o.count["delivered"] != 31 {
			t.Errorf("have %v", o.count)
		}
	})
}
