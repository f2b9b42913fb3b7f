package pebblestore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/pebblex"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/queue/queuetest"
)

func TestABackupOfARunningQueueIsWholeAndHeld(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := open(t, t.TempDir())
	defer s.Close()
	bodies := map[id.ID][]byte{}
	for i := range 40 {
		e := queuetest.Envelope("to@b.example")
		bodies[e.ID] = queuetest.Body(i, 1000*(i%4)+i%5*limit)
		queuetest.Enqueue(t, s, e, bodies[e.ID])
	}
	k := queuetest.Take(t, s)
	stop := make(chan struct{})
	var churn sync.WaitGroup
	churn.Go(func() { // messages come and go, and spool files are used again
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			e := queuetest.Envelope("to@b.example")
			if err := queuetest.TryEnqueue(s, e, queuetest.Body(i, limit+i)); err != nil {
				t.Error(err)
				return
			}
			l := k.Lease(t, e.ID)
			if err := s.Finish(ctx, l, []queue.RecipientState{{State: queue.Done}}); err != nil {
				t.Error(err)
			}
		}
	})
	dir := filepath.Join(t.TempDir(), "copy")
	err := s.Backup(ctx, dir)
	close(stop)
	churn.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(ctx, dir); err == nil {
		t.Error("a backup was written over another")
	}
	restored := open(t, dir)
	for v, body := range bodies {
		if !bytes.Equal(queuetest.ReadBody(t, restored, v), body) {
			t.Errorf("the copy of %s differs", v)
		}
	}
	claimed := queuetest.Take(t, restored).Started(t)
	if len(claimed) < len(bodies) {
		t.Errorf("%d messages were restored, want at least %d", len(claimed), len(bodies))
	}
	for _, c := range claimed {
		if !c.Message.Held {
			t.Fatalf("restored message %s is not held", c.Lease.Message)
		}
	}

	// Released and new messages are not held, also after another start; but in a copy again.
	v := claimed[0].Lease.Message
	if err := queue.Update(ctx, restored, v, func(m *queue.Message) error { m.Held = false; return nil }); err != nil {
		t.Fatal(err)
	}
	e := queuetest.Envelope("new@b.example")
	queuetest.Enqueue(t, restored, e, nil)
	held := func(s queue.Store, v id.ID) bool {
		m, err := s.Load(ctx, v)
		if err != nil {
			t.Fatal(err)
		}
		return m.Held
	}
	second := filepath.Join(t.TempDir(), "second")
	if err := restored.Backup(ctx, second); err != nil {
		t.Fatal(err)
	}
	restored.Close()
	restored = open(t, dir)
	defer restored.Close()
	if held(restored, v) || held(restored, e.ID) || !held(restored, claimed[1].Lease.Message) {
		t.Error("held after another start: ", held(restored, v), held(restored, e.ID), held(restored, claimed[1].Lease.Message))
	}
	again := open(t, second)
	defer again.Close()
	if !held(again, v) || !held(again, e.ID) {
		t.Error("a copy of a restored queue does not start held")
	}
}

func TestANewerFolderIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open(t, dir).Close()
	db, err := pebble.Open(filepath.Join(dir, "db"), &pebble.Options{FormatMajorVersion: pebblex.Format, Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Set([]byte("m/format"), []byte{99}, pebble.Sync), db.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := tryOpen(t, dir); err == nil || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("opened with %v", err)
	}
}

func TestAFolderIsOpenOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	defer s.Close()
	if _, err := tryOpen(t, dir); !errors.Is(err, fs.ErrLocked) {
		t.Errorf("a second opening: %v", err)
	}
}

// quiet keeps Pebble's own words out of the test's output.
type quiet struct{}

func (quiet) Infof(string, ...any)      {}
func (quiet) Errorf(string, ...any)     {}
func (quiet) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }
