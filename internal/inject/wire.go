// Package inject is how a program of this host hands messages to the running server: the
// protocol of the socket run/inject.sock, and its client. It is light, since sendmail and
// qmail-inject start anew for each message.
//
// What a Client reports as taken is on the server's disk. What it reports otherwise has left nothing behind,
// but for one case that it names (Error.Doubt): the server said that it is about to commit, and nothing after that.
package inject

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Version is the protocol's. A connection carries one call:
//
//	client  P  postilion-inject VERSION VERB, then fields
//	client  F  reverse-path             of VerbSend
//	client  T  address, fields          one a recipient
//	client  D  a piece of the content, or of what the verb takes
//	client  E  the end: only now anything is taken
//	server  I  message id, fields       where the call has the field intent=1: it commits once this is written
//	server  R  number, fields           a recipient that will be bounced
//	server  A  fields                   the answer
//	server  D  a piece of what the verb gives
//	server  W  fields                   a step of a message that is watched
//	server  E  the end
//
// Each is a frame: the letter, the length in four bytes, the payload. Fields are
// name=value, with a NUL before each.
const Version = 1

// What a client may ask for.
const (
	VerbSend  = "send"  // hand a message in
	VerbNames = "names" // what this host is called: Names
	VerbQueue = "queue" // list the queue, for those who may: JSON lines
	VerbFlush = "flush" // try what waits now, or the messages whose ids come with it, for those who may
	VerbRoute = "route" // where addresses lead: a line in, an explanation out
	VerbSMTP  = "smtp"  // talk SMTP from here on
)

// Kinds of frames.
const (
	FrameCall   = 'P'
	FrameFrom   = 'F'
	FrameTo     = 'T'
	FrameData   = 'D'
	FrameEnd    = 'E'
	FrameIntent = 'I'
	FrameRcpt   = 'R'
	FrameAnswer = 'A'
	FrameStep   = 'W'
)

// MaxFrame bounds a frame's payload in bytes.
const MaxFrame = 64 << 10

// MaxAddress bounds an address in bytes, with its ending NUL (qmail reference 5.1).
const MaxAddress = 1003

// ErrFrame is wrapped when the other side does not speak this protocol.
var ErrFrame = errors.New("inject: not the injection protocol")

// AppendFrame appends one frame. The payload's pieces are at most MaxFrame together.
func AppendFrame(b []byte, kind byte, pieces ...string) []byte {
	n := 0
	for _, p := range pieces {
		n += len(p)
	}
	b = append(b, kind)
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	for _, p := range pieces {
		b = append(b, p...)
	}
	return b
}

// Reader reads frames. Its memory is one frame at most.
type Reader struct {
	r   *bufio.Reader
	buf []byte
}

// NewReader returns a Reader.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReaderSize(r, 16<<10)} }

// Next returns the next frame; its payload is valid until the next call. At the end of the
// connection between two frames the error is io.EOF.
func (r *Reader) Next() (kind byte, payload []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > MaxFrame {
		return 0, nil, fmt.Errorf("%w: a frame of %d bytes, at most %d are allowed", ErrFrame, n, MaxFrame)
	}
	if cap(r.buf) < int(n) {
		r.buf = make([]byte, max(int(n), 4<<10))
	}
	r.buf = r.buf[:n]
	if _, err = io.ReadFull(r.r, r.buf); err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return head[0], r.buf, err
}

// Buffered returns a reader of what follows the last frame: for VerbSMTP.
func (r *Reader) Buffered() io.Reader { return r.r }

// Fields are the named values of a frame.
type Fields map[string]string

// ParseFields splits a payload at its NULs: what is before the first, and the fields.
func ParseFields(payload []byte) (head string, f Fields) {
	head, rest, more := strings.Cut(string(payload), "\x00")
	f = Fields{}
	for more {
		var field string
		field, rest, more = strings.Cut(rest, "\x00")
		if name, value, ok := strings.Cut(field, "="); ok {
			f[name] = value
		}
	}
	return head, f
}

// field writes one field. A NUL in value would begin another: it is dropped.
func field(name, value string) string {
	if value == "" {
		return ""
	}
	return "\x00" + name + "=" + strings.ReplaceAll(value, "\x00", "")
}
