package scale

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postilion/postilion/e2e/e2etest"
)

func TestASlowDestinationDelaysNobodyElse(t *testing.T) {
	many := full(5000, 500)
	eachLayout(t, func(t *testing.T, single bool) {
		slow, held := e2etest.Silent(t)
		k := newSink(t, true)
		s := newServer(t, single, "policy.relay_networks=127.0.0.0/8", "dispatch.stop_wait=1s", "route.routes=slow.example:"+slow+",quick.example:"+k.addr).start().ready()
		load(t, s.Addr["smtp"], 10, many, 1000, nil, func(i int) string { return fmt.Sprintf("user%d@slow.example", i) })
		within(t, patience, "the slow destination is tried", func() bool { return held() > 0 })
		var slowest time.Duration
		for range 20 {
			began := time.Now()
			c, err := dialSMTP(s.Addr["smtp"])
			check(t, err, c.Stream(sender, "user@quick.example", newLetter(1000)))
			c.Quit()
			k.next(t)
			slowest = max(slowest, time.Since(began))
		}
		t.Logf("%d messages wait for a host that says nothing, on %d connections", many, held())
		soon(t, "the slowest message to another host, from connecting to its arrival", slowest, time.Second)
		began := time.Now()
		check(t, sendOne(s, "Subject: here\r\n\r\nhere\r\n"))
		within(t, patience, "the message is in the mailbox", func() bool {
			p, _, err := s.login(s.Account, s.Password)
			check(t, err)
			defer p.Close()
			answer, err := p.Cmd("STAT")
			p.Cmd("QUIT")
			return err == nil && !strings.HasPrefix(answer, "0 ")
		})
		soon(t, "a message to a mailbox here, until it is read", time.Since(began), 2*time.Second)
	})
}

func TestALoginStormLeavesTheMachineToOthers(t *testing.T) {
	const guessers = 200
	lasting := full(time.Minute, time.Second)
	eachLayout(t, func(t *testing.T, single bool) {
		s := newServer(t, single, "submission.plain_auth_on_loopback=true", "submission.max_per_client=20000", "smtp.max_per_client=20000").start().ready()
		stop := make(chan struct{})
		var guesses atomic.Int64
		var wg sync.WaitGroup
		for i := range guessers {
			wg.Go(func() { guess(s, i, stop, &guesses) })
		}
		began, pids := time.Now(), s.pids()
		before := cpu(pids)
		var slowest time.Duration
		sent := 0
		for time.Since(began) < lasting {
			start := time.Now()
			check(t, sendOne(s, "Subject: beside a storm\r\n\r\ntext\r\n"))
			slowest = max(slowest, time.Since(start))
			sent++
			time.Sleep(20 * time.Millisecond)
		}
		used, took := cpu(pids)-before, time.Since(began)
		var most int64
		for _, pid := range pids {
			most = max(most, memory(pid, "VmHWM"))
		}
		close(stop)
		wg.Wait()
		t.Logf("%d guesses answered in %v; the server used %.2f processors", guesses.Load(), took.Round(time.Millisecond), used.Seconds()/took.Seconds())
		t.Logf("%d messages taken beside the storm", sent)
		soon(t, "the slowest of them, from connecting to the acknowledgement", slowest, time.Second)
		// A hash of argon2id takes its memory for as long as it is computed.
		bound(t, "most memory that a process has had", most, 400*mib)
	})
}

// guess tries passwords until stop is closed, over new connections when the server closes one.
func guess(s *server, i int, stop <-chan struct{}, guesses *atomic.Int64) {
	for n := 0; ; n++ {
		w, err := e2etest.Dial(s.Addr["submission"])
		if err != nil {
			return
		}
		c, err := w.Hello()
		for err == nil {
			select {
			case <-stop:
				w.Close()
				return
			default:
			}
			// A server that slows the guesser down is not waited for beyond the storm.
			answered := make(chan error, 1)
			go func() { answered <- c.Login(s.Account, fmt.Sprintf("guess-%d-%d", i, n)) }()
			select {
			case <-stop:
				w.Close()
				<-answered
				return
			case err = <-answered:
				guesses.Add(1)
			}
			if e2etest.Code(err) == 535 {
				err = nil
			}
		}
		w.Close()
		select {
		case <-stop:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}
