// Package netstrings is what the QMTP and QMQP servers share: a connection that is read in netstrings
// under deadlines, message content on its way into submit, and the family's answers.
//
// Its rule: nothing that a client announces sizes memory, and framing that is wrong ends the
// connection without an answer, as with qmail (qmail reference 15).
package netstrings

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/smtp"
	"github.com/postilion/postilion/internal/submit"
)

// Bounds on what one message may announce.
const (
	MaxMessage    = 1 << 40  // bytes of a message: more can only be nonsense
	MaxAddress    = 1000     // an address of so many bytes is not taken (qmail reference 15.1)
	maxDropped    = 64 << 10 // bytes of an address that is read and dropped
	MaxList       = 16 << 20 // bytes of the list of recipients
	MaxRecipients = 50_000   // of one message, counted before policy's limit refuses them
)

// Why reading ended. Framing errors are those of package qmail.
var (
	ErrIdle     = errors.New("nothing came for too long")
	ErrStopping = errors.New("the server is stopping")
	ErrTooMany  = errors.New("too many recipients")
	errSlow     = errors.New("the message took too long")
)

// Wire reads a connection. It is used by one goroutine; Interrupt alone may come from another one.
type Wire struct {
	Conn    net.Conn
	Timeout time.Duration // for the next bytes to come, and for answers to be taken
	Total   time.Duration // for a whole message
	R       *bufio.Reader

	out   []byte
	begun time.Time // of the message at hand; zero between messages
	armed time.Time

	mu             sync.Mutex
	idle, stopping bool
}

// NewWire returns a Wire on a connection.
func NewWire(c net.Conn, timeout, total time.Duration) *Wire {
	w := &Wire{Conn: c, Timeout: timeout, Total: total}
	w.R = bufio.NewReaderSize((*source)(w), 4096)
	return w
}

// Interrupt ends the wait for a next message; one that has begun is finished.
func (w *Wire) Interrupt() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopping = true
	if w.idle {
		w.Conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// Await waits for a message's first byte: nil, io.EOF, or why there is none: ErrIdle, ErrStopping or the connection's error.
func (w *Wire) Await() error {
	w.begun = time.Time{}
	if w.R.Buffered() == 0 {
		w.Flush()
		w.mu.Lock()
		w.idle = true
		stopping := w.stopping
		w.mu.Unlock()
		if stopping {
			return ErrStopping
		}
	}
	_, err := w.R.Peek(1)
	w.mu.Lock()
	w.idle = false
	stopping := w.stopping
	w.mu.Unlock()
	switch {
	case err == nil:
		if stopping {
			w.armed = time.Time{} // the interrupt's deadline is not the message's
		}
		w.begun = time.Now()
		return nil
	case stopping && errors.Is(err, os.ErrDeadlineExceeded):
		return ErrStopping
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ErrIdle
	}
	return err
}

// source is the connection as the bufio.Reader sees it.
type source Wire

// Read implements io.Reader under the deadlines.
func (s *source) Read(p []byte) (int, error) {
	w := (*Wire)(s)
	w.Flush()
	now := time.Now()
	if !w.begun.IsZero() && now.Sub(w.begun) > w.Total {
		return 0, errSlow
	}
	if now.Sub(w.armed) >= min(time.Second, w.Timeout/8) {
		w.armed = now
		w.mu.Lock()
		if !w.idle || !w.stopping {
			w.Conn.SetReadDeadline(now.Add(w.Timeout))
		}
		w.mu.Unlock()
	}
	return w.Conn.Read(p)
}

// Answer gathers an answer, as a netstring; it goes out before the next wait.
func (w *Wire) Answer(text string) { w.out = qmail.AppendNetstring(w.out, text) }

// Flush sends the gathered answers. A client that does not take them is seen by the next read.
func (w *Wire) Flush() {
	if len(w.out) == 0 {
		return
	}
	w.Conn.SetWriteDeadline(time.Now().Add(w.Timeout))
	if _, err := w.Conn.Write(w.out); err != nil {
		w.Conn.Close()
	}
	w.out = w.out[:0]
}

// Address reads a sender or recipient. ok is false for one that cannot be handled: of MaxAddress
// bytes or more, or with NUL, or with a line end, which no delivery could carry.
func (w *Wire) Address(most int64) (a mail.Address, length int64, ok bool, err error) {
	n, err := qmail.ReadNetstringLen(w.R, most)
	if err != nil {
		return a, 0, false, err
	}
	length = int64(len(strconv.FormatInt(n, 10))) + n + 2
	if n >= MaxAddress {
		if n > maxDropped {
			return a, length, false, qmail.ErrNetstringLong
		}
		if _, err := w.R.Discard(int(n)); err != nil {
			return a, length, false, err
		}
		return a, length, false, qmail.ReadNetstringEnd(w.R)
	}
	var buf [MaxAddress]byte
	if _, err := io.ReadFull(w.R, buf[:n]); err != nil {
		return a, length, false, err
	}
	if err := qmail.ReadNetstringEnd(w.R); err != nil {
		return a, length, false, err
	}
	if bytes.ContainsAny(buf[:n], "\x00\r\n") {
		return a, length, false, nil
	}
	a = mail.ParseAddress(string(buf[:n]))
	// What is no domain must not reach a command or a header field. qmail's own reverse-paths
	// end in "@[]" (qmail reference 9.6).
	ok = a.Domain == "" || a.Domain == "[]" || smtp.CheckDomain(a.Domain) == nil
	return a, length, ok, nil
}

// Content copies n bytes of a message from the reader to tx. crlf turns CRLF into LF; a lone CR
// stays (qmail reference 15.1). A nil tx drops them.
func (w *Wire) Content(tx *submit.Transaction, n int64, crlf bool) error {
	d := decoder{crlf: crlf}
	for n > 0 {
		if w.R.Buffered() == 0 {
			if _, err := w.R.Peek(1); err != nil {
				return unexpected(err)
			}
		}
		p, _ := w.R.Peek(int(min(n, int64(w.R.Buffered()))))
		if tx != nil {
			d.write(tx, p)
		}
		n -= int64(len(p))
		if _, err := w.R.Discard(len(p)); err != nil {
			return err
		}
	}
	if tx != nil {
		d.end(tx)
	}
	return nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// decoder turns CRLF into LF across pieces.
type decoder struct {
	crlf bool
	cr   bool // the last byte was a CR, not yet written
}

func (d *decoder) write(w io.Writer, p []byte) {
	if !d.crlf {
		_, _ = w.Write(p)
		return
	}
	for len(p) > 0 {
		if d.cr {
			d.cr = false
			if p[0] != '\n' {
				_, _ = w.Write([]byte{'\r'})
			}
		}
		i := bytes.IndexByte(p, '\r')
		if i < 0 {
			_, _ = w.Write(p)
			return
		}
		_, _ = w.Write(p[:i])
		p, d.cr = p[i+1:], true
	}
}

func (d *decoder) end(w io.Writer) {
	if d.cr {
		_, _ = w.Write([]byte{'\r'})
	}
}

// Texts of qmail-qmtpd and qmail-qmqpd (qmail reference 15).
const (
	CannotHandle = "Dsorry, I can't handle that recipient (#5.1.3)"
	CannotAccept = "Dsorry, I can't accept addresses like that (#5.1.3)"
	BadSender    = "Dunacceptable sender (#5.1.7)"
)

// Accepted is the answer of success.
func Accepted(at time.Time, tx *submit.Transaction) string {
	return "Kok " + strconv.FormatInt(at.Unix(), 10) + " qp " + tx.ID().String()
}

// Refusal writes an error in the family's words where it has some.
func Refusal(e *reason.Error) string {
	switch e.Reason {
	case reason.RelayDenied.Reason, reason.ReceiveOnly.Reason, reason.MessageTooBig.Reason:
		return "D" + e.Reply(reason.Qmail).Text
	}
	letter := "Z"
	if e.Class == reason.Permanent {
		letter = "D"
	}
	// One line, and an end that the client's log can be searched for.
	text := strings.ReplaceAll(smtp.Text(e.Text(reason.English), 400), "\n", " ")
	return letter + text + " (#" + e.Enhanced + ")"
}

// Watch interrupts the wire when ctx ends; the returned function stops watching.
func (w *Wire) Watch(ctx context.Context) func() bool { return context.AfterFunc(ctx, w.Interrupt) }
