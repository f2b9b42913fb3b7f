package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/postilion/postilion/e2e/e2etest"
)

// server is a running postilion.
type server struct{ e2etest.Server }

// dataFolder returns a folder that other uids can pass through, which is not made yet.
func dataFolder(t *testing.T) string { return filepath.Join(e2etest.Folder(t, ""), "data") }

// quickstart starts a server on free ports and waits until it listens.
func quickstart(t *testing.T, data string, more ...string) *server {
	t.Helper()
	var args []string
	for _, l := range []string{"smtp", "submission", "submissions", "pop3", "pop3s", "metrics"} {
		args = append(args, "--set", l+".listen=127.0.0.1:0")
	}
	// Whatever else the machine does, mail is taken and delivered.
	args = append(args, "--set", "process.queue_load=-1", "--set", "floors.refuse_load=-1")
	s := &server{e2etest.Server{T: t, Bin: "postilion", Data: data}}
	if told := s.Quickstart("example.test", append(args, more...)...); told["data"] != data {
		t.Fatalf("it told %v", told)
	}
	return s
}

// status waits until every role is up and returns it.
func (s *server) status() (st e2etest.Status) {
	s.T.Helper()
	eventually(s.T, "all roles are up", func() bool {
		out, err := s.Run("status", "--json")
		st = e2etest.Status{}
		if err != nil || json.Unmarshal([]byte(out), &st) != nil {
			return false
		}
		return !slices.ContainsFunc(st.Roles, func(r e2etest.Role) bool { return r.State != "up" && r.State != "flapping" || r.PID == 0 })
	})
	return st
}

var (
	check      = e2etest.Check
	eventually = e2etest.Eventually
)

// emptied waits until the queue holds nothing.
func (s *server) emptied() {
	s.T.Helper()
	eventually(s.T, "the queue is empty", func() bool { return strings.Contains(s.Must("queue", "list"), "0 messages") })
}

// sessions are one of POP3 and one of submission, both logged in.
func (s *server) sessions() []*e2etest.Wire {
	s.T.Helper()
	var pop *e2etest.POP
	var smtp *e2etest.SMTP
	login := func(service string, try func() error) {
		var err error
		eventually(s.T, "a login to "+service, func() bool { err = try(); return err == nil }) // a block lasts for a moment longer
		check(s.T, err)
	}
	login("pop3", func() (err error) {
		pop, err = e2etest.DialPOP(s.Addr["pop3"], s.Account, s.Password)
		return err
	})
	login("submission", func() (err error) {
		if smtp, err = e2etest.DialSMTP(s.Addr["submission"]); err == nil {
			err = smtp.Login(s.Account, s.Password)
		}
		return err
	})
	return []*e2etest.Wire{pop.Wire, smtp.Wire}
}

func TestSessionsEndWithWhatTheyWereLetInBy(t *testing.T) {
	t.Parallel()
	e2etest.EachLayout(t, func(t *testing.T, single bool) {
		s := quickstart(t, dataFolder(t), "--set", "process.single="+strconv.FormatBool(single))
		s.status()
		const next = "the next password"
		for _, ending := range []struct{ verb, undo []string }{
			{[]string{"account", "set", s.Account, "--disabled"}, []string{"account", "set", s.Account, "--disabled=false"}},
			{[]string{"domain", "set", "example.test", "--disabled"}, []string{"domain", "set", "example.test", "--disabled=false"}},
			{[]string{"block", "add", s.Account}, []string{"block", "remove", s.Account}},
			{[]string{"block", "add", "127.0.0.0/8"}, []string{"block", "remove", "127.0.0.0/8"}},
			{[]string{"account", "set", s.Account, "--password-hash", "{PLAIN}" + next}, nil},
			{[]string{"account", "remove", s.Account, "--yes"}, nil},
		} {
			open := s.sessions()
			s.Must("account", "set", s.Account, "--name", "someone") // ends none
			for _, w := range open {
				check(t, w.Send("NOOP"))
				if _, err := w.Line(); err != nil {
					t.Errorf("before %v: %v", ending.verb, err)
				}
			}
			s.Must(ending.verb...)
			for i, w := range open {
				if line, err := w.Line(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%v: session %d goes on: %q %v", ending.verb, i, line, err)
				}
			}
			if ending.undo == nil {
				s.Password = next
			} else {
				s.Must(ending.undo...)
			}
		}
	})
}

func TestARemovalThatWasKilledIsFinished(t *testing.T) {
	t.Parallel()
	s := quickstart(t, dataFolder(t))
	check(t, s.send("you@example.org", s.Account, "kept"))
	s.arrives("kept")
	remover := exec.Command("postilion", "account", "remove", s.Account, "--yes", "--data", s.Data)
	check(t, remover.Start())
	eventually(t, "the account is removed", func() bool { return !strings.Contains(s.Must("account", "list"), s.Account) })
	remover.Process.Kill() // while it waits for roles to forget the account
	remover.Wait()
	s.Stop()
	s.Must("account", "add", s.Account) // the first thing that opens the stores
	if kept, err := filepath.Glob(filepath.Join(s.Data, "mail/example.test/hello/Maildir.removed-*/*/*")); len(kept) != 1 || err != nil {
		t.Errorf("set aside: %q, %v", kept, err)
	}
	if out := s.Must("account", "show", s.Account); !strings.Contains(out, "example.test/hello/Maildir") {
		t.Errorf("the next account has another mailbox: %s", out)
	}
}

// letter is a small message.
func letter(from, to, subject string) []byte {
	return fmt.Appendf(nil, "From: <%s>\r\nTo: <%s>\r\nSubject: %s\r\n\r\nIt works.\r\n", from, to, subject)
}

func (s *server) send(from, to, subject string) error {
	return s.Send(from, to, letter(from, to, subject))
}

// submit sends through the submission service as the account.
func (s *server) submit(to string) error { return s.Submit(to, letter(s.Account, to, "out")) }

// arrives waits for a message with the subject in the account's mailbox.
func (s *server) arrives(subject string) {
	s.T.Helper()
	var last error
	eventually(s.T, "the message "+subject+" arrives", func() bool {
		var messages [][]byte
		messages, last = s.Read(s.Account, s.Password)
		return slices.ContainsFunc(messages, func(m []byte) bool { return bytes.Contains(m, []byte("\r\nSubject: "+subject+"\r\n")) })
	})
	check(s.T, last)
}
