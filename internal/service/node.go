// Package service wires the parts into a running server: who runs the roles and as whom,
// what they listen on, and how they find each other.
//
// A process runs any set of roles. What it needs of a role that it does not run
// itself it reaches over that role's socket, so that one process, one process per
// role, and anything between are the same code.
package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/control/queueadmin"
	"github.com/postilion/postilion/internal/datafolder"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/rpc"
	"github.com/postilion/postilion/internal/service/certs"
	"github.com/postilion/postilion/internal/service/limits"
	"github.com/postilion/postilion/internal/service/listen"
	"github.com/postilion/postilion/internal/service/owners"
	"github.com/postilion/postilion/internal/service/supervisor"
	"github.com/postilion/postilion/internal/trace/logs"
)

// Options steer a Node.
type Options struct {
	Config      string        // the configuration's path
	Flags       []string      // key=value, which go before the file
	Single      bool          // all roles in this process, also as root
	ClockOffset time.Duration // moves the clock; only in a folder made for testing
	Version     string
	Stderr      io.Writer
	// Ready is called once everything listens.
	Ready func([]control.ListenerStatus)
}

// Node is a running server: its listeners, and the roles in this process or in
// processes of their own.
type Node struct {
	opts    Options
	log     *slog.Logger
	ids     *owners.IDs // nil in a single process
	sockets listen.Bound
	passed  []*os.File                // by systemd, for the next one after a restart
	files   map[net.Listener]*os.File // the sockets' descriptors, to hand over
	started time.Time
	lock    io.Closer
	sup     *supervisor.Supervisor // nil in a single process
	proc    *process               // nil with roles apart
	signals chan os.Signal

	mu       sync.Mutex
	cfg      *config.Config
	file     *config.File // as read last
	began    *config.File // as the server began with
	pipes    map[role.Role]*os.File
	reloaded time.Time
	paused   bool
	stop     context.CancelFunc
	again    atomic.Bool // start anew after the stop, unless
	final    atomic.Bool // a signal has asked for the end
}

// ErrRestart is Run's error when the whole server is to be started anew.
var ErrRestart = errors.New("restart")

// Open reads the configuration, takes the data folder, and binds every listener. The error
// tells everything that is wrong with the configuration or the listeners at once.
func Open(o Options) (*Node, error) {
	f, err := config.Read(o.Config, o.Flags)
	if err != nil {
		return nil, err
	}
	n := &Node{opts: o, cfg: f.Config, file: f, began: f, started: time.Now(), pipes: map[role.Role]*os.File{}, files: map[net.Listener]*os.File{}}
	n.log = logs.Direct(logOptions(f.Config, o.ClockOffset), "supervisor", o.Stderr)
	if err := n.checkOffset(); err != nil {
		return nil, err
	}
	if n.ids = apart(f.Config, o); n.ids != nil {
		if err := owners.CheckReachable(f.Data); err != nil {
			return nil, err
		}
	}
	if n.lock, err = datafolder.Take(f.Data); err != nil {
		return nil, err
	}
	if err := datafolder.CheckOwner(f.Data); err != nil {
		n.Close()
		return nil, err
	}
	if err := n.prepare(); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// apart returns who the roles run as; nil is all in one process.
func apart(c *config.Config, o Options) *owners.IDs {
	if os.Getuid() != 0 || o.Single || c.Process.Single {
		return nil
	}
	return owners.New(c.Process.UIDBase)
}

func (n *Node) checkOffset() error {
	if n.opts.ClockOffset == 0 {
		return nil
	}
	testing, err := datafolder.IsTesting(n.cfg.Data)
	if err == nil && !testing {
		err = fmt.Errorf("--clock-offset is only for data folders made with quickstart --for-testing; %s is not one", n.cfg.Data)
	}
	return err
}

// prepare makes folders and certificate, and binds.
func (n *Node) prepare() error {
	t := n.cfg.TLS
	if t.ACME || t.Cert == "tls/cert.pem" {
		if err := certs.Ensure(n.cfg, time.Now()); err != nil {
			return err
		}
	}
	if err := owners.MakeFolders(n.cfg.Data, n.ids); err != nil {
		return err
	}
	if err := makeTrialFolder(n.cfg, n.ids); err != nil {
		return err
	}
	if n.ids != nil {
		if err := owners.MakeLogFolder(n.cfg, n.ids); err != nil {
			return fmt.Errorf("the log's folder: %w", err)
		}
	}
	if err := owners.CheckFiles(n.file, n.ids, n.log); err != nil {
		return err
	}
	if n.ids != nil {
		if err := certs.Share(n.cfg, n.ids.TLS); err != nil {
			return fmt.Errorf("the certificate: %w", err)
		}
	}
	var err error
	n.passed = listen.Passed()
	n.sockets, err = listen.Bind(n.cfg.Data, append(sockets(n.cfg), n.runasSockets()...), n.ids, n.passed)
	return err
}

// Close gives everything back. It is for a Node that does not Run.
func (n *Node) Close() {
	n.sockets.Close()
	for _, f := range n.files {
		f.Close()
	}
	if n.lock != nil {
		n.lock.Close()
	}
}

// Listeners tells where services listen; several addresses of one are in order.
func (n *Node) Listeners() (list []control.ListenerStatus) {
	for _, l := range n.sockets {
		if !l.Unix() {
			list = append(list, control.ListenerStatus{Name: l.Name, Addr: l.Listener.Addr().String()})
		}
	}
	return list
}

// Run serves until ctx ends, SIGTERM or SIGINT comes, or the control socket asks for it.
func (n *Node) Run(ctx context.Context) error {
	defer n.Close()
	ctx, n.stop = context.WithCancel(ctx)
	defer n.stop()
	defer n.stopForSignals()()
	defer keepWatchdog(ctx)()
	// Before anybody is told that we serve: HUP ends a process that has not asked for it.
	n.signals = make(chan os.Signal, 8)
	signal.Notify(n.signals, syscall.SIGHUP, syscall.SIGALRM)
	defer signal.Stop(n.signals)
	var err error
	if n.ids != nil {
		err = n.runApart(ctx)
	} else {
		err = n.runSingle(ctx)
	}
	if err == nil && n.again.Load() && !n.final.Load() {
		return ErrRestart
	}
	return err
}

// stopForSignals stops the server for SIGTERM and SIGINT, also one that is about to start anew, until what it returns is called.
func (n *Node) stopForSignals() (end func()) {
	signals, over := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		for {
			select {
			case <-signals:
				n.final.Store(true)
				n.stop()
			case <-over:
				return
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(over)
	}
}

func (n *Node) runSingle(ctx context.Context) error {
	limits.Set(n.cfg.Process, n.log)
	floor := limits.FloorHeap(n.cfg.Process)
	defer runtime.KeepAlive(floor)
	p, err := newProcess(n.cfg, role.All(), n.sockets, n.opts.ClockOffset, n.opts.Stderr)
	if err != nil {
		return err
	}
	defer p.log.Close()
	n.log = p.log.Logger
	p.allowAdmin = control.Owners(n.cfg.Data)
	p.allowRun, p.allowOffice = p.allowAdmin, p.allowAdmin
	if err := p.start(ctx); err != nil {
		return err
	}
	n.proc = p
	done := n.attend(ctx)
	select {
	case <-ctx.Done():
	case err = <-p.failed:
		n.stop()
	}
	done.Wait()
	p.stop()
	return err
}

func (n *Node) runApart(ctx context.Context) error {
	for _, l := range n.sockets {
		if l.Name == control.Supervisor {
			continue
		}
		f, err := listen.LetGo(l.Listener)
		if err != nil {
			return err
		}
		n.files[l.Listener] = f
	}
	n.sup = &supervisor.Supervisor{
		Command:     n.roleCommand,
		Identity:    n.ids.Of,
		Abandon:     n.abandon,
		StopTimeout: n.cfg.Process.StopTimeout,
		Log:         n.log,
	}
	n.sup.Prepare(n.roles())
	n.sup.OpenFolders(serviceTree(n.cfg.Data))
	defer n.sup.CloseFolders()
	done := n.attend(ctx)
	done.Go(func() { n.shareMaildirs(ctx) })
	n.sup.Run(ctx)
	done.Wait()
	for _, w := range n.pipes {
		w.Close()
	}
	return nil
}

// abandon closes a role's sockets.
func (n *Node) abandon(r role.Role) {
	for _, l := range n.sockets {
		if l.Role == r && l.Name != control.Supervisor {
			l.Close()
			n.files[l.Listener].Close()
		}
	}
}

// attend serves the control socket, signals, systemd and the certificate until ctx ends.
func (n *Node) attend(ctx context.Context) *sync.WaitGroup {
	var done sync.WaitGroup
	server := &rpc.Server{Handlers: n.controlHandlers(), Allow: control.Owners(n.cfg.Data)}
	for _, l := range n.sockets.Named(control.Supervisor) {
		done.Go(func() {
			if err := server.Serve(ctx, l); err != nil {
				n.log.Error("the control socket failed", "error", err)
			}
		})
	}
	done.Go(func() { n.watchSignals(ctx) })
	done.Go(func() { n.watchCertificate(ctx) })
	if n.cfg.Qmail != "" {
		done.Go(func() { n.watchQmail(ctx) })
	}
	if n.opts.Ready != nil {
		n.opts.Ready(n.Listeners())
	} else {
		n.log.Info("serving", "version", n.opts.Version, "host", n.cfg.Host, "data", n.cfg.Data, "pid", os.Getpid(), "listeners", addresses(n.Listeners()))
	}
	notify(daemon.SdNotifyReady)
	done.Go(func() {
		<-ctx.Done()
		if n.again.Load() {
			notifyReloading()
			n.log.Info("stopping, to start anew")
			return
		}
		notify(daemon.SdNotifyStopping)
		n.log.Info("stopping")
	})
	return &done
}

// addresses writes listeners as the log does: smtp=127.0.0.1:25.
func addresses(list []control.ListenerStatus) (words []string) {
	for _, l := range list {
		words = append(words, l.Name+"="+l.Addr)
	}
	return words
}

// watchSignals takes qmail-send's signals (qmail reference 7.7): HUP reads the configuration again,
// ALRM tries all that waits now.
func (n *Node) watchSignals(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case sig := <-n.signals:
			if sig == syscall.SIGALRM {
				n.flush(ctx)
			} else if _, err := n.reload(ctx); err != nil {
				n.log.Error("the configuration was not reloaded; the old one stays in force", "error", err)
			}
		}
	}
}

func (n *Node) flush(ctx context.Context) {
	if due, err := queueadmin.Flush(ctx, n.cfg.Data); err != nil {
		n.log.Error("what waits could not be tried now", "error", err)
	} else {
		n.log.Info("ALRM: what waits is tried now", "due", due)
	}
}

// shareMaildirs gives folders of Maildirs that are not role local's to it, until ctx ends.
func (n *Node) shareMaildirs(ctx context.Context) {
	given, err := owners.GiveMaildirs(ctx, n.cfg.Data, n.ids)
	if given > 0 {
		n.log.Info("Maildirs that were copied in are shared with the roles now", "folders", given)
	}
	if err != nil && ctx.Err() == nil {
		n.log.Warn("Maildirs of others cannot be shared with the roles", "error", err)
	}
}

// HandOn leaves systemd's sockets to the program that this process becomes by its next exec.
func (n *Node) HandOn() error { return listen.HandOn(n.passed) }

// watchCertificate hands the pair over again when it has changed, until ctx ends.
func (n *Node) watchCertificate(ctx context.Context) {
	if n.ids == nil {
		return
	}
	cert, key := n.cfg.InData(n.cfg.TLS.Cert), n.cfg.InData(n.cfg.TLS.Key)
	seen := certs.StampsOf(cert, key)
	for clock.Sleep(ctx, max(n.cfg.TLS.Check, time.Second)) == nil {
		now := certs.StampsOf(cert, key)
		if now == seen {
			continue
		}
		seen = now
		if err := certs.Share(n.cfg, n.ids.TLS); err != nil {
			n.log.Error("the changed certificate could not be handed to the roles", "error", err)
		}
	}
}
