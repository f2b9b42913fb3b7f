package service

import (
	"context"
	"crypto/tls"
	"maps"
	"time"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/control/handed"
	"github.com/postilion/postilion/internal/control/rolecall"
	"github.com/postilion/postilion/internal/datafolder"
	"github.com/postilion/postilion/internal/dnsbl"
	"github.com/postilion/postilion/internal/intake/client"
	"github.com/postilion/postilion/internal/record"
	"github.com/postilion/postilion/internal/rpc"
	"github.com/postilion/postilion/internal/serve"
	"github.com/postilion/postilion/internal/service/blocks"
	"github.com/postilion/postilion/internal/service/certs"
	"github.com/postilion/postilion/internal/service/listen"
	"github.com/postilion/postilion/internal/trace"
)

// front is what the roles share that serve clients: the certificate, what is known of clients, the
// recordings of dialogues, and a handler for each service, which a reload replaces.
type front struct {
	p        *process
	part     *part
	cert     *certs.Certificate
	guests   *guests
	book     *record.Book
	handlers map[string]*swapHandler
}

func (p *process) newFront(part *part) (*front, error) {
	f := &front{p: p, part: part, handlers: map[string]*swapHandler{}}
	var err error
	if f.cert, err = p.startCertificate(part); err != nil {
		return nil, err
	}
	if f.guests, err = p.newGuests(); err != nil {
		return nil, err
	}
	f.book, err = p.newBook(part)
	return f, err
}

// tls returns what connections are secured with under a configuration, for Deps.
func (f *front) tls(c *config.Config) func() *tls.Config {
	with := f.cert.Config(c.TLS)
	return func() *tls.Config { return with }
}

// services are the handlers of one configuration, by service, before they are in force.
type services struct {
	handlers map[string]serve.Handler
	checkers []*client.Checker
}

// checker makes the checker of one service's clients; lists may be nil.
func (s *services) checker(g *guests, service string, o client.Options, lists *dnsbl.Lists) (*client.Checker, error) {
	k, err := g.checker(service, o, lists)
	s.checkers = append(s.checkers, k)
	return k, err
}

// use puts the handlers in force. The first ones are there before anything listens.
func (f *front) use(s *services) {
	for name, h := range s.handlers {
		if f.handlers[name] == nil {
			f.handlers[name] = new(swapHandler)
		}
		f.handlers[name].set(h)
	}
	f.guests.use(s.checkers)
}

// listen serves the listeners of a service that is in force, with TLS from the first byte where
// implicit.
func (f *front) listen(name string, o serve.Options, implicit bool) {
	var with *tls.Config
	if implicit {
		with = f.cert.Config(f.p.cfg.TLS)
	}
	f.p.listen(f.part, name, f.handlers[name], o, with)
}

// facts are the connections, and which files of rules are wrong.
func (f *front) facts(context.Context) map[string]any {
	kept := []serve.Connection{}
	for _, c := range f.p.table.List() {
		if _, ok := f.handlers[c.Listener]; ok {
			kept = append(kept, c)
		}
	}
	return f.guests.facts(map[string]any{"connections": kept})
}

// listen serves the process's listeners of a name.
func (p *process) listen(part *part, name string, h serve.Handler, o serve.Options, implicit *tls.Config) {
	p.handed[name] = handed.NewListener()
	list := append(p.sockets.Named(name), listen.Listener{Socket: listen.Socket{Name: name}, Listener: p.handed[name]})
	if part.blocks == nil {
		end := func(match func(serve.Connection) bool) int { return p.endSessions(part, match) }
		part.blocks = blocks.New(p.blockList(), p.here.changes, p.clock.Now, end)
		part.run = append(part.run, part.blocks.Watch, func(ctx context.Context) error { return p.watchRevoked(ctx, end) })
	}
	part.services = append(part.services, name)
	for _, l := range list {
		server := &serve.Server{Name: name, Handler: h, Options: o, TLS: implicit, Table: p.table, IDs: p.ids, Clock: p.clock,
			Log: p.logger(), Admit: part.blocks.Admit, Refused: func(c *serve.Conn, why string) {
				part.recorder.Record(trace.Event{Time: p.clock.Now(), Kind: trace.Refused, Role: name, Session: c.ID,
					Client: c.Client.Addr().String(), Text: why})
			}}
		part.run = append(part.run, func(ctx context.Context) error {
			part.blocks.Wait(ctx)
			return server.Serve(ctx, l)
		})
	}
}

// startCertificate opens the certificate and keeps it fresh.
func (p *process) startCertificate(part *part) (*certs.Certificate, error) {
	c, err := certs.Open(p.cfg.InData(p.cfg.TLS.Cert), p.cfg.InData(p.cfg.TLS.Key), p.logger())
	if err != nil {
		return nil, err
	}
	every := p.cfg.TLS.Check
	if every <= 0 {
		every = 10 * time.Second
	}
	part.run = append(part.run, func(ctx context.Context) error { c.Watch(ctx, every); return nil })
	return c, nil
}

// takeHanded serves the socket on which a role's services get connections, once they are all there.
func (p *process) takeHanded(part *part) {
	server := &handed.Server{Allow: p.allowAdmin, Services: maps.Clone(p.handed),
		Refused: func(err error) { p.log.Warn("a connection was not taken over", "part", part.role, "error", err) }}
	for _, l := range p.sockets.Named(part.role.HandedSocket()) {
		part.run = append(part.run, func(ctx context.Context) error { return server.Serve(ctx, l) })
	}
}

// newBook gives a role its recordings, with the verbs for them.
func (p *process) newBook(part *part) (*record.Book, error) {
	dir, err := p.folder(datafolder.Recordings(part.role))
	if err != nil {
		return nil, err
	}
	b := record.New(dir, p.clock)
	part.close = append(part.close, b.Close)
	maps.Copy(part.admin, map[string]rpc.Handler{
		rolecall.MethodRecordAdd:    rpc.Handle(func(_ context.Context, r record.Rule) (none, error) { return none{}, b.Add(r) }),
		rolecall.MethodRecordRemove: rpc.Handle(func(_ context.Context, id string) (bool, error) { return b.Remove(id), nil }),
		rolecall.MethodRecordList:   rpc.Handle(func(context.Context, none) ([]record.Status, error) { return b.List(), nil }),
	})
	return b, nil
}
