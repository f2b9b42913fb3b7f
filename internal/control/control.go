// Package control is what the program's verbs and the running server say to each
// other over the sockets below the data folder's run/.
//
// The supervisor listens on control.sock, each role on its own admin socket. Only
// root and the folder's owner are heard: the kernel tells the peer's uid. Everybody else
// finds manage.sock, the gate.
package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	pfs "github.com/postilion/postilion/internal/fs"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/netx/unixaddr"
	"github.com/postilion/postilion/internal/rpc"
)

// RunFolder is the folder of the sockets within the data folder.
const RunFolder = "run"

// Names of sockets that belong to no role.
const (
	Supervisor = "control"
)

// Methods of control.sock.
const (
	MethodStatus   = "control.status"
	MethodStop     = "control.stop"
	MethodRestart  = "control.restart"
	MethodRole     = "control.role" // a RoleCommand
	MethodReload   = "control.reload"
	MethodNow      = "control.now" // the time that the server goes by
	MethodPause    = "control.pause"
	MethodContinue = "control.continue"
	MethodFlush    = "control.flush"
)

// Status is what `status` prints.
type Status struct {
	Version   string           `json:"version"`
	Host      string           `json:"host"`
	Data      string           `json:"data"`
	PID       int              `json:"pid"`
	Started   time.Time        `json:"started"`
	Seconds   int64            `json:"seconds_up"`
	Single    bool             `json:"single_process"`
	Paused    bool             `json:"paused"`
	Reloaded  time.Time        `json:"reloaded,omitzero"` // when the configuration was last switched
	Roles     []Role           `json:"roles"`
	Listeners []ListenerStatus `json:"listeners"`
	Load      [3]float64       `json:"load"` // of 1, 5 and 15 minutes
	Notes     []string         `json:"notes,omitempty"`
}

// Role is one role's state.
type Role struct {
	Name     string         `json:"name"`
	State    string         `json:"state"` // "up", "starting", "hung", "down", "flapping", "stopping", "stopped", "paused"
	PID      int            `json:"pid"`
	UID      int            `json:"uid"`
	User     string         `json:"user,omitempty"`
	Seconds  int64          `json:"seconds_up"`
	Restarts int            `json:"restarts"`
	Last     string         `json:"last_exit,omitempty"`
	Facts    map[string]any `json:"facts,omitempty"` // what the role says of itself
}

// RoleCommand is what one role is told alone: "stop", "pause" or "continue".
type RoleCommand struct {
	Role    string `json:"role"`
	Command string `json:"command"`
}

// ListenerStatus is one address that is listened on.
type ListenerStatus struct {
	Name string `json:"name"`
	Addr string `json:"addr"`
}

// Reloaded is the answer to a reload.
type Reloaded struct {
	Changed      []string `json:"changed"`                 // keys in force now
	NeedsRestart []string `json:"needs_restart,omitempty"` // changed keys that only a restart brings into force
}

// ErrNotRunning is wrapped when no server serves the folder.
var ErrNotRunning = errors.New("no server is running on this data folder")

// SocketPath returns the path of a socket.
func SocketPath(data, name string) string {
	return filepath.Join(data, RunFolder, name+".sock")
}

// Dial connects to a socket of a running server. The error wraps ErrNotRunning when
// nobody listens there.
func Dial(ctx context.Context, data, name string) (net.Conn, error) {
	path := SocketPath(data, name)
	var c net.Conn
	err := unixaddr.Fit(path, func(short string) (err error) {
		c, err = new(net.Dialer).DialContext(ctx, "unix", short)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("%w: %s", ErrNotRunning, data)
	}
	return c, err
}

// Client returns a client of a running server's socket.
func Client(data, name string) *rpc.Client {
	return &rpc.Client{Dial: func(ctx context.Context) (net.Conn, error) { return Dial(ctx, data, name) }}
}

// Owners allows root, this process's uid, and the data folder's owner.
func Owners(data string) func(uid uint32) bool {
	self, owner := uint32(os.Getuid()), uint32(os.Getuid())
	if st, err := os.Stat(data); err == nil {
		if sys, ok := st.Sys().(*syscall.Stat_t); ok {
			owner = sys.Uid
		}
	}
	return func(uid uint32) bool { return uid == 0 || uid == self || uid == owner }
}

// LockFile is held by the server, or by a verb that works on a folder whose server is down.
const LockFile = "lock"

// Lock takes the data folder's lock. The error wraps fs.ErrLocked, and names the
// process that holds it where that is known.
func Lock(data string) (io.Closer, error) {
	dir, err := osfs.New(data)
	if err != nil {
		return nil, err
	}
	l, err := dir.Lock(LockFile)
	if errors.Is(err, pfs.ErrLocked) {
		return nil, fmt.Errorf("the data folder %s is in use%s: %w", data, holder(data), pfs.ErrLocked)
	}
	return l, err
}

// holder names the process that holds the lock, as " by process 12 (postilion)".
func holder(data string) string {
	p, known := LockHolder(data)
	if !known {
		return ""
	}
	return " by " + p.String()
}

// Process is one that holds a data folder's lock.
type Process struct {
	PID     int
	Name    string // "" where it cannot be found out
	Stopped bool   // by a signal: it does nothing until SIGCONT
}

// String names it.
func (p Process) String() string {
	if p.Name == "" {
		return fmt.Sprintf("process %d", p.PID)
	}
	return fmt.Sprintf("process %d (%s)", p.PID, p.Name)
}

// LockHolder returns the process that wrote itself into the data folder's lock last. Whether the lock is held, Lock tells.
func LockHolder(data string) (Process, bool) {
	text, err := os.ReadFile(filepath.Join(data, LockFile))
	if err != nil {
		return Process{}, false
	}
	pid, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 31)
	if err != nil {
		return Process{}, false
	}
	p := Process{PID: int(pid)}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return p, true
	}
	p.Name, p.Stopped = parseStat(string(stat))
	return p, true
}

// parseStat reads a process's name and state from a line of proc(5) stat: 12 (name) T ..., where a name can hold anything.
func parseStat(line string) (name string, stopped bool) {
	from, to := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
	if from < 0 || to < from {
		return "", false
	}
	state := strings.TrimSpace(line[to+1:])
	return line[from+1 : to], strings.HasPrefix(state, "T")
}
