package runas

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/rpc"
)

// Rights are what a peer may ask for.
type Rights struct {
	Files     bool // and searches
	Programs  bool
	Passwords bool
}

// Passwords checks the passwords of the system's users.
type Passwords interface {
	// Check reports whether the password is the user's. The error is trouble in finding out.
	Check(ctx context.Context, user, password string) (bool, error)
}

// Server is the process that has root.
type Server struct {
	// Peers are the uids of those who may ask, and for what.
	Peers map[uint32]Rights
	// Passwords is nil where nobody asks.
	Passwords Passwords
	Log       *slog.Logger

	rule     rule
	workers  *workers
	programs *programs

	mu      sync.Mutex
	open    map[int]struct{} // descriptors of connections that threads wait on
	stopped bool
}

// maxConnections bounds the connections, each of which may hold a thread.
const maxConnections = 2000

// NewServer returns a server. reserved are uids that are never served. The error is
// Options.Validate's.
func NewServer(o Options, reserved ...uint32) (*Server, error) {
	h, err := NewHere(o, reserved...)
	if err != nil {
		return nil, err
	}
	return &Server{rule: h.rule, workers: h.workers, programs: h.programs, open: map[int]struct{}{}, Log: slog.New(slog.DiscardHandler)}, nil
}

// Facts is what status shows.
func (s *Server) Facts() map[string]any {
	files, filesWait := s.workers.gate.counts()
	programs, programsWait := s.programs.gate.counts()
	return map[string]any{"operations": files, "operations_waiting": filesWait, "programs": programs, "programs_waiting": programsWait}
}

// Serve serves l until ctx ends, and returns when all calls have ended.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer s.programs.starters.close()
	defer s.workers.close()
	var all sync.WaitGroup
	defer all.Wait()
	defer context.AfterFunc(ctx, func() { l.Close(); s.stop() })()
	slots := make(chan struct{}, maxConnections)
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			time.Sleep(10 * time.Millisecond) // out of descriptors: others will be closed
			continue
		}
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if err := s.serve(ctx, c); err != nil && ctx.Err() == nil {
				s.Log.Warn("a caller was turned away", "error", err)
			}
		})
	}
}

// stop wakes the threads that wait for their callers.
func (s *Server) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	for fd := range s.open {
		_ = unix.Shutdown(fd, unix.SHUT_RDWR)
	}
}

// helloTime bounds the wait for a connection's first byte.
const helloTime = 10 * time.Second

// serve serves one connection. Its error is a peer's that may not ask.
func (s *Server) serve(ctx context.Context, c net.Conn) error {
	defer c.Close()
	uid, err := rpc.PeerUID(c)
	if err != nil {
		return err
	}
	rights := s.Peers[uid]
	c.SetReadDeadline(time.Now().Add(helloTime))
	var what [1]byte
	if _, err := io.ReadFull(c, what[:]); err != nil {
		return nil
	}
	c.SetReadDeadline(time.Time{})
	u, ok := c.(*net.UnixConn)
	switch {
	case ok && what[0] == forFiles && rights.Files:
		s.serveFiles(u)
	case ok && what[0] == forPrograms && rights.Programs:
		s.servePrograms(ctx, u)
	case ok && what[0] == forPasswords && rights.Passwords && s.Passwords != nil:
		s.servePasswords(ctx, u)
	default:
		return errors.New("its uid may not ask for this")
	}
	return nil
}

// take makes a connection one that a thread waits on. It ends with give.
func (s *Server) take(u *net.UnixConn) (*os.File, bool) {
	f, err := u.File()
	u.Close()
	if err != nil {
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		f.Close()
		return nil, false
	}
	s.open[int(f.Fd())] = struct{}{}
	return f, true
}

func (s *Server) give(f *os.File) {
	s.mu.Lock()
	delete(s.open, int(f.Fd()))
	s.mu.Unlock()
	f.Close()
}

// serveFiles does operations on a thread of its own, which ends with the connection.
func (s *Server) serveFiles(u *net.UnixConn) {
	f, ok := s.take(u)
	if !ok {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer s.give(f)
		runtime.LockOSThread() // and never unlocked: see thread
		c, t := &raw{fd: int(f.Fd())}, &thread{self: s.rule.self}
		for {
			frame, file, err := c.receive()
			closeFile(file)
			if err != nil {
				return
			}
			r, err := (&reader{b: frame}).request()
			if err != nil {
				return
			}
			p, ok := s.operate(t, &r)
			c.begin().reply(r.op, &p)
			err = c.send(p.file)
			closeFile(p.file)
			if err != nil || !ok {
				return
			}
		}
	}()
	<-done
}

// operate does one operation; ok is false when the thread must not be used any more.
func (s *Server) operate(t *thread, r *request) (p reply, ok bool) {
	p.file = -1
	if s.rule.check(r.user) != nil {
		p.err = unix.EPERM // callers have checked: this one is no role of ours
		return p, false
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.workers.hang)
	defer cancel()
	if s.workers.gate.enter(ctx, r.user) != nil {
		p.busy = true
		return p, true
	}
	defer s.workers.gate.leave(r.user)
	if err := t.become(r.user.UID, r.user.GID); err != nil {
		s.Log.Error("a user's rights could not be taken on", "uid", r.user.UID, "error", err)
		p.err = unix.EPERM
		return p, false
	}
	return perform(r), true
}

// call is a program to run, as it travels.
type call struct {
	User   User
	Args   [][]byte
	Env    [][]byte
	Time   time.Duration
	Output int
}

// answer is its result.
type answer struct {
	Result Result
	Reason *reason.Error
	Cause  string
}

func (s *Server) servePrograms(ctx context.Context, u *net.UnixConn) {
	for {
		frame, stdin, err := receiveConn(u)
		if err != nil {
			return
		}
		var c call
		if err := decode(frame, &c); err != nil || s.rule.check(c.User) != nil {
			closeFile(stdin)
			return
		}
		if err := sendConn(u, s.runOne(ctx, u, c, stdin), -1); err != nil {
			return
		}
	}
}

// runOne runs one program. When the caller is gone, it is ended.
func (s *Server) runOne(ctx context.Context, u *net.UnixConn, c call, stdin int) answer {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		var b [1]byte
		if _, err := u.Read(b[:]); !errors.Is(err, os.ErrDeadlineExceeded) {
			cancel() // it is gone, or says what nobody asked for
		}
	}()
	defer func() {
		u.SetReadDeadline(time.Unix(1, 0))
		<-watched
		u.SetReadDeadline(time.Time{})
	}()
	command := Command{Args: texts(c.Args), Env: texts(c.Env), Time: c.Time, MaxOutput: c.Output}
	if stdin >= 0 {
		command.Stdin = os.NewFile(uintptr(stdin), "message")
		defer command.Stdin.Close()
	}
	var a answer
	var err error
	// A home that hangs would hold up every start.
	if p, hung := s.workers.do(&request{op: opStat, user: c.User, path: c.User.Home + "/."}); hung != nil {
		err = hung
	} else if p.err != 0 {
		err = reason.HomeUnreachable.With(c.User.Home, p.err.Error())
	} else {
		a.Result, err = s.programs.run(ctx, c.User, command)
	}
	if err != nil {
		a.Reason = reason.As(err)
		if a.Reason.Cause != nil {
			a.Cause = a.Reason.Cause.Error()
		}
	}
	return a
}

func texts(list [][]byte) []string {
	s := make([]string, len(list))
	for i, p := range list {
		s[i] = string(p)
	}
	return s
}

// password is a password to check, as it travels.
type password struct{ User, Password []byte }

// verdict is the answer.
type verdict struct {
	Right   bool
	Trouble string
}

func (s *Server) servePasswords(ctx context.Context, u *net.UnixConn) {
	for {
		frame, file, err := receiveConn(u)
		closeFile(file)
		if err != nil {
			return
		}
		var p password
		if decode(frame, &p) != nil {
			return
		}
		var v verdict
		v.Right, err = s.Passwords.Check(ctx, string(p.User), string(p.Password))
		if err != nil {
			v = verdict{Trouble: err.Error()}
		}
		if sendConn(u, v, -1) != nil {
			return
		}
	}
}
