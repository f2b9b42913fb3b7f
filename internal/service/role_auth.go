package service

import (
	"context"

	"github.com/postilion/postilion/internal/auth/secrets"
	"github.com/postilion/postilion/internal/authority"
	"github.com/postilion/postilion/internal/control/mailboxes"
	"github.com/postilion/postilion/internal/control/rolecall"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/seam"
)

func (p *process) startAuth(ctx context.Context, part *part) error {
	if _, err := p.folder("auth"); err != nil {
		return err
	}
	s, err := secrets.Open(ctx, p.cfg.Auth, secrets.Deps{
		Directory: p.reader(), System: p.systemUsers(), Blocks: p.blockList(), Generation: p.here.changes.Now, Clock: p.clock, Recorder: part.recorder, Log: p.logger(),
	})
	if err != nil {
		return err
	}
	part.close = append(part.close, s.Close)
	p.finish(part, mailboxes.Finish{See: func(ctx context.Context, r directory.Removed) error { return s.Remove(ctx, r.Account) }})
	p.here.auth = s
	part.seam = seam.AuthHandlers(s, s.Revoked())
	part.office = seam.AuthAdminHandlers(s)
	part.admin = seam.AuthAdminHandlers(authority.Auth{Inner: s, Directory: p.anyDirectory(), Actor: authority.Actor{Owner: true}, Journal: p.journal(part)})
	part.admin[rolecall.MethodSnapshot] = snapshotHandler(s)
	part.alive = func(ctx context.Context) {
		s.Blocked(ctx)
		s.Credentials(ctx, 0)
	}
	return nil
}
