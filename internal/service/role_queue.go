package service

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	"github.com/postilion/postilion/internal/bounce"
	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/control/queueadmin"
	"github.com/postilion/postilion/internal/deliver/local"
	"github.com/postilion/postilion/internal/dispatch"
	"github.com/postilion/postilion/internal/mail/archive"
	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/pebblex"
	"github.com/postilion/postilion/internal/queue/pebblestore"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/seam"
)

func (p *process) startQueue(ctx context.Context, part *part) error {
	dir, err := p.folder("queue")
	if err != nil {
		return err
	}
	o := p.cfg.Queue
	o.FS, o.VFS, o.Path = dir, pebblex.System(), filepath.Join(p.cfg.Data, "queue")
	o.Clock, o.Log = p.clock, p.logger()
	store, err := pebblestore.Open(ctx, o)
	if err != nil {
		return err
	}
	part.close = append(part.close, store.Close)
	router := new(swapRouter)
	if part.prepare = p.prepareRouter(router); err == nil {
		err = prepareNow(part, p.cfg)
	}
	if err != nil {
		return err
	}
	archives, err := archive.Parse(p.cfg.Archive.Copies)
	if err != nil {
		return err
	}
	deps := dispatch.Deps{
		Store: store, Router: router, Mailbox: p.here.mailbox, Remote: p.here.remote,
		Bouncer:  &bounce.Builder{Options: p.cfg.Bounce, Name: p.cfg.Host},
		Recorder: part.recorder, Clock: p.clock, IDs: p.ids, Log: p.logger(),
		QueueOnly: queueOnly(p.cfg.Process.QueueLoad), Folder: dir, Sender: router.Sender, Archive: archives,
	}
	if deps.Mailbox == nil {
		deps.Mailbox = seam.Target{Client: p.client(role.Local), Method: methodLocal}
	}
	users, err := p.runas()
	if err != nil {
		return err
	}
	if users != nil {
		shortcut := local.NewShortcut(deps.Mailbox, users)
		deps.Mailbox, part.close = shortcut, append(part.close, shortcut.Close)
	}
	if deps.Remote == nil {
		deps.Remote = seam.Target{Client: p.client(role.Remote), Method: methodRemote}
	}
	deps.ForgetHosts = seam.ForgetHosts(p.client(role.Remote))
	if hosts := p.here.hosts; hosts != nil {
		deps.ForgetHosts = func(context.Context) error { hosts.Forget(); return nil }
	}
	d, err := dispatch.New(p.cfg.Dispatch, deps)
	if err != nil {
		return err
	}
	p.here.store, p.here.dispatcher = store, d
	p.log.Events.SetLimits(p.limits())
	watch := &postmaster{router: router, exists: p.here.exists, log: p.logger()}
	if watch.exists == nil {
		watch.exists = seam.NewExists(p.client(role.Local))
	}
	part.run = append(part.run, d.Run, watch.run)
	part.soon = seam.EnqueuePrompts(store)
	part.seam = seam.Handlers(seam.EnqueueHandlers(store), queueadmin.ViewHandlers(d), watchHandlers(part.watch))
	part.admin = queueadmin.Handlers(store, d)
	part.office = queueadmin.OfficeHandlers(d)
	part.facts = func(context.Context) map[string]any { return watch.facts(queueFacts(d.Stats(0), store.Refuses())) }
	part.alive = func(context.Context) { d.Stats(0) }
	return nil
}

// prepareRouter returns the prepare of a part whose only hot keys are routing's.
func (p *process) prepareRouter(router *swapRouter) func(*config.Config) (func(), error) {
	own := new(netx.OwnAddrs)
	return func(c *config.Config) (func(), error) {
		r, err := route.New(c.Route, p.reader(), own.Contains)
		if err != nil {
			return nil, err
		}
		return func() { router.set(r) }, nil
	}
}

// queueOnly returns the function that tells whether the load is too high to deliver;
// what it found is good for a second.
func queueOnly(most int) func() bool {
	if most < 0 {
		return nil
	}
	if most == 0 {
		most = 8
	}
	var mu sync.Mutex
	var at time.Time
	var high bool
	return func() bool {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(at) >= time.Second {
			load, err := loadPerProcessor()
			at, high = time.Now(), err == nil && load > float64(most)
		}
		return high
	}
}
