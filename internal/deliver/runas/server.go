package runas

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/rpc"
)

// Rights are what a peer may ask for.
type Rights struct {
	Files     bool // and searches
	Holds     bool // Service.Hold alone
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
}

// maxConnections bounds the connections, each of which may hold a thread while a home hangs.
const maxConnections = 2000

// NewServer returns a server. own is never served. The error is Options.Validate's.
func NewServer(o Options, own Reserved) (*Server, error) {
	h, err := newHere(o, own)
	if err != nil {
		return nil, err
	}
	return &Server{rule: h.rule, workers: h.workers, programs: h.programs, Log: slog.New(slog.DiscardHandler)}, nil
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
	var all sync.WaitGroup
	defer all.Wait()
	defer context.AfterFunc(ctx, func() { l.Close() })()
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
	case ok && what[0] == forFiles && (rights.Files || rights.Holds):
		defer context.AfterFunc(ctx, func() { c.Close() })()
		s.serveFiles(u, rights)
	case ok && what[0] == forPrograms && rights.Programs:
		s.servePrograms(ctx, u)
	case ok && what[0] == forPasswords && rights.Passwords && s.Passwords != nil:
		s.servePasswords(ctx, u)
	default:
		return errors.New("its uid may not ask for this")
	}
	return nil
}

// serveFiles does operations on the goroutine of the connection, which ends with it.
func (s *Server) serveFiles(u *net.UnixConn, rights Rights) {
	c, err := newRaw(u)
	if err != nil {
		return
	}
	var list []request
	var files []int
	for {
		frame, sent, err := c.receive()
		closeFiles(sent)
		if err != nil {
			return
		}
		if list, err = (&reader{b: frame}).requests(list[:0]); err != nil {
			return
		}
		if !rights.Files && slices.ContainsFunc(list, func(r request) bool { return r.op != opHold }) {
			s.Log.Warn("a caller asked for what its uid may not")
			return
		}
		w, ok := c.begin(), false
		files, ok = s.operate(list, w, files[:0])
		err = c.send(files)
		closeFiles(files)
		if err != nil || !ok {
			return
		}
	}
}

// operate does operations of one user and writes the replies; it adds the files it opened. ok is false when
// the goroutine must end.
func (s *Server) operate(list []request, w *writer, files []int) (_ []int, ok bool) {
	none := reply{file: -1} // to those that are not done
	user := &list[0].user
	switch {
	case slices.ContainsFunc(list, func(r request) bool { return s.rule.check(r.user) != nil }):
		none.err = unix.EPERM // callers have checked: this one is no role of ours
	case s.workers.gate.within(s.workers.hang, *user) != nil:
		none.busy, ok = true, true
	default:
		defer s.workers.gate.leave(*user)
		called, err := s.workers.rights.lend(user.UID, user.GID, func() {
			for i := range list {
				p := perform(&list[i])
				w.reply(list[i].op, &p)
				if p.file >= 0 {
					files = append(files, p.file)
				}
			}
		})
		if err != nil {
			s.Log.Error("a user's rights could not be taken on, or given back", "uid", user.UID, "error", err)
		}
		if called {
			return files, err == nil
		}
		none.err = unix.EPERM
	}
	for i := range list {
		w.reply(list[i].op, &none)
	}
	return files, ok
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
