package local_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/deliver/local"
	ourfs "github.com/postilion/postilion/internal/fs"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/trace"
	"github.com/postilion/postilion/internal/trace/tracetest"
)

// partlyHanging is a file system on which all that concerns some mailboxes hangs until it is let go.
type partlyHanging struct {
	ourfs.FS
	of    func(name string) bool
	goOn  chan struct{}
	stuck atomic.Int32
}

func (p *partlyHanging) OpenFile(name string, flag int, perm ourfs.FileMode) (ourfs.File, error) {
	if p.of(name) {
		p.stuck.Add(1)
		defer p.stuck.Add(-1)
		<-p.goOn
	}
	return p.FS.OpenFile(name, flag, perm)
}

// newPartlyHanging returns a target whose file system hangs below a folder, and tells events.
func newPartlyHanging(t *testing.T, root, folder string, events trace.Recorder) (*local.Target, *partlyHanging) {
	t.Helper()
	under, err := osfs.New(root)
	if err != nil {
		t.Fatal(err)
	}
	files := &partlyHanging{FS: under, goOn: make(chan struct{}), of: func(name string) bool { return strings.HasPrefix(name, folder) }}
	return local.New(local.Options{}, local.Deps{
		FS: files, Barrier: &ourfs.Barrier{FS: files}, Directory: accounts{}, Clock: clock.NewFake(noon), Recorder: events,
	}), files
}

// crowd delivers messages, each by itself, and tells what became of them.
type crowd struct {
	sync.WaitGroup
	mu      sync.Mutex
	outcome map[reason.ID]int
}

func (c *crowd) deliver(ctx context.Context, target *local.Target, n int, accounts ...uint64) {
	for range n {
		for _, account := range accounts {
			c.Go(func() {
				v := target.Deliver(ctx, job("x\n", account))
				c.mu.Lock()
				defer c.mu.Unlock()
				if v[0].Err == nil {
					c.outcome[""]++
				} else {
					c.outcome[v[0].Err.Reason]++
				}
			})
		}
	}
}

func TestAMailboxThatHangsIsPutOffAndOthersAreNot(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		events := new(tracetest.Events)
		target, files := newPartlyHanging(t, root, "box/1/", events)
		const hangs = reason.ID("mailbox-hangs")
		first, later := crowd{outcome: map[reason.ID]int{}}, crowd{outcome: map[reason.ID]int{}}
		first.deliver(t.Context(), target, 5, 1)
		time.Sleep(time.Second)
		first.deliver(t.Context(), target, 45, 1)
		synctest.Wait()
		if n := files.stuck.Load(); n != 10 {
			t.Errorf("%d messages at once are at a file system that hangs, want 10", n)
		}
		later.deliver(t.Context(), target, 50, 2)
		later.Wait()
		if later.outcome[""] != 50 {
			t.Errorf("of 50 messages into another mailbox: %v", later.outcome)
		}

		time.Sleep(31 * time.Second)
		synctest.Wait()
		if first.outcome[hangs] != 40 {
			t.Errorf("of 40 messages that waited for their turn: %v", first.outcome)
		}
		now := time.Now()
		for _, recipients := range [][]uint64{{1}, {1, 2}} {
			v := target.Deliver(t.Context(), job("x\n", recipients...))
			if v[0].Err == nil || v[0].Err.Reason != hangs || len(v) > 1 && v[1].Err != nil {
				t.Errorf("to %v while it hangs: %v", recipients, v)
			}
		}
		if took := time.Since(now); took > 0 {
			t.Errorf("what is put off waited for %v", took)
		}
		if told := events.Of(trace.Service); len(told) != 1 || told[0].Reason != string(hangs) || !strings.Contains(told[0].Text, "box/1") {
			t.Errorf("the operator is told %+v", told)
		}

		close(files.goOn)
		first.Wait()
		if first.outcome[""] != 10 {
			t.Errorf("of those at the file system when it went on: %v", first.outcome)
		}
		again := crowd{outcome: map[reason.ID]int{}}
		again.deliver(t.Context(), target, 50, 1)
		again.Wait()
		if again.outcome[""] != 50 {
			t.Errorf("of 50 messages once it went on: %v", again.outcome)
		}
	})
}

func TestADomainOfWhichManyMailboxesHangIsPutOff(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		target, files := newPartlyHanging(t, root, "box/", nil)
		hanging := crowd{outcome: map[reason.ID]int{}}
		hanging.deliver(t.Context(), target, 3, 1, 2, 3, 4)
		time.Sleep(31 * time.Second)
		if v := target.Deliver(t.Context(), job("x\n", 5)); v[0].Err == nil || v[0].Err.Reason != "mailbox-hangs" {
			t.Errorf("another mailbox of the domain: %v", v)
		}
		close(files.goOn)
		hanging.Wait()
		if v := target.Deliver(t.Context(), job("x\n", 5)); v[0].Err != nil {
			t.Errorf("once it went on: %v", v)
		}
	})
}

func TestWhoGivesUpWaitingForAMailboxLeavesTheTurnToOthers(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		target, files := newPartlyHanging(t, root, "box/1/", nil)
		all := crowd{outcome: map[reason.ID]int{}}
		all.deliver(t.Context(), target, 10, 1)
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		all.deliver(ctx, target, 20, 1)
		all.deliver(t.Context(), target, 20, 1)
		time.Sleep(10 * time.Second)
		close(files.goOn)
		all.Wait()
		if all.outcome[""] != 30 || all.outcome["attempt-interrupted"] != 20 {
			t.Errorf("of 30 that waited, and 20 that did so for a second: %v", all.outcome)
		}
	})
}
