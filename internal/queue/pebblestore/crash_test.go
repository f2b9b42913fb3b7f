package pebblestore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/postilion/postilion/internal/fs"
	crashfs "github.com/postilion/postilion/internal/fs/crash"
	"github.com/postilion/postilion/internal/fs/crash/plant"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/queue/pebblestore"
	"github.com/postilion/postilion/internal/queue/queuetest"
)

// The history under the crash tests: writers enqueue small and large messages, a worker delivers
// or forwards or defers each, spool files and log files are used again, the store is closed and opened again.

// fact is what the history acknowledges.
type fact struct {
	what    string // one of those below
	message id.ID
	parent  id.ID // of a forward: the message finished with it
}

const (
	enqueued  = "enqueued"
	finishing = "finishing" // Finish was called, with the forwards that name the message as parent
	finished  = "finished"
	forwards  = "forwards" // goes along with its parent
)

const crashSpoolAbove = 6 << 10

// crashOptions make everything happen early: flushes, the log's coming round, spooling.
func crashOptions(fsys fs.FS) pebblestore.Options {
	return pebblestore.Options{FS: fsys, SpoolAbove: crashSpoolAbove, ReserveBytes: -1, MemTable: 64 << 10, LogBytes: 32 << 10, FreeFiles: 2, BlockCache: 1 << 20}
}

// crashEnvelope makes a message that says in its envelope what its body is.
func crashEnvelope(seed, size int, parent id.ID) (*mail.Envelope, []byte) {
	e := queuetest.Envelope("to@b.example", "too@b.example")
	e.Parent = parent
	e.EnvID = fmt.Sprint(seed, " ", size)
	return e, queuetest.Body(seed, size)
}

type history struct {
	messages int // of each writer
	writers  int
	reopen   int // how often the store is closed and opened again
}

func (h history) run(fsys fs.FS, ack func(fact)) error {
	for round := range h.reopen + 1 {
		s, err := pebblestore.Open(context.Background(), crashOptions(fsys))
		if err != nil {
			return err
		}
		if err := h.round(s, round, ack); err != nil {
			return err
		}
		if err := s.Close(); err != nil {
			return err
		}
	}
	return nil
}

func (h history) round(s *pebblestore.Store, round int, ack func(fact)) error {
	ctx, cancel := context.WithCancel(context.Background())
	leases := make(chan queue.Claimed, 1000)
	var claim sync.WaitGroup
	claim.Go(func() {
		s.Claim(ctx, func(c queue.Claimed) {
			if c.Message != nil {
				leases <- c
			}
		})
	})
	defer claim.Wait()
	defer cancel()

	total := h.writers * h.messages
	errs := make(chan error, h.writers+1)
	for w := range h.writers {
		go func() {
			for i := range h.messages {
				seed := (round*h.writers+w)*h.messages + i
				size := 300 + seed*977%4000
				if seed%3 == 0 {
					size = crashSpoolAbove + 1 + seed*1543%12000
				}
				e, body := crashEnvelope(seed, size, id.ID{})
				if err := enqueueOrRestore(s, seed, e, body); err != nil {
					errs <- err
					return
				}
				ack(fact{enqueued, e.ID, id.ID{}})
			}
			errs <- nil
		}()
	}
	go func() { errs <- h.work(s, leases, total*3/4, ack) }()
	var err error
	for range h.writers + 1 {
		err = errors.Join(err, <-errs)
	}
	return err
}

// backGroup marks messages that came back with their first recipient delivered.
const backGroup = "back"

// enqueueOrRestore brings every fifth message in as one that was in a queue before.
func enqueueOrRestore(s *pebblestore.Store, seed int, e *mail.Envelope, body []byte) error {
	if seed%5 != 0 {
		return queuetest.TryEnqueue(s, e, body)
	}
	e.Group = backGroup
	states := make([]queue.RecipientState, len(e.Recipients))
	for n := range states {
		states[n].N = n
	}
	states[0].State = queue.Delivered
	d, err := s.Restore(context.Background(), &queue.Message{Envelope: e, States: states})
	if err != nil {
		return err
	}
	if _, err := d.Write(body); err != nil {
		d.Abort()
		return err
	}
	return d.Commit(context.Background())
}

// work finishes n messages: the first recipient is deferred once or delivered, the second delivered,
// and every third message is forwarded to two others.
func (h history) work(s *pebblestore.Store, leases <-chan queue.Claimed, n int, ack func(fact)) error {
	ctx := context.Background()
	for i := range n {
		c := <-leases
		if i%4 == 0 && c.Message.Envelope.Group != backGroup {
			deferred := queue.RecipientState{N: 0, Attempts: 1}
			if err := s.Finish(ctx, c.Lease, []queue.RecipientState{deferred}); err != nil {
				return err
			}
		}
		var drafts []queue.Draft
		if i%3 == 0 && c.Message.Envelope.Parent.IsZero() {
			for j := range 2 {
				e, body := crashEnvelope(1000+i, 500+j*crashSpoolAbove, c.Lease.Message)
				d, err := queuetest.Draft(s, e, body)
				if err != nil {
					return err
				}
				drafts = append(drafts, d)
				ack(fact{forwards, e.ID, c.Lease.Message})
			}
		}
		ack(fact{finishing, c.Lease.Message, id.ID{}})
		states := []queue.RecipientState{{N: 0, State: queue.Done}, {N: 1, State: queue.Delivered}}
		if err := s.Finish(ctx, c.Lease, states, drafts...); err != nil {
			return err
		}
		ack(fact{finished, c.Lease.Message, id.ID{}})
	}
	return nil
}

// check starts the store on what survived and holds it against the facts.
func check(fsys fs.FS, facts []fact) error {
	s, err := pebblestore.Open(context.Background(), crashOptions(fsys))
	if err != nil {
		return fmt.Errorf("opening: %w", err)
	}
	err = checkStore(s, facts)
	return errors.Join(err, s.Close())
}

func checkStore(s *pebblestore.Store, facts []fact) error {
	pending, err := checkPending(s)
	if err != nil {
		return err
	}
	state := map[id.ID]string{}
	for _, f := range facts {
		// The worker may have a message in hand before its writer hears that it is durable.
		if _, known := state[f.message]; f.what != forwards && (f.what != enqueued || !known) {
			state[f.message] = f.what
		}
	}
	var errs []error
	for _, f := range facts {
		here := pending[f.message]
		switch {
		case f.what == enqueued && state[f.message] == enqueued && !here:
			errs = append(errs, fmt.Errorf("message %s was acknowledged and is lost", f.message))
		case f.what == finished && here:
			errs = append(errs, fmt.Errorf("message %s was finished and came back", f.message))
		case f.what == forwards && state[f.message] == "":
			// Neither finished nor being finished: it is there exactly if its parent is not.
			_, begun := state[f.parent]
			if state[f.parent] == enqueued || !begun {
				if here {
					errs = append(errs, fmt.Errorf("forward %s is there before its message %s was finished", f.message, f.parent))
				}
			} else if here == pending[f.parent] {
				errs = append(errs, fmt.Errorf("forward %s: there %v, its message %s there %v", f.message, here, f.parent, pending[f.parent]))
			}
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	return works(s)
}

// checkPending returns the messages that are pending, each of which must be whole.
func checkPending(s *pebblestore.Store) (map[id.ID]bool, error) {
	pending := map[id.ID]bool{}
	var errs []error
	err := queuetest.Visit(s, func(c queue.Claimed) {
		v := c.Lease.Message
		pending[v] = true
		var seed, size int
		if _, err := fmt.Sscan(c.Message.Envelope.EnvID, &seed, &size); err != nil {
			errs = append(errs, fmt.Errorf("message %s: envelope id %q", v, c.Message.Envelope.EnvID))
			return
		}
		if err := sameBody(s, v, queuetest.Body(seed, size)); err != nil {
			errs = append(errs, err)
		}
		if c.Message.Envelope.Group == backGroup && !c.Message.States[0].State.Final() {
			errs = append(errs, fmt.Errorf("message %s came back, and its first recipient, who had it, waits again", v))
		}
	})
	return pending, errors.Join(append(errs, err)...)
}

func sameBody(s *pebblestore.Store, v id.ID, want []byte) error {
	b, err := s.Body(context.Background(), v)
	if err != nil {
		return fmt.Errorf("message %s: %w", v, err)
	}
	defer b.Close()
	got, err := io.ReadAll(b)
	if err != nil || !bytes.Equal(got, want) {
		return fmt.Errorf("message %s: its body has %d bytes, want %d, or other content: %v", v, len(got), len(want), err)
	}
	return nil
}

// works passes a message through that is large enough to use a freed file.
func works(s *pebblestore.Store) error {
	e, body := crashEnvelope(7, crashSpoolAbove+100, id.ID{})
	if err := queuetest.TryEnqueue(s, e, body); err != nil {
		return fmt.Errorf("enqueue after the cut: %w", err)
	}
	return sameBody(s, e.ID, body)
}

func TestACrashLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			crashfs.Explore(t, crashfs.Scenario[fact]{
				Seed: seed, Cuts: 2000 / slower, Run: history{writers: 3, messages: 8, reopen: 1}.run, Check: check,
			})
		})
	}
}

func TestACrashDuringRecoveryLosesNothing(t *testing.T) {
	t.Parallel()
	crashfs.Explore(t, crashfs.Scenario[fact]{
		Seed: 3, Cuts: 250 / slower, Twice: true, Options: crashfs.Options{Ext4: true},
		Run: history{writers: 3, messages: 8, reopen: 1}.run, Check: check,
	})
}

// Each planted bug is found, or the tests above prove nothing.
func TestPlantedBugsAreFound(t *testing.T) {
	t.Parallel()
	spool := func(name string) bool { return strings.HasPrefix(name, "spool") || name == "." }
	log := func(name string) bool { return strings.HasPrefix(name, "log/log.") }
	for name, wrap := range map[string]func(fs.FS) fs.FS{
		"bodies are not synced":        func(f fs.FS) fs.FS { return plant.WrapWhere(f, plant.NoFileSync|plant.NoSyncAll, spool) },
		"names of bodies not synced":   func(f fs.FS) fs.FS { return plant.WrapWhere(f, plant.NoDirSync|plant.NoSyncAll, spool) },
		"the log is not synced":        func(f fs.FS) fs.FS { return plant.WrapWhere(f, plant.NoFileSync, log) },
		"nothing is synced":            func(f fs.FS) fs.FS { return plant.Wrap(f, plant.NoSync) },
		"a spool file is reused early": func(f fs.FS) fs.FS { return earlyReuse{f} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			crashfs.MustFail(t, crashfs.Scenario[fact]{
				Seed: 5, Cuts: 300, Wrap: wrap, Run: history{writers: 3, messages: 8}.run, Check: check,
			})
		})
	}
}

// earlyReuse overwrites spool files that are in use, as a store does that frees files too early.
type earlyReuse struct{ fs.FS }

func (f earlyReuse) Sub(name string) (fs.FS, error) {
	sub, err := f.FS.Sub(name)
	if name == "spool" && err == nil {
		sub = &scribbler{FS: sub}
	}
	return sub, err
}

// scribbler overwrites the file that was opened before whenever another is opened for writing.
type scribbler struct {
	fs.FS
	mu   sync.Mutex
	last string
}

func (s *scribbler) OpenFile(name string, flag int, perm fs.FileMode) (fs.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last != "" && flag&os.O_RDWR != 0 {
		if f, err := s.FS.OpenFile(s.last, os.O_RDWR, 0); err == nil {
			f.WriteAt([]byte("other mail"), 2000)
			f.Sync()
			f.Close()
		}
	}
	s.last = name
	return s.FS.OpenFile(name, flag, perm)
}
