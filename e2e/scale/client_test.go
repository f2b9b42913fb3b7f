package scale

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const patience = 2 * time.Minute

// client speaks SMTP by hand.
type client struct {
	net.Conn
	r *textproto.Reader
}

func dialSMTP(addr string) (*client, error) {
	nc, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	return greeted(nc)
}

// greeted reads the greeting and says EHLO.
func greeted(nc net.Conn) (*client, error) {
	c := &client{nc, textproto.NewReader(bufio.NewReaderSize(nc, 512))}
	c.SetDeadline(time.Now().Add(patience))
	_, _, err := c.r.ReadResponse(220)
	if err == nil {
		err = c.cmd(250, "EHLO client.example")
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

func (c *client) cmd(code int, format string, args ...any) error {
	c.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintf(c, format+"\r\n", args...); err != nil {
		return err
	}
	_, _, err := c.r.ReadResponse(code)
	return err
}

func (c *client) quit() {
	c.cmd(221, "QUIT") // whatever it says, the session is over
	c.Close()
}

// mail sends one message; content has CRLF line ends, none of which begins with a dot.
func (c *client) mail(to string, content io.Reader) error {
	err := c.cmd(250, "MAIL FROM:<sender@load.example> BODY=8BITMIME")
	if err == nil {
		err = c.cmd(250, "RCPT TO:<%s>", to)
	}
	if err == nil {
		err = c.cmd(354, "DATA")
	}
	if err != nil {
		return err
	}
	c.SetDeadline(time.Now().Add(5 * patience))
	if _, err := io.CopyBuffer(struct{ io.Writer }{c.Conn}, content, make([]byte, 64<<10)); err != nil {
		return err
	}
	return c.cmd(250, ".")
}

// load sends messages of so many bytes over sessions at the same time, n in all, or until
// stop is closed when n is 0. It returns how many were acknowledged and the slowest acknowledgement.
func load(t testing.TB, addr string, sessions, n, bytesEach int, stop <-chan struct{}, to func(i int) string) (sent int, slowest time.Duration) {
	t.Helper()
	content := []byte("From: <sender@load.example>\r\nSubject: load\r\n\r\n" + strings.Repeat(strings.Repeat("x", 72)+"\r\n", max(1, bytesEach/74)))
	start := time.Now()
	var next atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range sessions {
		wg.Go(func() {
			c, err := dialSMTP(addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.quit()
			for {
				select {
				case <-stop:
					return
				default:
				}
				i := int(next.Add(1)) - 1
				if n > 0 && i >= n {
					return
				}
				began := time.Now()
				if *pace > 0 {
					time.Sleep(time.Until(start.Add(time.Duration(i) * time.Second / time.Duration(*pace))))
				}
				if err := c.mail(to(i), bytes.NewReader(content)); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				sent++
				slowest = max(slowest, time.Since(began))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return sent, slowest
}

// letter is a message of about so many bytes, made while it is read. Its lines are counted,
// so that one that is lost or doubled is noticed, and hold UTF-8.
type letter struct {
	left  int64
	line  int
	piece []byte
	rest  []byte
	sum   hash.Hash // of the whole, with CRLF
	body  hash.Hash // of what follows the header
}

// firstLine begins what a letter's reader compares: servers write their lines above it.
const firstLine = "X-Letter: begins here"

func newLetter(size int64) *letter { return &letter{left: size, sum: sha256.New(), body: sha256.New()} }

// Read implements io.Reader.
func (l *letter) Read(p []byte) (int, error) {
	if len(l.rest) == 0 {
		if l.left <= 0 {
			return 0, io.EOF
		}
		l.piece = l.piece[:0]
		if l.line == 0 {
			l.piece = append(l.piece, firstLine+"\r\nFrom: <sender@load.example>\r\nSubject: large\r\nMIME-Version: 1.0\r\n"+
				"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"...)
			l.sum.Write(l.piece)
			l.left -= int64(len(l.piece))
			l.line++
		} else {
			for len(l.piece) < 32<<10 && l.left > int64(len(l.piece)) {
				l.piece = fmt.Appendf(l.piece, "%09d grüße, 안녕하세요 = text that is a little longer than a word\r\n", l.line)
				l.line++
			}
			l.sum.Write(l.piece)
			l.body.Write(l.piece)
			l.left -= int64(len(l.piece))
		}
		l.rest = l.piece
	}
	n := copy(p, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

// pop is a POP3 session after login.
type pop struct {
	net.Conn
	r *bufio.Reader
}

// login logs in and returns how long that took.
func (s *server) login(account, password string) (*pop, time.Duration, error) {
	began := time.Now()
	nc, err := net.DialTimeout("tcp", s.addr["pop3"], patience)
	if err != nil {
		return nil, 0, err
	}
	p := &pop{nc, bufio.NewReaderSize(nc, 64<<10)}
	p.SetDeadline(time.Now().Add(5 * patience))
	if _, err = p.ok(); err == nil {
		if _, err = p.cmd("USER %s", account); err == nil {
			_, err = p.cmd("PASS %s", password)
		}
	}
	if err != nil {
		nc.Close()
	}
	return p, time.Since(began), err
}

func (p *pop) ok() (string, error) {
	line, err := p.r.ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "+OK") {
		err = fmt.Errorf("POP3 says %q", line)
	}
	return line, err
}

func (p *pop) cmd(format string, args ...any) (string, error) {
	if _, err := fmt.Fprintf(p, format+"\r\n", args...); err != nil {
		return "", err
	}
	return p.ok()
}

// retrieve reads a message and returns the hash of what follows the lines of servers.
func (p *pop) retrieve(n int) ([]byte, error) {
	if _, err := p.cmd("RETR %d", n); err != nil {
		return nil, err
	}
	sum, begun := sha256.New(), false
	err := eachLine(p.r, func(line []byte) {
		begun = begun || string(line) == firstLine+"\r\n"
		if begun {
			sum.Write(line)
		}
	})
	return sum.Sum(nil), err
}

// eachLine visits the lines up to the final dot, unstuffed.
func eachLine(r *bufio.Reader, visit func(line []byte)) error {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if string(line) == ".\r\n" {
			return nil
		}
		visit(bytes.TrimPrefix(line, []byte(".")))
	}
}
