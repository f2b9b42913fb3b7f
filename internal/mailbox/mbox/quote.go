package mbox

import (
	"bytes"
	"io"
)

// quoter writes a message's content so that none of its lines looks like a From_ line: one that
// matches ">*From " gets a ">" more (mboxrd; qmail reference 10.3). It sees lines across pieces.
type quoter struct {
	w       io.Writer
	buf     []byte // not yet written
	matched int    // bytes of from at the end of what came, after any ">" at a line's start
	within  bool   // in a line that is no From_ line
	last    byte   // of the content; 0 before any
}

const from = "From "

// flushAt is the size at which buf is written, in bytes.
const flushAt = 48 << 10

// write adds a piece.
func (q *quoter) write(p []byte) error {
	if len(p) > 0 {
		q.last = p[len(p)-1]
	}
	for len(p) > 0 {
		if q.within {
			i := bytes.IndexByte(p, '\n') + 1
			if i == 0 {
				i = len(p)
			} else {
				q.within = false
			}
			q.buf = append(q.buf, p[:i]...)
			p = p[i:]
		} else {
			q.start(p[0])
			p = p[1:]
		}
		if len(q.buf) >= flushAt {
			if err := q.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// start takes one byte at the start of a line. The extra ">" may follow the others: they are all
// the same.
func (q *quoter) start(c byte) {
	switch {
	case c == '>' && q.matched == 0:
		q.buf = append(q.buf, c)
		return
	case c == from[q.matched]:
		if q.matched++; q.matched < len(from) {
			return
		}
		q.buf = append(append(q.buf, '>'), from...)
	default:
		q.buf = append(append(q.buf, from[:q.matched]...), c)
	}
	q.matched, q.within = 0, c != '\n'
}

// end writes what is left: a missing line end, and the empty line that closes a message.
func (q *quoter) end() error {
	q.buf = append(q.buf, from[:q.matched]...)
	if q.last != '\n' && q.last != 0 {
		q.buf = append(q.buf, '\n')
	}
	q.buf = append(q.buf, '\n')
	return q.flush()
}

func (q *quoter) flush() error {
	_, err := q.w.Write(q.buf)
	q.buf = q.buf[:0]
	return err
}
