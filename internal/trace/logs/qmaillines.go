package logs

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/trace"
)

// qmailLines writes events as qmail-send's log lines (qmail reference 7.6), for the tools
// that read those: matchup, the z-reports, and many a script. It needs the events of the
// role that dispatches.
type qmailLines struct {
	mu            sync.Mutex
	w             io.Writer
	running       map[delivery]uint64 // the number of each delivery under way
	last          uint64              // delivery number; they count from 1 for the life of the process
	count, limits [2]int              // local, remote
	buf           []byte
}

// delivery identifies one recipient's attempt.
type delivery struct {
	message id.ID
	n       int
}

const (
	local = iota
	remote
)

func newQmailLines(w io.Writer) *qmailLines {
	return &qmailLines{w: w, running: map[delivery]uint64{}, limits: [2]int{10, 20}}
}

// SetLimits tells the concurrency limits that status lines show.
func (l *Events) SetLimits(localLimit, remoteLimit int) {
	if l.lines != nil {
		l.lines.mu.Lock()
		l.lines.limits = [2]int{localLimit, remoteLimit}
		l.lines.mu.Unlock()
	}
}

// msgNumber is the number a message goes by in qmail's lines: of its ID, so that it
// needs no memory and holds over restarts. qmail's are inode numbers.
func msgNumber(v id.ID) uint64 { return qmail.NumberOf(v) }

func channel(e *trace.Event) int {
	if e.Role == "remote" {
		return remote
	}
	return local
}

// record writes the event's lines; false means that qmail-send has none for it.
func (q *qmailLines) record(e *trace.Event) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	msg := msgNumber(e.Message)
	switch e.Kind {
	case trace.Accepted:
		q.line("new msg %d", msg)
		qp, uid := os.Getpid(), os.Getuid()
		if e.Role == "local" { // a program of this host handed it in: see intake/inject
			fmt.Sscanf(e.Helo, "uid %d pid %d", &uid, &qp)
		}
		q.line("info msg %d: bytes %d from <%s> qp %d uid %d", msg, e.Size, safe(e.From), qp, uid)
	case trace.Attempt:
		q.start(e, msg)
	case trace.Delivered:
		q.end(e, msg, "success")
	case trace.Deferred:
		q.end(e, msg, "deferral")
	case trace.Failed:
		q.end(e, msg, "failure")
	case trace.Bounced:
		if e.Text == "failure notice" { // qmail has no delay or success notices
			q.line("bounce msg %d qp %d", msgNumber(e.Parent), os.Getpid())
		}
	case trace.Discarded:
		q.line("triple bounce: discarding bounce/%d", msg)
	case trace.Finished:
		q.line("end msg %d", msg)
	case trace.Routed:
		// qmail-send does not tell.
	default:
		return false
	}
	return true
}

func (q *qmailLines) start(e *trace.Event, msg uint64) {
	q.last++
	q.running[delivery{e.Message, e.N}] = q.last
	c := channel(e)
	q.count[c]++
	q.line("starting delivery %d: msg %d to %s %s", q.last, msg, [...]string{"local", "remote"}[c], safe(e.To))
	q.status()
}

func (q *qmailLines) end(e *trace.Event, msg uint64, result string) {
	key := delivery{e.Message, e.N}
	d, ok := q.running[key]
	if !ok { // given up without an attempt, such as a recipient refused after acceptance
		q.start(e, msg)
		d = q.last
	}
	delete(q.running, key)
	q.count[channel(e)]--
	text := e.Text
	if e.Role == "remote" {
		text = remoteReport(text, result != "success")
	}
	if text != "" && text[len(text)-1] != '\n' {
		text += "\n"
	}
	q.line("delivery %d: %s: %s", d, result, safe(text))
	q.status()
}

// remoteReport puts the lines of qmail-remote's report back, which texts elsewhere have in one
// (qmail reference 11.3).
func remoteReport(text string, failed bool) string {
	text, last, dying := strings.Cut(text, "\n") // the line of one that was in the queue too long
	if dying {
		last = "\n" + last
	}
	ours, theirs, ok := strings.Cut(text, ". Remote host said: ")
	if !ok {
		return text + last
	}
	text = ours + ".\nRemote host said: " + strings.ReplaceAll(theirs, " / ", "\n")
	if host, ok := strings.CutSuffix(ours, " does not like recipient"); ok && failed {
		text += "\nGiving up on " + host + "."
	}
	return text + last
}

func (q *qmailLines) status() {
	q.line("status: local %d/%d remote %d/%d", q.count[local], q.limits[local], q.count[remote], q.limits[remote])
}

// line writes one line; the writer below stamps each.
func (q *qmailLines) line(format string, args ...any) {
	q.buf = fmt.Appendf(q.buf[:0], format, args...)
	q.buf = append(q.buf, '\n')
	q.w.Write(q.buf) // a log that cannot be written has nowhere to say so
}

func safe(s string) []byte { return qmail.AppendLogSafe(nil, s) }
