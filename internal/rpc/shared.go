package rpc

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
)

// Gathered calls of many callers share one connection: what several send at the same time
// leaves in one write and comes in one read, and so do the replies. Nobody waits for
// another's reply. A frame of such a connection holds a call's number and then, from the client, the call's own
// frames, from the server its reply or error.
const (
	kindGathered = 'G' // number, then the frames of a call up to the end of its stream
	kindPart     = 'p' // number, a piece of the reply that is not the last
	kindResult   = 'r' // number, reply or its last piece
	kindFailure  = 'x' // number, wireError
)

const (
	frameHead  = 5 // kind and length of the payload
	numberSize = 4 // a call's number

	// gatherMost is the most that is kept back of a call, in bytes.
	gatherMost = 128 << 10
	// keptBuffer is the largest buffer that is used again, in bytes.
	keptBuffer = 64 << 10
	// mostAtOnce bounds the gathered calls of one connection that are carried out at the same time.
	mostAtOnce = 1024
)

// buffers hold most calls whole.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 16<<10); return &b }}

func giveBack(b *[]byte) {
	if cap(*b) <= keptBuffer {
		*b = (*b)[:0]
		buffers.Put(b)
	}
}

// Gathered is a call under way that streams towards the server only. What is sent is kept back while it is
// short: then it shares a connection with others. Else it becomes a Stream.
type Gathered struct {
	ctx    context.Context
	client *Client
	frames *[]byte // while it is short
	stream *Stream // afterwards
}

// Gather begins a call, or fails when the server cannot be reached. It ends with Reply or Close.
func (cl *Client) Gather(ctx context.Context, method string, request []byte) (*Gathered, error) {
	if _, err := cl.share(ctx); err != nil {
		return nil, err
	}
	g := &Gathered{ctx: ctx, client: cl, frames: buffers.Get().(*[]byte)}
	*g.frames = appendFrame((*g.frames)[:0], kindCall, []byte(method), []byte{0}, request)
	return g, nil
}

func appendFrame(b []byte, kind byte, parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	b = append(b, kind)
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// Send sends one piece of the stream, of MaxFrame bytes at most.
func (g *Gathered) Send(p []byte) error {
	if g.stream == nil && len(*g.frames)+len(p) <= gatherMost {
		*g.frames = appendFrame(*g.frames, kindData, p)
		return nil
	}
	if err := g.spill(); err != nil {
		return err
	}
	return g.stream.Send(p)
}

// spill makes g a Stream.
func (g *Gathered) spill() (err error) {
	if g.stream != nil {
		return nil
	}
	g.stream, err = g.client.open(g.ctx, func(c *Conn) error {
		_, err := c.w.Write(*g.frames)
		return err
	})
	return err
}

// Reply ends the call and returns its reply. Errors are those of Call, or ctx's.
func (g *Gathered) Reply() ([]byte, error) {
	defer g.Close()
	if g.stream != nil {
		if err := g.stream.writeFrame(kindEnd); err != nil {
			return nil, err
		}
		return g.stream.longReply()
	}
	*g.frames = appendFrame(*g.frames, kindEnd)
	s, err := g.client.share(g.ctx)
	if err != nil {
		return nil, err
	}
	return s.call(g.ctx, *g.frames)
}

// Close breaks the call off, or does nothing after Reply.
func (g *Gathered) Close() {
	if g.stream != nil {
		g.stream.Close()
	}
	if g.frames != nil {
		giveBack(g.frames)
		g.frames = nil
	}
}

// writer gathers frames for a connection: whoever finds nobody writing writes for all who
// come meanwhile.
type writer struct {
	c net.Conn

	mu      sync.Mutex
	waiting []byte
	spare   []byte
	busy    bool
	err     error // of the first write that failed
}

// send writes a frame, or leaves it to the one who is writing.
func (w *writer) send(kind byte, number uint32, payload []byte) error {
	var n [numberSize]byte
	binary.BigEndian.PutUint32(n[:], number)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	w.waiting = appendFrame(w.waiting, kind, n[:], payload)
	if w.busy {
		return nil
	}
	w.busy = true
	w.round()
	if len(w.waiting) > 0 && w.err == nil {
		go w.rest() // who calls has a reply to wait for
		return nil
	}
	w.busy = false
	return w.err
}

// rest writes until nothing is waiting.
func (w *writer) rest() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.waiting) > 0 && w.err == nil {
		w.round()
	}
	w.busy = false
}

// round writes what is waiting. w.mu is held, but not while it writes.
func (w *writer) round() {
	w.mu.Unlock()
	runtime.Gosched() // those about to send do so first
	w.mu.Lock()
	p := w.waiting
	w.waiting = w.spare[:0]
	w.mu.Unlock()
	_, err := w.c.Write(p)
	w.mu.Lock()
	w.err = err
	if w.spare = p; cap(p) > 4*keptBuffer {
		w.spare = nil
	}
}

// shared is a client's connection for gathered calls.
type shared struct {
	writer

	mu    sync.Mutex
	calls map[uint32]*call // without a whole reply yet
	last  uint32
	err   error // why the connection has ended
}

// call is what a caller waits for.
type call struct {
	done  chan result
	begun []byte // of the reply; used by the reading goroutine alone
}

type result struct {
	reply []byte
	err   error
}

// share returns the connection for gathered calls.
func (cl *Client) share(ctx context.Context) (*shared, error) {
	cl.sharing.Lock()
	defer cl.sharing.Unlock()
	if s := cl.shared; s != nil && s.ended() == nil {
		return s, nil
	}
	c, err := cl.Dial(ctx)
	if err != nil {
		return nil, err
	}
	s := &shared{writer: writer{c: c}, calls: map[uint32]*call{}}
	cl.shared = s
	go func() { s.end(s.read()) }()
	return s, nil
}

// call makes the call whose frames are given.
func (s *shared) call(ctx context.Context, frames []byte) ([]byte, error) {
	c := &call{done: make(chan result, 1)}
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return nil, s.err
	}
	s.last++
	number := s.last
	s.calls[number] = c
	s.mu.Unlock()
	if err := s.send(kindGathered, number, frames); err != nil {
		s.end(err)
	}
	select {
	case r := <-c.done:
		return r.reply, r.err
	case <-ctx.Done():
		s.find(number, true)
		return nil, ctx.Err()
	}
}

// find returns who waits for a reply, nil when nobody does any more; last is set when the waiting ends.
func (s *shared) find(number uint32, last bool) *call {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.calls[number]
	if last {
		delete(s.calls, number)
	}
	return c
}

func (s *shared) ended() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// end closes the connection and fails the calls that have no reply.
func (s *shared) end(err error) {
	s.c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = noEOF(err)
	}
	for _, c := range s.calls {
		c.done <- result{err: s.err}
	}
	clear(s.calls)
}

// read hands the replies to their callers until the connection ends.
func (s *shared) read() error {
	r := bufio.NewReaderSize(s.c, 16<<10)
	for {
		kind, number, n, err := readNumbered(r)
		if err != nil {
			return err
		}
		var reply []byte
		if n > 0 {
			reply = make([]byte, n)
			if _, err := io.ReadFull(r, reply); err != nil {
				return err
			}
		}
		c := s.find(number, kind != kindPart)
		if c == nil {
			continue
		}
		switch kind {
		case kindPart:
			if len(c.begun)+len(reply) > maxReply {
				return errLongReply
			}
			c.begun = append(c.begun, reply...)
		case kindResult:
			if c.begun != nil {
				reply = append(c.begun, reply...)
			}
			c.done <- result{reply: reply}
		case kindFailure:
			c.done <- result{err: decodeError(reply)}
		default:
			return fmt.Errorf("rpc: unexpected frame %q", kind)
		}
	}
}

// readNumbered reads the head of a frame and a call's number; n bytes follow.
func readNumbered(r *bufio.Reader) (kind byte, number uint32, n int, err error) {
	var head [frameHead + numberSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, 0, 0, err
	}
	length := binary.BigEndian.Uint32(head[1:])
	if length < numberSize || length > MaxFrame {
		return 0, 0, 0, fmt.Errorf("rpc: peer sent a frame of %d bytes, from %d to %d are allowed", length, numberSize, MaxFrame)
	}
	return head[0], binary.BigEndian.Uint32(head[frameHead:]), int(length - numberSize), nil
}

// serveGathered serves the calls of a shared connection until it ends.
func (s *Server) serveGathered(ctx context.Context, c *Conn) error {
	w := &writer{c: c.c}
	slots := make(chan struct{}, mostAtOnce)
	const piece = MaxFrame - numberSize
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		kind, number, n, err := readNumbered(c.r)
		if err == io.EOF {
			return nil
		}
		if err == nil && kind != kindGathered {
			err = fmt.Errorf("rpc: frame %q where a gathered call was expected", kind)
		}
		if err != nil {
			return err
		}
		buf := buffers.Get().(*[]byte)
		if cap(*buf) < n {
			*buf = make([]byte, n)
		}
		*buf = (*buf)[:n]
		if _, err := io.ReadFull(c.r, *buf); err != nil {
			return err
		}
		slots <- struct{}{}
		wg.Go(func() {
			reply, err := s.gathered(ctx, *buf)
			giveBack(buf)
			if err != nil {
				w.send(kindFailure, number, encodeError(err))
			} else {
				for ; len(reply) > piece; reply = reply[piece:] {
					w.send(kindPart, number, reply[:piece])
				}
				w.send(kindResult, number, reply)
			}
			<-slots
		})
	}
}

// ErrOneWay is the error of a handler that streams back in a gathered call.
var ErrOneWay = errors.New("rpc: a gathered call streams towards the server only")

// gathered carries out one call. Its handler reads from a Conn that has all frames in memory.
func (s *Server) gathered(ctx context.Context, frames []byte) ([]byte, error) {
	c := &Conn{came: frames}
	kind, p, err := c.readFrame()
	if err != nil || kind != kindCall {
		return nil, fmt.Errorf("rpc: frame %q where a call was expected (%w)", kind, err)
	}
	method, request, _ := cutNUL(p)
	h, ok := s.Handlers[method]
	if !ok {
		return nil, fmt.Errorf("rpc: no method %q", method)
	}
	return h(ctx, c, request)
}
