package smtp

import (
	"bytes"
	"io"
	"sync"
)

// Encoder writes a message's content, given with LF line ends, in its wire form: CRLF line
// ends and, with Dots, a dot before each line that begins with one (RFC 5321 4.5.2). A CR before
// LF is part of the line's end and not doubled; any other CR becomes a space, so that the
// output never holds a bare CR or LF.
//
// Content is gathered in chunks of 32 KiB. Every Encoder ends with Close, also after an error.
type Encoder struct {
	w    io.Writer
	dots bool
	buf  *[]byte
	mid  bool // within a line
	cr   bool // the last byte was a CR, not yet written
	err  error
}

const encodeChunk = 32 << 10

var encodeBuffers = sync.Pool{New: func() any { b := make([]byte, 0, encodeChunk+512); return &b }}

// NewDotEncoder returns an Encoder for DATA: Close ends the content with CRLF.CRLF.
func NewDotEncoder(w io.Writer) *Encoder { return newEncoder(w, true) }

// NewCRLFEncoder returns an Encoder for BDAT chunks and size counts: Close ends an
// unfinished last line and adds nothing else.
func NewCRLFEncoder(w io.Writer) *Encoder { return newEncoder(w, false) }

func newEncoder(w io.Writer, dots bool) *Encoder {
	return &Encoder{w: w, dots: dots, buf: encodeBuffers.Get().(*[]byte)}
}

// Write encodes p. The error is the underlying writer's.
func (e *Encoder) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && e.err == nil {
		if len(*e.buf) >= encodeChunk {
			e.flush()
		}
		p = p[e.piece(p):]
	}
	if e.err != nil {
		return 0, e.err
	}
	return n, nil
}

// piece encodes the rest of a line, or a part of it that fits the buffer, and returns how many
// bytes of p it took.
func (e *Encoder) piece(p []byte) int {
	b := *e.buf
	if e.cr {
		e.cr = false
		if p[0] != '\n' {
			b = append(b, ' ')
			e.mid = true
		}
	}
	if !e.mid && e.dots && p[0] == '.' {
		b = append(b, '.')
	}
	room := min(len(p), encodeChunk)
	end := bytes.IndexByte(p[:room], '\n')
	line := p[:room]
	if end >= 0 {
		line = p[:end]
	}
	if i := bytes.IndexByte(line, '\r'); i >= 0 && !(end >= 0 && i == len(line)-1) {
		// A CR that does not end the line, or of which that is not known yet.
		*e.buf = append(b, line[:i]...)
		e.mid = e.mid || i > 0
		e.cr = true
		return i + 1
	} else if i >= 0 {
		line = line[:i]
	}
	b = append(b, line...)
	if end < 0 {
		*e.buf = b
		e.mid = true
		return len(line)
	}
	*e.buf = append(b, '\r', '\n')
	e.mid = false
	return end + 1
}

func (e *Encoder) flush() {
	if e.err == nil && len(*e.buf) > 0 {
		_, e.err = e.w.Write(*e.buf)
	}
	*e.buf = (*e.buf)[:0]
}

// Close ends the content and flushes it. It does not close the underlying writer.
func (e *Encoder) Close() error {
	if e.buf == nil {
		return e.err
	}
	if e.cr {
		e.cr, e.mid = false, true
		*e.buf = append(*e.buf, ' ')
	}
	if e.mid {
		*e.buf = append(*e.buf, '\r', '\n')
	}
	if e.dots {
		*e.buf = append(*e.buf, ".\r\n"...)
	}
	e.flush()
	if cap(*e.buf) <= 4*encodeChunk {
		encodeBuffers.Put(e.buf)
	}
	e.buf = nil
	return e.err
}
