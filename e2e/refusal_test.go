package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/postilion/postilion/e2e/e2etest"
)

func TestABlockedClientIsRefusedEverywhere(t *testing.T) {
	t.Parallel()
	eachLayout(t, func(t *testing.T, o setup) {
		s := newServer(t, o)
		s.Must("block", "add", "127.0.0.1", "--reason", "guessing")
		for name, want := range map[string]string{"smtp": "421 ", "submission": "421 ", "pop3": "-ERR "} {
			eventually(t, name+" refuses the client", func() bool {
				w, err := dial(s.Addr[name])
				check(t, err)
				defer w.Close()
				line, err := w.Line()
				return err == nil && strings.HasPrefix(line, want) && strings.Contains(line, "guessing") && !strings.Contains(line, "\x1b")
			})
		}
		s.Must("block", "remove", "127.0.0.1")
		check(t, s.WaitUp(patience))
	})
}

func TestWhatTheOperatorChangesIsInForceAtOnce(t *testing.T) {
	t.Parallel()
	eachLayout(t, func(t *testing.T, o setup) {
		s := newServer(t, o)
		rcpt := func(user string) int {
			c, err := dialSMTP(s.Addr["smtp"])
			check(t, err)
			defer c.Quit()
			check(t, c.Cmd(250, "MAIL FROM:<sender@else.example>"))
			return code(c.Cmd(250, "RCPT TO:<%s@%s>", user, domain))
		}
		if got := rcpt("new0"); got != 550 { // which is remembered
			t.Fatalf("an unknown recipient: %d", got)
		}
		atOnce(t, "an account just added gets mail", func(i int) func() bool {
			user := fmt.Sprint("new", i)
			rcpt(user)
			s.Must("account", "add", user+"@"+domain)
			return func() bool { return rcpt(user) == 250 }
		})
		login := func() error {
			c, err := dialPOP(s.Addr["pop3"], s.Account, s.Password)
			if err == nil {
				c.Quit()
			}
			return err
		}
		check(t, login())
		atOnce(t, "an account just blocked cannot log in", func(int) func() bool {
			s.Run("block", "remove", s.Account)
			s.Must("block", "add", s.Account)
			return func() bool {
				err := login()
				return err != nil && strings.Contains(err.Error(), "blocked by the operator")
			}
		})
		atOnce(t, "nor is it kept out any longer", func(int) func() bool {
			s.Run("block", "add", s.Account)
			s.Must("block", "remove", s.Account)
			return func() bool { return login() == nil }
		})
	})
}

// atOnce makes a change again and again until one is in force within a second, as those are that nobody has to look for
// from time to time: once out of five times even on a machine with much else to do.
func atOnce(t *testing.T, what string, change func(i int) (inForce func() bool)) {
	t.Helper()
	best := time.Hour
	for i := range 5 {
		inForce := change(i)
		began := time.Now()
		eventually(t, what, inForce)
		if best = min(best, time.Since(began)); best < time.Second {
			return
		}
	}
	t.Errorf("%s: not before %v", what, best)
}

func TestAFullMailboxIsRefusedAtRCPT(t *testing.T) {
	t.Parallel()
	eachLayout(t, func(t *testing.T, o setup) {
		s := newServer(t, o)
		s.Must("account", "set", s.Account, "--quota", "20KiB")
		big := append(letter("big"), bytes.Repeat([]byte("x\r\n"), 4000)...)
		eventually(t, "the mailbox is full", func() bool {
			c, err := dialSMTP(s.Addr["smtp"])
			check(t, err)
			defer c.Quit()
			check(t, c.Cmd(250, "MAIL FROM:<sender@else.example> SIZE=%d", len(big)))
			switch err := c.Cmd(250, "RCPT TO:<%s>", s.Account); code(err) {
			case 250:
				check(t, c.Cmd(354, "DATA"), c.Dotted(big), c.Expect(250))
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
	check(t, s.submit(s.Account, letter("own")))
	others := bytes.Replace(letter("others"), []byte("sender@"), []byte("boss@"), 1)
	if err := s.submit(s.Account, others); code(err) != 550 || !strings.Contains(err.Error(), "boss@else.example") {
		t.Errorf("mail in another's name: %v", err)
	}
	if got := code(s.Send("nobody@"+domain, s.Account, letter("unknown"))); got != 550 {
		t.Errorf("mail from outside of a sender here who does not exist: %d", got)
	}
	s.arrived(s.Account, s.Password, 1)
}

func TestAPauseHoldsOverARestart(t *testing.T) {
	t.Parallel()
	eachLayout(t, func(t *testing.T, o setup) {
		s := newServer(t, o)
		s.Must("pause")
		check(t, s.Send("sender@else.example", s.Account, letter("paused")))
		s.Stop()
		s.serve()
		if st := s.Status(); !st.Paused {
			t.Error("status does not say that the server is still paused")
		}
		if n := len(s.read(s.Account, s.Password)); n != 0 {
			t.Errorf("%d messages were delivered while paused", n)
		}
		s.Must("queue", "pause", "--domain", domain)
		s.Must("continue")
		s.Stop()
		s.Must("queue", "pause", "--domain", "down.example") // while the server is down
		s.serve()
		var sum struct {
			PausedDomains []string `json:"paused_domains"`
		}
		s.Ask(&sum, "queue", "stats")
		if want := []string{"down.example", domain}; !slices.Equal(sum.PausedDomains, want) {
			t.Errorf("paused domains %q, want %q", sum.PausedDomains, want)
		}
		s.Must("queue", "continue", "--domain", domain)
		s.arrived(s.Account, s.Password, 1)
	})
}

func TestHostsThatDoNotAnswerAreListedUntilAFlush(t *testing.T) {
	t.Parallel()
	eachLayout(t, func(t *testing.T, o setup) {
		nobody := freeAddr(t)
		o.config = map[string]string{"route.next_hop": strconv.Quote(nobody), "dispatch.dead_after": "1"}
		s := newServer(t, o)
		check(t, s.submit("joe@else.example", letter("unreachable")))
		var h struct {
			Destinations []struct{ Name, Error, Until string }
		}
		eventually(t, "the destination is listed", func() bool {
			s.Ask(&h, "queue", "hosts")
			return len(h.Destinations) == 1
		})
		if d := h.Destinations[0]; !strings.Contains(d.Name, "127.0.0.1") || d.Error == "" || d.Until == "" {
			t.Errorf("it is listed as %+v", d)
		}
		s.deferred(1)
		k := new(e2etest.Sink)
		l, err := net.Listen("tcp", nobody)
		check(t, err)
		k.Addr = nobody
		k.Serve(t, l)
		s.Must("flush")
		k.Arrived(t, 1)
		eventually(t, "the list is empty", func() bool {
			s.Ask(&h, "queue", "hosts")
			return len(h.Destinations) == 0
		})
	})
}

func TestAServerWithABrokenRoleStopsAtOnce(t *testing.T) {
	t.Parallel()
	for _, broken := range []struct{ role, file string }{{"auth", "auth/secrets.db"}, {"directory", "directory/directory.db"}, {"queue", "queue/db"}} {
		t.Run(broken.role, func(t *testing.T) {
			t.Parallel()
			needRoot(t)
			s := newServer(t, setup{config: map[string]string{"smtp.stop_timeout": `"40s"`, "pop3.stop_timeout": `"40s"`}})
			s.Stop()
			file := filepath.Join(s.Data, broken.file)
			check(t, os.RemoveAll(file), os.RemoveAll(file+"-wal"), os.RemoveAll(file+"-shm"), os.WriteFile(file, []byte("this is no database of any kind\n"), 0o644))
			s.serve()
			eventually(t, broken.role+" flaps", func() bool {
				for _, r := range s.Status().Roles {
					if r.Name == broken.role {
						return r.State == "flapping"
					}
				}
				return false
			})
			// Clients that wait for the broken role must not hold the stop up.
			pop, err := dial(s.Addr["pop3"])
			check(t, err)
			defer pop.Close()
			pop.Line()
			check(t, pop.Send("USER %s", s.Account), pop.Send("PASS %s", s.Password))
			c, err := dialSMTP(s.Addr["smtp"])
			check(t, err)
			defer c.Close()
			check(t, c.Send("MAIL FROM:<sender@else.example>"), c.Send("RCPT TO:<%s>", s.Account))
			if broken.role == "queue" {
				check(t, c.Send("DATA"), c.Send("Subject: x\r\n\r\n."))
			}
			time.Sleep(200 * time.Millisecond)
			began := time.Now()
			s.Stop()
			took := time.Since(began)
			t.Log(broken.role, "stopped after", took)
			if took > 20*time.Second {
				t.Errorf("the stop took %s", took)
			}
		})
	}
}

func TestANewAccountOfAnOldNameBeginsEmpty(t *testing.T) {
	t.Parallel()
	eachLayout(t, func(t *testing.T, o setup) {
		s := newServer(t, o)
		joe := "joe@" + domain
		password := s.addAccount(joe)
		kept := func() int {
			m, err := filepath.Glob(filepath.Join(s.Data, "mail", domain, "joe", "Maildir.removed-*", "*", "*"))
			check(t, err)
			return len(m)
		}
		check(t, s.Send("sender@else.example", joe, letter("old")))
		s.arrived(joe, password, 1)
		held, err := dialPOP(s.Addr["pop3"], joe, password)
		check(t, err)
		defer held.Close()
		s.Must("account", "remove", joe, "--yes")
		if _, err := dialPOP(s.Addr["pop3"], joe, password); err == nil {
			t.Error("the removed account's password still opens")
		}
		next := s.addAccount(joe)
		s.opens(joe, next)
		if n := len(s.read(joe, next)); n != 0 {
			t.Errorf("the new account sees %d old messages", n)
		}
		if n := kept(); n != 1 {
			t.Errorf("%d messages are kept, want 1", n)
		}
		check(t, s.Send("sender@else.example", joe, letter("new")))
		s.arrived(joe, next, 1)
		s.Stop()
		s.Must("account", "remove", joe, "--yes") // while the server is down
		if n := kept(); n != 2 {
			t.Errorf("%d messages are kept, want 2", n)
		}
		s.serve()
		last := s.addAccount(joe)
		s.opens(joe, last)
		if n := len(s.read(joe, last)); n != 0 {
			t.Errorf("the third account sees %d old messages", n)
		}
	})
}

// opens waits until a new password does: roles remember for a moment that there was none.
func (s *server) opens(user, password string) {
	s.T.Helper()
	eventually(s.T, "the new account can log in", func() bool {
		c, err := dialPOP(s.Addr["pop3"], user, password)
		if err == nil {
			c.Quit()
		}
		return err == nil
	})
}
