package service

import (
	"context"
	"crypto/tls"
	"os"
	"runtime"
	"time"

	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/fs"
	"github.com/postilion/postilion/internal/intake/smtpd"
	"github.com/postilion/postilion/internal/mail/archive"
	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/policy"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/seam"
	"github.com/postilion/postilion/internal/serve"
	"github.com/postilion/postilion/internal/submit"
	"github.com/postilion/postilion/internal/trace"
)

// The services of role smtpd, with where their keys are.
var smtpServices = map[string]func(*config.Config) *config.SMTP{
	"smtp":        func(c *config.Config) *config.SMTP { return &c.SMTP },
	"submission":  func(c *config.Config) *config.SMTP { return &c.Submission },
	"submissions": func(c *config.Config) *config.SMTP { return &c.Submissions },
	"lmtp":        func(c *config.Config) *config.SMTP { return &c.LMTP },
}

func (p *process) startSMTPD(_ context.Context, part *part) error {
	cert, err := p.startCertificate(part)
	if err != nil {
		return err
	}
	handlers := map[string]*swapHandler{}
	for name := range smtpServices {
		handlers[name] = new(swapHandler)
	}
	service := p.authService()
	guests, err := p.newGuests()
	if err != nil {
		return err
	}
	book, err := p.newBook(part)
	if err != nil {
		return err
	}
	for _, name := range netstringServices {
		handlers[name] = new(swapHandler)
	}
	local := &injection{p: p, part: part}
	part.prepare = func(c *config.Config) (func(), error) {
		submitter, floors, err := p.newSubmitter(c, part)
		if err != nil {
			return nil, err
		}
		starttls := cert.config(c.TLS)
		fetchers, err := p.newFetchers(c, guests)
		if err != nil {
			return nil, err
		}
		lists, err := guests.lists(c)
		if err != nil {
			return nil, err
		}
		deps := smtpd.Deps{Submit: submitter, Auth: service, Events: part.recorder, Clock: p.clock, Busy: floors.Busy, ETRN: fetchers.etrn, Record: book,
			TLS: func() *tls.Config { return starttls }}
		fresh, checkers, err := p.netstrings(c, part, guests, lists, submitter, floors)
		if err != nil {
			return nil, err
		}
		for name, group := range smtpServices {
			mine := deps
			only := lists
			if name != "smtp" {
				only = nil
			}
			if mine.Clients, err = guests.checker(name, group(c).ClientOptions, only); err != nil {
				return nil, err
			}
			checkers = append(checkers, mine.Clients)
			if fresh[name], err = smtpd.New(group(c).Options, mine); err != nil {
				return nil, err
			}
		}
		if len(fetchers.auto) > 0 {
			for _, name := range []string{"smtp", "qmtp"} {
				fresh[name] = turning{fresh[name], fetchers}
			}
		}
		setLocal, err := local.prepare(c, submitter, deps)
		if err != nil {
			return nil, err
		}
		return func() {
			p.rates.SetLimit(c.Policy.AccountRate)
			for name, h := range fresh {
				handlers[name].set(h)
			}
			setLocal()
			guests.use(checkers)
		}, nil
	}
	if err := prepareNow(part, p.cfg); err != nil {
		return err
	}
	for name, group := range smtpServices {
		var implicit *tls.Config
		if name == "submissions" {
			implicit = cert.config(p.cfg.TLS)
		}
		p.listen(part, name, handlers[name], group(p.cfg).Listener.Options, implicit)
	}
	p.listen(part, "qmtp", handlers["qmtp"], p.cfg.QMTP.Listener.Options, nil)
	p.listen(part, "qmqp", handlers["qmqp"], p.cfg.QMQP.Listener.Options, nil)
	p.startACME(part, cert)
	connections := connectionFacts(p, handlers)
	part.facts = func(ctx context.Context) map[string]any { return guests.facts(connections(ctx)) }
	return nil
}

// newSubmitter makes the path by which messages enter.
func (p *process) newSubmitter(c *config.Config, part *part) (*submit.Submitter, *policy.Floors, error) {
	own := new(netx.OwnAddrs)
	router, err := route.New(c.Route, p.reader(), own.Contains)
	if err != nil {
		return nil, nil, err
	}
	o := c.Policy
	o.Warn = func(err error) {
		p.logger().Warn("a file is wrong; what it said before stays in force", "error", err)
	}
	rules, err := policy.New(o)
	if err != nil {
		return nil, nil, err
	}
	floors := &policy.Floors{Options: c.Floors, LoadAverage: loadPerProcessor,
		Space: func() (fs.Space, error) { return p.data.Space("queue") }}
	var q queue.Enqueuer = seam.Enqueuer{Client: p.client(Queue)}
	if p.here.store != nil {
		q = p.here.store
	}
	room, exists := p.here.room, p.here.exists
	if room == nil {
		room, exists = seam.NewRoom(p.client(Local)), seam.NewExists(p.client(Local))
	}
	quota := &seam.RoomCache{Room: room, Log: p.logger()}
	known := &seam.ExistsCache{Exists: exists, Log: p.logger()}
	archives, err := archive.Parse(c.Archive.Copies)
	if err != nil {
		return nil, nil, err
	}
	return submit.New(c.Submit, submit.Deps{
		Queue: q, Router: router, Policy: rules, Events: part.recorder, Clock: p.clock, IDs: p.ids, Full: floors.Full, Quota: quota.Ask, Exists: known.Ask,
		Filters: p.filters, Rate: p.rates.Take, Archive: archives,
	}), floors, nil
}

// listen serves the process's listeners of a name.
func (p *process) listen(part *part, name string, h serve.Handler, o serve.Options, implicit *tls.Config) {
	p.handed[name] = newHanded()
	list := append(p.sockets.named(name), listener{socket{Name: name}, p.handed[name]})
	if part.blocks == nil {
		part.blocks = newBlocks(p.blockList(), p.clock.Now)
		part.run = append(part.run, part.blocks.watch)
	}
	for _, l := range list {
		server := &serve.Server{Name: name, Handler: h, Options: o, TLS: implicit, Table: p.table, IDs: p.ids, Clock: p.clock,
			Log: p.logger(), Admit: part.blocks.admit, Refused: func(c *serve.Conn, why string) {
				part.recorder.Record(trace.Event{Time: p.clock.Now(), Kind: trace.Refused, Role: name, Session: c.ID,
					Client: c.Client.Addr().String(), Text: why})
			}}
		part.run = append(part.run, func(ctx context.Context) error {
			part.blocks.wait(ctx)
			return server.Serve(ctx, l)
		})
	}
}

// startCertificate opens the certificate and keeps it fresh.
func (p *process) startCertificate(part *part) (*certificate, error) {
	c, err := openCertificate(p.cfg.InData(p.cfg.TLS.Cert), p.cfg.InData(p.cfg.TLS.Key), p.logger())
	if err != nil {
		return nil, err
	}
	every := p.cfg.TLS.Check
	if every <= 0 {
		every = 10 * time.Second
	}
	part.run = append(part.run, func(ctx context.Context) error { c.watch(ctx, every); return nil })
	return c, nil
}

func (p *process) startACME(part *part, c *certificate) {
	for _, l := range p.sockets.named("acme") {
		k := &acmeKeeper{host: p.cfg.Host, options: p.cfg.TLS, store: p.cfg.InData("tls/acme"), cert: c.cert, key: c.key, listener: l, log: p.logger()}
		part.run = append(part.run, k.run)
	}
}

// authService returns who checks credentials.
func (p *process) authService() auth.Service {
	if p.here.auth != nil {
		return p.here.auth
	}
	return seam.Auth{Client: p.client(Auth)}
}

// loadPerProcessor is the 1-minute load divided by the number of processors.
func loadPerProcessor() (float64, error) {
	if _, err := os.Stat("/proc/loadavg"); err != nil {
		return 0, err
	}
	return loadAverages()[0] / float64(runtime.NumCPU()), nil
}
