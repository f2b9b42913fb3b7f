package scale

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postilion/postilion/e2e/e2etest"
)

// fillMailbox puts n small messages into the account's Maildir, as deliveries name them.
func (s *server) fillMailbox(n int) {
	s.T.Helper()
	check(s.T, sendOne(s, "Subject: first\r\n\r\nfirst\r\n"))
	var fresh []string
	within(s.T, patience, "the mailbox is made", func() bool {
		fresh = s.inboxes()
		return len(fresh) > 0
	})
	dir := filepath.Dir(filepath.Dir(fresh[0]))
	var owner syscall.Stat_t
	check(s.T, syscall.Stat(fresh[0], &owner))
	text := []byte("Return-Path: <sender@load.example>\nSubject: one of many\n\nA short text.\n")
	wire := len(text) + strings.Count(string(text), "\n")
	for i := range n {
		name := filepath.Join(dir, "cur", fmt.Sprintf("%d.M%06dQ1.scale.example,S=%d,W=%d:2,", 1700000000+i/1000, i, len(text), wire))
		check(s.T, os.WriteFile(name, text, 0o660), os.Chown(name, int(owner.Uid), int(owner.Gid)))
	}
}

func sendOne(s *server, text string) error {
	c, err := dialSMTP(s.Addr["smtp"])
	if err != nil {
		return err
	}
	defer c.Quit()
	return c.Stream(sender, s.Account, strings.NewReader(text))
}

func TestALargeMailboxOpensAtOnce(t *testing.T) {
	n := full(100_000, 5_000)
	eachLayout(t, func(t *testing.T, single bool) {
		s := newServer(t, single).start().ready()
		s.fillMailbox(n)
		var warm time.Duration
		for round := range 4 {
			p, took, err := s.login(s.Account, s.Password)
			check(t, err)
			answer, err := p.Cmd("STAT")
			check(t, err)
			if want := fmt.Sprintf("%d ", n+1); !strings.HasPrefix(answer, want) {
				t.Fatalf("STAT answers %q, want %q", answer, want)
			}
			began := time.Now()
			lines := 0
			_, err = p.Cmd("UIDL")
			check(t, err, e2etest.EachLine(p.R, func([]byte) { lines++ }))
			if lines != n+1 {
				t.Errorf("UIDL lists %d messages, want %d", lines, n+1)
			}
			listed := time.Since(began)
			_, err = p.Cmd("QUIT")
			check(t, err)
			p.Close()
			if round == 0 {
				t.Logf("first login of all: %v", took.Round(time.Millisecond))
				warm = time.Hour
				continue
			}
			t.Logf("login %v, UIDL of %d messages %v", took.Round(time.Millisecond), lines, listed.Round(time.Millisecond))
			warm = min(warm, took)
		}
		soon(t, "the best of three warm logins", warm, time.Second)
		bound(t, "most memory of the role", memory(s.pid("access"), "VmHWM"), 200*mib)
	})
}
