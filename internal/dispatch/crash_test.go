package dispatch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/bounce"
	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/deliver"
	userlocal "github.com/postilion/postilion/internal/deliver/local"
	"github.com/postilion/postilion/internal/deliver/runas"
	"github.com/postilion/postilion/internal/fs"
	crashfs "github.com/postilion/postilion/internal/fs/crash"
	"github.com/postilion/postilion/internal/fs/crash/plant"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/mail/archive"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/queue/pebblestore"
	"github.com/postilion/postilion/internal/queue/queuetest"
	"github.com/postilion/postilion/internal/trace"
)

// The scenario: messages come in for a user whose .qmail names a Maildir, an mbox, a program and
// a forward; each has an archive too. Power goes at any moment, and the server starts again.
//
// What was acknowledged is in the Maildir once, in the mbox whole and at least once, was given to the
// program at least once, and was sent on and archived as one message each.

const crashUser = "syscrash"

// crashFact is what a run did for message m.
type crashFact struct {
	what string // accepted, ran, far (a copy went to another host), archived
	m    id.ID
	copy id.ID // of far and archived: the copy
}

// tree is a runas service for the one user, on the file system of the test.
type tree struct {
	files fs.FS
	ran   func(env []string)
}

func (s tree) Files(context.Context, runas.User) (fs.FS, error) { return s.files.Sub("home") }
func (s tree) SyncAll() error                                   { return s.files.SyncAll() }

func (tree) Hold(context.Context, runas.User, runas.Search) (*runas.Held, error) {
	return nil, errors.ErrUnsupported
}

func (s tree) Search(_ context.Context, _ runas.User, q runas.Search) (runas.Found, error) {
	return runas.Found{
		Home: fs.FileMode(0o700), Name: q.Names[0], Mode: 0o600, Content: []byte("./Maildir/\n./Mailbox\n|program\n&a@far.test\n"), Size: 1, Exist: []bool{false, false},
	}, nil
}

func (s tree) Run(_ context.Context, _ runas.User, c runas.Command) (runas.Result, error) {
	s.ran(c.Env)
	return runas.Result{}, nil
}

// crashBody is the content of the i-th message.
func crashBody(i int) string {
	return fmt.Sprintf("Subject: message %d\n\n", i) + strings.Repeat(fmt.Sprintf("line of message %d\n", i), 100)
}

// crashHouse is a server on the files.
type crashHouse struct {
	*Dispatcher
	store *pebblestore.Store
	stop  func() error
}

func openCrashHouse(files fs.FS, tell func(crashFact)) (*crashHouse, error) {
	ran := func(env []string) {
		for _, v := range env {
			if text, ok := strings.CutPrefix(v, "POSTILION_MESSAGE="); ok {
				m, _ := id.Parse(text)
				tell(crashFact{what: "ran", m: m})
			}
		}
	}
	return runCrashHouse(files, Deps{
		Mailbox: userlocal.New(userlocal.Options{}, userlocal.Deps{FS: files, Barrier: &fs.Barrier{FS: files}, Clock: clock.System{}, Runas: tree{files, ran}}),
		Remote: target(func(j *deliver.Job, r deliver.Recipient) deliver.Verdict {
			what := "far"
			if r.To.Local == "log" {
				what = "archived"
			}
			tell(crashFact{what, j.Envelope.Parent, j.Envelope.ID})
			return deliver.Verdict{}
		}),
	})
}

// runCrashHouse runs a dispatcher with these targets over the queue on the files.
func runCrashHouse(files fs.FS, deps Deps) (*crashHouse, error) {
	dir, err := files.Sub("queue")
	if err != nil {
		return nil, err
	}
	store, err := pebblestore.Open(context.Background(), crashQueue(dir))
	if err != nil {
		return nil, err
	}
	deps.Store, deps.Router, deps.Bouncer, deps.Recorder = store, routes{}, &bounce.Builder{Name: "mx.here.test"}, trace.Discard
	d, err := New(Options{}, deps)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	return &crashHouse{Dispatcher: d, store: store, stop: func() error { cancel(); return errors.Join(<-done, store.Close()) }}, nil
}

// drain waits until so many messages are finished, for those just accepted may not have been handed over yet,
// and nothing is left in the queue, having what was deferred tried again at once.
func (h *crashHouse) drain(finished int) error {
	deferred := int64(-1) // what an earlier run deferred is tried, too
	deadline := time.After(time.Minute)
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	for {
		s := h.Stats(0)
		if s.Loaded && s.Messages == 0 && int(s.Since.Finished) >= finished {
			return nil
		}
		if s.Loaded && s.Since.Deferred > deferred {
			deferred = s.Since.Deferred
			h.Flush()
		}
		select {
		case <-deadline:
			return errors.New("the queue does not become empty")
		case <-tick.C:
		}
	}
}

func (h *crashHouse) accept(i int, to string, rules archive.Rules) (id.ID, error) {
	env := &mail.Envelope{ID: id.Source{}.New(), Accepted: time.Now(), From: mail.ParseAddress("joe@a.test"), EnvID: fmt.Sprint(i), Size: int64(len(crashBody(i)))}
	env.Recipients = []mail.Recipient{{To: mail.ParseAddress(to)}}
	rules.Add(env)
	q, err := h.store.Begin(context.Background(), env)
	if err != nil {
		return env.ID, err
	}
	io.WriteString(q, crashBody(i))
	return env.ID, q.Commit(context.Background())
}

func crashScenario(cuts int, messages int) crashfs.Scenario[crashFact] {
	return crashfs.Scenario[crashFact]{
		Cuts: cuts,
		Prepare: func(files fs.FS) error {
			for _, dir := range []string{"queue", "home/Maildir/tmp", "home/Maildir/new", "home/Maildir/cur"} {
				if err := files.MkdirAll(dir, 0o700); err != nil {
					return err
				}
			}
			return files.SyncAll()
		},
		Run: func(files fs.FS, ack func(crashFact)) error {
			rules, err := archive.Parse([]string{"* log@far.test digest"})
			if err != nil {
				return err
			}
			h, err := openCrashHouse(files, ack)
			if err != nil {
				return err
			}
			for i := range messages {
				m, err := h.accept(i, crashUser+"@here.test", rules)
				if err != nil {
					return errors.Join(err, h.stop())
				}
				ack(crashFact{what: "accepted", m: m})
			}
			return errors.Join(h.drain(messages), h.stop())
		},
		Check: checkCrash,
	}
}

// afterwards starts the server again, until it has finished all, and returns what has happened then.
func afterwards(files fs.FS, acked []crashFact, open func(tell func(crashFact)) (*crashHouse, error)) ([]crashFact, error) {
	var mu sync.Mutex
	facts := append([]crashFact(nil), acked...)
	tell := func(f crashFact) {
		mu.Lock()
		defer mu.Unlock()
		facts = append(facts, f)
	}
	for left := 1; left > 0; {
		h, err := open(tell)
		if err != nil {
			return nil, err
		}
		if err := errors.Join(h.drain(0), h.stop()); err != nil {
			return nil, err
		}
		// What was sent on with the last record may not have been seen before the stop.
		if left, err = leftInQueue(files); err != nil {
			return nil, err
		}
	}
	return facts, nil
}

// checkCrash lets the server finish, and counts.
func checkCrash(files fs.FS, acked []crashFact) error {
	facts, err := afterwards(files, acked, func(tell func(crashFact)) (*crashHouse, error) { return openCrashHouse(files, tell) })
	if err != nil {
		return err
	}
	runs := map[id.ID]int{}
	copies := map[crashFact]int{} // what and m: how many messages it was sent on as
	seen := map[crashFact]bool{}
	for _, f := range facts {
		if f.what == "ran" {
			runs[f.m]++
		}
		if f.copy != (id.ID{}) && !seen[f] {
			seen[f] = true
			copies[crashFact{what: f.what, m: f.m}]++
		}
	}
	entries, err := files.ReadDir("home/Maildir/new")
	if err != nil {
		return err
	}
	box, err := readAll(files, "home/Mailbox")
	if err != nil {
		return err
	}
	for i, f := range acceptedOf(acked) {
		inMaildir := 0
		for _, e := range entries {
			if strings.Contains(e.Name(), f.m.String()) {
				inMaildir++
			}
		}
		whole := strings.Count(box, "Delivered-To: "+crashUser+"@here.test\n"+crashBody(i)+"\n")
		if far, sum := copies[crashFact{what: "far", m: f.m}], copies[crashFact{what: "archived", m: f.m}]; inMaildir != 1 || whole < 1 || runs[f.m] < 1 || far != 1 || sum != 1 {
			return fmt.Errorf("message %d: %d times in the Maildir, %d in the mbox, %d runs, sent on as %d messages, archived as %d", i, inMaildir, whole, runs[f.m], far, sum)
		}
	}
	return nil
}

// leftInQueue counts the messages that a queue holds.
func leftInQueue(files fs.FS) (n int, err error) {
	dir, err := files.Sub("queue")
	if err != nil {
		return 0, err
	}
	store, err := pebblestore.Open(context.Background(), crashQueue(dir))
	if err != nil {
		return 0, err
	}
	err = queuetest.Visit(store, func(queue.Claimed) { n++ })
	return n, errors.Join(err, store.Close())
}

func crashQueue(dir fs.FS) pebblestore.Options {
	return pebblestore.Options{FS: dir, ReserveBytes: -1, MemTable: 64 << 10, LogBytes: 256 << 10, BlockCache: 1 << 20, LogFiles: -1}
}

// acceptedOf returns the acknowledged messages, in their order.
func acceptedOf(facts []crashFact) (list []crashFact) {
	for _, f := range facts {
		if f.what == "accepted" {
			list = append(list, f)
		}
	}
	return list
}

func readAll(files fs.FS, name string) (string, error) {
	f, err := files.OpenFile(name, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	return string(b), err
}

func TestACrashRepeatsNoForwardAndLosesNoDeliveryOfAUser(t *testing.T) {
	t.Parallel()
	crashfs.Explore(t, crashScenario(600, 4))
}

func TestThatCrashTestFindsPlantedBugs(t *testing.T) {
	t.Parallel()
	for name, bug := range map[string]plant.Bug{"no sync of files": plant.NoFileSync, "no sync of anything": plant.NoSync} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := crashScenario(150, 4)
			s.Wrap = func(files fs.FS) fs.FS {
				return plant.WrapWhere(files, bug, func(name string) bool { return strings.HasPrefix(name, "home") })
			}
			crashfs.MustFail(t, s)
		})
	}
}

// TestADiskThatFailsOnceLosesNothingOfAUser: an error at each operation on the user's files, one a
// run; what it deferred is tried again.
func TestADiskThatFailsOnceLosesNothingOfAUser(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
		for skip := range 40 { // more than the operations of two deliveries
			files := crashfs.New(uint64(skip))
			s := crashScenario(0, 2)
			if err := s.Prepare(files); err != nil {
				t.Fatal(err)
			}
			remove := files.Inject(crashfs.Fault{Kinds: crashfs.OpChanging | crashfs.OpOpen | crashfs.OpLock, Skip: skip, Err: cause, Match: func(c crashfs.Call) bool {
				return strings.HasPrefix(c.Name, "home/")
			}})
			var mu sync.Mutex
			var facts []crashFact
			err := s.Run(files, func(f crashFact) {
				mu.Lock()
				defer mu.Unlock()
				facts = append(facts, f)
			})
			remove()
			if err == nil {
				err = checkCrash(files, facts)
			}
			if err != nil {
				t.Fatalf("%v at operation %d: %v", cause, skip, err)
			}
		}
	}
}
