package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
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
