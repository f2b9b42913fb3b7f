package service

import (
	"context"
	"crypto/tls"
	"maps"
	"slices"

	"github.com/postilion/postilion/internal/access/pop3d"
	"github.com/postilion/postilion/internal/access/session"
	"github.com/postilion/postilion/internal/config"
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
	cert, err := p.startCertificate(part)
	if err != nil {
		return err
	}
	mail, err := p.mailFolder()
	if err != nil {
		return err
	}
	boxes := maildir.New(p.cfg.Local.Maildir, maildir.Deps{FS: mail, Barrier: &fs.Barrier{FS: mail}, Clock: p.clock})
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
	handlers := map[string]*swapHandler{}
	for name := range accessServices {
		handlers[name] = new(swapHandler)
	}
	guests, err := p.newGuests()
	if err != nil {
		return err
	}
	book, err := p.newBook(part)
	if err != nil {
		return err
	}
	part.prepare = func(c *config.Config) (func(), error) {
		checkers := map[string]*client.Checker{}
		for name, group := range accessServices {
			if checkers[name], err = guests.checker(name, group(c).ClientOptions, nil); err != nil {
				return nil, err
			}
		}
		stls := cert.config(c.TLS)
		deps := pop3d.Deps{Logins: logins, Holders: holders, Mailboxes: boxes, Homes: p.homes(users), Clock: p.clock, Recorder: part.recorder, Record: book,
			TLS: func() *tls.Config { return stls }}
		return func() {
			for name, group := range accessServices {
				handlers[name].set(&client.Gate{Handler: pop3d.New(group(c).Options, deps), Checker: checkers[name], Role: name, Events: part.recorder})
			}
			guests.use(slices.Collect(maps.Values(checkers)))
		}, nil
	}
	if err := prepareNow(part, p.cfg); err != nil {
		return err
	}
	for name, group := range accessServices {
		var implicit *tls.Config
		if name == "pop3s" {
			implicit = cert.config(p.cfg.TLS)
		}
		p.listen(part, name, handlers[name], group(p.cfg).Listener.Options, implicit)
	}
	connections := connectionFacts(p, accessServices)
	part.facts = func(ctx context.Context) map[string]any {
		facts := connections(ctx)
		facts["holders"] = holders.Holders()
		return guests.facts(facts)
	}
	part.admin[MethodFree] = rpc.Handle(func(_ context.Context, account uint64) ([]session.Holder, error) {
		return holders.Free(account), nil
	})
	return nil
}

// MethodFree frees the mailbox of an account's id and answers which sessions held it.
const MethodFree = "access.free"

// connectionFacts lists the connections of the services that are the keys of a map.
func connectionFacts[V any](p *process, services map[string]V) func(context.Context) map[string]any {
	return func(context.Context) map[string]any {
		kept := []serve.Connection{}
		for _, c := range p.table.List() {
			if _, ok := services[c.Listener]; ok {
				kept = append(kept, c)
			}
		}
		return map[string]any{"connections": kept}
	}
}
