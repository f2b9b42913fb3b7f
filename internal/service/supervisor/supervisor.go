// Package supervisor keeps one process running for each role, and lets them be commanded one by one, as services of daemontools are.
// It knows nothing of what they do.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/deliver/runas"
	"github.com/postilion/postilion/internal/qmail/supervise"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/service/owners"
)

// Times of the supervisor. A role that lived for less than soon is flapping; it is
// started again after a wait that doubles from firstWait to maxWait (supervise(8) waits
// one second).
const (
	soon      = 10 * time.Second
	firstWait = 250 * time.Millisecond
	maxWait   = 30 * time.Second
)

// Supervisor keeps one process running for each role.
type Supervisor struct {
	// command makes the process of a role, not yet started. started is called after it was.
	Command  func(r role.Role) (cmd *exec.Cmd, started func(), err error)
	Identity func(r role.Role) owners.Identity
	// abandon closes the sockets of a role that does not come back, so that nobody waits for it.
	Abandon     func(r role.Role)
	StopTimeout time.Duration
	Log         *slog.Logger

	mu       sync.Mutex
	children map[role.Role]*child
	order    []role.Role
}

// child is one role and its process.
type child struct {
	role     role.Role
	cmd      *exec.Cmd // nil while down
	since    time.Time // of the present process, or of its end
	restarts int
	short    int // lives in a row shorter than soon
	last     string
	asked    bool              // its end was asked for, and a new start
	stopping bool              // it shall not come back
	want     supervise.Command // Up; Stop or Once when it is not to be started again
	once     bool              // it is to be started although it is not wanted up
	paused   bool              // its process was stopped by a signal
	folder   *serviceFolder    // for svstat and svc; nil without
	kick     chan struct{}     // ends a wait for the next start
	gone     chan struct{}     // closed when it is stopped for good
}

// Prepare makes the roles known, so that status tells of them.
func (s *Supervisor) Prepare(roles []role.Role) {
	s.children, s.order = map[role.Role]*child{}, roles
	for _, r := range roles {
		s.children[r] = &child{role: r, kick: make(chan struct{}, 1), gone: make(chan struct{}), since: time.Now(), want: supervise.Up}
	}
}

// Run starts the roles in order, keeps them up until ctx ends, and stops them in the
// opposite order. Those that do not stay up go first, since others may be waiting for them.
func (s *Supervisor) Run(ctx context.Context) {
	for _, r := range s.order {
		go s.keep(s.children[r])
	}
	<-ctx.Done()
	// Looked at before any is stopped: a role may end because one that it waits for is given up.
	for _, r := range s.allBroken() {
		s.stop(s.children[r])
		s.Abandon(r)
	}
	for _, r := range slices.Backward(s.order) {
		s.stop(s.children[r])
	}
}

// allBroken returns the roles that are down or flapping, in order.
func (s *Supervisor) allBroken() []role.Role {
	s.mu.Lock()
	defer s.mu.Unlock()
	var broken []role.Role
	for _, r := range s.order {
		if c := s.children[r]; c.cmd == nil || c.short > 1 && time.Since(c.since) < soon {
			broken = append(broken, r)
		}
	}
	return broken
}

// keep runs one role's processes, one after the other, until it is to stop.
func (s *Supervisor) keep(c *child) {
	defer close(c.gone)
	for s.awaitWanted(c) {
		began := time.Now()
		err := s.once(c)
		s.mu.Lock()
		c.cmd, c.since, c.last, c.paused = nil, time.Now(), exitText(err), false
		s.tell(c)
		if c.stopping {
			s.mu.Unlock()
			return
		}
		if c.want != supervise.Up {
			c.asked, c.short = false, 0
			s.mu.Unlock()
			s.Log.Info("a role is stopped, as was asked for", "part", c.role)
			continue
		}
		c.restarts++
		asked := c.asked
		c.asked = false
		if time.Since(began) < soon {
			c.short++
		} else {
			c.short = 0
		}
		wait := min(firstWait<<min(c.short, 10), maxWait)
		s.mu.Unlock()
		if asked {
			s.Log.Info("a role is restarted, as was asked for", "part", c.role)
			continue
		}
		s.Log.Error("a role ended and is started again", "part", c.role, "exit", c.last, "wait", wait)
		select {
		case <-time.After(wait):
		case <-c.kick:
		}
	}
}

// once runs one process to its end.
func (s *Supervisor) once(c *child) error {
	s.mu.Lock()
	if c.stopping {
		s.mu.Unlock()
		return nil
	}
	cmd, started, err := s.Command(c.role)
	if err == nil {
		err = startRole(cmd, c.role)
	}
	if err != nil {
		s.mu.Unlock()
		return err
	}
	c.cmd, c.since = cmd, time.Now()
	s.tell(c)
	s.mu.Unlock()
	started()
	if c.role == role.RunAs {
		defer runas.Attend(cmd.Process.Pid)()
	}
	return cmd.Wait()
}

func exitText(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// killWait is how long a process that was killed may take to end. One that waits for a disk that does not answer ends when that does.
const killWait = 5 * time.Second

// stop ends a role for good: SIGTERM, and SIGKILL after StopTimeout.
func (s *Supervisor) stop(c *child) {
	s.mu.Lock()
	c.stopping = true
	s.mu.Unlock()
	select {
	case c.kick <- struct{}{}:
	default:
	}
	s.signal(c, syscall.SIGTERM)
	s.signal(c, syscall.SIGCONT) // one that is paused could not end
	select {
	case <-c.gone:
		return
	case <-time.After(s.StopTimeout):
	}
	s.Log.Warn("a role does not stop and is killed", "part", c.role)
	s.signal(c, syscall.SIGKILL)
	select {
	case <-c.gone:
	case <-time.After(killWait):
		s.Log.Error("a role that was killed does not end; it is left behind, waiting for a file system that does not answer", "part", c.role)
	}
}

func (s *Supervisor) signal(c *child, sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.cmd != nil {
		// An error means that it has just ended.
		_ = c.cmd.Process.Signal(sig)
	}
}

// Restart ends a role's process, and starts it again at once.
func (s *Supervisor) Restart(r role.Role) error {
	return s.direct(r, func(c *child) []syscall.Signal {
		c.short, c.asked, c.want, c.paused = 0, c.cmd != nil, supervise.Up, false
		return []syscall.Signal{syscall.SIGTERM, syscall.SIGCONT}
	})
}

// direct changes, with the lock held, what a role's process is to do, and has that seen to; then the
// process gets the signals that change returns.
func (s *Supervisor) direct(r role.Role, change func(*child) []syscall.Signal) error {
	s.mu.Lock()
	c := s.children[r]
	if c == nil {
		s.mu.Unlock()
		return fmt.Errorf("role %s is not run here", r)
	}
	if c.stopping {
		s.mu.Unlock()
		return errors.New("the server is stopping")
	}
	signals := change(c)
	s.mu.Unlock()
	select {
	case c.kick <- struct{}{}:
	default:
	}
	for _, signal := range signals {
		s.signal(c, signal)
	}
	return nil
}

// Status tells of all roles.
func (s *Supervisor) Status() []control.Role {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []control.Role
	for _, r := range s.order {
		c := s.children[r]
		id := s.Identity(r)
		st := control.Role{Name: string(r), UID: id.UID, User: id.User, Restarts: c.restarts, Last: c.last,
			Seconds: int64(time.Since(c.since).Seconds()), State: "up"}
		switch {
		case c.stopping:
			st.State = "stopping"
		case c.cmd == nil && c.want != supervise.Up:
			st.State = "stopped"
		case c.paused:
			st.State = "paused"
		case c.cmd == nil && c.short > 1, c.cmd != nil && c.short > 1 && time.Since(c.since) < soon:
			st.State = "flapping"
		case c.cmd == nil:
			st.State = "down"
		}
		if c.cmd != nil {
			st.PID = c.cmd.Process.Pid
		} else {
			st.Seconds = 0
		}
		list = append(list, st)
	}
	return list
}
