package verbs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/trace"
	"github.com/postilion/postilion/internal/trace/journal"
)

// QmailLog writes the events of a data folder's queue as the lines that qmail-send would have
// logged, with decimal stamps, for the reports that read those. It reads the journal on disk,
// whether or not the server runs.
func QmailLog(ctx context.Context, data string, q journal.Query, w io.Writer) error {
	fsys, err := osfs.New(data)
	if err != nil {
		return err
	}
	sub, err := fsys.Sub("events/" + string(role.Queue))
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 64<<10)
	l := &eventLines{out: out, messages: map[id.ID]uint64{}, deliveries: map[attempt]uint64{}}
	q.Kinds = []trace.Kind{trace.Accepted, trace.Attempt, trace.Delivered, trace.Deferred, trace.Failed, trace.Finished}
	err = journal.Search(ctx, sub, q, func(e trace.Event) bool { return l.event(&e) == nil })
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%s holds no events yet", data)
	}
	if err == nil {
		err = out.Flush()
	}
	return err
}

// attempt is one recipient of one message.
type attempt struct {
	message id.ID
	n       int
}

// eventLines numbers messages and deliveries as they come. Its memory is what is in the queue.
type eventLines struct {
	out        *bufio.Writer
	messages   map[id.ID]uint64
	deliveries map[attempt]uint64
	last       uint64
}

func (l *eventLines) line(e *trace.Event, format string, args ...any) error {
	_, err := fmt.Fprintf(l.out, "%d.%06d "+format+"\n", append([]any{e.Time.Unix(), e.Time.Nanosecond() / 1000}, args...)...)
	return err
}

func (l *eventLines) event(e *trace.Event) error {
	l.last++
	switch e.Kind {
	case trace.Accepted:
		l.messages[e.Message] = l.last
		// The number by which qmail-qread lists the message; the family's is a process id.
		number := qmail.NumberOf(e.Message)
		return l.line(e, "info msg %d: bytes %d from <%s> qp %d uid 0", l.last, e.Size, safeLog(e.From), number)
	case trace.Attempt:
		return l.start(e)
	case trace.Delivered:
		return l.end(e, "success")
	case trace.Deferred:
		return l.end(e, "deferral")
	case trace.Failed:
		return l.end(e, "failure")
	case trace.Finished:
		number := l.messages[e.Message]
		delete(l.messages, e.Message)
		return l.line(e, "end msg %d", number)
	}
	return nil
}

func (l *eventLines) start(e *trace.Event) error {
	l.deliveries[attempt{e.Message, e.N}] = l.last
	channel := "local"
	if e.Role == "remote" {
		channel = "remote"
	}
	return l.line(e, "starting delivery %d: msg %d to %s %s", l.last, l.messages[e.Message], channel, safeLog(e.To))
}

func (l *eventLines) end(e *trace.Event, result string) error {
	key := attempt{e.Message, e.N}
	if _, ok := l.deliveries[key]; !ok { // given up without an attempt
		if err := l.start(e); err != nil {
			return err
		}
	}
	number := l.deliveries[key]
	delete(l.deliveries, key)
	ended := *e // its time is when the pass began
	ended.Time = e.Time.Add(e.Took)
	return l.line(&ended, "delivery %d: %s: %s", number, result, safeLog(reasonOf(e)))
}

// reasonOf is an outcome's text without what is another one for each message: files and ids.
func reasonOf(e *trace.Event) string {
	if e.Kind != trace.Delivered || e.Role == "remote" {
		return e.Text
	}
	if strings.Contains(e.Text, "/new/") {
		return "did 1+0+0\n" // as qmail-local says it
	}
	what, _, _ := strings.Cut(e.Text, " as ")
	return what
}

func safeLog(s string) []byte { return qmail.AppendLogSafe(nil, s) }
