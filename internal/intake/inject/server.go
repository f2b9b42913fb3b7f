// Package inject serves the socket by which programs of this host hand messages in
// (internal/inject is the protocol and its client): sendmail, qmail-queue and their kin.
//
// Who a program is, the kernel says. What is answered 250 is on disk; bad addresses among the
// recipients are bounced, as qmail-queue has it. Nothing a program sends sizes memory, and no user
// can take the socket from the others.
package inject

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/dispatch"
	"github.com/postilion/postilion/internal/id"
	wire "github.com/postilion/postilion/internal/inject"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/rpc"
	"github.com/postilion/postilion/internal/serve"
	"github.com/postilion/postilion/internal/submit"
	"github.com/postilion/postilion/internal/trace"
)

// Deps are what a Server works with. Submit is needed; what is nil of the others is not offered.
type Deps struct {
	Submit *submit.Submitter
	Queue  Queue
	// Explain tells in lines where an address leads and why, without sending anything. test is the
	// long form (sendmail -bt); otherwise one line a final address (-bv).
	Explain func(ctx context.Context, address string, test bool) string
	// Watch gives the events of a message that is about to be committed. It ends with ctx.
	Watch func(ctx context.Context, message id.ID) (<-chan trace.Event, error)
	// SMTP serves a program that talks SMTP (sendmail -bs).
	SMTP serve.Handler
	IDs  id.Source
	// Owner tells which uids are the operator's.
	Owner func(uid uint32) bool
	Users Users // nil is the system's
	Clock clock.Clock
	Log   *slog.Logger
}

// Queue is what mailq and sendmail -q need.
type Queue interface {
	// List returns up to limit messages after the message cursor, "" for the first, and the cursor
	// of what follows, "" at the end.
	List(ctx context.Context, limit int, cursor string) (list []dispatch.Info, next string, err error)
	// Flush makes everything that waits be tried now, and returns how many messages that are.
	Flush(ctx context.Context) (int, error)
	// Retry makes these messages be tried now, and returns how many waited. by is who asks, for
	// their history.
	Retry(ctx context.Context, messages []id.ID, by string) (int, error)
}

// Server serves the socket. It is safe for concurrent use.
type Server struct {
	current atomic.Pointer[setup]

	conns serve.Shares
	held  serve.Shares // bytes of recipients that are on their way in

	mu     sync.Mutex
	recent map[uint32]int // messages in the running minute
	minute int64
}

// setup is a configuration in force.
type setup struct {
	o Options
	d Deps
}

// New returns a Server. The error names every wrong option.
func New(o Options, d Deps) (*Server, error) {
	s := &Server{recent: map[uint32]int{}}
	set, err := s.Prepare(o, d)
	if err != nil {
		return nil, err
	}
	set()
	return s, nil
}

// Prepare checks a new configuration and returns what brings it into force for new connections.
func (s *Server) Prepare(o Options, d Deps) (func(), error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	if d.Clock == nil {
		d.Clock = clock.System{}
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Users == nil {
		d.Users = systemUsers{}
	}
	d.Users = &remembering{Users: d.Users, now: d.Clock.Now}
	if d.Owner == nil {
		d.Owner = func(uid uint32) bool { return uid == 0 }
	}
	return func() { s.current.Store(&setup{o, d}) }, nil
}

// Serve accepts connections until ctx ends, then closes l and returns nil once the calls at hand
// have ended; those that wait for their client end at once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return serve.Each(ctx, l, func(nc net.Conn) {
		defer nc.Close()
		s.serve(ctx, nc)
	})
}

// serve carries out one call.
func (s *Server) serve(ctx context.Context, nc net.Conn) {
	set := s.current.Load()
	uid, pid, err := rpc.Peer(nc)
	if err != nil {
		set.d.Log.Warn("a program's user could not be found out", "error", err)
		return
	}
	c := &session{s: s, setup: set, nc: nc, r: wire.NewReader(nc), uid: uid, pid: pid, started: time.Now()}
	defer func() {
		if p := recover(); p != nil { // one program must not end the others
			set.d.Log.Error("an injection panicked", "uid", uid, "panic", p)
		}
	}()
	// A program that is silent is not waited for when the server stops; a commit is.
	defer context.AfterFunc(ctx, func() { nc.SetReadDeadline(time.Unix(1, 0)) })()
	c.ctx, c.stopping = context.WithoutCancel(ctx), ctx
	if e := s.enter(set, uid); e != nil {
		c.refuse(e)
		return
	}
	defer s.conns.Give(uid, 1)
	c.call()
}

// enter counts a connection in.
func (s *Server) enter(set *setup, uid uint32) *reason.Error {
	return busy(s.conns.Take(uid, 1, int64(set.o.MaxConnections), int64(set.o.MaxPerUser)))
}

// busy words an error of serve.Shares.
func busy(err error) *reason.Error {
	switch err {
	case serve.ErrSpent:
		return reason.InjectBusy
	case serve.ErrUserSpent:
		return reason.InjectUserBusy
	}
	return nil
}

// Bounds of the memory for recipients that are on their way in, in bytes: of all programs, and of those
// of one user, root excepted. recipientCost is what one takes besides its address.
const (
	maxHeld       = 256 << 20
	maxHeldUser   = 64 << 20
	recipientCost = 200
)

// hold takes n bytes of that memory, which held.Give gives back.
func (s *Server) hold(uid uint32, n int64) *reason.Error {
	return busy(s.held.Take(uid, n, maxHeld, maxHeldUser))
}

// pace counts a message, and refuses one over the rate.
func (s *Server) pace(set *setup, uid uint32) *reason.Error {
	if set.o.Rate == 0 || uid == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := set.d.Clock.Now().Unix() / 60; m != s.minute {
		s.minute = m
		clear(s.recent)
	}
	if s.recent[uid]++; s.recent[uid] > set.o.Rate {
		return reason.InjectRate
	}
	return nil
}

// session is one connection.
type session struct {
	s *Server
	*setup
	ctx      context.Context // does not end: what was begun is finished
	stopping context.Context // ends when the server stops
	nc       net.Conn
	r        *wire.Reader
	uid      uint32
	pid      int
	started  time.Time
}

// call reads what is asked for and does it.
func (c *session) call() {
	kind, p, err := c.next()
	if err != nil {
		return
	}
	version, verb, f, ok := wire.ParseCall(p)
	switch {
	case kind != wire.FrameCall || !ok:
		c.d.Log.Debug("a program does not speak the injection protocol", "uid", c.uid)
		return
	case version != wire.Version:
		c.drainAndRefuse(reason.InjectVersion)
		return
	}
	switch verb {
	case wire.VerbSend:
		c.send(f)
	case wire.VerbNames:
		o := &c.o
		c.write(wire.NamesFrame(&wire.Names{Me: o.Host, DefaultDomain: o.DefaultDomain, DefaultHost: o.DefaultHost, PlusDomain: o.PlusDomain, IDHost: o.IDHost}))
	case wire.VerbQueue, wire.VerbFlush, wire.VerbRoute:
		c.ask(verb)
	case wire.VerbSMTP:
		c.smtp()
	default:
		c.drainAndRefuse(reason.InjectVersion)
	}
}

// next reads a frame within the time limits.
func (c *session) next() (byte, []byte, error) {
	if err := c.stopping.Err(); err != nil {
		return 0, nil, err
	}
	end := time.Now().Add(c.o.IdleTimeout)
	if total := c.started.Add(c.o.TotalTimeout); total.Before(end) {
		end = total
	}
	c.nc.SetReadDeadline(end)
	if c.stopping.Err() != nil { // it ended meanwhile, and its deadline was just undone
		return 0, nil, c.stopping.Err()
	}
	return c.r.Next()
}

// writeTimeout bounds how long a program may take to read what it asked for.
const writeTimeout = time.Minute

func (c *session) write(frame []byte) error {
	c.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := c.nc.Write(frame)
	return err
}

// refuse answers with an error.
func (c *session) refuse(e *reason.Error) {
	c.write(wire.AnswerFrame(&wire.Answer{Code: e.Code, Enhanced: e.Enhanced, Reason: string(e.Reason), Text: e.Text(reason.English)}))
}

// drainAndRefuse reads to the end of the call first: an answer before it would be lost with what
// the program has still to send (unix(7): ECONNRESET).
func (c *session) drainAndRefuse(e *reason.Error) {
	for {
		kind, _, err := c.next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				return
			}
			break
		}
		if kind == wire.FrameEnd {
			break
		}
	}
	c.refuse(e)
}
