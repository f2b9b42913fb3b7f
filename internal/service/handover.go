package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/service/limits"
	"github.com/postilion/postilion/internal/service/listen"
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
	Role        role.Role         `json:"role"`
	Config      string            `json:"config"` // its part of the configuration, as TOML
	Sockets     []listen.Socket   `json:"sockets"`
	ClockOffset time.Duration     `json:"clock_offset"`
	Callers     []int             `json:"callers"`          // the uids of the roles, which may use its seam's socket
	Office      int               `json:"office"`           // the uid of role console, which may use its office socket
	Roles       map[role.Role]int `json:"roles,omitempty"`  // which uid is whose, for role runas
	Groups      []int             `json:"groups,omitempty"` // the server's own gids, for role runas
}

// roleCommand makes the process of one role.
func (n *Node) roleCommand(r role.Role) (*exec.Cmd, func(), error) {
	n.mu.Lock()
	cfg := n.cfg
	n.mu.Unlock()
	text, err := forRole(cfg, r).Encode(groupsOf(r)...)
	if err != nil {
		return nil, nil, err
	}
	h := handover{Role: r, Config: string(text), ClockOffset: n.opts.ClockOffset, Office: n.ids.Of(role.Console).UID}
	for _, other := range role.All() {
		h.Callers = append(h.Callers, n.ids.Of(other).UID)
	}
	if r == role.RunAs {
		h.Roles = map[role.Role]int{}
		for _, other := range role.All() {
			h.Roles[other] = n.ids.Of(other).UID
		}
		h.Groups = n.ids.GIDs()
	}
	told, tell, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	// The binary may lie in a folder that the role's uid cannot reach: the link in
	// proc(5) leads to it nevertheless.
	cmd := exec.Command("/proc/self/exe", "role", string(r))
	cmd.Args[0] = "postilion"
	cmd.Stdout, cmd.Stderr = n.opts.Stderr, n.opts.Stderr
	cmd.Dir = "/"
	cmd.Env = roleEnv()
	cmd.ExtraFiles = []*os.File{told}
	for _, l := range n.sockets {
		if l.Role == r {
			cmd.ExtraFiles = append(cmd.ExtraFiles, n.files[l.Listener])
			h.Sockets = append(h.Sockets, l.Socket)
		}
	}
	id := n.ids.Of(r)
	groups := make([]uint32, len(id.Groups))
	for i, g := range id.Groups {
		groups[i] = uint32(g)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:    true, // a terminal's Ctrl-C is the supervisor's to handle
		Credential: &syscall.Credential{Uid: uint32(id.UID), Gid: uint32(id.GID), Groups: groups},
	}
	started := func() {
		told.Close()
		n.keepPipe(r, tell)
		go json.NewEncoder(tell).Encode(h) // a role that does not read is found by its being down
	}
	return cmd, started, nil
}

// keepPipe keeps the pipe to a role's present process open, and closes the last one's.
func (n *Node) keepPipe(r role.Role, w *os.File) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if old := n.pipes[r]; old != nil {
		old.Close()
	}
	n.pipes[r] = w
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
	r, err := role.Parse(name)
	if err != nil {
		return err
	}
	// The program's name in ps(1) would be that of the link it was started by.
	_ = os.WriteFile("/proc/self/comm", []byte("postilion"), 0)
	if r == role.RunAs {
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
	if err := decoder.Decode(&h); err != nil || h.Role != r {
		return fmt.Errorf("this verb is for the supervisor, which starts roles by itself: use serve (%w)", errors.Join(err, errors.New("no handover")))
	}
	f, err := config.Decode("handover", []byte(h.Config))
	if err != nil {
		return err
	}
	sockets, err := listen.Inherit(firstSocket, h.Sockets)
	if err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer cancel()
	if r != role.RunAs { // whose programs would inherit it
		signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	}
	go func() {
		io.Copy(io.Discard, pipe) // until the supervisor is gone
		cancel()
	}()
	if r == role.RunAs {
		return serveRunas(ctx, f.Config, h, sockets, stderr)
	}
	p, err := newProcess(f.Config, []role.Role{r}, sockets, h.ClockOffset, stderr)
	if err != nil {
		return err
	}
	p.allowRun = callers(h.Callers)
	p.allowAdmin = control.Owners(f.Data)
	p.allowOffice = callers([]int{h.Office})
	return p.run(ctx)
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
	limits.Set(p.cfg.Process, p.logger())
	floor := limits.FloorHeap(p.cfg.Process)
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
