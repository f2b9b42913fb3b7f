package service

import (
	"context"

	"github.com/postilion/postilion/internal/access/pop3d"
	"github.com/postilion/postilion/internal/access/session"
	"github.com/postilion/postilion/internal/clock"
	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/control/mailboxes"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/intake/client"
	"github.com/postilion/postilion/internal/mailbox/maildir"
	"github.com/postilion/postilion/internal/rpc"
	"github.com/postilion/postilion/internal/serve"
)

// The services of role access, with where their keys are.
var accessServices = map[string]func(*config.Config) *config.POP3{
	"pop3":  func(c *config.Config) *config.POP3 { return &c.POP3 },
	"pop3s": func(c *config.Config) *config.POP3 { return &c.POP3S },
}

func (p *process) startAccess(_ context.Context, part *part) error {
	f, err := p.newFront(part)
	if err != nil {
		return err
	}
	mail, err := p.mailFolder()
	if err != nil {
		return err
	}
	ages := clock.NewSteady(clock.System{})
	boxes := maildir.New(p.cfg.Local.Maildir, maildir.Deps{FS: mail, Barrier: &fs.Barrier{FS: mail}, Clock: p.clock, Files: ages})
	holders := new(session.Table)
	logins := &session.Logins{Auth: p.authService(), Directory: p.reader()}
	users, err := p.runas()
	if err != nil {
		return err
	}
	if p.cfg.Trial.Enabled {
		users = nil // reading mail moves and removes it
	}
	if users != nil {
		accounts := p.systemAccounts()
		logins.System = func(name string) (*directory.Account, bool, error) { return accounts.Find(name, "") }
	}
	part.prepare = func(c *config.Config) (func(), error) {
		all := &services{handlers: map[string]serve.Handler{}}
		deps := pop3d.Deps{Logins: logins, Holders: holders, Mailboxes: boxes, Homes: p.homes(users, ages), Clock: p.clock, Recorder: part.recorder,
			Record: f.book, TLS: f.tls(c)}
		for name, group := range accessServices {
			checker, err := all.checker(f.guests, name, group(c).ClientOptions, nil)
			if err != nil {
				return nil, err
			}
			all.handlers[name] = &client.Gate{Handler: pop3d.New(group(c).Options, deps), Checker: checker, Role: name, Events: part.recorder}
		}
		return func() { f.use(all) }, nil
	}
	if err := prepareNow(part, p.cfg); err != nil {
		return err
	}
	for name, group := range accessServices {
		f.listen(name, group(p.cfg).Listener.Options, name == "pop3s")
	}
	part.facts = func(ctx context.Context) map[string]any {
		facts := f.facts(ctx)
		facts["holders"] = holders.Holders()
		return facts
	}
	part.admin[mailboxes.MethodFree] = rpc.Handle(func(_ context.Context, account uint64) ([]session.Holder, error) {
		return holders.Free(account), nil
	})
	return nil
}
