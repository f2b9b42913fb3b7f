package scale

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/pebblex"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/queue/pebblestore"
	"github.com/postilion/postilion/internal/reason"
)

// deferredFor is how long the deferred messages wait: longer than the longest run, shorter than the longest pause that
// there is between two attempts, to which a start would cut it.
const deferredFor = 8 * time.Hour

// deferred fills a stopped server's queue with messages that have been tried and wait for
// hours, to 1,000 destinations, one recipient each; or with as many that an earlier run kept.
func (s *server) deferred(n int) {
	s.T.Helper()
	dir := filepath.Join(s.Data, "queue")
	var owner syscall.Stat_t
	check(s.T, syscall.Stat(dir, &owner))
	store := filepath.Join(*kept, strconv.Itoa(n))
	if _, err := os.Stat(store); *kept != "" && err == nil {
		check(s.T, os.RemoveAll(dir), exec.Command("cp", "-a", store, dir).Run())
	} else {
		began := time.Now()
		s.fill(dir, n)
		s.T.Logf("%d deferred messages written in %v", n, time.Since(began).Round(time.Second))
		if *kept != "" {
			check(s.T, os.MkdirAll(*kept, 0o755), exec.Command("cp", "-a", dir, store).Run())
		}
	}
	check(s.T, filepath.Walk(dir, func(name string, _ os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(name, int(owner.Uid), int(owner.Gid))
	}))
}

func (s *server) fill(dir string, n int) {
	folder, err := osfs.New(dir)
	check(s.T, err)
	store, err := pebblestore.Open(s.T.Context(), pebblestore.Options{FS: folder, VFS: pebblex.System(), Path: dir})
	check(s.T, err)
	ids := id.Source{}
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, 1)
	for range 500 {
		wg.Go(func() {
			for {
				i := int(next.Add(1))
				if i > n {
					return
				}
				if err := deferOne(s.T.Context(), store, ids.New(), i); err != nil {
					select {
					case errs <- err:
					default:
					}
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		s.T.Fatal(err)
	default:
	}
	check(s.T, store.Close())
	runtime.GC()
}

func deferOne(ctx context.Context, store queue.Store, v id.ID, i int) error {
	now := time.Now().UTC()
	env := &mail.Envelope{
		ID: v, Accepted: now, From: mail.Address{Local: "sender", Domain: "load.example"}, HELO: "client.example", Protocol: "ESMTP",
		Recipients: []mail.Recipient{{To: mail.Address{Local: "user" + strconv.Itoa(i), Domain: fmt.Sprintf("dest%d.example", i%1000)}}},
	}
	d, err := store.Begin(ctx, env)
	if err != nil {
		return err
	}
	if _, err := d.Write([]byte("Subject: deferred\n\nA message that waits.\n")); err != nil {
		return err
	}
	if err := d.Commit(ctx); err != nil {
		return err
	}
	state := queue.RecipientState{State: queue.Waiting, Attempts: 1, Last: now, Next: now.Add(deferredFor), Err: reason.LocalError, Host: "mx.example [192.0.2.1]"}
	return queue.Update(ctx, store, v, func(m *queue.Message) error { m.States[0] = state; return nil })
}

// loaded reports whether all that was queued is scheduled.
func (s *server) loaded() bool {
	done, _ := s.roles()["queue"].Facts["loaded"].(bool)
	return done
}

func TestAQueueFullOfDeferredMailIsNoBurden(t *testing.T) {
	n := full(1_000_000, 10_000)
	eachLayout(t, func(t *testing.T, single bool) {
		s := newServer(t, single)
		s.start().ready()
		s.Stop()
		s.deferred(n)

		e := newServer(t, single).start().ready() // the empty one
		within(t, patience, "the empty queue is loaded", e.loaded)
		time.Sleep(time.Second)
		base := memory(e.pid("queue"), "VmRSS")

		began := time.Now()
		s.start().ready()
		c, err := dialSMTP(s.Addr["smtp"])
		check(t, err, c.Stream(sender, s.Account, strings.NewReader("Subject: first\r\n\r\nfirst\r\n")))
		soon(t, "from the start to the first message taken", time.Since(began), 2*time.Second)
		c.Quit()
		within(t, 5*patience, "all is scheduled", s.loaded)
		soon(t, "from the start until all is scheduled", time.Since(began), 15*time.Second)
		time.Sleep(time.Second)
		grown := memory(s.pid("queue"), "VmRSS") - base
		t.Logf("memory beyond an empty queue's: %.1f MiB, %d bytes a recipient", float64(grown)/mib, grown/int64(n))
		// The scan's own needs weigh more in a small run.
		bound(t, "memory of the schedule", grown, 250*int64(n)+full[int64](0, 32*mib))

		pairs(t, e, s)
		queueVerbs(t, s)
	})
}

// pairs measures both servers in turn and compares the medians.
func pairs(t *testing.T, empty, filled *server) {
	rounds, n := full(9, 2), full(3000, 300)
	var rate, use [2][]float64
	for range rounds {
		for i, s := range []*server{empty, filled} {
			pids, had := s.pids(), s.delivered()
			before, began := cpu(pids), time.Now()
			load(t, s.Addr["smtp"], 20, n, 4096, nil, func(int) string { return s.Account })
			within(t, patience, "everything is delivered", func() bool { return s.delivered() == had+n })
			took, used := time.Since(began), cpu(pids)-before
			rate[i] = append(rate[i], float64(n)/took.Seconds())
			use[i] = append(use[i], float64(used.Microseconds())/float64(n))
		}
	}
	r, u := [2]float64{}, [2]float64{}
	for i := range r {
		r[i], u[i] = median(rate[i]), median(use[i])
	}
	t.Logf("accepted and delivered: %.0f a second and %.0f µs of CPU with an empty queue, %.0f and %.0f µs with the full one: %.0f %% of the rate",
		r[0], u[0], r[1], u[1], 100*r[1]/r[0])
	if *fullSize && r[1] < 0.95*r[0] && u[1] > u[0]/0.95 {
		t.Errorf("the full queue costs more than 5 %%")
	}
}

// atRest reports whether nothing is being delivered or about to be.
func (s *server) atRest() bool {
	facts := s.roles()["queue"].Facts
	return facts["ready"] == 0.0 && facts["running_local"] == 0.0
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// queueVerbs sees that an operator can still work.
func queueVerbs(t *testing.T, s *server) {
	for _, c := range []struct {
		args []string
		most time.Duration
	}{
		{[]string{"queue", "list", "--limit", "10"}, time.Second},
		{[]string{"queue", "list", "--limit", "10", "--domain", "dest7.example"}, 5 * time.Second},
		{[]string{"status"}, time.Second},
	} {
		began := time.Now()
		s.Must(c.args...)
		soon(t, "postilion "+strings.Join(c.args, " "), time.Since(began), c.most)
	}
	before := memory(s.pid("queue"), "VmRSS")
	for _, c := range []struct {
		args []string
		most time.Duration
	}{
		{[]string{"hold", "--domain", "elsewhere.example"}, 5 * time.Second},
		{[]string{"hold", "--domain", "dest7.example"}, 5 * time.Second},
		{[]string{"retry", "--from", "nobody@elsewhere.example"}, 5 * time.Second},
		{[]string{"hold", "--all"}, 15 * time.Second},
		{[]string{"release", "--all"}, 20 * time.Second},
	} {
		began := time.Now()
		out := s.Must(slices.Concat([]string{"queue"}, c.args, []string{"--yes"})...)
		soon(t, "postilion queue "+strings.Join(c.args, " "), time.Since(began), c.most)
		t.Log(strings.TrimSpace(out))
	}
	t.Logf("memory beyond what it was: %.1f MiB", float64(memory(s.pid("queue"), "VmRSS")-before)/mib)
}
