// Package rpc carries a seam over a Unix socket when two roles run apart.
//
// A call is a method name and a request, then frames either way until the server has
// sent its reply or error. Frames are small, so that neither side is sized by the other. A
// connection does one call at a time and is then used again; clients keep a pool of them.
// Short calls that are frequent are gathered on one connection, see Gather.
// Peers are roles of one host and one program version, told apart by uid.
package rpc

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
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

	watched context.Context // of the call, where the client watches it; its cause is why the connection was broken off
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
	head := append(c.w.AvailableBuffer(), kind)
	c.w.Write(binary.BigEndian.AppendUint32(head, uint32(n)))
	for _, p := range parts {
		c.w.Write(p) // bufio.Writer keeps the first error for Flush
	}
	return nil
}

// readFrame returns the next frame; its bytes are valid until the next call.
func (c *Conn) readFrame() (kind byte, payload []byte, err error) {
	if c.c == nil {
		return c.nextFrame()
	}
	head, err := c.r.Peek(frameHead)
	if err != nil {
		if len(head) > 0 {
			err = noEOF(err)
		}
		return 0, nil, because(c.watched, err)
	}
	kind = head[0]
	n := binary.BigEndian.Uint32(head[1:])
	c.r.Discard(frameHead)
	if n > MaxFrame {
		return 0, nil, fmt.Errorf("rpc: peer sent a frame of %d bytes, at most %d are allowed", n, MaxFrame)
	}
	if int(n) <= c.r.Size() { // most are: they need not be copied
		payload, err = c.r.Peek(int(n))
		c.r.Discard(len(payload))
		return kind, payload, because(c.watched, noEOF(err))
	}
	if cap(c.buf) < int(n) {
		c.buf = make([]byte, n)
	}
	c.buf = c.buf[:n]
	_, err = io.ReadFull(c.r, c.buf)
	return kind, c.buf, because(c.watched, err)
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

// Send writes one piece of the stream. It is buffered until Flush or the call's next turn. Errors of the connection
// come with Flush, CloseSend or Reply at the latest; ErrOneWay is of a gathered call.
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
	return because(c.watched, c.w.Flush())
}

// CloseSend ends the stream of this side.
func (c *Conn) CloseSend() error {
	if err := c.writeFrame(kindEnd); err != nil {
		return err
	}
	return c.Flush()
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
