package seam

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/rpc"
)

// A message is handed in as one call: the stream is the content in frames marked 'b', then
// the envelope in frames marked 'e', since its sizes are known last; the reply is the
// commit's. A small message goes through memory that the roles share.

// Enqueuer is a queue.Enqueuer over rpc.
type Enqueuer struct{ Client *Client }

var _ queue.Enqueuer = Enqueuer{}

const (
	markBody     = 'b'
	markEnvelope = 'e'
	// pieceSize is the most content in one frame, in bytes.
	pieceSize = 64 << 10
	// maxEnvelope bounds a marshalled envelope in bytes: some 100,000 recipients.
	maxEnvelope = 64 << 20
)

// EnqueueHandlers serves queue.Enqueuer.
func EnqueueHandlers(q queue.Enqueuer) map[string]rpc.Handler {
	return map[string]rpc.Handler{
		"queue.enqueue": func(ctx context.Context, c *rpc.Conn, request []byte) ([]byte, error) {
			return nil, serveEnqueue(ctx, q, c, request)
		},
	}
}

// EnqueuePrompts serves queue.Enqueuer for messages that come whole.
func EnqueuePrompts(q queue.Enqueuer) map[string]rpc.Prompt {
	return map[string]rpc.Prompt{
		"queue.enqueue": func(ctx context.Context, c *rpc.Conn, request []byte, answer func([]byte, error)) {
			draft, err := receiveDraft(ctx, q, c, request)
			if err != nil {
				answer(nil, err)
				return
			}
			then := func(err error) { answer(nil, err) }
			if p, ok := draft.(queue.Prompt); ok {
				p.CommitThen(ctx, then)
				return
			}
			go func() { then(draft.Commit(ctx)) }()
		},
	}
}

func serveEnqueue(ctx context.Context, q queue.Enqueuer, c *rpc.Conn, request []byte) error {
	draft, err := receiveDraft(ctx, q, c, request)
	if err != nil {
		return err
	}
	return draft.Commit(ctx)
}

// receiveDraft reads a message from its call.
func receiveDraft(ctx context.Context, q queue.Enqueuer, c *rpc.Conn, request []byte) (queue.Draft, error) {
	env := new(mail.Envelope)
	if len(request) != len(env.ID) {
		return nil, fmt.Errorf("queue.enqueue: a message id of %d bytes", len(request))
	}
	copy(env.ID[:], request)
	draft, err := q.Begin(ctx, env)
	if err != nil {
		return nil, drain(c, err)
	}
	if err := fillDraft(draft, env, c); err != nil {
		draft.Abort()
		return nil, err
	}
	return draft, nil
}

// fillDraft reads the content into draft, and the envelope into env.
func fillDraft(draft queue.Draft, env *mail.Envelope, c *rpc.Conn) error {
	var marshalled []byte
	for {
		p, err := c.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return rpc.MidStream(err)
		}
		switch {
		case len(p) > 0 && p[0] == markBody:
			if _, err := draft.Write(p[1:]); err != nil {
				return drain(c, err)
			}
		case len(p) > 0 && p[0] == markEnvelope && len(marshalled)+len(p) <= maxEnvelope:
			marshalled = append(marshalled, p[1:]...)
		default:
			return rpc.MidStream(errors.New("queue.enqueue: an unknown frame"))
		}
	}
	id := env.ID
	if err := decodeEnvelope(marshalled, env); err != nil {
		return err
	}
	if env.ID != id {
		return fmt.Errorf("queue.enqueue: the envelope of %s came with %s", env.ID, id)
	}
	return nil
}

// drain reads the caller's stream to its end, so that the connection can be used again.
func drain(c *rpc.Conn, err error) error {
	for {
		_, rerr := c.Recv()
		if errors.Is(rerr, io.EOF) {
			return err
		}
		if rerr != nil {
			return rpc.MidStream(err)
		}
	}
}

// Begin implements queue.Enqueuer. Trouble that the queue has with beginning is told by Commit.
func (e Enqueuer) Begin(ctx context.Context, env *mail.Envelope) (queue.Draft, error) {
	call, err := e.Client.Gather(ctx, "queue.enqueue", env.ID[:])
	if err != nil {
		return nil, unavailable(err)
	}
	return &draft{call: call, env: env}, nil
}

// unavailable is the answer to a client when the queue's role cannot be reached.
func unavailable(err error) error {
	if _, ok := errors.AsType[*reason.Error](err); ok {
		return err
	}
	return reason.QueueUnavailable.Because(err)
}

// draft is the client's side of queue.enqueue.
type draft struct {
	call *rpc.Gathered // nil once the draft has ended
	env  *mail.Envelope
	err  error
}

// Write implements io.Writer.
func (d *draft) Write(p []byte) (n int, err error) {
	for len(p) > 0 && d.err == nil {
		take := min(len(p), pieceSize)
		d.err = d.call.SendMarked(markBody, p[:take])
		p, n = p[take:], n+take
	}
	return n, d.err
}

// Commit implements queue.Draft.
func (d *draft) Commit(context.Context) error {
	if d.call == nil {
		return errors.New("the draft has ended")
	}
	if d.err == nil {
		d.err = d.sendEnvelope()
	}
	// After a failed write the reply may still tell why the queue hung up.
	_, err := d.call.Reply()
	d.Abort()
	if err = errors.Join(err); err != nil {
		return unavailable(err)
	}
	if d.err != nil {
		return unavailable(d.err)
	}
	return nil
}

func (d *draft) sendEnvelope() error {
	p := encodeEnvelope(nil, d.env)
	for len(p) > 0 {
		take := min(len(p), pieceSize)
		if err := d.call.SendMarked(markEnvelope, p[:take]); err != nil {
			return err
		}
		p = p[take:]
	}
	return nil
}

// Abort implements queue.Draft.
func (d *draft) Abort() {
	if d.call != nil {
		d.call.Close()
		d.call = nil
	}
}

// cutPiece splits a length-prefixed piece off p.
func cutPiece(p []byte) (piece, rest []byte, ok bool) {
	n, w := binary.Uvarint(p)
	if w <= 0 || n > uint64(len(p)-w) {
		return nil, nil, false
	}
	return p[w : w+int(n)], p[w+int(n):], true
}
