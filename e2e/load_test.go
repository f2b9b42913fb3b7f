package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/postilion/postilion/e2e/e2etest"
)

// load is senders that note what was acknowledged. A message whose acknowledgement did
// not come is not sent again: whether it arrives is not promised.
type load struct {
	s        *server
	k        *e2etest.Sink
	accounts []string
	choose   func(n int) (from string, to []string) // for message n

	next   atomic.Int64
	mu     sync.Mutex
	acked  []delivery
	as     map[string]ack // by parcel
	cuts   []time.Time    // when something was killed
	off    bool           // the power is off: nothing counts as acknowledged
	longer time.Duration
}

// ack is the acknowledgement of a parcel.
type ack struct {
	text string
	at   time.Time
}

// loadConfig lets the senders relay to the sink.
func loadConfig(k *e2etest.Sink) map[string]string {
	return map[string]string{
		"policy.relay_networks": `["127.0.0.0/8"]`,
		"route.next_hop":        fmt.Sprintf("%q", k.Addr),
		// What failed because something was killed is tried again soon.
		"dispatch.local_skip": "1", "dispatch.remote_skip": "1",
		"dispatch.dead_wait": `"1s"`, "dispatch.dead_wait_most": `"1s"`,
	}
}

func newLoad(s *server, k *e2etest.Sink) *load {
	k.Rcpt = func(to string) error {
		if strings.HasPrefix(to, "nobody@") {
			return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such person"}
		}
		return nil
	}
	l := &load{s: s, k: k, accounts: []string{s.Account}, as: map[string]ack{}}
	for i := range 5 {
		address := fmt.Sprintf("user%d@%s", i, domain)
		s.addAccount(address)
		l.accounts = append(l.accounts, address)
	}
	l.choose = l.mix
	return l
}

// mix is mail for accounts, for the next hop, for both, and what the next hop refuses.
func (l *load) mix(n int) (from string, to []string) {
	to = []string{l.accounts[n%len(l.accounts)]}
	switch n % 3 {
	case 1:
		to = []string{fmt.Sprintf("far%d@sink.example", n%5)}
	case 2:
		to = append(to, fmt.Sprintf("far%d@sink.example", n%5))
	}
	if n%10 == 0 {
		return l.s.Account, []string{"nobody@sink.example"}
	}
	return "sender@else.example", to
}

// start lets senders work until stop is called.
func (l *load) start(sessions int) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range sessions {
		wg.Go(func() {
			for ctx.Err() == nil {
				l.session(ctx)
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	return func() { cancel(); wg.Wait() }
}

// session sends over one connection until that breaks.
func (l *load) session(ctx context.Context) {
	c, err := dialSMTP(l.s.Addr["smtp"])
	if err != nil {
		return
	}
	defer c.Close()
	for ctx.Err() == nil {
		n := int(l.next.Add(1))
		id := fmt.Sprintf("p%06d", n)
		from, to := l.choose(n)
		size := 1000 + n%20*500
		if n%25 == 0 {
			size = 100_000 // to a spool file
		}
		began := time.Now()
		if err := c.Mail(from, to, parcel(id, size)); err != nil {
			return
		}
		l.mu.Lock()
		if l.off {
			l.mu.Unlock()
			return
		}
		l.longer = max(l.longer, time.Since(began))
		l.as[id] = ack{c.Last, time.Now()}
		for _, r := range to {
			if strings.HasPrefix(r, "nobody@") {
				r = bounced
			}
			l.acked = append(l.acked, delivery{id, r})
		}
		l.mu.Unlock()
		time.Sleep(15 * time.Millisecond)
	}
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// cut notes the time of a kill or a power cut.
func (l *load) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cuts = append(l.cuts, time.Now())
}

// power tells that the disk's power goes off or is on again. A machine without power
// acknowledges nothing; here the program lives some milliseconds longer than its disk, and
// the kernel may call a write that it was in the middle of synced (ext4 does not tell
// that an extent could not be converted when the file system is shut down).
func (l *load) power(on bool) {
	if !on {
		l.cut()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.off = !on
}

// tally is what became of the acknowledged deliveries.
type tally struct {
	acked, lost                int
	duplicates, far, unwitness int // all; those at the sink; those without a cut between the two
	examples                   []delivery
}

// settle waits until everything acknowledged has arrived, at most d, and counts.
func (l *load) settle(d time.Duration) (c tally, err error) {
	for end := time.Now().Add(d / 2); !l.s.empty() && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
	}
	for end := time.Now().Add(d); ; time.Sleep(100 * time.Millisecond) {
		c, err = l.tally()
		if err == nil && c.lost == 0 || time.Now().After(end) {
			return c, err
		}
	}
}

func (l *load) tally() (c tally, err error) {
	here, err := l.s.maildirs()
	far := map[delivery][]time.Time{}
	for _, m := range l.k.All() {
		id, bad := opened(m.Content)
		if bad != nil {
			err = bad
		}
		for _, to := range m.To {
			far[delivery{id, to}] = append(far[delivery{id, to}], m.At)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.acked {
		c.acked++
		if here[a]+len(far[a]) == 0 {
			c.lost++
			if len(c.examples) < 5 {
				c.examples = append(c.examples, a)
			}
		}
	}
	for _, n := range here {
		c.duplicates += n - 1
	}
	for d, times := range far {
		if d.id == "" {
			continue
		}
		c.duplicates += len(times) - 1
		c.far += len(times) - 1
		for i := 1; i < len(times); i++ {
			if !l.witnessed(times[i-1], times[i]) {
				c.unwitness++
			}
		}
	}
	return c, err
}

// witnessed reports whether something was killed between the two arrivals of a parcel, or
// so shortly before the first that the dying process still sent it.
func (l *load) witnessed(first, second time.Time) bool {
	return slices.ContainsFunc(l.cuts, func(cut time.Time) bool {
		return cut.After(first.Add(-2*time.Second)) && cut.Before(second)
	})
}

// afterCut returns how long after the cut before it something was.
func (l *load) afterCut(at time.Time) time.Duration {
	last := time.Duration(-1)
	for _, cut := range l.cuts {
		if d := at.Sub(cut); d >= 0 {
			last = d
		}
	}
	return last
}

// verdict fails the test for what must not be.
func (l *load) verdict(t *testing.T, what string, c tally, err error, took time.Duration) {
	t.Helper()
	t.Logf("%s: %d cuts in %.0f s; %d deliveries acknowledged, %d lost, %d duplicates (%d at the next hop: between its reply and the record of it); slowest acknowledgement %v",
		what, len(l.cuts), took.Seconds(), c.acked, c.lost, c.duplicates, c.far, l.longer.Round(time.Millisecond))
	if err != nil {
		t.Error(err)
	}
	if c.lost > 0 {
		t.Errorf("%d of %d acknowledged deliveries are lost, such as %v", c.lost, c.acked, c.examples)
		for _, d := range c.examples {
			a := l.as[d.id]
			t.Logf("%v was acknowledged with %q, %v after the last cut; the log says of it:\n%s", d, a.text, l.afterCut(a.at), about(l.s.Log.String(), a.text))
		}
	}
	if here := c.duplicates - c.far; here > 0 {
		t.Errorf("%d messages are twice in a mailbox", here)
	}
	if c.unwitness > 0 {
		t.Errorf("%d duplicates came without a cut that explains them", c.unwitness)
	}
	if c.acked < 100 {
		t.Errorf("only %d deliveries were acknowledged: this tests nothing", c.acked)
	}
}
