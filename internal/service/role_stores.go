package service

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	"github.com/postilion/postilion/internal/auth/secrets"
	"github.com/postilion/postilion/internal/authority"
	"github.com/postilion/postilion/internal/bounce"
	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/deliver/local"
	"github.com/postilion/postilion/internal/deliver/runas"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/directory/sqlite"
	"github.com/postilion/postilion/internal/dispatch"
	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/mail/archive"
	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/pebblex"
	"github.com/postilion/postilion/internal/queue/pebblestore"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/seam"
)

// Methods of the seams' sockets.
const (
	methodLocal  = "deliver.local"
	methodRemote = "deliver.remote"
)

// here is what the roles of this process offer each other directly. A nil field is of
// a role that runs elsewhere.
type here struct {
	directory  directory.Admin
	reader     directory.Reader
	changes    *directory.Generations // of the directory, here or elsewhere
	runas      runas.Service
	auth       *secrets.Service
	mailbox    deliver.Target
	room       seam.Room
	exists     seam.Exists
	remote     deliver.Target
	hosts      seam.Hosts
	store      *pebblestore.Store
	dispatcher *dispatch.Dispatcher
}

// directoryPath is the directory's file.
func directoryPath(data string) string { return filepath.Join(data, "directory", "directory.db") }

func (p *process) startDirectory(ctx context.Context, part *part) error {
	if _, err := p.folder("directory"); err != nil {
		return err
	}
	db, err := sqlite.Open(ctx, sqlite.Options{Path: directoryPath(p.cfg.Data), Clock: p.clock, Log: p.logger()})
	if err != nil {
		return err
	}
	part.close = append(part.close, db.Close)
	p.here.directory = db
	p.here.reader = directory.Cached(db, directory.CacheOptions{Generation: db.Generation})
	p.here.changes = db.Generations()
	part.seam = seam.Handlers(seam.ReaderHandlers(db), seam.BlocksHandlers(db), seam.ChangesHandlers(p.here.changes))
	part.office = seam.AdminHandlers(db)
	part.admin = seam.AdminHandlers(authority.Directory{Inner: db, Actor: authority.Actor{Owner: true}, Journal: p.journal(part)})
	part.admin[methodSnapshot] = snapshotHandler(db)
	part.alive = func(ctx context.Context) { db.Account(ctx, 0) }
	return nil
}

// reader returns the directory as other roles use it.
func (p *process) reader() directory.Reader {
	if p.here.reader == nil {
		p.here.reader = directory.Cached(seam.Directory{Client: p.client(Directory)}, directory.CacheOptions{Generation: p.here.changes.Now})
	}
	return p.here.reader
}

// followDirectory lets a process without role directory know at once of its changes.
func (p *process) followDirectory(part *part) {
	if p.here.changes != nil {
		return
	}
	p.here.changes = new(directory.Generations)
	d := seam.Directory{Client: p.client(Directory)}
	part.run = append(part.run, func(ctx context.Context) error { return d.Follow(ctx, p.here.changes) })
}

// blockList returns the function that lists the operator's blocks.
func (p *process) blockList() func(context.Context) ([]directory.Block, error) {
	if p.here.directory != nil {
		return p.here.directory.Blocks
	}
	return seam.Directory{Client: p.client(Directory)}.Blocks
}

func (p *process) startLocal(_ context.Context, part *part) error {
	mail, err := p.mailFolder()
	if err != nil {
		return err
	}
	users, err := p.runas()
	if err == nil {
		users, err = p.users(users)
	}
	if err != nil {
		return err
	}
	o := p.cfg.Local
	o.Environ = []string{injectVariable(p.cfg)}
	o.Places, _ = p.limits()
	target := local.New(o, local.Deps{
		FS: mail, Barrier: &fs.Barrier{FS: mail}, Directory: p.reader(), Clock: p.clock, Recorder: part.recorder, Runas: users,
	})
	p.here.mailbox = target
	p.here.room, p.here.exists = target.Room, target.Exists
	part.run = append(part.run, target.Clean)
	part.admin = seam.Handlers(asideHandlers(target.SetAside), usageHandlers(target), seam.UserHandlers(target.Exists, target.Plan))
	part.seam = seam.Handlers(seam.TargetHandlers(methodLocal, target), seam.RoomHandlers(target.Room), seam.UserHandlers(target.Exists, target.Plan))
	return nil
}

// openStore opens the queue's store in the data folder.
func openStore(ctx context.Context, c *config.Config, o pebblestore.Options, dir fs.FS) (*pebblestore.Store, error) {
	o.FS, o.VFS, o.Path = dir, pebblex.System(), filepath.Join(c.Data, "queue")
	return pebblestore.Open(ctx, o)
}

func (p *process) startQueue(ctx context.Context, part *part) error {
	dir, err := p.folder("queue")
	if err != nil {
		return err
	}
	o := p.cfg.Queue
	o.Clock, o.Log = p.clock, p.logger()
	store, err := openStore(ctx, p.cfg, o, dir)
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
		deps.Mailbox = seam.Target{Client: p.client(Local), Method: methodLocal}
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
		deps.Remote = seam.Target{Client: p.client(Remote), Method: methodRemote}
	}
	deps.ForgetHosts = seam.ForgetHosts(p.client(Remote))
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
		watch.exists = seam.NewExists(p.client(Local))
	}
	part.run = append(part.run, d.Run, watch.run)
	part.soon = seam.EnqueuePrompts(store)
	part.seam = seam.Handlers(seam.EnqueueHandlers(store), etrnHandlers(d), viewHandlers(d), watchHandlers(part.watch))
	part.admin = queueHandlers(store, d, router)
	part.office = officeQueue(d)
	part.facts = func(context.Context) map[string]any { return watch.facts(queueFacts(d.Stats(0), store.Refuses())) }
	part.alive = func(context.Context) { d.Stats(0) }
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
