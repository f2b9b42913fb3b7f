package service

import (
	"context"

	"github.com/postilion/postilion/internal/control/mailboxes"
	"github.com/postilion/postilion/internal/deliver/local"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/seam"
)

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
	p.finish(part, mailboxes.Finish{After: mailboxes.Grace, Last: true, See: func(_ context.Context, r directory.Removed) error {
		if r.Mailbox == "" {
			return nil
		}
		aside, err := target.SetAside(r.Mailbox, r.Account)
		if aside != "" {
			p.logger().Warn("the mail of a removed account is set aside, which its remover did not come to", "account", r.Account, "path", aside)
		}
		return err
	}})
	part.admin = seam.Handlers(mailboxes.Handlers(target), seam.UserHandlers(target.Exists, target.Plan))
	part.seam = seam.Handlers(seam.TargetHandlers(methodLocal, target), seam.RoomHandlers(target.Room), seam.UserHandlers(target.Exists, target.Plan))
	return nil
}
