package runas

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/postilion/postilion/internal/reason"
)

// starters start programs on threads of their own, whose umask, priority and promise to gain
// no rights (PR_SET_NO_NEW_PRIVS) the programs inherit.
//
// A program has its limits before its first instruction: it is started traced, stops, has them laid
// on, and is let go. Where this process may not do that (prlimit(2): it takes CAP_SYS_RESOURCE,
// which containers often lack, and the right to trace), a shell lays them on itself and then
// becomes the program.
type starters struct {
	rights *rights
	nice   int
	oom    int
	nnp    bool

	start chan start
	stop  chan struct{}
	once  sync.Once
}

func newStarters(n *normal, r *rights) *starters {
	return &starters{rights: r, nice: n.Nice, oom: n.OOM, nnp: !n.Setuid, start: make(chan start), stop: make(chan struct{})}
}

// start is one program to start. Its files belong to who starts it.
type start struct {
	user          User
	args, env     []string
	stdin, output *os.File
	limits        limits
	done          chan started
}

func (p *start) close() {
	p.stdin.Close()
	p.output.Close()
}

type started struct {
	pid int
	err error
}

// starterThreads is how many start programs at once; package syscall starts one at a time anyway.
const starterThreads = 2

// run starts a program. When ctx ends before it could be, as when the home hangs, it never is, or is
// ended at once.
func (s *starters) run(ctx context.Context, p start) (int, error) {
	s.once.Do(func() {
		keepFiles()
		for range starterThreads {
			go s.work()
		}
	})
	select {
	case s.start <- p:
	case <-s.stop:
		p.close()
		return 0, reason.RunasUnavailable
	case <-ctx.Done():
		p.close()
		return 0, reason.AttemptInterrupted.Because(ctx.Err())
	}
	select {
	case r := <-p.done:
		return r.pid, r.err
	case <-ctx.Done():
	}
	go func() {
		if r := <-p.done; r.err == nil {
			_ = syscall.Kill(-r.pid, syscall.SIGKILL)
			reap(r.pid, new(Result))
		}
	}()
	return 0, reason.AttemptInterrupted.Because(ctx.Err())
}

// close ends the threads, and with them the programs that they started.
func (s *starters) close() { close(s.stop) }

// keepFiles keeps the files that were open when this process was started from its programs; what
// it opens itself they never get.
func keepFiles() {
	const first = 3
	if unix.CloseRange(first, ^uint(0), unix.CLOSE_RANGE_CLOEXEC) == nil { // Linux 5.11
		return
	}
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range list {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd >= first {
			syscall.CloseOnExec(fd)
		}
	}
}

func (s *starters) work() {
	runtime.LockOSThread()
	err := s.prepare()
	traced := s.rights.self || mayLimit()
	for {
		select {
		case <-s.stop:
			return
		case p := <-s.start:
			r := started{err: err}
			if err == nil {
				r.pid, r.err = s.one(p, &traced)
			}
			p.close()
			p.done <- r
		}
	}
}

// prepare gives the calling thread what programs inherit.
func (s *starters) prepare() error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	unix.Umask(0o077)
	if s.nice > 0 {
		if err := unix.Setpriority(unix.PRIO_PROCESS, 0, s.nice); err != nil {
			return fmt.Errorf("setpriority: %w", err)
		}
	}
	if s.nnp {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("no new privileges: %w", err)
		}
	}
	return nil
}

// mayLimit reports whether this process may limit others' processes.
func mayLimit() bool {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&head, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0
}

// one starts a program in a session of its own, with descriptors 0 to 2 and no other.
func (s *starters) one(p start, traced *bool) (pid int, err error) {
	attr := &syscall.ProcAttr{
		Dir: p.user.Home, Env: p.env, Files: []uintptr{p.stdin.Fd(), p.output.Fd(), p.output.Fd()},
		Sys: &syscall.SysProcAttr{
			Setsid:    true,
			Pdeathsig: syscall.SIGKILL, // with this process goes the delivery: it is made again
		},
	}
	if !s.rights.self {
		attr.Sys.Credential = &syscall.Credential{Uid: p.user.UID, Gid: p.user.GID, Groups: []uint32{p.user.GID}}
	}
	list, err := p.limits.list()
	if err != nil {
		return 0, err
	}
	if *traced {
		attr.Sys.Ptrace = true
		pid, err = syscall.ForkExec(p.args[0], p.args, attr)
		if err == nil {
			return pid, s.release(pid, p, list)
		}
		if !errors.Is(err, syscall.EPERM) {
			return 0, err
		}
		*traced, attr.Sys.Ptrace = false, false
	}
	// The shell could not tell that there is no such program. Others' folders are not for this process.
	if err := unix.Access(p.args[0], unix.F_OK); err == unix.ENOENT || err == unix.ENOTDIR {
		return 0, err
	}
	args := append([]string{shell, "-c", script(list, s.oom), "sh"}, p.args...)
	return syscall.ForkExec(shell, args, attr)
}

// release lays its limits on a traced program and lets it go.
func (s *starters) release(pid int, p start, list []limit) error {
	err := awaitStop(pid)
	for _, l := range list {
		if err == nil {
			if err = unix.Prlimit(pid, l.which, &l.to, nil); err != nil {
				err = fmt.Errorf("limit %s: %w", l.name, err)
			}
		}
	}
	if err == nil {
		s.adjust(pid, p.user)
		err = syscall.PtraceDetach(pid)
	}
	if err != nil && !errors.Is(err, errEnded) {
		// It must not run without its limits.
		_ = syscall.Kill(pid, syscall.SIGKILL)
		var ws syscall.WaitStatus
		again(func() error { _, err := syscall.Wait4(pid, &ws, 0, nil); return err })
	}
	return err
}

// errEnded is the error of a program that is gone, its number with it.
var errEnded = errors.New("it ended before its limits could be laid on it")

// awaitStop waits for the stop that execve(2) makes in a traced program.
func awaitStop(pid int) error {
	var ws syscall.WaitStatus
	if err := again(func() error { _, err := syscall.Wait4(pid, &ws, syscall.WALL, nil); return err }); err != 0 {
		return err
	}
	if !ws.Stopped() {
		return errEnded
	}
	return nil
}

// limit is one of setrlimit(2).
type limit struct {
	name  string
	which int
	flag  string // of sh's ulimit
	unit  uint64 // of ulimit, in bytes
	to    unix.Rlimit
}

// list returns the limits of a program. Those that this process has itself hold for it too.
func (l limits) list() (list []limit, err error) {
	cpu := int64(-1)
	if l.cpu > 0 {
		cpu = max(1, int64(l.cpu/time.Second))
	}
	for _, x := range []struct {
		limit
		soft, hard int64
	}{
		{limit{name: "core", which: unix.RLIMIT_CORE, flag: "c", unit: 512}, 0, 0},
		{limit{name: "cpu", which: unix.RLIMIT_CPU, flag: "t", unit: 1}, cpu, cpu + 5}, // SIGXCPU, and SIGKILL
		{limit{name: "memory", which: unix.RLIMIT_DATA, flag: "d", unit: 1024}, l.memory, l.memory},
		{limit{name: "processes", which: unix.RLIMIT_NPROC, flag: "p", unit: 1}, l.processes, l.processes},
		{limit{name: "file_size", which: unix.RLIMIT_FSIZE, flag: "f", unit: 512}, l.fileSize, l.fileSize},
		{limit{name: "files", which: unix.RLIMIT_NOFILE, flag: "n", unit: 1}, l.files, l.files},
	} {
		if x.soft < 0 {
			continue
		}
		var now unix.Rlimit
		if err := unix.Prlimit(0, x.which, nil, &now); err != nil {
			return nil, fmt.Errorf("limit %s: %w", x.name, err)
		}
		x.to = unix.Rlimit{Cur: min(uint64(x.soft), now.Max), Max: min(uint64(x.hard), now.Max)}
		list = append(list, x.limit)
	}
	return list, nil
}

const shell = "/bin/sh"

// script is what a shell does to have the limits and become the program that its arguments
// name. Shells call the limit of processes -p or -u. That it be ended early is a wish, see adjust.
func script(list []limit, oom int) string {
	var b strings.Builder
	if oom > 0 {
		fmt.Fprintf(&b, "{ echo %d >/proc/self/oom_score_adj; } 2>/dev/null; ", oom)
	}
	for _, l := range list {
		soft, hard := strconv.FormatUint(l.to.Cur/l.unit, 10), strconv.FormatUint(l.to.Max/l.unit, 10)
		if l.which == unix.RLIMIT_NPROC {
			fmt.Fprintf(&b, "ulimit -%s %s 2>/dev/null || ulimit -u %s || exit 111; ", l.flag, hard, hard)
			continue
		}
		fmt.Fprintf(&b, "ulimit -S -%s %s && ulimit -H -%s %s || exit 111; ", l.flag, soft, l.flag, hard)
	}
	return b.String() + `exec "$@"`
}

// adjust tells the kernel to end this traced program before others when memory runs out (proc(5)). The
// file belongs to the user. What the system refuses is let be: it is a wish.
func (s *starters) adjust(pid int, u User) {
	if s.oom <= 0 {
		return
	}
	_, _ = s.rights.lend(u.UID, u.GID, func() {
		if fd, err := syscall.Open("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", syscall.O_WRONLY|syscall.O_CLOEXEC, 0); err == nil {
			_, _ = syscall.Write(fd, []byte(strconv.Itoa(s.oom)))
			syscall.Close(fd)
		}
	})
}
