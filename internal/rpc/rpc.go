// Package rpc carries a seam over a Unix socket when two roles run apart.
//
// A connection does one call at a time and is then used again; clients keep a pool
// of them. Short calls that are frequent are gathered on one connection, see Gather. A call is a method name and a request, then frames either way until the server
// has sent its reply or error. Frames are small, so that neither side is sized by
// the other. Peers are roles of one host and one program version, told apart by uid.
package rpc

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/postilion/postilion/internal/reason"
)

// MaxFrame bounds one frame in bytes. Longer streams are many frames.
const MaxFrame = 256 << 10

// The kinds of frames.
const (
	kindCall  = 'C' // method, NUL, request
	kindData  = 'D' // a piece of a stream
	kindEnd   = 'E' // the stream's end
	kindReply = 'R' // the call's result
	kindError = 'X' // the call's failure, as wireError
)

// Conn is one connection in the middle of a call. Each side is used by one
// goroutine for reading and one for writing.
type Conn struct {
	c net.Conn
	r *bufio.Reader
	w *bufio.Writer

	buf   []byte    // the frame last read
	came  []byte    // what is left of the frames of a gathered call, which has no connection of its own
	since time.Time // when it went into the pool; zero for a new one
	over  bool      // the call has ended cleanly
}

func newConn(c net.Conn) *Conn {
	return &Conn{c: c, r: bufio.NewReaderSize(c, 16<<10), w: bufio.NewWriterSize(c, 16<<10)}
}

func (c *Conn) writeFrame(kind byte, parts ...[]byte) error {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	if n > MaxFrame {
		return fmt.Errorf("rpc: frame of %d bytes, at most %d are allowed", n, MaxFrame)
	}
	if c.w == nil {
		return ErrOneWay
	}
	var head [frameHead]byte
	head[0] = kind
	binary.BigEndian.PutUint32(head[1:], uint32(n))
	c.w.Write(head[:]) // bufio.Writer keeps the first error for Flush
	for _, p := range parts {
		c.w.Write(p)
	}
	return nil
}

// readFrame returns the next frame; its bytes are valid until the next call.
func (c *Conn) readFrame() (kind byte, payload []byte, err error) {
	if c.c == nil {
		return c.nextFrame()
	}
	var head [frameHead]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > MaxFrame {
		return 0, nil, fmt.Errorf("rpc: peer sent a frame of %d bytes, at most %d are allowed", n, MaxFrame)
	}
	if cap(c.buf) < int(n) {
		c.buf = make([]byte, n)
	}
	c.buf = c.buf[:n]
	_, err = io.ReadFull(c.r, c.buf)
	return head[0], c.buf, err
}

// nextFrame is readFrame of a gathered call.
func (c *Conn) nextFrame() (kind byte, payload []byte, err error) {
	if len(c.came) == 0 {
		return 0, nil, io.EOF
	}
	if len(c.came) < frameHead || uint64(len(c.came)-frameHead) < uint64(binary.BigEndian.Uint32(c.came[1:])) {
		return 0, nil, io.ErrUnexpectedEOF
	}
	end := frameHead + int(binary.BigEndian.Uint32(c.came[1:]))
	kind, payload, c.came = c.came[0], c.came[frameHead:end:end], c.came[end:]
	return kind, payload, nil
}

// Send writes one piece of the stream. It is buffered until Flush or the call's next turn.
func (c *Conn) Send(p []byte) error {
	for len(p) > MaxFrame {
		if err := c.writeFrame(kindData, p[:MaxFrame]); err != nil {
			return err
		}
		p = p[MaxFrame:]
	}
	return c.writeFrame(kindData, p)
}

// Flush sends what is buffered.
func (c *Conn) Flush() error {
	if c.w == nil {
		return ErrOneWay
	}
	return c.w.Flush()
}

// CloseSend ends the stream of this side.
func (c *Conn) CloseSend() error {
	if err := c.writeFrame(kindEnd); err != nil {
		return err
	}
	return c.w.Flush()
}

// Recv returns the next piece of the other side's stream, valid until the next
// Recv, or io.EOF at its end. A client's Recv fails with the call's error if it failed.
func (c *Conn) Recv() ([]byte, error) {
	kind, p, err := c.readFrame()
	switch {
	case err != nil:
		return nil, noEOF(err)
	case kind == kindData:
		return p, nil
	case kind == kindEnd:
		return nil, io.EOF
	case kind == kindError:
		c.over = true
		return nil, decodeError(p)
	}
	return nil, fmt.Errorf("rpc: unexpected frame %q", kind)
}

// noEOF keeps a broken connection apart from a stream's end.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Handler serves one method. It reads the caller's stream to its end before it
// returns if the method has one, and may Send a stream followed by CloseSend before. The
// reply it returns ends the call.
type Handler func(ctx context.Context, c *Conn, request []byte) (reply []byte, err error)

// Server serves calls.
type Server struct {
	Handlers map[string]Handler
	// Allow decides by uid who may call; nil allows every peer.
	Allow func(uid uint32) bool
	// Log is told of connections that ended otherwise than by the client; nil forgets.
	Log func(error)
}

// Serve accepts connections until ctx ends, then closes l and its connections and
// returns nil once all handlers have returned.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		nc, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() {
				continue
			}
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			time.Sleep(10 * time.Millisecond) // out of descriptors: others will be closed
			continue
		}
		wg.Go(func() {
			defer nc.Close()
			defer context.AfterFunc(ctx, func() { nc.Close() })()
			if err := s.serveConn(ctx, nc); err != nil && ctx.Err() == nil && s.Log != nil {
				s.Log(err)
			}
		})
	}
}

// ServeConn serves one connection until it or ctx ends, and closes it. Allow is not asked.
func (s *Server) ServeConn(ctx context.Context, nc net.Conn) error {
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	return s.serve(ctx, nc)
}

// Refuse tells a peer why its call is not served, without reading it. The caller closes the connection.
func Refuse(nc net.Conn, why error) error {
	p := encodeError(why)
	head := []byte{kindError, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(head[1:], uint32(len(p)))
	_, err := nc.Write(append(head, p...))
	return err
}

func (s *Server) serveConn(ctx context.Context, nc net.Conn) error {
	if s.Allow != nil {
		uid, err := PeerUID(nc)
		if err != nil {
			return err
		}
		if !s.Allow(uid) {
			return fmt.Errorf("rpc: uid %d may not use %s", uid, nc.LocalAddr())
		}
	}
	return s.serve(ctx, nc)
}

func (s *Server) serve(ctx context.Context, nc net.Conn) error {
	c := newConn(nc)
	if first, err := c.r.Peek(1); err == nil && first[0] == kindGathered {
		return s.serveGathered(ctx, c)
	}
	for {
		kind, p, err := c.readFrame()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if kind != kindCall {
			return fmt.Errorf("rpc: frame %q where a call was expected", kind)
		}
		if err := s.call(ctx, c, p); err != nil {
			return err
		}
	}
}

func (s *Server) call(ctx context.Context, c *Conn, p []byte) error {
	method, request, _ := cutNUL(p)
	h, ok := s.Handlers[method]
	if !ok {
		return fmt.Errorf("rpc: no method %q", method)
	}
	reply, err := h(ctx, c, append([]byte(nil), request...))
	if err != nil {
		// The caller may still be sending: the connection cannot be used again.
		c.writeFrame(kindError, encodeError(err))
		c.w.Flush()
		if errors.Is(err, errMidStream) {
			return err
		}
		return nil
	}
	for len(reply) > MaxFrame { // which Client.Call joins
		if err := c.writeFrame(kindData, reply[:MaxFrame]); err != nil {
			return err
		}
		reply = reply[MaxFrame:]
	}
	if err := c.writeFrame(kindReply, reply); err != nil {
		return err
	}
	return c.w.Flush()
}

func cutNUL(p []byte) (method string, rest []byte, ok bool) {
	for i, b := range p {
		if b == 0 {
			return string(p[:i]), p[i+1:], true
		}
	}
	return string(p), nil, false
}

// Client makes calls.
type Client struct {
	Dial func(ctx context.Context) (net.Conn, error)
	// MaxIdle bounds the pool; 0 means 64.
	MaxIdle int

	mu   sync.Mutex
	idle []*Conn

	sharing sync.Mutex
	shared  *shared // carries gathered calls; nil before the first
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
}

// Open begins a call that streams. It ends with Reply or Close.
func (cl *Client) Open(ctx context.Context, method string, request []byte) (*Stream, error) {
	return cl.open(ctx, func(c *Conn) error { return c.writeFrame(kindCall, []byte(method), []byte{0}, request) })
}

// open begins a call by what begin writes, which may be asked for again.
func (cl *Client) open(ctx context.Context, begin func(c *Conn) error) (*Stream, error) {
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
		return &Stream{c, cl, context.AfterFunc(ctx, func() { c.c.SetDeadline(time.Unix(1, 0)) })}, nil
	}
}

// Reply ends the call: it flushes, skips what is left of the server's stream and
// returns the reply.
func (s *Stream) Reply() ([]byte, error) { return s.reply(func([]byte) error { return nil }) }

// reply is Reply, with a use for what is left of the server's stream.
func (s *Stream) reply(piece func([]byte) error) ([]byte, error) {
	defer s.Close()
	if err := s.w.Flush(); err != nil {
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
	s.Conn = nil
	if s.stop() && c.over {
		s.client.put(c)
		return
	}
	c.c.Close()
}

// maxReply bounds the reply of a call without streams, in bytes: a list of some hundred thousand accounts.
const maxReply = 64 << 20

// Call makes a call without streams.
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

// Do makes a call whose request and reply are JSON.
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

// Handle serves a method whose request and reply are JSON.
func Handle[Req, Resp any](f func(ctx context.Context, req Req) (Resp, error)) Handler {
	return func(ctx context.Context, _ *Conn, request []byte) ([]byte, error) {
		var req Req
		if err := json.Unmarshal(request, &req); err != nil {
			return nil, err
		}
		resp, err := f(ctx, req)
		if err != nil {
			return nil, err
		}
		return json.Marshal(resp)
	}
}

// errMidStream is wrapped by a handler's error to say that the caller's stream was
// not read to its end, so that the connection is closed.
var errMidStream = errors.New("the request's stream was not read to its end")

// MidStream marks a handler's error as one that left the caller's stream unread.
func MidStream(err error) error { return fmt.Errorf("%w (%w)", err, errMidStream) }

// wireError is a failure on the wire.
type wireError struct {
	Reason *reason.Error `json:"reason,omitempty"`
	Text   string        `json:"text"`
	Name   string        `json:"name,omitempty"` // of a sentinel error, see Name
}

// Error is a failure that the other side told. Is matches it with the sentinel it came from.
type Error struct {
	Text, Name string
}

func (e *Error) Error() string { return e.Text }

// Is reports whether e came from the sentinel error target, known by its text.
func (e *Error) Is(target error) bool { return e.Name != "" && e.Name == target.Error() }

func encodeError(err error) []byte {
	w := wireError{Text: err.Error()}
	if r, ok := errors.AsType[*reason.Error](err); ok {
		w.Reason = r
		if r.Cause != nil {
			w.Text = r.Cause.Error()
		}
	}
	// The innermost error is the sentinel, where there is one.
	for e := err; e != nil; {
		w.Name = e.Error()
		if told, ok := e.(*Error); ok { // of another side, which is passed on
			w.Name = told.Name
		}
		u, ok := e.(interface{ Unwrap() error })
		if !ok {
			break
		}
		e = u.Unwrap()
	}
	const most = MaxFrame / 4
	if len(w.Text) > most {
		w.Text = w.Text[:most]
	}
	if len(w.Name) > 200 {
		w.Name = ""
	}
	p, err := json.Marshal(w)
	if err != nil || len(p) > MaxFrame {
		return []byte(`{"text":"an error that cannot be told"}`)
	}
	return p
}

func decodeError(p []byte) error {
	var w wireError
	if err := json.Unmarshal(p, &w); err != nil {
		return fmt.Errorf("rpc: unreadable error: %w", err)
	}
	e := &Error{w.Text, w.Name}
	if w.Reason != nil {
		return w.Reason.Because(e)
	}
	return e
}
