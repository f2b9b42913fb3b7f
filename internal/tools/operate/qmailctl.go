package operate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/tools/admin"
	"github.com/postilion/postilion/internal/tools/injection"
	"github.com/postilion/postilion/internal/tools/tool"
)

const help = `   stop -- stops mail service (smtp connections refused, nothing goes out)
  start -- starts mail service (smtp connection accepted, mail can go out)
  pause -- temporarily stops mail service (connections accepted, nothing leaves)
   cont -- continues paused mail service
   stat -- displays status of mail service
    cdb -- rebuild the tcpserver cdb file for smtp
restart -- stops mail service and starts it again
doqueue -- schedules queued messages for immediate delivery
 reload -- rereads the configuration
  queue -- shows status of queue
   alrm -- same as doqueue
  flush -- same as doqueue
    hup -- same as reload
`

// ctl is one run of qmailctl.
type ctl struct {
	e *tool.Env
}

// qmailctl is the control script of Life with qmail (qmail reference 26).
func qmailctl(ctx context.Context, e *tool.Env) int {
	c := &ctl{e}
	verb := ""
	if len(e.Args) > 1 {
		verb = e.Args[1]
	}
	switch verb {
	case "start":
		return c.start(ctx)
	case "stop":
		return c.stop(ctx)
	case "restart":
		return c.restart(ctx)
	case "doqueue", "alrm", "flush":
		return c.flush(ctx)
	case "reload", "hup":
		return c.reload(ctx)
	case "pause":
		return c.simple(ctx, "Pausing deliveries", control.MethodPause)
	case "cont":
		return c.simple(ctx, "Continuing deliveries", control.MethodContinue)
	case "stat", "status":
		return c.stat(ctx)
	case "queue":
		if code := qstat(ctx, e); code != tool.OK {
			return code
		}
		return injection.Qread(ctx, e)
	case "cdb":
		return c.cdb()
	case "help":
		c.say(help)
		return tool.OK
	}
	fmt.Fprintf(e.Errs(), "Usage: %s {start|stop|restart|doqueue|flush|reload|stat|pause|cont|cdb|queue|help}\n", e.Name())
	return 1
}

// say tells the operator; an output that is gone changes nothing of what is done.
func (c *ctl) say(text string) { _, _ = io.WriteString(c.e.Out(), text) }

// simple asks for something that has no answer.
func (c *ctl) simple(ctx context.Context, what, method string) int {
	c.say(what + "\n")
	if _, err := ask[none, none](ctx, c.e, control.Supervisor, method, none{}); err != nil {
		return unreachable(c.e, err)
	}
	return tool.OK
}

// stop stops the server, and says so when a supervise above it will start it again at once.
func (c *ctl) stop(ctx context.Context) int {
	s, err := ask[none, control.Status](ctx, c.e, control.Supervisor, control.MethodStatus, none{})
	if err != nil {
		return unreachable(c.e, err)
	}
	folder := supervisedIn(s.PID)
	code := c.simple(ctx, "Stopping mail service...", control.MethodStop)
	if code == tool.OK && folder != "" {
		c.say("supervise starts it again at once; `svc -d " + tool.Printable(folder) + "` stops it, `svc -u` there starts it\n")
	}
	return code
}

// supervisedIn returns the folder where supervise runs the process, empty when it does not.
func supervisedIn(pid int) string {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(status), "\nPPid:\t")
	parent, _, _ := strings.Cut(rest, "\n")
	name, err := os.ReadFile("/proc/" + parent + "/comm")
	if err != nil || strings.TrimSpace(string(name)) != "supervise" {
		return ""
	}
	folder, err := os.Readlink("/proc/" + parent + "/cwd")
	if err != nil {
		return ""
	}
	return folder
}

// restart starts the server anew: everything of it, as an empty role's name asks.
func (c *ctl) restart(ctx context.Context) int {
	c.say("Restarting mail service\n")
	_, err := ask[string, none](ctx, c.e, control.Supervisor, control.MethodRestart, "")
	if errors.Is(err, control.ErrNotRunning) {
		return c.start(ctx)
	}
	if err != nil {
		return unreachable(c.e, err)
	}
	return tool.OK
}

// flush tries everything now, hosts that timed out too.
func (c *ctl) flush(ctx context.Context) int {
	c.say("Flushing timeout table and trying all queued messages now.\n")
	n, err := ask[none, int](ctx, c.e, control.Supervisor, control.MethodFlush, none{})
	if err != nil {
		return unreachable(c.e, err)
	}
	c.say(fmt.Sprintf("%d deliveries are due now.\n", n))
	return tool.OK
}

func (c *ctl) reload(ctx context.Context) int {
	c.say("Rereading the configuration.\n")
	r, err := ask[none, control.Reloaded](ctx, c.e, control.Supervisor, control.MethodReload, none{})
	if err != nil {
		return unreachable(c.e, err)
	}
	for _, key := range r.Changed {
		c.say("changed: " + tool.Printable(key) + "\n")
	}
	for _, key := range r.NeedsRestart {
		c.say("in force after a restart: " + tool.Printable(key) + "\n")
	}
	return tool.OK
}

// stat tells of each role as svstat does of a service, then counts the queue.
func (c *ctl) stat(ctx context.Context) int {
	s, err := ask[none, control.Status](ctx, c.e, control.Supervisor, control.MethodStatus, none{})
	if err != nil {
		return unreachable(c.e, err)
	}
	for _, r := range s.Roles {
		line := fmt.Sprintf("%s: %s", r.Name, r.State)
		if r.PID != 0 {
			line += fmt.Sprintf(" (pid %d)", r.PID)
		}
		line += fmt.Sprintf(" %d seconds", r.Seconds)
		if s.Paused && r.Name == "queue" {
			line += ", paused"
		}
		if r.Last != "" && r.State != "up" {
			line += ", " + tool.Printable(r.Last)
		}
		c.say(line + "\n")
	}
	return qstat(ctx, c.e)
}

// cdb compiles /etc/tcp.smtp.
func (c *ctl) cdb() int {
	root := c.e.Getenv("POSTILION_ROOT")
	src, err := os.Open(root + "/etc/tcp.smtp")
	if err != nil {
		return c.e.Fatal(tool.Temporary, "unable to read /etc/tcp.smtp: ", err)
	}
	defer src.Close()
	run := *c.e
	run.Args = []string{"tcprules", root + "/etc/tcp.smtp.cdb", root + "/etc/tcp.smtp.tmp"}
	run.Stdin = src
	if code := admin.CompileRules(&run); code != tool.OK {
		return code
	}
	if err := os.Chmod(root+"/etc/tcp.smtp.cdb", 0o644); err != nil {
		return c.e.Fatal(tool.Temporary, "unable to chmod /etc/tcp.smtp.cdb: ", err)
	}
	c.say("Reloaded /etc/tcp.smtp.\n")
	return tool.OK
}

// startTime is how long the server may take until it answers.
const startTime = 30 * time.Second

// start starts the server: by systemd where that knows it, else as a process of its own.
func (c *ctl) start(ctx context.Context) int {
	if _, err := ask[none, control.Status](ctx, c.e, control.Supervisor, control.MethodStatus, none{}); err == nil {
		c.say("The mail service runs already.\n")
		return tool.OK
	}
	c.say("Starting mail service\n")
	if unit, ok := c.unit(ctx); ok {
		cmd, err := c.e.Command(ctx, []string{"systemctl", "start", unit})
		if err == nil {
			err = cmd.Run()
		}
		if err != nil {
			return c.e.Fatal(tool.Temporary, "systemctl start ", unit, ": ", err)
		}
		return tool.OK
	}
	return c.spawn(ctx)
}

// unit is the server's unit of systemd, if there is one.
func (c *ctl) unit(ctx context.Context) (string, bool) {
	if c.e.Getenv("POSTILION_DATA") != "" || c.e.Getenv("POSTILION_ROOT") != "" {
		return "", false // not the system's own server
	}
	cmd, err := c.e.Command(ctx, []string{"systemctl", "cat", "postilion.service"})
	if err != nil {
		return "", false
	}
	cmd.Stdout, cmd.Stderr = nil, nil
	return "postilion.service", cmd.Run() == nil
}

// spawn runs `postilion serve` in a session of its own and waits until it answers.
func (c *ctl) spawn(ctx context.Context) int {
	data := dataFolder(c.e)
	name := data + "/start.log"
	out, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return c.e.Fatal(tool.Temporary, "unable to write ", name, ": ", err)
	}
	defer out.Close()
	cmd, err := c.e.Command(context.WithoutCancel(ctx), []string{c.program(), "serve", "--data", data})
	if err == nil {
		cmd.Stdout, cmd.Stderr = out, out
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		err = cmd.Start()
	}
	if err != nil {
		return c.e.Fatal(tool.Temporary, "unable to run postilion: ", err)
	}
	return c.await(ctx, cmd, name)
}

// await waits until the server answers or has ended.
func (c *ctl) await(ctx context.Context, cmd *exec.Cmd, log string) int {
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		if _, err := ask[none, control.Status](ctx, c.e, control.Supervisor, control.MethodStatus, none{}); err == nil {
			return tool.OK
		}
		select {
		case <-ended:
			b, err := tool.ReadAtMost(log, 4<<10)
			if err == nil {
				_, _ = c.e.Errs().Write(b)
			}
			return c.e.Fatal(tool.Temporary, "the server ended while it started")
		default:
		}
		if err := c.e.Sleep(ctx, 100*time.Millisecond); err != nil {
			return c.e.Fatal(tool.Temporary, "the server does not answer; see ", log)
		}
	}
}

// program is the server's: beside this one, else along the path.
func (c *ctl) program() string {
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), "postilion")
		if st, err := os.Stat(beside); err == nil && st.Mode()&0o111 != 0 && !strings.HasSuffix(self, ".test") {
			return beside
		}
	}
	return "postilion"
}
