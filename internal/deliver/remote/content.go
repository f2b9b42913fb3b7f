package remote

import (
	"strconv"
	"sync"

	"github.com/postilion/postilion/internal/smtp"
)

// Sizes of what is sent at once, in bytes.
const (
	chunkSize   = 64 << 10 // of one BDAT
	chunkHeader = 32       // room for "BDAT n LAST\r\n"
	chunkWindow = 4        // chunks sent ahead of their replies
)

var (
	copyBuffers  = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}
	chunkBuffers = sync.Pool{New: func() any { b := make([]byte, chunkHeader, chunkHeader+chunkSize+40<<10); return &b }}
)

// contentWriter brings LF content into its wire form and sends it, by DATA with dots or in
// BDAT chunks. The last piece of the content leaves together with its end.
type contentWriter struct {
	s   *session
	enc *smtp.Encoder

	bdat    bool
	chunk   *[]byte // the chunk being gathered, behind room for its command
	waiting int     // chunks whose replies are still to come
	stop    bool    // nothing more is sent

	whole   bool        // the end of the content has been sent, or may have been
	broken  error       // the connection failed
	refused *smtp.Reply // to a chunk before the last one
}

func (l *letter) writer() *contentWriter {
	w := &contentWriter{s: l.s, bdat: l.s.offer.Chunking && !l.s.t.o.NoChunking}
	if w.bdat {
		w.chunk = chunkBuffers.Get().(*[]byte)
		w.enc = smtp.NewCRLFEncoder((*wire)(w))
	} else {
		w.enc = smtp.NewDotEncoder((*wire)(w))
	}
	return w
}

// name is the command that the content's reply answers.
func (w *contentWriter) name() string {
	if w.bdat {
		return "BDAT"
	}
	return "DATA"
}

// Write takes content with LF line ends.
func (w *contentWriter) Write(p []byte) (int, error) { return w.enc.Write(p) }

// finish ends the content, if it is complete, and returns the reply to it. Without the end, the
// other side throws away what it has when the connection closes.
func (w *contentWriter) finish(complete bool) (last smtp.Reply) {
	w.stop = w.stop || !complete
	if !w.bdat && !w.stop {
		w.whole = true
		w.s.setSent(true)
	}
	_ = w.enc.Close()
	if w.bdat {
		if !w.stop && w.broken == nil && w.refused == nil {
			w.whole = true
			w.s.setSent(true)
			w.send(true)
		}
		*w.chunk = (*w.chunk)[:chunkHeader]
		chunkBuffers.Put(w.chunk)
	}
	// A write that failed did not send all of it: the end, its last bytes, is not on its way.
	w.whole = w.whole && w.broken == nil
	for w.bdat && w.waiting > 1 && w.broken == nil && w.refused == nil {
		w.chunkReply()
	}
	if w.stop || w.broken != nil || w.refused != nil {
		return last
	}
	if w.s.tap != nil {
		w.s.tap(">>> (the message) " + map[bool]string{false: ".", true: "BDAT LAST"}[w.bdat])
	}
	last, w.broken = w.s.reply(w.s.t.o.DotTimeout)
	return last
}

// wire is where the encoder writes to.
type wire contentWriter

// Write sends encoded content or gathers it into chunks.
func (v *wire) Write(p []byte) (int, error) {
	w := (*contentWriter)(v)
	switch {
	case w.broken != nil:
		return 0, w.broken
	case w.stop:
		return len(p), nil
	case !w.bdat:
		return w.block(p)
	}
	*w.chunk = append(*w.chunk, p...)
	if len(*w.chunk) >= chunkHeader+chunkSize {
		w.send(false)
	}
	switch {
	case w.broken != nil:
		return 0, w.broken
	case w.refused != nil:
		w.stop = true
		return 0, errRefused
	}
	return len(p), nil
}

// block writes within the time for one block.
func (w *contentWriter) block(p []byte) (int, error) {
	w.s.arm(w.s.t.o.BlockTimeout)
	n, err := w.s.conn.Write(p)
	w.s.rec.Out(p[:n])
	if err != nil {
		w.broken = w.s.broken(err)
	}
	return n, err
}

// send sends the gathered chunk with its command in one write, and reads replies so that
// neither side is ever blocked by the other's full buffers.
func (w *contentWriter) send(last bool) {
	b := *w.chunk
	var command [chunkHeader]byte
	head := strconv.AppendInt(append(command[:0], "BDAT "...), int64(len(b)-chunkHeader), 10)
	if last {
		head = append(head, " LAST"...)
	}
	head = append(head, '\r', '\n')
	start := chunkHeader - len(head)
	copy(b[start:], head)
	_, _ = w.block(b[start:])
	*w.chunk = b[:chunkHeader]
	w.waiting++
	window := 1 // without pipelining each chunk waits for its reply
	if w.s.offer.Pipelining && !w.s.t.o.NoPipelining {
		window = chunkWindow
	}
	for !last && w.waiting >= window && w.broken == nil && w.refused == nil {
		w.chunkReply()
	}
}

// chunkReply reads the reply to one chunk that is not the last.
func (w *contentWriter) chunkReply() {
	r, err := w.s.reply(w.s.t.o.DotTimeout)
	w.waiting--
	switch {
	case err != nil:
		w.broken = err
	case r.Class() != 2:
		w.refused = &r
	}
}

type writeRefused struct{}

func (writeRefused) Error() string { return "the other side refused a chunk" }

var errRefused = writeRefused{}
