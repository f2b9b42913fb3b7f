package e2e

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestABlockedClientIsRefusedEverywhere(t *testing.T) {
	t.Parallel()
	eachLayout(t, func(t *testing.T, o setup) {
		s := newServer(t, o)
		s.must("block", "add", "127.0.0.1", "--reason", "guessing")
		for name, want := range map[string]string{"smtp": "421 ", "submission": "421 ", "pop3": "-ERR "} {
			within(t, 10*time.Second, name+" refuses the client", func() bool {
				w, err := dial(s.addr[name])
				check(t, err)
				defer w.Close()
				line, err := w.line()
				return err == nil && strings.HasPrefix(line, want) && strings.Contains(line, "guessing") && !strings.Contains(line, "\x1b")
			})
		}
		s.must("block", "remove", "127.0.0.1")
		check(t, s.waitUp(10*time.Second))
	})
}

func TestAFullMailboxIsRefusedAtRCPT(t *testing.T) {
	t.Parallel()
	eachLayout(t, func(t *testing.T, o setup) {
		s := newServer(t, o)
		s.must("account", "set", s.account, "--quota", "20KiB")
		big := append(letter("big"), bytes.Repeat([]byte("x\r\n"), 4000)...)
		within(t, 20*time.Second, "the mailbox is full", func() bool {
			c, err := dialSMTP(s.addr["smtp"])
			check(t, err)
			defer c.quit()
			check(t, c.cmd(250, "MAIL FROM:<sender@else.example> SIZE=%d", len(big)))
			switch err := c.cmd(250, "RCPT TO:<%s>", s.account); code(err) {
			case 250:
				check(t, c.cmd(354, "DATA"), c.dotted(big), c.expect(250))
				return false
			case 452:
				return true
			default:
				t.Fatal(err)
				return false
			}
		})
	})
}

func TestAnAccountWritesUnderItsOwnNameOnly(t *testing.T) {
	t.Parallel()
	s := newServer(t, setup{})
	check(t, s.submit(s.account, letter("own")))
	others := bytes.Replace(letter("others"), []byte("sender@"), []byte("boss@"), 1)
	if err := s.submit(s.account, others); code(err) != 550 || !strings.Contains(err.Error(), "boss@else.example") {
		t.Errorf("mail in another's name: %v", err)
	}
	if got := code(s.send("nobody@"+domain, s.account, letter("unknown"))); got != 550 {
		t.Errorf("mail from outside of a sender here who does not exist: %d", got)
	}
	s.arrived(s.account, s.password, 1)
}
