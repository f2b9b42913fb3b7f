package runas

// A program starts as a copy of this process that has become the user already, while the thread that
// starts it waits, and with it all others that want to start something (syscall.ForkLock). Until it
// is the program, its user may stop it, as with kill -STOP -1 in a loop, and its home may hang.
// Who starts it does not know its number yet: it is found below /proc, and ended.

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
	"time"
)

const (
	stuckLook = 20 * time.Millisecond // from the start to the first look, and between looks
	stuckHang = 5 * time.Second       // how long a start may take that is not stopped
)

// unstick ends the program that the thread tid is starting when it stays where it is, until done
// is closed.
func unstick(tid int, done <-chan struct{}) {
	t := time.NewTicker(stuckLook)
	defer t.Stop()
	for begun := time.Now(); ; {
		select {
		case <-done:
			return
		case <-t.C:
		}
		pid := youngest(tid)
		if pid != 0 && isCopy(pid) && (isStopped(pid) || time.Since(begun) > stuckHang) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// youngest returns the newest child of a thread, 0 for none.
func youngest(tid int) int {
	list, err := os.ReadFile("/proc/self/task/" + strconv.Itoa(tid) + "/children") // in the order of their start
	if err != nil {
		return 0
	}
	f := bytes.Fields(list)
	if len(f) == 0 {
		return 0
	}
	pid, _ := strconv.Atoi(string(f[len(f)-1]))
	return pid
}

// isCopy reports whether a process is this one's copy still, which shares its memory, the command line
// within.
func isCopy(pid int) bool {
	own, err := os.ReadFile("/proc/self/cmdline")
	if err != nil {
		return false
	}
	its, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	return err == nil && bytes.Equal(own, its)
}

// isStopped reports whether a signal has stopped a process (proc(5)).
func isStopped(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	i := bytes.LastIndexByte(stat, ')')
	return err == nil && i >= 0 && i+2 < len(stat) && (stat[i+2] == 'T' || stat[i+2] == 't')
}
