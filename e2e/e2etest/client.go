package e2etest

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"time"
)

// Wire is a line protocol's client side: what it sends is what the test says. Each read and each write has Patience.
type Wire struct {
	net.Conn
	R *bufio.Reader
}

// NewWire speaks on a connection.
func NewWire(c net.Conn) *Wire {
	w := &Wire{Conn: c}
	w.R = bufio.NewReader(w)
	return w
}

// Dial connects to a listener.
func Dial(addr string) (*Wire, error) {
	c, err := net.DialTimeout("tcp", addr, Patience)
	if err != nil {
		return nil, err
	}
	return NewWire(c), nil
}

// Read implements io.Reader. What lines are read from is R.
func (w *Wire) Read(p []byte) (int, error) {
	w.SetReadDeadline(time.Now().Add(Patience))
	return w.Conn.Read(p)
}

// Write implements io.Writer.
func (w *Wire) Write(p []byte) (int, error) {
	w.SetWriteDeadline(time.Now().Add(Patience))
	return w.Conn.Write(p)
}

// Line reads a line without its end.
func (w *Wire) Line() (string, error) {
	line, err := w.R.ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}

// Send writes a line.
func (w *Wire) Send(format string, args ...any) error {
	_, err := fmt.Fprintf(w, format+"\r\n", args...)
	return err
}

// Dotted writes content, which ends in CRLF, and the final dot.
func (w *Wire) Dotted(content []byte) error {
	stuffed := bytes.ReplaceAll(content, []byte("\r\n."), []byte("\r\n.."))
	if bytes.HasPrefix(stuffed, []byte(".")) {
		stuffed = append([]byte("."), stuffed...)
	}
	_, err := w.Write(append(stuffed, ".\r\n"...))
	return err
}

// EachLine visits the lines up to the final dot, with their ends and without the dots that were doubled.
func EachLine(r *bufio.Reader, visit func(line []byte)) error {
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return err
		}
		if string(line) == ".\r\n" {
			return nil
		}
		visit(bytes.TrimPrefix(line, []byte(".")))
	}
}

// SMTP speaks SMTP by hand.
type SMTP struct {
	*Wire
	Last string // the text of the last reply, of its last line
}

// DialSMTP connects, reads the greeting and says EHLO.
func DialSMTP(addr string) (*SMTP, error) {
	w, err := Dial(addr)
	if err != nil {
		return nil, err
	}
	return w.Hello()
}

// Hello reads a greeting of SMTP and says EHLO. It closes the connection where that fails.
func (w *Wire) Hello() (*SMTP, error) {
	c := &SMTP{Wire: w}
	err := c.Expect(220)
	if err == nil {
		err = c.Cmd(250, "EHLO client.example")
	}
	if err != nil {
		w.Close()
		return nil, err
	}
	return c, nil
}

// Expect reads a reply and returns an error that is a *textproto.Error if it has another code.
func (c *SMTP) Expect(code int) error {
	_, text, err := textproto.NewReader(c.R).ReadResponse(code)
	c.Last = text[strings.LastIndexByte(text, '\n')+1:]
	return err
}

// Cmd says a line and expects the code.
func (c *SMTP) Cmd(code int, format string, args ...any) error {
	if err := c.Send(format, args...); err != nil {
		return err
	}
	return c.Expect(code)
}

// Login authenticates with PLAIN.
func (c *SMTP) Login(user, password string) error {
	return c.Cmd(235, "AUTH PLAIN %s", base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password)))
}

// Envelope says all that comes before a message's content.
func (c *SMTP) Envelope(from string, to ...string) error {
	if err := c.Cmd(250, "MAIL FROM:<%s> BODY=8BITMIME", from); err != nil {
		return err
	}
	for _, r := range to {
		if err := c.Cmd(250, "RCPT TO:<%s>", r); err != nil {
			return err
		}
	}
	return c.Cmd(354, "DATA")
}

// Mail sends one message with CRLF line ends.
func (c *SMTP) Mail(from string, to []string, content []byte) error {
	if err := c.Envelope(from, to...); err != nil {
		return err
	}
	if err := c.Dotted(content); err != nil {
		return err
	}
	return c.Expect(250)
}

// Stream sends one message while it is read. It has CRLF line ends, and no line that begins with a dot.
func (c *SMTP) Stream(from, to string, content io.Reader) error {
	if err := c.Envelope(from, to); err != nil {
		return err
	}
	if _, err := io.CopyBuffer(c.Wire, content, make([]byte, 64<<10)); err != nil {
		return err
	}
	return c.Cmd(250, ".")
}

// Quit ends the session, whatever the server says to that.
func (c *SMTP) Quit() {
	c.Cmd(221, "QUIT")
	c.Close()
}

// Code returns the SMTP code of an error, 250 for none, 0 for one of another kind.
func Code(err error) int {
	switch e := err.(type) {
	case nil:
		return 250
	case *textproto.Error:
		return e.Code
	}
	return 0
}

// POP reads a mailbox.
type POP struct{ *Wire }

// POPError is what follows -ERR.
type POPError string

// Error implements error.
func (e POPError) Error() string { return string(e) }

// DialPOP connects and logs in.
func DialPOP(addr, user, password string) (*POP, error) {
	w, err := Dial(addr)
	if err != nil {
		return nil, err
	}
	c := &POP{w}
	if _, err = c.status(); err == nil {
		if _, err = c.Cmd("USER %s", user); err == nil {
			_, err = c.Cmd("PASS %s", password)
		}
	}
	if err != nil {
		w.Close()
		return nil, err
	}
	return c, nil
}

func (c *POP) status() (string, error) {
	line, err := c.Line()
	switch {
	case err != nil:
		return "", err
	case strings.HasPrefix(line, "+OK"):
		return strings.TrimPrefix(line[3:], " "), nil
	case strings.HasPrefix(line, "-ERR"):
		return "", POPError(strings.TrimPrefix(line[4:], " "))
	}
	return "", fmt.Errorf("no POP3 reply: %q", line)
}

// Cmd says a line and returns what follows +OK; the error of -ERR is a POPError.
func (c *POP) Cmd(format string, args ...any) (string, error) {
	if err := c.Send(format, args...); err != nil {
		return "", err
	}
	return c.status()
}

// Block reads what follows up to the final dot, with CRLF line ends.
func (c *POP) Block() ([]byte, error) {
	var b bytes.Buffer
	err := EachLine(c.R, func(line []byte) { b.Write(line) })
	return b.Bytes(), err
}

// All reads every message, and checks that each has the size that LIST tells.
func (c *POP) All() (messages [][]byte, err error) {
	if _, err := c.Cmd("LIST"); err != nil {
		return nil, err
	}
	list, err := c.Block()
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(list)) {
		n, size, _ := strings.Cut(strings.TrimSpace(line), " ")
		if _, err := c.Cmd("RETR %s", n); err != nil {
			return nil, err
		}
		m, err := c.Block()
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

// UIDLs returns the ids of all messages.
func (c *POP) UIDLs() (string, error) {
	if _, err := c.Cmd("UIDL"); err != nil {
		return "", err
	}
	list, err := c.Block()
	return string(list), err
}

// Quit ends the session; what was deleted goes.
func (c *POP) Quit() {
	c.Cmd("QUIT")
	c.Close()
}
