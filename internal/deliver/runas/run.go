package runas

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/postilion/postilion/internal/reason"
)

// Bounds of a program.
const (
	defaultOutput = 64 << 10 // bytes kept
	maxOutput     = 1 << 20
	killGrace     = 5 * time.Second // from SIGTERM to SIGKILL
	deadGrace     = time.Second     // from SIGKILL to looking no more
)

// programs runs programs in this process.
type programs struct {
	gate     *gate
	normal   *normal
	starters *starters
	grace    time.Duration // killGrace, but for tests
}

func newPrograms(n *normal, r *rights) *programs {
	return &programs{
		gate: newGate(n.Programs, n.ProgramsPerUser, 1000), normal: n,
		grace: killGrace, starters: newStarters(n, r),
	}
}

// run runs one program and waits until it has ended and its output is closed by all who
// have it, as qmail does (qmail reference 8.1), or until its time is up.
func (p *programs) run(ctx context.Context, u User, c Command) (Result, error) {
	if len(c.Args) == 0 || !filepath.IsAbs(c.Args[0]) {
		return Result{}, reason.ProgramNotRun.With("no absolute path of a program")
	}
	if err := p.gate.enter(ctx, u); err != nil {
		return Result{}, err
	}
	defer p.gate.leave(u)
	stdin, err := message(c.Stdin)
	if err != nil {
		return Result{}, reason.LocalError.Because(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		stdin.Close()
		return Result{}, reason.LocalError.Because(err)
	}
	defer r.Close()
	limits := p.normal.of(u.Name)
	pid, err := p.starters.run(ctx, start{u, c.Args, c.Env, stdin, w, limits, make(chan started, 1)})
	if err != nil {
		return Result{}, notRun(err)
	}
	out := collect(r, c.MaxOutput)
	limit := limits.time
	if c.Time > 0 {
		limit = min(limit, c.Time)
	}
	result, err := await(ctx, pid, out, r, limit, p.grace)
	result.Output, result.Cut = out.kept()
	return result, err
}

// message returns a copy of a program's descriptor 0, so that its owner may close it at any time.
func message(f *os.File) (*os.File, error) {
	if f == nil {
		return os.Open(os.DevNull)
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// notRun is the error of a program that was not started.
func notRun(err error) *reason.Error {
	if e, ok := errors.AsType[*reason.Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		return reason.ProgramNotRun.With(e.Error()).Because(err)
	}
	return reason.ProgramNotRun.With(err.Error())
}

// await waits for the program's end and its output's, and ends both when the time is up. The
// process is a zombie until then, so that its number stays its own and its group's.
func await(ctx context.Context, pid int, out *output, r *os.File, limit, grace time.Duration) (Result, error) {
	dead := make(chan struct{})
	go func() {
		defer close(dead)
		again(func() error { return unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) })
	}()
	both := make(chan struct{})
	go func() { <-dead; <-out.closed; close(both) }()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	var result Result
	var err error
	select {
	case <-both:
	case <-timer.C:
		result.TimedOut = true
	case <-ctx.Done():
		err = reason.AttemptInterrupted.Because(ctx.Err())
	}
	if result.TimedOut || err != nil {
		end(pid, both, grace)
		r.Close() // somebody in another group may still have it
		<-out.closed
	}
	select {
	case <-dead:
	default:
		go func() { <-dead; reap(pid, new(Result)) }() // it hangs in the kernel
		result.Exit, result.Signal = -1, "hung"
		return result, err
	}
	reap(pid, &result)
	return result, err
}

// end ends a program's process group.
func end(pid int, both <-chan struct{}, grace time.Duration) {
	for _, s := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGTERM, grace}, {syscall.SIGKILL, deadGrace}} {
		// An error means that there is nobody left.
		_ = syscall.Kill(-pid, s.signal)
		_ = syscall.Kill(-pid, syscall.SIGCONT)
		select {
		case <-both:
			return
		case <-time.After(s.wait):
		}
	}
}

// reap takes the program's end from the system.
func reap(pid int, result *Result) {
	var ws syscall.WaitStatus
	var use syscall.Rusage
	if again(func() error { _, err := syscall.Wait4(pid, &ws, 0, &use); return err }) != 0 {
		result.Exit = -1
		return
	}
	result.Exit = ws.ExitStatus()
	if ws.Signaled() {
		result.Signal = unix.SignalName(ws.Signal())
	}
	result.CPU = time.Duration(use.Utime.Nano() + use.Stime.Nano())
	result.MaxMemory = use.Maxrss << 10
}

// output keeps the head of what a program says, and reads the rest, so that it does not wait.
type output struct {
	closed chan struct{}
	mu     sync.Mutex
	head   []byte
	most   int
	cut    bool
}

func collect(r io.Reader, most int) *output {
	if most <= 0 {
		most = defaultOutput
	}
	o := &output{closed: make(chan struct{}), most: min(most, maxOutput)}
	go func() {
		defer close(o.closed)
		buf := make([]byte, 16<<10)
		for {
			n, err := r.Read(buf)
			o.add(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	return o
}

func (o *output) add(p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := min(len(p), o.most-len(o.head))
	o.head = append(o.head, p[:n]...)
	o.cut = o.cut || n < len(p)
}

func (o *output) kept() ([]byte, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.head, o.cut
}
