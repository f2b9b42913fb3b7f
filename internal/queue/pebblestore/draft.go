package pebblestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/pebblex"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/reason"
)

// draft is a message being handed in: in memory up to SpoolAbove, then in a spool file.
type draft struct {
	s      *Store
	id     id.ID
	env    *mail.Envelope
	known  *queue.Message // of a message that comes back: its states and hold; nil for a new one
	head   header
	buf    *buffer    // the body, or what is not yet written to file
	file   *spoolFile // nil for a small body
	size   int64
	lines  int64
	eight  bool
	sealed bool
	ended  bool
	// submitted: a commit has it, and gives its file back when it fails.
	submitted bool
	err       error // of a Write: Commit returns it
	scratch   []byte
	commit    commit
}

var errEnded = errors.New("the draft has ended")

// spoolWrite is how much is gathered before it is written to a spool file.
const spoolWrite = 64 << 10

// Begin implements queue.Enqueuer.
func (s *Store) Begin(ctx context.Context, env *mail.Envelope) (queue.Draft, error) {
	if err := ctx.Err(); err != nil {
		return nil, reason.QueueUnavailable.Because(err)
	}
	if s.reserve.full() {
		return nil, reason.DiskFull.Because(s.reserve.cause())
	}
	if err := s.eng.Up(); err != nil {
		return nil, failure(err)
	}
	return &draft{s: s, id: env.ID, env: env}, nil
}

// Refuses tells why Begin would take no message at this moment, or why a large one was refused for which there is no
// room yet; nil when it would, and there is.
func (s *Store) Refuses() error {
	if s.reserve.stays() {
		return reason.DiskFull.Because(s.reserve.cause())
	}
	if err := s.eng.Up(); err != nil {
		return failure(err)
	}
	if size := s.noRoom.Load(); size > 0 {
		space, err := s.opts.FS.Space(".")
		if err == nil && (space.FreeBytes < uint64(size) || space.TotalInodes > 0 && space.FreeInodes == 0) {
			return reason.DiskFull.Because(fmt.Errorf("a message of %d bytes or more found no room for its spool file", size))
		}
		s.noRoom.CompareAndSwap(size, 0)
	}
	return nil
}

// spoolFailure is failure of a spool file whose message has size bytes so far. One that found no room is remembered:
// smaller messages may still be taken, in the room that the log has already.
func (s *Store) spoolFailure(err error, size int64) error {
	if isFull(err) {
		s.noRoom.Store(size)
	}
	return failure(err)
}

// Restore implements queue.Store.
func (s *Store) Restore(ctx context.Context, m *queue.Message) (queue.Draft, error) {
	if len(m.States) != len(m.Envelope.Recipients) {
		return nil, reason.LocalError.Because(fmt.Errorf("message %s: %d states of %d recipients", m.Envelope.ID, len(m.States), len(m.Envelope.Recipients)))
	}
	q, err := s.Begin(ctx, m.Envelope)
	if err != nil {
		return nil, err
	}
	d := q.(*draft)
	d.known, d.head.held = m, m.Held
	return d, nil
}

// Write implements queue.Draft.
func (d *draft) Write(p []byte) (int, error) {
	if d.ended || d.sealed {
		return 0, errEnded
	}
	if d.err != nil {
		return 0, d.err
	}
	if d.buf == nil {
		d.buf = d.s.buffers.get(len(p))
	}
	d.size += int64(len(p))
	d.lines += int64(bytes.Count(p, []byte{'\n'}))
	d.eight = d.eight || mail.HasEight(p)
	if d.file == nil && d.size <= d.s.opts.SpoolAbove {
		d.buf = d.s.buffers.append(d.buf, p)
		return len(p), nil
	}
	if err := d.spoolOut(p); err != nil {
		d.err = d.s.spoolFailure(err, d.size)
		return 0, d.err
	}
	return len(p), nil
}

// spoolOut adds p to the spool file, which it starts if there is none.
func (d *draft) spoolOut(p []byte) (err error) {
	if d.file == nil {
		if d.file, err = d.s.spool.create(d.id); err != nil {
			return err
		}
	}
	if len(d.buf.data)+len(p) <= spoolWrite {
		d.buf = d.s.buffers.append(d.buf, p)
		return nil
	}
	if err := d.flush(); err != nil {
		return err
	}
	if len(p) < spoolWrite {
		d.buf = d.s.buffers.append(d.buf, p)
		return nil
	}
	_, err = d.file.Write(p)
	return err
}

func (d *draft) flush() error {
	if len(d.buf.data) == 0 {
		return nil
	}
	_, err := d.file.Write(d.buf.data)
	d.buf.data = d.buf.data[:0]
	return err
}

// seal ends the body: a larger one is durable afterwards.
func (d *draft) seal() error {
	switch {
	case d.ended || d.sealed:
		return errEnded
	case d.err != nil:
		return d.err
	}
	d.sealed = true
	if d.buf == nil {
		d.buf = d.s.buffers.get(0)
	}
	if d.file != nil {
		err := d.flush()
		if err == nil {
			err = d.s.spool.sync(d.file)
		}
		if err != nil {
			d.err = d.s.spoolFailure(err, d.size)
			return d.err
		}
		d.s.buffers.release(d.buf)
		d.buf = nil
		d.head.spool = d.file.number
	}
	e := d.env
	if e.Accepted.IsZero() {
		e.Accepted = d.s.opts.Clock.Now()
	}
	e.Size, e.CRLFSize, e.Eight = d.size, d.size+d.lines, d.eight
	d.head.size, d.head.count, d.head.released = d.size, len(e.Recipients), d.s.restored
	d.head.held = d.head.held || d.known == nil && e.Held // one that comes back has its own word
	return nil
}

// Commit implements queue.Draft.
func (d *draft) Commit(ctx context.Context) error {
	b, err := d.batch(ctx)
	if err == nil {
		err = d.commit.run(b)
	}
	d.end(err)
	return failure(err)
}

// CommitThen implements queue.Prompt.
func (d *draft) CommitThen(ctx context.Context, then func(error)) {
	if d.file != nil { // to be synced
		go func() { then(d.Commit(ctx)) }()
		return
	}
	b, err := d.batch(ctx)
	if err != nil {
		d.end(err)
		then(failure(err))
		return
	}
	d.commit.then = func(err error) {
		d.end(err)
		then(failure(err))
	}
	d.commit.attach(&b)
	d.s.eng.Start(b)
}

// batch ends the body and returns what commits the message.
func (d *draft) batch(ctx context.Context) (b pebblex.Batch, err error) {
	if err = ctx.Err(); err != nil {
		return b, err
	}
	if err = d.seal(); err != nil {
		return b, err
	}
	c := &d.commit
	c.s = d.s
	c.one[0] = d
	c.drafts, c.bodies = c.one[:], c.body[:0]
	if b, err = d.s.eng.NewBatch(c.size()); err != nil {
		return b, err
	}
	if err = c.add(b); err != nil {
		b.Close()
	}
	return b, err
}

// size guesses the bytes of c's batch.
func (c *commit) size() int {
	n := 64
	for _, d := range c.drafts {
		n += 512 + 64*len(d.env.Recipients)
	}
	return n
}

// add puts the new messages' rows into b.
func (c *commit) add(b pebblex.Batch) error {
	for _, d := range c.drafts {
		if err := d.addTo(b, c); err != nil {
			return err
		}
	}
	return nil
}

// Abort implements queue.Draft.
func (d *draft) Abort() {
	if !d.ended {
		d.end(errEnded)
	}
}

// end gives back what the draft holds after it failed or, with nil, was committed.
func (d *draft) end(err error) {
	if d.ended {
		return
	}
	d.ended = true
	if err == nil {
		return
	}
	d.s.buffers.release(d.buf)
	d.buf = nil
	if d.file != nil && !d.submitted { // else the commit gives it back
		d.s.spool.discard(d.file)
	}
}
