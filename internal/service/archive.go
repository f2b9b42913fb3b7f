package service

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/dispatch"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/rpc"
	"github.com/postilion/postilion/internal/seam"
)

// An archive of queued messages is a tar file with three entries for each: ID.json for
// people, ID.envelope in the queue's own form, which keeps every byte, and ID.eml, the
// content with LF line ends. Only recipients that are not finished are in it.

// exportHandler streams one message: the envelope's length as a varint, the envelope, the content.
func exportHandler(store queue.Store) rpc.Handler {
	return func(ctx context.Context, c *rpc.Conn, request []byte) ([]byte, error) {
		message, err := id.Parse(string(request))
		if err != nil {
			return nil, err
		}
		m, err := store.Load(ctx, message)
		if err != nil {
			return nil, err
		}
		env := *m.Envelope
		env.Recipients = nil
		for i, r := range m.Envelope.Recipients {
			if i >= len(m.States) || !m.States[i].State.Final() {
				env.Recipients = append(env.Recipients, r)
			}
		}
		p := queue.AppendEnvelope(nil, &env)
		if err := c.Send(append(binary.AppendUvarint(nil, uint64(len(p))), p...)); err != nil {
			return nil, err
		}
		return nil, sendMessageBody(ctx, store, message, c)
	}
}

// streamReader reads a call's stream.
type streamReader struct {
	s    *rpc.Stream
	rest []byte
}

// Read implements io.Reader.
func (r *streamReader) Read(p []byte) (n int, err error) {
	for len(r.rest) == 0 {
		if r.rest, err = r.s.Recv(); err != nil {
			return 0, err
		}
	}
	n = copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// openExport begins to read one message.
func (q *QueueAdmin) openExport(ctx context.Context, message id.ID) (*rpc.Stream, *mail.Envelope, io.Reader, error) {
	s, err := q.client.Open(ctx, methodExport, []byte(message.String()))
	if err != nil {
		return nil, nil, nil, err
	}
	if err := s.Flush(); err != nil {
		s.Close()
		return nil, nil, nil, err
	}
	r := bufio.NewReader(&streamReader{s: s})
	n, err := binary.ReadUvarint(r)
	if err == nil && n > maxExportedEnvelope {
		err = fmt.Errorf("an envelope of %d bytes", n)
	}
	var env *mail.Envelope
	if err == nil {
		p := make([]byte, n)
		if _, err = io.ReadFull(r, p); err == nil {
			env, err = queue.DecodeEnvelope(p)
		}
	}
	if err != nil {
		s.Close()
		return nil, nil, nil, err
	}
	return s, env, r, nil
}

// maxExportedEnvelope bounds an envelope in bytes.
const maxExportedEnvelope = 64 << 20

// Export writes the messages that f matches to w as a tar file and returns how many. Each
// is told to progress, which may be nil.
func (q *QueueAdmin) Export(ctx context.Context, f dispatch.Filter, w io.Writer, progress func()) (n int, err error) {
	t := tar.NewWriter(w)
	var failed error
	err = q.Each(ctx, f, func(m dispatch.Info) bool {
		failed = q.exportOne(ctx, m, t)
		if errors.Is(failed, queue.ErrNotFound) {
			failed = nil // it was finished meanwhile
			return true
		}
		n++
		if progress != nil {
			progress()
		}
		return failed == nil
	})
	return n, errors.Join(err, failed, t.Close())
}

func (q *QueueAdmin) exportOne(ctx context.Context, m dispatch.Info, t *tar.Writer) error {
	s, env, body, err := q.openExport(ctx, m.ID)
	if err != nil {
		return err
	}
	defer s.Close()
	info, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	for suffix, p := range map[string][]byte{".json": append(info, '\n'), ".envelope": queue.AppendEnvelope(nil, env)} {
		if err := addFile(t, m.ID.String()+suffix, env.Accepted, int64(len(p)), bytes.NewReader(p)); err != nil {
			return err
		}
	}
	if err := addFile(t, m.ID.String()+".eml", env.Accepted, env.Size, body); err != nil {
		return err
	}
	_, err = s.Reply()
	return err
}

func addFile(t *tar.Writer, name string, at time.Time, size int64, r io.Reader) error {
	if err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size, ModTime: at, Format: tar.FormatPAX}); err != nil {
		return err
	}
	if n, err := io.Copy(t, r); err != nil || n != size {
		return fmt.Errorf("%s: %d bytes of %d: %w", name, n, size, errors.Join(err, io.ErrUnexpectedEOF))
	}
	return nil
}

// Import puts the messages of a tar file that Export wrote into the queue, with their
// ids and ages. Those that are there already are left out.
func (q *QueueAdmin) Import(ctx context.Context, r io.Reader, progress func()) (imported, present int, err error) {
	t := tar.NewReader(r)
	envelopes := map[string]*mail.Envelope{}
	enqueuer := seam.Enqueuer{Client: &seam.Client{Client: q.client}}
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return imported, present, fmt.Errorf("this is not an archive of queued messages: %w", err)
		}
		if name, ok := strings.CutSuffix(h.Name, ".envelope"); ok {
			p, err := io.ReadAll(io.LimitReader(t, maxExportedEnvelope))
			if err != nil {
				return imported, present, err
			}
			if envelopes[name], err = queue.DecodeEnvelope(p); err != nil {
				return imported, present, fmt.Errorf("%s: %w", h.Name, err)
			}
		}
		name, ok := strings.CutSuffix(h.Name, ".eml")
		if !ok {
			continue
		}
		env := envelopes[name]
		if env == nil {
			return imported, present, fmt.Errorf("%s: its .envelope is missing before it", h.Name)
		}
		delete(envelopes, name)
		if _, err := q.Show(ctx, env.ID); err == nil {
			present++
			continue
		}
		if err := importOne(ctx, enqueuer, env, t); err != nil {
			return imported, present, fmt.Errorf("%s: %w", h.Name, err)
		}
		imported++
		if progress != nil {
			progress()
		}
	}
	return imported, present, nil
}

func importOne(ctx context.Context, q queue.Enqueuer, env *mail.Envelope, body io.Reader) error {
	d, err := q.Begin(ctx, env)
	if err != nil {
		return err
	}
	defer d.Abort()
	if _, err := io.Copy(d, body); err != nil {
		return err
	}
	return d.Commit(ctx)
}
