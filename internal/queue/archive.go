package queue

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/postilion/postilion/internal/id"
)

// A queue archive is a tar file, so that its bodies can be read with common tools. For
// each message it holds, in this order and under the message's id:
//
//	<id>/envelope   the binary envelope, see AppendEnvelope
//	<id>/states     a varint 1 if held, else 0; for each recipient the length and the binary state
//	<id>/body       the content with LF line ends
//	<id>/sha256     the sums of these three, as sha256sum(1) writes and checks them
//
// The last entry is "end", with nothing in it: an archive without it was cut off. Archives of before there were
// sums have none; either all messages of one have them or none has.
const (
	envelopeEntry = "/envelope"
	statesEntry   = "/states"
	bodyEntry     = "/body"
	sumsEntry     = "/sha256"
	endEntry      = "end"
)

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
type ArchiveWriter struct {
	t    *tar.Writer
	sums []byte // lines of the message's entries
}

// NewArchiveWriter starts an archive.
func NewArchiveWriter(w io.Writer) *ArchiveWriter { return &ArchiveWriter{t: tar.NewWriter(w)} }

// Add writes a message with the states of its recipients. body has exactly Envelope.Size
// bytes. After an error the archive is of no use.
func (a *ArchiveWriter) Add(m *Message, body io.WriterTo) error {
	states := []byte{flags(m.Held)}
	for n := range m.States {
		states = appendString(states, string(AppendState(nil, &m.States[n])))
	}
	envelope := AppendEnvelope(nil, m.Envelope)
	a.sums = a.sums[:0]
	err := a.entry(m, envelopeEntry, int64(len(envelope)), bytes.NewReader(envelope))
	if err == nil {
		err = a.entry(m, statesEntry, int64(len(states)), bytes.NewReader(states))
	}
	if err == nil {
		err = a.entry(m, bodyEntry, m.Envelope.Size, body)
	}
	if err == nil {
		err = a.entry(m, sumsEntry, int64(len(a.sums)), bytes.NewReader(a.sums))
	}
	return err
}

// entry writes one entry of a message, and a line of its sum.
func (a *ArchiveWriter) entry(m *Message, name string, size int64, content io.WriterTo) error {
	h := &tar.Header{Name: m.Envelope.ID.String() + name, Mode: 0o600, Size: size, ModTime: m.Envelope.Accepted, Format: tar.FormatPAX}
	if err := a.t.WriteHeader(h); err != nil {
		return err
	}
	sum := sha256.New()
	_, err := content.WriteTo(io.MultiWriter(a.t, sum))
	a.sums = appendSum(a.sums, sum, h.Name)
	return err
}

// appendSum appends a line of sha256sum(1), as coreutils 9 writes it.
func appendSum(lines []byte, sum hash.Hash, name string) []byte {
	return fmt.Appendf(lines, "%x  %s\n", sum.Sum(nil), name)
}

// Close ends the archive: one that is not closed is taken for cut off. The error is the writer's.
func (a *ArchiveWriter) Close() error {
	if err := a.t.WriteHeader(&tar.Header{Name: endEntry, Mode: 0o600, Format: tar.FormatPAX}); err != nil {
		return err
	}
	return a.t.Close()
}
