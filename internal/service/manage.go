package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/postilion/postilion/internal/access/session"
	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/control"
	pfs "github.com/postilion/postilion/internal/fs"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/policy"
	"github.com/postilion/postilion/internal/rpc"
	"github.com/postilion/postilion/internal/stats"
)

// The methods of every role's sockets.
const (
	MethodFacts    = "role.facts"    // admin: what the role says of itself
	MethodCounters = "role.counters" // both: a stats.Snapshot
	methodAlive    = "role.alive"    // admin, office: returns when what the role keeps answers
	methodPrepare  = "role.prepare"  // admin: check a new configuration and keep it ready
	methodSwitch   = "role.switch"   // admin: bring it into force
)

type none struct{}

// errGone is for nobody: who asked is not there any more.
var errGone = errors.New("nobody waits for the answer")

// whileAsked drops calls whose caller has given up and said so: what an operator was told to have failed must not be done when
// the role comes to it, minutes later.
func whileAsked(handlers map[string]rpc.Handler) {
	for method, serve := range handlers {
		handlers[method] = func(ctx context.Context, c *rpc.Conn, request []byte) ([]byte, error) {
			if c != nil && c.Gone() {
				return nil, errGone
			}
			return serve(ctx, c, request)
		}
	}
}

// addCommon adds what every role answers, and has verbs' calls served while they wait for the answer.
func (p *process) addCommon(part *part) {
	defer func() {
		whileAsked(part.admin)
		whileAsked(part.office)
	}()
	counters := rpc.Handle(func(context.Context, none) (any, error) { return part.counters.Snapshot(), nil })
	part.seam[MethodCounters] = counters
	part.admin[MethodCounters] = counters
	part.admin[MethodFacts] = rpc.Handle(func(ctx context.Context, _ none) (map[string]any, error) {
		if part.facts == nil {
			return nil, nil
		}
		return part.facts(ctx), nil
	})
	part.admin[methodAlive] = rpc.Handle(func(ctx context.Context, _ none) (none, error) {
		if part.alive != nil {
			part.alive(ctx)
		}
		return none{}, nil
	})
	var mu sync.Mutex
	var pending func()
	part.admin[methodPrepare] = rpc.Handle(func(_ context.Context, text string) (none, error) {
		f, err := config.Decode("reload", []byte(text))
		if err != nil || part.prepare == nil {
			return none{}, err
		}
		switchOver, err := part.prepare(f.Config)
		mu.Lock()
		pending = switchOver
		mu.Unlock()
		return none{}, err
	})
	part.admin[methodSwitch] = rpc.Handle(func(context.Context, none) (none, error) {
		mu.Lock()
		defer mu.Unlock()
		if pending != nil {
			pending()
			pending = nil
		}
		return none{}, nil
	})
}

// controlHandlers answers the verbs that concern the whole server.
func (n *Node) controlHandlers() map[string]rpc.Handler {
	return map[string]rpc.Handler{
		control.MethodStatus: rpc.Handle(func(ctx context.Context, _ none) (control.Status, error) { return n.Status(ctx), nil }),
		control.MethodNow:    rpc.Handle(func(context.Context, none) (time.Time, error) { return serverClock(n.opts.ClockOffset).Now(), nil }),
		control.MethodStop: rpc.Handle(func(context.Context, none) (none, error) {
			n.stopSoon()
			return none{}, nil
		}),
		control.MethodRestart: rpc.Handle(func(_ context.Context, role string) (none, error) { return none{}, n.restart(role) }),
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
			return askRole[none, int](ctx, n.cfg.Data, Queue, methodFlush, none{})
		}),
	}
}

// askRole calls a role's admin socket. What is asked there takes moments: a role that does not answer
// within patience is named.
func askRole[Req, Resp any](ctx context.Context, data string, r Role, method string, req Req) (resp Resp, err error) {
	cl := control.Client(data, adminSocket(r))
	defer cl.Close()
	hung := answers(ctx, r, func(ctx context.Context) error {
		resp, err = rpc.Do[Req, Resp](ctx, cl, method, req)
		return err
	})
	return resp, cmp.Or(hung, err)
}

func (n *Node) setPaused(ctx context.Context, paused bool) error {
	_, err := askRole[bool, none](ctx, n.cfg.Data, Queue, methodPause, paused)
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
	role, err := ParseRole(name)
	if err != nil {
		return err
	}
	if n.sup == nil {
		return fmt.Errorf("all roles share one process: role %s cannot be restarted alone; use restart without a role", role)
	}
	return n.sup.restart(role)
}

// Status tells how the server is.
func (n *Node) Status(ctx context.Context) control.Status {
	n.mu.Lock()
	s := control.Status{
		Version: n.opts.Version, Host: n.cfg.Host, Data: n.cfg.Data, PID: os.Getpid(), Started: n.started,
		Seconds: int64(time.Since(n.started).Seconds()), Single: n.sup == nil, Paused: n.paused, Reloaded: n.reloaded,
		Listeners: n.Listeners(), Load: loadAverages(),
	}
	s.Notes = loadNotes(n.cfg.Floors.RefuseLoad, n.cfg.Process.QueueLoad, s.Load[0]/float64(runtime.NumCPU()))
	s.Notes = append(s.Notes, diskNotes(n.cfg.Floors, n.cfg.Data)...)
	s.Notes = append(s.Notes, qmailNotes(n.cfg)...)
	n.mu.Unlock()
	if n.sup != nil {
		s.Roles = n.sup.status()
	} else {
		for _, r := range allRoles {
			s.Roles = append(s.Roles, control.Role{Name: string(r), State: "up", PID: s.PID, UID: os.Getuid(), Seconds: s.Seconds})
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for i := range s.Roles {
		r := &s.Roles[i]
		if r.PID == 0 {
			continue
		}
		wg.Go(func() {
			facts, err := askRole[none, map[string]any](ctx, n.cfg.Data, Role(r.Name), MethodFacts, none{})
			if err != nil && r.State == "up" {
				r.State = "starting"
				if r.Seconds > 5 {
					r.State = "hung"
				}
				return
			}
			r.Facts = facts
		})
	}
	wg.Wait()
	s.Notes = append(s.Notes, queueNotes(s.Roles)...)
	for _, r := range s.Roles {
		if paused, ok := r.Facts["paused"].(bool); ok && r.Name == string(Queue) {
			s.Paused = paused
		}
	}
	return s
}

// loadNotes tells what the load a processor keeps the server from: sendmail's "rejecting connections"
// and queueing only. The limits are those of policy.Floors and queueOnly.
func loadNotes(refuse, queue int, load float64) []string {
	if most := cmp.Or(refuse, 12); most >= 0 && load > float64(most) {
		return []string{fmt.Sprintf("rejecting connections: the load a processor is %.1f, above floors.refuse_load = %d", load, most)}
	}
	if most := cmp.Or(queue, 8); most >= 0 && load > float64(most) {
		return []string{fmt.Sprintf("mail is only queued: the load a processor is %.1f, above process.queue_load = %d", load, most)}
	}
	return nil
}

// diskNotes tells when there is too little room to take mail.
func diskNotes(o policy.FloorOptions, data string) []string {
	floors := policy.Floors{Options: o, Space: func() (pfs.Space, error) {
		root, err := osfs.New(data)
		if err != nil {
			return pfs.Space{}, err
		}
		return root.Space("queue")
	}}
	err := floors.Full()
	if err == nil {
		return nil
	}
	return []string{"rejecting messages: " + err.Error()}
}

// queueNotes moves what the queue itself says of why it takes no message out of the roles' facts: a full or failing
// disk, which no floor needs to know of.
func queueNotes(roles []control.Role) (notes []string) {
	for _, r := range roles {
		if text, ok := r.Facts[factRejecting].(string); ok {
			notes = append(notes, "rejecting messages: "+text)
			delete(r.Facts, factRejecting)
		}
	}
	return notes
}

// loadAverages returns the host's load of 1, 5 and 15 minutes (proc(5)).
func loadAverages() (l [3]float64) {
	p, err := os.ReadFile("/proc/loadavg")
	if err == nil {
		fmt.Sscan(string(p), &l[0], &l[1], &l[2])
	}
	return l
}

// reload reads the configuration again: validated, prepared in every role, then
// switched. A mistake anywhere changes nothing.
func (n *Node) reload(ctx context.Context) (control.Reloaded, error) {
	notify("RELOADING=1")
	defer notify("READY=1")
	var done control.Reloaded
	f, err := config.Read(n.opts.Config, n.opts.Flags)
	if err != nil {
		return done, err
	}
	n.mu.Lock()
	last, running := n.file, n.cfg
	n.mu.Unlock()
	if done, err = n.compare(last, f); err != nil {
		return done, err
	}
	for _, method := range []string{methodPrepare, methodSwitch} {
		if err := n.tellRoles(ctx, method, f.Config); err != nil {
			return control.Reloaded{}, err
		}
	}
	// What needs a restart stays as it was for processes that are started meanwhile.
	inForce, err := running.With(f.Config, hot)
	if err != nil {
		return control.Reloaded{}, err
	}
	n.mu.Lock()
	n.cfg, n.file, n.reloaded = inForce, f, time.Now()
	n.mu.Unlock()
	n.log.Info("the configuration was reloaded", "changed", done.Changed, "needs_restart", done.NeedsRestart)
	return done, nil
}

// compare tells what a reload changes: keys that differ from the last one's, and those that only a
// restart brings into force, which are compared with what the server began with.
func (n *Node) compare(last, now *config.File) (r control.Reloaded, err error) {
	changed, err := changedKeys(last, now)
	if err != nil {
		return r, err
	}
	began, err := changedKeys(n.began, now)
	if err != nil {
		return r, err
	}
	r.Changed = slices.DeleteFunc(changed, func(key string) bool { return !hot(key) })
	r.NeedsRestart = slices.DeleteFunc(began, hot)
	return r, nil
}

// tellRoles has every role prepare its part of c, or switch to it.
func (n *Node) tellRoles(ctx context.Context, method string, c *config.Config) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var errs []error
	for _, r := range allRoles {
		if n.sup != nil && n.sup.stopped(r) {
			continue // it gets the configuration when it is started
		}
		mine := c
		if n.ids != nil {
			mine = forRole(c, r)
		}
		text, err := mine.Encode(groupsOf(r)...)
		if err != nil {
			return err
		}
		if method == methodSwitch {
			_, err = askRole[none, none](ctx, n.cfg.Data, r, method, none{})
		} else {
			_, err = askRole[string, none](ctx, n.cfg.Data, r, method, string(text))
		}
		if err != nil {
			errs = append(errs, about(r, err))
		}
	}
	return errors.Join(errs...)
}

// changedKeys lists the keys whose values differ.
func changedKeys(old, now *config.File) (keys []string, err error) {
	values := map[string]string{}
	before, err := old.Settings(true)
	if err != nil {
		return nil, err
	}
	for _, s := range before {
		values[s.Key] = s.Value
	}
	after, err := now.Settings(true)
	if err != nil {
		return nil, err
	}
	for _, s := range after {
		if v, ok := values[s.Key]; !ok || v != s.Value {
			keys = append(keys, s.Key)
		}
		delete(values, s.Key)
	}
	return slices.AppendSeq(keys, maps.Keys(values)), nil
}

// hotGroups are the groups that a reload brings into force.
var hotGroups = []string{"route", "policy", "submit", "floors", "smtp", "submission", "submissions", "lmtp", "pop3", "pop3s", "qmtp", "qmqp", "dns_lists", "turn", "inject", "remote"}

// coldKeys are keys of hot groups that belong to the listener, which stays.
var coldKeys = []string{"listen", "max_connections", "max_per_client", "connection_rate", "exempt", "proxy_from", "tls_timeout", "stop_timeout", "socket"}

func hot(key string) bool {
	group, last, _ := strings.Cut(key, ".")
	if slices.Contains(coldKeys, last) {
		return false
	}
	return slices.Contains(hotGroups, group)
}

// FreeMailbox ends the sessions that hold an account's mailbox and returns them.
func FreeMailbox(ctx context.Context, data string, account uint64) ([]session.Holder, error) {
	return askRole[uint64, []session.Holder](ctx, data, Access, MethodFree, account)
}

// Counters returns the sums of all roles' counters, from the running server or from
// what a stopped one left.
func Counters(ctx context.Context, data string) (stats.Snapshot, error) {
	running, err := Running(ctx, data)
	if err != nil {
		return stats.Snapshot{}, err
	}
	var all []stats.Snapshot
	for _, r := range allRoles {
		var s stats.Snapshot
		if running {
			s, err = askRole[none, stats.Snapshot](ctx, data, r, MethodCounters, none{})
		} else {
			s, err = savedCounters(data, r)
		}
		if err != nil {
			return stats.Snapshot{}, about(r, err)
		}
		all = append(all, s)
	}
	return stats.Merge(all...), nil
}

func savedCounters(data string, r Role) (stats.Snapshot, error) {
	dir, err := osfs.New(eventsFolder(data, r))
	if err != nil {
		return stats.Snapshot{}, nil // the role has never run
	}
	c, err := stats.Load(dir, countersFile, clock.System{})
	if err != nil {
		return stats.Snapshot{}, err
	}
	return c.Snapshot(), nil
}
