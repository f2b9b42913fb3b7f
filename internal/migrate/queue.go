package migrate

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/qmail/control"
	"github.com/postilion/postilion/internal/qmail/queuedir"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/reason"
)

// This file takes the messages over that wait in a qmail's queue, as an archive that the
// queue's import reads. The other queue is only read: it must not be served any more, or its
// messages go out twice.

// QueueSource is the queue to take over.
type QueueSource struct {
	Root fs.FS // the queue's folder
	// Virtual is control/virtualdomains: what it put in front of local recipients is taken off
	// again, since routing here puts its own in front.
	Virtual control.Virtualdomains
	Held    bool // the messages wait in the new queue until they are released
	// Each is told of every message, in order of their numbers.
	Each func(QueueNote)
}

// QueueNote tells what became of one message, or of one stray file.
type QueueNote struct {
	Message    string    `json:"message"`              // its number there, or the stray file's path
	ID         string    `json:"id,omitempty"`         // here
	From       string    `json:"from"`                 // "" for a bounce
	Recipients []string  `json:"recipients,omitempty"` // that wait
	Failures   []string  `json:"failures,omitempty"`   // that failed there, of whom the sender is told now
	Done       int       `json:"done,omitempty"`       // recipients that were finished there
	Accepted   time.Time `json:"accepted,omitzero"`
	Size       int64     `json:"size,omitempty"` // bytes
	Fate       Fate      `json:"fate"`
	Text       string    `json:"text,omitempty"` // why it was not carried, or what differs
	Lost       bool      `json:"lost,omitempty"` // not carried, though qmail would have delivered it
}

// Archive writes the queue's messages to w, in the form that the queue's import reads, and
// returns how many. With w nil it only tells. A message that cannot be read is told and left out;
// the error is about the queue as a whole or about w.
func (s QueueSource) Archive(ctx context.Context, w io.Writer) (n int, err error) {
	q, err := queuedir.Scan(s.Root)
	if err != nil {
		return 0, err
	}
	var archive *queue.ArchiveWriter
	if w != nil {
		archive = queue.NewArchiveWriter(w)
	}
	for _, f := range q.Faults {
		s.Each(QueueNote{Message: f.File, Fate: NotCarried, Text: f.Text})
	}
	for _, number := range q.Numbers() {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		note := QueueNote{Message: fmt.Sprint(number), Fate: Taken}
		m, err := q.Message(number)
		if err == nil {
			err = s.take(q, m, &note, archive)
		}
		switch lost := (*notRead)(nil); {
		case err == nil:
			n++
		case errors.Is(err, errFinished) || errors.As(err, &lost) || m == nil:
			note.Fate, note.Text = NotCarried, err.Error()
			note.Lost = !errors.Is(err, errFinished) && !errors.Is(err, queuedir.ErrUnmade)
		default:
			return n, err
		}
		s.Each(note)
	}
	if archive != nil {
		return n, archive.Close()
	}
	return n, nil
}

// errFinished is of a message that nothing is left to do for.
var errFinished = errors.New("finished: every recipient is done and nobody is to be told")

// notRead is of a message that cannot be read, before anything of it was written.
type notRead struct{ err error }

func (e *notRead) Error() string { return e.err.Error() }

// take writes one message.
func (s QueueSource) take(q *queuedir.Queue, m *queuedir.Message, note *QueueNote, archive *queue.ArchiveWriter) error {
	e := s.envelope(m, note)
	if len(e.Recipients) == 0 {
		return errFinished
	}
	if strings.ContainsAny(m.Sender, "\r\n\x00") {
		return &notRead{fmt.Errorf("the sender %q holds a line end", m.Sender)}
	}
	body, err := q.Open(m)
	if err != nil {
		return &notRead{err}
	}
	digest, err := measure(body, e)
	body.Close()
	if err != nil {
		return &notRead{fmt.Errorf("%s: %w", m.Path, err)}
	}
	e.ID = identify(m, digest)
	note.ID, note.Accepted, note.Size = e.ID.String(), e.Accepted, e.Size
	if archive == nil {
		return nil
	}
	if body, err = q.Open(m); err != nil {
		return &notRead{err}
	}
	defer body.Close()
	states := make([]queue.RecipientState, len(e.Recipients))
	for i := range states {
		states[i].N = i
	}
	return archive.Add(&queue.Message{Envelope: e, States: states, Held: s.Held}, exactly{body, e.Size, m.Path})
}

// envelope makes the envelope of a message: what waits, and what failed there already.
func (s QueueSource) envelope(m *queuedir.Message, note *QueueNote) *mail.Envelope {
	e := &mail.Envelope{Accepted: m.Birth.UTC(), From: mail.ParseAddress(m.Sender), Protocol: "QMAIL"}
	note.From = m.Sender
	for _, r := range m.Recipients {
		if r.Done {
			note.Done++
			continue
		}
		to := mail.ParseAddress(r.Address)
		if r.Local {
			to = s.withoutPrefix(to)
		}
		if strings.ContainsAny(r.Address, "\r\n") {
			note.Fate, note.Text = Differs, fmt.Sprintf("recipient %q is left out: it holds a line end", r.Address)
			continue
		}
		note.Recipients = append(note.Recipients, to.String())
		e.Recipients = append(e.Recipients, mail.Recipient{To: to})
	}
	for _, f := range m.Failures {
		if strings.ContainsAny(f.Address, "\r\n\x00") {
			continue
		}
		note.Failures = append(note.Failures, f.Address)
		e.Recipients = append(e.Recipients, mail.Recipient{To: mail.ParseAddress(f.Address), Refused: failed(f.Text)})
	}
	return e
}

// failed is why a recipient was given up there: the text stands in the bounce as it is.
func failed(text string) *reason.Error {
	enhanced := "5.0.0"
	if i := strings.LastIndex(text, "(#5."); i >= 0 {
		if code, _, ok := strings.Cut(text[i+2:], ")"); ok && len(code) < 10 && strings.Trim(code, "0123456789.") == "" && strings.Count(code, ".") == 2 {
			enhanced = code
		}
	}
	return &reason.Error{Class: reason.Permanent, Code: 554, Enhanced: enhanced, Reason: reason.ProgramReport, Args: []string{cmp.Or(strings.ReplaceAll(text, "\x00", ""), "no reason is known")}}
}

// withoutPrefix takes off what virtualdomains put in front of a local recipient: the longest
// rest that the file would make this recipient of.
func (s QueueSource) withoutPrefix(to mail.Address) mail.Address {
	for i := range len(to.Local) {
		if to.Local[i] != '-' {
			continue
		}
		rest := mail.Address{Local: to.Local[i+1:], Domain: to.Domain}
		if m, ok := s.Virtual.Find(rest); ok && m.Value == to.Local[:i] {
			return rest
		}
	}
	return to
}

// measure reads a message through once for what its envelope says of it, and returns its digest.
func measure(r io.Reader, e *mail.Envelope) (digest [sha256.Size]byte, err error) {
	sum := sha256.New()
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		p := buf[:n]
		sum.Write(p)
		e.Size += int64(n)
		e.CRLFSize += int64(n + bytes.Count(p, []byte("\n")))
		for i := 0; i < n && !e.Eight; i++ {
			e.Eight = p[i] >= 0x80
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return digest, err
		}
	}
	if e.Eight {
		e.Body = mail.Body8Bit
	}
	return [sha256.Size]byte(sum.Sum(nil)), nil
}

// identify gives a message the same id whenever it is taken over, so that a second run adds
// nothing to what is still there from the first.
func identify(m *queuedir.Message, digest [sha256.Size]byte) id.ID {
	sum := sha256.New()
	sum.Write(digest[:])
	fmt.Fprintf(sum, "%d\x00%s\x00%d", m.Number, m.Sender, m.Birth.UnixNano())
	v := id.ID(sum.Sum(nil)[:len(id.ID{})])
	ms := uint64(max(0, m.Birth.UnixMilli()))
	binary.BigEndian.PutUint64(v[:8], ms<<16|uint64(binary.BigEndian.Uint16(v[6:8])))
	return v
}

// exactly copies size bytes, or fails: the file has changed since it was measured.
type exactly struct {
	r    io.Reader
	size int64
	path string
}

// WriteTo implements io.WriterTo.
func (x exactly) WriteTo(w io.Writer) (int64, error) {
	n, err := io.Copy(w, io.LimitReader(x.r, x.size))
	if err == nil && n < x.size {
		err = fmt.Errorf("%s has become shorter: something still serves this queue", x.path)
	}
	return n, err
}
