package rpc

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"time"
)

// Client makes calls.
type Client struct {
	Dial func(ctx context.Context) (net.Conn, error)
	// MaxIdle bounds the pool; 0 means 64.
	MaxIdle int
	// Watch, when set, is asked again and again while a call goes on, whether there is sense in waiting for it: its
	// error ends the call, and is what the call fails with. Its context ends with the call.
	Watch func(ctx context.Context) error
	// WatchEvery is the time between two such questions; 0 means 5 s.
	WatchEvery time.Duration

	mu   sync.Mutex
	idle []*Conn

	sharing sync.Mutex
	shared  *shared   // carries gathered calls; nil before the first
	opening *opening  // of shared, while that is under way
	alone   time.Time // when the server had no memory to share
}

// NewClient returns a client of the Unix socket path.
func NewClient(path string) *Client {
	return &Client{Dial: func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
}

// fresh is how long a pooled connection is used again without a look whether the server
// is still there. A server that went away meanwhile fails the call, as one that goes
// away during a call does.
const fresh = 20 * time.Millisecond

// Stream is a call under way, from the client's side.
type Stream struct {
	*Conn
	client *Client
	stop   func() bool
	cancel context.CancelCauseFunc // ends the watch, where there is one
}

// Open begins a call that streams. It ends with Reply or Close. The error is Dial's, or of a request that is too long
// for a frame.
func (cl *Client) Open(ctx context.Context, method string, request []byte) (*Stream, error) {
	return cl.open(ctx, func(c *Conn) error { return c.writeFrame(kindCall, []byte(method), []byte{0}, request) })
}

// open begins a call by what begin writes, which may be asked for again.
func (cl *Client) open(ctx context.Context, begin func(c *Conn) error) (*Stream, error) {
	var watched context.Context
	cancel := context.CancelCauseFunc(func(error) {})
	if cl.Watch != nil {
		ctx, cancel = context.WithCancelCause(ctx)
		watched = ctx
		go cl.watch(ctx, cancel)
	}
	c, err := cl.begin(ctx, begin)
	if err != nil {
		err = because(watched, err)
		cancel(nil)
		return nil, err
	}
	c.watched = watched
	return &Stream{c, cl, context.AfterFunc(ctx, func() { c.c.SetDeadline(time.Unix(1, 0)) }), cancel}, nil
}

// begin gets a connection on which a call has begun.
func (cl *Client) begin(ctx context.Context, begin func(c *Conn) error) (*Conn, error) {
	for {
		c, err := cl.get(ctx)
		if err != nil {
			return nil, err
		}
		if err := begin(c); err != nil {
			cl.put(c)
			return nil, err
		}
		if !c.since.IsZero() && time.Since(c.since) > fresh && stale(c.c) {
			c.c.Close() // the server was restarted: its pool-mates are stale too
			continue
		}
		c.over = false
		return c, nil
	}
}

// watch asks about the server until ctx ends, or there is no sense in waiting for it.
func (cl *Client) watch(ctx context.Context, giveUp context.CancelCauseFunc) {
	t := time.NewTicker(cmp.Or(cl.WatchEvery, 5*time.Second))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if err := cl.Watch(ctx); err != nil && ctx.Err() == nil {
			giveUp(err)
		}
	}
}

// because returns why a watched call was broken off, else err. watched is nil where nobody watches.
func because(watched context.Context, err error) error {
	if err == nil || watched == nil || watched.Err() == nil {
		return err
	}
	return context.Cause(watched)
}

// Reply ends the call: it flushes, skips what is left of the server's stream and
// returns the reply.
func (s *Stream) Reply() ([]byte, error) { return s.reply(func([]byte) error { return nil }) }

// reply is Reply, with a use for what is left of the server's stream.
func (s *Stream) reply(piece func([]byte) error) ([]byte, error) {
	defer s.Close()
	if err := s.Flush(); err != nil {
		// The server may have told why it closed.
		if kind, p, rerr := s.readFrame(); rerr == nil && kind == kindError {
			return nil, decodeError(p)
		}
		return nil, err
	}
	for {
		kind, p, err := s.readFrame()
		switch {
		case err != nil:
			return nil, noEOF(err)
		case kind == kindReply:
			s.over = true
			return append([]byte(nil), p...), nil
		case kind == kindError:
			s.over = true
			return nil, decodeError(p)
		case kind == kindData:
			if err := piece(p); err != nil {
				return nil, err
			}
		case kind != kindEnd:
			return nil, fmt.Errorf("rpc: unexpected frame %q", kind)
		}
	}
}

// Close gives the connection back after Reply, or breaks the call off.
func (s *Stream) Close() {
	if s.Conn == nil {
		return
	}
	c := s.Conn
	s.Conn, c.watched = nil, nil
	defer s.cancel(nil)
	if s.stop() && c.over {
		s.client.put(c)
		return
	}
	c.c.Close()
}

// maxReply bounds the reply of a call without streams, in bytes: a list of some hundred thousand accounts.
const maxReply = 64 << 20

// Call makes a call without streams. The error is the handler's (*reason.Error, or *Error, which errors.Is compares
// with sentinels), Watch's, or of a connection that broke.
func (cl *Client) Call(ctx context.Context, method string, request []byte) ([]byte, error) {
	s, err := cl.Open(ctx, method, request)
	if err != nil {
		return nil, err
	}
	return s.longReply()
}

// longReply is Reply where the server has no stream: a reply longer than a frame comes in pieces.
func (s *Stream) longReply() ([]byte, error) {
	var begun []byte
	last, err := s.reply(func(p []byte) error {
		if begun = append(begun, p...); len(begun) > maxReply {
			return errLongReply
		}
		return nil
	})
	if err != nil || begun == nil {
		return last, err
	}
	return append(begun, last...), nil
}

var errLongReply = fmt.Errorf("rpc: a reply of more than %d bytes", maxReply)

func (cl *Client) get(ctx context.Context) (*Conn, error) {
	cl.mu.Lock()
	if n := len(cl.idle); n > 0 {
		c := cl.idle[n-1]
		cl.idle = cl.idle[:n-1]
		cl.mu.Unlock()
		return c, nil
	}
	cl.mu.Unlock()
	nc, err := cl.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return newConn(nc), nil
}

func (cl *Client) put(c *Conn) {
	limit := cl.MaxIdle
	if limit == 0 {
		limit = 64
	}
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if len(cl.idle) >= limit {
		c.c.Close()
		return
	}
	c.since = time.Now()
	cl.idle = append(cl.idle, c)
}

// Close closes the idle connections and fails the gathered calls under way.
func (cl *Client) Close() {
	cl.sharing.Lock()
	if cl.opening != nil {
		cl.opening.stop()
	}
	if cl.shared != nil {
		cl.shared.end(net.ErrClosed)
	}
	cl.sharing.Unlock()
	cl.mu.Lock()
	defer cl.mu.Unlock()
	for _, c := range cl.idle {
		c.c.Close()
	}
	cl.idle = nil
}

// Do makes a call whose request and reply are JSON. Errors are those of Call and of JSON.
func Do[Req, Resp any](ctx context.Context, cl *Client, method string, req Req) (Resp, error) {
	var resp Resp
	p, err := json.Marshal(req)
	if err != nil {
		return resp, err
	}
	p, err = cl.Call(ctx, method, p)
	if err != nil {
		return resp, err
	}
	return resp, json.Unmarshal(p, &resp)
}
