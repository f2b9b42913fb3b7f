// Package queue is the seam between those who hand in messages, the store that
// keeps them, and dispatch, which works them off.
//
// A message that Commit acknowledged is on disk with its envelope, and stays until
// Finish has recorded a final state for each of its recipients. The store decides
// nothing: schedules, routes and limits are dispatch's.
package queue

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
)

// An Enqueuer takes messages in. It is all that intake, forwards, lists and bounces
// see of the queue. Errors are *reason.Error: reason.DiskFull when there is no room,
// reason.QueueUnavailable while the store is poisoned or reopening.
type Enqueuer interface {
	// Begin starts a message. The envelope's ID is set by the caller; the envelope
	// is not read after Commit returns. Every Draft ends with Commit or Abort.
	Begin(ctx context.Context, env *mail.Envelope) (Draft, error)
}

// Draft is a message being handed in. It is used by one goroutine.
type Draft interface {
	// Write appends content with LF line ends.
	io.Writer
	// Commit returns nil when the message is durable: a 250 may be sent. After an error
	// nothing of the message will be delivered, except after ErrInDoubt, see there.
	Commit(ctx context.Context) error
	// Abort drops the message. After Commit it does nothing.
	Abort()
}

// A Prompt is a Draft whose commit nobody needs to wait for.
type Prompt interface {
	Draft
	// CommitThen is Commit, whose result is told to then: by any goroutine, perhaps before CommitThen returns. then must
	// neither block nor call the Enqueuer.
	CommitThen(ctx context.Context, then func(error))
}

// Store keeps the queue. It is an Enqueuer; the rest belongs to dispatch. A Store
// that many nodes share gives each message to one of them under a Lease; the
// embedded one has a single holder, whose leases never end.
type Store interface {
	Enqueuer

	// Restore is Begin for a message that was in a queue before: its states and its hold count from
	// the moment that it is durable. m is not read after Commit returns.
	Restore(ctx context.Context, m *Message) (Draft, error)

	// Claim hands messages to this dispatcher until ctx ends: first every unfinished
	// one, oldest first, without reading bodies, then a call take(Claimed{}) once, which tells that
	// all of those are handed over; each message committed meanwhile or later is handed
	// over once its commit is durable. take must not block and not keep m's parts
	// longer than it needs them: a million messages pass through it at start.
	Claim(ctx context.Context, take func(Claimed)) error
	// Heartbeat extends leases; it returns those that were lost.
	Heartbeat(ctx context.Context, leases []Lease) (lost []Lease, err error)

	// Load reads a message back. The error wraps ErrNotFound when it is finished.
	Load(ctx context.Context, message id.ID) (*Message, error)
	// LoadEach reads many messages back, in the order of their IDs, at the cost of a scan where they are
	// dense, until visit returns false. It leaves out those that are finished or cannot be read. visit
	// must not block, nor call the store.
	LoadEach(ctx context.Context, messages []id.ID, visit func(*Message) bool) error
	// Body opens a message's content at its start.
	Body(ctx context.Context, message id.ID) (Body, error)

	// Finish records recipients' states, and commits drafts of this store (bounces,
	// forwards), all or nothing, and returns when that is durable. Callers at the same time
	// share a sync. When no recipient is left unfinished the message is removed, which may
	// become durable later. The error wraps ErrLeaseLost when the fence is old, and ErrNotFound when
	// the message is finished. After any error nothing of it is kept, and the drafts have ended as well.
	Finish(ctx context.Context, lease Lease, states []RecipientState, drafts ...Draft) error

	// Revise changes what operators may change of messages: recipients' addresses and states, hold,
	// priority, group; or drops them whatever their state. change is called for each, in the order of their
	// IDs, but for those that are finished or cannot be read, and must neither block nor call the store. Nobody else
	// changes them meanwhile. All of it is one commit, durable when Revise returns; the callers bound its size. After an
	// error nothing of it is kept, but for drops after one that wraps ErrInDoubt.
	Revise(ctx context.Context, messages []id.ID, change func(*Message) Revision) error

	// Backup writes a consistent copy of the running queue into the empty folder dir. A store
	// opened on such a copy starts with every message held.
	Backup(ctx context.Context, dir string) error
	Close() error
}

// Claimed is one message handed to dispatch. With a nil Message it tells that all
// that was unfinished at start has been handed over.
type Claimed struct {
	Message *Message
	Lease   Lease
}

// Lease is the right to work on a message. Fence grows with each holder.
type Lease struct {
	Message id.ID
	Fence   uint64
}

// Message is a message as the store keeps it.
type Message struct {
	Envelope *mail.Envelope
	States   []RecipientState // one per Envelope.Recipients, in order
	Held     bool
}

// Revision is what becomes of a message in Revise.
type Revision uint8

const (
	Keep   Revision = iota // as it was; the store looks at nothing else
	Change                 // as it is now
	Drop                   // it goes
)

// Update changes one message of s. The error is that of change, which then has changed nothing, or wraps
// ErrNotFound when the message is finished.
func Update(ctx context.Context, s Store, message id.ID, change func(*Message) error) error {
	refused := error(notFound(message))
	err := s.Revise(ctx, []id.ID{message}, func(m *Message) Revision {
		if refused = change(m); refused != nil {
			return Keep
		}
		return Change
	})
	return cmp.Or(err, refused)
}

func notFound(message id.ID) error { return fmt.Errorf("message %s: %w", message, ErrNotFound) }

// Body is a message's content with LF line ends.
type Body interface {
	io.ReadSeekCloser
	io.ReaderAt
	io.WriterTo
}

// State is where a recipient stands.
type State uint8

const (
	Waiting   State = iota // to be attempted at Next
	Delivered              // finally handed over
	Failed                 // given up; its bounce is not yet written
	Done                   // finished: delivered or bounced or discarded
)

// Final reports whether nothing is left to do for a recipient in this state: a
// message goes once all of its recipients are final.
func (s State) Final() bool { return s == Delivered || s == Done }

// RecipientState is what is known of one recipient's delivery.
type RecipientState struct {
	N        int
	State    State
	Attempts int
	Next     time.Time     // when Waiting: not before
	Last     time.Time     // of the last attempt; zero if none
	Err      *reason.Error // of the last attempt; nil if none or delivered
	Host     string        // the remote MTA of the last attempt, with its address in brackets
	Delayed  bool          // the delay notice has been sent
}

// Errors, tested for with errors.Is.
var (
	ErrNotFound  = queueError("no such message in the queue")
	ErrLeaseLost = queueError("the lease on this message was lost")
	// ErrInDoubt is wrapped by Commit's error when the disk failed during the sync:
	// the message is dropped when the store is reopened, and the sender was told 451.
	ErrInDoubt = queueError("it is not known whether the commit reached the disk")
)

type queueError string

func (e queueError) Error() string { return string(e) }
