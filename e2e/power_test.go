package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/fs/crash/loopdisk"
)

// disk is a file system of its own that can lose power.
type disk struct {
	*loopdisk.Disk
	t     testing.TB
	mount string
}

func newDisk(t testing.TB, megabytes int64) *disk {
	t.Helper()
	d := loopdisk.New(t, loopdisk.Options{Megabytes: megabytes})
	return &disk{d, t, d.Mount}
}

func TestNothingAcknowledgedIsLostToPowerCuts(t *testing.T) {
	t.Parallel()
	l, c, took, err := powerCuts(t, "", 5*(*soak))
	l.verdict(t, "power cuts", c, err, took)
}

// A test of durability that passes without syncs would prove nothing.
func TestPowerCutsFindABuildWithoutSyncs(t *testing.T) {
	t.Parallel()
	for range 3 { // the system may just have written all by itself
		l, c, took, err := powerCuts(t, "nosync", 1)
		t.Logf("without syncs: %d cuts in %.0f s; %d of %d acknowledged deliveries lost; %v", len(l.cuts), took.Seconds(), c.lost, c.acked, err)
		if c.lost > 0 {
			return
		}
	}
	t.Error("a build without syncs lost nothing: the cuts do not reach what was not synced")
}

// powerCuts cuts the power of the server's disk under load, again and again, and tells
// what became of what was acknowledged.
func powerCuts(t *testing.T, tag string, rounds int) (l *load, c tally, took time.Duration, err error) {
	d := newDisk(t, 1024)
	k := newSink(t)
	s := newServer(t, setup{tag: tag, dir: filepath.Join(d.mount, "data"), config: loadConfig(k)})
	l = newLoad(s, k)
	d.Sync() // what was set up is there in any case
	began := time.Now()
	stop := l.start(8)
	defer func() { stop() }()
	for round := range rounds {
		time.Sleep(time.Second + rand.N(1500*time.Millisecond))
		account := fmt.Sprintf("round%d@%s", round, domain)
		password := s.addAccount(account)
		before := l.count()
		l.power(false)
		d.Cut()
		s.Kill()
		l.power(true)
		d.Again()
		if err := s.tryServe(patience); err != nil {
			c, lookErr := l.tally()
			return l, c, time.Since(began), fmt.Errorf("after cut %d: %w", round+1, errors.Join(err, lookErr))
		}
		if tag == "" {
			eventually(t, "mail is taken again after the cut", func() bool { return l.count() > before+20 })
			c, err := dialPOP(s.Addr["pop3"], account, password)
			check(t, err) // what a verb has done stays done, too
			c.Quit()
		}
	}
	stop()
	wait := patience
	if tag != "" {
		wait = 5 * time.Second
	}
	c, err = l.settle(wait)
	return l, c, time.Since(began), err
}
