package smtpd

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/postilion/postilion/internal/record"
	"github.com/postilion/postilion/internal/serve"
)

// wire is a session's connection: input by lines or blocks, output gathered until the
// session is about to wait. A session at rest holds small and nothing else.
type wire struct {
	c   *serve.Conn
	raw net.Conn // below TLS; deadlines are set here
	srv *Server
	tap *record.Tap // takes the dialogue where an operator wants it; else nil

	buf    []byte // small, or *pooled
	r, w   int    // buf[r:w] is unread
	size   int    // of buf, as an index of sizes
	pooled *[]byte
	out    *[]byte // answers not yet sent; nil when there are none
	werr   error   // of the last write

	armed    time.Time // when the deadline was last set
	stopping atomic.Bool
	idle     atomic.Bool // waiting for a command

	small [512]byte // sizes[atRest]
}

var (
	errTooLong  = errors.New("line too long")
	errEndless  = errors.New("line without an end")
	errStopping = errors.New("the server is stopping")
)

// interrupt ends the wait for a command, once the server is stopping.
func (w *wire) interrupt() {
	w.stopping.Store(true)
	if w.idle.Load() {
		w.raw.SetReadDeadline(time.Unix(1, 0))
	}
}

// arm gives reads and writes from now on at most timeout. Deadlines that would move by less than a
// second are left: setting one costs more than reading a command.
func (w *wire) arm(timeout time.Duration) {
	if now := time.Now(); now.Sub(w.armed) >= min(time.Second, timeout/8) || now.Before(w.armed) {
		w.armed = now
		w.raw.SetDeadline(now.Add(timeout))
	}
}

// disarm makes the next arm set the deadline whatever the time.
func (w *wire) disarm() { w.armed = time.Time{} }

// buffered returns how many bytes came in that nobody has read.
func (w *wire) buffered() int { return w.w - w.r }

// readLine returns the next line without its end, valid until the next read. A line longer than
// most is skipped whole and gives errTooLong, one many times longer errEndless. timeout is for the whole line.
func (w *wire) readLine(most int, timeout time.Duration) ([]byte, error) {
	scanned, skipped, waited := w.r, 0, false
	for {
		if i := bytes.IndexByte(w.buf[scanned:w.w], '\n'); i >= 0 {
			line := w.buf[w.r : scanned+i]
			w.r = scanned + i + 1
			line = bytes.TrimSuffix(line, []byte{'\r'})
			if skipped+len(line) > most {
				return nil, errTooLong
			}
			return line, nil
		}
		if w.w-w.r > most+2 {
			skipped += w.w - w.r
			w.r = w.w
			if skipped > 64*most {
				return nil, errEndless
			}
		}
		if !waited {
			waited = true
			w.flush()
			w.arm(timeout)
			w.idle.Store(true)
			defer w.idle.Store(false)
			if w.stopping.Load() {
				return nil, errStopping
			}
		}
		if w.werr != nil {
			return nil, w.werr
		}
		have := w.w - w.r
		if err := w.fill(); err != nil {
			return nil, err
		}
		scanned = w.r + have
	}
}

// fill reads more into the buffer, growing it where it is full.
func (w *wire) fill() error {
	if w.r == w.w {
		w.r, w.w = 0, 0
		w.release()
	}
	if w.w == len(w.buf) {
		if w.r > 0 {
			w.w = copy(w.buf, w.buf[w.r:w.w])
			w.r = 0
		} else {
			w.grow(w.size + 1)
		}
	}
	return w.read()
}

// read reads once.
func (w *wire) read() error {
	n, err := w.c.Read(w.buf[w.w:])
	w.w += n
	if n > 0 {
		return nil
	}
	if err != nil && w.stopping.Load() && errors.Is(err, os.ErrDeadlineExceeded) {
		return errStopping
	}
	return err
}

// grow moves the unread bytes to a larger buffer.
func (w *wire) grow(size int) {
	next := w.srv.in[size].Get().(*[]byte)
	w.srv.buffered.Add(int64(len(*next)))
	n := copy(*next, w.buf[w.r:w.w])
	w.release()
	w.pooled, w.buf, w.size = next, *next, size
	w.r, w.w = 0, n
}

// mayGrow reports whether a buffer of that size stays within the memory for messages.
func (w *wire) mayGrow(size int) bool {
	return w.size < size && w.srv.buffered.Load()+int64(sizes[size]) <= w.srv.o.BufferMemory
}

// release goes back to the buffer of a session at rest; what is unread is lost.
func (w *wire) release() {
	if w.pooled != nil {
		w.srv.buffered.Add(-int64(len(*w.pooled)))
		w.srv.in[w.size].Put(w.pooled)
		w.pooled = nil
	}
	w.buf, w.size, w.r, w.w = w.small[:], atRest, 0, 0
}

// block returns unread bytes of a message's content, at least one more than have, reading once
// where needed. Progress within timeout is enough.
func (w *wire) block(have int, timeout time.Duration) ([]byte, error) {
	for w.w-w.r <= have {
		w.flush()
		if w.werr != nil {
			return nil, w.werr
		}
		if w.r > 0 {
			w.w = copy(w.buf, w.buf[w.r:w.w])
			w.r = 0
		}
		if w.mayGrow(forMessage) {
			w.grow(forMessage)
		}
		w.arm(timeout)
		before := w.w
		if err := w.read(); err == errStopping {
			// The interrupt was for a wait that had just ended: the message comes first.
			w.disarm()
			continue
		} else if err != nil {
			return nil, err
		}
		if w.w == len(w.buf) && before <= have && w.mayGrow(forLarge) {
			// The client sends faster than this buffer takes it.
			w.grow(forLarge)
		}
	}
	return w.buf[w.r:w.w], nil
}

// discard forgets what was read.
func (w *wire) discard() { w.r, w.w = 0, 0 }

// reply returns the buffer that answers are appended to; give it back with said.
func (w *wire) reply() []byte {
	if w.out == nil {
		w.out = w.srv.out.Get().(*[]byte)
		*w.out = (*w.out)[:0]
	}
	return *w.out
}

// said takes the buffer back. Answers go out when much has come together; otherwise with the next
// wait.
func (w *wire) said(b []byte) {
	*w.out = b
	if len(b) >= 4*outBuffer {
		w.flush()
	}
}

// flush sends the answers.
func (w *wire) flush() {
	if w.out == nil {
		return
	}
	if w.werr == nil && len(*w.out) > 0 {
		w.arm(w.srv.o.IdleTimeout)
		_, w.werr = w.c.Write(*w.out)
		w.tap.Out(*w.out)
	}
	if cap(*w.out) <= 8*outBuffer {
		w.srv.out.Put(w.out)
	}
	w.out = nil
}

// close lets go of the buffers.
func (w *wire) close() {
	w.flush()
	w.release()
}

// watch interrupts the session when ctx ends; the returned function stops watching.
func (w *wire) watch(ctx context.Context) func() bool { return context.AfterFunc(ctx, w.interrupt) }
