package inject

import (
	"context"
	"encoding/json"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/postilion/postilion/internal/id"
	wire "github.com/postilion/postilion/internal/inject"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/serve"
)

// This file answers questions: the queue for mailq, the way of an address for sendmail -bv.

// Users finds the system's users and groups.
type Users interface {
	UID(name string) (uint32, bool)
	// InGroup reports whether the user is in the group.
	InGroup(uid uint32, group string) bool
}

// maxQuestion bounds what a question brings, in bytes.
const maxQuestion = 256 << 10

// ask is VerbQueue, VerbFlush and VerbRoute.
func (c *session) ask(verb string) {
	input, ok := c.input()
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(c.stopping, time.Minute)
	defer cancel()
	var e *reason.Error
	text := "ok"
	switch verb {
	case wire.VerbQueue:
		e = c.queue(ctx)
	case wire.VerbFlush:
		var n int
		n, e = c.flush(ctx, input)
		text = strconv.Itoa(n)
	case wire.VerbRoute:
		e = c.route(ctx, input)
	}
	if e != nil {
		c.refuse(e)
		return
	}
	c.write(wire.AnswerFrame(&wire.Answer{Code: 250, Enhanced: "2.0.0", Text: text}))
}

// input reads what comes with a question.
func (c *session) input() (string, bool) {
	var b strings.Builder
	for {
		kind, p, err := c.next()
		switch {
		case err != nil:
			return "", false
		case kind == wire.FrameEnd:
			return b.String(), true
		case kind != wire.FrameData:
			return "", false
		case b.Len()+len(p) > maxQuestion:
			c.drainAndRefuse(reason.CommandSyntax.With("want at most " + strconv.Itoa(maxQuestion) + " bytes"))
			return "", false
		}
		b.Write(p)
	}
}

// mayQueue reports whether the program's user may see and flush the queue.
func (c *session) mayQueue() bool {
	if c.d.Owner(c.uid) {
		return true
	}
	for _, name := range c.o.QueueUsers {
		group, isGroup := strings.CutPrefix(name, "@")
		switch {
		case name == "*", isGroup && c.d.Users.InGroup(c.uid, group):
			return true
		case !isGroup:
			if uid, ok := c.d.Users.UID(name); ok && uid == c.uid {
				return true
			}
		}
	}
	return false
}

// queuePage is how many messages are asked for at once.
const queuePage = 200

// queue sends the queue, one message a line as JSON.
func (c *session) queue(ctx context.Context) *reason.Error {
	if c.d.Queue == nil || !c.mayQueue() {
		return reason.InjectForbidden
	}
	for cursor := ""; ; {
		list, next, err := c.d.Queue.List(ctx, queuePage, cursor)
		if err != nil {
			return reason.As(err)
		}
		for i := range list {
			line, err := json.Marshal(&list[i])
			if err != nil {
				return reason.As(err)
			}
			if c.send64(append(line, '\n')) != nil {
				return reason.IdleTimeout
			}
		}
		if next == "" {
			return nil
		}
		cursor = next
	}
}

// send64 sends output in frames.
func (c *session) send64(p []byte) error {
	for len(p) > 0 {
		n := min(len(p), wire.MaxFrame)
		if err := c.write(wire.AppendFrame(nil, wire.FrameData, string(p[:n]))); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// flush has messages tried now: those whose ids are in input, one a line, or all that waits.
func (c *session) flush(ctx context.Context, input string) (int, *reason.Error) {
	if c.d.Queue == nil || !c.mayQueue() {
		return 0, reason.InjectForbidden
	}
	var messages []id.ID
	for word := range strings.FieldsSeq(input) {
		message, err := id.Parse(word)
		if err != nil {
			return 0, reason.CommandSyntax.With("want ids of messages, one a line")
		}
		messages = append(messages, message)
	}
	if len(messages) == 0 {
		n, err := c.d.Queue.Flush(ctx)
		return n, reason.As(err)
	}
	by := "owner"
	if !c.d.Owner(c.uid) {
		by = "uid " + strconv.FormatUint(uint64(c.uid), 10)
	}
	n, err := c.d.Queue.Retry(ctx, messages, by)
	return n, reason.As(err)
}

// route explains addresses: the first line says how, each further line is one.
func (c *session) route(ctx context.Context, input string) *reason.Error {
	if c.d.Explain == nil {
		return reason.CommandNotOffered
	}
	how, list, _ := strings.Cut(input, "\n")
	for a := range strings.Lines(list) {
		if a = strings.TrimSuffix(a, "\n"); a == "" {
			continue
		}
		if c.send64([]byte(c.d.Explain(ctx, a, how == "test"))) != nil {
			return reason.IdleTimeout
		}
	}
	return nil
}

// smtp turns the connection over to the SMTP server.
func (c *session) smtp() {
	if c.d.SMTP == nil {
		c.write([]byte("421 4.3.2 " + reason.CommandNotOffered.Text(reason.English) + "\r\n"))
		return
	}
	if e := c.s.pace(c.setup, c.uid); e != nil {
		c.write([]byte("421 4.7.0 " + e.Text(reason.English) + "\r\n"))
		return
	}
	c.nc.SetDeadline(time.Time{})
	c.d.SMTP.Serve(c.stopping, &serve.Conn{Conn: &smtpConn{c.nc, c.r.Buffered()}, ID: c.d.IDs.New(), Listener: "inject", Started: c.started,
		Invoked: c.invoked(), PID: c.pid})
}

// systemUsers are those of /etc/passwd and /etc/group.
type systemUsers struct{}

var _ Users = systemUsers{}

// UID implements Users.
func (systemUsers) UID(name string) (uint32, bool) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(u.Uid, 10, 32)
	return uint32(n), err == nil
}

// InGroup implements Users.
func (systemUsers) InGroup(uid uint32, group string) bool {
	g, err := user.LookupGroup(group)
	if err != nil {
		return false
	}
	u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err != nil {
		return false
	}
	ids, err := u.GroupIds()
	if err != nil {
		return false
	}
	return slices.Contains(ids, g.Gid)
}

// remembering keeps what Users said for a short while, since every message asks for alias.
type remembering struct {
	Users
	now func() time.Time

	mu   sync.Mutex
	uids map[string]knownUID
}

type knownUID struct {
	uid uint32
	ok  bool
	at  time.Time
}

const rememberFor = 30 * time.Second

// UID implements Users.
func (r *remembering) UID(name string) (uint32, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if k, found := r.uids[name]; found && now.Sub(k.at) < rememberFor {
		return k.uid, k.ok
	}
	k := knownUID{at: now}
	k.uid, k.ok = r.Users.UID(name)
	if r.uids == nil {
		r.uids = map[string]knownUID{}
	}
	r.uids[name] = k
	return k.uid, k.ok
}
