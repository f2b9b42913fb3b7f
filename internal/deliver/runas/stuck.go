package runas

// A program starts as a copy of this process that has become the user already, while the thread that
// starts it waits in the kernel, and with it, sooner or later, the whole process (vfork(2)). Until it
// is the program, its user may stop it, as with kill -STOP -1 in a loop, or have its home hang. So
// another process looks on, and ends such a copy.

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

const (
	stuckLook = 100 * time.Millisecond // from look to look
	stuckSoon = 5 * time.Millisecond   // after a look that found something, whose user may go on
	stuckHang = 5 * time.Second        // how long a start may take that is not stopped
)

// Attend looks on how the process pid, one that serves users, starts programs, and ends what would
// hold it up, until stop is called. It is for the process that started it: the other one may be unable to.
func Attend(pid int) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		a := attendant{proc: "/proc/" + strconv.Itoa(pid)}
		for wait := stuckLook; ; {
			select {
			case <-end:
				return
			case <-time.After(wait):
			}
			wait = min(wait*2, stuckLook)
			if a.look() {
				wait = stuckSoon
			}
		}
	}()
	return func() { close(end); <-ended }
}

// attendant is what was seen so far.
type attendant struct {
	proc  string
	since map[int]time.Time // when a copy was first seen
}

// look ends the copies that do not go on, and tells whether there were any.
func (a *attendant) look() (found bool) {
	threads, err := os.ReadDir(a.proc + "/task")
	if err != nil {
		return false
	}
	seen := map[int]time.Time{}
	for _, t := range threads {
		pid := youngest(filepath.Join(a.proc, "task", t.Name(), "children"))
		if pid == 0 || !a.isCopy(pid) {
			continue
		}
		seen[pid] = time.Now()
		if first, ok := a.since[pid]; ok {
			seen[pid] = first
		}
		if isStopped(pid) || time.Since(seen[pid]) > stuckHang {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			found = true
		}
	}
	a.since = seen
	return found
}

// youngest returns the newest child of a thread, 0 for none.
func youngest(file string) int {
	list, err := os.ReadFile(file) // in the order of their start (proc(5))
	f := bytes.Fields(list)
	if err != nil || len(f) == 0 {
		return 0
	}
	pid, err := strconv.Atoi(string(f[len(f)-1]))
	if err != nil {
		return 0
	}
	return pid
}

// isCopy reports whether a process has the memory of its parent still, the command line within.
func (a *attendant) isCopy(pid int) bool {
	its, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil || len(its) == 0 { // a zombie has none
		return false
	}
	parents, err := os.ReadFile(a.proc + "/cmdline")
	return err == nil && bytes.Equal(its, parents)
}

// isStopped reports whether a signal has stopped a process (proc(5)).
func isStopped(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	i := bytes.LastIndexByte(stat, ')')
	return err == nil && i >= 0 && i+2 < len(stat) && (stat[i+2] == 'T' || stat[i+2] == 't')
}
