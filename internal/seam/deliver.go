package seam

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/rpc"
)

// A delivery is one call. With a small body the caller streams the job and the body, and the reply is
// the verdicts; such calls are gathered. A larger body is sent each time that the target
// opens it, when the other side asks with a frame 'w' ("want"); verdicts come back in
// frames 'v', the last 'V'.

const (
	markWant        = 'w'
	markVerdict     = 'v'
	markLastVerdict = 'V'
	// eagerBody is the size up to which a body goes along with its job, in bytes.
	eagerBody = 64 << 10
	// maxJob bounds a marshalled job in bytes.
	maxJob = maxEnvelope
)

// Target is a deliver.Target over rpc.
type Target struct {
	Client *Client
	Method string // such as "deliver.local"
}

var _ deliver.Target = Target{}

// TargetHandlers serves a deliver.Target as method.
func TargetHandlers(method string, t deliver.Target) map[string]rpc.Handler {
	return map[string]rpc.Handler{
		method: func(ctx context.Context, c *rpc.Conn, _ []byte) ([]byte, error) {
			return serveDeliver(ctx, t, c)
		},
	}
}

func serveDeliver(ctx context.Context, t deliver.Target, c *rpc.Conn) (reply []byte, err error) {
	job, body, err := readJob(c)
	if err != nil {
		return nil, rpc.MidStream(err)
	}
	if body != nil {
		job.Body = func() (io.ReadCloser, error) { return memoryBody{bytes.NewReader(body)}, nil }
		return appendVerdicts(nil, t.Deliver(ctx, job))
	}
	remote := &wantedBody{c: c}
	job.Body = remote.open
	defer remote.finish()
	return nil, sendVerdicts(c, t.Deliver(ctx, job))
}

func sendVerdicts(c *rpc.Conn, verdicts []deliver.Verdict) error {
	p, err := appendVerdicts(nil, verdicts)
	if err != nil {
		return err
	}
	for len(p) > pieceSize {
		c.Send(append([]byte{markVerdict}, p[:pieceSize]...))
		p = p[pieceSize:]
	}
	return c.Send(append([]byte{markLastVerdict}, p...))
}

// readJob reads the first stream of the caller. body is nil for one to be asked for.
func readJob(c *rpc.Conn) (job *deliver.Job, body []byte, err error) {
	var all []byte
	for {
		p, err := c.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, err
		}
		if len(all)+len(p) > maxJob {
			return nil, nil, fmt.Errorf("deliver: a job of more than %d bytes", maxJob)
		}
		all = append(all, p...)
	}
	head, rest, ok1 := cutPiece(all)
	envelope, rest, ok2 := cutPiece(rest)
	if !ok1 || !ok2 || len(rest) == 0 {
		return nil, nil, errors.New("deliver: a job that is cut short")
	}
	job = new(deliver.Job)
	if err := decodeHead(head, job); err != nil {
		return nil, nil, err
	}
	job.Envelope = new(mail.Envelope)
	if err := decodeEnvelope(envelope, job.Envelope); err != nil {
		return nil, nil, err
	}
	if rest[0] == 1 {
		body = rest[1:]
	}
	return job, body, nil
}

// memoryBody is a body that came with its job.
type memoryBody struct{ *bytes.Reader }

// Close does nothing.
func (memoryBody) Close() error { return nil }

// wantedBody reads a body over the call's connection. It can be open once at a time: a
// second opener waits until the first has closed.
type wantedBody struct {
	c    *rpc.Conn
	mu   sync.Mutex // held while open
	lost error      // of the connection; no further use of it
}

func (b *wantedBody) open() (io.ReadCloser, error) {
	b.mu.Lock()
	if b.lost == nil {
		if b.lost = b.c.Send([]byte{markWant}); b.lost == nil {
			b.lost = b.c.Flush()
		}
	}
	if b.lost != nil {
		defer b.mu.Unlock()
		return nil, b.lost
	}
	return &openBody{from: b}, nil
}

// finish waits for an opener that outlives Deliver.
func (b *wantedBody) finish() { b.mu.Lock() }

type openBody struct {
	from  *wantedBody
	piece []byte
	err   error // io.EOF at the end
	once  sync.Once
}

// Read implements io.Reader.
func (o *openBody) Read(p []byte) (int, error) {
	for len(o.piece) == 0 {
		if o.err != nil {
			return 0, o.err
		}
		var frame []byte
		frame, o.err = o.from.c.Recv()
		switch {
		case errors.Is(o.err, io.EOF):
		case o.err != nil:
			o.from.lost = o.err
		case len(frame) > 0 && frame[0] == markBody:
			o.piece = frame[1:]
		default:
			// The caller could not read the body: the frame tells why.
			o.err = fmt.Errorf("reading the body: %s", frame)
			o.from.lost = o.err
		}
	}
	n := copy(p, o.piece)
	o.piece = o.piece[n:]
	return n, nil
}

// Close reads what is left, so that the connection can be used again.
func (o *openBody) Close() error {
	o.once.Do(func() {
		o.piece = nil
		for o.err == nil {
			o.Read(nil)
			o.piece = nil
		}
		o.from.mu.Unlock()
	})
	return nil
}

// Deliver implements deliver.Target. When the role cannot be reached all recipients
// are deferred.
func (t Target) Deliver(ctx context.Context, job *deliver.Job) []deliver.Verdict {
	verdicts, err := t.deliver(ctx, job)
	if err == nil && len(verdicts) != len(job.Recipients) {
		err = fmt.Errorf("%d verdicts for %d recipients", len(verdicts), len(job.Recipients))
	}
	if err != nil {
		verdicts = make([]deliver.Verdict, len(job.Recipients))
		for i := range verdicts {
			verdicts[i].Err = reason.LocalError.Because(fmt.Errorf("%s: %w", t.Method, err))
		}
	}
	return verdicts
}

func (t Target) deliver(ctx context.Context, job *deliver.Job) ([]deliver.Verdict, error) {
	head, err := marshalJob(job)
	if err != nil {
		return nil, err
	}
	body, err := eager(job)
	if err != nil {
		return nil, err
	}
	if body == nil {
		return t.stream(ctx, job, head)
	}
	defer eagerBuffers.Put(body)
	g, err := t.Client.Gather(ctx, t.Method, nil)
	if err != nil {
		return nil, err
	}
	defer g.Close()
	if err := errors.Join(g.Send(append(head, 1)), g.Send(body.Bytes())); err != nil {
		return nil, err
	}
	reply, err := g.Reply()
	if err != nil {
		return nil, err
	}
	return decodeVerdicts(reply)
}

// stream delivers a job whose body is sent when it is asked for.
func (t Target) stream(ctx context.Context, job *deliver.Job, head []byte) ([]deliver.Verdict, error) {
	s, err := t.Client.Open(ctx, t.Method, nil)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	s.Send(append(head, 0))
	if err := s.CloseSend(); err != nil {
		return nil, err
	}
	var marshalled []byte
	for {
		p, err := s.Recv()
		switch {
		case err != nil:
			return nil, err
		case len(p) == 0:
			return nil, errors.New("an empty frame")
		case p[0] == markWant:
			if err := sendBody(s.Conn, job); err != nil {
				return nil, err
			}
		case p[0] == markVerdict || p[0] == markLastVerdict:
			last := p[0] == markLastVerdict
			marshalled = append(marshalled, p[1:]...)
			if !last {
				continue
			}
			if _, err := s.Reply(); err != nil {
				return nil, err
			}
			return decodeVerdicts(marshalled)
		default:
			return nil, fmt.Errorf("an unknown frame %q", p[0])
		}
	}
}

func marshalJob(job *deliver.Job) ([]byte, error) {
	head, err := appendHead(nil, job)
	if err != nil {
		return nil, err
	}
	env := *job.Envelope
	env.Recipients = nil // see deliver.Job
	envelope := encodeEnvelope(nil, &env)
	p := make([]byte, 0, len(head)+len(envelope)+32)
	return appendPiece(appendPiece(p, head), envelope), nil
}

var eagerBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// eager returns the whole body when it is small, in a buffer of eagerBuffers, else nil.
func eager(job *deliver.Job) (*bytes.Buffer, error) {
	if job.Envelope.Size > eagerBody {
		return nil, nil
	}
	r, err := job.Body()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	body := eagerBuffers.Get().(*bytes.Buffer)
	body.Reset()
	// The host's Received fields are on top of what the envelope counts.
	body.Grow(int(job.Envelope.Size) + 4<<10)
	if _, err = body.ReadFrom(io.LimitReader(r, 2*eagerBody+1)); err != nil || body.Len() > 2*eagerBody {
		return nil, err
	}
	return body, nil
}

func sendBody(c *rpc.Conn, job *deliver.Job) error {
	r, err := job.Body()
	if err != nil {
		return tellBody(c, err)
	}
	defer r.Close()
	buf := make([]byte, 1+pieceSize)
	buf[0] = markBody
	for {
		n, err := io.ReadFull(r, buf[1:])
		if n > 0 {
			if err := c.Send(buf[:1+n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return c.CloseSend()
		case err != nil:
			return tellBody(c, err)
		}
	}
}

// tellBody tells the target that the body cannot be read, and ends the call.
func tellBody(c *rpc.Conn, err error) error {
	c.Send([]byte("!" + err.Error()))
	c.Flush()
	return err
}
