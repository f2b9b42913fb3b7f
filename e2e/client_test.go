package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"testing"
	"time"
)

// patience bounds each step of a client, so that a server that hangs fails a test. It promises nothing of how fast
// a step is: it is far beyond what a machine with much else to do takes, and below the server's own time-outs.
const patience = time.Minute

// wire is a line protocol's client side.
type wire struct {
	net.Conn
	r *bufio.Reader
}

func dial(addr string) (*wire, error) {
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	return &wire{c, bufio.NewReader(c)}, nil
}

func (w *wire) line() (string, error) {
	w.SetDeadline(time.Now().Add(patience))
	line, err := w.r.ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}

func (w *wire) send(format string, args ...any) error {
	w.SetDeadline(time.Now().Add(patience))
	_, err := fmt.Fprintf(w, format+"\r\n", args...)
	return err
}

// dotted writes content, which ends in CRLF, and the final dot.
func (w *wire) dotted(content []byte) error {
	stuffed := bytes.ReplaceAll(content, []byte("\r\n."), []byte("\r\n.."))
	if bytes.HasPrefix(stuffed, []byte(".")) {
		stuffed = append([]byte("."), stuffed...)
	}
	w.SetDeadline(time.Now().Add(patience))
	_, err := w.Write(append(stuffed, ".\r\n"...))
	return err
}

// smtpClient speaks SMTP by hand: what it sends is what the test says.
type smtpClient struct {
	*wire
	last string // the text of the last reply
}

func dialSMTP(addr string) (*smtpClient, error) {
	w, err := dial(addr)
	if err != nil {
		return nil, err
	}
	c := &smtpClient{wire: w}
	if err = c.expect(220); err == nil {
		err = c.cmd(250, "EHLO client.example")
	}
	if err != nil {
		w.Close()
		return nil, err
	}
	return c, nil
}

// expect reads a reply and returns an error that is a *textproto.Error if it has
// another code.
func (c *smtpClient) expect(code int) error {
	var text []string
	for {
		line, err := c.line()
		if err != nil {
			return err
		}
		if len(line) < 4 {
			return fmt.Errorf("no SMTP reply: %q", line)
		}
		text = append(text, line[4:])
		c.last = line[4:]
		if line[3] == '-' {
			continue
		}
		got, err := strconv.Atoi(line[:3])
		if err != nil {
			return fmt.Errorf("no SMTP reply: %q", line)
		}
		if got != code {
			return &textproto.Error{Code: got, Msg: strings.Join(text, "\n")}
		}
		return nil
	}
}

func (c *smtpClient) cmd(code int, format string, args ...any) error {
	if err := c.send(format, args...); err != nil {
		return err
	}
	return c.expect(code)
}

// mail sends one message with CRLF line ends.
func (c *smtpClient) mail(from string, to []string, content []byte) error {
	if err := c.cmd(250, "MAIL FROM:<%s> BODY=8BITMIME", from); err != nil {
		return err
	}
	for _, r := range to {
		if err := c.cmd(250, "RCPT TO:<%s>", r); err != nil {
			return err
		}
	}
	if err := c.cmd(354, "DATA"); err != nil {
		return err
	}
	if err := c.dotted(content); err != nil {
		return err
	}
	return c.expect(250)
}

func (c *smtpClient) quit() {
	c.send("QUIT")
	c.Close()
}

// send delivers one message to the server over a connection of its own.
func (s *server) send(from, to string, content []byte) error {
	c, err := dialSMTP(s.addr["smtp"])
	if err != nil {
		return err
	}
	defer c.quit()
	return c.mail(from, []string{to}, content)
}

// submit sends a letter as the server's account does: to wherever it likes, in its own name.
func (s *server) submit(to string, content []byte) error {
	c, err := dialSMTP(s.addr["submission"])
	if err != nil {
		return err
	}
	defer c.quit()
	if err := c.login(s.account, s.password); err != nil {
		return err
	}
	own := bytes.Replace(content, []byte("From: <sender@else.example>"), []byte("From: <"+s.account+">"), 1)
	return c.mail(s.account, []string{to}, own)
}

// letter is a small message that a person could have written.
func letter(subject string) []byte {
	return []byte("From: <sender@else.example>\r\nTo: <hello@example.test>\r\nSubject: " + subject +
		"\r\nDate: Mon, 02 Jan 2006 15:04:05 +0000\r\nMessage-ID: <" + subject + "@else.example>\r\n\r\nHello.\r\n.\r\n..\r\n")
}

// code returns the SMTP code of an error, 250 for none.
func code(err error) int {
	if err == nil {
		return 250
	}
	if e, ok := err.(*textproto.Error); ok {
		return e.Code
	}
	return 0
}

// popClient reads a mailbox.
type popClient struct{ *wire }

// popError is what follows -ERR.
type popError string

func (e popError) Error() string { return string(e) }

func dialPOP(addr, user, password string) (*popClient, error) {
	w, err := dial(addr)
	if err != nil {
		return nil, err
	}
	c := &popClient{w}
	if _, err = c.status(); err == nil {
		if _, err = c.cmd("USER %s", user); err == nil {
			_, err = c.cmd("PASS %s", password)
		}
	}
	if err != nil {
		w.Close()
		return nil, err
	}
	return c, nil
}

func (c *popClient) status() (string, error) {
	line, err := c.line()
	switch {
	case err != nil:
		return "", err
	case strings.HasPrefix(line, "+OK"):
		return strings.TrimPrefix(line[3:], " "), nil
	case strings.HasPrefix(line, "-ERR"):
		return "", popError(strings.TrimPrefix(line[4:], " "))
	}
	return "", fmt.Errorf("no POP3 reply: %q", line)
}

func (c *popClient) cmd(format string, args ...any) (string, error) {
	if err := c.send(format, args...); err != nil {
		return "", err
	}
	return c.status()
}

// block reads what follows up to the final dot, with CRLF line ends.
func (c *popClient) block() ([]byte, error) {
	var b bytes.Buffer
	for {
		c.SetDeadline(time.Now().Add(patience))
		line, err := c.r.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		if string(line) == ".\r\n" {
			return b.Bytes(), nil
		}
		b.Write(bytes.TrimPrefix(line, []byte(".")))
	}
}

// all reads every message, and checks that each has the size that LIST tells.
func (c *popClient) all() (messages [][]byte, err error) {
	if _, err := c.cmd("LIST"); err != nil {
		return nil, err
	}
	list, err := c.block()
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(list)) {
		n, size, _ := strings.Cut(strings.TrimSpace(line), " ")
		if _, err := c.cmd("RETR %s", n); err != nil {
			return nil, err
		}
		m, err := c.block()
		if err != nil {
			return nil, err
		}
		if strconv.Itoa(len(m)) != size {
			return nil, fmt.Errorf("message %s has %d bytes where LIST told %s", n, len(m), size)
		}
		messages = append(messages, m)
	}
	return messages, nil
}

// uidls returns the ids of all messages.
func (c *popClient) uidls() (string, error) {
	if _, err := c.cmd("UIDL"); err != nil {
		return "", err
	}
	list, err := c.block()
	return string(list), err
}

func (c *popClient) quit() {
	c.cmd("QUIT")
	c.Close()
}

// read returns what an account's mailbox holds, which stays there.
func (s *server) read(user, password string) [][]byte {
	s.t.Helper()
	c, err := dialPOP(s.addr["pop3"], user, password)
	check(s.t, err)
	defer c.quit()
	messages, err := c.all()
	check(s.t, err)
	return messages
}

// arrived waits until an account has n messages, and returns them.
func (s *server) arrived(user, password string, n int) (messages [][]byte) {
	s.t.Helper()
	within(s.t, patience, fmt.Sprintf("%d messages for %s", n, user), func() bool {
		messages = s.read(user, password)
		return len(messages) >= n
	})
	if len(messages) != n {
		s.t.Fatalf("%s has %d messages, want %d", user, len(messages), n)
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
