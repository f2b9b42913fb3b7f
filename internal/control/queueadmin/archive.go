package queueadmin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strconv"

	"github.com/postilion/postilion/internal/dispatch"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/rpc"
)

// An archive of queued messages (queue.Export) passes through the queue's socket as a
// stream: whoever opened the store reads and writes it.

// archiveHandlers serves export and import.
func archiveHandlers(store queue.Store, d *dispatch.Dispatcher) map[string]rpc.Handler {
	return map[string]rpc.Handler{
		MethodExport: func(ctx context.Context, c *rpc.Conn, request []byte) ([]byte, error) {
			var f dispatch.Filter
			if err := json.Unmarshal(request, &f); err != nil {
				return nil, err
			}
			ids, err := matching(ctx, d, f)
			if err != nil {
				return nil, err
			}
			n, err := queue.Export(ctx, store, ids, streamWriter{c})
			if err == nil {
				err = c.CloseSend()
			}
			return []byte(strconv.Itoa(n)), err
		},
		MethodImport: func(ctx context.Context, c *rpc.Conn, _ []byte) ([]byte, error) {
			r := &streamReader{recv: c.Recv}
			n, err := queue.Import(ctx, store, r)
			if err == nil {
				_, err = io.Copy(io.Discard, r)
			}
			if err != nil {
				return nil, rpc.MidStream(err)
			}
			return []byte(strconv.Itoa(n)), nil
		},
	}
}

// matching lists the ids of the messages that f matches.
func matching(ctx context.Context, d *dispatch.Dispatcher, f dispatch.Filter) (ids []id.ID, err error) {
	cursor := ""
	for {
		list, next, err := d.List(ctx, f, maxListed, cursor)
		if err != nil {
			return nil, err
		}
		for _, m := range list {
			ids = append(ids, m.ID)
		}
		if next == "" {
			return ids, nil
		}
		cursor = next
	}
}

// streamWriter writes a call's stream.
type streamWriter struct{ c *rpc.Conn }

// Write implements io.Writer.
func (w streamWriter) Write(p []byte) (int, error) { return len(p), w.c.Send(p) }

// streamReader reads a call's stream.
type streamReader struct {
	recv func() ([]byte, error)
	rest []byte
	err  error
}

// Read implements io.Reader.
func (r *streamReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 && r.err == nil {
		r.rest, r.err = r.recv()
	}
	if len(r.rest) == 0 {
		return 0, r.err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// Export writes the messages that f matches to w as an archive and returns how many.
func (cl *Client) Export(ctx context.Context, f dispatch.Filter, w io.Writer) (int, error) {
	request, err := json.Marshal(f)
	if err != nil {
		return 0, err
	}
	return cl.stream(ctx, MethodExport, request, func(s *rpc.Stream) error {
		if err := s.Flush(); err != nil {
			return err
		}
		_, err := io.Copy(w, &streamReader{recv: s.Recv})
		return err
	})
}

// Import puts the messages of an archive into the queue, with their ids, ages and states, and
// returns how many. Those that are there already are left out. r is read twice: nothing of a damaged archive is
// put into the queue.
func (cl *Client) Import(ctx context.Context, r io.ReadSeeker) (int, error) {
	start, err := r.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, brokenSource{err}
	}
	if _, err := queue.CheckArchive(ctx, bufio.NewReaderSize(r, importPiece)); err != nil {
		return 0, err
	}
	if _, err := r.Seek(start, io.SeekStart); err != nil {
		return 0, brokenSource{err}
	}
	in := &mail.Source{Reader: bufio.NewReaderSize(r, importPiece)}
	return cl.stream(ctx, MethodImport, nil, func(s *rpc.Stream) error {
		_, err := io.Copy(streamWriter{s.Conn}, in)
		if in.Err != nil { // the server waits for the rest, and has nothing to tell
			s.Close()
			return brokenSource{in.Err}
		}
		if err != nil {
			return err
		}
		return s.CloseSend()
	})
}

// importPiece is how much of an archive is read at once, in bytes.
const importPiece = 64 << 10

// brokenSource is a file of the caller's that could not be read.
type brokenSource struct{ error }

// Unwrap returns why.
func (e brokenSource) Unwrap() error { return e.error }

// stream makes a call whose reply is a number.
func (cl *Client) stream(ctx context.Context, method string, request []byte, talk func(*rpc.Stream) error) (int, error) {
	s, err := cl.rpc.Open(ctx, method, request)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	if err := talk(s); err != nil {
		if _, ok := errors.AsType[*rpc.Error](err); ok {
			return 0, err // the stream's end said why
		}
		if _, ok := errors.AsType[brokenSource](err); ok {
			return 0, err
		}
		// A stream that breaks off may be followed by the reason.
		if _, told := s.Reply(); told != nil {
			if _, ok := errors.AsType[*rpc.Error](told); ok {
				return 0, told
			}
		}
		return 0, err
	}
	p, err := s.Reply()
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(p))
}
