package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/control/rolecall"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/rpc"
)

type none struct{}

// patience is how long the supervisor may take for an answer: it asks roles, which may hang themselves,
// for as long as the service's own patience, and prepares a reload in all of them.
func patience(method string) time.Duration {
	switch method {
	case control.MethodReload:
		return 30 * time.Second
	case control.MethodPause, control.MethodContinue, control.MethodFlush, control.MethodRole:
		return 15 * time.Second
	}
	return 5 * time.Second
}

// ask calls the running server's supervisor.
func ask[Req, Resp any](ctx context.Context, a *app, method string, req Req) (Resp, error) {
	cl := control.Client(a.data, control.Supervisor)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, patience(method))
	defer cancel()
	defer a.busy("asking the server")()
	resp, err := rpc.Do[Req, Resp](ctx, cl, method, req)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = a.hung(err)
	}
	return resp, err
}

// clockWait bounds how long a verb waits to be told the server's time.
const clockWait = time.Second

// now is the time that the server goes by, which --clock-offset moves; without one that tells it, the host's.
func (a *app) now(ctx context.Context) time.Time {
	ctx, cancel := context.WithTimeout(ctx, clockWait)
	defer cancel()
	cl := control.Client(a.data, control.Supervisor)
	defer cl.Close()
	if now, err := rpc.Do[none, time.Time](ctx, cl, control.MethodNow, none{}); err == nil {
		return now
	}
	return time.Now()
}

// hungError is a server that does not answer, or not in time.
type hungError struct{ text string }

// Error implements error.
func (e hungError) Error() string { return e.text }

// hung names the process of a server that does not answer, and tells what to do about it. A server that has gone
// meanwhile leaves err as it is.
func (a *app) hung(err error) error {
	lock, lockErr := control.Lock(a.data)
	if lockErr == nil {
		lock.Close()
		return err
	}
	p, known := control.LockHolder(a.data)
	if !known {
		return fmt.Errorf("the server does not answer: %w", lockErr)
	}
	return hungError{fmt.Sprintf("the server does not answer: %s %s. Should it answer again, it does what it was asked for", p, toWake(p))}
}

// toWake says what is wrong with a process that should have answered.
func toWake(p control.Process) string {
	if p.Stopped {
		return fmt.Sprintf("was stopped by a signal; `kill -CONT %d` lets it go on", p.PID)
	}
	return fmt.Sprintf("hangs, or is kept busy; wait, or end it with `kill %[1]d`, and if that does not help with `kill -9 %[1]d`", p.PID)
}

// aboutRole looks behind an error that names a hung role: with the whole server hung, or all roles in one process, the
// role cannot be restarted.
func (a *app) aboutRole(ctx context.Context, err error) error {
	if !rolecall.IsHung(err) {
		return err
	}
	name, _, _ := strings.Cut(err.Error(), ":")
	if a.as.address != "" {
		return hungError{name + ": try again later, or tell who runs the server"}
	}
	cl := control.Client(a.data, control.Supervisor)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience(control.MethodStatus)) // longer than it waits for a role
	defer cancel()
	s, askErr := rpc.Do[none, control.Status](ctx, cl, control.MethodStatus, none{})
	switch {
	case askErr != nil:
		return a.hung(err)
	case s.Single:
		return hungError{fmt.Sprintf("%s: all roles share process %d; `postilion restart` starts them anew", name, s.PID)}
	}
	return err
}

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Tell how the server and each of its roles is", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := ask[none, control.Status](c.Context(), a, control.MethodStatus, none{})
			if err != nil {
				return err
			}
			return a.show(s, func(w io.Writer) { a.printStatus(w, s) })
		},
	}
}

func (a *app) printStatus(w io.Writer, s control.Status) {
	fmt.Fprintf(w, "%s  version %s  pid %d  up %d seconds  load %.2f %.2f %.2f\n", escape(s.Host), s.Version, s.PID, s.Seconds, s.Load[0], s.Load[1], s.Load[2])
	fmt.Fprintf(w, "data folder %s\n", escape(s.Data))
	if s.Paused {
		fmt.Fprintf(w, "%s: deliveries do not start; `postilion continue` lets them\n", a.colour("yellow", "paused"))
	}
	for _, n := range s.Notes {
		fmt.Fprintf(w, "%s\n", a.colour("yellow", escape(n)))
	}
	fmt.Fprintln(w)
	var rows [][]string
	for _, r := range s.Roles {
		state := r.State
		user := strconv.Itoa(r.UID)
		if r.User != "" {
			user = r.User
		}
		rows = append(rows, []string{r.Name, state, strconv.Itoa(r.PID), user, strconv.FormatInt(r.Seconds, 10), strconv.Itoa(r.Restarts), facts(r.Facts)})
	}
	a.table(w, []string{"ROLE", "STATE", "PID", "USER", "SECONDS", "RESTARTS", "FACTS"}, rows)
	fmt.Fprintln(w)
	rows = nil
	for _, l := range s.Listeners {
		rows = append(rows, []string{l.Name, l.Addr})
	}
	a.table(w, []string{"LISTENER", "ADDRESS"}, rows)
	if rows = holders(s.Roles); len(rows) > 0 {
		fmt.Fprintln(w)
		a.table(w, []string{"MAILBOX", "HELD BY", "SINCE", "SESSION"}, rows)
	}
}

// holders lists the sessions that hold mailboxes, as the roles tell them.
func holders(roles []control.Role) (rows [][]string) {
	for _, r := range roles {
		list, _ := r.Facts["holders"].([]any)
		for _, h := range list {
			h, _ := h.(map[string]any)
			text := func(key string) string { s, _ := h[key].(string); return s }
			since, _, _ := strings.Cut(text("since"), ".") // seconds are enough
			rows = append(rows, []string{text("address"), text("protocol") + " " + text("client"), strings.TrimSuffix(since, "Z") + "Z", text("session")})
		}
	}
	return rows
}

// facts writes the simple ones in a line; lists are left to --json.
func facts(m map[string]any) string {
	var words []string
	for k, v := range m {
		switch v := v.(type) {
		case string, bool:
			words = append(words, fmt.Sprintf("%s=%v", k, v))
		case float64:
			words = append(words, fmt.Sprintf("%s=%s", k, strconv.FormatFloat(v, 'f', -1, 64)))
		case []any:
			words = append(words, fmt.Sprintf("%s=%d", k, len(v)))
		}
	}
	sort.Strings(words)
	return strings.Join(words, " ")
}

func (a *app) stopCommand() *cobra.Command {
	var most time.Duration
	c := &cobra.Command{
		Use: "stop [ROLE]", Short: "Stop the server, or one role until it is continued; sessions end after their command", Args: cobra.MaximumNArgs(1), ValidArgsFunction: oneOfRoles(),
		RunE: func(c *cobra.Command, args []string) error {
			if most <= 0 {
				return usageError{fmt.Errorf("--wait %v: want a duration such as 2m", most)}
			}
			if len(args) > 0 {
				return a.commandRole(c.Context(), args[0], "stop", "stopped")
			}
			if _, err := ask[none, none](c.Context(), a, control.MethodStop, none{}); err != nil {
				return err
			}
			if err := a.awaitStopped(c.Context(), most); err != nil {
				return err
			}
			return a.done("stopped")
		},
	}
	c.Flags().DurationVar(&most, "wait", 2*time.Minute, "wait at most so long for it to end")
	return c
}

// awaitStopped returns once the server is down: the lock is free.
func (a *app) awaitStopped(ctx context.Context, most time.Duration) error {
	defer a.busy("deliveries under way are waited for")()
	late := time.After(most)
	for {
		lock, err := control.Lock(a.data)
		if err == nil {
			return lock.Close()
		}
		p, _ := control.LockHolder(a.data)
		if p.Stopped {
			return hungError{fmt.Sprintf("the server is still stopping: %s %s", p, toWake(p))}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the server is still stopping: %w", err)
		case <-late:
			return hungError{fmt.Sprintf("the server is still stopping after %v: %s %s", most, p, toWake(p))}
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// commandRole tells one role alone what to do.
func (a *app) commandRole(ctx context.Context, name, command, done string) error {
	if _, err := role.Parse(name); err != nil {
		return usageError{err}
	}
	if _, err := ask[control.RoleCommand, none](ctx, a, control.MethodRole, control.RoleCommand{Role: name, Command: command}); err != nil {
		return err
	}
	return a.done("%s %s", done, name)
}

func (a *app) restartCommand() *cobra.Command {
	return &cobra.Command{
		Use: "restart [ROLE]", Short: "Restart the server, or one role; a mistake in the configuration changes nothing", Args: cobra.MaximumNArgs(1), ValidArgsFunction: oneOfRoles(),
		RunE: func(c *cobra.Command, args []string) error {
			name := strings.Join(args, "")
			if name != "" {
				if _, err := role.Parse(name); err != nil {
					return usageError{err}
				}
			}
			if _, err := ask[string, none](c.Context(), a, control.MethodRestart, name); err != nil {
				if _, wrong := a.readConfig(); name == "" && wrong != nil {
					return wrong // with the exit code of that
				}
				return err
			}
			if name == "" {
				name = "the server"
			}
			return a.done("restarting %s", name)
		},
	}
}

func (a *app) reloadCommand() *cobra.Command {
	return &cobra.Command{
		Use: "reload", Short: "Bring a changed configuration into force; a mistake in it changes nothing", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			// The file is checked here first, so that mistakes come with their lines.
			if _, err := a.readConfig(); err != nil {
				return err
			}
			r, err := ask[none, control.Reloaded](c.Context(), a, control.MethodReload, none{})
			if err != nil {
				return err
			}
			r.Changed = orEmpty(r.Changed)
			return a.show(r, func(w io.Writer) {
				if len(r.Changed)+len(r.NeedsRestart) == 0 {
					fmt.Fprintln(w, "reloaded; no key has changed")
				}
				for _, k := range r.Changed {
					fmt.Fprintf(w, "%s is in force\n", k)
				}
				for _, k := range r.NeedsRestart {
					fmt.Fprintf(w, "%s has changed and needs `postilion restart`\n", k)
				}
			})
		},
	}
}

func (a *app) simple(use, short, method, done string) *cobra.Command {
	return &cobra.Command{
		Use: use + " [ROLE]", Short: short, Args: cobra.MaximumNArgs(1), ValidArgsFunction: oneOfRoles(),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return a.commandRole(c.Context(), args[0], use, done)
			}
			if _, err := ask[none, none](c.Context(), a, method, none{}); err != nil {
				return err
			}
			return a.done("%s", done)
		},
	}
}

func (a *app) pauseCommand() *cobra.Command {
	return a.simple("pause", "Start no more deliveries; mail is still taken in and read. With a role: its process stands still", control.MethodPause, "paused")
}

func (a *app) continueCommand() *cobra.Command {
	return a.simple("continue", "Start deliveries again, or one role that was stopped or paused", control.MethodContinue, "continued")
}

func (a *app) flushCommand() *cobra.Command {
	return &cobra.Command{
		Use: "flush", Short: "Try every waiting message now", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			n, err := ask[none, int](c.Context(), a, control.MethodFlush, none{})
			if err != nil {
				return err
			}
			return a.done("%d recipients are tried now", n)
		},
	}
}
