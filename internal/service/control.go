package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/control/queueadmin"
	"github.com/postilion/postilion/internal/qmail/supervise"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/rpc"
	"github.com/postilion/postilion/internal/service/listen"
	"github.com/postilion/postilion/internal/service/owners"
)

// This file answers the verbs that concern the whole server, on the supervisor's socket.

// controlHandlers answers the verbs that concern the whole server.
func (n *Node) controlHandlers() map[string]rpc.Handler {
	return map[string]rpc.Handler{
		control.MethodStatus: rpc.Handle(func(ctx context.Context, _ none) (control.Status, error) { return n.Status(ctx), nil }),
		control.MethodNow:    rpc.Handle(func(context.Context, none) (time.Time, error) { return serverClock(n.opts.ClockOffset).Now(), nil }),
		control.MethodStop: rpc.Handle(func(context.Context, none) (none, error) {
			n.stopSoon()
			return none{}, nil
		}),
		control.MethodRestart: rpc.Handle(func(_ context.Context, r string) (none, error) { return none{}, n.restart(r) }),
		control.MethodRole: rpc.Handle(func(_ context.Context, q control.RoleCommand) (none, error) {
			return none{}, n.commandRole(q)
		}),
		control.MethodReload: rpc.Handle(func(ctx context.Context, _ none) (control.Reloaded, error) { return n.reload(ctx) }),
		control.MethodPause: rpc.Handle(func(ctx context.Context, _ none) (none, error) {
			return none{}, n.setPaused(ctx, true)
		}),
		control.MethodContinue: rpc.Handle(func(ctx context.Context, _ none) (none, error) {
			return none{}, n.setPaused(ctx, false)
		}),
		control.MethodFlush: rpc.Handle(func(ctx context.Context, _ none) (int, error) {
			return queueadmin.Flush(ctx, n.cfg.Data)
		}),
	}
}

func (n *Node) setPaused(ctx context.Context, paused bool) error {
	err := queueadmin.Pause(ctx, n.cfg.Data, paused)
	if err == nil {
		n.mu.Lock()
		n.paused = paused
		n.mu.Unlock()
	}
	return err
}

// stopSoon stops the server once the answer to who asked for it is on its way.
func (n *Node) stopSoon() { time.AfterFunc(50*time.Millisecond, n.stop) }

// restart starts one role's process anew, or with "" the whole server. With a mistake in the configuration nothing changes.
func (n *Node) restart(name string) error {
	if name == "" {
		if err := n.checkRestart(); err != nil {
			return err
		}
		n.again.Store(true)
		n.stopSoon()
		return nil
	}
	r, err := role.Parse(name)
	if err != nil {
		return err
	}
	if n.sup == nil {
		return fmt.Errorf("all roles share one process: role %s cannot be restarted alone; use restart without a role", r)
	}
	return n.sup.Restart(r)
}

// checkRestart tells what would keep the server from coming up again, so that it need not go down for it. Where the program was
// replaced, its successor knows better.
func (n *Node) checkRestart() error {
	if exe, err := os.Readlink("/proc/self/exe"); err != nil || strings.HasSuffix(exe, " (deleted)") {
		return nil
	}
	f, err := config.Read(n.opts.Config, n.opts.Flags)
	if err != nil {
		return err
	}
	ids := apart(f.Config, n.opts)
	return errors.Join(owners.CheckFiles(f, ids, n.log), listen.Check(sockets(f.Config), n.sockets, n.passed))
}

// commandRole is control.MethodRole.
func (n *Node) commandRole(q control.RoleCommand) error {
	r, err := role.Parse(q.Role)
	if err != nil {
		return err
	}
	if n.sup == nil {
		return fmt.Errorf("all roles share one process: role %s cannot be commanded alone", r)
	}
	list := map[string][]supervise.Command{
		"stop": {supervise.Stop}, "pause": {supervise.Pause}, "continue": {supervise.Continue, supervise.Up},
	}[q.Command]
	if list == nil {
		return fmt.Errorf("there is no command %q for a role: want stop, pause or continue", q.Command)
	}
	for _, c := range list {
		if err := n.sup.Obey(r, c); err != nil {
			return err
		}
	}
	return nil
}

// serviceTree is where the folders of the roles are.
func serviceTree(data string) string { return filepath.Join(data, "service") }
