package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/control/handed"
	"github.com/postilion/postilion/internal/datafolder"
	"github.com/postilion/postilion/internal/fs"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/policy"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/rpc"
	"github.com/postilion/postilion/internal/seam"
	"github.com/postilion/postilion/internal/serve"
	"github.com/postilion/postilion/internal/service/blocks"
	"github.com/postilion/postilion/internal/service/listen"
	"github.com/postilion/postilion/internal/service/owners"
	"github.com/postilion/postilion/internal/stats"
	"github.com/postilion/postilion/internal/submit"
	"github.com/postilion/postilion/internal/trace"
	"github.com/postilion/postilion/internal/trace/journal"
	"github.com/postilion/postilion/internal/trace/logs"
	"github.com/postilion/postilion/internal/trace/watch"
)

// process runs a set of roles in this process.
type process struct {
	cfg     *config.Config
	roles   []role.Role
	sockets listen.Bound
	clock   clock.Clock
	ids     id.Source
	log     *logs.Log
	data    fs.FS
	// allowRun and allowAdmin decide by uid who may use the roles' sockets.
	allowRun, allowAdmin, allowOffice func(uid uint32) bool

	table   *serve.Table
	rates   policy.Rates // of accounts that send
	parts   map[role.Role]*part
	started []*part // in order

	filters *submit.Filters // of all generations of the configuration

	handed map[string]*handed.Listener // connections that others accepted, by service

	here here // what this process's roles offer each other

	failed chan error // a part's end that nobody asked for
}

// part is one role at work.
type part struct {
	role     role.Role
	recorder trace.Recorder
	watch    *watch.Hub // for those who follow a message
	counters *stats.Counters
	blocks   *blocks.Blocks // of a role with listeners
	services []string       // what it listens for

	run   []func(ctx context.Context) error // until ctx ends
	close []func() error                    // in order, after run
	seam  map[string]rpc.Handler            // for other roles
	soon  map[string]rpc.Prompt             // the same, where nothing needs to wait
	admin map[string]rpc.Handler            // for the program's verbs
	// office is for role console, see officeMethods; nil is what admin has of them.
	office map[string]rpc.Handler
	facts  func(ctx context.Context) map[string]any
	alive  func(ctx context.Context) // asks what the role keeps something small, which a deadlock would never answer
	// prepare checks a new configuration and returns what brings it into force.
	prepare func(c *config.Config) (switchOver func(), err error)

	cancel context.CancelFunc
	done   sync.WaitGroup
}

// newProcess opens what all roles of a process share.
func newProcess(c *config.Config, roles []role.Role, sockets listen.Bound, offset time.Duration, stderr io.Writer) (*process, error) {
	p := &process{cfg: c, roles: roles, sockets: sockets, table: new(serve.Table),
		parts: map[role.Role]*part{}, handed: map[string]*handed.Listener{}, failed: make(chan error, 16), filters: newFilters(c)}
	p.clock = serverClock(offset)
	p.ids = id.Source{Clock: p.clock}
	name, file := "postilion", c.InData(c.Log.File)
	if len(roles) == 1 {
		name = string(roles[0])
		file += "." + name
	}
	var err error
	if p.log, err = logs.Open(logOptions(c, offset), name, file, stderr); err != nil {
		return nil, err
	}
	p.log.Events.SetLimits(p.limits())
	if c.Trial.Enabled { // qmail-queue is still the old system's
		p.filters.Told = func(command string) { p.log.Info("trial: a filter would have been run", "program", command) }
	}
	if p.data, err = osfs.New(c.Data); err != nil {
		return nil, err
	}
	return p, nil
}

// logOptions are the log's, with the clock that the server goes by.
func logOptions(c *config.Config, offset time.Duration) logs.Options {
	o := c.Log
	if offset != 0 {
		o.Now = serverClock(offset).Now
	}
	return o
}

// serverClock is what the server goes by: the system's clock, moved in a folder made for testing.
func serverClock(offset time.Duration) clock.Clock {
	if offset == 0 {
		return clock.System{}
	}
	return clock.Offset{Clock: clock.System{}, By: offset}
}

// limits are how many deliveries run at once, as qmail's status lines tell them.
func (p *process) limits() (local, remote int) {
	return max(cmp.Or(p.cfg.Dispatch.LocalParallel, 100), 0), max(cmp.Or(p.cfg.Dispatch.RemoteParallel, 500), 0)
}

// starters makes each role's part. It opens everything; run only works.
var starters = map[role.Role]func(*process, context.Context, *part) error{
	role.Directory: (*process).startDirectory,
	role.Auth:      (*process).startAuth,
	role.Local:     (*process).startLocal,
	role.Remote:    (*process).startRemote,
	role.Queue:     (*process).startQueue,
	role.SMTPD:     (*process).startSMTPD,
	role.Access:    (*process).startAccess,
	role.Console:   (*process).startConsole,
}

// start starts the roles in order. After an error everything is stopped again.
func (p *process) start(ctx context.Context) error {
	for _, r := range role.All() {
		if !slices.Contains(p.roles, r) {
			continue
		}
		part := &part{role: r, admin: map[string]rpc.Handler{}, seam: map[string]rpc.Handler{}}
		if err := p.startEvents(part); err != nil {
			p.stop()
			return fmt.Errorf("role %s: %w", r, err)
		}
		p.parts[r] = part
		if r != role.Directory {
			p.followDirectory(part)
		}
		if err := starters[r](p, ctx, part); err != nil {
			for _, c := range slices.Backward(part.close) {
				c()
			}
			p.stop()
			return fmt.Errorf("role %s: %w", r, err)
		}
		p.takeHanded(part)
		p.serveSockets(part)
		p.launch(part)
	}
	return nil
}

// prepareNow runs a part's own prepare for its start.
func prepareNow(part *part, c *config.Config) error {
	switchOver, err := part.prepare(c)
	if err == nil {
		switchOver()
	}
	return err
}

// launch sets a part to work.
func (p *process) launch(part *part) {
	ctx, cancel := context.WithCancel(context.Background())
	part.cancel = cancel
	p.started = append(p.started, part)
	for _, run := range part.run {
		part.done.Go(func() {
			if err := run(ctx); ctx.Err() == nil {
				if err == nil {
					err = errors.New("ended by itself")
				}
				select {
				case p.failed <- fmt.Errorf("role %s: %w", part.role, err):
				default: // one is enough
				}
			}
		})
	}
}

// stop ends the roles in the opposite order of their start, each when it is done.
func (p *process) stop() {
	for _, part := range slices.Backward(p.started) {
		part.cancel()
		part.done.Wait()
		for _, c := range part.close {
			if err := c(); err != nil {
				p.log.Error("closing", "part", part.role, "error", err)
			}
		}
	}
	p.started = nil
	if c, ok := p.here.runas.(io.Closer); ok {
		if err := c.Close(); err != nil {
			p.log.Error("closing", "part", role.RunAs, "error", err)
		}
		p.here.runas = nil
	}
}

// serveSockets serves a role's seam and admin sockets where this process has them.
func (p *process) serveSockets(part *part) {
	p.addCommon(part)
	for _, s := range []struct {
		name     string
		handlers map[string]rpc.Handler
		prompts  map[string]rpc.Prompt
		allow    func(uint32) bool
	}{
		{string(part.role), part.seam, part.soon, p.allowRun},
		{part.role.AdminSocket(), part.admin, nil, p.allowAdmin},
		{part.role.OfficeSocket(), officeHandlers(part), nil, p.allowOffice},
	} {
		server := &rpc.Server{Handlers: s.handlers, Prompts: s.prompts, Allow: s.allow,
			Log: func(err error) { p.log.Debug("a caller's connection broke", "role", part.role, "error", err) }}
		for _, l := range p.sockets.Named(s.name) {
			part.run = append(part.run, func(ctx context.Context) error { return server.Serve(ctx, l) })
		}
	}
}

// startEvents gives a role its journal, counters and log, as one recorder.
func (p *process) startEvents(part *part) error {
	dir, err := p.folder("events/" + string(part.role))
	if err != nil {
		return err
	}
	j := journal.New(dir, p.cfg.Events, p.clock, p.log.Logger)
	part.run = append(part.run, j.Run)
	part.counters = p.openCounters(dir, part)
	part.watch = new(watch.Hub)
	part.recorder = trace.Tee{j, part.counters, p.log.Events, part.watch}
	return nil
}

// openCounters continues the role's counts and saves them now and then.
func (p *process) openCounters(dir fs.FS, part *part) *stats.Counters {
	const file, every = datafolder.CountersFile, 5 * time.Second
	c, err := stats.Load(dir, file, p.clock)
	if err != nil {
		p.log.Warn("the counters begin at zero", "role", part.role, "error", err)
		c = stats.New(p.clock)
	}
	save := func() error { return c.Save(dir, file) }
	part.run = append(part.run, func(ctx context.Context) error {
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-t.C:
				if err := save(); err != nil {
					p.log.Warn("the counters could not be saved", "role", part.role, "error", err)
				}
			}
		}
	})
	part.close = append(part.close, save)
	return c
}

// has reports whether this process runs the role.
func (p *process) has(r role.Role) bool { return slices.Contains(p.roles, r) }

// client returns a client of another role's socket.
func (p *process) client(r role.Role) *seam.Client {
	data := p.cfg.Data
	return seam.NewClient(func(ctx context.Context) (net.Conn, error) { return control.Dial(ctx, data, string(r)) })
}

// logger returns the process's log for a role.
func (p *process) logger() *slog.Logger { return p.log.Logger }

// folder returns a folder of the data folder as a file system; it makes it where it is missing.
func (p *process) folder(name string) (fs.FS, error) {
	if err := p.data.MkdirAll(name, 0o700); err != nil {
		return nil, err
	}
	return p.data.Sub(name)
}

// mailFolder returns the Maildirs' tree. Where local and access are processes of their
// own it is shared with the group.
func (p *process) mailFolder() (fs.FS, error) {
	mail, err := p.folder("mail")
	if err != nil || p.has(role.Local) && p.has(role.Access) {
		return mail, err
	}
	syscall.Umask(0o007)
	return owners.SharedMail(mail), nil
}
