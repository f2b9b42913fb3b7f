package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// generated makes messages that a careless path would change: dots, 8-bit bytes, empty
// and long lines, no header, no body, and a large one that goes to a spool file.
func generated() [][]byte {
	random := rand.New(rand.NewPCG(1, 2))
	var many bytes.Buffer
	many.WriteString("Subject: large\r\n\r\n")
	for many.Len() < 300_000 {
		line := make([]byte, random.IntN(300))
		for i := range line {
			for line[i] == 0 || line[i] == '\r' || line[i] == '\n' {
				line[i] = byte(random.IntN(256))
			}
		}
		many.Write(line)
		many.WriteString("\r\n")
	}
	return [][]byte{
		letter("plain"),
		[]byte("Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n...\r\n"),
		[]byte("Subject: no body\r\n\r\n"),
		[]byte("\r\nno header\r\n"),
		[]byte("\r\n"),
		[]byte("Subject: trailing\r\n\r\nspace \t \r\n\r\n\r\n\r\n"),
		[]byte("Subject: =?x\r\n\tfolded\r\n\r\n\xff\xfe\x80 8 bit\r\n"),
		[]byte("Subject: From\r\n\r\nFrom the mbox's point of view\r\n>From\r\n"),
		[]byte("Subject: long\r\n\r\n" + strings.Repeat("x", 998) + "\r\n" + strings.Repeat("y", 50_000) + "\r\n"),
		[]byte("Subject: caf\u00e9 \ud55c\uad6d\uc5b4 \u65e5\u672c\u8a9e\r\n\r\n\u4e2d\u6587\r\n"),
		many.Bytes(),
	}
}

func TestMailComesOutAsItWentIn(t *testing.T) {
	t.Parallel()
	eachLayout(t, func(t *testing.T, o setup) {
		s := newServer(t, o)
		s.carry(generated())
	})
}

// carry sends messages to the server's account over one connection, reads them by
// POP3 and compares them byte for byte. The envelope's sender says which one it is.
func (s *server) carry(messages [][]byte) {
	t := s.T
	t.Helper()
	c, err := dialSMTP(s.Addr["smtp"])
	check(t, err)
	for i, m := range messages {
		if err := c.Mail(fmt.Sprintf("sender-%d@else.example", i), []string{s.Account}, m); err != nil {
			t.Fatalf("message %d: %v: %.500q", i, err, m)
		}
	}
	c.Quit()
	seen := map[int]bool{}
	for _, got := range s.arrived(s.Account, s.Password, len(messages)) {
		var i int
		if _, err := fmt.Sscanf(string(got), "Return-Path: <sender-%d@else.example>\r\n", &i); err != nil {
			t.Fatalf("a message begins with %.200q: %v", got, err)
		}
		if seen[i] {
			t.Errorf("message %d came twice", i)
		}
		seen[i] = true
		checkWhole(t, got, messages[i])
	}
}
