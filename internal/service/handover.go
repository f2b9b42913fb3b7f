package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/control"
)

// A role's process is this program again, started with `role NAME`. On descriptor 3 it
// is told what to do; the other end of that pipe stays open in the supervisor, so that its
// end tells that the supervisor is gone. Its listeners follow from descriptor 4 on.
const (
	handoverFD  = 3
	firstSocket = 4
)

// handover is what a role's process is told.
type handover struct {
	Role        Role          `json:"role"`
	Config      string        `json:"config"` // its part of the configuration, as TOML
	Sockets     []socket      `json:"sockets"`
	ClockOffset time.Duration `json:"clock_offset"`
	Callers     []int         `json:"callers"`          // the uids of the roles, which may use its seam's socket
	Office      int           `json:"office"`           // the uid of role console, which may use its office socket
	Roles       map[Role]int  `json:"roles,omitempty"`  // which uid is whose, for role runas
	Groups      []int         `json:"groups,omitempty"` // the server's own gids, for role runas
}

// roleCommand makes the process of one role.
func (n *Node) roleCommand(role Role) (*exec.Cmd, func(), error) {
	n.mu.Lock()
	cfg := n.cfg
	n.mu.Unlock()
	text, err := forRole(cfg, role).Encode(groupsOf(role)...)
	if err != nil {
		return nil, nil, err
	}
	h := handover{Role: role, Config: string(text), ClockOffset: n.opts.ClockOffset, Office: n.ids.roles[Console].UID}
	for _, r := range allRoles {
		h.Callers = append(h.Callers, n.ids.roles[r].UID)
	}
	if role == RunAs {
		h.Roles = map[Role]int{}
		for _, r := range allRoles {
			h.Roles[r] = n.ids.roles[r].UID
		}
		h.Groups = n.ids.groups()
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	// The binary may lie in a folder that the role's uid cannot reach: the link in
	// proc(5) leads to it nevertheless.
	cmd := exec.Command("/proc/self/exe", "role", string(role))
	cmd.Args[0] = "postilion"
	cmd.Stdout, cmd.Stderr = n.opts.Stderr, n.opts.Stderr
	cmd.Dir = "/"
	cmd.Env = roleEnv()
	cmd.ExtraFiles = []*os.File{r}
	for _, l := range n.sockets {
		if l.Role == role {
			cmd.ExtraFiles = append(cmd.ExtraFiles, n.files[l.Listener])
			h.Sockets = append(h.Sockets, l.socket)
		}
	}
	id := n.ids.roles[role]
	groups := make([]uint32, len(id.Groups))
	for i, g := range id.Groups {
		groups[i] = uint32(g)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:    true, // a terminal's Ctrl-C is the supervisor's to handle
		Credential: &syscall.Credential{Uid: uint32(id.UID), Gid: uint32(id.GID), Groups: groups},
	}
	started := func() {
		r.Close()
		// Handing a descriptor over may have made it blocking for all who share it.
		for _, f := range cmd.ExtraFiles[1:] {
			if c, err := f.SyscallConn(); err == nil {
				c.Control(func(fd uintptr) { unix.SetNonblock(int(fd), true) })
			}
		}
		n.keepPipe(role, w)
		go json.NewEncoder(w).Encode(h) // a role that does not read is found by its being down
	}
	return cmd, started, nil
}

// keepPipe keeps the pipe to a role's present process open, and closes the last one's.
func (n *Node) keepPipe(role Role, w *os.File) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if old := n.pipes[role]; old != nil {
		old.Close()
	}
	n.pipes[role] = w
}

// roleEnv is the little of the environment that a role's process needs.
func roleEnv() []string {
	env := []string{"PATH=/usr/local/bin:/usr/bin:/bin"}
	for _, name := range []string{"TZ", "GOMAXPROCS", "GODEBUG", "GOTRACEBACK", "GOCOVERDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// RunRole is the main function of a role's process.
func RunRole(ctx context.Context, name string, stderr io.Writer) error {
	role, err := ParseRole(name)
	if err != nil {
		return err
	}
	// The program's name in ps(1) would be that of the link it was started by.
	_ = os.WriteFile("/proc/self/comm", []byte("postilion"), 0)
	if role == RunAs {
		if err := giveUpRights(); err != nil {
			return err
		}
	}
	pipe := os.NewFile(handoverFD, "handover")
	if pipe == nil {
		return errors.New("this verb is for the supervisor, which starts roles by itself: use serve")
	}
	decoder := json.NewDecoder(pipe)
	var h handover
	if err := decoder.Decode(&h); err != nil || h.Role != role {
		return fmt.Errorf("this verb is for the supervisor, which starts roles by itself: use serve (%w)", errors.Join(err, errors.New("no handover")))
	}
	f, err := config.Decode("handover", []byte(h.Config))
	if err != nil {
		return err
	}
	sockets, err := inherit(h.Sockets)
	if err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer cancel()
	if role != RunAs { // whose programs would inherit it
		signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	}
	go func() {
		io.Copy(io.Discard, pipe) // until the supervisor is gone
		cancel()
	}()
	if role == RunAs {
		return serveRunas(ctx, f.Config, h, sockets, stderr)
	}
	p, err := newProcess(f.Config, []Role{role}, sockets, h.ClockOffset, stderr)
	if err != nil {
		return err
	}
	p.allowRun = callers(h.Callers)
	p.allowAdmin = control.Owners(f.Data)
	p.allowOffice = callers([]int{h.Office})
	return p.run(ctx)
}

// inherit takes over the listeners that the supervisor passed.
func inherit(sockets []socket) (all bound, err error) {
	for i, s := range sockets {
		f := os.NewFile(uintptr(firstSocket+i), s.Name)
		l, err := net.FileListener(f)
		f.Close()
		if err != nil {
			all.close()
			return nil, fmt.Errorf("listener %s: %w", s.Name, err)
		}
		if u, ok := l.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false)
		}
		all = append(all, listener{s, l})
	}
	return all, nil
}

// callers allows root and the uids of the roles.
func callers(uids []int) func(uint32) bool {
	allowed := map[uint32]bool{0: true}
	for _, u := range uids {
		allowed[uint32(u)] = true
	}
	return func(uid uint32) bool { return allowed[uid] }
}

// run starts the roles, waits for ctx or a failure, and stops them.
func (p *process) run(ctx context.Context) error {
	setLimits(p.cfg.Process, p.logger())
	floor := floorHeap(p.cfg.Process)
	defer runtime.KeepAlive(floor)
	defer p.log.Close()
	if err := p.start(ctx); err != nil {
		return err
	}
	defer p.stop()
	select {
	case <-ctx.Done():
		return nil
	case err := <-p.failed:
		return err
	}
}
