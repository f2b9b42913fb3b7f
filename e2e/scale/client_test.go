package scale

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postilion/postilion/e2e/e2etest"
)

// sender is who sends all mail.
const sender = "sender@load.example"

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
			defer c.Quit()
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
				if err := c.Stream(sender, to(i), bytes.NewReader(content)); err != nil {
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

// login logs in and returns how long that took.
func (s *server) login(account, password string) (*e2etest.POP, time.Duration, error) {
	began := time.Now()
	p, err := e2etest.DialPOP(s.Addr["pop3"], account, password)
	return p, time.Since(began), err
}

// retrieve reads a message and returns the hash of what follows the lines of servers.
func retrieve(p *e2etest.POP, n int) ([]byte, error) {
	if _, err := p.Cmd("RETR %d", n); err != nil {
		return nil, err
	}
	sum, begun := sha256.New(), false
	err := e2etest.EachLine(p.R, func(line []byte) {
		begun = begun || string(line) == firstLine+"\r\n"
		if begun {
			sum.Write(line)
		}
	})
	return sum.Sum(nil), err
}
