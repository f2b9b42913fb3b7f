package mbox

// Who made a NAME.lock. Ours say it in one line:
//
//	PID BOOT PID-NAMESPACE START STORE
//
// The pid comes first, as in the locks of liblockfile (lockfile_create(3)) and mailers that look for one. The rest
// tells whether it means anything here: a pid counts in one boot of one kernel and in one namespace
// (pid_namespaces(7)), and for one process since one START (proc_pid_stat(5)). A host's name would not do: containers and
// copies of machines share it.

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process is who makes locks.
type Process struct {
	PID   int
	Boot  string    // of the kernel; "" is of a process that knows nothing of itself, nor of others
	PIDs  string    // the namespace of the pid
	Start string    // since when the pid is this process's
	Since time.Time // the same, or later, by the wall clock
	// Started returns Start of the process that has a pid now, "" when there is none. false: nobody can tell.
	Started func(pid int) (start string, ok bool)
}

// ThisProcess is the process that calls it, where the system tells of it.
func ThisProcess() Process {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return Process{}
	}
	pids, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return Process{}
	}
	p := Process{PID: os.Getpid(), Boot: strings.TrimSpace(string(boot)), PIDs: pids, Since: time.Now(), Started: started}
	if p.Start, _ = started(p.PID); p.Start == "" {
		return Process{}
	}
	return p
}

// started reads the time of a process's start, the 22nd field of its stat, in ticks since the boot.
func started(pid int) (string, bool) {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return "", true
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", false // /proc may hide others' processes
	}
	// The second field is the program's name, in brackets and with anything within.
	f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(f) < 20 {
		return "", false
	}
	return string(f[19]), true
}

// maker is what a lock says.
type maker struct {
	pid                       int
	boot, pids, start, serial string
}

func parseMaker(text string) (m maker, ok bool) {
	f := strings.Split(strings.TrimSuffix(text, "\n"), " ")
	if len(f) != 5 {
		return m, false
	}
	pid, err := strconv.Atoi(f[0])
	return maker{pid, f[1], f[2], f[3], f[4]}, err == nil && pid > 0
}

// text is what this process writes into its locks.
func (p Process) text(serial string) string {
	if p.Boot == "" {
		return strconv.Itoa(os.Getpid()) + "\n"
	}
	return strings.Join([]string{strconv.Itoa(p.PID), p.Boot, p.PIDs, p.Start, serial}, " ") + "\n"
}

// same reports whether a maker is this process.
func (p Process) same(m maker) bool {
	return p.Boot != "" && p.PID == m.pid && p.Boot == m.boot && p.PIDs == m.pids && p.Start == m.start
}

// fate tells what became of a maker. local is of a lock on a disk that only this host can have mounted: one of
// another boot is from before a reboot, or came with the disk.
func (p Process) fate(m maker, local bool) int {
	switch {
	case p.Boot == "":
		return stranger
	case p.Boot != m.boot:
		if local {
			return gone
		}
		return stranger
	case p.PIDs != m.pids:
		return stranger
	}
	start, ok := p.Started(m.pid)
	switch {
	case !ok:
		return stranger
	case start != m.start:
		return gone // none has the pid, or another process has it now
	}
	return alive
}

// serial tells the locks of this Store from those of another one in the same process.
func (s *Store) serial() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mark == "" {
		var b [8]byte
		rand.Read(b[:]) // never fails
		s.mark = hex.EncodeToString(b[:])
	}
	return s.mark
}
