package pop3d

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postilion/postilion/internal/record"
)

// wire is a connection's lines: reading within limits and deadlines, replies gathered
// until the next read would wait, so that those of pipelined commands leave together.
type wire struct {
	conn    net.Conn // the one for bytes: replaced by STLS
	base    net.Conn // the one for deadlines
	r       *bufio.Reader
	w       *bufio.Writer
	writeIn time.Duration

	mu      sync.Mutex
	woken   bool // by wake: no more waiting for the client's commands
	aborted bool // by abort: nor for its reading

	in, out atomic.Int64 // bytes
	dead    bool         // an answer could not be sent

	tap *record.Tap // takes the dialogue where an operator wants it; else nil
}

var (
	errLineTooLong = errors.New("line too long")
	// errFlood ends the session: the line goes on and on.
	errFlood = errors.New("line without end")
)

// maxFlood bounds what is read and thrown away of an overlong line, in bytes.
const maxFlood = 64 << 10

func newWire(c net.Conn, writeIn time.Duration) *wire {
	w := &wire{conn: c, base: c, writeIn: writeIn}
	w.r = bufio.NewReaderSize((*wireReader)(w), 4096)
	w.w = bufio.NewWriterSize((*wireWriter)(w), 4096)
	return w
}

type (
	wireReader wire
	wireWriter wire
)

// Read flushes before it waits.
func (w *wireReader) Read(p []byte) (int, error) {
	if err := w.w.Flush(); err != nil {
		return 0, err
	}
	n, err := w.conn.Read(p)
	w.in.Add(int64(n))
	return n, err
}

// Write gives each piece its own deadline: a client that does not read holds the
// session, and nothing else, for that long.
func (w *wireWriter) Write(p []byte) (int, error) {
	(*wire)(w).writeWithin(w.writeIn)
	n, err := w.conn.Write(p)
	w.out.Add(int64(n))
	w.tap.Out(p[:n])
	if err != nil {
		w.dead = true
	}
	return n, err
}

// wake ends the running and every later read, from another goroutine.
func (w *wire) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.woken = true
	_ = w.base.SetReadDeadline(time.Unix(1, 0)) // a closed connection has ended already
}

// abort is wake that also ends a reply that the client does not read.
func (w *wire) abort() {
	w.writeWithin(lastWords)
	w.mu.Lock()
	w.aborted = true
	w.mu.Unlock()
	w.wake()
}

// lastWords is the time that an aborted session has to say so.
const lastWords = 3 * time.Second

func (w *wire) writeWithin(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.aborted {
		_ = w.base.SetWriteDeadline(time.Now().Add(d)) // a closed connection fails the write
	}
}

func (w *wire) readWithin(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.woken {
		_ = w.base.SetReadDeadline(time.Now().Add(d)) // as above
	}
}

// secure switches to TLS: what the client sent before is thrown away (RFC 2595 4).
func (w *wire) secure(c net.Conn) {
	w.conn = c
	w.r.Reset((*wireReader)(w))
}

// line reads one line without its end, CRLF or LF alone, of at most limit bytes. A
// longer one is read to its end and gives errLineTooLong, an endless one errFlood.
func (w *wire) line(limit int, within time.Duration) ([]byte, error) {
	w.readWithin(within)
	var long []byte
	size := 0
	for {
		piece, err := w.r.ReadSlice('\n')
		size += len(piece)
		switch {
		case err == bufio.ErrBufferFull && size > maxFlood:
			return nil, errFlood
		case err == bufio.ErrBufferFull:
			if size <= limit+2 {
				long = append(long, piece...)
			}
			continue
		case err != nil:
			return nil, err
		}
		if long == nil {
			long = piece
		} else if size <= limit+2 {
			long = append(long, piece...)
		}
		if size > limit+2 {
			return nil, errLineTooLong
		}
		return bytes.TrimSuffix(long[:len(long)-1], []byte{'\r'}), nil
	}
}

// timedOut reports whether a read ended by its deadline.
func timedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// content sends a message: line ends as CRLF, dots stuffed (RFC 1939 3), after the
// header at most lines lines of the body, all with lines < 0. The last line gets its
// end where it has none. It does not send the final dot.
func (w *wire) content(r io.Reader, lines int64) error {
	pooled := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(pooled)
	p := dotWriter{w: w.w, lines: lines, start: true}
	for {
		n, err := r.Read(*pooled)
		if p.write((*pooled)[:n]); p.err != nil {
			return p.err
		}
		if p.full || err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if !p.start {
		p.w.WriteString("\r\n")
	}
	return nil
}

// dotWriter turns stored lines into those of the wire.
type dotWriter struct {
	w     *bufio.Writer
	lines int64 // of the body still to be sent; negative: all
	start bool  // at the start of a line
	cr    bool  // the last byte was a CR
	body  bool  // the header has ended
	full  bool  // enough was sent
	blank bool  // the line so far holds nothing but perhaps a CR
	err   error
}

func (d *dotWriter) write(p []byte) {
	for len(p) > 0 && !d.full && d.err == nil {
		if d.start {
			if d.body && d.lines == 0 {
				d.full = true
				return
			}
			if p[0] == '.' {
				d.w.WriteByte('.')
			}
			d.start, d.blank = false, true
		}
		line, rest, ended := bytes.Cut(p, []byte{'\n'})
		_, d.err = d.w.Write(line) // the writer keeps its first error
		if len(line) > 0 {
			d.blank = d.blank && len(line) == 1 && line[0] == '\r' && !d.cr
			d.cr = line[len(line)-1] == '\r'
		}
		if ended {
			if !d.cr {
				d.w.WriteByte('\r')
			}
			d.w.WriteByte('\n')
			d.endLine()
		}
		p = rest
	}
}

func (d *dotWriter) endLine() {
	switch {
	case d.body && d.lines > 0:
		d.lines--
	case !d.body && d.blank:
		d.body = true
	}
	d.start, d.cr = true, false
	d.full = d.body && d.lines == 0
}
