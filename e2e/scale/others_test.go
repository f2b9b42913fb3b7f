package scale

import (
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// tarpit is a next hop that accepts connections and says nothing.
func tarpit(t testing.TB) (addr string, held func() int) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	var n atomic.Int64
	done := make(chan struct{})
	t.Cleanup(func() { close(done); l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n.Add(1)
			go func() {
				<-done
				c.Close()
			}()
		}
	}()
	return l.Addr().String(), func() int { return int(n.Load()) }
}

func TestASlowDestinationDelaysNobodyElse(t *testing.T) {
	many := full(5000, 500)
	eachLayout(t, func(t *testing.T, single bool) {
		slow, held := tarpit(t)
		k := newSink(t, true)
		s := newServer(t, single, "policy.relay_networks=127.0.0.0/8", "dispatch.stop_wait=1s", "route.routes=slow.example:"+slow+",quick.example:"+k.addr).start().ready()
		load(t, s.addr["smtp"], 10, many, 1000, nil, func(i int) string { return fmt.Sprintf("user%d@slow.example", i) })
		within(t, patience, "the slow destination is tried", func() bool { return held() > 0 })
		var slowest time.Duration
		for range 20 {
			began := time.Now()
			c, err := dialSMTP(s.addr["smtp"])
			check(t, err, c.mail("user@quick.example", newLetter(1000)))
			c.quit()
			k.next(t)
			slowest = max(slowest, time.Since(began))
		}
		t.Logf("%d messages wait for a host that says nothing, on %d connections", many, held())
		soon(t, "the slowest message to another host, from connecting to its arrival", slowest, time.Second)
		began := time.Now()
		check(t, sendOne(s, "Subject: here\r\n\r\nhere\r\n"))
		within(t, patience, "the message is in the mailbox", func() bool {
			p, _, err := s.login(s.account, s.password)
			check(t, err)
			defer p.Close()
			answer, err := p.cmd("STAT")
			p.cmd("QUIT")
			return err == nil && !strings.HasPrefix(answer, "+OK 0 ")
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
		nc, err := net.DialTimeout("tcp", s.addr["submission"], patience)
		if err != nil {
			return
		}
		c, err := greeted(nc)
		for err == nil {
			select {
			case <-stop:
				nc.Close()
				return
			default:
			}
			login := fmt.Sprintf("\x00%s\x00guess-%d-%d", s.account, i, n)
			// A server that slows the guesser down is not waited for beyond the storm.
			answered := make(chan error, 1)
			go func() {
				_, _, err := c.r.ReadResponse(235)
				answered <- err
			}()
			fmt.Fprintf(c, "AUTH PLAIN %s\r\n", base64.StdEncoding.EncodeToString([]byte(login)))
			select {
			case <-stop:
				nc.Close()
				<-answered
				return
			case err = <-answered:
				guesses.Add(1)
			}
			if err != nil && strings.HasPrefix(err.Error(), "535 ") {
				err = nil
			}
		}
		nc.Close()
		select {
		case <-stop:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}
