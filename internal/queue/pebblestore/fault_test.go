package pebblestore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/fs"
	crashfs "github.com/postilion/postilion/internal/fs/crash"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/pebblex"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/queue/pebblestore"
	"github.com/postilion/postilion/internal/queue/queuetest"
	"github.com/postilion/postilion/internal/reason"
)

func faultOptions(fsys fs.FS) pebblestore.Options {
	o := crashOptions(fsys)
	o.RetryMin, o.RetryMax = time.Millisecond, 5*time.Millisecond
	return o
}

// outcome is what a message's sender was told.
type outcome struct {
	accepted, refused, finished map[id.ID]bool
	mu                          sync.Mutex
}

// history of the fault tests: messages are enqueued by several writers at once and, every other one,
// finished. What fails is told its sender and not tried again.
func (o *outcome) run(s *pebblestore.Store, round int) {
	lease := make(chan queue.Claimed, 1000)
	ctx, cancel := context.WithCancel(context.Background())
	var claim sync.WaitGroup
	claim.Go(func() {
		s.Claim(ctx, func(c queue.Claimed) {
			if c.Message != nil {
				lease <- c
			}
		})
	})
	defer claim.Wait()
	defer cancel()
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			for i := range 5 {
				seed := round*100 + w*10 + i
				size := 200 + 700*i
				if i == 1 {
					size += crashSpoolAbove
				}
				e, body := crashEnvelope(seed, size, id.ID{})
				err := queuetest.TryEnqueue(s, e, body)
				o.mu.Lock()
				if err == nil {
					o.accepted[e.ID] = true
				} else {
					o.refused[e.ID] = true
				}
				o.mu.Unlock()
			}
		})
	}
	wg.Wait()
	for {
		select {
		case c := <-lease:
			v := c.Lease.Message
			if v[15]%2 == 0 {
				continue
			}
			err := s.Finish(ctx, c.Lease, []queue.RecipientState{{N: 0, State: queue.Done}, {N: 1, State: queue.Done}})
			if err == nil {
				o.finished[v] = true
			}
		default:
			return
		}
	}
}

// verify holds the store against what senders were told.
func (o *outcome) verify(s *pebblestore.Store) error {
	pending, err := checkPending(s)
	errs := []error{err}
	for v := range o.accepted {
		if !pending[v] && !o.finished[v] {
			errs = append(errs, fmt.Errorf("message %s was acknowledged and is lost", v))
		}
	}
	for v := range pending {
		if o.refused[v] {
			errs = append(errs, fmt.Errorf("message %s was refused and is there", v))
		}
		if o.finished[v] {
			errs = append(errs, fmt.Errorf("message %s was finished and is there", v))
		}
	}
	return errors.Join(errs...)
}

// untilTaken enqueues until the store takes a message: it has come back.
func untilTaken(t *testing.T, s *pebblestore.Store, o *outcome) {
	t.Helper()
	limit := time.Now().Add(20 * time.Second)
	for seed := 900; ; seed++ {
		e, body := crashEnvelope(seed, 100, id.ID{})
		err := queuetest.TryEnqueue(s, e, body)
		if err == nil {
			o.accepted[e.ID] = true
			return
		}
		o.refused[e.ID] = true
		if known := (*reason.Error)(nil); !errors.As(err, &known) || known.Class != reason.Temporary {
			t.Fatalf("refused with %v, want a temporary reason", err)
		}
		if time.Now().After(limit) {
			t.Fatalf("the store does not come back: %v", err)
		}
		time.Sleep(time.Millisecond) // real time passes in the store's back-off
	}
}

// The disk fails once, at each operation in turn, with each error: what was acknowledged stays, what
// was refused is not delivered, and the store comes back by itself.
func TestAFailureOfTheDisk(t *testing.T) {
	t.Parallel()
	for _, fail := range []error{syscall.EIO, syscall.ENOSPC} {
		for from := range 4 {
			t.Run(fmt.Sprintf("%v %d", fail, from), func(t *testing.T) {
				t.Parallel()
				for n := from*3 + 1; n < 360; n += 12 * slower {
					faultAt(t, n, fail)
				}
			})
		}
	}
}

func faultAt(t *testing.T, n int, fail error) {
	t.Helper()
	fsys := crashfs.New(uint64(n))
	fsys.FailAt(n, fail)
	open := func() *pebblestore.Store {
		s, err := pebblestore.Open(context.Background(), faultOptions(fsys))
		if err != nil { // the fault hit the opening
			if s, err = pebblestore.Open(context.Background(), faultOptions(fsys)); err != nil {
				t.Fatalf("fault at %d: opening again: %v", n, err)
			}
		}
		return s
	}
	o := &outcome{accepted: map[id.ID]bool{}, refused: map[id.ID]bool{}, finished: map[id.ID]bool{}}
	s := open()
	o.run(s, 0)
	untilTaken(t, s, o)
	o.run(s, 1)
	err := o.verify(s)
	if errors.Is(err, pebblex.ErrDown) { // the fault hit a thing done later
		untilTaken(t, s, o)
		err = o.verify(s)
	}
	if err != nil {
		t.Fatalf("fault at %d (%s): while running: %v", n, fsys.Op(n), err)
	}
	s.Close() // the fault may hit here
	s = open()
	if err := o.verify(s); err != nil && !errors.Is(err, fail) {
		t.Fatalf("fault at %d (%s): opened again: %v", n, fsys.Op(n), err)
	}
	if err := s.Close(); err != nil && !errors.Is(err, fail) {
		t.Fatalf("fault at %d: closing: %v", n, err)
	}
}

// The disk stays broken for a while: nothing is taken, and then everything works again.
func TestABrokenDiskIsWaitedFor(t *testing.T) {
	t.Parallel()
	fsys := crashfs.New(1)
	s, err := pebblestore.Open(context.Background(), faultOptions(fsys))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	o := &outcome{accepted: map[id.ID]bool{}, refused: map[id.ID]bool{}, finished: map[id.ID]bool{}}
	o.run(s, 0)
	for _, fault := range []crashfs.Fault{
		{Times: -1},
		{Times: -1, Kinds: crashfs.OpSync},
		{Times: -1, Match: func(c crashfs.Call) bool { return strings.HasPrefix(c.Name, "log/") }},
	} {
		heal := fsys.Inject(fault)
		for i := range 20 {
			e, body := crashEnvelope(i, 100, id.ID{})
			if err := queuetest.TryEnqueue(s, e, body); err == nil {
				t.Fatal("a message was taken on a broken disk")
			} else if known := (*reason.Error)(nil); !errors.As(err, &known) || known.Reason != reason.QueueUnavailable.Reason {
				t.Errorf("refused with %v", err)
			}
			o.refused[e.ID] = true
		}
		heal()
		untilTaken(t, s, o)
	}
	if err := o.verify(s); err != nil {
		t.Error(err)
	}
}

// A full disk refuses new mail with 452, still lets mail leave, and takes new mail
// when there is room again.
func TestAFullDiskLetsMailLeave(t *testing.T) {
	t.Parallel()
	fsys := crashfs.New(1)
	opts := faultOptions(fsys)
	opts.ReserveBytes = 2 << 20
	fsys.SetCapacity(6 << 20)
	s, err := pebblestore.Open(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	k := queuetest.Take(t, s)
	k.Started(t)
	var accepted []id.ID
	random, body := rand.NewChaCha8([32]byte{}), make([]byte, 5000)
	for i := 0; ; i++ {
		e := queuetest.Envelope("to@b.example", "too@b.example")
		random.Read(body) // what does not compress
		err := queuetest.TryEnqueue(s, e, body)
		if err == nil {
			if accepted = append(accepted, e.ID); i > 5000 {
				t.Fatal("the disk does not fill up")
			}
			continue
		}
		if known := (*reason.Error)(nil); !errors.As(err, &known) || known.Reason != reason.DiskFull.Reason {
			t.Fatalf("a full disk refused with %v", err)
		}
		break
	}
	untilRefusing(t, s, "bytes are free")
	limit := time.Now().Add(20 * time.Second)
	for _, v := range accepted {
		lease := k.Lease(t, v)
		for {
			err := s.Finish(context.Background(), lease, []queue.RecipientState{{N: 0, State: queue.Done}, {N: 1, State: queue.Done}})
			if err == nil || errors.Is(err, queue.ErrNotFound) {
				break
			}
			if time.Now().After(limit) {
				t.Fatalf("%d messages: mail cannot leave a full disk: %v", len(accepted), err)
			}
			time.Sleep(time.Millisecond) // real time passes in the store's back-off
		}
	}
	fsys.SetCapacity(0)
	untilTaken(t, s, &outcome{accepted: map[id.ID]bool{}, refused: map[id.ID]bool{}})
	if err := s.Refuses(); err != nil {
		t.Errorf("a store that takes messages says that it refuses: %v", err)
	}
}

// untilRefusing waits until a store says that it takes no messages, and why: whose message did not fit may know it first.
func untilRefusing(t *testing.T, s *pebblestore.Store, want string) {
	t.Helper()
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if err = s.Refuses(); err != nil && strings.HasSuffix(err.Error(), want) {
			return
		}
	}
	t.Fatalf("a store that refuses says %v, want %s", err, want)
}

// Without a floor above it, the queue alone knows that it is full, and says so until there is room.
func TestAStoreThatIsFullSaysWhatItWaitsFor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		reserve int64
		body    int
		want    string
	}{
		{2 << 20, 5000, "insufficient system storage: the disk was full; the queue takes messages again once 4194304 bytes are free"},
		{-1, 5000, "insufficient system storage: the disk was full; the queue takes messages again once 1048576 bytes are free"},
		{2 << 20, 5 << 20, " bytes or more found no room for its spool file"},
	} {
		fsys := crashfs.New(1)
		fsys.SetCapacity(6 << 20)
		opts := faultOptions(fsys)
		opts.ReserveBytes, opts.RetryMax = c.reserve, time.Hour
		s, err := pebblestore.Open(context.Background(), opts)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.Refuses(); err != nil {
			t.Errorf("%+v: an empty disk: %v", c, err)
		}
		random, body := rand.NewChaCha8([32]byte{}), make([]byte, c.body)
		for i := 0; err == nil; i++ {
			if i > 5000 {
				t.Fatal("the disk does not fill up")
			}
			random.Read(body) // what does not compress
			err = queuetest.TryEnqueue(s, queuetest.Envelope("to@b.example"), body)
		}
		untilRefusing(t, s, c.want)
		fsys.SetCapacity(0)
		if err := s.Refuses(); c.body > 1<<20 && err != nil {
			t.Errorf("%+v: a disk with room: %v", c, err)
		}
	}
}
