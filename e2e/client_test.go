package e2e

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// submit sends a letter as the server's account does: to wherever it likes, in its own name.
func (s *server) submit(to string, content []byte) error {
	return s.Submit(to, bytes.Replace(content, []byte("From: <sender@else.example>"), []byte("From: <"+s.Account+">"), 1))
}

// letter is a small message that a person could have written.
func letter(subject string) []byte {
	return []byte("From: <sender@else.example>\r\nTo: <hello@example.test>\r\nSubject: " + subject +
		"\r\nDate: Mon, 02 Jan 2006 15:04:05 +0000\r\nMessage-ID: <" + subject + "@else.example>\r\n\r\nHello.\r\n.\r\n..\r\n")
}

// read returns what an account's mailbox holds, which stays there.
func (s *server) read(user, password string) [][]byte {
	s.T.Helper()
	messages, err := s.Read(user, password)
	check(s.T, err)
	return messages
}

// arrived waits until an account has n messages, and returns them.
func (s *server) arrived(user, password string, n int) (messages [][]byte) {
	s.T.Helper()
	eventually(s.T, fmt.Sprintf("%d messages for %s", n, user), func() bool {
		messages = s.read(user, password)
		return len(messages) >= n
	})
	if len(messages) != n {
		s.T.Fatalf("%s has %d messages, want %d", user, len(messages), n)
	}
	return messages
}

// checkWhole checks that a message read is the one sent below the server's own lines.
func checkWhole(t testing.TB, got, sent []byte) {
	t.Helper()
	if !bytes.HasSuffix(got, sent) {
		t.Errorf("the message read does not end in the %d bytes that were sent:\n%.2000q\nsent:\n%.2000q", len(sent), got, sent)
		return
	}
	name := ""
	for line := range strings.Lines(string(got[:len(got)-len(sent)])) {
		if line[0] != ' ' && line[0] != '\t' {
			name, _, _ = strings.Cut(line, ":")
		}
		if name != "Return-Path" && name != "Delivered-To" && name != "Received" {
			t.Errorf("the server added %q", line)
		}
	}
}
