package service

import (
	"context"
	"time"

	"github.com/postilion/postilion/internal/authority"
	"github.com/postilion/postilion/internal/control/mailboxes"
	"github.com/postilion/postilion/internal/control/rolecall"
	"github.com/postilion/postilion/internal/datafolder"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/directory/sqlite"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/seam"
)

func (p *process) startDirectory(ctx context.Context, part *part) error {
	if _, err := p.folder("directory"); err != nil {
		return err
	}
	db, err := sqlite.Open(ctx, sqlite.Options{Path: datafolder.Directory(p.cfg.Data), Clock: p.clock, Log: p.logger()})
	if err != nil {
		return err
	}
	part.close = append(part.close, db.Close)
	p.here.directory, p.here.removals = db, db
	p.here.reader = directory.Cached(db, directory.CacheOptions{Generation: db.Generation})
	p.here.changes = db.Generations()
	part.seam = seam.Handlers(seam.ReaderHandlers(db), seam.BlocksHandlers(db), seam.ChangesHandlers(p.here.changes), seam.RemovalsHandlers(db))
	part.office = seam.Handlers(seam.AdminHandlers(db), seam.RemovalsHandlers(db))
	part.admin = seam.Handlers(seam.RemovalsHandlers(db),
		seam.AdminHandlers(authority.Directory{Inner: db, Actor: authority.Actor{Owner: true}, Journal: p.journal(part)}))
	part.admin[rolecall.MethodSnapshot] = snapshotHandler(db)
	part.alive = func(ctx context.Context) { db.Account(ctx, 0) }
	return nil
}

// reader returns the directory as other roles use it.
func (p *process) reader() directory.Reader {
	if p.here.reader == nil {
		p.here.reader = directory.Cached(p.directoryClient(), directory.CacheOptions{Generation: p.here.changes.Now})
	}
	return p.here.reader
}

// How long who waits at the other end of a session does so for role directory: while that answers, and
// once it is known not to, which leaves it the time to be started anew.
const (
	directoryAnswer = 10 * time.Second
	directorySilent = 2 * time.Second
)

// directoryClient is the way to role directory of another process. A delivery can wait longer than a client of the network:
// to put it off costs minutes.
func (p *process) directoryClient() seam.Directory {
	if p.here.toDirectory == nil {
		p.here.toDirectory = p.client(role.Directory)
		if !p.has(role.Queue) && !p.has(role.Local) {
			p.here.toDirectory.Answer, p.here.toDirectory.Silent = directoryAnswer, directorySilent
		}
	}
	return seam.Directory{Client: p.here.toDirectory}
}

// followDirectory lets a process without role directory know at once of its changes.
func (p *process) followDirectory(part *part) {
	if p.here.changes != nil {
		return
	}
	p.here.changes = new(directory.Generations)
	d := p.directoryClient()
	part.run = append(part.run, func(ctx context.Context) error { return d.Follow(ctx, p.here.changes) })
}

// finish has a role see to what it keeps of removed accounts.
func (p *process) finish(part *part, f mailboxes.Finish) {
	f.Changes, f.Clock, f.Log = p.here.changes, p.clock, p.logger()
	if f.Removals = p.here.removals; f.Removals == nil {
		f.Removals = p.directoryClient()
	}
	part.run = append(part.run, f.Run)
}

// blockList returns the function that lists the operator's blocks.
func (p *process) blockList() func(context.Context) ([]directory.Block, error) {
	if p.here.directory != nil {
		return p.here.directory.Blocks
	}
	return p.directoryClient().Blocks
}
