package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// load is one run of the load generator: sessions at the same time, each sending
// messages one after another, with MAIL, RCPT and DATA in one write where pipelining is on.
type load struct {
	addr     string
	sessions int
	messages int
	size     int  // of the content, bytes with CRLF
	fresh    bool // a connection of its own for every message
	to       func(i int) string
}

// run sends everything and returns how long it took. The first failure ends it.
func (l load) run(ctx context.Context) (time.Duration, error) {
	content := l.content()
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, l.sessions)
	start := time.Now()
	for range l.sessions {
		wg.Go(func() {
			if err := l.session(ctx, &next, content); err != nil {
				errs <- err
				next.Store(int64(l.messages))
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	select {
	case err := <-errs:
		return took, err
	default:
		return took, ctx.Err()
	}
}

// content is a message whose lines have 72 characters.
func (l load) content() []byte {
	var b bytes.Buffer
	b.WriteString("From: <sender@load.example>\r\nTo: <user@bench.example>\r\nSubject: bench\r\nMessage-ID: <bench@bench.example>\r\n\r\n")
	line := strings.Repeat("x", 72) + "\r\n"
	for b.Len()+len(line) <= l.size {
		b.WriteString(line)
	}
	b.WriteString(".\r\n")
	return b.Bytes()
}

func (l load) session(ctx context.Context, next *atomic.Int64, content []byte) error {
	var c *client
	defer func() {
		if c != nil {
			c.quit()
		}
	}()
	for {
		i := int(next.Add(1)) - 1
		if i >= l.messages || ctx.Err() != nil {
			return nil
		}
		if c == nil {
			var err error
			if c, err = dial(l.addr); err != nil {
				return err
			}
		}
		if err := c.send(l.to(i), content); err != nil {
			return err
		}
		if l.fresh {
			c.quit()
			c = nil
		}
	}
}

type client struct {
	net.Conn
	r *textproto.Reader
}

// patience bounds every step of a session.
const patience = 2 * time.Minute

func dial(addr string) (*client, error) {
	nc, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	c := &client{nc, textproto.NewReader(bufio.NewReader(nc))}
	c.SetDeadline(time.Now().Add(patience))
	if _, _, err := c.r.ReadResponse(220); err != nil {
		nc.Close()
		return nil, err
	}
	if err := c.command("EHLO bench.example\r\n", 250); err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

func (c *client) command(line string, codes ...int) error {
	if _, err := c.Write([]byte(line)); err != nil {
		return err
	}
	for _, code := range codes {
		if _, _, err := c.r.ReadResponse(code); err != nil {
			return err
		}
	}
	return nil
}

func (c *client) send(to string, content []byte) error {
	c.SetDeadline(time.Now().Add(patience))
	if err := c.command(fmt.Sprintf("MAIL FROM:<sender@load.example>\r\nRCPT TO:<%s>\r\nDATA\r\n", to), 250, 250, 354); err != nil {
		return err
	}
	if _, err := c.Write(content); err != nil {
		return err
	}
	_, _, err := c.r.ReadResponse(250)
	return err
}

func (c *client) quit() {
	c.Write([]byte("QUIT\r\n"))
	c.r.ReadResponse(221) // whatever it says, the session is over
	c.Close()
}
