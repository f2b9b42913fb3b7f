package rpc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"time"

	"github.com/postilion/postilion/internal/workers"
)

// Gathered calls of many callers share one connection, whose content goes through memory. Nobody waits for
// another's reply. A frame of such a connection holds a call's number and then, from the client, the call's own
// frames, from the server its reply or error.
const (
	kindMemory   = 'M' // asks for memory, or brings it
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
// short: then it shares a connection with others. Else, and where the server shares none, it becomes a Stream.
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
func (g *Gathered) Send(p []byte) error { return g.send(p) }

// SendMarked is Send of mark and then p, MaxFrame bytes in all at most.
func (g *Gathered) SendMarked(mark byte, p []byte) error { return g.send([]byte{mark}, p) }

func (g *Gathered) send(parts ...[]byte) error {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	if g.stream == nil && len(*g.frames)+n <= gatherMost {
		*g.frames = appendFrame(*g.frames, kindData, parts...)
		return nil
	}
	if err := g.spill(); err != nil {
		return err
	}
	return g.stream.writeFrame(kindData, parts...)
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
	if g.stream == nil {
		s, err := g.client.share(g.ctx)
		if err != nil {
			return nil, err
		}
		if s != nil {
			*g.frames = appendFrame(*g.frames, kindEnd)
			return s.call(g.ctx, *g.frames)
		}
		if err := g.spill(); err != nil {
			return nil, err
		}
	}
	// After a failed write the reply may still tell why the server hung up.
	g.stream.writeFrame(kindEnd)
	return g.stream.longReply()
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

// shared is a client's connection for gathered calls. A caller who is alone reads its reply itself, which then wakes
// nobody else. Those who are many have a goroutine that reads for them.
type shared struct {
	*memory
	many chan struct{} // wakes that goroutine

	mu      sync.Mutex
	calls   map[uint32]*call // without a whole reply yet
	last    uint32
	reading bool  // somebody does: there are calls
	err     error // why the connection has ended; replies that came before may still be read
	over    bool  // nothing is read any more
}

// call is what a caller waits for.
type call struct {
	done  chan result
	begun []byte // of the reply; used by who reads
}

type result struct {
	reply []byte
	err   error
}

// alone is how long a client asks no more for memory after the server had none.
const alone = time.Minute

// opening is a connection that is being made. All who want it wait for the same one, each as long as it likes.
type opening struct {
	done chan struct{} // closed when the rest is known
	s    *shared       // nil when the server shares none
	err  error
	stop context.CancelFunc
}

// share returns the connection for gathered calls, nil when the server shares none.
func (cl *Client) share(ctx context.Context) (*shared, error) {
	cl.sharing.Lock()
	if s := cl.shared; s != nil && s.ended() == nil {
		cl.sharing.Unlock()
		return s, nil
	}
	if time.Since(cl.alone) < alone {
		cl.sharing.Unlock()
		return nil, nil
	}
	o := cl.opening
	if o == nil {
		o = &opening{done: make(chan struct{})}
		cl.opening = o
		var open context.Context
		open, o.stop = context.WithCancel(context.WithoutCancel(ctx))
		go cl.openShared(open, o)
	}
	cl.sharing.Unlock()
	select {
	case <-o.done:
		return o.s, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (cl *Client) openShared(ctx context.Context, o *opening) {
	defer o.stop()
	m, err := cl.dialMemory(ctx)
	cl.sharing.Lock()
	defer cl.sharing.Unlock()
	defer close(o.done)
	cl.opening = nil
	switch {
	case err != nil:
		o.err = err
	case m == nil:
		cl.alone = time.Now()
	default:
		o.s = &shared{memory: m, many: make(chan struct{}, 1), calls: map[uint32]*call{}}
		cl.shared = o.s
		go o.s.readForMany()
		go func() {
			m.watch()
			o.s.lost(io.EOF)
		}()
	}
}

// dialMemory connects and asks for memory. It returns nil without an error when there is none to share.
func (cl *Client) dialMemory(ctx context.Context) (*memory, error) {
	c, err := cl.Dial(ctx)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, nil
	}
	m, err := askMemory(ctx, u)
	if m == nil {
		c.Close()
	}
	return m, err
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
	alone := !s.reading
	s.reading = true
	s.mu.Unlock()
	if err := s.send(kindGathered, number, frames); err != nil {
		s.lost(err)
	}
	if alone {
		s.readOwn(ctx, c)
		defer s.leave()
	}
	select {
	case r := <-c.done:
		return r.reply, r.err
	case <-ctx.Done():
		s.find(number, true)
		return nil, ctx.Err()
	}
}

// readOwn reads until c has its reply, or ctx is over.
func (s *shared) readOwn(ctx context.Context, c *call) {
	defer context.AfterFunc(ctx, s.in.rouse)()
	for len(c.done) == 0 && ctx.Err() == nil {
		s.readReply(ctx)
	}
}

// leave lets others read: those who have called since.
func (s *shared) leave() {
	if s.more() {
		s.many <- struct{}{}
	}
}

func (s *shared) readForMany() {
	for range s.many {
		for s.more() {
			s.readReply(context.Background())
		}
	}
}

// more reports whether there is still something to read. Else who has asked reads no more.
func (s *shared) more() bool {
	s.mu.Lock()
	s.reading = len(s.calls) > 0
	reading, err := s.reading, s.err
	s.mu.Unlock()
	if !reading && err != nil {
		s.end(err)
	}
	return reading
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

// lost is told by who does not read that the connection has ended. Nobody calls any more; who reads comes to the end of what the
// other side has answered before.
func (s *shared) lost(err error) {
	s.memory.Close()
	s.mu.Lock()
	if s.err == nil {
		s.err = noEOF(err)
	}
	reading := s.reading
	s.mu.Unlock()
	if !reading {
		s.end(err)
	}
}

// end closes the connection and fails the calls that have no reply. Who reads calls it, or anybody when nobody does.
func (s *shared) end(err error) {
	defer s.memory.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = noEOF(err)
	}
	if !s.over {
		s.over = true
		close(s.many)
	}
	for _, c := range s.calls {
		c.done <- result{err: s.err}
	}
	clear(s.calls)
}

// readReply waits for a reply, or a part of one, and hands it to its caller. It ends the connection when there can be none.
func (s *shared) readReply(ctx context.Context) {
	kind, number, n, err := s.next(ctx)
	reply := make([]byte, n)
	if err == nil {
		err = s.in.take(reply)
	}
	if err == nil {
		err = s.hand(kind, number, reply)
	}
	if err != nil && err != ctx.Err() {
		s.end(err)
	}
}

// hand gives a reply, or a part of one, to its caller.
func (s *shared) hand(kind byte, number uint32, reply []byte) error {
	c := s.find(number, kind == kindResult || kind == kindFailure)
	switch {
	case c == nil:
	case kind == kindResult:
		if c.begun != nil {
			reply = append(c.begun, reply...)
		}
		c.done <- result{reply: reply}
	case kind == kindFailure:
		c.done <- result{err: decodeError(reply)}
	case kind != kindPart:
		return fmt.Errorf("rpc: unexpected frame %q", kind)
	case len(c.begun)+len(reply) > maxReply:
		return errLongReply
	default:
		c.begun = append(c.begun, reply...)
	}
	return nil
}

// share serves the gathered calls of a connection until it ends. It returns nil when the client closed it, or when there is no memory
// to share, which the client is told.
func (s *Server) share(ctx context.Context, c *Conn) error {
	c.r.Discard(frameHead)
	u, ok := c.c.(*net.UnixConn)
	err := errors.New("not a Unix socket")
	var m *memory
	if ok {
		m, err = serveMemory(u)
	}
	if err != nil {
		if s.Log != nil {
			s.Log(fmt.Errorf("rpc: no memory to share: %w", err))
		}
		return Refuse(c.c, err)
	}
	if err = s.serveGathered(ctx, m); err == io.EOF {
		return nil
	}
	return err
}

// serveGathered serves the calls that come through memory.
func (s *Server) serveGathered(ctx context.Context, m *memory) error {
	go m.watch()
	g := &gathering{server: s, ctx: ctx, m: m, slots: make(chan struct{}, mostAtOnce)}
	defer g.end()
	for {
		kind, number, n, err := m.next(context.Background()) // the server closes m when ctx is over
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
		if err := m.in.take(*buf); err != nil {
			return err
		}
		g.begin(&numbered{g: g, number: number, buf: buf})
	}
}

// gathering is the server's side of a connection for gathered calls.
type gathering struct {
	server  *Server
	ctx     context.Context
	m       *memory
	slots   chan struct{} // a token for each call under way
	calls   sync.WaitGroup
	workers workers.Pool
}

// numbered is a call that came through memory.
type numbered struct {
	g       *gathering
	number  uint32
	buf     *[]byte // all its frames
	conn    Conn    // which has them
	handler Handler
	request []byte
}

// begin carries a call out, or gives it to a worker. It waits while too many are under way.
func (g *gathering) begin(c *numbered) {
	g.slots <- struct{}{}
	g.calls.Add(1)
	method, err := c.parse()
	if err != nil {
		c.answer(nil, err)
		return
	}
	if p := g.server.Prompts[method]; p != nil {
		p(g.ctx, &c.conn, c.request, c.answerSoon)
		giveBack(c.buf)
		return
	}
	if c.handler = g.server.Handlers[method]; c.handler == nil {
		c.answer(nil, fmt.Errorf("rpc: no method %q", method))
		return
	}
	g.workers.Go(c.run)
	if g.m.in.empty() {
		runtime.Gosched() // the worker begins before this one falls asleep
	}
}

func (c *numbered) run() {
	reply, err := c.handler(c.g.ctx, &c.conn, c.request)
	giveBack(c.buf)
	c.answer(reply, err)
}

// end closes the connection and returns when all calls have ended.
func (g *gathering) end() {
	g.m.Close()
	g.calls.Wait()
	g.workers.Close()
}

// parse reads which call it is.
func (c *numbered) parse() (method string, err error) {
	c.conn.came = *c.buf
	kind, p, err := c.conn.readFrame()
	if err == nil && kind != kindCall {
		err = fmt.Errorf("rpc: frame %q where a call was expected", kind)
	}
	if err != nil {
		return "", err
	}
	method, c.request, _ = cutNUL(p)
	return method, nil
}

// answer sends the reply or the error.
func (c *numbered) answer(reply []byte, err error) {
	defer c.end()
	m := c.g.m
	if err != nil {
		m.send(kindFailure, c.number, encodeError(err))
		return
	}
	for ; len(reply) > mostPiece; reply = reply[mostPiece:] {
		m.send(kindPart, c.number, reply[:mostPiece])
	}
	m.send(kindResult, c.number, reply)
}

// mostPiece is the most of a reply in one frame, in bytes.
const mostPiece = MaxFrame - numberSize

// answerSoon is answer that does not wait for the client to read.
func (c *numbered) answerSoon(reply []byte, err error) {
	if err == nil && len(reply) <= mostPiece && c.g.m.offer(kindResult, c.number, reply) {
		c.end()
		return
	}
	go c.answer(reply, err)
}

func (c *numbered) end() {
	<-c.g.slots
	c.g.calls.Done()
}

// ErrOneWay is the error of a handler that streams back in a gathered call.
var ErrOneWay = errors.New("rpc: a gathered call streams towards the server only")
