package queue

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
)

// This file reads archives. A message counts once all of its entries are read and their sums are right, so that none
// is taken that is not what was exported; whoever can read an archive twice has it checked first, so that a damaged
// one leaves nothing behind.

// CheckArchive reads an archive to its end and returns how many messages it has. The error wraps ErrFormat and names
// the entry when it is damaged, or is ctx's or r's.
func CheckArchive(ctx context.Context, r io.Reader) (n int, err error) {
	a := newArchiveReader(r)
	for ; ; n++ {
		if err = ctx.Err(); err == nil {
			_, err = a.next()
		}
		if err == nil {
			err = a.finish(io.Discard)
		}
		switch {
		case errors.Is(err, errArchiveEnd):
			return n, nil
		case err != nil:
			told := archiveError{entry: a.entry, within: a.within, fate: "nothing of it was put into the queue", cause: err}
			if errors.Is(told, ErrFormat) {
				err = told
			}
			return n, err
		}
	}
}

// Import adds an archive's messages with the states they had. Messages that are in the queue
// already are left as they are, so that an import that was interrupted can be run again; n is how many
// were added. The error wraps ErrFormat and names the entry when the archive is damaged; what came
// before the damage has been added.
func Import(ctx context.Context, s Store, r io.Reader) (n int, err error) {
	a := newArchiveReader(r)
	for seen := 0; ; seen++ {
		added, err := importOne(ctx, s, a)
		switch {
		case errors.Is(err, errArchiveEnd):
			return n, nil
		case err != nil:
			fate := fmt.Sprintf("after %d whole messages, %d of which are new in the queue; the rest is not", seen, n)
			return n, archiveError{entry: a.entry, within: a.within, fate: fate, cause: err}
		case added:
			n++
		}
	}
}

func importOne(ctx context.Context, s Store, a *archiveReader) (added bool, err error) {
	m, err := a.next()
	if err != nil {
		return false, err
	}
	if _, err := s.Load(ctx, m.Envelope.ID); !errors.Is(err, ErrNotFound) {
		if err == nil { // it is there already
			err = a.finish(io.Discard)
		}
		return false, err
	}
	d, err := s.Restore(ctx, m)
	if err != nil {
		return false, err
	}
	if err := a.finish(d); err != nil {
		d.Abort()
		return false, err
	}
	return true, d.Commit(ctx)
}

// archiveError tells where an archive could not be read on, and what of it is in the queue.
type archiveError struct {
	entry  string // the last one that was begun; "" before the first
	within bool   // reading ended in its content, or that is wrong; else behind it
	fate   string // of the archive's messages
	cause  error
}

// Error says it to who has the file.
func (e archiveError) Error() string {
	var damage damageError
	damaged := errors.As(e.cause, &damage)
	switch {
	case e.cut() && e.entry == "":
		return "this is no archive of queue export, or it was cut off within its first message"
	case e.entry == "" && (errors.Is(e.cause, tar.ErrHeader) || damaged):
		return "this is no archive of queue export"
	case e.cut():
		return fmt.Sprintf("the archive was cut off %s: %s", e.place(), e.fate)
	case damaged:
		return fmt.Sprintf("the archive is damaged %s: %s: %s", e.place(), damage.text, e.fate)
	case errors.Is(e.cause, ErrFormat), errors.Is(e.cause, tar.ErrHeader):
		return fmt.Sprintf("the archive is damaged %s: %s", e.place(), e.fate)
	}
	return fmt.Sprintf("a message could not be put into the queue (%v): %s", e.cause, e.fate)
}

// place names the entry.
func (e archiveError) place() string {
	if e.within {
		return "in entry " + e.entry
	}
	return "after entry " + e.entry
}

func (e archiveError) cut() bool {
	return errors.Is(e.cause, io.EOF) || errors.Is(e.cause, io.ErrUnexpectedEOF)
}

// Unwrap returns the cause, and ErrFormat where the archive is to blame.
func (e archiveError) Unwrap() []error {
	if e.cut() || errors.Is(e.cause, tar.ErrHeader) {
		return []error{ErrFormat, e.cause}
	}
	return []error{e.cause}
}

// damageError is an entry that is not as export writes it.
type damageError struct{ text string }

// Error implements error.
func (e damageError) Error() string { return ErrFormat.Error() + ": " + e.text }

// Is makes it an ErrFormat.
func (e damageError) Is(target error) bool { return target == ErrFormat }

// errArchiveEnd tells that the archive ended as it should.
var errArchiveEnd = queueError("the archive is at its end")

// The bounds of entries that are read into memory, in bytes.
const (
	envelopeMax = 64 << 20 // the envelope, or the states, of one message
	// archiveRecipients are those of one message: ten times what programs may hand in unless they are allowed more, and some 200 bytes
	// each once they are read.
	archiveRecipients = 1_000_000
	sumsMax           = 1 << 10
)

// archiveReader reads an archive message by message: next, then finish.
type archiveReader struct {
	t      *tar.Reader
	entry  string      // the last one that was begun
	within bool        // no header after it was looked for yet
	ahead  *tar.Header // read already: what follows a message without sums
	plain  bool        // the first message had no sums
	whole  int         // messages that were finished
	m      *Message
	body   int64  // bytes of m's body
	sums   []byte // lines of m's entries that were read
	buf    []byte
}

func newArchiveReader(r io.Reader) *archiveReader { return &archiveReader{t: tar.NewReader(r)} }

// header returns the next entry's.
func (a *archiveReader) header() (*tar.Header, error) {
	a.within = false
	if h := a.ahead; h != nil {
		a.ahead = nil
		return h, nil
	}
	h, err := a.t.Next()
	if err == nil && !isWhole(h) {
		return nil, damageError{fmt.Sprintf("entry %q is no plain file", h.Name)}
	}
	return h, err
}

// isWhole reports whether an entry's content is all in the archive. Of a sparse file tar reads holes as zeros: a few bytes would
// make exabytes.
func isWhole(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return false
		}
	}
	return h.Typeflag == tar.TypeReg
}

// begin says which entry's content is read from now on.
func (a *archiveReader) begin(h *tar.Header) { a.entry, a.within = h.Name, true }

// next returns the next message, of which finish gives the body; errArchiveEnd at the end.
func (a *archiveReader) next() (*Message, error) {
	h, err := a.header()
	switch {
	case err != nil:
		return nil, err
	case h.Name == endEntry:
		return nil, errArchiveEnd
	case len(h.Name) != id.TextLen+len(envelopeEntry) || !strings.HasSuffix(h.Name, envelopeEntry):
		return nil, damageError{fmt.Sprintf("entry %q follows", h.Name)}
	}
	a.begin(h)
	a.sums = a.sums[:0]
	data, err := a.read(h, envelopeMax)
	if err != nil {
		return nil, err
	}
	e, err := decodeEnvelope(data, archiveRecipients)
	if err != nil {
		return nil, damageError{strings.TrimPrefix(err.Error(), "envelope: "+ErrFormat.Error()+": ")}
	}
	if e.ID.String()+envelopeEntry != h.Name {
		return nil, damageError{"it is the envelope of " + e.ID.String()}
	}
	if h, err = a.expect(e.ID, statesEntry); err != nil {
		return nil, err
	}
	if data, err = a.read(h, envelopeMax); err != nil {
		return nil, err
	}
	if a.m, err = decodeStates(data, e); err != nil {
		return nil, err
	}
	if h, err = a.expect(e.ID, bodyEntry); err != nil {
		return nil, err
	}
	if a.body = h.Size; a.body != e.Size {
		return nil, damageError{fmt.Sprintf("it has %d bytes, want %d", a.body, e.Size)}
	}
	return a.m, nil
}

// expect begins the entry of a message that must follow.
func (a *archiveReader) expect(message id.ID, entry string) (*tar.Header, error) {
	h, err := a.header()
	if err != nil {
		return nil, err
	}
	if want := message.String() + entry; h.Name != want {
		return nil, damageError{fmt.Sprintf("entry %q follows, want %q", h.Name, want)}
	}
	a.begin(h)
	return h, nil
}

// read returns an entry's content.
func (a *archiveReader) read(h *tar.Header, most int64) ([]byte, error) {
	if h.Size > most {
		return nil, damageError{fmt.Sprintf("it has %d bytes, want at most %d", h.Size, most)}
	}
	var data bytes.Buffer
	err := a.copy(&data)
	return data.Bytes(), err
}

// copy writes the content of the entry that was begun to w, and keeps its sum.
func (a *archiveReader) copy(w io.Writer) error {
	sum := sha256.New()
	if a.buf == nil {
		a.buf = make([]byte, 64<<10)
	}
	if _, err := io.CopyBuffer(io.MultiWriter(sum, w), a.t, a.buf); err != nil {
		return err
	}
	a.sums = appendSum(a.sums, sum, a.entry)
	return nil
}

// finish writes the message's body to w. Without an error all of the message was as it was exported, as far as
// the archive's sums tell.
func (a *archiveReader) finish(w io.Writer) error {
	if err := a.copy(w); err != nil {
		return err
	}
	h, err := a.header()
	if err != nil {
		return err
	}
	a.whole++
	if h.Name != a.m.Envelope.ID.String()+sumsEntry {
		if a.whole > 1 && !a.plain {
			return damageError{fmt.Sprintf("entry %q follows, want %q", h.Name, a.m.Envelope.ID.String()+sumsEntry)}
		}
		a.plain, a.ahead = true, h
		return nil
	}
	if a.plain {
		return damageError{fmt.Sprintf("entry %q follows, and messages before have none of that kind", h.Name)}
	}
	have := bytes.Clone(a.sums)
	a.begin(h)
	want, err := a.read(h, sumsMax)
	if err != nil {
		return err
	}
	return a.compare(have, want)
}

// compare holds the sums of a message's entries against those that were exported.
func (a *archiveReader) compare(have, want []byte) error {
	if bytes.Equal(have, want) {
		return nil
	}
	wanted := strings.SplitAfter(string(want), "\n")
	for i, line := range strings.Split(strings.TrimSuffix(string(have), "\n"), "\n") {
		if i >= len(wanted) || line+"\n" != wanted[i] {
			_, a.entry, _ = strings.Cut(line, "  ")
			break
		}
	}
	return damageError{"its SHA-256 is not the one that was exported with it"}
}

func decodeStates(data []byte, e *mail.Envelope) (*Message, error) {
	d := &decoder{rest: string(data)}
	m := &Message{Envelope: e, Held: d.byte() != 0, States: make([]RecipientState, len(e.Recipients))}
	for n := range m.States {
		st, err := DecodeState([]byte(d.string()))
		if err != nil {
			return nil, err
		}
		if st.N != n {
			return nil, fmt.Errorf("%w: the state of recipient %d stands at %d", ErrFormat, st.N, n)
		}
		m.States[n] = st
	}
	return m, d.end()
}
