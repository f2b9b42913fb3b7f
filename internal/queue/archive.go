package queue

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
)

// A queue archive is a tar file, so that its bodies can be read with common tools. For
// each message it holds, in this order and under the message's id:
//
//	<id>/envelope   the binary envelope, see AppendEnvelope
//	<id>/states     a varint 1 if held, else 0; for each recipient the length and the binary state
//	<id>/body       the content with LF line ends
//
// The last entry is "end", with nothing in it: an archive without it was cut off.
const (
	envelopeEntry = "/envelope"
	statesEntry   = "/states"
	bodyEntry     = "/body"
	endEntry      = "end"
)

// envelopeMax bounds the envelope and states of one message read from an archive.
const envelopeMax = 64 << 20

// Export writes messages as an archive. Those that are finished by the time they are
// reached are left out; n is how many were written. The error names the message at which it ended, or is ctx's or
// w's: what was written by then is an archive that is cut off.
func Export(ctx context.Context, s Store, ids []id.ID, w io.Writer) (n int, err error) {
	a := NewArchiveWriter(w)
	for _, v := range ids {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		err := exportOne(ctx, s, v, a)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return n, fmt.Errorf("export of message %s: %w", v, err)
		}
		n++
	}
	return n, a.Close()
}

func exportOne(ctx context.Context, s Store, v id.ID, a *ArchiveWriter) error {
	body, err := s.Body(ctx, v)
	if err != nil {
		return err
	}
	defer body.Close()
	m, err := s.Load(ctx, v)
	if err != nil {
		return err
	}
	return a.Add(m, body)
}

// ArchiveWriter writes an archive message by message.
type ArchiveWriter struct{ t *tar.Writer }

// NewArchiveWriter starts an archive.
func NewArchiveWriter(w io.Writer) *ArchiveWriter { return &ArchiveWriter{tar.NewWriter(w)} }

// Add writes a message with the states of its recipients. body has exactly Envelope.Size
// bytes. After an error the archive is of no use.
func (a *ArchiveWriter) Add(m *Message, body io.WriterTo) error {
	states := []byte{flags(m.Held)}
	for n := range m.States {
		states = appendString(states, string(AppendState(nil, &m.States[n])))
	}
	entry := func(name string, size int64) error {
		return a.t.WriteHeader(&tar.Header{
			Name: m.Envelope.ID.String() + name, Mode: 0o600, Size: size, ModTime: m.Envelope.Accepted, Format: tar.FormatPAX,
		})
	}
	envelope := AppendEnvelope(nil, m.Envelope)
	if err := entry(envelopeEntry, int64(len(envelope))); err != nil {
		return err
	}
	if _, err := a.t.Write(envelope); err != nil {
		return err
	}
	if err := entry(statesEntry, int64(len(states))); err != nil {
		return err
	}
	if _, err := a.t.Write(states); err != nil {
		return err
	}
	if err := entry(bodyEntry, m.Envelope.Size); err != nil {
		return err
	}
	_, err := body.WriteTo(a.t)
	return err
}

// Close ends the archive: one that is not closed is taken for cut off. The error is the writer's.
func (a *ArchiveWriter) Close() error {
	if err := a.t.WriteHeader(&tar.Header{Name: endEntry, Mode: 0o600, Format: tar.FormatPAX}); err != nil {
		return err
	}
	return a.t.Close()
}

// Import adds an archive's messages with the states they had. Messages that are in the queue
// already are left as they are, so that an import that was interrupted can be run again; n is how many
// were added. The error wraps ErrFormat when the archive is damaged; what came
// before the damage has been added.
func Import(ctx context.Context, s Store, r io.Reader) (n int, err error) {
	t := tar.NewReader(r)
	for seen := 0; ; seen++ {
		h, err := t.Next()
		switch {
		case err == nil && h.Name == endEntry:
			return n, nil
		case err == nil:
			var added bool
			if added, err = importOne(ctx, s, t, h); err == nil {
				if added {
					n++
				}
				continue
			}
		}
		return n, archiveError{seen, n, err}
	}
}

// archiveError tells where an archive could not be read on, and what of it is in the queue.
type archiveError struct {
	seen, added int
	cause       error
}

// Error says it to who has the file.
func (e archiveError) Error() string {
	what := "the archive is damaged"
	var damage tarError
	switch {
	case e.cut() && e.seen == 0:
		return "this is no archive of queue export, or it was cut off within its first message"
	case e.cut():
		what = "the archive was cut off"
	case e.seen == 0 && (errors.Is(e.cause, tar.ErrHeader) || errors.As(e.cause, &damage)):
		return "this is no archive of queue export"
	case !errors.Is(e.cause, ErrFormat) && !errors.Is(e.cause, tar.ErrHeader):
		what = "a message could not be put into the queue (" + e.cause.Error() + ")"
	}
	return fmt.Sprintf("%s: after %d whole messages, %d of which are new in the queue; the rest is not", what, e.seen, e.added)
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

// tarError is an entry that no archive of ours has.
type tarError struct{ text string }

// Error implements error.
func (e tarError) Error() string { return ErrFormat.Error() + ": " + e.text }

// Is makes it an ErrFormat.
func (e tarError) Is(target error) bool { return target == ErrFormat }

func importOne(ctx context.Context, s Store, t *tar.Reader, first *tar.Header) (added bool, err error) {
	data, err := readEntry(t, first, envelopeEntry, first.Name)
	if err != nil {
		return false, err
	}
	e, err := DecodeEnvelope(data)
	if err != nil {
		return false, err
	}
	next := func(entry string) (*tar.Header, error) {
		h, err := t.Next()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFormat, err)
		}
		if want := e.ID.String() + entry; h.Name != want {
			return nil, tarError{fmt.Sprintf("entry %q, want %q", h.Name, want)}
		}
		return h, nil
	}
	h, err := next(statesEntry)
	if err != nil {
		return false, err
	}
	if data, err = readEntry(t, h, statesEntry, e.ID.String()+statesEntry); err != nil {
		return false, err
	}
	m, err := decodeStates(data, e)
	if err != nil {
		return false, err
	}
	if h, err = next(bodyEntry); err != nil {
		return false, err
	}
	if _, err := s.Load(ctx, e.ID); !errors.Is(err, ErrNotFound) {
		return false, err // nil: it is there already
	}
	return true, importMessage(ctx, s, m, io.LimitReader(t, h.Size))
}

func readEntry(t *tar.Reader, h *tar.Header, entry, want string) ([]byte, error) {
	if len(h.Name) != id.TextLen+len(entry) || h.Name != want || h.Name[id.TextLen:] != entry || h.Size > envelopeMax {
		return nil, tarError{fmt.Sprintf("entry %q of %d bytes", h.Name, h.Size)}
	}
	data, err := io.ReadAll(io.LimitReader(t, envelopeMax))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return data, nil
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

func importMessage(ctx context.Context, s Store, m *Message, body io.Reader) error {
	d, err := s.Restore(ctx, m)
	if err != nil {
		return err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{d}, body, make([]byte, 64<<10)); err != nil {
		d.Abort()
		return err
	}
	return d.Commit(ctx)
}
