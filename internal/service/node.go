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
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/rpc"
	"github.com/postilion/postilion/internal/service/certs"
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
	ids     *identities // nil in a single process
	sockets bound
	passed  []*os.File                // by systemd, for the next one after a restart
	files   map[net.Listener]*os.File // the sockets' descriptors, to hand over
	started time.Time
	lock    io.Closer
	sup     *supervisor // nil in a single process
	proc    *process    // nil with roles apart
	signals chan os.Signal

	mu       sync.Mutex
	cfg      *config.Config
	file     *config.File // as read last
	began    *config.File // as the server began with
	pipes    map[Role]*os.File
	reloaded time.Time
	paused   bool
	stop     context.CancelFunc
	again    atomic.Bool // start anew after the stop
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
	n := &Node{opts: o, cfg: f.Config, file: f, began: f, started: time.Now(), pipes: map[Role]*os.File{}, files: map[net.Listener]*os.File{}}
	n.log = logs.Direct(logOptions(f.Config, o.ClockOffset), "supervisor", o.Stderr)
	if err := n.checkOffset(); err != nil {
		return nil, err
	}
	if n.ids = apart(f.Config, o); n.ids != nil {
		if err := checkReachable(f.Data); err != nil {
			return nil, err
		}
	}
	if n.lock, err = takeFolder(f.Data); err != nil {
		return nil, err
	}
	if err := checkOwner(f.Data); err != nil {
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
func apart(c *config.Config, o Options) *identities {
	if os.Getuid() != 0 || o.Single || c.Process.Single {
		return nil
	}
	ids := newIdentities(c.Process.UIDBase)
	return &ids
}

// folderWait is how long a start waits for a data folder that is in use, though no server answers there.
const folderWait = 10 * time.Second

// takeFolder takes the data folder's lock. A verb may have it that found no server, as while one starts anew: that keeps
// the server waiting, not down.
func takeFolder(data string) (io.Closer, error) {
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		lock, err := control.Lock(data)
		if !errors.Is(err, fs.ErrLocked) || time.Since(began) > folderWait {
			return lock, err
		}
		if running, _ := Running(context.Background(), data); running {
			return nil, err
		}
	}
}

func (n *Node) checkOffset() error {
	if n.opts.ClockOffset == 0 {
		return nil
	}
	testing, err := isTesting(n.cfg.Data)
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
	if err := makeFolders(n.cfg.Data, n.ids); err != nil {
		return err
	}
	if err := makeTrialFolder(n.cfg, n.ids); err != nil {
		return err
	}
	if n.ids != nil {
		if err := makeLogFolder(n.cfg, n.ids); err != nil {
			return fmt.Errorf("the log's folder: %w", err)
		}
	}
	if err := checkFiles(n.file, n.ids, n.log); err != nil {
		return err
	}
	if n.ids != nil {
		if err := mirrorCertificate(n.cfg, n.ids); err != nil {
			return fmt.Errorf("the certificate: %w", err)
		}
	}
	var err error
	n.passed = passedSockets()
	n.sockets, err = bind(n.cfg.Data, append(sockets(n.cfg), n.runasSockets()...), n.ids, n.passed)
	return err
}

// sockets lists everything that the configuration asks to listen on.
func sockets(c *config.Config) (list []socket) {
	tcp := func(name string, role Role, addrs []string) {
		for _, a := range addrs {
			list = append(list, socket{Name: name, Role: role, Address: c.Trial.Address(a)})
		}
	}
	for _, s := range c.Services() {
		tcp(s.Name, serviceRoles[s.Name], s.Listen)
	}
	if c.TLS.ACME {
		tcp("acme", SMTPD, []string{c.TLS.ACMEHTTP})
	}
	list = append(list, injectSockets(c)...)
	list = append(list, handedSockets()...)
	list = append(list, manageSockets(c)...)
	list = append(list, officeSockets()...)
	for _, r := range allRoles {
		list = append(list, socket{Name: string(r), Role: r}, socket{Name: adminSocket(r), Role: r, Admin: true})
	}
	return append(list, socket{Name: control.Supervisor, Admin: true})
}

// serviceRoles tells who serves what.
var serviceRoles = map[string]Role{
	"smtp": SMTPD, "submission": SMTPD, "submissions": SMTPD, "lmtp": SMTPD, "qmtp": SMTPD, "qmqp": SMTPD,
	"pop3": Access, "pop3s": Access, "metrics": Console,
}

// Close gives everything back. It is for a Node that does not Run.
func (n *Node) Close() {
	n.sockets.close()
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
		if !l.unix() {
			list = append(list, control.ListenerStatus{Name: l.Name, Addr: l.Listener.Addr().String()})
		}
	}
	return list
}

// Run serves until ctx ends, SIGTERM or SIGINT comes, or the control socket asks for it.
func (n *Node) Run(ctx context.Context) error {
	defer n.Close()
	ctx, n.stop = signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer n.stop()
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
	if err == nil && n.again.Load() {
		return ErrRestart
	}
	return err
}

func (n *Node) runSingle(ctx context.Context) error {
	setLimits(n.cfg.Process, n.log)
	floor := floorHeap(n.cfg.Process)
	defer runtime.KeepAlive(floor)
	p, err := newProcess(n.cfg, allRoles, n.sockets, n.opts.ClockOffset, n.opts.Stderr)
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
		f, err := l.Listener.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			return err
		}
		n.files[l.Listener] = f
	}
	n.sup = &supervisor{
		command:     n.roleCommand,
		identity:    func(r Role) Identity { return n.ids.roles[r] },
		abandon:     n.abandon,
		stopTimeout: n.cfg.Process.StopTimeout,
		log:         n.log,
	}
	n.sup.prepare(n.roles())
	n.sup.openFolders(serviceTree(n.cfg.Data), n.log)
	defer n.sup.closeFolders()
	done := n.attend(ctx)
	done.Go(func() { n.shareMaildirs(ctx) })
	n.sup.run(ctx, n.roles())
	done.Wait()
	for _, w := range n.pipes {
		w.Close()
	}
	return nil
}

// abandon closes a role's sockets.
func (n *Node) abandon(r Role) {
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
	for _, l := range n.sockets.named(control.Supervisor) {
		done.Go(func() {
			if err := server.Serve(ctx, l); err != nil {
				n.log.Error("the control socket failed", "error", err)
			}
		})
	}
	done.Go(func() { n.watchSignals(ctx) })
	done.Go(func() { watchdog(ctx) })
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
	if due, err := askRole[none, int](ctx, n.cfg.Data, Queue, methodFlush, none{}); err != nil {
		n.log.Error("what waits could not be tried now", "error", err)
	} else {
		n.log.Info("ALRM: what waits is tried now", "due", due)
	}
}

// notify tells systemd, where it asked to be told (sd_notify(3)).
func notify(state string) {
	// Without systemd, or when it is gone, there is nobody to tell.
	_, _ = daemon.SdNotify(false, state)
}

// watchdog keeps systemd's watchdog quiet (WatchdogSec=).
func watchdog(ctx context.Context) {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		return
	}
	for clock.Sleep(ctx, every/2) == nil {
		notify(daemon.SdNotifyWatchdog)
	}
}

// HostData is the data folder of the host's own server.
const HostData = "/var/lib/postilion"

// DefaultData is the data folder when none is given: root's is the host's.
func DefaultData() string {
	if os.Getuid() == 0 {
		return HostData
	}
	return "postilion-data"
}

// ConfigPath returns the configuration's path for a data folder.
func ConfigPath(data string) string { return filepath.Join(data, config.FileName) }
